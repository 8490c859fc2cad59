//! The rules that people use today, on the same people.
//!
//! Each is given distinct people instead of events (which is what makes a retry storm harmless), every series without a
//! check that today's tools can group by, and a threshold tuned to the same false incidents. Each gives a score at a
//! refusal; it fires when that reaches its threshold.
//!
//! - fixed: people in 5 min against the series' own busiest hour of the week, so that every series has the same risk there
//! - ratio: people in 15 min over a quarter of the hour before, at least five
//! - ewma: people in 5 min against an exponentially weighted mean and deviation of 5-min counts (λ = 0.1)
//! - sigma: people in 60 min against mean and deviation of the same hour of the week, four weeks
//! - burn: the share refused over two windows, 1 h and 5 min, or 6 h and 30 min, as multiples of 14.4 and 6, of a 99 % SLO;
//!   per org, cohort, app and platform, at least five people in the hour
//! - ears: C1, C2 and C3 on 60 min against the same hour of seven days (Fricker, Hegler & Dunfee 2008, Stat. Med. 27, 3407)
//! - season: a negative-binomial tail on the mean of the same hour of the week (Farrington's method as Noufaily et al. 2013,
//!   Stat. Med. 32, 1206, give it), five windows, φ = 0.2, no attempts

use std::collections::VecDeque;

use authwatch::window::{Level, SeriesKey};
use smol_str::SmolStr;
use statrs::function::gamma::ln_gamma;

/// The rules, in the order of their scores.
pub(crate) const RULES: [&str; 9] = [
    "fixed threshold, 5 min",
    "ratio spike, 15 min / hour before",
    "EWMA + kσ, 5 min",
    "kσ over the same hour of the week",
    "multi-window burn rate alone",
    "EARS C1",
    "EARS C2",
    "EARS C3",
    "seasonal NB tail (Farrington-like)",
];
pub(crate) type Scores = [f64; RULES.len()];

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
/// Hours of history.
const KEPT: usize = 24 * 28;
const WEEK: usize = 168;
const PLATFORMS: usize = crate::null::PLATFORMS;

/// One series of a rival.
#[derive(Clone, Default)]
struct Counter {
    /// First refusals of a person within an hour, over six hours.
    people: VecDeque<(i64, u32)>,
    hours: VecDeque<u16>,
    this_hour: u16,
    /// The EWMA's mean, variance and the start of its bucket.
    mean: f64,
    variance: f64,
    bucket: i64,
    in_bucket: u32,
    /// Means of the hours of the week, and the busiest; renewed daily.
    season: Vec<f32>,
    deviation: Vec<f32>,
    peak: f64,
}

/// All of them.
#[derive(Clone)]
pub(crate) struct Rivals {
    counters: Vec<Counter>,
    levels: [(usize, usize); 7],
    /// The highest score since it was taken.
    pub(crate) highest: Scores,
}

/// The key of a level of a refusal.
pub(crate) fn key(level: usize, who: (u8, u8, u8), names: (&[SmolStr], &[SmolStr], &str)) -> SeriesKey {
    let (cohort, app) = (&names.0[usize::from(who.0)], &names.1[usize::from(who.1)]);
    match level {
        0 => SeriesKey::org(),
        1 => SeriesKey::one(Level::Cohort, cohort),
        2 => SeriesKey::one(Level::App, app),
        3 => SeriesKey::one(Level::Platform, names.2),
        4 => SeriesKey::two(Level::CohortApp, cohort, app),
        5 => SeriesKey::two(Level::AppPlatform, app, names.2),
        _ => SeriesKey::two(Level::CohortPlatform, cohort, names.2),
    }
}

impl Rivals {
    pub(crate) fn new(apps: usize) -> Self {
        let sizes = [1, 3, apps, PLATFORMS, 3 * apps, apps * PLATFORMS, 3 * PLATFORMS];
        let mut levels = [(0, 0); 7];
        let mut first = 0;
        for (level, size) in levels.iter_mut().zip(sizes) {
            *level = (first, size);
            first += size;
        }
        Self { counters: vec![Counter::default(); first], levels, highest: [0.0; RULES.len()] }
    }

