//! What is usual for a series: its own past, leaning on its parent while that past is short.
//!
//! θ = (n + κ) / (E + κ/θ_parent), κ = 4: n person-episodes of refusal (a person counts again after an hour) in E
//! attempts, both fading with a half-life of four weeks. Form: gamma-Poisson shrinkage, DuMouchel 1999 (Am. Stat. 53,
//! 177). Hours that belong to an incident are left out, so an outage never becomes usual.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::event::{Span, Timestamp};

const KAPPA: f64 = 4.0;
const HOUR: Span = Span::hours(1);
/// An hour is learnt when it is this old: by then an incident that began in it is known.
const SETTLED: i64 = 5;
/// 0.84 a week: a half-life of four weeks.
const FADE_PER_HOUR: f64 = 0.998_963;

/// Episodes and attempts of one hour that is not settled yet.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
struct Pending {
    hour: i64,
    episodes: i64,
    attempts: i64,
}

/// The learnt past of one series.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Baseline {
    episodes: f64,
    attempts: f64,
    faded_to: i64,
    pending: VecDeque<Pending>,
}

impl Baseline {
    /// Counts an attempt at `at`, or takes one back (`by` = −1).
    pub fn attempt(&mut self, at: Timestamp, by: i64) {
        self.pending(at).attempts += by;
    }

    /// Counts a person-episode of refusal at `at`, or takes one back (`by` = −1).
    pub fn episode(&mut self, at: Timestamp, by: i64) {
        self.pending(at).episodes += by;
    }

    /// Learns the hours that have settled at `now`, but those for which `left_out` says that they belong to an
    /// incident.
    pub fn settle(&mut self, now: Timestamp, left_out: &dyn Fn(i64) -> bool) {
        let current = now.index(HOUR);
        while let Some(pending) = self.pending.front().copied() {
            if pending.hour > current - SETTLED {
                break;
            }
            self.pending.pop_front();
            if left_out(pending.hour) {
                continue;
            }
            self.fade(pending.hour);
            self.episodes += pending.episodes.max(0) as f64;
            self.attempts += pending.attempts.max(0) as f64;
        }
        self.fade(current);
    }

    /// Usual refusals per attempt; `parent` is the parent's, `exposure` stands for the series' own attempts where it
    /// has none of its own (a rule is named by refusals only).
    pub fn rate(&self, parent: f64, exposure: Option<&Self>) -> f64 {
        let attempts = exposure.map_or(self.attempts, |other| other.attempts);
        (self.episodes + KAPPA) / (attempts + KAPPA / parent)
    }

    /// Whether nothing worth keeping was learnt and nothing waits to be.
    pub fn is_blank(&self) -> bool {
        self.pending.is_empty() && self.attempts < 0.5 && self.episodes < 0.5
    }

    fn fade(&mut self, hour: i64) {
        if hour > self.faded_to {
            let factor = FADE_PER_HOUR.powi((hour - self.faded_to).min(i64::from(i32::MAX)) as i32);
            self.episodes *= factor;
            self.attempts *= factor;
            self.faded_to = hour;
        }
    }

    fn pending(&mut self, at: Timestamp) -> &mut Pending {
        let hour = at.index(HOUR);
        let place = self.pending.partition_point(|pending| pending.hour < hour);
        if self.pending.get(place).is_none_or(|pending| pending.hour != hour) {
            self.pending.insert(place, Pending { hour, episodes: 0, attempts: 0 });
        }
        &mut self.pending[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(n: i64) -> Timestamp {
        Timestamp(n * HOUR.0)
    }

    #[test]
    fn without_a_past_the_parent_speaks() {
        assert!((Baseline::default().rate(0.01, None) - 0.01).abs() < 1e-12);
    }

    #[test]
    fn a_past_outweighs_the_parent() {
        let mut baseline = Baseline::default();
        (0..10_000).for_each(|_| baseline.attempt(hour(0), 1));
        (0..300).for_each(|_| baseline.episode(hour(0), 1));
        baseline.settle(hour(SETTLED), &|_| false);
        assert!((baseline.rate(0.01, None) - 0.03).abs() < 0.002, "{}", baseline.rate(0.01, None));
    }

    #[test]
    fn an_hour_of_an_incident_is_never_learnt() {
        let mut baseline = Baseline::default();
        (0..100).for_each(|_| baseline.episode(hour(3), 1));
        baseline.settle(hour(3 + SETTLED), &|hour| hour == 3);
        assert!((baseline.rate(0.01, None) - 0.01).abs() < 1e-12);
    }

    #[test]
    fn four_weeks_halve_what_was_learnt() {
        let mut baseline = Baseline::default();
        (0..1_000).for_each(|_| baseline.attempt(hour(0), 1));
        baseline.settle(hour(SETTLED), &|_| false);
        let before = baseline.attempts;
        baseline.settle(hour(SETTLED + 28 * 24), &|_| false);
        assert!((baseline.attempts / before - 0.5).abs() < 0.01);
    }
}
