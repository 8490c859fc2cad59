//! The daemon against a real Apache Kafka broker: it is killed three times, the broker is restarted under it, a second
//! process stands by, and every event is counted once and one ticket written.
//!
//! Needs Java and the broker's jars, which `.ci/get-kafka` puts into the target folder (or `KAFKA_HOME` names a folder
//! with `libs/` in it); without them it says so and passes.

#![expect(clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test may fail anywhere")]

#[path = "crash/daemon.rs"]
#[expect(dead_code, reason = "shared with the crash test, which uses all of it")]
mod daemon;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use authwatch::clock::{self, monotonic};
use authwatch::event::{Span, Timestamp};
use authwatch::sim::{self, Awkward, Clock, Entry, Handles, Log, Org, Scenario, ServeConfig, ServiceNowConfig, Truth};
use daemon::Daemon;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

const TOPIC: &str = "okta.system-log";
const GROUP: &str = "authwatch";
const PARTITIONS: i32 = 6;
const EVENTS: u64 = 200_000;
const SEATS: u32 = 13_500;
const PATIENCE: Duration = Duration::from_secs(180);

/// One KRaft node on ports of its own. Dropping it kills it.
struct Broker {
    dir: TempDir,
    jars: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl Broker {
    /// `None` where there is no Java or no jars.
    fn new() -> Option<Self> {
        let home = std::env::var_os("KAFKA_HOME").map(PathBuf::from);
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a target folder");
        let jars = home.unwrap_or_else(|| target.join("kafka")).join("libs");
        let has_jars = std::fs::read_dir(&jars).is_ok_and(|mut files| files.next().is_some());
        let java = Command::new("java").arg("-version").stderr(Stdio::null()).status();
        if !has_jars || !java.is_ok_and(|status| status.success()) {
            return None;
        }
        let ports: Vec<TcpListener> = (0..2).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let port = |index: usize| ports[index].local_addr().expect("an address").port();
        let (port, controller) = (port(0), port(1));
        let dir = tempfile::tempdir().expect("a folder");
        let properties = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=PLAINTEXT\nlog.dirs={}\noffsets.topic.replication.factor=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n",
            dir.path().join("data").display()
        );
        std::fs::write(dir.path().join("server.properties"), properties).expect("a file");
        let mut broker = Self { dir, jars, port, process: None };
        drop(ports);
        let format = ["kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c"];
        let formatted = broker.java(&format).stdout(Stdio::null()).status().expect("java runs");
        assert!(formatted.success(), "the storage is formatted");
        broker.start();
        Some(broker)
    }

    fn java(&self, words: &[&str]) -> Command {
        let mut java = Command::new("java");
        java.arg("-Xmx512m").arg("-cp").arg(self.jars.join("*")).args(words);
        java.arg(self.dir.path().join("server.properties")).stderr(Stdio::null()).stdin(Stdio::null());
        java
    }

    fn start(&mut self) {
        let process = self.java(&["kafka.Kafka"]).stdout(Stdio::null()).spawn().expect("java runs");
        self.process = Some(process);
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", format!("127.0.0.1:{}", self.port));
        client
    }

