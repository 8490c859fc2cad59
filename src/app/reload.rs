//! Reading the configuration again: what can change in a running daemon does, what cannot is named, and on an error
//! the old configuration stays.

use std::sync::{Arc, PoisonError};

use super::Running;
use super::parts::{Parts, PartsError};
use super::pump::Message;
use crate::config::{Config, ConfigError};
use crate::telemetry::metric::Metric;

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error("the daemon was started without a file")]
    NoFile,
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Parts(#[from] PartsError),
}

impl Running {
    /// Reads the configuration again. Judge, incidents, limits, lateness, cohorts, break-glass people and rules take
    /// effect between two commits; a change elsewhere is named and waits for a restart.
    pub async fn reload(&mut self) {
        match self.reread() {
            Err(error) => {
                Metric::ConfigReloads.counter(&["failed"]).increment(1);
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the configuration was not reloaded; the old one stays in force"
                );
            }
            Ok((config, parts)) => {
                for key in waits_for_restart(&self.config, &config) {
                    tracing::warn!(key, "a changed key takes effect after a restart only");
                }
                *self.tables.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(parts.tables);
                let mut core = parts.core;
                // The sources in force are those of the start.
                for (org, running) in &self.started.orgs {
                    core.orgs.entry(org.clone()).or_default().sources.clone_from(&running.sources);
                }
                core.orgs.retain(|org, _| self.started.orgs.contains_key(org));
                if self.inbox.send(Message::Configure(Box::new(core))).await.is_err() {
                    return;
                }
                self.config = config;
                Metric::ConfigReloads.counter(&["done"]).increment(1);
                tracing::info!("the configuration was reloaded");
            }
        }
    }

    fn reread(&self) -> Result<(Config, Parts), ReloadError> {
        let path = self.path.as_deref().ok_or(ReloadError::NoFile)?;
        let config = Config::load(path, &self.environment)?;
        let parts = Parts::of(&config)?;
        Ok((config, parts))
    }
}

/// The keys that differ and cannot change while the daemon runs.
fn waits_for_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let kinds = |config: &Config| (config.sources.clone(), config.sinks.clone());
    let ((old_sources, old_sinks), (new_sources, new_sinks)) = (kinds(old), kinds(new));
    [
        ("org", old.org != new.org),
        ("state_dir", old.state_dir != new.state_dir),
        ("listen", old.listen != new.listen),
        ("sources", old_sources != new_sources),
        ("sinks", old_sinks != new_sinks),
        ("http", old.http != new.http),
        ("log", old.log != new.log),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}
