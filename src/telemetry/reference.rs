//! `docs/metrics.md`, generated from [`Metric::ALL`].

use super::metric::{Metric, Type};
use super::spelling::HISTOGRAM_PARTS;

/// The whole document.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         This page is generated from the list in the source; `UPDATE_DOCS=1 cargo test --test tidy` writes it anew.\n\n\
         All are served on `/metrics`. Names begin with `authwatch_`, units are base units, counters end in `_total`. A label\n\
         that says nothing is left out. Counts by meaning are committed counts: they survive restarts and never go back.\n\n\
         The same metrics go to [Datadog](integrations/datadog.md) and [Dynatrace](integrations/dynatrace.md) under the dotted\n\
         names, where counters are counts since the last push, labels are tags or dimensions, and a value that is no number is\n\
         left out. A histogram is three counts in Datadog and one gauge with `min`, `max`, `sum` and `count` in Dynatrace.\n\n\
         | Prometheus | type | labels | Datadog | Dynatrace | meaning |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for metric in Metric::ALL {
        let labels: Vec<String> = metric.labels().iter().map(|label| format!("`{label}`")).collect();
        let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(" ") };
        let dotted = metric.dotted();
        let datadog = match metric.kind() {
            Type::Counter | Type::Gauge => format!("`{dotted}`"),
            Type::Histogram => HISTOGRAM_PARTS.map(|part| format!("`{dotted}.{part}`")).join(" "),
        };
        let (name, kind, help) = (metric.name(), metric.kind().as_str(), metric.help());
        text += &format!("| `{name}` | {kind} | {labels} | {datadog} | `{dotted}` | {help} |\n");
    }
    text
}
