//! Points as Datadog's series. Pure.
//!
//! A histogram is three counts: samples by bucket (with the tag `le`, as in Prometheus), their sum and their number.
//! Tags are written as Datadog would rewrite them, so that what it would fold together is folded here, with the counts
//! added up.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use super::super::delta::{Change, Point};
use super::super::item::{Item, Value};
use super::super::queue::Batch;
use crate::telemetry::snapshot::Histogram;
use crate::telemetry::spelling::HISTOGRAM_PARTS;

/// The tag with the upper bound of a bucket.
pub(in crate::act::publish) const BUCKET_TAG: &str = "le";

/// Characters of a tag, name and value together.
const TAG: usize = 200;

/// A count since the last push.
const COUNT: u8 = 1;

/// A value as it is.
const GAUGE: u8 = 3;

/// Points as Datadog spells them.
pub(in crate::act::publish) fn items(points: &[Point]) -> Vec<Item> {
    points.iter().flat_map(of_point).collect()
}

fn of_point(point: &Point) -> Vec<Item> {
    let name = point.series.metric.dotted();
    let tags: Vec<String> = point.series.labels.iter().map(|(name, value)| tag(name, value)).collect();
    match &point.change {
        Change::Added(added) => vec![Item { name, tags, value: Value::Count(*added as f64) }],
        Change::Now(now) => vec![Item { name, tags, value: Value::Gauge(*now) }],
        Change::Samples(samples) => of_samples(&name, &tags, samples),
    }
}

fn of_samples(name: &str, tags: &[String], samples: &Histogram) -> Vec<Item> {
    let [bucket, sum, count] = HISTOGRAM_PARTS.map(|part| format!("{name}.{part}"));
    let bounds = samples.buckets.iter().map(|(bound, count)| (bound.to_string(), *count));
    let buckets = bounds.chain([("inf".to_owned(), samples.count)]).filter(|(_, count)| *count > 0);
    let of_bucket = |(bound, count): (String, u64)| {
        let tags = tags.iter().cloned().chain([tag(BUCKET_TAG, &bound)]).collect();
        Item { name: bucket.clone(), tags, value: Value::Count(count as f64) }
    };
    let mut items: Vec<Item> = buckets.map(of_bucket).collect();
    items.push(Item { name: sum, tags: tags.to_vec(), value: Value::Count(samples.sum) });
    items.push(Item { name: count, tags: tags.to_vec(), value: Value::Count(samples.count as f64) });
    items
}

/// A tag as Datadog keeps it: lower case, other characters as `_`, cut, without a colon at its end.
pub(super) fn tag(name: &str, value: &str) -> String {
    let fits = |c: char| c.is_alphanumeric() || "_-:./".contains(c);
    let all = name.chars().chain([':']).chain(value.chars()).flat_map(char::to_lowercase);
    let text: String = all.map(|c| if fits(c) { c } else { '_' }).take(TAG).collect();
    text.trim_end_matches(':').to_owned()
}

/// The body of a request.
pub(super) fn body(batch: &Batch, more: &BTreeMap<String, String>) -> Vec<u8> {
    let more: Vec<String> = more.iter().map(|(name, value)| tag(name, value)).collect();
    let seconds = batch.at.0.div_euclid(1_000);
    let series = batch.items.iter().map(|item| {
        let (kind, value) = match item.value {
            Value::Count(value) => (COUNT, value),
            Value::Gauge(value) => (GAUGE, value),
            // Datadog's spelling makes none.
            Value::Summary(summary) => (COUNT, summary.sum),
        };
        let mut series = json!({
            "metric": item.name,
            "type": kind,
            "points": [{ "timestamp": seconds, "value": value }],
            "tags": item.tags.iter().chain(&more).collect::<Vec<_>>(),
        });
        if kind == COUNT {
            series["interval"] = json!(batch.seconds);
        }
        series
    });
    json!({ "series": series.collect::<Vec<_>>() }).to_string().into_bytes()
}

/// Packs a body.
pub(super) fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(body)?;
    packer.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::Timestamp;
    use crate::telemetry::metric::Metric;
    use crate::telemetry::snapshot::Series;

    fn point(metric: Metric, labels: &[(&'static str, &str)], change: Change) -> Point {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Point { series: Arc::new(Series { metric, labels }), change }
    }

    fn json_of(points: &[Point]) -> serde_json::Value {
        let batch = Batch { at: Timestamp(1_787_480_000_123), seconds: 60, items: items(points) };
        let more = [("env".to_owned(), "prod".to_owned())].into();
        serde_json::from_slice(&body(&batch, &more)).expect("JSON")
    }

    #[test]
    fn a_counter_is_a_count_with_its_interval_and_a_gauge_has_none() {
        let json = json_of(&[
            point(Metric::SourceRecords, &[("source", "okta:acme")], Change::Added(412)),
            point(Metric::SeriesLive, &[("org", "acme")], Change::Now(1.5)),
        ]);
        assert_eq!(
            json,
            json!({ "series": [
                { "metric": "authwatch.source_records.count", "type": 1, "interval": 60,
                  "points": [{ "timestamp": 1_787_480_000, "value": 412.0 }], "tags": ["source:okta:acme", "env:prod"] },
                { "metric": "authwatch.series", "type": 3,
                  "points": [{ "timestamp": 1_787_480_000, "value": 1.5 }], "tags": ["org:acme", "env:prod"] },
            ]})
        );
    }

    #[test]
    fn a_histogram_is_three_counts() {
        let samples = Histogram { buckets: vec![(0.01, 0), (0.1, 2)], sum: 7.5, count: 3 };
        let items = items(&[point(Metric::CommitDuration, &[], Change::Samples(samples))]);
        let lines: Vec<String> =
            items.iter().map(|item| format!("{} {} {:?}", item.name, item.tags.join(","), item.value)).collect();
        let name = "authwatch.store_commit_duration_seconds";
        assert_eq!(
            lines,
            [
                format!("{name}.bucket le:0.1 Count(2.0)"),
                format!("{name}.bucket le:inf Count(3.0)"),
                format!("{name}.sum  Count(7.5)"),
                format!("{name}.count  Count(3.0)"),
            ]
        );
    }

    #[test]
    fn a_tag_is_what_datadog_would_make_of_it() {
        for (value, expect) in [
            ("HR Portal", "app:hr_portal"),
            ("a,b|c\n\"d\"", "app:a_b_c__d_"),
            ("Müller & Söhne", "app:müller___söhne"),
            ("x::", "app:x"),
        ] {
            assert_eq!(tag("app", value), expect, "{value}");
        }
        assert_eq!(tag("app", &"x".repeat(500)).chars().count(), TAG);
    }
}
