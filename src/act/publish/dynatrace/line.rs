//! Points as lines of Dynatrace's metric ingestion protocol. Pure.
//!
//! A line is refused whose value is no number, whose dimension breaks the quoting, or whose summary contradicts itself
//! (`min` above the mean, or `max` below it). None of these is written.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::cut;
use super::super::delta::{Change, Point};
use super::super::item::{Item, Summary, Value};
use super::super::queue::Batch;
use crate::telemetry::snapshot::Histogram;

/// Characters of a dimension's value.
const DIMENSION: usize = 250;

/// Points as Dynatrace spells them.
pub(in crate::act::publish) fn items(points: &[Point]) -> Vec<Item> {
    points.iter().map(item).collect()
}

fn item(point: &Point) -> Item {
    let value = match &point.change {
        Change::Added(added) => Value::Count(*added as f64),
        Change::Now(now) => Value::Gauge(*now),
        Change::Samples(samples) => Value::Summary(summary(samples)),
    };
    let tags = point.series.labels.iter().map(|(name, value)| dimension(name, value)).collect();
    Item { name: point.series.metric.dotted(), tags, value }
}

/// The bounds of the lowest and the highest bucket with samples stand for the least and the greatest, widened where a
/// rounded sum lies outside them: a summary whose mean does is refused.
fn summary(samples: &Histogram) -> Summary {
    let Histogram { buckets, sum, count } = samples;
    let mean = sum / (*count).max(1) as f64;
    let lowest = buckets.iter().position(|(_, below)| *below > 0);
    let min = match lowest {
        Some(0) => 0.0,
        Some(at) => buckets[at - 1].0,
        None => buckets.last().map_or(0.0, |(bound, _)| *bound),
    };
    let highest = buckets.iter().find(|(_, below)| below == count);
    let max = highest.or(buckets.last()).map_or(mean, |(bound, _)| *bound);
    Summary { min: min.min(mean), max: max.max(mean), sum: *sum, count: *count }
}

/// A dimension, quoted.
fn dimension(name: &str, value: &str) -> String {
    let clean: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let escaped = cut(&clean, DIMENSION).replace('\\', "\\\\").replace('"', "\\\"");
    format!("{name}=\"{escaped}\"")
}

/// The body of a request, a line for each item in their order.
pub(super) fn body(batch: &Batch, more: &BTreeMap<String, String>) -> String {
    let more: String = more.iter().map(|(name, value)| format!(",{}", dimension(name, value))).collect();
    let mut body = String::new();
    for item in &batch.items {
        body += &item.name;
        for dimension in &item.tags {
            body.push(',');
            body += dimension;
        }
        body += &more;
        let at = batch.at.0;
        let _ = match item.value {
            Value::Count(delta) => writeln!(body, " count,delta={delta} {at}"),
            Value::Gauge(value) => writeln!(body, " gauge,{value} {at}"),
            Value::Summary(Summary { min, max, sum, count }) => {
                writeln!(body, " gauge,min={min},max={max},sum={sum},count={count} {at}")
            }
        };
    }
    body
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::Timestamp;
    use crate::telemetry::metric::Metric;
    use crate::telemetry::snapshot::Series;

    fn lines(metric: Metric, labels: &[(&'static str, &str)], change: Change) -> String {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let point = Point { series: Arc::new(Series { metric, labels }), change };
        let batch = Batch { at: Timestamp(1_787_480_000_123), seconds: 60, items: items(&[point]) };
        body(&batch, &[("env".to_owned(), "prod".to_owned())].into())
    }

    #[test]
    fn a_line_has_key_dimensions_payload_and_time() {
        assert_eq!(
            lines(Metric::SourceRecords, &[("source", "okta:acme")], Change::Added(5)),
            "authwatch.source_records.count,source=\"okta:acme\",env=\"prod\" count,delta=5 1787480000123\n"
        );
        assert_eq!(
            lines(Metric::SeriesLive, &[("org", "acme")], Change::Now(1e21)),
            "authwatch.series,org=\"acme\",env=\"prod\" gauge,1000000000000000000000 1787480000123\n"
        );
    }

    #[test]
    fn trap_quotes_and_line_ends_in_a_value_do_not_break_the_line() {
        let line = lines(Metric::SourceRecords, &[("source", "a\"b\\c\r\nd count,delta=9")], Change::Added(1));
        assert!(line.contains(r#"source="a\"b\\c  d count,delta=9","#), "{line}");
        assert_eq!(line.lines().count(), 1);
        let long = lines(Metric::SourceRecords, &[("source", &"ä\"".repeat(500))], Change::Added(1));
        assert!(long.chars().count() < 600, "{}", long.len());
    }

    /// The summary of samples in the buckets up to 0.1, 1 and 10 seconds.
    #[track_caller]
    fn check(below: [u64; 3], sum: f64, count: u64, min: f64, max: f64) {
        let buckets = [0.1, 1.0, 10.0].into_iter().zip(below).collect();
        let of = summary(&Histogram { buckets, sum, count });
        assert_eq!((of.min, of.max, of.sum, of.count), (min, max, sum, count));
        let mean = of.sum / of.count as f64;
        assert!(of.min <= mean && mean <= of.max, "{of:?}");
    }

    #[test]
    fn trap_a_summary_whose_mean_is_outside_min_and_max_is_refused() {
        check([2, 2, 2], 0.15, 2, 0.0, 0.1);
        check([0, 3, 3], 1.5, 3, 0.1, 1.0);
        check([1, 1, 2], 5.0, 2, 0.0, 10.0);
        check([0, 0, 0], 90.0, 2, 10.0, 45.0);
        check([0, 1, 2], 40.0, 3, 0.1, 40.0 / 3.0);
        // A sum that was rounded, or that lost its last digits to a large one before.
        check([0, 0, 1], 0.999_999, 1, 0.999_999, 10.0);
        check([0, 2, 2], 2.000_002, 2, 0.1, 1.000_001);
    }
}
