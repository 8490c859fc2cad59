//! A redacted record of the log, looked into leniently: any member may be absent, of a foreign type, or named in another
//! case, as exporters write them.

use std::net::IpAddr;

use serde_json::{Map, Value};

/// Words that say nothing.
const NOTHING: [&str; 5] = ["", "unknown", "null", "none", "-"];

/// One record.
#[derive(Debug, Default)]
pub(super) struct Record(Map<String, Value>);

/// Somebody or something that an event names.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Named<'a>(Option<&'a Value>);

impl Record {
    pub(super) fn new(record: Map<String, Value>) -> Self {
        Self(record)
    }

    pub(super) fn into_map(self) -> Map<String, Value> {
        self.0
    }

    /// What stands at a path.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(member(&self.0, first)?, |value, name| within(value, name))
    }

    /// A text that says something.
    pub(super) fn text(&self, path: &[&str]) -> Option<&str> {
        said(self.at(path)?)
    }

    /// A text of `debugData`, where it says something.
    pub(super) fn debug(&self, name: &str) -> Option<&str> {
        self.text(&["debugContext", "debugData", name])
    }

    /// A truth, written as one or as a text.
    pub(super) fn flag(&self, path: &[&str]) -> Option<bool> {
        match self.at(path)? {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// The client's address, where it is one.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.text(&["client", "ipAddress"])?.trim().parse().ok()
    }

    pub(super) fn actor(&self) -> Named<'_> {
        Named(self.at(&["actor"]))
    }

    /// Everything that the event is about.
    pub(super) fn targets(&self) -> impl Iterator<Item = Named<'_>> {
        let targets = self.at(&["target"]).and_then(Value::as_array);
        targets.into_iter().flatten().map(|target| Named(Some(target)))
    }

    /// The first target of a type.
    pub(super) fn target(&self, kind: &str) -> Named<'_> {
        self.targets().find(|target| target.is(kind)).unwrap_or_default()
    }

    /// Who signs in: the actor where it is a user, else the first user that the event is about.
    pub(super) fn user(&self) -> Named<'_> {
        if self.actor().is("User") { self.actor() } else { self.target("User") }
    }
}

impl<'a> Named<'a> {
    pub(super) fn is(self, kind: &str) -> bool {
        self.text("type").is_some_and(|own| own.eq_ignore_ascii_case(kind))
    }

    /// A text of it that says something.
    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        said(within(self.0?, name)?)
    }

    /// A text of its details that says something.
    pub(super) fn detail(self, name: &str) -> Option<&'a str> {
        said(within(within(self.0?, "detailEntry")?, name)?)
    }

    pub(super) fn value(self) -> Option<&'a Value> {
        self.0
    }
}

/// A member, as named or in another case.
pub(super) fn member<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    map.get(name).or_else(|| map.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

/// A member of an object, or of the one object in a list.
fn within<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => member(map, name),
        Value::Array(list) if list.len() == 1 => member(list.first()?.as_object()?, name),
        _ => None,
    }
}

/// A text that says something.
pub(super) fn said(value: &Value) -> Option<&str> {
    let text = value.as_str()?;
    let is_nothing = NOTHING.iter().any(|nothing| text.trim().eq_ignore_ascii_case(nothing));
    (!is_nothing).then_some(text)
}

/// Puts a value into an object, unless there is none.
pub(super) fn put(map: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        map.insert(name.to_owned(), value.into());
    }
}

/// The object, unless it is empty.
pub(super) fn filled(map: Map<String, Value>) -> Option<Value> {
    (!map.is_empty()).then_some(Value::Object(map))
}
