//! Log lines: structured, on stderr, as text for people or as JSON for machines.
//!
//! The level is a directive as in `RUST_LOG`: `info`, or `info,authwatch::source=debug`. Above `debug` no line holds a
//! name, an address, a token or a raw body; that is the duty of whoever writes the line.

use std::fmt;
use std::io::{self, IsTerminal as _};

use serde::{Deserialize, Deserializer};
use thiserror::Error;
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// The section `log` of the configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How a line is written; text by default.
    pub format: Format,
    /// What is written; `info` by default. The variable `RUST_LOG` wins.
    pub level: Level,
}

/// How a line is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A directive that is known to parse.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Level(String);

impl Level {
    /// Checks a directive.
    ///
    /// # Errors
    /// Where it is none.
    pub fn new(directive: &str) -> Result<Self, LogError> {
        let directive = directive.split(',').map(str::trim).collect::<Vec<_>>().join(",");
        // A word that is no level would be taken for the name of a target, and would silence all else.
        let known = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
        let bare = directive.split(',').find(|part| !part.contains(['=', ':', '[']) && !known(part));
        if let Some(word) = bare {
            return Err(LogError::Level(word.to_owned()));
        }
        EnvFilter::try_new(&directive).map_err(LogError::Directive)?;
        Ok(Self(directive))
    }

    /// The level in force: that of the variable `RUST_LOG` where it says anything, else this one.
    ///
    /// # Errors
    /// Where the variable is no directive: whoever set it wants to see something, and would not.
    pub fn or_variable(&self, rust_log: Option<&str>) -> Result<Self, LogError> {
        match rust_log.map(str::trim) {
            None | Some("") => Ok(self.clone()),
            Some(directive) => Self::new(directive).map_err(|error| LogError::Variable(Box::new(error))),
        }
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl Default for Level {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Why logging cannot be set up.
#[derive(Debug, Error)]
pub enum LogError {
    /// A word that is no level.
    #[error("unknown level (expected one of `off`, `error`, `warn`, `info`, `debug`, `trace`, or `target=level`)")]
    Level(String),
    /// A directive that cannot be read.
    #[error("not a log directive (as `info,authwatch::source=debug`)")]
    Directive(#[source] ParseError),
    /// The variable `RUST_LOG` is no directive.
    #[error("environment variable `RUST_LOG` is of no use (correct it, or unset it)")]
    Variable(#[source] Box<LogError>),
    /// Logging is set up already.
    #[error("logging is set up already")]
    Twice(#[source] TryInitError),
}

/// Sends log lines to stderr from here on. Colours are for terminals, and for those who did not set `NO_COLOR`.
///
/// # Errors
/// Where it was called before.
pub fn init(format: Format, level: &Level, no_color: bool) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(&level.0).map_err(LogError::Directive)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let result = match format {
        Format::Text => lines.with_ansi(!no_color && io::stderr().is_terminal()).finish().try_init(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).finish().try_init(),
    };
    result.map_err(LogError::Twice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_not_taken_for_a_target() {
        for directive in ["info", "INFO", "info,authwatch::source=debug", "off", "warn, authwatch=trace"] {
            assert!(Level::new(directive).is_ok(), "{directive}");
        }
        for directive in ["inof", "verbose", "info,loud", "", "authwatch=loud"] {
            assert!(Level::new(directive).is_err(), "{directive}");
        }
    }

    #[test]
    fn the_variable_wins_where_it_says_anything() {
        let configured = Level::new("warn").expect("a level");
        for (variable, expect) in
            [(None, "warn"), (Some(""), "warn"), (Some(" "), "warn"), (Some("debug"), "debug"), (Some("off"), "off")]
        {
            assert_eq!(configured.or_variable(variable).expect("a level").to_string(), expect, "{variable:?}");
        }
        let error = configured.or_variable(Some("loud")).expect_err("no level");
        assert!(error.to_string().contains("`RUST_LOG`"), "{error}");
    }
}
