//! How a metric's name is spelled where names are dotted: Datadog and Dynatrace.
//!
//! One rule for both: `authwatch_` becomes `authwatch.`, and the `_total` of a counter becomes `.count`, which is what
//! Datadog's own agents and Dynatrace's server make of a counter. The rest of the name stays, so that a name is found
//! again whichever system it is looked for in.

use super::metric::{Metric, Type};

/// What Datadog makes of a histogram: three counts.
pub const HISTOGRAM_PARTS: [&str; 3] = ["bucket", "sum", "count"];

impl Metric {
    /// The name in Datadog and in Dynatrace.
    pub fn dotted(self) -> String {
        let name = self.name().strip_prefix("authwatch_").unwrap_or(self.name());
        match self.kind() {
            Type::Counter => format!("authwatch.{}.count", name.strip_suffix("_total").unwrap_or(name)),
            Type::Gauge | Type::Histogram => format!("authwatch.{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What both take: ASCII letters, digits, `_` and `.`, a letter first, no empty section, 3 to 200 characters.
    fn fits(name: &str) -> bool {
        let section = |part: &str| {
            let rest = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            part.bytes().next().is_some_and(|first| first.is_ascii_alphabetic()) && part.bytes().all(rest)
        };
        (3..=200).contains(&name.len()) && name.split('.').all(section)
    }

    #[test]
    fn every_name_fits_both_systems_and_stays_unique() {
        let names: Vec<String> = Metric::ALL.iter().map(|metric| metric.dotted()).collect();
        for name in &names {
            assert!(fits(name), "{name}");
        }
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), Metric::ALL.len());
        assert_eq!(Metric::Events.dotted(), "authwatch.events.count");
        assert_eq!(Metric::CommitDuration.dotted(), "authwatch.store_commit_duration_seconds");
    }

    #[test]
    fn trap_dynatrace_renames_a_count_without_count_and_a_gauge_that_ends_so() {
        for metric in Metric::ALL {
            let is_count = metric.kind() == Type::Counter;
            assert_eq!(metric.dotted().ends_with(".count"), is_count, "{metric:?}");
        }
    }
}
