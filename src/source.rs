//! Sources: where records come from, and how far each has been read.
//!
//! A source fetches, decodes and classifies, and hands the pump [`Batch`]es in order. It never commits: a position is
//! stored in the same transaction as everything its records caused (invariant 3), and a restart begins there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::event::{AuthEvent, Reject, SourceName, Timestamp};
use crate::input::Input;
use crate::secret::SecretRef;

pub mod file;
pub mod kafka;
pub mod okta;

/// Takes what a record became; for an event that is wanted whole, with its text as JSON, which is boxed for nothing else.
pub type EachRead<'e> = dyn FnMut(Result<AuthEvent, Reject>, Option<Box<str>>) + 'e;

/// Reads one page of a source: calls back once for each record, in order, and returns how many there were. Where the
/// page is cut off or no page at all it is an error that says why, and what was called back counts for nothing.
pub type ReadPage = Arc<dyn Fn(&[u8], &mut EachRead<'_>) -> Result<usize, String> + Send + Sync>;

/// Reads one record of a file: calls back for each event in it; an envelope can hold several.
pub type ReadRecord = Arc<dyn Fn(&[u8], &mut EachRead<'_>) + Send + Sync>;

/// Texts of inputs, by their place in the batch, in order; most inputs have none.
pub type Texts = Vec<(usize, Box<str>)>;

/// One element of `sources:` in the configuration, under the key of its kind.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Config {
    /// An Okta org's System Log, over its API.
    Okta(Box<okta::Config>),
    /// Files of records, read once.
    File(file::Config),
    /// Topics of Apache Kafka.
    Kafka(Box<kafka::Config>),
}

impl Config {
    /// The key in the configuration, and the first part of the source's name.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Okta(_) => "okta",
            Self::File(_) => "file",
            Self::Kafka(_) => "kafka",
        }
    }

    /// The org's label, where the section has its own.
    pub fn org(&self) -> Option<&str> {
        match self {
            Self::Okta(config) => config.org.as_deref(),
            Self::File(config) => config.org.as_deref(),
            Self::Kafka(config) => config.org.as_deref(),
        }
    }

    /// Whether it reads the org's policies.
    pub fn reads_policies(&self) -> bool {
        match self {
            Self::Okta(config) => config.policies,
            Self::File(_) | Self::Kafka(_) => false,
        }
    }

    /// What is wrong with the section although each of its keys is right.
    ///
    /// # Errors
    /// A sentence that says what, and what to do.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Kafka(config) => config.check(),
            Self::Okta(_) | Self::File(_) => Ok(()),
        }
    }

    /// The secrets that it needs, to say which are missing and to place their files.
    pub fn secrets(&mut self) -> Vec<&mut SecretRef> {
        match self {
            Self::Okta(config) => config.auth.secrets(),
            Self::File(_) => Vec::new(),
            Self::Kafka(config) => config.secrets(),
        }
    }

    /// The files that it reads; `-` is standard input.
    pub fn files(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Self::Okta(_) => Vec::new(),
            Self::File(config) => config.paths.iter_mut().collect(),
            Self::Kafka(config) => config.files(),
        }
    }
}

/// How far a source has been read; durable, opaque to all but the source itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Position {
    /// The Okta System Log.
    Okta {
        /// The `rel="next"` link to fetch next, as the server gave it.
        next: String,
        /// The newest `published` seen, for a cold restart where the link is refused.
        newest: Option<Timestamp>,
    },
    /// A set of files, read in order.
    File {
        /// How many files are done.
        files_done: u64,
        /// How many records of the current file are done.
        records_done: u64,
    },
    /// Topics of Apache Kafka.
    Kafka {
        /// What the group knows this state by, so that a restart takes its own place again.
        member: u64,
        /// The next offset of each partition, by topic.
        topics: BTreeMap<String, BTreeMap<i32, i64>>,
    },
}

/// What one fetch brought, in order.
#[derive(Debug)]
pub struct Batch {
    /// The source.
    pub source: SourceName,
    /// Progress, events and rejects, in arrival order.
    pub inputs: Vec<Input>,
    /// The records as they came, of those events that are wanted whole.
    pub texts: Texts,
    /// Where to go on once these inputs are committed; `None` leaves the position as it is.
    pub position: Option<Position>,
    /// When the reply was received, for the time to a visible metric.
    pub received: std::time::Instant,
    /// Whether more is waiting: the page was full.
    pub backlog: bool,
    /// Told once the batch is durable, for a source that passes it on.
    pub receipt: Option<oneshot::Sender<()>>,
}

/// Works until `stop` turns true, or its sender is gone, which ends the daemon all the same.
async fn until_stopped(mut stop: tokio::sync::watch::Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => {}
        () = work => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Config, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn each_kind_of_source_is_read_under_its_key() {
        let okta = r#"{"okta": {"url": "https://acme.okta.com", "auth": {"ssws": {"env": "T"}}, "policies": true, "org": "beta"}}"#;
        let file = r#"{"file": {"paths": ["a.ndjson"]}}"#;
        let kafka = r#"{"kafka": {"brokers": ["k:1"], "topics": ["t"], "group": "g", "org": "beta"}}"#;
        for (json, kind, org) in [(okta, "okta", Some("beta")), (file, "file", None), (kafka, "kafka", Some("beta"))] {
            let config = read(json).expect(json);
            assert_eq!((config.kind(), config.org()), (kind, org), "{json}");
        }
    }

    #[test]
    fn an_unknown_kind_or_key_is_refused_by_name() {
        let error = read(r#"{"okat": {}}"#).expect_err("no such kind");
        assert!(error.contains("unknown variant `okat`, expected one of `okta`, `file`, `kafka`"), "{error}");
        let error = read(r#"{"file": {"path": "a"}}"#).expect_err("no such key");
        assert!(error.contains("unknown field `path`, expected `paths` or `org`"), "{error}");
    }
}
