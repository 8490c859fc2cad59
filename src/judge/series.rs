//! One series: its attempts, its refused people, what is usual of it and how much that varies.

use serde::{Deserialize, Serialize};

use super::baseline::Baseline;
use super::case::Ended;
use super::dispersion::Dispersion;
use crate::event::{Span, Timestamp};
use crate::window::{LastSeen, Level, Ring, Tally};

/// One series.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Series {
    pub(super) tallies: Ring<Tally>,
    pub(super) refused: LastSeen,
    pub(super) baseline: Baseline,
    /// Of series with at most one value; the others take their parents'.
    pub(super) dispersion: Option<Dispersion>,
}

impl Series {
    pub(super) fn new(level: Level) -> Self {
        let has_dispersion = level.is_judged() && level.ways().len() <= 1;
        Self {
            tallies: Ring::new(Span::minutes(1), 241),
            refused: LastSeen::default(),
            baseline: Baseline::default(),
            dispersion: has_dispersion.then(Dispersion::default),
        }
    }

    /// Attempts in the `window` up to `now`, whole minutes.
    pub fn tally(&self, now: Timestamp, window: Span) -> Tally {
        self.tallies.sum(now - window, now)
    }

    /// Distinct people refused in the `window` up to `now`.
    pub fn refused_people(&self, now: Timestamp, window: Span) -> u32 {
        self.refused.count(now - window, now)
    }

    /// Counts an attempt, or takes one back (`by` = −1).
    pub(super) fn count(&mut self, at: Timestamp, ended: Ended, by: i64) {
        let Some(tally) = self.tallies.bucket(at) else { return };
        let count = match ended {
            Ended::Succeeded => &mut tally.succeeded,
            Ended::Denied => &mut tally.denied,
            Ended::Failed => &mut tally.failed,
        };
        *count = count.saturating_add_signed(by as i32);
        self.baseline.attempt(at, by);
    }

    /// Notes a refused person.
    pub(super) fn refuse(&mut self, person: u64, at: Timestamp) {
        if self.refused.note(person, at) {
            self.baseline.episode(at, 1);
        }
    }

    /// Takes back a refusal.
    pub(super) fn unrefuse(&mut self, person: u64, at: Timestamp) {
        if self.refused.take_back(person, at) {
            self.baseline.episode(at, -1);
        }
    }

    /// Whether nothing is left that any window or baseline could need at `now`.
    pub(super) fn is_idle(&self, now: Timestamp) -> bool {
        self.baseline.is_blank() && self.refused.is_empty() && self.tallies.quiet_since(now - LastSeen::REACH)
    }
}
