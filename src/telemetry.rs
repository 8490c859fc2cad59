//! What authwatch says about itself: metric names, readiness conditions, logs.

pub mod condition;
pub mod exposition;
pub mod log;
pub mod metric;
pub mod preflight;
pub mod reference;
pub mod snapshot;
pub mod spelling;
