//! Acting on the world: the stages around every sink, and the closed list of sinks.
//!
//! An action reaches a sink only from the durable outbox (invariant 3). One worker per sink takes its rows in order,
//! [`queue`] collapses what waits for one incident, [`retry`] decides what a failure means and how long to wait, and
//! [`ledger`] remembers what was told. An integration only formats, sends and says how it went; a slow or broken sink
//! never holds up another. No reply of a sink goes back into the core. A sink in shadow mode ([`shadow`]) goes through
//! all of this and sends nothing.
//!
//! Metrics are pushed beside all this, without outbox and ledger: see [`publish`].
//!
//! Metrics: `authwatch_sink_requests_total`, `authwatch_sink_actions_total`, `authwatch_sink_retries_total`,
//! `authwatch_sink_lookup_mismatches_total`, `authwatch_outbox_rows`. Condition: `sink/<name>`, which informs and does
//! not gate readiness.

pub mod encode;
pub mod forward;
mod health;
pub mod ledger;
pub mod notify;
pub mod publish;
pub mod queue;
pub mod retry;
pub mod shadow;
pub mod wire;
mod worker;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use worker::DRAIN;

use serde::Deserialize;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::action::IncidentAction;
use crate::secret::{SecretRef, Secrets};
use crate::store::{LedgerEntry, Store};
use crate::telemetry::condition::Conditions;
use crate::telemetry::preflight::{Finding, Findings};
use ledger::Ledger;
use notify::alertmanager::{self, Alertmanager};
use notify::servicenow::{self, Servicenow};
use notify::webhook::{self, Webhook};
use publish::Publisher;
use publish::datadog::{self, Datadog};
use publish::dynatrace::{self, Dynatrace};
use retry::Failure;
use shadow::Mode;

/// One entry of `sinks:`; the kind is the key.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Config {
    /// Alerts in one or more Alertmanagers.
    Alertmanager(Box<alertmanager::Config>),
    /// Metrics and events in Datadog.
    Datadog(Box<datadog::Config>),
    /// Metrics and events in Dynatrace.
    Dynatrace(Box<dynatrace::Config>),
    /// ServiceNow incidents.
    Servicenow(Box<servicenow::Config>),
    /// A request of the receiver's own shape.
    Webhook(Box<webhook::Config>),
}

/// Something about one key of a sink's section: a mistake, or what an operator should know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remark {
    /// The key.
    pub key: &'static str,
    /// What and why.
    pub text: String,
}

