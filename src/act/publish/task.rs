//! One publisher's task: take a snapshot when it is due, send what waits, hold back with a reason.
//!
//! One request is in flight at a time. A stop takes a last snapshot and sends what waits, within [`FLUSH`]; a request
//! that is cut off then may have arrived and is counted so.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::delta::Meter;
use super::item::merge;
use super::mark::Marks;
use super::queue::Waiting;
use super::{Publisher, Pushed, Read};
use crate::act::retry::{Backoff, Failure};
use crate::clock;
use crate::event::{Span, Timestamp};
use crate::telemetry::condition::Condition;
use crate::telemetry::metric::Metric;
use crate::telemetry::snapshot::Snapshot;

/// How long a task goes on after it was told to stop.
pub const FLUSH: Duration = Duration::from_secs(5);

/// What became of points; the `result` label.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// Taken.
    Sent,
    /// Refused for good.
    Refused,
    /// May have arrived; not sent again.
    Unknown,
    /// Too old to be taken.
    TooOld,
    /// Too many pushes waited.
    NoRoom,
    /// Still waiting at the stop.
    Unsent,
}

impl Fate {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::TooOld => "too_old",
            Self::NoRoom => "no_room",
            Self::Unsent => "unsent",
        }
    }
}

/// The task of one publisher.
pub(super) struct Task {
    publisher: Publisher,
    read: Read,
    /// Absent where no metrics are pushed.
    condition: Option<Condition>,
    /// Absent where no changes are marked.
    marks: Option<Marks>,
    meter: Meter,
    waiting: Waiting,
    backoff: Backoff,
    /// Nothing is sent before.
    held: Option<Instant>,
    /// When the next snapshot is due.
    due: Instant,
    /// When the last snapshot was taken, by both clocks.
    last: (Timestamp, Instant),
    /// What went wrong since the last snapshot although the rest was taken.
    trouble: Option<String>,
    /// A request is under way.
    in_flight: bool,
}

impl Task {
    /// A task that goes on from a base line.
    pub(super) fn new(
        publisher: Publisher,
        read: Read,
        base: &Snapshot,
        (condition, marks): (Option<Condition>, Option<Marks>),
    ) -> Self {
        let now = clock::monotonic();
        let settings = publisher.settings;
        Self {
            read,
            condition,
            marks,
            meter: Meter::new(settings.limits.series, base),
            waiting: Waiting::new(settings.limits.waiting),
            backoff: Backoff::default(),
            held: None,
            due: now + settings.interval,
            last: (clock::now(), now),
            trouble: None,
            in_flight: false,
            publisher,
        }
    }

    /// Works until told to stop.
    pub(super) async fn run(mut self, stop: watch::Receiver<bool>) {
        let mut stopped = stop.clone();
        let flushed = async {
            // An error means that the other side is gone: as good as a stop.
            let _ = stopped.wait_for(|stop| *stop).await;
            tokio::time::sleep(FLUSH).await;
        };
        tokio::select! {
            () = self.work(stop) => {}
            () = flushed => {}
        }
        if self.in_flight {
            let in_flight = self.waiting.front().map_or(0, |batch| batch.items.len());
            self.waiting.settle();
            self.count(Fate::Unknown, in_flight);
        }
        let unsent = self.waiting.clear();
        self.count(Fate::Unsent, unsent);
        if unsent > 0 {
            tracing::warn!(sink = self.publisher.name, points = unsent, "points were not pushed before the stop");
        }
        tracing::debug!(sink = self.publisher.name, "publisher ended");
    }

