//! What a worker says of its sink: in its condition always, in the log when it changes.

use super::retry::{Class, Failure};
use crate::telemetry::condition::Condition;

/// The last thing went well; `trouble` is what is held against the sink nevertheless.
pub(super) fn well(sink: &str, condition: &Condition, trouble: Option<String>) {
    match trouble {
        None => {
            if condition.ok() {
                tracing::info!(sink, "sink is well");
            }
        }
        Some(trouble) => {
            if condition.failing(&trouble) {
                tracing::warn!(sink, trouble, "sink works, but not as it should");
            }
        }
    }
}

/// Something failed: said once, until it changes.
pub(super) fn ill(sink: &str, condition: &Condition, failure: &Failure) {
    if !condition.failing(&failure.detail) {
        return;
    }
    let (reason, detail) = (failure.reason.as_str(), &failure.detail);
    match failure.class {
        Class::FixConfiguration => tracing::error!(sink, reason, detail, "sink needs a change"),
        Class::Retry | Class::GiveUp => tracing::warn!(sink, reason, detail, "sink failed"),
    }
}
