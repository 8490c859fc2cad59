//! `docs/metrics.md`, generated from [`Metric::ALL`].

use super::metric::Metric;

/// The whole document.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         This page is generated from the list in the source; `UPDATE_DOCS=1 cargo test --test tidy` writes it anew.\n\n\
         All are served on `/metrics`. Names begin with `authwatch_`, units are base units, counters end in `_total`. A label\n\
         that says nothing is left out. Counts by meaning are committed counts: they survive restarts and never go back.\n\n\
         | metric | type | labels | meaning |\n| --- | --- | --- | --- |\n",
    );
    for metric in Metric::ALL {
        let labels: Vec<String> = metric.labels().iter().map(|label| format!("`{label}`")).collect();
        let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(" ") };
        text += &format!("| `{}` | {} | {labels} | {} |\n", metric.name(), metric.kind().as_str(), metric.help());
    }
    text
}
