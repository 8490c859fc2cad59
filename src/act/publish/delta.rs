//! What changed between two snapshots, within a cap of series. Pure.
//!
//! A counter that did not move says nothing and is left out, as is a value that is no number. A series that is new
//! since the base line began at 0, so all of it was added since. A series that was admitted stays, so that no count of
//! it is lost; beyond the cap new ones are left out, those with many labels first.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::telemetry::snapshot::{Histogram, Series, Snapshot, Value};

/// One series and what became of it since the last snapshot.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Point {
    /// The series.
    pub(super) series: Arc<Series>,
    /// What became of it.
    pub(super) change: Change,
}

/// What became of a series.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Change {
    /// Added to a counter; never 0.
    Added(u64),
    /// The value now; always a number.
    Now(f64),
    /// Samples added to a histogram; never none.
    Samples(Histogram),
}

/// Knows what was said last of every series that is pushed.
#[derive(Debug)]
pub(super) struct Meter {
    cap: usize,
    last: BTreeMap<Arc<Series>, Value>,
}

impl Meter {
    /// Begins with a base line: what it holds is not sent.
    pub(super) fn new(cap: usize, base: &Snapshot) -> Self {
        let mut meter = Self { cap, last: BTreeMap::new() };
        meter.take(base);
        meter
    }

    /// The points since the last snapshot, and how many series were left out.
    pub(super) fn take(&mut self, snapshot: &Snapshot) -> (Vec<Point>, usize) {
        let said = |value: &Value| !matches!(value, Value::Gauge(value) if !value.is_finite());
        let is_new = |(series, value): &(&Series, &Value)| said(value) && !self.last.contains_key(*series);
        let mut new: Vec<_> = snapshot.iter().filter(is_new).map(|(series, _)| series).collect();
        new.sort_by_key(|series| (series.labels.len(), *series));
        let room = self.cap.saturating_sub(self.last.len());
        let left_out = new.len().saturating_sub(room);
        for series in new.into_iter().take(room) {
            let nothing = match snapshot.get(series) {
                Some(Value::Histogram(_)) => Value::Histogram(Histogram::default()),
                Some(Value::Gauge(_)) => Value::Gauge(0.0),
                Some(Value::Counter(_)) | None => Value::Counter(0),
            };
            self.last.insert(Arc::new(series.clone()), nothing);
        }
        let point = |(series, last): (&Arc<Series>, &mut Value)| {
            let change = change(last, snapshot.get(series.as_ref())?)?;
            Some(Point { series: Arc::clone(series), change })
        };
        (self.last.iter_mut().filter_map(point).collect(), left_out)
    }
}

/// What was added since `last`, which becomes `now`.
fn change(last: &mut Value, now: &Value) -> Option<Change> {
    match (last, now) {
        (Value::Counter(last), Value::Counter(now)) => {
            // Counters never go back (invariant 10); if one did, the next count goes on from the highest.
            let added = now.saturating_sub(*last);
            *last = (*last).max(*now);
            (added > 0).then_some(Change::Added(added))
        }
        (Value::Gauge(_), Value::Gauge(now)) => now.is_finite().then_some(Change::Now(*now)),
        (Value::Histogram(last), Value::Histogram(now)) => {
            let samples = added(last, now);
            if samples.count > 0 {
                last.clone_from(now);
                Some(Change::Samples(samples))
            } else {
                None
            }
        }
        _ => None,
    }
}

