//! An incident as tests of the store and of sinks need it: everything fixed but its key, its time and what it says.

use authwatch::action::{Evidence, Incident, Severity};
use authwatch::event::{Org, Timestamp};

/// An incident of `acme` that opened at `at` and is still open.
pub(crate) fn incident(key: &str, at: Timestamp, title: &str, people: u64) -> Incident {
    Incident {
        key: key.into(),
        org: Org::new("acme"),
        rule: "deny_spike".into(),
        severity: Severity::Page,
        onset: at,
        opened_at: at,
        resolved_at: None,
        title: title.to_owned(),
        people,
        series: vec![],
        checks: vec![],
        notified: true,
        suspects: vec![],
        evidence: Evidence::default(),
    }
}
