//! `AUTHWATCH_SECTION__KEY`: environment variables that override keys of the file.
//!
//! Two underscores part the steps of the path; a step is a key (any case, `_` also for `-`) or the number of a list
//! item, counted from 0; the number after the last item adds one. A value that stands in `[…]` or `{…}` is read as
//! YAML, anything else is one scalar. Values are taken as they are: the shell has expanded them.

use super::environment::Environment;
use super::error::ConfigError;
use crate::yaml::{self, Entry, Node, Origin, Problem, Value};

const PREFIX: &str = "AUTHWATCH_";
/// The deepest path: no key lies deeper.
const MAX_STEPS: usize = 16;

/// Applies every override, in the order of the variables' names.
pub(super) fn apply(root: &mut Node, environment: &Environment) -> Result<(), ConfigError> {
    for (name, text) in environment.with_prefix(PREFIX) {
        if is_service_link(name) {
            continue;
        }
        let origin = Origin::Variable(name.into());
        let value = read(text, &origin)?;
        let steps: Vec<&str> = name[PREFIX.len()..].split("__").collect();
        let problem = if steps.len() > MAX_STEPS || steps.iter().any(|step| step.is_empty()) {
            Err(Problem::Invalid("the name is no path of keys (as `AUTHWATCH_SECTION__KEY`)".to_owned()))
        } else {
            set(root, &steps, value, &origin)
        };
        problem.map_err(|problem| ConfigError::at(&origin, problem))?;
    }
    Ok(())
}

/// Kubernetes sets such variables in every pod beside a Service called `authwatch`; they are no configuration.
fn is_service_link(name: &str) -> bool {
    ["AUTHWATCH_PORT", "AUTHWATCH_SERVICE_HOST", "AUTHWATCH_SERVICE_PORT"].iter().any(|link| {
        name.strip_prefix(link).is_some_and(|rest| rest.is_empty() || rest.starts_with('_') && !rest.starts_with("__"))
    })
}

fn read(text: &str, origin: &Origin) -> Result<Node, ConfigError> {
    let trimmed = text.trim();
    let enclosed = |open, close| trimmed.starts_with(open) && trimmed.ends_with(close);
    if enclosed('[', ']') || enclosed('{', '}') {
        return Ok(yaml::parse_variable(trimmed, origin)?);
    }
    Ok(Node { origin: origin.clone(), value: Value::Scalar { text: text.to_owned(), plain: true } })
}

fn set(node: &mut Node, steps: &[&str], value: Node, origin: &Origin) -> Result<(), Problem> {
    let Some((step, rest)) = steps.split_first() else {
        *node = value;
        return Ok(());
    };
    if node.is_null() {
        *node = blank(step, origin);
    }
    match &mut node.value {
        Value::Map(entries) => {
            let place = match entries.iter().position(|entry| same_key(&entry.key, step)) {
                Some(place) => place,
                None => {
                    let key = step.to_ascii_lowercase();
                    entries.push(Entry { key, origin: origin.clone(), value: nothing(origin) });
                    entries.len() - 1
                }
            };
            set(&mut entries[place].value, rest, value, origin)
        }
        Value::List(items) => {
            let index = step.parse::<usize>().map_err(|_| Problem::Invalid(format!("`{step}` is no list index")))?;
            if index > items.len() {
                return Err(Problem::Invalid(format!("index {index} is past the end of a list of {}", items.len())));
            }
            if index == items.len() {
                items.push(nothing(origin));
            }
            set(&mut items[index], rest, value, origin)
        }
        Value::Scalar { .. } => {
            Err(Problem::Invalid(format!("there is nothing below `{step}`'s parent: it is a single value")))
        }
    }
}

/// The collection that a step belongs to: a number asks for a list.
fn blank(step: &str, origin: &Origin) -> Node {
    let list = step.bytes().all(|byte| byte.is_ascii_digit());
    if list { Node { origin: origin.clone(), value: Value::List(Vec::new()) } } else { Node::empty(origin.clone()) }
}

fn nothing(origin: &Origin) -> Node {
    Node { origin: origin.clone(), value: Value::Scalar { text: String::new(), plain: true } }
}