    /// A person is refused. `attempts` gives those of a level of this refusal over some minutes.
    pub(crate) fn refused(&mut self, at: i64, person: u32, who: (u8, u8, u8), attempts: &dyn Fn(usize, i64) -> f64) {
        let (cohort, app, platform) = (usize::from(who.0), usize::from(who.1), usize::from(who.2));
        let apps = self.levels[2].1;
        let places =
            [0, cohort, app, platform, cohort * apps + app, app * PLATFORMS + platform, cohort * PLATFORMS + platform];
        for (level, place) in places.into_iter().enumerate() {
            let (first, size) = self.levels[level];
            let counter = &mut self.counters[first + place];
            if counter.note(at, person) {
                let mut scores = counter.scores(at, size, &|minutes| attempts(level, minutes));
                // A pair is too thin for a share: five of five at night would set its threshold.
                scores[4] *= f64::from(u8::from(level < 4));
                for (highest, score) in self.highest.iter_mut().zip(scores) {
                    *highest = highest.max(score);
                }
            }
        }
    }

    /// The highest scores since last asked.
    pub(crate) fn take(&mut self) -> Scores {
        std::mem::replace(&mut self.highest, [0.0; RULES.len()])
    }

    pub(crate) fn end_hour(&mut self, hour: i64) {
        for counter in &mut self.counters {
            counter.end_hour(hour);
        }
    }
}

impl Counter {
    fn note(&mut self, at: i64, person: u32) -> bool {
        while self.people.front().is_some_and(|(seen, _)| *seen <= at - 6 * HOUR) {
            self.people.pop_front();
        }
        if self.people.iter().rev().take_while(|(seen, _)| *seen > at - HOUR).any(|(_, other)| *other == person) {
            return false;
        }
        self.people.push_back((at, person));
        self.this_hour += 1;
        self.roll_to(at);
        self.in_bucket += 1;
        true
    }

    /// People in (`at` − `from` min, `at` − `to` min].
    fn between(&self, at: i64, from: i64, to: i64) -> f64 {
        let after = |minutes: i64| self.people.partition_point(|(seen, _)| *seen <= at - minutes * MINUTE);
        (after(to) - after(from)) as f64
    }

    fn last(&self, at: i64, minutes: i64) -> f64 {
        (self.people.len() - self.people.partition_point(|(seen, _)| *seen <= at - minutes * MINUTE)) as f64
    }

    /// Closes the EWMA's buckets before `at`.
    fn roll_to(&mut self, at: i64) {
        const LAMBDA: f64 = 0.1;
        let bucket = at.div_euclid(5 * MINUTE);
        // After a day of empty buckets nothing is left of what was before.
        for _ in 0..(bucket - self.bucket).clamp(0, 288) {
            let excess = f64::from(self.in_bucket) - self.mean;
            self.mean += LAMBDA * excess;
            self.variance = (1.0 - LAMBDA) * (self.variance + LAMBDA * excess * excess);
            self.in_bucket = 0;
        }
        self.bucket = bucket;
    }

    fn scores(&self, at: i64, series: usize, attempts: &dyn Fn(i64) -> f64) -> Scores {
        let [k5, k15, k60] = [5, 15, 60].map(|minutes| self.last(at, minutes));
        let hour_of_week = (at.div_euclid(HOUR)).rem_euclid(WEEK as i64) as usize;
        let season =
            |minutes: f64| f64::from(self.season.get(hour_of_week).copied().unwrap_or(0.0)).max(0.01) * minutes / 60.0;
        let mut scores = [0.0; RULES.len()];
        scores[0] = tail(k5, (self.peak / 12.0).max(0.002), 0.0);
        if k15 >= 5.0 {
            scores[1] = k15 / (self.between(at, 75, 15) / 4.0).max(0.5);
        }
        scores[2] = (k5 - self.mean) / self.variance.sqrt().max(0.5);
        let deviation = f64::from(self.deviation.get(hour_of_week).copied().unwrap_or(0.0));
        scores[3] = (k60 - season(60.0)) / deviation.max(1.0);
        if k60 >= 5.0 {
            // Of a platform that is not known nothing is known but its refusals.
            let share = |minutes| match attempts(minutes) {
                all if all < 1.0 => 0.0,
                all => (self.last(at, minutes) / all).min(1.0) / 0.01,
            };
            let fast = share(60).min(share(5)) / 14.4;
            let slow = share(240).min(share(30)) / 6.0;
            scores[4] = fast.max(slow);
        }
        self.ears(k60, &mut scores);
        let level = (series as f64).log10();
        scores[8] = [1, 5, 15, 60, 240]
            .into_iter()
            .map(|minutes| (self.last(at, minutes), season(minutes as f64)))
            .filter(|(people, _)| *people >= 3.0)
            .map(|(people, usual)| tail(people, usual, 0.2) - level)
            .fold(0.0, f64::max);
        scores
    }

