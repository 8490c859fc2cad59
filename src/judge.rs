//! Judges: pure questions about a series, each answered with a reason and the numbers behind it.
//!
//! The set of judges is closed. Today there is one, [`spike`]: are more distinct people refused than chance explains?
//! A judge is handed a [`Look`] and keeps no state of its own; what is usual comes from a [`Baseline`].

mod baseline;
pub mod spike;
mod tail;

pub use baseline::Baseline;
pub use spike::{Look, Reason, Verdict};
