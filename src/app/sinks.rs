//! Sinks of both sorts as tasks: those that tell about incidents, and those that are forwarded to.
//!
//! They are built before there is a state and spawned once there is one. The pump wakes each sort after a commit that has
//! something for it.

use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::parts::Parts;
use super::pump::Told;
use crate::act::forward::{self, Forwarder};
use crate::act::{self, BuildError, Sink};
use crate::action::Topics;
use crate::secret::Secrets;
use crate::store::Store;
use crate::telemetry::condition::Conditions;

/// The sinks, not yet at work.
pub(super) struct Sinks {
    tellers: Vec<(String, Sink)>,
    forwarders: Vec<Forwarder>,
    wake: Arc<Notify>,
    wake_forwards: Arc<Notify>,
}

/// The sinks by name.
pub(super) struct Names {
    tellers: Vec<String>,
    forwarders: Vec<String>,
}

impl Sinks {
    /// Builds them; nothing is sent and no secret is read.
    pub(super) fn build(parts: &Parts, secrets: &Secrets) -> Result<Self, BuildError> {
        let tellers = parts
            .sinks
            .iter()
            .filter(|sink| sink.tells())
            .map(|sink| sink.build(secrets.clone()))
            .collect::<Result<_, _>>()?;
        let forwarders = parts.forwards.iter().map(|sink| sink.build(secrets.clone())).collect::<Result<_, _>>()?;
        Ok(Self { tellers, forwarders, wake: Arc::default(), wake_forwards: Arc::default() })
    }

    /// Who is forwarded to, and what each asks for.
    pub(super) fn places(&self) -> Vec<(String, Topics)> {
        self.forwarders.iter().map(Forwarder::place).collect()
    }

    /// What any of them asks for.
    pub(super) fn wanted(&self) -> Topics {
        Topics::any(self.places().into_iter().map(|(_, topics)| topics))
    }

    pub(super) fn names(&self) -> Names {
        Names {
            tellers: self.tellers.iter().map(|(name, _)| name.clone()).collect(),
            forwarders: self.places().into_iter().map(|(name, _)| name).collect(),
        }
    }

    /// What the pump has to know of them.
    pub(super) fn told(&self) -> Told {
        let (wake, wake_forwards) = (Arc::clone(&self.wake), Arc::clone(&self.wake_forwards));
        Told { sinks: self.names().tellers, wake, wanted: self.wanted(), wake_forwards }
    }

    /// Sets them to work, until `stop` turns true.
    pub(super) fn spawn(
        self,
        store: &Arc<Store>,
        conditions: &Conditions,
        stop: watch::Receiver<bool>,
    ) -> Vec<JoinHandle<()>> {
        let mut workers = forward::spawn(self.forwarders, store, conditions, &self.wake_forwards, &stop);
        workers.extend(act::spawn(self.tellers, Arc::clone(store), conditions, self.wake, stop));
        workers
    }
}

impl Names {
    /// How many actions and records are still to be delivered.
    pub(super) fn waiting(&self, store: &Store) -> u64 {
        let actions: u64 = self.tellers.iter().map(|sink| store.count(sink).unwrap_or(0)).sum();
        actions + self.forwarders.iter().map(|sink| store.forward_waiting(sink).unwrap_or(0)).sum::<u64>()
    }
}
