//! Markers of changes on their way: sent at most once, held back on their own, so that a missing right to send events
//! holds up no metric.

use std::time::Instant;

use super::change::Changes;
use super::{Pushed, Target};
use crate::act::retry::Backoff;
use crate::clock;
use crate::event::Timestamp;
use crate::telemetry::condition::Condition;
use crate::telemetry::metric::Metric;
use crate::telemetry::snapshot::Snapshot;

/// The step in `authwatch_sink_actions_total`.
const STEP: &str = "change";

/// The markers of one system.
pub(super) struct Marks {
    changes: Changes,
    backoff: Backoff,
    held: Option<Instant>,
    condition: Condition,
}

impl Marks {
    /// Goes on from a base line.
    pub(super) fn new(base: &Snapshot, condition: Condition) -> Self {
        condition.ok();
        Self { changes: Changes::new(base), backoff: Backoff::default(), held: None, condition }
    }

    /// Takes up what changed between two times.
    pub(super) fn take(&mut self, sink: &str, snapshot: &Snapshot, from: Timestamp, until: Timestamp) {
        let left_out = self.changes.take(snapshot, from, until);
        count(sink, "left_out", left_out);
    }

    /// Sends what waits, until something holds it up.
    pub(super) async fn send(&mut self, sink: &str, target: &Target) {
        count(sink, "too_old", self.changes.expire(clock::now()));
        while let Some(marker) = self.changes.front() {
            if self.held.is_some_and(|held| held > clock::monotonic()) {
                return;
            }
            let failure = match target.mark(marker).await {
                Ok(()) => {
                    self.changes.settle();
                    count(sink, "sent", 1);
                    (self.backoff, self.held) = (Backoff::default(), None);
                    self.condition.ok();
                    continue;
                }
                Err(failure) => failure,
            };
            if self.condition.failing(&failure.detail) {
                let (reason, detail) = (failure.reason.as_str(), &failure.detail);
                tracing::warn!(sink, reason, detail, "a change was not marked");
            }
            let wait = failure.wait;
            match Pushed::from(failure) {
                Pushed::Held(_) => self.held = Some(clock::monotonic() + self.backoff.next(wait)),
                // It may stand there already, and a second one would be a second change.
                Pushed::Unknown(_) => self.drop_next(sink, "unknown"),
                Pushed::Taken { .. } | Pushed::TooLarge(_) | Pushed::Refused(_) => self.drop_next(sink, "refused"),
            }
        }
    }

    /// When it is worth trying again.
    pub(super) fn held(&self) -> Option<Instant> {
        self.held.filter(|_| self.changes.front().is_some())
    }

    fn drop_next(&mut self, sink: &str, result: &str) {
        self.changes.settle();
        count(sink, result, 1);
    }
}

fn count(sink: &str, result: &str, markers: usize) {
    if markers > 0 {
        Metric::SinkActions.counter(&[sink, STEP, result]).increment(markers as u64);
    }
}
