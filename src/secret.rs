//! Secrets by reference: a configuration names where a secret is, never the secret itself.
//!
//! A [`Secret`] never prints: its `Debug` is a row of dots and it has no `Display` or `Serialize`.

use std::path::{Path, PathBuf};
use std::{fmt, fs};

use serde::Deserialize;
use thiserror::Error;

/// A secret value. Read it with [`Secret::expose`] at the last moment.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the wire only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a secret is: `{env: NAME}` or `{file: /run/x}`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretRef {
    /// An environment variable.
    Env(String),
    /// A file; white space at its end is dropped.
    File(PathBuf),
    /// A path in a vault; not built yet, refused by name when resolved.
    Vault(String),
}

/// Why a secret could not be had.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The variable is not set.
    #[error("environment variable `{0}` is not set (export it, or name a file with {{file: …}})")]
    Unset(String),
    /// The file cannot be read.
    #[error("cannot read secret file `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Nothing there.
    #[error("secret {0} is empty")]
    Empty(String),
    /// A vault reference.
    #[error("vault secrets are not built yet (`{0}`; use {{file: …}} with an agent's template)")]
    Vault(String),
}

impl SecretRef {
    /// Begins a relative path of a file at `base`.
    pub fn begin_at(&mut self, base: &Path) {
        match self {
            Self::File(path) => *path = base.join(&*path),
            Self::Env(_) | Self::Vault(_) => {}
        }
    }

    /// Reads the secret; the environment comes in as a lookup so that tests need none of the process's.
    ///
    /// # Errors
    /// Where it is unset, unreadable or empty.
    pub fn resolve(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Secret, SecretError> {
        let value = match self {
            Self::Env(name) => env(name).ok_or_else(|| SecretError::Unset(name.clone()))?,
            Self::File(path) => {
                fs::read_to_string(path).map_err(|source| SecretError::Unreadable { path: path.clone(), source })?
            }
            Self::Vault(path) => return Err(SecretError::Vault(path.clone())),
        };
        let value = value.trim_end();
        if value.is_empty() {
            return Err(SecretError::Empty(self.to_string()));
        }
        Ok(Secret::new(value))
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable `{name}`"),
            Self::File(path) => write!(f, "file `{}`", path.display()),
            Self::Vault(path) => write!(f, "vault path `{path}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints() {
        assert_eq!(format!("{:?}", Secret::new("canary")), "Secret(…)");
    }

    #[test]
    fn an_unset_variable_is_named() {
        let error = SecretRef::Env("OKTA_API_TOKEN".into()).resolve(&|_| None).expect_err("unset");
        assert!(error.to_string().contains("`OKTA_API_TOKEN` is not set"), "{error}");
    }
}
