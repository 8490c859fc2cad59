//! Reading the configuration again: what can change in a running daemon does, what cannot is named, and on an error
//! the old configuration stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use smol_str::SmolStr;

use super::Running;
use super::parts::{self, Parts, PartsError, SourcePart};
use super::pump::Message;
use crate::act;
use crate::config::{Config, ConfigError};
use crate::event::Org;
use crate::input::{CoreConfig, OrgConfig, PolicySource};
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
    /// Reads the configuration again. Judge, incidents, limits, lateness, cohorts, break-glass people, files of policies
    /// and rules take effect between two commits; a change elsewhere is named and waits for a restart.
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
                for warning in config.warnings.iter().chain(&parts.warnings) {
                    tracing::warn!("{warning}");
                }
                for key in self.started.waits_for_restart(&config, &parts) {
                    tracing::warn!(key, "a changed key takes effect after a restart only");
                }
                *self.tables.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(parts.tables);
                let core = self.started.with_running_sources(parts.core);
                self.want_groups(&parts::groups(&core, &parts.policies));
                if self.inbox.send(Message::Configure(Box::new(core), parts.policies)).await.is_err() {
                    return;
                }
                self.config = config;
                Metric::ConfigReloads.counter(&["done"]).increment(1);
                tracing::info!("the configuration was reloaded");
            }
        }
    }

    /// Tells the readers of groups which ones are named now.
    fn want_groups(&self, wanted: &BTreeMap<Org, BTreeSet<SmolStr>>) {
        for (org, groups) in wanted {
            if let Some(running) = self.groups.get(org) {
                running.send_if_modified(|named| std::mem::replace(named, groups.clone()) != *groups);
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

/// What was in force at the start, and stays so while the daemon runs.
pub(super) struct Started {
    config: Config,
    sources: Vec<SourcePart>,
    sinks: (Vec<act::Config>, Vec<act::forward::Config>),
    orgs: BTreeMap<Org, OrgConfig>,
}

impl Started {
    pub(super) fn new(config: &Config, parts: &Parts) -> Self {
        Self {
            config: config.clone(),
            sources: parts.sources.clone(),
            sinks: (parts.sinks.clone(), parts.forwards.clone()),
            orgs: parts.core.orgs.clone(),
        }
    }

    /// The core's configuration with the sources that run, whatever the file says of them now. Whether policies are read
    /// from Okta is theirs to say as well.
    fn with_running_sources(&self, mut core: CoreConfig) -> CoreConfig {
        for (org, running) in &self.orgs {
            let org = core.orgs.entry(org.clone()).or_default();
            org.sources.clone_from(&running.sources);
            if [running.policies, org.policies].contains(&Some(PolicySource::Api)) {
                org.policies = running.policies;
            }
        }
        core.orgs.retain(|org, _| self.orgs.contains_key(org));
        core
    }

    /// The keys that differ from what runs and cannot change while it does.
    fn waits_for_restart(&self, config: &Config, parts: &Parts) -> Vec<&'static str> {
        let old = &self.config;
        [
            ("org", old.org != config.org),
            ("state_dir", old.state_dir != config.state_dir),
            ("listen", old.listen != config.listen),
            ("sources", self.sources != parts.sources),
            ("sinks", self.sinks.0 != parts.sinks || self.sinks.1 != parts.forwards),
            ("limits.queue_bytes", old.limits.queue_bytes != config.limits.queue_bytes),
            ("http", old.http != config.http),
            ("vault", old.vault != config.vault),
            ("log", old.log != config.log),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
    }
}
