//! What may not leave, taken out of a record before any encoder reads it (invariant 8): tokens, wherever they hide, and
//! what somebody without an account typed as a name, since that can be a password in the wrong field.
//!
//! Names, addresses and ids of people stay: a SIEM has them for its purpose. Three passes. What a failed sign-in of
//! nobody known says of that nobody is withheld. Then members whose name says secret, the values in queries of addresses
//! but for a short list of harmless ones, and words that look like tokens. Last, every text that was withheld is looked
//! for in the rest of the record, so that a message which repeats it does not tell it.
//!
//! A record that is no JSON object, or holds more secrets than any event, is refused as a whole. It errs on the side of withholding: a harmless word may go.

mod text;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::record::{member, said};
use crate::event::{AuthEvent, Outcome};

/// What stands in the place of what was withheld.
pub const WITHHELD: &str = "redacted";

/// JSON within texts within JSON, this deep; deeper is withheld.
const NESTED: u8 = 4;

/// Withheld texts shorter than this are not looked for elsewhere: they would be found in harmless words.
const LOOKED_FOR: usize = 4;

/// Types of what is nobody.
const THINGS: [&str; 16] = [
    "appinstance",
    "appgroup",
    "usergroup",
    "systemprincipal",
    "publicclientapp",
    "publicclientappentity",
    "rule",
    "policyrule",
    "policy",
    "policyentity",
    "deviceassurancepolicy",
    "uddevice",
    "device",
    "authenticatorenrollment",
    "authenticatormethod",
    "authenticator",
];

/// Details that hold the name that was typed.
const TYPED: [&str; 10] = [
    "subject",
    "nameid",
    "username",
    "login",
    "loginhint",
    "loginid",
    "identifier",
    "principal",
    "user",
    "transformedusername",
];

/// Members that are vocabulary or identity; nothing typed can stand there.
const FIXED: [&str; 8] = ["eventtype", "legacyeventtype", "uuid", "published", "result", "severity", "version", "type"];

/// The most texts that are looked for; a record with more of them is refused.
const LOOKED_FOR_MOST: usize = 64;

/// The record of an event as it may leave; `None` where it is no JSON object, or one with too many secrets to be an event.
pub fn record(event: &AuthEvent, raw: &str) -> Option<Map<String, Value>> {
    let mut record: Map<String, Value> = serde_json::from_str(raw).ok()?;
    let mut withheld = Withheld::default();
    if !matches!(event.outcome, Outcome::Success | Outcome::Allow) {
        withheld.names(&mut record, event.person.is_some());
    }
    for (name, value) in &mut record {
        withheld.secrets(name, value, 0);
    }
    if withheld.0.len() > LOOKED_FOR_MOST {
        return None;
    }
    for (name, value) in &mut record {
        withheld.echoes(name, value);
    }
    Some(record)
}

/// The texts that were taken out.
#[derive(Debug, Default)]
struct Withheld(BTreeSet<String>);

impl Withheld {
    /// Takes a text out.
    fn take(&mut self, value: &mut Value) {
        match value {
            Value::String(text) if said_text(text) => {
                self.note(text);
                WITHHELD.clone_into(text);
            }
            Value::Number(_) => *value = Value::from(WITHHELD),
            Value::Array(list) => list.iter_mut().for_each(|value| self.take(value)),
            Value::Object(map) => map.values_mut().for_each(|value| self.take(value)),
            Value::String(_) | Value::Null | Value::Bool(_) => {}
        }
    }

    fn note(&mut self, text: &str) {
        let text = text.trim();
        if text.len() >= LOOKED_FOR && text != WITHHELD && self.0.len() <= LOOKED_FOR_MOST {
            self.0.insert(text.to_owned());
        }
    }

