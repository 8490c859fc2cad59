//! What is wrong with a document, where, and what to write.
//!
//! A message names keys and the words that are expected, never the value that was found: a value may be a secret that
//! was written where a reference belongs, and the position shows it to whoever may read the file.

use std::fmt;

use thiserror::Error as ThisError;

use super::Origin;

/// One problem with the place where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// Where; `None` only until the value that it is about is left behind.
    pub origin: Option<Origin>,
    /// What.
    pub problem: Problem,
}

/// The problem itself.
#[derive(Clone, PartialEq, Eq, Debug, ThisError)]
pub enum Problem {
    /// The text is not YAML.
    #[error("not valid YAML: {0}")]
    Syntax(String),
    /// A key appears twice in one mapping.
    #[error("duplicate key `{0}`")]
    DuplicateKey(String),
    /// A key that nothing reads.
    #[error("unknown key `{key}` ({})", hint(key, expected))]
    UnknownKey {
        /// The key.
        key: String,
        /// The keys that are known here.
        expected: Vec<String>,
    },
    /// A word that is not in the list.
    #[error("{}", word(found, expected))]
    UnknownWord {
        /// The word; shown only where it is nearly an expected one.
        found: String,
        /// The words that are known here.
        expected: Vec<String>,
    },
    /// A key that must be there is not.
    #[error("missing key `{key}`{}", parent.as_ref().map(|parent| format!(" in `{parent}`")).unwrap_or_default())]
    MissingKey {
        /// The key.
        key: String,
        /// The key that should hold it.
        parent: Option<String>,
    },
    /// A value of another type.
    #[error("found {found}, expected {expected}")]
    WrongType {
        /// The type that was found.
        found: &'static str,
        /// What belongs there.
        expected: String,
    },
    /// Anything that the type of a value refuses.
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    /// A problem at a place.
    pub fn at(origin: &Origin, problem: Problem) -> Self {
        Self { origin: Some(origin.clone()), problem }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{origin}: {}", self.problem),
            None => self.problem.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

fn hint(found: &str, expected: &[String]) -> String {
    match nearest(found, expected) {
        Some(near) => format!("did you mean `{near}`?"),
        None => one_of(expected),
    }
}

fn word(found: &str, expected: &[String]) -> String {
    match nearest(found, expected) {
        Some(near) => format!("unknown word `{found}` (did you mean `{near}`?)"),
        None => format!("unknown word ({})", one_of(expected)),
    }
}

fn one_of(expected: &[String]) -> String {
    match expected {
        [] => "no key belongs here".to_owned(),
        [only] => format!("expected `{only}`"),
        many => {
            format!("expected one of {}", many.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "))
        }
    }
}

/// The expected word that a typing error turns into `found`: at most a third of its letters differ.
fn nearest<'a>(found: &str, expected: &'a [String]) -> Option<&'a str> {
    let found = found.to_lowercase().replace('-', "_");
    let near = expected.iter().map(|word| (strsim::damerau_levenshtein(&found, word), word));
    let (distance, word) = near.min_by_key(|(distance, _)| *distance)?;
    (distance <= (word.chars().count() / 3).max(1)).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn the_nearest_word_is_offered_only_where_it_is_near() {
        let known = words(&["poll_interval", "url", "start"]);
        for (found, expect) in [
            ("pol_interval", Some("poll_interval")),
            ("poll-interval", Some("poll_interval")),
            ("PollInterval", Some("poll_interval")),
            ("ulr", Some("url")),
            ("start_at", None),
            ("x", None),
        ] {
            assert_eq!(nearest(found, &known), expect, "{found}");
        }
    }

    #[test]
    fn a_word_that_is_near_nothing_is_not_repeated() {
        let problem = Problem::UnknownWord { found: "hunter2".into(), expected: words(&["env", "file", "vault"]) };
        assert_eq!(problem.to_string(), "unknown word (expected one of `env`, `file`, `vault`)");
    }
}
