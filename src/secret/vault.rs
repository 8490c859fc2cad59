//! Secrets in HashiCorp Vault or OpenBao: fields of a KV version 2 secrets engine.
//!
//! API: `POST /v1/auth/{mount}/login` (AppRole, Kubernetes), `POST /v1/auth/token/renew-self`, `GET
//! /v1/auth/token/lookup-self`, `GET /v1/{mount}/data/{path}`; and to explain a refusal `GET
//! /v1/sys/internal/ui/mounts/{path}` and `GET /v1/sys/health`. The policy needs `read` on `{mount}/data/{path}` only.
//!
//! **How it fails.** Every status becomes a [`VaultError`] with its name: 403 can be a token or a right, so one new login
//! decides; 404 can be a mount, a version of the engine, a path or a deleted version, so the mount is asked for; and
//! what a node that does not serve says of itself (sealed, standby) is asked of its health. Nothing of a body is shown.
//! The token is renewed at two thirds of its time, and a new login is made when it no longer grows.
//!
//! **It refuses** to follow redirects (a standby points to the active node; the token would go there), KV version 1, and
//! secrets that are not text. Condition: `vault`, which informs and does not gate readiness.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use thiserror::Error;

use super::{Lookup, Secret};
use crate::telemetry::condition::Condition;
use crate::telemetry::preflight::{Finding, Findings, Verdict};

mod client;
mod config;
mod error;
mod path;
mod session;

use client::{Client, Reply};
pub use config::{AppRole, Auth, Config, Kubernetes};
pub use error::VaultError;
pub use path::VaultPath;
use session::Session;

/// How often a read is repeated where a replica is behind what was written (412), and the pause before.
const BEHIND: (u32, Duration) = (3, Duration::from_millis(300));

/// A connection to one vault; a clone is the same connection.
#[derive(Clone)]
pub struct Vault(Arc<Inner>);

struct Inner {
    client: Client,
    session: Session,
    refresh: Duration,
    timeout: Duration,
    condition: Option<Condition>,
    /// How many segments of a path are its mount, by path, where it is not one; learned from the vault.
    mounts: Mutex<BTreeMap<VaultPath, usize>>,
}

/// A vault cannot be set up.
#[derive(Debug, Error)]
pub enum SetupError {
    /// The file of certificates cannot be read.
    #[error("cannot read `vault.ca_file` `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The HTTP client cannot be made.
    #[error("cannot make an HTTP client for the vault (is `vault.ca_file` a list of PEM certificates?)")]
    Client(#[from] reqwest::Error),
}

impl Vault {
    /// A connection as configured. Nothing is sent and no secret is read. `lookup` gives the variables that `auth` names;
    /// `condition` says how the vault fares.
    ///
    /// # Errors
    /// Where the certificates cannot be read or the HTTP client cannot be made.
    pub fn new(config: &Config, lookup: Lookup, condition: Option<Condition>) -> Result<Self, SetupError> {
        let client = Client::new(config)?;
        let session = Session::new(config.auth.clone(), lookup);
        let (refresh, timeout) = (config.refresh, config.timeout);
        Ok(Self(Arc::new(Inner { client, session, refresh, timeout, condition, mounts: Mutex::default() })))
    }

    /// How long a value is kept before it is read again.
    pub(super) fn refresh(&self) -> Duration {
        self.0.refresh
    }

    /// How long a read may take with the login and the questions that it can need.
    pub(super) fn longest(&self) -> Duration {
        self.0.timeout * 3
    }

    /// Reads a field.
    ///
    /// # Errors
    /// By name; nothing of the vault's own words.
    pub async fn read(&self, path: &VaultPath) -> Result<Secret, VaultError> {
        let read = self.read_as_we_may(path).await;
        if let Some(condition) = &self.0.condition {
            match &read {
                Ok(_) => {
                    condition.ok();
                }
                Err(error) => {
                    condition.failing(&format!("vault path `{path}`: {error}"));
                }
            }
        }
        read
    }

    /// What `check` asks of it: the login, and how long its token lives.
    pub async fn check(&self) -> Vec<Finding> {
        let mut findings = Findings::of("vault");
        let Inner { client, session, .. } = &*self.0;
        match session.token(client).await {
            Ok(token) => {
                findings.add("login", Verdict::Ok, format!("`{}` accepts us", client.address()));
                match session.lease(client, &token).await {
                    Some(lease) => findings.add("lease", lease.verdict(), lease.to_string()),
                    None => {
                        findings.add("lease", Verdict::Skipped, "the vault does not say (`auth/token/lookup-self`)")
                    }
                }
            }
            Err(error) => findings.add("login", Verdict::Failed, error.to_string()),
        }
        findings.into_vec()
    }

