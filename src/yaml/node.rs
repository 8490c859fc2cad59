//! A document as a tree in which every value knows where it stands.
//!
//! A scalar keeps its text: what it means is decided by the type that reads it, so `org: 0123` stays `0123`.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a value was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// In a file.
    File {
        /// The file as the operator named it.
        path: Arc<Path>,
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
    },
    /// In an environment variable that overrides a key.
    Variable(Arc<str>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Variable(name) => write!(f, "environment variable `{name}`"),
        }
    }
}

/// One value of a document, with everything below it.
#[derive(Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it begins.
    pub origin: Origin,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// Text that is not a list and not a mapping.
    Scalar {
        /// As written, without its quotes.
        text: String,
        /// Written without quotes: it may be a number, a truth value or nothing at all.
        plain: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file; keys are unique.
    Map(Vec<Entry>),
}

/// One key of a mapping with its value.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub origin: Origin,
    /// The value.
    pub value: Node,
}

impl Node {
    /// An empty mapping.
    pub fn empty(origin: Origin) -> Self {
        Self { origin, value: Value::Map(Vec::new()) }
    }

    /// Nothing is written here: an empty value, `~` or `null` without quotes.
    pub fn is_null(&self) -> bool {
        match &self.value {
            Value::Scalar { text, plain } => *plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"),
            Value::List(_) | Value::Map(_) => false,
        }
    }

    /// The entries of a mapping; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Scalar { .. } | Value::List(_) => &[],
        }
    }

    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }
}

/// Shows the shape and no scalar: a value may be a secret that was written where a reference belongs.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Scalar { .. } => f.write_str("…"),
            Value::List(items) => f.debug_list().entries(items).finish(),
            Value::Map(entries) => f.debug_map().entries(entries.iter().map(|e| (&e.key, &e.value))).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_keys_and_no_value() {
        let origin = Origin::Variable("X".into());
        let scalar = Value::Scalar { text: "canary".into(), plain: true };
        let value = Node { origin: origin.clone(), value: scalar };
        let node =
            Node { origin: origin.clone(), value: Value::Map(vec![Entry { key: "token".into(), origin, value }]) };
        assert_eq!(format!("{node:?}"), r#"{"token": …}"#);
    }
}
