//! One reading of every metric, as values: what a push to a metrics system is made from.
//!
//! It is read from the text of `/metrics`, so that a push says what a scrape at the same moment would have said. A line
//! that is none of ours is left out. Pure.

use std::collections::BTreeMap;

use super::metric::{Metric, Type};

/// A metric with its label values; labels that say nothing are left out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Series {
    /// The metric.
    pub metric: Metric,
    /// Names and values, in the order of [`Metric::labels`].
    pub labels: Vec<(&'static str, String)>,
}

/// What one series says.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// The count since the beginning.
    Counter(u64),
    /// The value now; may be no number.
    Gauge(f64),
    /// Counts by bucket since the beginning.
    Histogram(Histogram),
}

/// Counts by bucket since the beginning.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Histogram {
    /// Upper bounds, rising, each with how many samples are not above it; without the last bucket, which holds all.
    pub buckets: Vec<(f64, u64)>,
    /// The sum of all samples.
    pub sum: f64,
    /// How many samples there are.
    pub count: u64,
}

/// Every series of one reading.
pub type Snapshot = BTreeMap<Series, Value>;

/// Reads the text of `/metrics`.
pub fn read(text: &str) -> Snapshot {
    let by_name: BTreeMap<&str, Metric> = Metric::ALL.iter().map(|metric| (metric.name(), *metric)).collect();
    let mut snapshot = Snapshot::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let _ = add(&mut snapshot, &by_name, line);
    }
    snapshot
}

/// Adds one line; `None` where it is none of ours.
fn add(snapshot: &mut Snapshot, by_name: &BTreeMap<&str, Metric>, line: &str) -> Option<()> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, value) = labels(rest)?;
    if let Some(&metric) = by_name.get(name) {
        let value = match metric.kind() {
            Type::Counter => Value::Counter(value.parse().ok()?),
            Type::Gauge => Value::Gauge(value.parse().ok()?),
            Type::Histogram => return None,
        };
        snapshot.insert(series(metric, &labels), value);
        return Some(());
    }
    let (name, part) = name.rsplit_once('_')?;
    let metric = *by_name.get(name).filter(|metric| metric.kind() == Type::Histogram)?;
    let entry = snapshot.entry(series(metric, &labels)).or_insert_with(|| Value::Histogram(Histogram::default()));
    let Value::Histogram(histogram) = entry else { return None };
    match part {
        "sum" => histogram.sum = value.parse().ok()?,
        "count" => histogram.count = value.parse().ok()?,
        "bucket" => {
            let (_, bound) = labels.iter().find(|(name, _)| name == "le")?;
            let bound: f64 = bound.parse().ok()?;
            if bound.is_finite() {
                histogram.buckets.push((bound, value.parse().ok()?));
            }
        }
        _ => return None,
    }
    Some(())
}

fn series(metric: Metric, labels: &[(String, String)]) -> Series {
    let value = |name: &&'static str| {
        let (_, value) = labels.iter().find(|(other, _)| other == name)?;
        Some((*name, value.clone()))
    };
    Series { metric, labels: metric.labels().iter().filter_map(value).collect() }
}

/// The labels in braces, if any, and what stands behind them.
fn labels(text: &str) -> Option<(Vec<(String, String)>, &str)> {
    let Some(mut rest) = text.strip_prefix('{') else { return Some((Vec::new(), text.trim())) };
    let mut labels = Vec::new();
    loop {
        if let Some(value) = rest.strip_prefix('}') {
            return Some((labels, value.trim()));
        }
        let (name, quoted) = rest.trim_start_matches(',').split_once("=\"")?;
        let (value, after) = unquoted(quoted)?;
        labels.push((name.to_owned(), value));
        rest = after;
    }
}

/// The text up to the closing quote, with its escapes undone, and what stands behind the quote.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    fn of(metric: Metric, values: &[&str]) -> Series {
        let labels = metric.labels().iter().zip(values).filter(|(_, value)| !value.is_empty());
        Series { metric, labels: labels.map(|(name, value)| (*name, (*value).to_owned())).collect() }
    }

    #[test]
    fn what_was_recorded_is_read_back() {
        let builder = PrometheusBuilder::new().set_buckets(&[0.01, 0.1]).expect("bounds");
        let recorder = builder.build_recorder();
        let awkward = "a\"b\\c\nd,e}f{g=\"h\" 9";
        metrics::with_local_recorder(&recorder, || {
            Metric::describe_all();
            Metric::SourceRecords.counter(&[awkward]).increment(7);
            Metric::Commits.counter(&[]).absolute(u64::MAX);
            Metric::AttemptRatio.gauge(&["acme", "", "", "", "pilot", "", "5m"]).set(f64::NAN);
            Metric::OutboxRows.gauge(&["servicenow"]).set(2.5);
            for seconds in [0.005, 0.05, 7.0] {
                Metric::CommitDuration.histogram(&[]).record(seconds);
            }
        });
        let snapshot = read(&recorder.handle().render());
        assert_eq!(snapshot[&of(Metric::SourceRecords, &[awkward])], Value::Counter(7));
        assert_eq!(snapshot[&of(Metric::Commits, &[])], Value::Counter(u64::MAX));
        assert_eq!(snapshot[&of(Metric::OutboxRows, &["servicenow"])], Value::Gauge(2.5));
        let ratio = &snapshot[&of(Metric::AttemptRatio, &["acme", "", "", "", "pilot", "", "5m"])];
        assert!(matches!(ratio, Value::Gauge(value) if value.is_nan()), "{ratio:?}");
        let histogram = Histogram { buckets: vec![(0.01, 1), (0.1, 2)], sum: 7.055, count: 3 };
        assert_eq!(snapshot[&of(Metric::CommitDuration, &[])], Value::Histogram(histogram));
        assert_eq!(snapshot.len(), 5);
    }

    #[test]
    fn what_is_none_of_ours_is_left_out() {
        for line in [
            "",
            "up 1",
            "authwatch_no_such_total 1",
            "authwatch_store_commits_total",
            "authwatch_store_commits_total -1",
            "authwatch_source_records_total{source=\"a",
            "authwatch_source_records_total{source} 1",
            "authwatch_store_commit_duration_seconds 1",
            "authwatch_store_commit_duration_seconds_bucket{le=\"x\"} 1",
        ] {
            let counted: Vec<_> =
                read(line).into_iter().filter(|(_, value)| *value != Value::Histogram(Histogram::default())).collect();
            assert_eq!(counted, [], "{line}");
        }
    }
}