    /// Makes the topics, once the broker answers.
    async fn make_topics(&self) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("a client");
        let topics = [
            NewTopic::new(TOPIC, PARTITIONS, TopicReplication::Fixed(1)),
            NewTopic::new("okta.rejected", 1, TopicReplication::Fixed(1)),
        ];
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        for made in admin.create_topics(&topics, &options).await.expect("the broker answers") {
            made.expect("a topic is made");
        }
    }

    /// Writes some of the log, each entry to one of the partitions, and waits until all of it is there.
    fn write(client: &ClientConfig, entries: &[Entry], first: usize) {
        let producer: BaseProducer = client.clone().set("message.timeout.ms", "120000").create().expect("a producer");
        for (number, entry) in (first..).zip(entries) {
            let partition = i32::try_from(number * 7_919 % 6).expect("small");
            let mut record = BaseRecord::<(), _>::to(TOPIC).partition(partition).payload(&entry.json);
            record.timestamp = Some(entry.commit.0);
            while let Err((error, back)) = producer.send(record) {
                assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
                record = back;
                producer.poll(Duration::from_millis(50));
            }
        }
        producer.flush(PATIENCE).expect("written");
    }

    /// How far the group is committed, and how much there is, over all partitions.
    fn committed(&self, topic: &str, partitions: i32) -> (i64, i64) {
        let consumer: BaseConsumer = self.client().set("group.id", GROUP).create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, partitions - 1);
        let committed = consumer.committed_offsets(list, PATIENCE).expect("offsets");
        let next = |offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
        let committed = committed.elements().iter().map(|at| next(at.offset())).sum();
        let high = |partition| consumer.fetch_watermarks(topic, partition, PATIENCE).expect("an end").1;
        (committed, (0..partitions).map(high).sum())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A Tuesday's working hours with a bad push in them that is not taken back, moved to end five minutes ago; and its
/// truth.
fn log() -> (Vec<Entry>, Truth) {
    let moment = Timestamp::parse("2026-03-03T14:00:00.000Z").expect("a time");
    let (start, until) = (moment - Span::hours(5), moment + Span::minutes(20));
    let shift = clock::now() - Span::minutes(5) - until;
    let awkward = Awkward { repeats: 0.005, late: 0.002, odd: 0.001, bad: 0.002 };
    let org = Arc::new(Org::new(4, SEATS));
    let mut log = Log::of_scenario(org, Scenario::BadPushEveryone, moment, start, until, awkward);
    let moved = |entry: Entry| {
        let (published, commit) = (entry.published + shift, entry.commit + shift);
        let json = entry.json.replacen(&entry.published.to_string(), &published.to_string(), 1);
        Entry { commit, published, json }
    };
    let entries: Vec<Entry> = log.by_ref().map(moved).collect();
    (entries, log.truth())
}

