//! What the tests of the encoders share: a record as an event, and that in every shape.

use std::sync::Arc;

use serde_json::Value;

use crate::act::forward::{Forwarded, What};
use crate::classify::{Reader, Tables};
use crate::event::{AuthEvent, Org, SourceName, Timestamp};

/// The event that a record is read as.
#[track_caller]
pub(super) fn event(record: &Value) -> AuthEvent {
    let mut found = Vec::new();
    let reader = Reader::new(Org::new("acme"), Arc::new(Tables::embedded()));
    reader.read_record(record.to_string().as_bytes(), &mut |read| found.push(read));
    found.pop().expect("one event").expect("an event")
}

/// A record as it is forwarded.
#[track_caller]
pub(super) fn forwarded(record: &Value) -> Forwarded {
    let event = Box::new(event(record));
    Forwarded {
        id: format!("acme:{}", event.uuid).into(),
        org: Org::new("acme"),
        source: SourceName::new("okta:acme"),
        received: Timestamp(1_772_442_005_000),
        what: What::Event { event, posture: None, raw: Some(record.to_string().into()) },
    }
}

/// A record in every shape, by name.
pub(super) fn shapes(forwarded: &Forwarded) -> [(&'static str, String); 4] {
    [
        ("raw", super::raw::encode(forwarded).to_string()),
        ("ecs", super::ecs::encode(forwarded).to_string()),
        ("ocsf", super::ocsf::encode(forwarded).to_string()),
        ("cef", super::cef::encode(forwarded)),
    ]
}
