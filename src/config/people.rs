//! `cohorts` and `break_glass`: who is in which part of the rollout, and who is in none.
//!
//! People are named by Okta's id (`00u…`), or by the id of a group (`00g…`) whose people an `okta` source reads. An
//! address is refused: no event carries it as the person, so it would silently match nobody.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use smol_str::SmolStr;

use super::error::{ConfigError, Problem};
use super::file;
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
    Groups(#[serde(deserialize_with = "group_ids")] BTreeSet<SmolStr>),
    /// People by id.
    Users(#[serde(deserialize_with = "persons")] BTreeSet<Person>),
    /// A file with one id a line; `#` begins a comment.
    File(PathBuf),
}

/// The section `break_glass`: who is left out of every judgement.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakGlass {
    /// People by id.
    #[serde(default, deserialize_with = "persons")]
    pub users: BTreeSet<Person>,
    /// Okta groups by id.
    #[serde(default, deserialize_with = "group_ids")]
    pub groups: BTreeSet<SmolStr>,
}

/// Reads `cohorts` in the order of the file.
pub(super) fn cohorts(node: &Node, base: &Path) -> Result<Vec<Cohort>, ConfigError> {
    let mut cohorts = Vec::new();
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
        let (users, groups) = match section(&entry.value)? {
            Members::Users(users) => (users, BTreeSet::new()),
            Members::File(path) => {
                let at = entry.value.get("file").map_or(&entry.origin, |node| &node.origin);
                let users = people_of_file(&base.join(path)).map_err(|problem| ConfigError::at(at, problem))?;
                (users, BTreeSet::new())
            }
            Members::Groups(groups) if groups.is_empty() => return Err(refuse(format!("`{name}` names no group"))),
            Members::Groups(groups) => (BTreeSet::new(), groups),
        };
        cohorts.push(Cohort { name, users, groups });
    }
    Ok(cohorts)
}

/// Reads `break_glass`.
pub(super) fn break_glass(node: &Node) -> Result<BreakGlass, ConfigError> {
    let read: BreakGlass = section(node)?;
    if node.get("users").is_none() && node.get("groups").is_none() {
        return Err(ConfigError::invalid(&node.origin, "`break_glass` names nobody (write `users`, `groups` or both)"));
    }
    Ok(read)
}

fn group_ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<SmolStr>, D::Error> {
    let ids = Vec::<GroupId>::deserialize(deserializer)?;
    Ok(ids.into_iter().map(|id| id.0).collect())
}

struct GroupId(SmolStr);

impl<'de> Deserialize<'de> for GroupId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if !is_id(&text) {
            return Err(serde::de::Error::custom("a group's id (`00g…`) must have 1 to 64 bytes and no white space"));
        }
        Ok(Self(SmolStr::new(&text)))
    }
}

/// Whether a text can be an id of Okta's.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && !text.chars().any(|c| c.is_whitespace() || c.is_control())
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
    if !is_id(text) {
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
