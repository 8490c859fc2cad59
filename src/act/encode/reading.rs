//! Our reading of an event, or a finding, as one JSON object: the same in every shape that has a place for it.

use serde_json::{Value, json};

use super::super::forward::{Forwarded, What};
use crate::event::{AuthEvent, Outcome, Posture, PostureSource, Reason};

/// The object `authwatch`.
pub(super) fn reading(forwarded: &Forwarded) -> Value {
    let mut own = json!({ "id": forwarded.id, "org": forwarded.org, "source": forwarded.source.as_str() });
    let more = match &forwarded.what {
        What::Event { event, posture, .. } => of_event(event, posture.as_ref()),
        What::Finding(action) => json!({ "finding": action }),
    };
    if let (Value::Object(own), Value::Object(more)) = (&mut own, more) {
        own.extend(more);
    }
    own
}

fn of_event(event: &AuthEvent, posture: Option<&Posture>) -> Value {
    json!({
        "published": event.published,
        "event_type": event.event_type,
        "kind": event.kind,
        "credential": event.credential,
        "phishing_resistant": event.phishing_resistant,
        "outcome": event.outcome,
        "reason": reason(event, posture),
        "person": event.person,
        "attempt": event.flow,
        "app": event.app,
        "rule": event.rule,
        "platform": event.platform,
        "posture": posture,
    })
}

/// Why not: the device, where the policies in force say that a check of it failed.
pub(super) fn reason(event: &AuthEvent, posture: Option<&Posture>) -> Reason {
    let failed = posture.is_some_and(|posture| posture.source == PostureSource::Derived && !posture.fail.is_empty());
    let is_open = event.outcome == Outcome::Deny && event.reason == Reason::PolicyDenied;
    if failed && is_open { Reason::DevicePosture } else { event.reason }
}
