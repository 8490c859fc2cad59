//! How long a task waited and for what, as `authwatch_source_wait_seconds_total` counts it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::SourceName;
use crate::telemetry::metric::Metric;

/// The waits of one task, with what is not yet a whole second.
#[derive(Debug, Default)]
pub(super) struct Waits(BTreeMap<&'static str, Duration>);

impl Waits {
    /// Counts whole seconds; the rest is kept for the next wait of the same cause.
    pub(super) fn count(&mut self, source: &SourceName, cause: &'static str, length: Duration) {
        let total = self.0.entry(cause).or_default();
        *total += length;
        let whole = total.as_secs();
        *total -= Duration::from_secs(whole);
        Metric::SourceWait.counter(&[source.as_str(), cause]).increment(whole);
    }
}
