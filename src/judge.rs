//! Judges: pure questions about a series, each answered with a reason and the numbers behind it.
//!
//! The set of judges is closed. [`spike`]: are more distinct people refused than chance explains? [`burn`]: is an
//! objective's error budget used too fast? [`blind`]: does a source tell what happens at all? A judge is handed what was
//! counted and decides nothing else; what is usual for refusals comes from a [`Baseline`].

pub mod alarm;
mod baseline;
pub mod blind;
pub mod burn;
pub mod spike;
mod tail;

pub use baseline::Baseline;
pub use spike::{Look, Reason, Verdict};
