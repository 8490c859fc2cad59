//! How much more than chance the hourly counts of a series vary, learnt.
//!
//! Var(x) = μ + φμ². Over the hours with μ ≥ 2 the moment estimate is φ = Σ((x − μ)² − μ) / Σμ² (a weighted form of the
//! moment estimator of Breslow 1984, Appl. Stat. 33, 38); what is used is its upper 90 % bound, since a φ that is too
//! small costs false alarms and one that is too large costs next to nothing. The past fades as a baseline's does.

use serde::{Deserialize, Serialize};

use super::baseline::Happened;

/// Assumed until enough hours are known: safe for orgs that vary twice as much as the simulated one.
pub(super) const ASSUMED: f64 = 0.35;
/// Never below this.
const LEAST: f64 = 0.05;
/// Never above this: hours that vary so much have a cause of their own.
const MOST: f64 = 2.0;
/// An hour says something about φ from this many people expected.
const LEAST_EXPECTED: f64 = 2.0;
/// Hours that are needed: about two working weeks of one office.
const HOURS: f64 = 80.0;
/// Half of it is gone after four weeks, by day.
const FADE_PER_DAY: f64 = 0.975_55;
/// The one-sided 90 % point of the normal distribution.
const Z90: f64 = 1.2816;

/// The sums over the hours of one series.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Dispersion {
    hours: f64,
    /// Σd, d = (x − μ)² − μ.
    excess: f64,
    /// Σμ².
    square: f64,
    /// Σd².
    excess_square: f64,
    /// Σdμ².
    cross: f64,
    /// Σμ⁴.
    fourth: f64,
}

impl Dispersion {
    /// Learns an hour.
    pub(super) fn learn(&mut self, happened: Happened, expected: f64) {
        if expected < LEAST_EXPECTED {
            return;
        }
        let excess = (happened.episodes - expected).powi(2) - expected;
        let square = expected * expected;
        self.hours += 1.0;
        self.excess += excess;
        self.square += square;
        self.excess_square += excess * excess;
        self.cross += excess * square;
        self.fourth += square * square;
    }

    /// A day has passed.
    pub(super) fn fade(&mut self) {
        for sum in [
            &mut self.hours,
            &mut self.excess,
            &mut self.square,
            &mut self.excess_square,
            &mut self.cross,
            &mut self.fourth,
        ] {
            *sum *= FADE_PER_DAY;
        }
    }

    /// The upper bound of φ; `None` while too little is known.
    pub(super) fn bound(&self) -> Option<f64> {
        if self.hours < HOURS {
            return None;
        }
        let phi = self.excess / self.square;
        let variance = self.excess_square - 2.0 * phi * self.cross + phi * phi * self.fourth;
        Some((phi + Z90 * variance.max(0.0).sqrt() / self.square).clamp(LEAST, MOST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hours that alternate around a mean of 20.
    fn bound(low: f64, high: f64, hours: usize) -> Option<f64> {
        let mut dispersion = Dispersion::default();
        for n in 0..hours {
            let episodes = if n % 2 == 0 { low } else { high };
            dispersion.learn(Happened { episodes, attempts: 0.0 }, 20.0);
        }
        dispersion.bound()
    }

    #[test]
    fn a_short_past_says_nothing_and_a_long_one_what_its_hours_say() {
        assert_eq!(bound(10.0, 30.0, 60), None);
        // (10² − 20)/20² = 0.2, every hour alike: the bound is the estimate.
        let found = bound(10.0, 30.0, 200).expect("enough hours");
        assert!((found - 0.2).abs() < 1e-9, "{found}");
        assert_eq!(bound(20.0, 20.0, 200), Some(LEAST));
        // 15² and 25² differ: the bound lies above the estimate of (425 − 20)/400.
        assert!(bound(5.0, 45.0, 200).is_some_and(|found| found > 1.0125));
    }

    #[test]
    fn hours_with_hardly_anybody_expected_say_nothing() {
        let mut dispersion = Dispersion::default();
        (0..500).for_each(|_| dispersion.learn(Happened { episodes: 5.0, attempts: 0.0 }, 1.9));
        assert_eq!(dispersion.bound(), None);
    }
}
