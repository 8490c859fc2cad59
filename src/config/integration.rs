//! `sources` and `sinks`: lists of mappings with one key each, which names the kind.
//!
//! What stands below the kind belongs to the integration and is read by it with [`section`]; here only the kinds are
//! known. A kind that is not built yet is left out with one warning.

use super::{ConfigError, Warning};
use crate::yaml::{Node, Origin, Problem, Value, section};

/// The kinds of one list.
pub(super) struct Kinds {
    /// `source` or `sink`, for messages.
    pub what: &'static str,
    /// Kinds that are built.
    pub built: &'static [&'static str],
    /// Kinds of the design that are not.
    pub planned: &'static [&'static str],
}

/// What can be a source.
pub(super) const SOURCES: Kinds = Kinds { what: "source", built: &["okta", "file", "kafka"], planned: &["hook"] };

/// What can be a sink.
pub(super) const SINKS: Kinds = Kinds {
    what: "sink",
    built: &["servicenow", "alertmanager", "webhook", "splunk", "syslog", "datadog", "dynatrace"],
    planned: &["pagerduty", "slack", "elastic", "kafka", "prometheus", "otlp"],
};

/// One source or sink that is built.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Integration {
    /// Its kind (`okta`, `servicenow`).
    pub kind: &'static str,
    /// Where the kind stands.
    pub origin: Origin,
    /// The mapping with the kind as its only key: an externally tagged enum for [`section`].
    pub node: Node,
}

/// Reads the list of `sources` or `sinks`.
pub(super) fn read(node: &Node, kinds: &Kinds, warnings: &mut Vec<Warning>) -> Result<Vec<Integration>, ConfigError> {
    // Refuses a scalar and a mapping.
    section::<Vec<serde::de::IgnoredAny>>(node)?;
    let Value::List(items) = &node.value else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let mut warned = Vec::new();
    for item in items {
        let [entry] = item.entries() else {
            let text = format!("each {} is a mapping with one key, its kind (as `{}`)", kinds.what, kinds.built[0]);
            return Err(ConfigError::invalid(&item.origin, text));
        };
        let key = entry.key.as_str();
        if let Some(&kind) = kinds.built.iter().find(|&&kind| kind == key) {
            found.push(Integration { kind, origin: entry.origin.clone(), node: item.clone() });
        } else if kinds.planned.contains(&key) {
            if !warned.contains(&key) {
                warned.push(key);
                let text = format!("the {} `{key}` is not built yet and is ignored", kinds.what);
                warnings.push(Warning::at(&entry.origin, text));
            }
        } else {
            let expected = kinds.built.iter().chain(kinds.planned).map(|&kind| kind.to_owned()).collect();
            return Err(ConfigError::at(&entry.origin, Problem::UnknownKey { key: entry.key.clone(), expected }));
        }
    }
    Ok(found)
}
