//! Burn rates against numbers worked out by hand.

use proptest::prelude::*;

use super::*;
use crate::input::{Endings, Indicator, Scope};

const NOW: Timestamp = Timestamp(1_772_000_000_000);

fn slo(target: f64, days: u8) -> Slo {
    let bad = Endings { denied: true, ..Endings::default() };
    Slo {
        name: "sign-in".into(),
        title: String::new(),
        description: String::new(),
        target,
        days,
        indicator: Indicator::Attempts { scope: Scope::default(), bad },
        alerts: Alerts::Page,
        min_bad: 10,
        triage: String::new(),
        false_positives: String::new(),
    }
}

/// `per_minute` of (good, bad) in the middle of each of the minutes (`from`, `to`] before [`NOW`].
fn fill(counts: &mut Counts, minutes: std::ops::Range<i64>, (good, bad): (u32, u32)) {
    for minute in minutes {
        let at = NOW - Span::minutes(minute) - Span::seconds(30);
        (0..good).for_each(|_| counts.add(at, false, 1));
        (0..bad).for_each(|_| counts.add(at, true, 1));
    }
}

#[track_caller]
fn near(found: f64, expect: f64) {
    assert!((found - expect).abs() < 1e-9, "{found}, expected {expect}");
}

#[test]
fn factors_are_those_of_the_workbook_and_scale_with_the_period() {
    for (days, expect) in [(30, [14.4, 6.0, 3.0, 1.0]), (28, [13.44, 5.6, 2.8, 28.0 / 30.0])] {
        for (pair, expect) in PAIRS.iter().zip(expect) {
            near(pair.factor(Span::hours(24 * days)), expect);
            assert_eq!(pair.short.0 * 12, pair.long.0);
        }
    }
}

#[test]
fn a_target_that_no_burn_can_reach_is_found_with_its_pair() {
    let month = Span::hours(24 * 30);
    let found = |target, period, alerts| unreachable(target, period, alerts).map(|pair| pair.long);
    // 1 / 14.4 = 6.94 %, 1 / 6 = 16.7 %, 1 / 3 = 33.3 %.
    assert_eq!(found(0.9305, month, Alerts::Page), Some(Span::hours(1)));
    assert_eq!(found(0.9306, month, Alerts::Page), None);
    assert_eq!(found(0.9306, Span::hours(24 * 28), Alerts::Page), None);
    assert_eq!(found(0.66, month, Alerts::Ticket), Some(Span::hours(24)));
    assert_eq!(found(0.67, month, Alerts::Ticket), None);
    assert_eq!(found(0.1, month, Alerts::None), None);
    near(PAIRS[0].least_target(month), 1.0 - 1.0 / 14.4);
}

#[test]
fn a_full_outage_fires_when_the_long_window_holds_enough_of_it() {
    // 99 %, 30 days: the hour burns at 14.4 when 14.4 % of it is bad; at 10 a minute that is after 8.64 minutes.
    let slo = slo(0.99, 30);
    for (minutes, fires) in [(8, false), (9, true)] {
        let mut counts = Counts::default();
        fill(&mut counts, minutes..60, (10, 0));
        fill(&mut counts, 0..minutes, (0, 10));
        let first = judge(&slo, &counts, NOW).next().expect("a pair");
        assert_eq!(first.fires(), fires, "{minutes} min: {first:?}");
        // An hour is all that is known, so the pair of six hours sees the same share and asks for less.
        let fastest = firing(&slo, &counts, NOW).expect("a pair");
        assert_eq!(fastest.long.seconds, if fires { 3_600 } else { 6 * 3_600 });
        assert_eq!((first.long.good, first.long.bad), (10 * (60 - minutes as u32), 10 * minutes as u32));
        near(first.long.burn.expect("events"), minutes as f64 / 60.0 / 0.01);
        near(first.short.burn.expect("events"), 100.0);
    }
}

#[test]
fn it_is_over_when_the_short_window_is_clean_though_the_long_one_is_not() {
    let (slo, mut counts) = (slo(0.99, 28), Counts::default());
    fill(&mut counts, 5..25, (0, 10));
    fill(&mut counts, 25..60, (10, 0));
    fill(&mut counts, 0..5, (10, 0));
    let verdict = judge(&slo, &counts, NOW).next().expect("a pair");
    near(verdict.long.burn.expect("events"), 20.0 / 60.0 / 0.01);
    assert_eq!(verdict.short.burn, Some(0.0));
    assert!(!verdict.fires());
    // The pair of six hours still sees it in its half hour: 200 of 300 bad, 600 in the hour, nothing before.
    let second = judge(&slo, &counts, NOW).nth(1).expect("a pair");
    near(second.short.burn.expect("events"), 200.0 / 300.0 / 0.01);
    near(second.long.burn.expect("events"), 200.0 / 600.0 / 0.01);
    assert!(second.fires());
}

