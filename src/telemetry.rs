//! What authwatch says about itself: metric names, readiness conditions, logs.

pub mod condition;
pub mod metric;
