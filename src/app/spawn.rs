//! Sources as tasks: each with what it needs, and a way for its batches into the pump. And what pushes metrics.
//!
//! An `okta` source is up to three tasks: the log, the policies, the people of groups. They share an address and a token
//! and nothing else, so that trouble with one holds up no other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use smol_str::SmolStr;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::parts::SourcePart;
use super::pump::Message;
use super::{Render, StartError};
use crate::act;
use crate::action::Topics;
use crate::classify::{Reader, Tables};
use crate::event::{AuthEvent, Org, Reject, SourceName, Timestamp};
use crate::secret::Secrets;
use crate::source::kafka::Kafka;
use crate::source::okta::{self, Beside, GroupReader, Okta, PolicyReader, Reads};
use crate::source::{self, Batch, Position, ReadPage, ReadRecord};
use crate::telemetry::condition::{Condition, Conditions};
use crate::telemetry::snapshot;

/// The largest record that is forwarded as it came; of a larger one our reading alone. Records are a few kB.
const RAW_BYTES: usize = 64 << 10;

/// The tables in force; a reload replaces them between two pages.
pub(super) type SharedTables = Arc<RwLock<Arc<Tables>>>;

/// The groups that each org's configuration names; a reload replaces them.
pub(super) type WantedGroups = BTreeMap<Org, watch::Sender<BTreeSet<SmolStr>>>;

/// The groups to begin with, by org.
pub(super) fn wanted(groups: BTreeMap<Org, BTreeSet<SmolStr>>) -> WantedGroups {
    groups.into_iter().map(|(org, groups)| (org, watch::channel(groups).0)).collect()
}

/// Spawns what pushes metrics; they end when `stop` turns true. The metrics as they are now are the base line: the
/// committed counts are there, and nothing was committed since.
pub(super) fn publishers(
    sinks: &[act::Config],
    secrets: &Secrets,
    render: Render,
    conditions: &Conditions,
    stop: &watch::Receiver<bool>,
) -> Result<Vec<JoinHandle<()>>, StartError> {
    let mut publishers = Vec::new();
    for sink in sinks {
        publishers.extend(sink.publisher(secrets.clone())?);
    }
    let read: act::publish::Read = Arc::new(move || snapshot::read(&render()));
    Ok(act::publish::spawn(publishers, &read, conditions, stop))
}

/// What every source is spawned with.
pub(super) struct Spawner<'a> {
    pub(super) tables: &'a SharedTables,
    pub(super) secrets: &'a Secrets,
    pub(super) conditions: &'a Conditions,
    pub(super) inbox: &'a mpsc::Sender<Message>,
    pub(super) groups: &'a WantedGroups,
    pub(super) stop: &'a watch::Receiver<bool>,
    pub(super) once: bool,
    pub(super) wanted: Wanted,
}

