//! `cohorts` and `break_glass`: who is in which part of the rollout, and who is in none.
//!
//! People are named by Okta's id (`00u…`). An address is refused: no event carries it as the person, so it would
//! silently match nobody.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use super::error::{ConfigError, Problem};
use super::{Warning, file};
use crate::event::Person;
use crate::input::Cohort;
use crate::yaml::{self, Node, section};

/// The most cohorts of an org: each is a value of a metric label.
const MAX_COHORTS: usize = 64;
/// The longest name of a cohort in bytes.
const MAX_NAME: usize = 64;
/// The largest file of people in bytes: about 700,000 ids.
const MAX_FILE: u64 = 16 << 20;

/// Where the people of a cohort come from.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Members {
    /// Okta group ids.
    Groups(Vec<String>),
    /// People by id.
    Users(#[serde(deserialize_with = "persons")] BTreeSet<Person>),
    /// A file with one id a line; `#` begins a comment.
    File(PathBuf),
}

/// The section `break_glass`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BreakGlass {
    #[serde(deserialize_with = "persons")]
    users: BTreeSet<Person>,
}

/// Reads `cohorts` in the order of the file. Cohorts by group hold nobody yet; one warning names them all.
pub(super) fn cohorts(node: &Node, base: &Path, warnings: &mut Vec<Warning>) -> Result<Vec<Cohort>, ConfigError> {
    let mut cohorts = Vec::new();
    let mut by_group: Option<Warning> = None;
    // Refuses a scalar and a list.
    section::<std::collections::BTreeMap<String, serde::de::IgnoredAny>>(node)?;
    for entry in node.entries() {
        let refuse = |text: String| ConfigError::invalid(&entry.origin, text);
        let name = entry.key.clone();
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(refuse(format!(
                "the name of a cohort must have 1 to {MAX_NAME} bytes and no control character"
            )));
        }
        if cohorts.len() == MAX_COHORTS {
            return Err(refuse(format!("more than {MAX_COHORTS} cohorts (each is a value of a metric label)")));
        }
        let users = match section(&entry.value)? {
            Members::Users(users) => users,
            Members::File(path) => {
                let at = entry.value.get("file").map_or(&entry.origin, |node| &node.origin);
                people_of_file(&base.join(path)).map_err(|problem| ConfigError::at(at, problem))?
            }
            Members::Groups(groups) if groups.is_empty() => return Err(refuse(format!("`{name}` names no group"))),
            Members::Groups(_) => {
                match &mut by_group {
                    Some(warning) => warning.text += &format!(", `{name}`"),
                    None => {
                        let text = format!("cohorts by `groups` are not built yet and hold nobody: `{name}`");
                        by_group = Some(Warning::at(&entry.origin, text));
                    }
                }
                BTreeSet::new()
            }
        };
        cohorts.push(Cohort { name, users, groups: BTreeSet::new() });
    }
    warnings.extend(by_group);
    Ok(cohorts)
}

/// Reads `break_glass`.
pub(super) fn break_glass(node: &Node) -> Result<BTreeSet<Person>, ConfigError> {
    Ok(section::<BreakGlass>(node)?.users)
}

fn persons<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<Person>, D::Error> {
    let ids = Vec::<PersonId>::deserialize(deserializer)?;
    Ok(ids.into_iter().map(|id| id.0).collect())
}

struct PersonId(Person);

impl<'de> Deserialize<'de> for PersonId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        person(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

fn person(text: &str) -> Result<Person, &'static str> {
    if text.contains('@') {
        return Err("a person is named by Okta's id (`00u…`), not by an address");
    }
    if text.is_empty() || text.len() > 64 || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("a person's id must have 1 to 64 bytes and no white space");
    }
    Ok(Person::new(text))
}

fn people_of_file(path: &Path) -> Result<BTreeSet<Person>, Problem> {
    let text = file::read(path, MAX_FILE)?;
    let mut people = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let id = line.split('#').next().unwrap_or_default().trim();
        if !id.is_empty() {
            let refuse = |why| yaml::Problem::Invalid(format!("line {} of `{}`: {why}", index + 1, path.display()));
            people.insert(person(id).map_err(refuse)?);
        }
    }
    Ok(people)
}
