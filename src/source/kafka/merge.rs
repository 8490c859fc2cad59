//! Several partitions as one source: records leave in the order of their `published`, not of their arrival.
//!
//! Order is kept within a partition only, and a partition can be hours behind another. The core's watermark follows
//! the newest event of a source, so the partitions must be merged before it: the record with the least time goes next,
//! once every other partition has shown that it holds nothing much older. A partition at its end, or one that has been
//! silent for a minute, is not waited for.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::event::Timestamp;

/// A partition that delivered up to this much before a record need not be waited for: far below the lateness that the
/// core allows within one source.
pub(super) const SLACK_MS: i64 = 5_000;

/// One partition's records on their way.
#[derive(Debug)]
pub(super) struct Lane<T> {
    /// Read and not yet handed on: one, and what arrived before the partition had a queue of its own.
    waiting: VecDeque<Item<T>>,
    at_end: bool,
    heard: Instant,
    newest: Timestamp,
}

#[derive(Debug)]
struct Item<T> {
    /// `None`: nothing to be ordered by, goes at once.
    time: Option<Timestamp>,
    record: T,
}

impl<T> Lane<T> {
    /// A partition that has not been heard of.
    pub(super) fn new(now: Instant) -> Self {
        Self { waiting: VecDeque::new(), at_end: false, heard: now, newest: Timestamp::MIN }
    }

    /// A record arrived.
    pub(super) fn push(&mut self, time: Option<Timestamp>, record: T, now: Instant) {
        self.waiting.push_back(Item { time, record });
        self.at_end = false;
        self.heard = now;
    }

    /// The partition has nothing after what arrived.
    pub(super) fn ended(&mut self, now: Instant) {
        self.at_end = true;
        self.heard = now;
    }

    /// Whether a record waits here.
    pub(super) fn has_record(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether everything that the partition had is handed on.
    pub(super) fn is_done(&self) -> bool {
        self.at_end && self.waiting.is_empty()
    }

    /// Takes the record that waits.
    pub(super) fn take(&mut self) -> Option<T> {
        let item = self.waiting.pop_front()?;
        self.newest = self.newest.max(item.time.unwrap_or(Timestamp::MIN));
        Some(item.record)
    }

    fn head(&self) -> Option<Timestamp> {
        self.waiting.front().map(|item| item.time.unwrap_or(Timestamp::MIN))
    }

    fn holds_back(&self, time: Timestamp, now: Instant, idle: Duration) -> bool {
        let is_awaited = self.waiting.is_empty() && !self.at_end && now.duration_since(self.heard) < idle;
        is_awaited && self.newest.0.saturating_add(SLACK_MS) < time.0
    }
}

/// Which lane's record goes next; `None` where none waits, or the least must wait for a partition that may hold an
/// older one.
pub(super) fn next<T>(lanes: &[Lane<T>], now: Instant, idle: Duration) -> Option<usize> {
    let heads = lanes.iter().enumerate().filter_map(|(index, lane)| lane.head().map(|time| (time, index)));
    let (least, index) = heads.min()?;
    let waits = lanes.iter().any(|lane| lane.holds_back(least, now, idle));
    (!waits).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(60);

    /// Takes as long as anything may go.
    fn drain(lanes: &mut [Lane<i64>], now: Instant) -> Vec<i64> {
        let mut out = Vec::new();
        while let Some(index) = next(lanes, now, IDLE) {
            out.extend(lanes[index].take());
        }
        out
    }

    fn lane(now: Instant, seconds: &[i64]) -> Lane<i64> {
        let mut lane = Lane::new(now);
        for second in seconds {
            lane.push(Some(Timestamp(second * 1_000)), *second, now);
        }
        lane
    }

    #[test]
    fn records_leave_by_time_whatever_partition_they_are_in() {
        let now = crate::clock::monotonic();
        let mut lanes = [lane(now, &[10, 40, 41]), lane(now, &[5, 30, 90]), lane(now, &[])];
        assert_eq!(drain(&mut lanes, now), Vec::<i64>::new(), "the third may hold older ones");
        lanes[2].ended(now);
        assert_eq!(drain(&mut lanes, now), [5, 10, 30, 40, 41], "90 waits for what the first brings");
        lanes[0].ended(now);
        assert_eq!(drain(&mut lanes, now), [90]);
        assert!(lanes[2].is_done() && lanes[0].is_done() && !lanes[1].is_done());
    }

    #[test]
    fn a_partition_that_is_as_far_is_not_waited_for() {
        let now = crate::clock::monotonic();
        let mut lanes = [lane(now, &[100]), lane(now, &[101, 104, 107])];
        assert_eq!(drain(&mut lanes, now), [100, 101, 104]);
        assert_eq!(drain(&mut lanes, now), Vec::<i64>::new(), "107 is more than the slack after 100");
    }

    #[test]
    fn a_partition_that_is_silent_for_a_minute_leaves_the_minimum() {
        let now = crate::clock::monotonic();
        let mut lanes = [lane(now, &[100]), lane(now, &[])];
        assert_eq!(drain(&mut lanes, now + IDLE - Duration::from_millis(1)), Vec::<i64>::new());
        assert_eq!(drain(&mut lanes, now + IDLE), [100]);
    }

    #[test]
    fn a_record_without_a_time_goes_at_once_and_orders_nothing() {
        let now = crate::clock::monotonic();
        let mut lanes = [lane(now, &[100]), lane(now, &[])];
        lanes[0].push(None, -1, now);
        lanes[1].push(None, -2, now);
        assert_eq!(drain(&mut lanes, now), [-2]);
        lanes[1].ended(now);
        assert_eq!(drain(&mut lanes, now), [100, -1]);
    }
}
