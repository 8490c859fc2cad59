//! The shapes that a record can be sent in, by the word in the configuration.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Forwarded, What};
use crate::event::AuthEvent;

/// How a record looks to the receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// The record as it came, with our reading beside it under `authwatch`.
    #[default]
    Raw,
}

impl Shape {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
        }
    }

    /// One record in this shape.
    pub fn encode(self, forwarded: &Forwarded) -> Value {
        match self {
            Self::Raw => raw(forwarded),
        }
    }
}

fn raw(forwarded: &Forwarded) -> Value {
    let (mut record, reading) = match &forwarded.what {
        What::Event { event, posture, raw } => {
            let record = raw.as_deref().and_then(|raw| serde_json::from_str::<Map<String, Value>>(raw).ok());
            let mut record = record.unwrap_or_default();
            withhold(&mut record, event.person.is_none());
            (record, json!({ "event": reading(event), "posture": posture }))
        }
        What::Finding(action) => (Map::new(), json!({ "finding": action })),
    };
    let mut own = json!({ "id": forwarded.id, "org": forwarded.org, "source": forwarded.source });
    if let (Value::Object(own), Value::Object(reading)) = (&mut own, reading) {
        own.extend(reading);
    }
    record.insert("authwatch".to_owned(), own);
    Value::Object(record)
}

/// What we make of an event: everything but the identities that are ours alone.
fn reading(event: &AuthEvent) -> Value {
    json!({
        "published": event.published,
        "event_type": event.event_type,
        "kind": event.kind,
        "credential": event.credential,
        "phishing_resistant": event.phishing_resistant,
        "outcome": event.outcome,
        "okta_outcome": event.okta_outcome,
        "reason": event.reason,
        "person": event.person,
        "attempt": event.flow,
        "app": event.app,
        "rule": event.rule,
        "platform": event.platform,
        "device": event.device,
        "context": event.context,
    })
}

/// Takes out what nobody may have: queries that can hold a state token, and what somebody who is nobody typed as a name.
fn withhold(record: &mut Map<String, Value>, is_nobody: bool) {
    if let Some(Value::Object(data)) = record.get_mut("debugContext").and_then(|context| context.get_mut("debugData")) {
        for key in ["url", "requestUri"] {
            if let Some(Value::String(url)) = data.get_mut(key)
                && let Some(end) = url.find(['?', '#'])
            {
                url.truncate(end);
            }
        }
    }
    if let (true, Some(Value::Object(actor))) = (is_nobody, record.get_mut("actor")) {
        actor.remove("alternateId");
        actor.remove("displayName");
    }
}
