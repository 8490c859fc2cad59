//! Where a value stands in a document, by its path.

use crate::yaml::{Node, Origin, Value};

/// The place of the value at a path of keys and numbers of list items; of the last one that is there where it ends early.
pub(super) fn place<'a>(node: &'a Node, path: &[&str]) -> &'a Origin {
    let mut at = node;
    for step in path {
        let next = match &at.value {
            Value::List(items) => step.parse().ok().and_then(|n: usize| items.get(n)),
            Value::Map(_) | Value::Scalar { .. } => at.get(step),
        };
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    &at.origin
}