/// The samples that came after `last`.
fn added(last: &Histogram, now: &Histogram) -> Histogram {
    let before = |bound: f64| {
        let found = last.buckets.iter().find(|(other, _)| other.total_cmp(&bound).is_eq());
        found.map_or(0, |(_, count)| *count)
    };
    let buckets = now.buckets.iter().map(|(bound, count)| (*bound, count.saturating_sub(before(*bound))));
    Histogram {
        buckets: buckets.collect(),
        sum: (now.sum - last.sum).max(0.0),
        count: now.count.saturating_sub(last.count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metric::Metric;

    fn counter(metric: Metric, source: &str, value: u64) -> (Series, Value) {
        (Series { metric, labels: vec![("source", source.to_owned())] }, Value::Counter(value))
    }

    fn gauge(value: f64) -> (Series, Value) {
        (Series { metric: Metric::SeriesLive, labels: vec![("org", "acme".to_owned())] }, Value::Gauge(value))
    }

    fn records(value: u64) -> (Series, Value) {
        counter(Metric::SourceRecords, "okta:acme", value)
    }

    /// The changes of the second snapshot after the first as a base line.
    #[track_caller]
    fn check(
        base: impl IntoIterator<Item = (Series, Value)>,
        now: impl IntoIterator<Item = (Series, Value)>,
        expect: &[Change],
    ) {
        let mut meter = Meter::new(100, &base.into_iter().collect());
        let (points, left_out) = meter.take(&now.into_iter().collect());
        let changes: Vec<_> = points.into_iter().map(|point| point.change).collect();
        assert_eq!((changes.as_slice(), left_out), (expect, 0));
    }

    #[test]
    fn trap_a_restart_does_not_send_the_whole_count_again() {
        check([records(1_000_000)], [records(1_000_003)], &[Change::Added(3)]);
        check([records(1_000_000)], [records(1_000_000)], &[]);
    }

    #[test]
    fn a_series_that_is_new_since_the_base_line_counts_whole() {
        check([], [records(7)], &[Change::Added(7)]);
    }

    #[test]
    fn a_counter_that_went_back_sends_nothing_until_it_is_past_its_highest() {
        let mut meter = Meter::new(9, &[records(10)].into());
        let mut added = |value| meter.take(&[records(value)].into()).0.pop().map(|point| point.change);
        assert_eq!([added(4), added(9), added(12)], [None, None, Some(Change::Added(2))]);
    }

    #[test]
    fn trap_what_is_no_number_is_left_out() {
        check([], [gauge(f64::NAN)], &[]);
        check([gauge(1.0)], [gauge(f64::INFINITY)], &[]);
        check([gauge(1.0)], [gauge(1.0)], &[Change::Now(1.0)]);
    }

    #[test]
    fn the_deltas_of_many_snapshots_add_up() {
        let mut meter = Meter::new(9, &[records(5)].into());
        let mut sum = 0;
        for value in [5, 6, 6, 30, 31] {
            for point in meter.take(&[records(value)].into()).0 {
                let Change::Added(n) = point.change else { panic!("a counter") };
                sum += n;
            }
        }
        assert_eq!(sum, 31 - 5);
    }

    #[test]
    fn samples_are_those_since_the_last_snapshot() {
        let of = |buckets: [u64; 2], sum, count| {
            let histogram = Histogram { buckets: vec![(0.1, buckets[0]), (1.0, buckets[1])], sum, count };
            (Series { metric: Metric::CommitDuration, labels: vec![] }, Value::Histogram(histogram))
        };
        let expect = Histogram { buckets: vec![(0.1, 2), (1.0, 3)], sum: 12.0, count: 4 };
        check([of([1, 1], 0.5, 1)], [of([3, 4], 12.5, 5)], &[Change::Samples(expect)]);
        check([of([1, 1], 0.5, 1)], [of([1, 1], 0.5, 1)], &[]);
    }

    #[test]
    fn beyond_the_cap_series_are_left_out_those_with_many_labels_first() {
        let ratio = |app: &str| {
            let labels = vec![("org", "acme".to_owned()), ("app", app.to_owned()), ("window", "5m".to_owned())];
            (Series { metric: Metric::AttemptRatio, labels }, Value::Gauge(0.5))
        };
        let all: Snapshot = [ratio("a"), ratio("b"), ratio("c"), records(1), gauge(2.0)].into();
        let mut meter = Meter::new(3, &Snapshot::new());
        let (points, left_out) = meter.take(&all);
        let labels: Vec<usize> = points.iter().map(|point| point.series.labels.len()).collect();
        assert_eq!((labels.iter().sum::<usize>(), points.len(), left_out), (1 + 1 + 3, 3, 2));
        // Who is in stays in, so that no count of it is lost, and the rest is counted at each push.
        let more: Snapshot = all.into_iter().chain([counter(Metric::SourceRecords, "new", 9)]).collect();
        let (points, left_out) = meter.take(&more);
        assert_eq!((points.len(), left_out), (2, 3), "a counter that did not move, and two gauges");
    }
}
