//! One object of Okta's API while it is read: its members by path, and errors that say which object, which member and
//! what was expected.
//!
//! Every list and text is bounded. An error never shows a value: policies hold ids of people.

use serde_json::{Map, Value};
use smol_str::{SmolStr, format_smolstr};
use thiserror::Error;

/// Bytes of one text; Okta's own limit on an expression is a fraction of it.
const TEXT_BYTES: usize = 16 << 10;

/// Items of one list of ids.
const ITEMS: usize = 10_000;

/// Why a document is no set of policies.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{object}: `{member}`: expected {expected}")]
pub struct PolicyError {
    /// Which object: what it is, its id and its name.
    pub object: SmolStr,
    /// Which member of it, as a path from the object.
    pub member: SmolStr,
    /// What belongs there.
    pub expected: SmolStr,
}

/// An object with what errors call it.
#[derive(Clone, Debug)]
pub(in crate::policy) struct Object<'v> {
    label: SmolStr,
    path: SmolStr,
    map: &'v Map<String, Value>,
}

impl<'v> Object<'v> {
    /// An object of the API; `kind` is what it should be.
    pub(in crate::policy) fn top(kind: &str, value: &'v Value) -> Result<Self, PolicyError> {
        let label = match (value.get("id").and_then(Value::as_str), value.get("name").and_then(Value::as_str)) {
            (Some(id), Some(name)) => format_smolstr!("{kind} `{}` ({})", short(id), short(name)),
            (Some(id), None) => format_smolstr!("{kind} `{}`", short(id)),
            (None, Some(name)) => format_smolstr!("{kind} ({})", short(name)),
            (None, None) => SmolStr::new(kind),
        };
        match value {
            Value::Object(map) => Ok(Self { label, path: SmolStr::default(), map }),
            _ => Err(PolicyError { object: label, member: SmolStr::new_static("."), expected: "an object".into() }),
        }
    }

    pub(in crate::policy) fn error(&self, member: &str, expected: impl AsRef<str>) -> PolicyError {
        PolicyError { object: self.label.clone(), member: self.at(member), expected: SmolStr::new(expected) }
    }

    fn at(&self, member: &str) -> SmolStr {
        if self.path.is_empty() { SmolStr::new(member) } else { format_smolstr!("{}.{member}", self.path) }
    }

    /// Whether the member is written at all, as null too.
    pub(in crate::policy) fn is_written(&self, member: &str) -> bool {
        self.map.contains_key(member)
    }

    /// A member that is there and not null.
    pub(in crate::policy) fn get(&self, member: &str) -> Option<&'v Value> {
        self.map.get(member).filter(|value| !value.is_null())
    }

    /// Every member, null too.
    pub(in crate::policy) fn all(&self) -> impl Iterator<Item = (&'v str, &'v Value)> + use<'v> {
        self.map.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The members that say something: not null, not empty.
    pub(in crate::policy) fn said(&self) -> impl Iterator<Item = (&'v str, &'v Value)> + use<'v> {
        self.all().filter(|(_, value)| says(value))
    }

    pub(in crate::policy) fn object(&self, member: &str) -> Result<Option<Object<'v>>, PolicyError> {
        match self.get(member) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Object { label: self.label.clone(), path: self.at(member), map })),
            Some(_) => Err(self.error(member, "an object")),
        }
    }

    pub(in crate::policy) fn text(&self, member: &str) -> Result<Option<SmolStr>, PolicyError> {
        match self.get(member) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= TEXT_BYTES => Ok(Some(SmolStr::new(text))),
            Some(_) => Err(self.error(member, format!("a text of at most {TEXT_BYTES} bytes"))),
        }
    }

    pub(in crate::policy) fn needed(&self, member: &str) -> Result<SmolStr, PolicyError> {
        self.text(member)?.filter(|text| !text.is_empty()).ok_or_else(|| self.error(member, "a text"))
    }

    pub(in crate::policy) fn flag(&self, member: &str) -> Result<Option<bool>, PolicyError> {
        match self.get(member) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.error(member, "true or false")),
        }
    }

    pub(in crate::policy) fn number(&self, member: &str) -> Result<Option<i64>, PolicyError> {
        match self.get(member) {
            None => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or_else(|| self.error(member, "a whole number")),
        }
    }

    pub(in crate::policy) fn list(&self, member: &str) -> Result<&'v [Value], PolicyError> {
        match self.get(member) {
            None => Ok(&[]),
            Some(Value::Array(items)) if items.len() <= ITEMS => Ok(items),
            Some(_) => Err(self.error(member, format!("a list of at most {ITEMS}"))),
        }
    }

    pub(in crate::policy) fn texts(&self, member: &str) -> Result<Vec<SmolStr>, PolicyError> {
        let texts = self.list(member)?.iter().map(|item| item.as_str().filter(|text| text.len() <= TEXT_BYTES));
        texts.map(|text| text.map(SmolStr::new).ok_or_else(|| self.error(member, "a list of texts"))).collect()
    }

    /// An object in a list, for errors about it.
    pub(in crate::policy) fn item(&self, member: &str, value: &'v Value) -> Result<Object<'v>, PolicyError> {
        match value {
            Value::Object(map) => Ok(Object { label: self.label.clone(), path: self.at(member), map }),
            _ => Err(self.error(member, "a list of objects")),
        }
    }
}

/// Whether a value asks for anything: empty lists and objects do not.
pub(in crate::policy) fn says(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => items.iter().any(says),
        Value::Object(map) => map.values().any(says),
    }
}

fn short(text: &str) -> &str {
    text.char_indices().nth(100).map_or(text, |(end, _)| text.get(..end).unwrap_or_default())
}
