//! The text of `/metrics` with one sample of every metric. It is also left in the target folder for
//! `promtool check metrics`, which `.ci/run` calls.

use std::path::Path;

use authwatch::telemetry::exposition;
use authwatch::telemetry::metric::{Metric, Type};

#[test]
fn one_recorder_serves_the_process_and_every_metric_is_written_by_it() {
    let handle = exposition::install().expect("the first recorder");
    assert_eq!(
        exposition::install().err().map(|error| error.to_string()).as_deref(),
        Some("metrics are recorded already")
    );
    for metric in Metric::ALL {
        let values = vec!["x"; metric.labels().len()];
        match metric.kind() {
            Type::Counter => metric.counter(&values).increment(1),
            Type::Gauge => metric.gauge(&values).set(0.5),
            Type::Histogram => metric.histogram(&values).record(0.02),
        }
    }
    handle.run_upkeep();
    let text = handle.render();
    assert!(text.contains(concat!("authwatch_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1\n")), "{text}");
    for metric in Metric::ALL {
        assert!(text.contains(&format!("# TYPE {} {}\n", metric.name(), metric.kind().as_str())), "{metric:?}");
    }
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("metrics.prom"), text).expect("write");
}
