//! A ring of equal buckets over event time, sparse: a quiet series costs nothing.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{GoodBad, Merge, Tally};
use crate::event::{Span, Timestamp};

/// Buckets of `width`, at most `capacity` of them up to the newest; older ones fall out and late additions older than
/// the ring are dropped (the counter they belong to has them all the same).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Ring<T> {
    width: Span,
    capacity: i64,
    buckets: VecDeque<(i64, T)>,
}

impl<T: Merge + Clone> Ring<T> {
    /// A ring that reaches back `width` × `capacity`.
    pub fn new(width: Span, capacity: u32) -> Self {
        Self { width, capacity: i64::from(capacity), buckets: VecDeque::new() }
    }

    /// The bucket that holds `at`, made if absent; `None` where it is older than the ring.
    pub fn bucket(&mut self, at: Timestamp) -> Option<&mut T> {
        let index = at.index(self.width);
        let newest = self.buckets.back().map_or(index, |(newest, _)| index.max(*newest));
        if index <= newest - self.capacity {
            return None;
        }
        self.drop_older(newest);
        let place = self.buckets.partition_point(|(other, _)| *other < index);
        if self.buckets.get(place).is_none_or(|(other, _)| *other != index) {
            self.buckets.insert(place, (index, T::default()));
        }
        self.buckets.get_mut(place).map(|(_, bucket)| bucket)
    }

    /// Everything in buckets that overlap (`from`, `to`].
    pub fn sum(&self, from: Timestamp, to: Timestamp) -> T {
        let (first, last) = (Timestamp(from.0 + 1).index(self.width), to.index(self.width));
        let mut sum = T::default();
        self.between(first, last).for_each(|(_, bucket)| sum.merge(bucket));
        sum
    }

    /// Whether no bucket is newer than `since`.
    pub fn quiet_since(&self, since: Timestamp) -> bool {
        self.buckets.back().is_none_or(|(index, _)| *index < since.index(self.width))
    }

    /// Folds another ring of the same shape into this one.
    pub fn merge(&mut self, other: &Self) {
        debug_assert_eq!((self.width, self.capacity), (other.width, other.capacity));
        for (index, bucket) in &other.buckets {
            if let Some(own) = self.bucket(Timestamp(index * self.width.0)) {
                own.merge(bucket);
            }
        }
        if let Some((newest, _)) = self.buckets.back() {
            self.drop_older(*newest);
        }
    }

    /// The buckets from the index `first` to `last`, both included.
    fn between(&self, first: i64, last: i64) -> impl Iterator<Item = &(i64, T)> {
        let start = self.buckets.partition_point(|(index, _)| *index < first);
        self.buckets.range(start..).take_while(move |(index, _)| *index <= last)
    }

    fn drop_older(&mut self, newest: i64) {
        while self.buckets.front().is_some_and(|(index, _)| *index <= newest - self.capacity) {
            self.buckets.pop_front();
        }
    }

    /// Weighs each bucket by the share of it that lies in (`from`, `to`], taking its content as spread evenly.
    fn weighted(&self, from: Timestamp, to: Timestamp, value: impl Fn(&T) -> f64) -> f64 {
        let mut sum = 0.0;
        for (index, bucket) in self.between(from.index(self.width), to.index(self.width)) {
            let start = index * self.width.0;
            let overlap = (start + self.width.0).min(to.0) - start.max(from.0);
            // The bucket that `to` cuts is still filling: all of it lies before `to`.
            let share = if (start..start + self.width.0).contains(&to.0) {
                if start >= from.0 { 1.0 } else { (to.0 - from.0) as f64 / (to.0 - start).max(1) as f64 }
            } else {
                overlap.max(0) as f64 / self.width.0 as f64
            };
            sum += share * value(bucket);
        }
        sum
    }
}

impl Ring<Tally> {
    /// Attempts in (`from`, `to`], the oldest bucket weighed by the share of it that is inside.
    pub fn attempts(&self, from: Timestamp, to: Timestamp) -> f64 {
        self.weighted(from, to, |tally| f64::from(tally.all()))
    }
}

impl Ring<GoodBad> {
    /// The share of good events in (`from`, `to`]; `None` without events.
    pub fn good_share(&self, from: Timestamp, to: Timestamp) -> Option<f64> {
        let sum = self.sum(from, to);
        let all = sum.good + sum.bad;
        (all > 0).then(|| f64::from(sum.good) / f64::from(all))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ring(additions: &[(i64, u32)]) -> Ring<Tally> {
        let mut ring: Ring<Tally> = Ring::new(Span::minutes(1), 240);
        for (at, succeeded) in additions {
            if let Some(bucket) = ring.bucket(Timestamp(*at)) {
                bucket.succeeded += succeeded;
            }
        }
        ring
    }

    #[test]
    fn a_bucket_older_than_the_ring_is_dropped() {
        let minute = 60_000;
        let mut ring = ring(&[(0, 1), (239 * minute, 1)]);
        assert_eq!(ring.sum(Timestamp(-1), Timestamp(239 * minute)).succeeded, 2);
        assert!(ring.bucket(Timestamp(240 * minute)).is_some());
        assert_eq!(ring.sum(Timestamp(-1), Timestamp(240 * minute)).succeeded, 1);
        assert!(ring.bucket(Timestamp(0)).is_none());
    }

    #[test]
    fn the_oldest_bucket_counts_by_its_share() {
        let ring = ring(&[(30_000, 60), (90_000, 6)]);
        // (30 s, 90 s]: half of the first minute, and the whole of the minute that is still filling.
        assert!((ring.attempts(Timestamp(30_000), Timestamp(90_000)) - 36.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn merge_is_commutative_and_equals_one_ring(
            a in prop::collection::vec((0i64..40_000_000, 1u32..5), 0..40),
            b in prop::collection::vec((0i64..40_000_000, 1u32..5), 0..40),
        ) {
            let (mut ab, mut ba) = (ring(&a), ring(&b));
            let (only_a, only_b) = (ring(&a), ring(&b));
            ab.merge(&only_b);
            ba.merge(&only_a);
            prop_assert_eq!(&ab, &ba);
            let mut both: Vec<_> = a.into_iter().chain(b).collect();
            both.sort_unstable();
            prop_assert_eq!(ab, ring(&both));
        }
    }
}