fn same_key(key: &str, step: &str) -> bool {
    key.replace('-', "_").eq_ignore_ascii_case(step)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn apply_to(yaml_text: &str, name: &str, value: &str) -> Result<Node, ConfigError> {
        let mut root = yaml::parse(yaml_text, Path::new("a.yaml")).expect("yaml");
        apply(&mut root, &[(name, value)].into_iter().collect())?;
        Ok(root)
    }

    #[track_caller]
    fn refused(yaml_text: &str, name: &str, expect: &str) {
        assert_eq!(apply_to(yaml_text, name, "x").expect_err(name).to_string(), expect);
    }

    fn text<'a>(node: &'a Node, path: &[&str]) -> &'a str {
        let mut node = node;
        for step in path {
            node = match &node.value {
                Value::List(items) => &items[step.parse::<usize>().expect("index")],
                Value::Map(_) | Value::Scalar { .. } => node.get(step).expect(step),
            };
        }
        match &node.value {
            Value::Scalar { text, .. } => text,
            Value::List(_) | Value::Map(_) => panic!("no scalar"),
        }
    }

    #[test]
    fn an_override_reaches_keys_lists_and_sections_that_are_not_there() {
        let root = apply_to("sources:\n  - okta: { url: a }\n", "AUTHWATCH_SOURCES__0__OKTA__URL", "b").expect("set");
        assert_eq!(text(&root, &["sources", "0", "okta", "url"]), "b");
        let root = apply_to("judge:\n", "AUTHWATCH_JUDGE__MIN_PEOPLE", "7").expect("set");
        assert_eq!(text(&root, &["judge", "min_people"]), "7");
        let root = apply_to("{}", "AUTHWATCH_SOURCES__0__OKTA__URL", "b").expect("set");
        assert_eq!(text(&root, &["sources", "0", "okta", "url"]), "b");
        let root = apply_to("{}", "AUTHWATCH_BREAK_GLASS__USERS", "[00ua, 00ub]").expect("set");
        assert_eq!(text(&root, &["break_glass", "users", "1"]), "00ub");
        let root = apply_to("cohorts: { Wave-1: { file: a } }", "AUTHWATCH_COHORTS__WAVE_1__FILE", "b").expect("set");
        assert_eq!(text(&root, &["cohorts", "Wave-1", "file"]), "b");
        let root = apply_to("{}", "AUTHWATCH_LISTEN", "[::1]:9464").expect("set");
        assert_eq!(text(&root, &["listen"]), "[::1]:9464");
    }

    #[test]
    fn an_override_that_cannot_be_applied_names_its_variable() {
        refused(
            "sources: []",
            "AUTHWATCH_SOURCES__3__OKTA",
            "environment variable `AUTHWATCH_SOURCES__3__OKTA`: index 3 is past the end of a list of 0",
        );
        refused(
            "sources: []",
            "AUTHWATCH_SOURCES__OKTA",
            "environment variable `AUTHWATCH_SOURCES__OKTA`: `OKTA` is no list index",
        );
        refused(
            "org: a",
            "AUTHWATCH_ORG____X",
            "environment variable `AUTHWATCH_ORG____X`: the name is no path of keys (as `AUTHWATCH_SECTION__KEY`)",
        );
        refused(
            "org: a",
            "AUTHWATCH_ORG__X",
            "environment variable `AUTHWATCH_ORG__X`: there is nothing below `X`'s parent: it is a single value",
        );
    }

    #[test]
    fn variables_that_kubernetes_sets_for_a_service_are_no_overrides() {
        for name in [
            "AUTHWATCH_PORT",
            "AUTHWATCH_PORT_9464_TCP_ADDR",
            "AUTHWATCH_SERVICE_HOST",
            "AUTHWATCH_SERVICE_PORT",
            "AUTHWATCH_SERVICE_PORT_HTTP",
        ] {
            assert!(apply_to("{}", name, "tcp://10.0.0.1:9464").expect(name).entries().is_empty(), "{name}");
        }
        assert_eq!(apply_to("{}", "AUTHWATCH_PORTS", "1").expect("set").entries().len(), 1);
    }
}