    async fn read_as_we_may(&self, path: &VaultPath) -> Result<Secret, VaultError> {
        let Inner { client, session, .. } = &*self.0;
        let token = session.token(client).await?;
        match self.read_once(path, &token).await {
            // A bad token and a missing right look the same: only a new login tells.
            Err(VaultError::Forbidden(api)) => {
                session.refused(&token).await;
                let token = session.token(client).await?;
                match self.read_once(path, &token).await {
                    Err(VaultError::Forbidden(_)) if !session.is_known(client, &token).await => {
                        Err(VaultError::TokenRefused)
                    }
                    Err(VaultError::Forbidden(_)) => Err(VaultError::Forbidden(api)),
                    other => other,
                }
            }
            other => other,
        }
    }

    async fn read_once(&self, path: &VaultPath, token: &Secret) -> Result<Secret, VaultError> {
        let mount = self.mount_of(path);
        match self.fetch(path, mount, token).await? {
            Fetched::Read(secret) => Ok(secret),
            Fetched::Refused(error) => match self.ask_for_mount(path, token).await {
                Some(found) if found.is_version_1 => Err(VaultError::Version1(found.name)),
                Some(found) if found.segments != mount => {
                    self.remember_mount(path, found.segments);
                    match self.fetch(path, found.segments, token).await? {
                        Fetched::Read(secret) => Ok(secret),
                        Fetched::Refused(error) => Err(error),
                    }
                }
                Some(_) | None => Err(error),
            },
        }
    }

    async fn fetch(&self, path: &VaultPath, mount: usize, token: &Secret) -> Result<Fetched, VaultError> {
        let api = path.api(mount);
        let mut reply = self.0.client.call(Method::GET, &api, Some(token), None).await?;
        for _ in 0..BEHIND.0 {
            if reply.status != 412 {
                break;
            }
            tokio::time::sleep(BEHIND.1).await;
            reply = self.0.client.call(Method::GET, &api, Some(token), None).await?;
        }
        match reply.status {
            200 => field(&reply, path).map(Fetched::Read),
            403 => Ok(Fetched::Refused(VaultError::Forbidden(api))),
            404 => match not_there(&reply, path, mount) {
                // What the vault knows of the version settles it: no mount need be asked for.
                error @ (VaultError::Deleted | VaultError::Destroyed) => Err(error),
                error => Ok(Fetched::Refused(error)),
            },
            _ => Err(self.0.client.explain(&reply).await),
        }
    }

    fn mount_of(&self, path: &VaultPath) -> usize {
        let mounts = self.0.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        mounts.get(path).copied().unwrap_or(1)
    }

    fn remember_mount(&self, path: &VaultPath, segments: usize) {
        self.0.mounts.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone(), segments);
    }

    /// What the vault itself says is mounted where the path points; `None` where it does not say.
    async fn ask_for_mount(&self, path: &VaultPath, token: &Secret) -> Option<Mount> {
        let api = format!("sys/internal/ui/mounts/{}", path.whole());
        let reply = self.0.client.call(Method::GET, &api, Some(token), None).await.ok()?;
        let data = (reply.status == 200).then(|| reply.body.get("data"))??;
        let name = data.get("path")?.as_str()?.trim_matches('/').to_owned();
        let segments = name.split('/').count();
        if !path.begins_with(&name) {
            return None;
        }
        let version = data.get("options").and_then(|options| options.get("version")).and_then(Value::as_str);
        let is_kv = data.get("type").and_then(Value::as_str) == Some("kv");
        Some(Mount { is_version_1: is_kv && version != Some("2"), name, segments })
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("address", &self.0.client.address()).finish_non_exhaustive()
    }
}

enum Fetched {
    Read(Secret),
    /// 403 or 404: what is mounted there says more.
    Refused(VaultError),
}

struct Mount {
    name: String,
    segments: usize,
    is_version_1: bool,
}

fn field(reply: &Reply, path: &VaultPath) -> Result<Secret, VaultError> {
    let data = reply.body.get("data").and_then(|data| data.get("data")).and_then(Value::as_object);
    let data = data.ok_or(VaultError::Malformed)?;
    match data.get(path.field()) {
        None => Err(VaultError::NoField(path.field().to_owned())),
        Some(Value::String(text)) if text.trim_end().is_empty() => Err(VaultError::Empty(path.field().to_owned())),
        Some(Value::String(text)) => Ok(Secret::new(text.trim_end())),
        Some(_) => Err(VaultError::NotText(path.field().to_owned())),
    }
}

/// A 404 with the metadata of a version is one that was deleted; without, nothing was ever there.
fn not_there(reply: &Reply, path: &VaultPath, mount: usize) -> VaultError {
    let metadata = reply.body.get("data").and_then(|data| data.get("metadata"));
    let Some(metadata) = metadata.filter(|metadata| metadata.is_object()) else {
        let (mount, path) = path.split(mount);
        return VaultError::NoPath { below_data: path.starts_with("data/"), mount, path };
    };
    if metadata.get("destroyed").and_then(Value::as_bool) == Some(true) {
        VaultError::Destroyed
    } else {
        VaultError::Deleted
    }
}
