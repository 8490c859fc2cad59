//! Judges: questions about the series of an org, each answered with a reason and the numbers behind it.
//!
//! Today there is one, [`spike`]: are more distinct people refused than chance explains? A judge is handed a [`Look`] and
//! keeps no state of its own. What it looks at is kept by the [`Board`]: attempts, refused people, what is usual and how
//! much that varies, and the changes that lower the threshold for a while. The scorecard (`benches/scorecard`) drives the
//! same board that the daemon drives.

mod baseline;
mod board;
pub mod budget;
mod case;
mod dispersion;
mod door;
mod series;
pub mod spike;
mod tail;

pub use board::{Board, Learning};
pub use budget::Thresholds;
pub use case::{Attempt, Case, Ended, Why};
pub use door::{Door, OPEN, Scope};
pub use series::Series;
pub use spike::{Look, Reason, Verdict};

use smol_str::SmolStr;

use crate::window::SeriesKey;

/// A series that fires at a tick.
#[derive(Clone, PartialEq, Debug)]
pub struct Firing {
    /// The series.
    pub key: SeriesKey,
    /// The look that fired, of all its windows the one furthest above its threshold.
    pub look: Look,
    /// The verdict on it.
    pub verdict: Verdict,
    /// The change that opened the second door, where it fired through that one: its event's `uuid`.
    pub change: Option<SmolStr>,
    /// The people of that window, hashed.
    pub people: Vec<u64>,
}

impl Firing {
    /// How far above its threshold.
    pub fn excess(&self) -> f64 {
        self.verdict.score - self.verdict.threshold
    }
}
