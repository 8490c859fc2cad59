//! Pushes that wait: bounded in number and in age, the oldest first. Pure.

use std::collections::VecDeque;

use super::AGE;
use super::item::Item;
use crate::event::Timestamp;

/// What one request carries: points of one snapshot.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Batch {
    /// When the snapshot was taken.
    pub(super) at: Timestamp,
    /// How long after the one before, in seconds; at least 1.
    pub(super) seconds: u64,
    /// The points.
    pub(super) items: Vec<Item>,
}

/// Everything that waits for one system.
#[derive(Debug)]
pub(super) struct Waiting {
    batches: VecDeque<Batch>,
    /// The most snapshots that may wait.
    most: usize,
}

impl Waiting {
    pub(super) fn new(most: usize) -> Self {
        Self { batches: VecDeque::new(), most }
    }

    /// Adds a snapshot in parts of at most `part` points. The number of points that had to go for it.
    pub(super) fn add(&mut self, at: Timestamp, seconds: u64, items: Vec<Item>, part: usize) -> usize {
        let parts = items.chunks(part.max(1)).map(|items| Batch { at, seconds, items: items.to_vec() });
        self.batches.extend(parts);
        let mut gone = 0;
        while self.snapshots() > self.most {
            let Some(oldest) = self.front().map(|batch| batch.at) else { break };
            gone += self.drop_until(|batch| batch.at > oldest);
        }
        gone
    }

    /// Drops what is too old to be taken. The number of points.
    pub(super) fn expire(&mut self, now: Timestamp) -> usize {
        self.drop_until(|batch| now - batch.at <= AGE)
    }

    /// The next to be sent.
    pub(super) fn front(&self) -> Option<&Batch> {
        self.batches.front()
    }

    /// The next is done with.
    pub(super) fn settle(&mut self) {
        self.batches.pop_front();
    }

    /// The next was too large: its halves take its place.
    pub(super) fn split(&mut self) {
        let Some(mut first) = self.batches.pop_front() else { return };
        let items = first.items.split_off(first.items.len() / 2);
        self.batches.push_front(Batch { items, ..first });
        self.batches.push_front(first);
    }

    /// The next may have been taken: what must not be said twice leaves it. The number of points.
    pub(super) fn keep_repeatable(&mut self) -> usize {
        let Some(first) = self.batches.front_mut() else { return 0 };
        let before = first.items.len();
        first.items.retain(Item::is_repeatable);
        let lost = before - first.items.len();
        if first.items.is_empty() {
            self.settle();
        }
        lost
    }

    /// Takes everything; the number of points.
    pub(super) fn clear(&mut self) -> usize {
        self.drop_until(|_| false)
    }

    fn drop_until(&mut self, keep: impl Fn(&Batch) -> bool) -> usize {
        let mut gone = 0;
        while let Some(first) = self.batches.pop_front_if(|batch| !keep(batch)) {
            gone += first.items.len();
        }
        gone
    }

    /// How many snapshots wait; parts of one stand together.
    fn snapshots(&self) -> usize {
        let ends = self.batches.iter().zip(self.batches.iter().skip(1)).filter(|(a, b)| a.at != b.at).count();
        ends + usize::from(!self.batches.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::super::item::Value;
    use super::*;
    use crate::event::Span;

    fn items(count: usize) -> Vec<Item> {
        let item = |n: usize| {
            let value = if n.is_multiple_of(2) { Value::Gauge(1.0) } else { Value::Count(1.0) };
            Item { name: n.to_string(), tags: vec![], value }
        };
        (0..count).map(item).collect()
    }

    fn sizes(waiting: &Waiting) -> Vec<(i64, usize)> {
        waiting.batches.iter().map(|batch| (batch.at.0, batch.items.len())).collect()
    }

    #[test]
    fn the_oldest_snapshot_goes_whole_where_too_many_wait() {
        let mut waiting = Waiting::new(2);
        assert_eq!(waiting.add(Timestamp(1), 60, items(5), 2), 0);
        assert_eq!(waiting.add(Timestamp(2), 60, items(2), 2), 0);
        assert_eq!(sizes(&waiting), [(1, 2), (1, 2), (1, 1), (2, 2)]);
        assert_eq!(waiting.add(Timestamp(3), 60, items(1), 2), 5);
        assert_eq!(sizes(&waiting), [(2, 2), (3, 1)]);
        assert_eq!(waiting.clear(), 3);
    }

    #[test]
    fn trap_nothing_older_than_an_hour_is_sent() {
        let mut waiting = Waiting::new(9);
        for minute in 0..4 {
            waiting.add(Timestamp(0) + Span::minutes(minute), 60, items(2), 9);
        }
        assert_eq!(waiting.expire(Timestamp(0) + Span::minutes(57)), 4);
        assert_eq!(waiting.front().map(|batch| batch.at), Some(Timestamp(0) + Span::minutes(2)));
        assert!(AGE < Span::hours(1));
    }

    #[test]
    fn a_batch_is_halved_down_to_single_points() {
        let mut waiting = Waiting::new(9);
        waiting.add(Timestamp(1), 60, items(5), 9);
        waiting.split();
        assert_eq!(sizes(&waiting), [(1, 2), (1, 3)]);
        waiting.split();
        assert_eq!(sizes(&waiting), [(1, 1), (1, 1), (1, 3)]);
    }

    #[test]
    fn what_may_have_arrived_keeps_its_gauges_only() {
        let mut waiting = Waiting::new(9);
        waiting.add(Timestamp(1), 60, items(4), 9);
        assert_eq!(waiting.keep_repeatable(), 2);
        assert_eq!(sizes(&waiting), [(1, 2)]);
        assert_eq!(waiting.keep_repeatable(), 0);
        waiting.add(Timestamp(2), 60, vec![items(2).remove(1)], 9);
        waiting.settle();
        assert_eq!((waiting.keep_repeatable(), sizes(&waiting)), (1, vec![]));
    }
}
