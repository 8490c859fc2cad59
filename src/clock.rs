//! The only reader of time. Everything else is handed an instant; a lint forbids the rest.

use std::time::Instant;

use crate::event::Timestamp;

/// The host's wall clock, for sources whose server sends no `Date` and for log lines; never for judging.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub fn now() -> Timestamp {
    Timestamp(chrono::Utc::now().timestamp_millis())
}

/// The host's monotonic clock, for durations.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the monotonic clock")]
pub fn monotonic() -> Instant {
    Instant::now()
}
