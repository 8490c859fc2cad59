//! The scorecard's quiet weeks beside weeks of the simulated org, which are made event by event: what is not set must
//! agree too, or the scorecard proves nothing.
//!
//! Eight weeks of each; `NULL_WEEKS=52 cargo test --test null_series -- --nocapture` takes a year of each.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use authwatch::event::Timestamp;
use authwatch::sim::plan::FlowResult;
use authwatch::sim::scenario::Timeline;
use authwatch::sim::{Org, Plan};

#[path = "../benches/scorecard/null.rs"]
#[expect(dead_code, reason = "the scorecard uses the rest")]
mod null;

const WEEK: i64 = 168;
const HOUR: i64 = 3_600_000;
/// A Monday, 00:00 UTC, in hours of the epoch.
const MONDAY: i64 = 492_336;

/// First tries in all, and the refused ones as (time, person).
#[derive(Default)]
struct Weeks {
    tries: f64,
    refused_tries: f64,
    refused: Vec<(i64, u32)>,
}

fn simulated(weeks: i64) -> Weeks {
    let mut found = Weeks::default();
    let (start, until) = (Timestamp(MONDAY * HOUR), Timestamp((MONDAY + weeks * WEEK) * HOUR));
    for flow in Plan::new(Arc::new(Org::new(17, 3_500)), Timeline::default(), start, until) {
        let is_refused = matches!(flow.result, FlowResult::Denied(_));
        if flow.retry == 0 {
            found.tries += 1.0;
            found.refused_tries += f64::from(u8::from(is_refused));
        }
        if is_refused && flow.decided_at < until {
            found.refused.push((flow.decided_at.0, flow.person));
        }
    }
    found.refused.sort_unstable();
    found
}

fn generated(weeks: i64) -> Weeks {
    let mut found = Weeks::default();
    let mut generator = null::Null::new(null::Shape::default(), 17);
    for hour in MONDAY..MONDAY + weeks * WEEK {
        for attempt in generator.hour(hour, [1.0; 4]) {
            found.tries += 1.0;
            if attempt.check.is_some() {
                found.refused_tries += 1.0;
                found.refused.push((attempt.at, attempt.person));
            }
        }
    }
    found
}

/// What is compared, by name.
fn figures(weeks: &Weeks, number: i64) -> BTreeMap<&'static str, f64> {
    let n = number as f64;
    // A person counts again after an hour.
    let mut last: BTreeMap<u32, i64> = BTreeMap::new();
    let mut episodes: Vec<(i64, u32)> = Vec::new();
    let mut repeated = (0.0, 0.0);
    let start = MONDAY * HOUR;
    for (at, person) in &weeks.refused {
        let before = last.insert(*person, *at);
        if before.is_none_or(|before| at - before >= HOUR) {
            episodes.push((*at, *person));
            if at - start > 14 * 24 * HOUR {
                repeated.1 += 1.0;
                repeated.0 += f64::from(u8::from(before.is_some_and(|before| at - before < 14 * 24 * HOUR)));
            }
        }
    }
    let people: usize = (0..number)
        .map(|week| {
            let of = |at: i64| (at - start) / (WEEK * HOUR) == week;
            episodes.iter().filter(|(at, _)| of(*at)).map(|(_, person)| *person).collect::<BTreeSet<_>>().len()
        })
        .sum();
    let (phi, autocorrelation, _) = unevenness(&episodes, number, HOUR);
    let (.., fine) = unevenness(&episodes, number, HOUR / 12);
    let mut most = 0;
    let mut window: VecDeque<i64> = VecDeque::new();
    for (at, _) in &episodes {
        window.push_back(*at);
        while window.front().is_some_and(|first| at - first >= HOUR) {
            window.pop_front();
        }
        most = most.max(window.len());
    }
    BTreeMap::from([
        ("tries a week", weeks.tries / n),
        ("refused of 1,000 tries", weeks.refused_tries / weeks.tries * 1_000.0),
        ("episodes a week", episodes.len() as f64 / n),
        ("people refused a week", people as f64 / n),
        ("φ by the hour", phi),
        ("variance / mean by 5 min", fine),
        ("lag-1 autocorrelation by the hour", autocorrelation),
        ("refused in the 14 days before, share", repeated.0 / repeated.1),
        ("most people in 60 min", most as f64),
    ])
}

/// φ, lag-1 autocorrelation of the residuals, and variance over mean, of counts in bins against the mean of their place in
/// the week.
fn unevenness(episodes: &[(i64, u32)], weeks: i64, bin: i64) -> (f64, f64, f64) {
    let places = (WEEK * HOUR / bin) as usize;
    let mut counts = vec![0.0_f64; places * weeks as usize];
    for (at, _) in episodes {
        counts[((at - MONDAY * HOUR) / bin) as usize] += 1.0;
    }
    // The mean of an hour's place, for bins within it too: a bin alone is too seldom.
    let per_hour = (HOUR / bin) as usize;
    let mut means = vec![0.0_f64; WEEK as usize];
    for (n, count) in counts.iter().enumerate() {
        means[(n / per_hour) % WEEK as usize] += count / weeks as f64 / per_hour as f64;
    }
    let mean = |n: usize| means[(n / per_hour) % WEEK as usize];
    let own = weeks as f64 / (weeks as f64 - 1.0);
    let (mut excess, mut square, mut variance, mut sum) = (0.0, 0.0, 0.0, 0.0);
    let (mut product, mut own_square, mut before) = (0.0, 0.0, None);
    for (n, count) in counts.iter().enumerate() {
        let mu = mean(n);
        if mu * per_hour as f64 <= 3.0 {
            before = None;
            continue;
        }
        let difference = (count - mu).powi(2) * own;
        excess += difference - mu;
        square += mu * mu;
        variance += difference;
        sum += mu;
        let residual = (count - mu) / mu.sqrt();
        own_square += residual * residual;
        if let Some(before) = before {
            product += residual * before;
        }
        before = Some(residual);
    }
    (excess / square, product / own_square, variance / sum)
}

#[test]
fn generated_weeks_are_like_simulated_ones() {
    let weeks = std::env::var("NULL_WEEKS").ok().map_or(8, |text| text.parse().expect("a number of weeks"));
    let (ours, theirs) = (figures(&generated(weeks), weeks), figures(&simulated(weeks), weeks));
    println!("{weeks} weeks of each\n\n| | generated | event by event |\n| --- | --: | --: |");
    for (name, value) in &ours {
        println!("| {name} | {value:.3} | {:.3} |", theirs[name]);
    }
    // Shares and rates by their ratio; what lies near zero by its difference.
    for (name, low, high) in [
        ("tries a week", 0.94, 1.06),
        ("refused of 1,000 tries", 0.9, 1.12),
        ("episodes a week", 0.9, 1.15),
        ("people refused a week", 0.88, 1.12),
        ("φ by the hour", 0.65, 1.6),
        ("variance / mean by 5 min", 0.85, 1.2),
        ("refused in the 14 days before, share", 0.75, 1.3),
        ("most people in 60 min", 0.65, 1.6),
    ] {
        let ratio = ours[name] / theirs[name];
        assert!((low..high).contains(&ratio), "{name}: {} against {}", ours[name], theirs[name]);
    }
    let name = "lag-1 autocorrelation by the hour";
    let autocorrelation = ours[name] - theirs[name];
    assert!(autocorrelation.abs() < 0.1, "{autocorrelation}");
}
