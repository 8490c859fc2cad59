//! Forwarding to a SIEM: every refusal, every policy change, every detection, at least once and under a stable id.
//!
//! What is forwarded is one durable queue for all sinks, filled in the transaction that stores the position (invariant
//! 3). Each sink has a worker of its own and a durable place in the queue, apart from the workers that tell about
//! incidents: a receiver that is slow or away holds up nobody else, and a full queue drops its oldest rows rather than
//! hold up a commit. One request is in flight for each sink, so the order of the queue is the order of arrival there.
//!
//! An integration only shapes, sends and says how much was taken. What a receiver refuses for good becomes a dead letter,
//! one record at a time; whatever may pass is tried again for as long as it takes.
//!
//! Metrics: `authwatch_forward_*`, `authwatch_sink_requests_total`, `authwatch_sink_retries_total`. Condition:
//! `sink/<name>`, which informs and does not gate readiness.

mod shape;
pub mod splunk;
pub mod syslog;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

pub use crate::action::{Forwarded, Topics, What};
pub use shape::Shape;

use super::retry::{Failure, Reason};
use super::{BuildError, Remark};
use crate::secret::{SecretRef, Secrets};
use crate::store::Store;
use crate::telemetry::condition::Conditions;
use crate::telemetry::preflight::{Finding, Findings};
use splunk::Splunk;
use syslog::Syslog;

/// What is forwarded unless told otherwise: denies, policy changes and detections.
const fn usual() -> Topics {
    Topics::DENIES.or(Topics::POLICY_CHANGES).or(Topics::DETECTIONS)
}

/// One entry of `sinks:` whose kind is forwarded to; the kind is the key.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Config {
    /// Splunk's HTTP Event Collector.
    Splunk(Box<splunk::Config>),
    /// A receiver of syslog.
    Syslog(Box<syslog::Config>),
}

impl Config {
    /// The kinds, as written in the configuration.
    pub const KINDS: [&'static str; 2] = ["splunk", "syslog"];

    /// The kind as written in the configuration.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Splunk(_) => "splunk",
            Self::Syslog(_) => "syslog",
        }
    }

    /// The name of the sink in the queue, in metrics and in its condition.
    pub fn name(&self) -> &str {
        match self {
            Self::Splunk(config) => &config.name,
            Self::Syslog(config) => &config.name,
        }
    }

    /// What it asks for.
    pub fn topics(&self) -> Topics {
        match self {
            Self::Splunk(config) => config.forward,
            Self::Syslog(config) => config.forward,
        }
    }

    /// The secrets that it needs, to say which are missing and to place their files.
    pub fn secrets(&mut self) -> Vec<&mut SecretRef> {
        match self {
            Self::Splunk(config) => config.secrets(),
            Self::Syslog(config) => config.secrets(),
        }
    }

    /// The files that it reads beside its secrets.
    pub fn files(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Self::Splunk(_) => Vec::new(),
            Self::Syslog(config) => config.files(),
        }
    }

    /// What works and is worth a warning.
    pub fn warnings(&self) -> Vec<Remark> {
        let remark = match self {
            Self::Splunk(config) => config.warning(),
            Self::Syslog(config) => config.warning(),
        };
        remark.into_iter().collect()
    }

    /// Makes the sink, which asks `secrets` before each use. Nothing is sent and no secret is read.
    ///
    /// # Errors
    /// Where the HTTP client cannot be made.
    pub fn build(&self, secrets: impl Into<Secrets>) -> Result<Forwarder, BuildError> {
        let secrets = secrets.into();
        let (kind, bounds) = match self {
            Self::Splunk(config) => (
                Splunk::new(config, secrets).map(|sink| ForwardKind::Splunk(Box::new(sink))),
                Bounds { events: config.batch_events, bytes: config.batch_bytes },
            ),
            Self::Syslog(config) => (
                Ok(ForwardKind::Syslog(Box::new(Syslog::new(config, secrets)))),
                Bounds { events: syslog::BATCH_EVENTS, bytes: config.batch_bytes },
            ),
        };
        let kind = kind.map_err(|source| BuildError { kind: self.kind(), source })?;
        Ok(Forwarder { name: self.name().to_owned(), topics: self.topics(), kind, bounds })
    }
}

/// A sink that is forwarded to.
#[derive(Debug)]
pub struct Forwarder {
    name: String,
    topics: Topics,
    kind: ForwardKind,
    bounds: Bounds,
}

