//! Topics of Apache Kafka that carry Okta System Log events, written there by the customer's own pipeline.
//!
//! Needs the right to READ and DESCRIBE the topics and the group. A record's value is an event, bare or in a wrapper
//! that `decode` knows, or a list of them; how it is compressed is librdkafka's matter.
//!
//! **One process owns all partitions.** The offsets in the checkpoint are the truth: partitions are sought there when
//! they are assigned, whatever the group has committed. What is durable is committed to the group afterwards, for lag
//! tools. The group decides who reads: a process that finds another member in it stands by and says so. A restart of
//! the same state keeps its place in the group (`group.instance.id`), at once and without a rebalance.
//!
//! **How time passes.** Kafka has no server's clock for us, so the host's is used. Partitions are merged by `published`
//! before they leave (`merge.rs`); a partition that is silent for a minute is not waited for. Once every partition is
//! read to its end, and its broker still answers, the watermark may follow the clock.
//!
//! **How it fails.** Brokers that are down are waited for, and `/readyz` says so. A record that is no event is a
//! reject, copied to `reject_topic` where there is one, and the rest goes on. A stored offset that the topic no longer
//! holds is counted as a gap. A refused user is tried again every ten seconds, with the password read anew. The brokers
//! are asked for nothing while nobody takes batches; after `max.poll.interval.ms` of that (five minutes) the group may
//! give the partitions away.
//!
//! **It refuses** to share a topic's partitions with another process, to create topics, and to commit before our own
//! transaction has.
//!
//! Metrics: `authwatch_source_{records_total, gaps_total, last_success_timestamp_seconds}` and
//! `authwatch_source_kafka_{lag, position, rebalances_total, tombstones_total, reject_copies_total,
//! group_commits_total}`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use self::client::Passwords;
use self::member::{Context, report_gap};
use self::places::Places;
use self::rejects::Rejects;
use self::session::Session;
use super::{Batch, Position, ReadRecord};
use crate::clock;
use crate::event::SourceName;
use crate::secret::Secrets;
use crate::telemetry::condition::Condition;

mod check;
mod client;
mod config;
mod member;
mod merge;
mod places;
mod record;
mod rejects;
mod session;

pub use self::check::check;
pub use self::config::{ClientCertificate, Config, Format, Mechanism, PROPERTIES, Protocol, Sasl, Security, Start};

/// How long a broker may take to say who is in the group.
const LOOK_PATIENCE: Duration = Duration::from_secs(5);

/// Waits that a test shortens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// How long a partition may be silent before it is not waited for.
    pub idle: Duration,
    /// The pause before a connection that was given up is made anew.
    pub retry: Duration,
    /// How often a process that stands by looks at the group.
    pub standby: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { idle: Duration::from_secs(60), retry: Duration::from_secs(10), standby: Duration::from_secs(5) }
    }
}

/// The reader of a set of topics.
pub struct Kafka {
    config: Config,
    name: SourceName,
    places: Arc<Mutex<Places>>,
    /// The position that the pump was last given: where a new connection goes on.
    sent: Mutex<Option<Position>>,
    read: ReadRecord,
    condition: Condition,
    secrets: Secrets,
    timing: Timing,
}

/// Why a connection was given up.
enum Ended {
    /// Nobody wants records any more.
    Stopped,
    /// Another process reads.
    Taken,
    /// Something that a new connection mends.
    Lost(String),
}

/// Whether to stop, and whom to give batches to.
struct Outlet {
    out: mpsc::Sender<Batch>,
    shutdown: watch::Receiver<bool>,
    /// Where passwords are read.
    runtime: Handle,
}

impl Outlet {
    fn is_closed(&self) -> bool {
        self.out.is_closed() || *self.shutdown.borrow() || self.shutdown.has_changed().is_err()
    }
}

impl Kafka {
    /// A reader that goes on at `position`, or begins by `config.start`.
    ///
    /// `secrets` is asked for passwords whenever a connection is made; `condition` says how it fares. Nothing is
    /// connected yet.
    pub fn new(
        config: Config,
        name: SourceName,
        position: Option<Position>,
        read: ReadRecord,
        condition: Condition,
        secrets: Secrets,
    ) -> Self {
        let (places, gap) = Places::resume(position, config.start, rand::random());
        if let Some(gap) = gap {
            report_gap(&name, gap);
        }
        let sent = Mutex::new(Some(places.position()));
        let places = Arc::new(Mutex::new(places));
        Self { config, name, places, sent, read, condition, secrets, timing: Timing::default() }
    }