fn configure(dir: &Path, broker: &Broker, servers: &Handles) -> PathBuf {
    let text = format!(
        "org: acme
state_dir: state
listen: 127.0.0.1:0
sources:
  - kafka: {{ brokers: [\"127.0.0.1:{}\"], topics: [{TOPIC}], group: {GROUP}, start: earliest, reject_topic: okta.rejected }}
sinks:
  - servicenow:
      url: {}
      auth: {{ basic: {{ user: {{ env: SN_USER }}, password: {{ env: SN_PASSWORD }} }} }}
",
        broker.port, servers.servicenow_url
    );
    let path = dir.join("authwatch.yaml");
    std::fs::write(&path, text).expect("a configuration");
    path
}

fn start(config: &Path) -> Daemon {
    let secrets = ServiceNowConfig::default();
    Daemon::start(config, &[("SN_USER", secrets.user), ("SN_PASSWORD", secrets.password)])
}

/// Records in: events, repeated ones and rejected ones.
fn records(status: &Value) -> u64 {
    let rejected = status["rejected"].as_object().into_iter().flat_map(|reasons| reasons.values());
    [&status["events"], &status["duplicates"]].into_iter().chain(rejected).filter_map(Value::as_u64).sum()
}

/// Waits until the status reads so.
async fn until(daemon: &Daemon, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let deadline = monotonic() + PATIENCE;
    let mut last = Value::Null;
    while monotonic() < deadline {
        if let Some(status) = daemon.get("/api/v1/status").await {
            if fits(&status) {
                return status;
            }
            last = status;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("not in time: {what}: {last}\n{}", daemon.log_lines());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_counts_once_through_kills_a_broker_restart_and_a_standby() {
    let Some(mut broker) = Broker::new() else {
        eprintln!("skipped: no Java or no broker (run `.ci/get-kafka`, or set KAFKA_HOME)");
        return;
    };
    let began = monotonic();
    let (entries, truth) = log();
    assert!(truth.events >= EVENTS, "a log of {} events", truth.events);
    assert_eq!(entries.len() as u64, truth.records);
    eprintln!("{} records in {:?}", truth.records, began.elapsed());
    broker.make_topics().await;
    let org = Arc::new(Org::new(4, 10));
    let now = clock::now();
    let served = ServeConfig::of_scenario(org, Scenario::QuietWeek, now, now, now, Clock::new(now, 1.0));
    let servers = sim::serve(served).await.expect("the servers start");
    let (home, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let config = configure(home.path(), &broker, &servers);

    let (backlog, rest) = entries.split_at(entries.len() * 9 / 10);
    Broker::write(&broker.client(), backlog, 0);
    eprintln!("{} records written, {:?}", backlog.len(), began.elapsed());
    let mut daemon = start(&config);
    for (life, share) in [10, 25, 40].into_iter().enumerate() {
        let wanted = truth.records * share / 100;
        let status = until(&daemon, "a share is counted", |status| records(status) >= wanted).await;
        daemon.kill();
        eprintln!("killed in life {life} after {} records, {:?}", records(&status), began.elapsed());
        daemon = start(&config);
    }
    let wanted = truth.records / 2;
    until(&daemon, "it goes on", |status| records(status) >= wanted).await;

    // Another state in the same group, which would count everything a second time.
    let mut standby = start(&configure(other.path(), &broker, &servers));
    let is_ready = |status: &Value| status["sources"][0]["ready"] == true;
    let deadline = monotonic() + PATIENCE;
    while !standby.log_lines().contains("standing by: another member of group `authwatch` owns the partitions") {
        assert!(monotonic() < deadline, "{}", standby.log_lines());
        sleep(Duration::from_millis(100)).await;
    }
    let status = until(&standby, "it stands by", |status| !is_ready(status)).await;
    assert_eq!(records(&status), 0);
    standby.kill();

    // The broker dies while it is written to.
    let (client, rest, first) = (broker.client(), rest.to_vec(), backlog.len());
    let writing = tokio::task::spawn_blocking(move || Broker::write(&client, &rest, first));
    broker.kill();
    until(&daemon, "the source says that it is blind", |status| !is_ready(status)).await;
    broker.start();
    writing.await.expect("written");
    let all = truth.records;
    let status = until(&daemon, "everything is counted", |status| records(status) >= all && is_ready(status)).await;
    eprintln!("all is read, {:?}", began.elapsed());
    let rejected: u64 = status["rejected"].as_object().expect("an object").values().filter_map(Value::as_u64).sum();
    let counted = [status["events"].as_u64(), status["duplicates"].as_u64(), Some(rejected)];
    assert_eq!(counted, [truth.events, truth.duplicates, truth.bad].map(Some), "{}", daemon.log_lines());

    until(&daemon, "the incident is open", |status| status["incidents_open"] == 1).await;
    let deadline = monotonic() + PATIENCE;
    while servers.servicenow.created().is_empty() {
        assert!(monotonic() < deadline, "no ticket: {}", daemon.log_lines());
        sleep(Duration::from_millis(100)).await;
    }
    // The group follows, and nothing more is told.
    sleep(Duration::from_secs(8)).await;
    assert_eq!(servers.servicenow.created().len(), 1);
    let (committed, there) = broker.committed(TOPIC, PARTITIONS);
    assert_eq!((committed, there), (truth.records as i64, truth.records as i64));
    // At least once: a kill between the copy and the commit copies again.
    let (_, copies) = broker.committed("okta.rejected", 1);
    assert!((truth.bad..=truth.bad * 2).contains(&copies.cast_unsigned()), "{copies} copies of {}", truth.bad);
    eprintln!("{counted:?} counted, one ticket, {:?}", began.elapsed());
}