impl Forwarder {
    /// What `check` asks of it: it only reads.
    pub async fn check(&mut self) -> Vec<Finding> {
        let mut findings = Findings::of(self.name.as_str());
        let probed = self.kind.probe().await.map(|()| "answers, and does not refuse us".to_owned());
        findings.judge("reach", probed.map_err(|failure| failure.detail));
        if let ForwardKind::Splunk(sink) = &self.kind {
            let token = sink.check_token().await.map(|()| "may write".to_owned());
            findings.judge("token", token.map_err(|failure| failure.detail));
        }
        findings.into_vec()
    }

    /// The name, and what it asks for.
    pub fn place(&self) -> (String, Topics) {
        (self.name.clone(), self.topics)
    }
}

/// How much goes into one batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Bounds {
    events: usize,
    bytes: usize,
}

/// The closed list.
#[derive(Debug)]
enum ForwardKind {
    Splunk(Box<Splunk>),
    Syslog(Box<Syslog>),
}

impl ForwardKind {
    /// Sends the first of a batch, in order, and says how many were taken. What is given up is the batch as it was sent:
    /// of several records the worker finds the one that is at fault.
    async fn send(&mut self, batch: &[&Forwarded]) -> Result<usize, Failure> {
        match self {
            Self::Splunk(sink) => sink.send(batch).await,
            Self::Syslog(sink) => sink.send(batch).await,
        }
    }

    /// Whether the sink would work. It only reads.
    async fn probe(&mut self) -> Result<(), Failure> {
        match self {
            Self::Splunk(sink) => sink.probe().await,
            Self::Syslog(sink) => sink.probe().await,
        }
    }

    /// Called while there is nothing to send: sends again what a connection that broke meanwhile may have lost.
    async fn tend(&mut self) -> Result<(), Failure> {
        match self {
            Self::Splunk(_) => Ok(()),
            Self::Syslog(sink) => sink.tend().await,
        }
    }

    /// Called before the end: waits until the receiver has what was sent.
    async fn settle(&mut self) -> Result<(), Failure> {
        match self {
            Self::Splunk(_) => Ok(()),
            Self::Syslog(sink) => sink.settle().await,
        }
    }

    /// Whether the receiver may have what it did not acknowledge.
    fn may_have_it(&self, failure: &Failure) -> bool {
        let is_lost = matches!(
            failure.reason,
            Reason::Timeout | Reason::ConnectionLost | Reason::ServerError | Reason::BadBody | Reason::BodyTooLarge
        );
        match self {
            Self::Splunk(sink) => is_lost || sink.may_have_it(),
            // Whatever was written before the connection broke may be there.
            Self::Syslog(sink) => sink.tried() > 0,
        }
    }

    /// How many of the last batch were sent, taken or not.
    fn tried(&self) -> usize {
        match self {
            Self::Splunk(sink) => sink.tried(),
            Self::Syslog(sink) => sink.tried(),
        }
    }

    /// The place in the batch of the record that the receiver named as the one at fault, where it did.
    fn blamed(&self) -> Option<usize> {
        match self {
            Self::Splunk(sink) => sink.blamed(),
            Self::Syslog(_) => None,
        }
    }

    /// What is wrong although records are taken; a sentence for an operator.
    fn trouble(&self) -> Option<String> {
        match self {
            Self::Splunk(sink) => sink.trouble(),
            Self::Syslog(_) => None,
        }
    }
}

/// Starts one worker per sink. `wake` is told with `notify_waiters` after each commit that brought something; a worker
/// also looks on its own every few seconds. Once `shutdown` is true, a worker finishes what is due within
/// [`super::DRAIN`] and ends. Every sink must have its place ([`Store::set_forward_sinks`]).
pub fn spawn(
    sinks: Vec<Forwarder>,
    store: &Arc<Store>,
    conditions: &Conditions,
    wake: &Arc<Notify>,
    shutdown: &watch::Receiver<bool>,
) -> Vec<JoinHandle<()>> {
    let start = |sink: Forwarder| {
        let condition = conditions.declare(&format!("sink/{}", sink.name), false, "not reached yet");
        let worker = worker::Worker::new(sink, Arc::clone(store), condition);
        tokio::spawn(worker.run(Arc::clone(wake), shutdown.clone()))
    };
    sinks.into_iter().map(start).collect()
}