    /// The same reader with other waits.
    #[must_use]
    pub fn with_timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Reads until `shutdown` turns true (or its sender is gone) or nobody takes batches any more. The client blocks,
    /// so it has a thread of its own.
    pub async fn run(self, out: mpsc::Sender<Batch>, shutdown: watch::Receiver<bool>) {
        let (done, ended) = oneshot::channel();
        let name = self.name.clone();
        let outlet = Outlet { out, shutdown, runtime: Handle::current() };
        let thread = std::thread::Builder::new().name("kafka".to_owned()).spawn(move || {
            self.work(&outlet);
            let _ = done.send(());
        });
        match thread {
            Ok(_) if ended.await.is_err() => tracing::error!(source = %name, "the reader of Kafka ended abnormally"),
            Ok(_) => {}
            Err(error) => tracing::error!(source = %name, %error, "no thread for the reader of Kafka"),
        }
    }

    fn work(&self, outlet: &Outlet) {
        // Outlives a connection of the consumer, so that no copy is lost with it.
        let mut rejects = None;
        self.read_on(outlet, &mut rejects);
        if let Some(rejects) = &rejects {
            rejects.finish();
        }
    }

    fn read_on(&self, outlet: &Outlet, rejects: &mut Option<Rejects>) {
        let mut used = None;
        while !outlet.is_closed() {
            let pause =
                match self.connect(outlet, rejects, &mut used).unwrap_or_else(|error| Ended::Lost(error.to_string())) {
                    Ended::Stopped => return,
                    Ended::Taken => {
                        self.stand_by();
                        // Two processes that start together must not give way to each other for ever.
                        self.timing.standby.mul_f64(1.0 + rand::random::<f64>())
                    }
                    Ended::Lost(why) => {
                        if self.condition.failing(&why) {
                            tracing::error!(source = %self.name, "source cannot read: {why}");
                        }
                        self.config.doubt_passwords(&self.secrets);
                        self.timing.retry
                    }
                };
            wait(outlet, pause);
            // What was read and not handed on is read again.
            let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let (places, _) = Places::resume(sent, self.config.start, rand::random());
            *self.places.lock().unwrap_or_else(PoisonError::into_inner) = places;
        }
    }

    /// Connects, waits for its turn in the group, and reads.
    fn connect(
        &self,
        outlet: &Outlet,
        rejects: &mut Option<Rejects>,
        used: &mut Option<Passwords>,
    ) -> Result<Ended, KafkaError> {
        let passwords = match outlet.runtime.block_on(self.config.passwords(&self.secrets)) {
            Ok(passwords) => passwords,
            Err(error) => return Ok(Ended::Lost(format!("a secret cannot be read: {error}"))),
        };
        let member = self.places.lock().unwrap_or_else(PoisonError::into_inner).member();
        let context = Context::new(self.name.clone(), self.places.clone());
        let consumer: BaseConsumer<_> = self.config.consumer(&member, &passwords).create_with_context(context)?;
        while self.is_taken(&consumer, &member) {
            self.stand_by();
            let until = clock::monotonic() + self.timing.standby;
            while clock::monotonic() < until {
                if outlet.is_closed() {
                    return Ok(Ended::Stopped);
                }
                // Nothing is subscribed: this serves the client's own events.
                let _ = consumer.poll(Duration::from_millis(100));
            }
        }
        if let Some(topic) = self.config.reject_topic.as_ref().filter(|_| used.as_ref() != Some(&passwords)) {
            let client = self.config.producer(&member, &passwords);
            *rejects = Some(Rejects::new(&client, self.name.clone(), topic.clone())?);
            *used = Some(passwords);
        }
        let topics: Vec<&str> = self.config.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics)?;
        Ok(Session::new(self, Arc::new(consumer), rejects).run(outlet))
    }

    /// Whether another process is in the group. Where it cannot be told, joining shows it.
    fn is_taken(&self, consumer: &BaseConsumer<Context>, member: &str) -> bool {
        match consumer.fetch_group_list(Some(&self.config.group), LOOK_PATIENCE) {
            Ok(list) => {
                let ours = list.groups().iter().filter(|group| group.name() == self.config.group);
                ours.flat_map(|group| group.members()).any(|other| other.client_id() != member)
            }
            Err(error) => {
                tracing::debug!(source = %self.name, %error, "who is in the group cannot be told");
                false
            }
        }
    }

    fn stand_by(&self) {
        let why = format!("standing by: another member of group `{}` owns the partitions", self.config.group);
        if self.condition.failing(&why) {
            tracing::warn!(source = %self.name, "{why}");
        }
    }
}

fn wait(outlet: &Outlet, length: Duration) {
    let until = clock::monotonic() + length;
    while clock::monotonic() < until && !outlet.is_closed() {
        std::thread::sleep(Duration::from_millis(50).min(length));
    }
}
