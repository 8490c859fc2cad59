//! `${NAME}` and `${NAME:-default}` in scalar values.
//!
//! A reference is replaced by text and never by structure: what a variable holds cannot add keys. A value with a
//! reference may be a number even in quotes, which YAML demands around `${…}` inside `{…}`. The default holds where the
//! variable is unset or empty. `$${` is a literal `${`; a `$` before anything else is itself.

use super::environment::Environment;
use super::error::{ConfigError, Problem};
use crate::yaml::{Node, Value};

/// Expands every scalar at and below a node.
pub(super) fn expand(node: &mut Node, environment: &Environment) -> Result<(), ConfigError> {
    match &mut node.value {
        Value::Scalar { text, plain } => {
            if text.contains("${") {
                *plain |= text.replace("$${", "").contains("${");
                *text = expanded(text, environment).map_err(|problem| ConfigError::at(&node.origin, problem))?;
            }
            Ok(())
        }
        Value::List(items) => items.iter_mut().try_for_each(|item| expand(item, environment)),
        Value::Map(entries) => entries.iter_mut().try_for_each(|entry| expand(&mut entry.value, environment)),
    }
}

fn expanded(text: &str, environment: &Environment) -> Result<String, Problem> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, reference) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &reference[2..];
            continue;
        }
        out.push_str(before);
        let (inner, after) = reference[2..].split_once('}').ok_or(Problem::Reference("no closing brace"))?;
        out.push_str(&value(inner, environment)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn value(reference: &str, environment: &Environment) -> Result<String, Problem> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if !first || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(Problem::Reference("a name is letters, digits and underscores"));
    }
    match (environment.get(name), default) {
        (Some(""), Some(default)) | (None, Some(default)) => Ok(default.to_owned()),
        (Some(value), _) => Ok(value.to_owned()),
        (None, None) => Err(Problem::Unset(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_defaults_and_escapes_are_read() {
        let environment: Environment =
            [("HOST", "acme.okta.com"), ("EMPTY", ""), ("ODD", "a ${HOST} b")].into_iter().collect();
        for (text, expect) in [
            ("https://${HOST}/", "https://acme.okta.com/"),
            ("${HOST}${HOST}", "acme.okta.comacme.okta.com"),
            ("${NONE:-x y}", "x y"),
            ("${NONE:-}", ""),
            ("${EMPTY}", ""),
            ("${EMPTY:-full}", "full"),
            ("$${HOST}", "${HOST}"),
            ("$$${HOST}", "$${HOST}"),
            ("costs $5", "costs $5"),
            ("${ODD}", "a ${HOST} b"),
        ] {
            assert_eq!(expanded(text, &environment).expect(text), expect, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_expanded_says_why() {
        for (text, expect) in [
            ("${NONE}", "environment variable `NONE` is not set (export it, or write `${NONE:-default}`)"),
            ("${HOST", "malformed variable reference (no closing brace; write `$${` for a literal `${`)"),
            (
                "${}",
                "malformed variable reference (a name is letters, digits and underscores; write `$${` for a literal `${`)",
            ),
            (
                "${1A}",
                "malformed variable reference (a name is letters, digits and underscores; write `$${` for a literal `${`)",
            ),
        ] {
            assert_eq!(expanded(text, &Environment::default()).expect_err(text).to_string(), expect);
        }
    }
}
