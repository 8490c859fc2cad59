//! Exit codes as scripts know them, and the failure that carries one.

use std::fmt::Display;
use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// It did what it was asked.
    Good = 0,
    /// A negative verdict: an expectation missed, findings.
    Negative = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The configuration or the rules are invalid.
    Invalid = 3,
    /// Too little data to say.
    Inconclusive = 4,
    /// It could not run: I/O, authentication, network.
    CouldNotRun = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure for people, with the exit code for scripts.
#[derive(Debug)]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    /// What, where, and what to do.
    pub error: anyhow::Error,
}

/// What every command returns.
pub type Outcome = Result<Exit, Failure>;

impl Failure {
    /// The configuration or the rules are invalid.
    pub fn invalid(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Invalid, error: error.into() }
    }

    /// It could not run.
    pub fn could_not_run(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::CouldNotRun, error: error.into() }
    }

    /// The command line is wrong.
    pub fn usage(message: impl Display) -> Self {
        Self { exit: Exit::Usage, error: anyhow::anyhow!("{message}") }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::could_not_run(error)
    }
}
