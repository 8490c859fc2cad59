//! What can be wrong with tables, and with a page.

use thiserror::Error;

use crate::decode::Fault;
use crate::event::Credential;
use crate::yaml;

/// The tables are invalid.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum RulesError {
    /// A file is no YAML, or holds an unknown key or word.
    #[error(transparent)]
    Yaml(#[from] yaml::Error),
    /// A section is in two files.
    #[error("`{file}`: section `{section}` is already in another file (keep one of them)")]
    Twice {
        /// The later file.
        file: String,
        /// The section.
        section: &'static str,
    },
    /// A section is in no file.
    #[error("section `{section}` is missing (tables are replaced as a whole; begin with a copy of the shipped ones)")]
    Absent {
        /// The section.
        section: &'static str,
    },
    /// A credential has no place in the order of precedence.
    #[error("`precedence` leaves out `{credential}` (list every credential but `none`)")]
    Precedence {
        /// The credential.
        credential: Credential,
    },
}

impl RulesError {
    pub(super) fn twice(file: &str, section: &'static str) -> Self {
        Self::Twice { file: file.to_owned(), section }
    }

    pub(super) fn absent(section: &'static str) -> Self {
        Self::Absent { section }
    }

    pub(super) fn precedence(credential: Credential) -> Self {
        Self::Precedence { credential }
    }
}

/// A body is no page of events; everything handed over from it must be discarded, and the page fetched again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum PageError {
    /// It is empty, or ends before its array does.
    #[error("the page is cut off (fetch it again)")]
    CutOff,
    /// It is no JSON, for example the HTML of a proxy.
    #[error("the page is no JSON (is a proxy answering in place of the API?)")]
    NotJson,
    /// It is JSON, but no array, for example an error object.
    #[error("the page is no JSON array (is the address that of `/api/v1/logs`?)")]
    NotAnArray,
}

impl PageError {
    /// A short word for labels and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CutOff => "cut_off",
            Self::NotJson => "not_json",
            Self::NotAnArray => "not_an_array",
        }
    }
}

impl From<Fault> for PageError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::CutOff => Self::CutOff,
            Fault::NotJson => Self::NotJson,
            Fault::NotAnArray => Self::NotAnArray,
        }
    }
}