    async fn work(&mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let stopping = *stop.borrow() || stop.has_changed().is_err();
            if stopping || clock::monotonic() >= self.due {
                self.take().await;
            }
            while self.may_send() {
                self.send().await;
                if clock::monotonic() >= self.due && !stopping {
                    self.take().await;
                }
            }
            if let Some(marks) = &mut self.marks {
                marks.send(&self.publisher.name, &self.publisher.target).await;
            }
            if stopping {
                break;
            }
            let held = self.held.filter(|_| self.waiting.front().is_some());
            let marks = self.marks.as_ref().and_then(Marks::held);
            let until = held.into_iter().chain(marks).fold(self.due, Instant::min);
            tokio::select! {
                () = tokio::time::sleep(until.saturating_duration_since(clock::monotonic())) => {}
                _ = stop.changed() => {}
            }
        }
    }

    /// Takes a snapshot and lets its points wait.
    async fn take(&mut self) {
        let read = self.read.clone();
        let now = clock::monotonic();
        let interval = self.publisher.settings.interval;
        self.due = if self.due + interval > now { self.due + interval } else { now + interval };
        let snapshot = match tokio::task::spawn_blocking(move || read()).await {
            Ok(snapshot) => snapshot,
            Err(error) => {
                tracing::error!(sink = self.publisher.name, %error, "the metrics could not be read");
                return;
            }
        };
        let (last, at) = (self.last.0, time_after(self.last.0, clock::now()));
        let seconds = now.duration_since(self.last.1).as_secs_f64().round().max(1.0);
        self.last = (at, now);
        if let Some(marks) = &mut self.marks {
            marks.take(&self.publisher.name, &snapshot, last, at);
        }
        if self.condition.is_none() {
            return;
        }
        let (points, left_out) = self.meter.take(&snapshot);
        let (items, collided) = merge(self.publisher.target.items(&points));
        let dropped = (left_out + collided) as u64;
        Metric::SinkSeriesDropped.counter(&[&self.publisher.name]).increment(dropped);
        self.trouble = None;
        let gone = self.waiting.add(at, seconds as u64, items, self.publisher.target.per_request());
        self.count(Fate::NoRoom, gone);
    }

    fn may_send(&mut self) -> bool {
        let expired = self.waiting.expire(clock::now());
        self.count(Fate::TooOld, expired);
        self.waiting.front().is_some() && self.held.is_none_or(|held| held <= clock::monotonic())
    }

    /// Sends the next request and settles what it came to.
    async fn send(&mut self) {
        let Some(batch) = self.waiting.front() else { return };
        let points = batch.items.len();
        self.in_flight = true;
        let pushed = self.publisher.target.push(batch).await;
        self.in_flight = false;
        match pushed {
            Pushed::Taken { refused, trouble } => {
                let refused = refused.min(points);
                self.waiting.settle();
                self.count(Fate::Sent, points - refused);
                self.count(Fate::Refused, refused);
                (self.backoff, self.held) = (Backoff::default(), None);
                self.trouble = self.trouble.take().or(trouble);
                self.well();
            }
            Pushed::TooLarge(_) if points > 1 => self.waiting.split(),
            Pushed::TooLarge(failure) | Pushed::Refused(failure) => {
                self.waiting.settle();
                self.count(Fate::Refused, points);
                self.ill(&failure);
                self.trouble = Some(failure.detail);
            }
            Pushed::Held(failure) => self.hold(&failure),
            Pushed::Unknown(failure) => {
                let lost = self.waiting.keep_repeatable();
                self.count(Fate::Unknown, lost);
                self.hold(&failure);
            }
        }
    }

    fn hold(&mut self, failure: &Failure) {
        Metric::SinkRetries.counter(&[&self.publisher.name, failure.reason.as_str()]).increment(1);
        self.held = Some(clock::monotonic() + self.backoff.next(failure.wait));
        self.ill(failure);
    }

    /// The last request went well; what was refused since the last snapshot still counts.
    fn well(&self) {
        let Some(condition) = &self.condition else { return };
        match &self.trouble {
            None => {
                if condition.ok() {
                    tracing::info!(sink = self.publisher.name, "metrics are pushed");
                }
            }
            Some(trouble) => {
                if condition.failing(trouble) {
                    tracing::warn!(sink = self.publisher.name, trouble, "metrics are pushed, but not all are taken");
                }
            }
        }
    }

    /// Something failed: said once, until it changes.
    fn ill(&self, failure: &Failure) {
        if self.condition.as_ref().is_some_and(|condition| condition.failing(&failure.detail)) {
            let (reason, detail) = (failure.reason.as_str(), &failure.detail);
            tracing::warn!(sink = self.publisher.name, reason, detail, "metrics are not pushed");
        }
    }

    fn count(&self, fate: Fate, points: usize) {
        if points > 0 {
            let labels = [self.publisher.name.as_str(), fate.as_str()];
            Metric::PublishedPoints.counter(&labels).increment(points as u64);
        }
    }
}

/// The time of a snapshot: now, but never within a second of the one before, as of two counts of one second the other
/// side would keep one. A clock that was set back by more is believed.
fn time_after(last: Timestamp, now: Timestamp) -> Timestamp {
    if last - now > Span::minutes(1) { now } else { now.max(last + Span::seconds(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_no_two_snapshots_have_the_same_second() {
        let last = Timestamp(100_000_900);
        for (now, expect) in [
            (100_060_000, 100_060_000),
            (100_001_100, 100_001_900),
            (100_000_000, 100_001_900),
            (99_000_000, 99_000_000),
        ] {
            assert_eq!(time_after(last, Timestamp(now)), Timestamp(expect), "{now}");
        }
    }
}
