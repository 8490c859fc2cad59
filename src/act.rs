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
use serde::de::IgnoredAny;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::action::IncidentAction;
use crate::store::{LedgerEntry, Store};
use crate::telemetry::condition::Conditions;
use ledger::Ledger;
use notify::servicenow::{self, Servicenow};
use retry::Failure;

/// How secrets in the environment are looked up: the process's own environment, or a test's.
pub type Env = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// One entry of `sinks:`; the kind is the key.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Config {
    /// ServiceNow incidents.
    Servicenow(Box<servicenow::Config>),
    /// Not built yet.
    Splunk(IgnoredAny),
    /// Not built yet.
    Alertmanager(IgnoredAny),
    /// Not built yet.
    Datadog(IgnoredAny),
    /// Not built yet.
    Dynatrace(IgnoredAny),
    /// Not built yet.
    Webhook(IgnoredAny),
    /// Not built yet.
    Syslog(IgnoredAny),
    /// Not built yet.
    Elastic(IgnoredAny),
    /// Not built yet.
    Kafka(IgnoredAny),
    /// Not built yet.
    Pagerduty(IgnoredAny),
    /// Not built yet.
    Slack(IgnoredAny),
    /// Not built yet.
    Otlp(IgnoredAny),
}

impl Config {
    /// The kind as written in the configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Servicenow(_) => "servicenow",
            Self::Splunk(_) => "splunk",
            Self::Alertmanager(_) => "alertmanager",
            Self::Datadog(_) => "datadog",
            Self::Dynatrace(_) => "dynatrace",
            Self::Webhook(_) => "webhook",
            Self::Syslog(_) => "syslog",
            Self::Elastic(_) => "elastic",
            Self::Kafka(_) => "kafka",
            Self::Pagerduty(_) => "pagerduty",
            Self::Slack(_) => "slack",
            Self::Otlp(_) => "otlp",
        }
    }

    /// The name of the sink in the outbox, in metrics and in its condition; `None` where the kind is not built yet, in
    /// which case the entry is accepted with a warning and does nothing.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Servicenow(config) => Some(&config.name),
            Self::Splunk(_)
            | Self::Alertmanager(_)
            | Self::Datadog(_)
            | Self::Dynatrace(_)
            | Self::Webhook(_)
            | Self::Syslog(_)
            | Self::Elastic(_)
            | Self::Kafka(_)
            | Self::Pagerduty(_)
            | Self::Slack(_)
            | Self::Otlp(_) => None,
        }
    }

    /// Makes the sink; `None` where the kind is not built yet. Nothing is sent and no secret is read.
    ///
    /// # Errors
    /// Where the HTTP client cannot be made.
    pub fn build(&self, env: Env) -> Result<Option<(String, Sink)>, BuildError> {
        match self {
            Self::Servicenow(config) => {
                let sink = Servicenow::new(config, env).map_err(|source| BuildError { kind: self.kind(), source })?;
                Ok(Some((config.name.clone(), Sink::Servicenow(Box::new(sink)))))
            }
            Self::Splunk(_)
            | Self::Alertmanager(_)
            | Self::Datadog(_)
            | Self::Dynatrace(_)
            | Self::Webhook(_)
            | Self::Syslog(_)
            | Self::Elastic(_)
            | Self::Kafka(_)
            | Self::Pagerduty(_)
            | Self::Slack(_)
            | Self::Otlp(_) => Ok(None),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_the_design_is_accepted_and_says_whether_it_is_built() {
        for kind in [
            "splunk",
            "alertmanager",
            "datadog",
            "dynatrace",
            "webhook",
            "syslog",
            "elastic",
            "kafka",
            "pagerduty",
            "slack",
            "otlp",
        ] {
            let json = serde_json::json!({ kind: { "url": "https://x", "anything": [1, 2] } });
            let config: Config = serde_json::from_value(json).expect(kind);
            assert_eq!((config.kind(), config.name()), (kind, None));
            assert!(config.build(Arc::new(|_| None)).expect("nothing to build").is_none(), "{kind}");
        }
        let error = serde_json::from_str::<Config>(r#"{"servicenoww": {}}"#).expect_err("unknown");
        assert!(error.to_string().contains("unknown variant `servicenoww`"), "{error}");
    }
}
