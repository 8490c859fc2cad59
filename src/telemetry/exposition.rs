//! The text of `/metrics`: the recorder behind every [`Metric`], rendered in the Prometheus text format.
//!
//! Handles are cheap, rendering is not: about 3.4 µs a series. So it runs where blocking is allowed, and the number of
//! series is bounded by `limits.series`.

use metrics::SetRecorderError;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use thiserror::Error;

use super::metric::{Metric, Type};

/// Bounds in seconds: from a commit on a fast disk to a reply that is far too late; the bar for visibility is 0.5 s.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Why metrics cannot be recorded.
#[derive(Debug, Error)]
pub enum ExpositionError {
    /// The bounds of a histogram are refused.
    #[error("the buckets of a histogram are refused")]
    Buckets(#[from] BuildError),
    /// A recorder is in force already.
    #[error("metrics are recorded already")]
    Twice(#[source] SetRecorderError<PrometheusRecorder>),
}

/// Reads what is recorded.
#[derive(Clone)]
pub struct Handle(PrometheusHandle);

/// Records every metric of the process from here on.
///
/// # Errors
/// Where it was called before.
pub fn install() -> Result<Handle, ExpositionError> {
    let recorder = recorder()?;
    let handle = Handle(recorder.handle());
    metrics::set_global_recorder(recorder).map_err(ExpositionError::Twice)?;
    Metric::describe_all();
    Metric::BuildInfo.gauge(&[env!("CARGO_PKG_VERSION")]).set(1.0);
    Ok(handle)
}

/// A recorder with our histogram bounds, in force nowhere.
fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let histograms = Metric::ALL.iter().filter(|metric| metric.kind() == Type::Histogram);
    let builder = histograms.into_iter().try_fold(PrometheusBuilder::new(), |builder, metric| {
        builder.set_buckets_for_metric(Matcher::Full(metric.name().to_owned()), &SECONDS)
    })?;
    Ok(builder.build_recorder())
}

impl Handle {
    /// The text of `/metrics`.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds histogram samples into their buckets; call it every few seconds, so that samples do not pile up while
    /// nobody scrapes.
    pub fn run_upkeep(&self) {
        self.0.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(record: impl FnOnce()) -> String {
        let recorder = recorder().expect("recorder");
        metrics::with_local_recorder(&recorder, || {
            Metric::describe_all();
            record();
        });
        recorder.handle().render()
    }

    #[test]
    fn every_metric_comes_out_under_its_own_name_with_help_and_type() {
        let text = rendered(|| {
            for metric in Metric::ALL {
                let values = vec!["x"; metric.labels().len()];
                match metric.kind() {
                    Type::Counter => metric.counter(&values).increment(1),
                    Type::Gauge => metric.gauge(&values).set(0.5),
                    Type::Histogram => metric.histogram(&values).record(0.02),
                }
            }
        });
        for metric in Metric::ALL {
            let (name, kind) = (metric.name(), metric.kind().as_str());
            assert!(text.contains(&format!("# HELP {name} {}\n", metric.help())), "help of {name}");
            assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "type of {name}");
        }
        assert!(!text.contains("_total_total"), "{text}");
        let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let known = |line: &str| Metric::ALL.iter().any(|metric| line.starts_with(metric.name()));
        assert_eq!(samples.clone().find(|line| !known(line)), None);
    }

    #[test]
    fn a_duration_is_a_histogram_with_bounds_in_seconds() {
        let text = rendered(|| Metric::CommitDuration.histogram(&[]).record(0.02));
        let name = Metric::CommitDuration.name();
        for line in
            ["_bucket{le=\"0.01\"} 0", "_bucket{le=\"0.025\"} 1", "_bucket{le=\"+Inf\"} 1", "_sum 0.02", "_count 1"]
        {
            assert!(text.contains(&format!("{name}{line}\n")), "{line} in\n{text}");
        }
    }

    #[test]
    fn label_values_are_escaped() {
        let text = rendered(|| Metric::Snapshots.counter(&[]).increment(3));
        assert!(text.contains("authwatch_store_snapshots_total 3\n"), "{text}");
        let text = rendered(|| Metric::SourceRecords.counter(&["a\"b\\c\nd"]).increment(1));
        assert!(text.contains(r#"authwatch_source_records_total{source="a\"b\\c\nd"} 1"#), "{text}");
    }
}