#[test]
fn the_floor_is_on_bad_ones_and_nothing_is_no_verdict() {
    let slo = slo(0.99, 28);
    let mut counts = Counts::default();
    assert_eq!((firing(&slo, &counts, NOW), budget(&slo, &counts, NOW)), (None, None));
    assert!(rates(&slo, &counts, NOW).iter().all(|(_, rate)| rate.is_none()));
    fill(&mut counts, 0..1, (0, 9));
    assert_eq!(firing(&slo, &counts, NOW), None, "nine of nine");
    fill(&mut counts, 1..2, (0, 1));
    assert!(firing(&slo, &counts, NOW).is_some_and(|verdict| verdict.long.bad == 10 && verdict.long.good == 0));
}

#[test]
fn the_budget_is_weighed_by_events_and_lasts_at_the_pace_of_six_hours() {
    // 28 days of 6 an hour: 4,032. One in a hundred may be bad: 40.32. Twenty are, ten of them in the last six hours.
    let (slo, mut counts) = (slo(0.99, 28), Counts::default());
    for hour in 0..28 * 24 {
        let at = NOW - Span::hours(hour) - Span::minutes(30);
        let bad = if hour < 5 { 2 } else { u32::from(hour >= 100 && hour < 110) };
        (0..6).for_each(|n| counts.add(at, n < bad, 1));
    }
    let budget = budget(&slo, &counts, NOW).expect("events");
    assert_eq!((budget.good, budget.bad), (4_012, 20));
    near(budget.sli, 4_012.0 / 4_032.0);
    near(budget.remaining, 1.0 - 20.0 / 40.32);
    // Six hours hold 36, 10 bad: a burn of 27.78, at which 50.4 % of 28 days last 12.19 hours.
    let burn = 10.0 / 36.0 / 0.01;
    near(budget.exhausted_in_seconds.expect("a pace"), (1.0 - 20.0 / 40.32) * 28.0 * 86_400.0 / burn);
    (0..30).for_each(|_| counts.add(NOW - Span::hours(300), true, 1));
    let used_up = super::budget(&slo, &counts, NOW).expect("events");
    assert!(used_up.remaining < 0.0 && used_up.exhausted_in_seconds == Some(0.0), "{used_up:?}");
}

#[test]
fn what_is_taken_back_was_never_there() {
    let mut counts = Counts::default();
    let before = counts.sum(NOW, Span::hours(1));
    counts.add(NOW - Span::minutes(7), true, 1);
    counts.add(NOW - Span::minutes(7), true, -1);
    for (_, window) in WINDOWS {
        assert_eq!(counts.sum(NOW, window), before);
    }
}

fn counts(additions: &[(i64, bool)]) -> Counts {
    let mut counts = Counts::default();
    additions.iter().for_each(|(at, bad)| counts.add(Timestamp(*at), *bad, 1));
    counts
}

proptest! {
    #[test]
    fn merging_is_commutative_and_equals_counting_in_one_place(
        a in prop::collection::vec((0i64..4_000_000_000, any::<bool>()), 0..60),
        b in prop::collection::vec((0i64..4_000_000_000, any::<bool>()), 0..60),
    ) {
        let (mut ab, mut ba) = (counts(&a), counts(&b));
        let (only_a, only_b) = (counts(&a), counts(&b));
        ab.merge(&only_b);
        ba.merge(&only_a);
        prop_assert_eq!(&ab, &ba);
        let mut both: Vec<_> = a.into_iter().chain(b).collect();
        both.sort_unstable();
        prop_assert_eq!(ab, counts(&both));
    }

    #[test]
    fn a_window_holds_what_is_in_it_and_at_most_one_bucket_more(
        ages in prop::collection::vec(1i64..3 * 86_400, 1..80),
        window in prop::sample::select(WINDOWS[..7].to_vec()),
    ) {
        let mut counts = Counts::default();
        let mut old_to_new = ages.clone();
        old_to_new.sort_unstable_by(|a, b| b.cmp(a));
        old_to_new.iter().for_each(|age| counts.add(NOW - Span::seconds(*age), true, 1));
        let within = |longest: i64| ages.iter().filter(|age| **age < longest).count() as u32;
        let (seconds, found) = (window.1.0 / 1_000, counts.sum(NOW, window.1).bad);
        prop_assert!(found >= within(seconds) && found <= within(seconds + seconds / 24 + 11), "{found}");
    }
}