    fn ears(&self, k60: f64, scores: &mut Scores) {
        // The same hour of the days before; the last of `hours` is the hour before this one.
        let day = |days: usize| {
            let back = days * 24;
            let place = (self.hours.len() + 1).checked_sub(back + 1)?;
            self.hours.get(place).map(|count| f64::from(*count))
        };
        let excess = |people: f64, lag: usize| {
            let before: Vec<f64> = (lag + 1..=lag + 7).filter_map(day).collect();
            if before.len() < 7 {
                return 0.0;
            }
            let mean = before.iter().sum::<f64>() / 7.0;
            let variance = before.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / 6.0;
            (people - mean) / variance.sqrt().max(0.5)
        };
        scores[5] = excess(k60, 0);
        scores[6] = excess(k60, 2);
        let past = |days: usize| day(days).map_or(0.0, |people| excess(people, days + 2));
        scores[7] = scores[6] + (past(1) - 1.0).max(0.0) + (past(2) - 1.0).max(0.0);
    }

    fn end_hour(&mut self, hour: i64) {
        self.roll_to((hour + 1) * HOUR);
        self.hours.push_back(std::mem::take(&mut self.this_hour));
        if self.hours.len() > KEPT {
            self.hours.pop_front();
        }
        if hour.rem_euclid(24) == 3 && self.hours.len() >= WEEK {
            self.renew_season(hour);
        }
    }

    /// Means and deviations by the hour of the week; an hour and its neighbours are taken together.
    fn renew_season(&mut self, hour: i64) {
        let mut sums = vec![(0.0_f32, 0.0_f32, 0.0_f32); WEEK];
        for (back, count) in self.hours.iter().rev().enumerate() {
            let place = (hour - back as i64).rem_euclid(WEEK as i64) as usize;
            let count = f32::from(*count);
            let sum = &mut sums[place];
            *sum = (sum.0 + 1.0, sum.1 + count, sum.2 + count * count);
        }
        let near = |place: usize| {
            let all = [WEEK - 1, 0, 1].map(|step| sums[(place + step) % WEEK]);
            all.into_iter().fold((0.0, 0.0, 0.0), |a: (f32, f32, f32), b| (a.0 + b.0, a.1 + b.1, a.2 + b.2))
        };
        self.season = (0..WEEK).map(|place| near(place).1 / near(place).0.max(1.0)).collect();
        let deviation = |place: usize| {
            let (n, sum, square) = near(place);
            ((square - sum * sum / n.max(1.0)) / (n - 1.0).max(1.0)).max(0.0).sqrt()
        };
        self.deviation = (0..WEEK).map(deviation).collect();
        self.peak = self.season.iter().copied().fold(0.0, f32::max).into();
    }
}

/// −log10 P(K ≥ k) of a negative-binomial count, written again here so that a rival owes the judge nothing.
fn tail(people: f64, usual: f64, dispersion: f64) -> f64 {
    if people <= usual {
        return 0.0;
    }
    let ln_term = |j: f64| {
        if dispersion <= 0.0 {
            return j * usual.ln() - usual - ln_gamma(j + 1.0);
        }
        let r = 1.0 / dispersion;
        ln_gamma(j + r) - ln_gamma(r) - ln_gamma(j + 1.0) + r * (r / (r + usual)).ln() + j * (usual / (r + usual)).ln()
    };
    let first = ln_term(people);
    let mut sum = 1.0;
    for step in 1..60 {
        let term = (ln_term(people + f64::from(step)) - first).exp();
        sum += term;
        if term < 1e-3 * sum {
            break;
        }
    }
    -(first + f64::ln(sum)) / std::f64::consts::LN_10
}