impl Config {
    /// The kind as written in the configuration.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Alertmanager(_) => "alertmanager",
            Self::Datadog(_) => "datadog",
            Self::Dynatrace(_) => "dynatrace",
            Self::Servicenow(_) => "servicenow",
            Self::Webhook(_) => "webhook",
        }
    }

    /// The name of the sink in the outbox, in metrics and in its condition.
    pub fn name(&self) -> &str {
        match self {
            Self::Alertmanager(config) => &config.name,
            Self::Datadog(config) => &config.name,
            Self::Dynatrace(config) => &config.name,
            Self::Servicenow(config) => &config.name,
            Self::Webhook(config) => &config.name,
        }
    }

    /// Whether it tells or only records.
    pub fn mode(&self) -> Mode {
        match self {
            Self::Alertmanager(config) => config.mode,
            Self::Datadog(config) => config.mode,
            Self::Dynatrace(config) => config.mode,
            Self::Servicenow(config) => config.mode,
            Self::Webhook(config) => config.mode,
        }
    }

    /// Whether it tells of incidents; one that only pushes metrics does not.
    pub fn tells(&self) -> bool {
        match self {
            Self::Alertmanager(_) | Self::Servicenow(_) | Self::Webhook(_) => true,
            Self::Datadog(config) => config.events,
            Self::Dynatrace(config) => config.events,
        }
    }

    /// The secrets that it needs, to say which are missing and to place their files.
    pub fn secrets(&mut self) -> Vec<&mut SecretRef> {
        match self {
            Self::Alertmanager(config) => config.secrets(),
            Self::Datadog(config) => config.secrets(),
            Self::Dynatrace(config) => config.secrets(),
            Self::Servicenow(config) => config.secrets(),
            Self::Webhook(config) => config.secrets(),
        }
    }

    /// Reads the files that the section names beside its secrets, relative ones from `base`, and checks what is in
    /// them.
    ///
    /// # Errors
    /// With the key and what is wrong, where a file cannot be read or its content cannot work.
    pub fn load(&mut self, base: &Path) -> Result<(), Remark> {
        match self {
            Self::Alertmanager(_) | Self::Datadog(_) | Self::Dynatrace(_) | Self::Servicenow(_) => Ok(()),
            Self::Webhook(config) => config.load(base),
        }
    }

    /// What works and is worth a warning.
    pub fn warnings(&self) -> Vec<Remark> {
        let remark = match self {
            Self::Alertmanager(config) => config.warning(),
            Self::Datadog(config) => config.warning(),
            Self::Dynatrace(config) => config.warning(),
            Self::Servicenow(config) => config.warning(),
            Self::Webhook(config) => config.warning(),
        };
        remark.into_iter().collect()
    }

    /// Makes the sink with its name, which asks `secrets` before each use (an environment alone will do where there is
    /// no vault). Nothing is sent and no secret is read.
    ///
    /// # Errors
    /// Where the HTTP client cannot be made, or a file was not loaded.
    pub fn build(&self, secrets: impl Into<Secrets>) -> Result<(String, Sink), BuildError> {
        let secrets = secrets.into();
        let kind = match self {
            Self::Alertmanager(config) => {
                Alertmanager::new(config, secrets).map(|sink| Kind::Alertmanager(Box::new(sink)))
            }
            Self::Datadog(config) => Datadog::new(config, secrets).map(|sink| Kind::Datadog(Box::new(sink))),
            Self::Dynatrace(config) => Dynatrace::new(config, secrets).map(|sink| Kind::Dynatrace(Box::new(sink))),
            Self::Servicenow(config) => Servicenow::new(config, secrets).map(|sink| Kind::Servicenow(Box::new(sink))),
            Self::Webhook(config) => Webhook::new(config, secrets).map(|sink| Kind::Webhook(Box::new(sink))),
        };
        let kind = kind.map_err(|source| BuildError { kind: self.kind(), source })?;
        Ok((self.name().to_owned(), Sink { kind, mode: self.mode() }))
    }

    /// Makes what pushes metrics and marks changes there, where it does. Nothing is sent and no secret is read.
    ///
    /// # Errors
    /// Where the HTTP client cannot be made.
    pub fn publisher(&self, secrets: impl Into<Secrets>) -> Result<Option<Publisher>, BuildError> {
        let secrets = secrets.into();
        let publisher = match self {
            Self::Datadog(config) if config.publishes() => Datadog::new(config, secrets).map(Datadog::publisher),
            Self::Dynatrace(config) if config.publishes() => Dynatrace::new(config, secrets).map(Dynatrace::publisher),
            Self::Alertmanager(_) | Self::Datadog(_) | Self::Dynatrace(_) | Self::Servicenow(_) | Self::Webhook(_) => {
                return Ok(None);
            }
        };
        publisher.map(Some).map_err(|source| BuildError { kind: self.kind(), source })
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
pub struct Sink {
    kind: Kind,
    mode: Mode,
}

/// The closed list.
#[derive(Debug)]
enum Kind {
    Alertmanager(Box<Alertmanager>),
    Datadog(Box<Datadog>),
    Dynatrace(Box<Dynatrace>),
    Servicenow(Box<Servicenow>),
    Webhook(Box<Webhook>),
}

/// How an action was carried out.
#[derive(Clone, PartialEq, Debug)]
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
        /// The receiver took it; it gives no ticket back.
        Sent => "sent",
        /// Recorded in shadow mode; nothing was sent.
        Shadowed => "shadowed",
    }
}

