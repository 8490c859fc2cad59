//! Named conditions: what `/readyz` reports, each set by the part that knows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Whether one part of the daemon can do its work, and why not.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Status {
    /// It can.
    pub ok: bool,
    /// A sentence for an operator; empty where all is well.
    pub detail: String,
    /// Whether `/readyz` fails while this is not ok. Sinks inform, sources and the store decide.
    pub gates_readiness: bool,
}

/// All conditions of the process, by name (`source/okta:acme`, `sink/servicenow`, `store`).
#[derive(Clone, Debug, Default)]
pub struct Conditions(Arc<Mutex<BTreeMap<String, Status>>>);

/// The writer of one condition.
#[derive(Clone, Debug)]
pub struct Condition {
    all: Conditions,
    name: String,
    gates: bool,
}

impl Conditions {
    /// Declares a condition; it starts as not ok with `detail`.
    pub fn declare(&self, name: &str, gates_readiness: bool, detail: &str) -> Condition {
        let condition = Condition { all: self.clone(), name: name.to_owned(), gates: gates_readiness };
        condition.set(false, detail);
        condition
    }

    /// A copy of every condition.
    pub fn read(&self) -> BTreeMap<String, Status> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether every gating condition is ok.
    pub fn ready(&self) -> bool {
        self.read().values().all(|status| status.ok || !status.gates_readiness)
    }
}

impl Condition {
    /// All is well. Returns whether that is news.
    pub fn ok(&self) -> bool {
        self.set(true, "")
    }

    /// Something is wrong. Returns whether that is news, so that a log line is written once and not every second.
    pub fn failing(&self, detail: &str) -> bool {
        self.set(false, detail)
    }

    fn set(&self, ok: bool, detail: &str) -> bool {
        let status = Status { ok, detail: detail.to_owned(), gates_readiness: self.gates };
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(self.name.clone(), status.clone()) != Some(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_is_news_once() {
        let conditions = Conditions::default();
        let source = conditions.declare("source/okta:acme", true, "not polled yet");
        assert!(!conditions.ready());
        assert!(source.failing("token refused"));
        assert!(!source.failing("token refused"));
        assert!(source.ok());
        assert!(conditions.ready());
    }
}