impl Spawner<'_> {
    /// Spawns sources that go on where they stood; every task of them ends when `stop` turns true.
    pub(super) fn spawn_all(
        &self,
        parts: Vec<SourcePart>,
        positions: &BTreeMap<SourceName, Position>,
    ) -> Result<Vec<JoinHandle<()>>, StartError> {
        let mut tasks = Vec::new();
        for part in parts {
            let position = positions.get(&part.name).cloned();
            tasks.extend(self.spawn(part, position)?);
        }
        Ok(tasks)
    }

    fn spawn(&self, part: SourcePart, position: Option<Position>) -> Result<Vec<JoinHandle<()>>, StartError> {
        let SourcePart { name, org, config, reads_groups } = part;
        let condition = self.conditions.declare(&format!("source/{name}"), true, "not read yet");
        match config {
            source::Config::Okta(config) => {
                let mut tasks = Vec::new();
                let (changed, changes) = watch::channel(None);
                let (named, in_policies) = watch::channel(BTreeSet::new());
                let read = read_page(org.clone(), self.tables.clone(), self.wanted);
                let okta = Okta::new((*config).clone(), name.clone(), position, read, condition, self.secrets.clone())?;
                let okta = okta.telling(changed);
                tasks.push(self.task(self.once, |out, stop| okta.run(out, stop)));
                let place = (org, name);
                if config.policies {
                    tasks.push(self.spawn_policies(&config, &place, changes, named)?);
                }
                if reads_groups {
                    tasks.extend(self.spawn_groups(&config, &place, in_policies)?);
                }
                Ok(tasks)
            }
            source::Config::File(config) => {
                let read = read_record(org, self.tables.clone(), self.wanted);
                let file = source::file::File::new(&config, name, position.as_ref(), read, condition)?;
                Ok(vec![self.task(self.once, |out, stop| file.run(out, stop))])
            }
            source::Config::Kafka(config) => {
                let read = read_record(org, self.tables.clone(), self.wanted);
                let kafka = Kafka::new(*config, name, position, read, condition, self.secrets.clone());
                Ok(vec![self.task(self.once, |out, stop| kafka.run(out, stop))])
            }
        }
    }

    fn spawn_policies(
        &self,
        config: &okta::Config,
        place: &(Org, SourceName),
        changes: watch::Receiver<Option<Timestamp>>,
        groups: watch::Sender<BTreeSet<SmolStr>>,
    ) -> Result<JoinHandle<()>, StartError> {
        let condition = self.informs(&place.1, "policies");
        let beside = Beside::new(config.clone(), place.clone(), condition, Reads::Policies, self.secrets.clone())?
            .once(self.once);
        let reader = PolicyReader::new(beside, changes, groups);
        Ok(self.task(false, |out, stop| reader.run(out, stop)))
    }

    fn spawn_groups(
        &self,
        config: &okta::Config,
        place: &(Org, SourceName),
        in_policies: watch::Receiver<BTreeSet<SmolStr>>,
    ) -> Result<Option<JoinHandle<()>>, StartError> {
        let Some(wanted) = self.groups.get(&place.0) else { return Ok(None) };
        let condition = self.informs(&place.1, "groups");
        let configured = wanted.subscribe();
        let beside =
            Beside::new(config.clone(), place.clone(), condition, Reads::Groups, self.secrets.clone())?.once(self.once);
        let reader = GroupReader::new(beside, configured, in_policies);
        Ok(Some(self.task(false, |out, stop| reader.run(out, stop))))
    }

    /// A condition that readiness does not wait for.
    fn informs(&self, name: &SourceName, part: &str) -> Condition {
        self.conditions.declare(&format!("source/{name}/{part}"), false, "not read yet")
    }

    /// Spawns what brings batches, and what hands them on; `once` only until there is nothing more.
    fn task<T: Future<Output = ()> + Send + 'static>(
        &self,
        once: bool,
        run: impl FnOnce(mpsc::Sender<Batch>, watch::Receiver<bool>) -> T,
    ) -> JoinHandle<()> {
        let (out, batches) = mpsc::channel(1);
        let source = tokio::spawn(run(out, self.stop.clone()));
        tokio::spawn(forward(batches, self.inbox.clone(), once, source))
    }
}

/// Hands a source's batches to the pump; with `once` only until the source has nothing more.
async fn forward(mut batches: mpsc::Receiver<Batch>, inbox: mpsc::Sender<Message>, once: bool, source: JoinHandle<()>) {
    while let Some(batch) = batches.recv().await {
        let is_last = once && !batch.backlog;
        let sent = inbox.send(Message::Batch(batch)).await;
        if is_last {
            // It would wait for its next poll before it noticed that nobody listens.
            source.abort();
        }
        if sent.is_err() || is_last {
            break;
        }
    }
    drop(batches);
    if let Err(error) = source.await
        && !error.is_cancelled()
    {
        tracing::error!(%error, "a source ended abnormally");
    }
}

fn current(tables: &SharedTables) -> Arc<Tables> {
    tables.read().unwrap_or_else(PoisonError::into_inner).clone()
}

fn read_page(org: Org, tables: SharedTables, wanted: Wanted) -> ReadPage {
    Arc::new(move |body, each| {
        let mut each = |read: Result<AuthEvent, Reject>, text: &str| {
            let text = wanted.text(read.as_ref().ok(), text);
            each(read, text);
        };
        Reader::new(org.clone(), current(&tables))
            .read_page_with_text(body, &mut each)
            .map_err(|error| error.to_string())
    })
}

fn read_record(org: Org, tables: SharedTables, wanted: Wanted) -> ReadRecord {
    Arc::new(move |record, each| {
        let now = crate::clock::now();
        let mut plausible = |read: Result<_, _>, text: &str| {
            let read = read.and_then(|event| source::file::plausible(event, now));
            let text = wanted.text(read.as_ref().ok(), text);
            each(read, text);
        };
        Reader::new(org.clone(), current(&tables)).read_record_with_text(record, &mut plausible);
    })
}

/// What some sink wants whole.
#[derive(Clone, Copy)]
pub(super) struct Wanted(pub(super) Topics);

impl Wanted {
    /// The text of an event that is wanted, unless it is larger than what the queue takes.
    fn text(self, event: Option<&AuthEvent>, text: &str) -> Option<Box<str>> {
        let is_wanted = self.0 != Topics::NONE && event.is_some_and(|event| self.0.meets(Topics::of(event)));
        (is_wanted && text.len() <= RAW_BYTES).then(|| text.into())
    }
}
