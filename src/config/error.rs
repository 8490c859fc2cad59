//! What is wrong with a configuration, where, and what to write.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use thiserror::Error;

use crate::yaml::{self, Origin};

/// One problem with the place where it stands.
#[derive(Debug)]
pub struct ConfigError {
    /// Where; `None` where no file could be read.
    pub origin: Option<Origin>,
    /// What.
    pub problem: Problem,
}

/// The problem itself.
#[derive(Debug, Error)]
pub enum Problem {
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is larger than any that is meant.
    #[error("`{}` is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// A variable that is referred to is not set.
    #[error("environment variable `{0}` is not set (export it, or write `${{{0}:-default}}`)")]
    Unset(String),
    /// A reference to a variable that cannot be read.
    #[error("malformed variable reference ({0}; write `$${{` for a literal `${{`)")]
    Reference(&'static str),
    /// The text is no YAML, or not of the keys and types that belong here.
    #[error(transparent)]
    Yaml(#[from] yaml::Problem),
}

impl ConfigError {
    /// A problem at a place.
    pub fn at(origin: &Origin, problem: impl Into<Problem>) -> Self {
        Self { origin: Some(origin.clone()), problem: problem.into() }
    }

    /// A value that makes no sense, with a sentence that says why.
    pub(crate) fn invalid(origin: &Origin, why: impl Into<String>) -> Self {
        Self::at(origin, yaml::Problem::Invalid(why.into()))
    }

    pub(super) fn unreadable(path: &Path, source: io::Error) -> Problem {
        Problem::Unreadable { path: path.to_owned(), source }
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self { origin: None, problem }
    }
}

impl From<yaml::Error> for ConfigError {
    fn from(error: yaml::Error) -> Self {
        Self { origin: error.origin, problem: error.problem.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{origin}: {}", self.problem),
            None => self.problem.fmt(f),
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.problem.source()
    }
}
