//! Secrets by reference: a configuration names where a secret is, never the secret itself.
//!
//! A [`Secret`] never prints: its `Debug` is a row of dots and it has no `Display` or `Serialize`. Whoever needs one asks
//! [`Secrets`] before each use, and says so when the other side refused it; then a rotation needs no restart.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use thiserror::Error;

mod file;
mod provider;
pub mod vault;

pub use provider::Secrets;
pub use vault::{VaultError, VaultPath};

/// Looks up an environment variable, so that nothing here reads the process's own.
pub type Lookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

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

/// Where a secret is: `{env: NAME}`, `{file: /run/x}` or `{vault: "mount/path#field"}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretRef {
    /// An environment variable.
    Env(String),
    /// A file; white space at its end is dropped.
    File(PathBuf),
    /// A field of a secret in the vault of the section `vault`.
    Vault(VaultPath),
}

/// Why a secret could not be had. Holds no secret.
#[derive(Clone, Debug, Error)]
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
        source: Arc<std::io::Error>,
    },
    /// What the file holds is no secret, or not the whole of one.
    #[error("secret file `{}` {why}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: &'static str,
    },
    /// Nothing there.
    #[error("secret {0} is empty")]
    Empty(String),
    /// It took too long; another try is under way.
    #[error("reading secret {0} takes too long")]
    Slow(String),
    /// A vault reference where no vault is configured.
    #[error("`{0}` is in a vault, and none is configured (add the section `vault`)")]
    NoVault(VaultPath),
    /// The vault did not give it.
    #[error("vault path `{path}`: {source}")]
    Vault {
        /// The reference.
        path: VaultPath,
        /// Why.
        source: VaultError,
    },
}

impl SecretRef {
    /// Begins a relative path of a file at `base`.
    pub fn begin_at(&mut self, base: &Path) {
        match self {
            Self::File(path) => *path = base.join(&*path),
            Self::Env(_) | Self::Vault(_) => {}
        }
    }

    /// Reads the secret now and blocks while it does; the environment comes in as a lookup so that tests need none of
    /// the process's. For a secret that can change, and for one in a vault, ask [`Secrets`].
    ///
    /// # Errors
    /// Where it is unset, unreadable, empty, or in a vault.
    pub fn resolve(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Secret, SecretError> {
        match self {
            Self::Env(name) => {
                let value = env(name).ok_or_else(|| SecretError::Unset(name.clone()))?;
                let value = value.trim_end();
                if value.is_empty() { Err(SecretError::Empty(self.to_string())) } else { Ok(Secret::new(value)) }
            }
            Self::File(path) => file::read(path, None).map(|read| read.secret),
            Self::Vault(path) => Err(SecretError::NoVault(path.clone())),
        }
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

    #[test]
    fn a_vault_reference_without_a_vault_says_what_to_add() {
        let path: VaultPath = "secret/okta/admin-api#token".parse().expect("a path");
        let error = SecretRef::Vault(path).resolve(&|_| None).expect_err("no vault");
        let said = "`secret/okta/admin-api#token` is in a vault, and none is configured (add the section `vault`)";
        assert_eq!(error.to_string(), said);
    }
}
