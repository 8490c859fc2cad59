//! Acting on the world: the stages around every sink, and the closed list of sinks.
//!
//! An action reaches a sink only from the durable outbox (invariant 3). One worker per sink takes its rows in order,
//! [`queue`] collapses what waits for one incident, [`retry`] decides what a failure means and how long to wait, and
//! [`ledger`] remembers what was told. An integration only formats, sends and says how it went; a slow or broken sink
//! never holds up another. No reply of a sink goes back into the core.
//!
//! Metrics: `authwatch_sink_requests_total`, `authwatch_sink_actions_total`, `authwatch_sink_retries_total`,
//! `authwatch_sink_lookup_mismatches_total`, `authwatch_outbox_rows`. Condition: `sink/<name>`, which informs and does
//! not gate readiness.

pub mod ledger;
pub mod notify;
pub mod queue;
pub mod retry;
mod worker;

use std::sync::Arc;

pub use worker::DRAIN;

use serde::Deserialize;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::action::IncidentAction;
use crate::secret::{SecretRef, Secrets};
use crate::store::{LedgerEntry, Store};
use crate::telemetry::condition::Conditions;
use ledger::Ledger;
use notify::servicenow::{self, Servicenow};
use retry::Failure;

/// How secrets in the environment are looked up: the process's own environment, or a test's.
pub type Env = crate::secret::Lookup;

/// One entry of `sinks:`; the kind is the key.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Config {
    /// ServiceNow incidents.
    Servicenow(Box<servicenow::Config>),
}

impl Config {
    /// The kind as written in the configuration.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Servicenow(_) => "servicenow",
        }
    }

    /// The name of the sink in the outbox, in metrics and in its condition.
    pub fn name(&self) -> &str {
        match self {
            Self::Servicenow(config) => &config.name,
        }
    }

    /// The secrets that it needs, to say which are missing and to place their files.
    pub fn secrets(&mut self) -> Vec<&mut SecretRef> {
        match self {
            Self::Servicenow(config) => config.secrets(),
        }
    }

    /// Makes the sink with its name, which asks `secrets` before each use (an environment alone will do where there is
    /// no vault). Nothing is sent and no secret is read.
    ///
    /// # Errors
    /// Where the HTTP client cannot be made.
    pub fn build(&self, secrets: impl Into<Secrets>) -> Result<(String, Sink), BuildError> {
        match self {
            Self::Servicenow(config) => {
                let sink = Servicenow::new(config, secrets.into())
                    .map_err(|source| BuildError { kind: self.kind(), source })?;
                Ok((config.name.clone(), Sink::Servicenow(Box::new(sink))))
            }
        }
    }
}

/// A sink could not be made.
#[derive(Debug, Error)]
#[error("cannot set up sink `{kind}`")]
pub struct BuildError {
    kind: &'static str,
    source: reqwest::Error,
}

/// A system that is told about incidents.
#[derive(Debug)]
pub enum Sink {
    /// ServiceNow incidents.
    Servicenow(Box<Servicenow>),
}

/// How an action was carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done {
    /// What the ledger is to say from here on.
    pub entry: LedgerEntry,
    /// The closed result label.
    pub result: Told,
}

crate::event::vocabulary! {
    /// What telling a sink came to; the `result` label.
    Told {
        /// A new ticket.
        Created => "created",
        /// A new ticket, after an earlier create was deemed lost.
        CreatedAgain => "created_again",
        /// A ticket of ours that was there already.
        Adopted => "adopted",
        /// The ticket has the new text.
        Updated => "updated",
        /// The ticket is resolved.
        Resolved => "resolved",
        /// The other side does not let us resolve; a note says so.
        ResolveRefused => "resolve_refused",
        /// The ticket is open again.
        Reopened => "reopened",
        /// A new ticket that links the closed one.
        FollowedUp => "followed_up",
        /// A person has the ticket: only a note.
        Noted => "noted",
        /// A person closed the ticket and it takes no more notes.
        NoteRefused => "note_refused",
        /// The ticket says all this already.
        Unchanged => "unchanged",
        /// There is no ticket to resolve.
        NothingToResolve => "nothing_to_resolve",
        /// The ticket is gone, or no longer ours.
        Gone => "gone",
    }
}

impl Sink {
    /// Carries out one action. May be called again with the same action after any failure or crash, and then makes
    /// nothing twice.
    pub(crate) async fn tell(&mut self, action: &IncidentAction, ledger: &Ledger) -> Result<Done, Failure> {
        match self {
            Self::Servicenow(sink) => sink.tell(action, ledger).await,
        }
    }

    /// Whether the sink would work: asked once at start, so that a wrong password is known before it matters.
    pub(crate) async fn probe(&mut self) -> Result<(), Failure> {
        match self {
            Self::Servicenow(sink) => sink.probe().await,
        }
    }

    /// What is wrong although actions are carried out; a sentence for an operator.
    pub(crate) fn trouble(&self) -> Option<String> {
        match self {
            Self::Servicenow(sink) => sink.trouble(),
        }
    }
}

/// Starts one worker per sink. `wake` is told with `notify_waiters` after each commit; a worker also looks on its own
/// every few seconds. Once `shutdown` is true, a worker finishes what is due within [`DRAIN`] and ends.
pub fn spawn(
    sinks: Vec<(String, Sink)>,
    store: Arc<Store>,
    conditions: &Conditions,
    wake: Arc<Notify>,
    shutdown: watch::Receiver<bool>,
) -> Vec<JoinHandle<()>> {
    let start = |(name, sink): (String, Sink)| {
        let condition = conditions.declare(&format!("sink/{name}"), false, "not reached yet");
        let worker = worker::Worker::new(name, sink, Arc::clone(&store), condition);
        tokio::spawn(worker.run(Arc::clone(&wake), shutdown.clone()))
    };
    sinks.into_iter().map(start).collect()
}