    /// Names of nobody known: of the actor, the targets and the details.
    fn names(&mut self, record: &mut Map<String, Value>, is_known: bool) {
        if let Some(actor) = member_mut(record, "actor") {
            self.name(actor, is_known);
        }
        if let Some(Value::Array(targets)) = member_mut(record, "target") {
            targets.iter_mut().for_each(|target| self.name(target, is_known));
        }
        let context = member_mut(record, "debugContext").map(only);
        let Some(Value::Object(context)) = context else { return };
        let Some(Value::Object(data)) = member_mut(context, "debugData") else { return };
        if let Some(principal) = member_mut(data, "originalPrincipal") {
            self.name(principal, is_known);
        }
        if !is_known {
            let typed = data.iter_mut().filter(|(name, _)| TYPED.contains(&plain(name).as_str()));
            typed.for_each(|(_, value)| self.take(value));
        }
    }

    fn name(&mut self, named: &mut Value, is_known: bool) {
        let Value::Object(named) = named else { return };
        let text = |name: &str| member(named, name).and_then(said);
        let is_thing = text("type").is_some_and(|kind| THINGS.contains(&kind.to_ascii_lowercase().as_str()));
        if is_thing || (is_known && text("id").is_some()) {
            return;
        }
        for name in ["alternateId", "displayName", "login", "detailEntry"] {
            if let Some(value) = member_mut(named, name) {
                self.take(value);
            }
        }
    }

    /// Secrets in a member, all the way down.
    fn secrets(&mut self, name: &str, value: &mut Value, nested: u8) {
        if is_secret_name(name) {
            return self.take_scalars(value, nested);
        }
        match value {
            Value::String(text) => {
                if let Some(cleaned) = self.cleaned(text, nested) {
                    *text = cleaned;
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|value| self.secrets(name, value, nested)),
            Value::Object(map) => map.iter_mut().for_each(|(name, value)| self.secrets(name, value, nested)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// A member with a secret's name: its value, or each value in its list. An object is settings and not a secret.
    fn take_scalars(&mut self, value: &mut Value, nested: u8) {
        match value {
            Value::Object(map) => map.iter_mut().for_each(|(name, value)| self.secrets(name, value, nested)),
            Value::Array(list) => list.iter_mut().for_each(|value| self.take_scalars(value, nested)),
            Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => self.take(value),
        }
    }

    /// A text without its secrets; `None` where it has none.
    fn cleaned(&mut self, text: &str, nested: u8) -> Option<String> {
        let is_json = matches!(text.trim_start().as_bytes().first(), Some(b'{' | b'['));
        if is_json && let Ok(mut value) = serde_json::from_str::<Value>(text) {
            if nested == NESTED {
                return Some(WITHHELD.to_owned());
            }
            let before = value.clone();
            self.secrets("", &mut value, nested + 1);
            return (value != before).then(|| value.to_string());
        }
        text::cleaned(text, &mut |secret| self.note(secret))
    }

    /// What was withheld and is repeated.
    fn echoes(&self, name: &str, value: &mut Value) {
        if FIXED.contains(&plain(name).as_str()) {
            return;
        }
        match value {
            Value::String(text) => {
                // The longest first: one may be part of another.
                let mut withheld: Vec<&String> = self.0.iter().collect();
                withheld.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
                for secret in withheld {
                    if let Some(without) = text::without(text, secret) {
                        *text = without;
                    }
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|value| self.echoes(name, value)),
            Value::Object(map) => map.iter_mut().for_each(|(name, value)| self.echoes(name, value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

fn said_text(text: &str) -> bool {
    said(&Value::from(text)).is_some()
}

/// A name in lower case without its dividers.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether a member's name says that a secret stands there. Ids and hashes of tokens are none.
fn is_secret_name(name: &str) -> bool {
    const ENDS: [&str; 12] = [
        "token",
        "secret",
        "password",
        "passcode",
        "assertion",
        "cookie",
        "apikey",
        "privatekey",
        "statehandle",
        "interactionhandle",
        "credentials",
        "samlresponse",
    ];
    let name = plain(name);
    ENDS.iter().any(|end| name.ends_with(end)) || matches!(name.as_str(), "otp" | "samlrequest" | "authorization")
}

fn member_mut<'a>(map: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Value> {
    map.iter_mut().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The one object in a list; anything else as it is.
fn only(value: &mut Value) -> &mut Value {
    if value.as_array().is_some_and(|list| list.len() == 1) { &mut value[0] } else { value }
}

#[cfg(test)]
mod tests;
