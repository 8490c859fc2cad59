//! Files of records: the offline twin of a live source, for `replay`, `explain` and a daemon that reads files once.
//!
//! [`Records`] streams NDJSON, JSON arrays and pretty-printed JSON, plain or compressed, from files and from standard
//! input, in constant memory. [`File`] turns them into batches for the daemon; it has no clock of its own, so the
//! events' own times are the clock.
//!
//! **How it fails.** A record that is no event is a reject, a record over the limit is a reject, and the rest goes on.
//! A file that cannot be read, or is cut off inside its compression, is reported with its name and offset after
//! everything whole in it was delivered; the files after it are read all the same. Files are read once, not watched.
//!
//! Metrics: `authwatch_source_records_total`, and `authwatch_source_gaps_total{cause="unreadable"}` for each such file.

use std::path::PathBuf;

use serde::Deserialize;
use tokio::sync::{mpsc, watch};

use super::{Batch, Position, ReadRecord, Texts};
use crate::clock;
use crate::event::{AuthEvent, Reject, SourceName, Span, Timestamp};
use crate::input::Input;
use crate::telemetry::condition::Condition;
use crate::telemetry::metric::Metric;

mod open;
mod records;
mod split;

pub use self::records::{Body, FileError, Record, Records};

/// Records in one batch; also the bound of events in it, but for the last record's.
const BATCH: usize = 1_000;

/// Files to read.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The files, in the order of reading; required. `-` is standard input. Order and content must not change while a
    /// position in them is stored.
    pub paths: Vec<PathBuf>,
    /// The org's label where it is not the one at the top of the configuration.
    #[serde(default)]
    pub org: Option<String>,
}

/// A file has no clock of its own, so the host's decides what cannot be real: one record from a wrong year would make
/// every other one late.
///
/// # Errors
/// [`Reject::Future`] for an event from more than a day after `now`.
pub fn plausible(event: AuthEvent, now: Timestamp) -> Result<AuthEvent, Reject> {
    let is_future = event.published.is_some_and(|published| published > now + Span::hours(24));
    if is_future { Err(Reject::Future) } else { Ok(event) }
}

/// The daemon's reader of files.
pub struct File {
    name: SourceName,
    records: Records,
    read: ReadRecord,
    condition: Condition,
    failed: bool,
    ended: bool,
}

impl File {
    /// A reader that goes on after `position`, or begins with the first record.
    ///
    /// # Errors
    /// Where a file is not there, cannot be read, or no longer holds the position.
    pub fn new(
        config: &Config,
        name: SourceName,
        position: Option<&Position>,
        read: ReadRecord,
        condition: Condition,
    ) -> Result<Self, FileError> {
        let mut records = Records::open(&config.paths)?;
        if let Some(position) = position {
            records.skip_to(position)?;
        }
        Ok(Self { name, records, read, condition, failed: false, ended: false })
    }

    /// Sends all records, then one batch that says so, and returns; earlier on `shutdown`, or where nobody takes
    /// batches any more.
    pub async fn run(self, out: mpsc::Sender<Batch>, mut shutdown: watch::Receiver<bool>) {
        tokio::select! {
            biased;
            _ = shutdown.wait_for(|stop| *stop) => {}
            () = self.send_all(&out) => {}
        }
    }

    async fn send_all(mut self, out: &mpsc::Sender<Batch>) {
        while !self.ended {
            let filling = tokio::task::spawn_blocking(move || {
                let batch = self.fill();
                (self, batch)
            });
            let Ok((filled, batch)) = filling.await else { return };
            self = filled;
            if out.send(batch).await.is_err() {
                return;
            }
        }
    }

    /// The next batch. The last one ends with the word that everything is delivered.
    fn fill(&mut self) -> Batch {
        let mut inputs = vec![Input::Progress { source: self.name.clone(), now: None, caught_up: false }];
        let (mut records, mut texts) = (0, Texts::new());
        while records < BATCH && inputs.len() <= BATCH {
            let record = match self.records.next() {
                Ok(Some(record)) => record,
                Ok(None) => {
                    self.ended = true;
                    break;
                }
                Err(error) => {
                    report(&self.name, &self.condition, &error);
                    self.failed = true;
                    continue;
                }
            };
            records += 1;
            let source = &self.name;
            let mut each = |read: Result<AuthEvent, Reject>, text: Option<Box<str>>| {
                texts.extend(text.map(|text| (inputs.len(), text)));
                inputs.push(input(source, read));
            };
            match record.body {
                Body::Whole(bytes) => (self.read)(bytes, &mut each),
                Body::TooLarge => each(Err(Reject::TooLarge), None),
            }
        }
        Metric::SourceRecords.counter(&[self.name.as_str()]).increment(records as u64);
        if self.ended {
            inputs.push(Input::Progress { source: self.name.clone(), now: None, caught_up: true });
        }
        if !self.failed {
            self.condition.ok();
        }
        Batch {
            source: self.name.clone(),
            inputs,
            texts,
            position: Some(self.records.position()),
            received: clock::monotonic(),
            backlog: !self.ended,
            receipt: None,
        }
    }
}

fn input(source: &SourceName, read: Result<AuthEvent, Reject>) -> Input {
    let source = source.clone();
    match read {
        Ok(event) => Input::Event { source, event: Box::new(event) },
        Err(reason) => Input::Reject { source, reason },
    }
}

fn report(source: &SourceName, condition: &Condition, error: &FileError) {
    Metric::SourceGaps.counter(&[source.as_str(), "unreadable"]).increment(1);
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    if condition.failing(&format!("{error}{cause}")) {
        tracing::error!(%source, error = error as &dyn std::error::Error, "file not read to its end");
    }
}