/// What the periodic work of a sink came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kept {
    /// When to do it again.
    pub(crate) every: Duration,
    /// Whether anything was sent.
    pub(crate) sent: bool,
}

impl Sink {
    /// Carries out one action. May be called again with the same action after any failure or crash, and then makes
    /// nothing twice.
    pub(crate) async fn tell(&mut self, action: &IncidentAction, ledger: &Ledger) -> Result<Done, Failure> {
        if self.mode == Mode::Shadow {
            let entry = ledger.get(&action.incident.key).await?.unwrap_or_default();
            return Ok(shadow::record(entry, action));
        }
        let Done { entry, result } = match &mut self.kind {
            Kind::Alertmanager(sink) => sink.tell(action, ledger).await?,
            Kind::Datadog(sink) => sink.tell(action, ledger).await?,
            Kind::Dynatrace(sink) => sink.tell(action, ledger).await?,
            Kind::Servicenow(sink) => sink.tell(action, ledger).await?,
            Kind::Webhook(sink) => sink.tell(action, ledger).await?,
        };
        // Whatever was recorded in shadow mode is told by now. Only an alert or a problem has to be said again.
        let last = entry.last.filter(|_| matches!(self.kind, Kind::Alertmanager(_) | Kind::Dynatrace(_)));
        Ok(Done { entry: LedgerEntry { shadowed: Vec::new(), last, ..entry }, result })
    }

    /// The sink's periodic work, at once after each start; `None` where it has none. Harmless when repeated.
    pub(crate) async fn keep_alive(&mut self, ledger: &Ledger) -> Result<Option<Kept>, Failure> {
        match &mut self.kind {
            Kind::Alertmanager(sink) if self.mode == Mode::Live => sink.keep_alive(ledger).await.map(Some),
            Kind::Dynatrace(sink) if self.mode == Mode::Live => sink.keep_alive(ledger).await.map(Some),
            Kind::Alertmanager(_) | Kind::Datadog(_) | Kind::Dynatrace(_) | Kind::Servicenow(_) | Kind::Webhook(_) => {
                Ok(None)
            }
        }
    }

    /// Whether the sink would work: asked once at start, so that a wrong password is known before it matters. It only
    /// reads, so it is asked in shadow mode too.
    pub(crate) async fn probe(&mut self) -> Result<(), Failure> {
        match &mut self.kind {
            Kind::Alertmanager(sink) => sink.probe().await,
            Kind::Datadog(sink) => sink.probe().await,
            Kind::Dynatrace(sink) => sink.probe().await,
            Kind::Servicenow(sink) => sink.probe().await,
            Kind::Webhook(sink) => sink.probe().await,
        }
    }

    /// What `check` asks of it: reads only, unless `write`.
    pub async fn check(&mut self, name: &str, write: bool) -> Vec<Finding> {
        let mut findings = Findings::of(name);
        if let Kind::Servicenow(sink) = &mut self.kind {
            sink.check(write, &mut findings).await;
        } else {
            let good = match &self.kind {
                Kind::Alertmanager(_) => "answers, and accepts the credentials",
                _ => "the secrets can be read; nothing is sent, since a receiver would act on it",
            };
            findings.judge("reach", self.probe().await.map(|()| good.to_owned()).map_err(|failure| failure.detail));
        }
        findings.into_vec()
    }

    /// What is wrong although actions are carried out; a sentence for an operator.
    pub(crate) fn trouble(&self) -> Option<String> {
        match &self.kind {
            Kind::Alertmanager(sink) => sink.trouble(),
            Kind::Servicenow(sink) => sink.trouble(),
            Kind::Datadog(_) | Kind::Dynatrace(_) | Kind::Webhook(_) => None,
        }
    }

    /// Whether it tells or only records.
    pub(crate) fn mode(&self) -> Mode {
        self.mode
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
