//! The Kafka source on librdkafka's mock cluster: where it begins, in which order records leave, what follows to the
//! group, and what it does when partitions, brokers and records are not as they should be.

#![expect(clippy::expect_used, clippy::panic, reason = "a test may fail anywhere")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use authwatch::classify::{Reader, Tables};
use authwatch::event::{Org, SourceName};
use authwatch::input::Input;
use authwatch::source::kafka::{Config, Kafka, Timing};
use authwatch::source::{Batch, Position, ReadRecord};
use authwatch::telemetry::condition::Conditions;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::mocking::{MockCluster, MockCoordinator};
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::json;
use tokio::sync::{mpsc, watch};

const PATIENCE: Duration = Duration::from_secs(90);
const TOPIC: &str = "okta.system-log";
const GROUP: &str = "authwatch";
const MEMBER: u64 = 7;

/// A cluster and a producer to it.
struct World {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: BaseProducer,
}

impl World {
    fn new(partitions: i32) -> Self {
        Self::with_brokers(partitions, 1)
    }

    fn with_brokers(partitions: i32, brokers: i32) -> Self {
        let cluster = MockCluster::new(brokers).expect("a cluster");
        cluster.create_topic(TOPIC, partitions, 1).expect("a topic");
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", cluster.bootstrap_servers());
        let producer = client.create().expect("a producer");
        Self { cluster, producer }
    }

    /// Writes a record and waits for the broker.
    fn write(&self, partition: i32, value: &[u8]) {
        let record = BaseRecord::to(TOPIC).partition(partition).key("k").payload(value);
        self.producer.send(record).map_err(|(error, _)| error).expect("queued");
        self.producer.flush(PATIENCE).expect("written");
    }

    /// Writes the event that is `second` seconds into the log.
    fn event(&self, partition: i32, second: i64) {
        self.write(partition, event(second).as_bytes());
    }

    fn consumer(&self, group: &str) -> BaseConsumer {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.cluster.bootstrap_servers()).set("group.id", group);
        client.set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
        client.set("partition.assignment.strategy", "range");
        client.create().expect("a consumer")
    }

    fn commit(&self, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(TOPIC, partition, Offset::Offset(offset)).expect("an offset");
        self.consumer(GROUP).commit(&list, rdkafka::consumer::CommitMode::Sync).expect("committed");
    }

    fn committed(&self, partition: i32) -> Option<i64> {
        let mut list = TopicPartitionList::new();
        list.add_partition(TOPIC, partition);
        let list = self.consumer(GROUP).committed_offsets(list, PATIENCE).expect("offsets");
        match list.elements().first().expect("one").offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }

    async fn start(&self, position: Option<Position>, extra: serde_json::Value) -> Running {
        Running::start(&self.cluster.bootstrap_servers(), position, extra).await
    }
}

fn event(second: i64) -> String {
    let (minute, second) = (second / 60, second % 60);
    json!({
        "uuid": format!("u{minute:02}{second:02}"), "published": format!("2026-03-02T12:{minute:02}:{second:02}.000Z"),
        "eventType": "user.session.start", "outcome": {"result": "SUCCESS"},
        "actor": {"id": "00u1", "type": "User"},
    })
    .to_string()
}

fn at(partitions: &[(i32, i64)]) -> Option<Position> {
    let partitions: BTreeMap<i32, i64> = partitions.iter().copied().collect();
    Some(Position::Kafka { member: MEMBER, topics: BTreeMap::from([(TOPIC.to_owned(), partitions)]) })
}

/// A source that runs.
struct Running {
    batches: mpsc::Receiver<Batch>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
    conditions: Conditions,
}

impl Running {
    async fn start(brokers: &str, position: Option<Position>, extra: serde_json::Value) -> Self {
        let mut section = json!({
            "brokers": brokers.split(',').collect::<Vec<_>>(), "topics": [TOPIC], "group": GROUP, "start": "earliest",
        });
        for (key, value) in extra.as_object().expect("an object") {
            section[key] = value.clone();
        }
        let config: Config = serde_json::from_value(section).expect("a valid section");
        config.check().expect("a valid section");
        let conditions = Conditions::default();
        let condition = conditions.declare("source/kafka:acme", true, "not read yet");
        let read: ReadRecord = Arc::new(|record, each| {
            let mut whole = |read: Result<_, _>, text: &str| {
                let text = read.is_ok().then(|| text.into());
                each(read, text);
            };
            Reader::new(Org::new("acme"), Arc::new(Tables::embedded())).read_record_with_text(record, &mut whole);
        });
        let name = SourceName::new("kafka:acme");
        let kafka = Kafka::new(config, name, position, read, condition, Arc::new(|_: &str| None).into());
        let timing = Timing {
            idle: Duration::from_secs(4),
            retry: Duration::from_millis(200),
            standby: Duration::from_secs(60),
        };
        let (out, batches) = mpsc::channel(1);
        let (stop, shutdown) = watch::channel(false);
        let task = tokio::spawn(kafka.with_timing(timing).run(out, shutdown));
        Self { batches, stop, task, conditions }
    }

    /// The next batch; durable unless it is kept.
    async fn batch(&mut self) -> Batch {
        let batch = tokio::time::timeout(PATIENCE, self.batches.recv()).await;
        let Ok(batch) = batch else { panic!("no batch in time: {:?}", self.conditions.read()) };
        batch.expect("a batch")
    }

    /// What comes up to the word that everything is read, and the position then.
    async fn caught_up(&mut self) -> (Vec<String>, Position) {
        let mut seen = Vec::new();
        loop {
            let mut batch = self.batch().await;
            let _ = batch.receipt.take().expect("a receipt").send(());
            seen.extend(words(&batch));
            if !batch.backlog {
                return (seen, batch.position.expect("a position"));
            }
        }
    }

    /// Waits until `count` events and rejects have come.
    async fn until(&mut self, count: usize) -> Vec<String> {
        let mut seen = Vec::new();
        while seen.len() < count {
            let mut batch = self.batch().await;
            let _ = batch.receipt.take().expect("a receipt").send(());
            seen.extend(words(&batch));
        }
        seen
    }

    /// Takes batches until the source's condition reads so.
    async fn condition(&mut self, fits: impl Fn(bool, &str) -> bool) -> (String, Vec<String>) {
        let mut seen = Vec::new();
        let waiting = async {
            loop {
                let status = self.conditions.read()["source/kafka:acme"].clone();
                if fits(status.ok, &status.detail) {
                    return status.detail;
                }
                tokio::select! {
                    batch = self.batches.recv() => {
                        let mut batch = batch.expect("a batch");
                        let _ = batch.receipt.take().expect("a receipt").send(());
                        seen.extend(words(&batch));
                    }
                    () = tokio::time::sleep(Duration::from_millis(20)) => {}
                }
            }
        };
        let Ok(detail) = tokio::time::timeout(PATIENCE, waiting).await else {
            panic!("not in time: {:?}", self.conditions.read())
        };
        (detail, seen)
    }

    async fn stop(mut self) {
        self.stop.send_replace(true);
        self.batches.close();
        tokio::time::timeout(PATIENCE, self.task).await.expect("ends in time").expect("no panic");
    }
}

/// The uuid of each event and the reason of each reject.
/// What each event or reject is called; every event comes with the text that it was read from.
fn words(batch: &Batch) -> Vec<String> {
    let mut texts = batch.texts.iter();
    for (at, input) in batch.inputs.iter().enumerate() {
        if let Input::Event { event, .. } = input {
            let (of, text) = texts.next().expect("a text for each event");
            assert!(*of == at && text.contains(event.uuid.as_str()), "the text is of another event");
        }
    }
    let word = |input: &Input| match input {
        Input::Event { event, .. } => Some(event.uuid.to_string()),
        Input::Reject { reason, .. } => Some(reason.as_str().to_owned()),
        _ => None,
    };
    batch.inputs.iter().filter_map(word).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_read_from_their_beginning_and_leave_by_time() {
    let world = World::new(3);
    for (partition, second) in [(0, 10), (0, 40), (0, 300), (2, 5), (2, 39), (2, 41), (2, 299)] {
        world.event(partition, second);
    }
    let mut running = world.start(None, json!({})).await;
    let first = running.batch().await;
    assert!(words(&first).is_empty() && first.backlog, "where it begins is stored before anything is read: {first:?}");
    assert!(matches!(first.inputs[..], [Input::Progress { now: Some(_), caught_up: false, .. }]), "{first:?}");
    let Some(Position::Kafka { member, topics }) = first.position else { panic!("a position of Kafka") };
    assert_eq!(topics[TOPIC], BTreeMap::from([(0, 0), (1, 0), (2, 0)]));
    let (seen, end) = running.caught_up().await;
    assert_eq!(seen, ["u0005", "u0010", "u0039", "u0040", "u0041", "u0459", "u0500"]);
    let topics = BTreeMap::from([(TOPIC.to_owned(), BTreeMap::from([(0, 3), (1, 0), (2, 4)]))]);
    assert_eq!(end, Position::Kafka { member, topics });
    running.condition(|ok, _| ok).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checkpoint_is_the_truth_and_the_group_follows_it() {
    let world = World::new(2);
    (0..6).for_each(|second| world.event(0, second));
    world.event(1, 3);
    // Somebody moved the group; it decides nothing.
    world.commit(0, 6);
    let mut running = world.start(at(&[(0, 4)]), json!({"start": "latest"})).await;
    let mut held = Vec::new();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let batch = running.batch().await;
        seen.extend(words(&batch));
        held.push(batch.receipt.expect("a receipt"));
    }
    // Partition 1 has no place although its topic is read already: all of it is new.
    assert_eq!(seen, ["u0003", "u0004", "u0005"]);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!((world.committed(0), world.committed(1)), (Some(6), None), "nothing is durable yet");
    held.into_iter().for_each(|receipt| receipt.send(()).expect("awaited"));
    let (_, end) = running.caught_up().await;
    assert_eq!(Some(end), at(&[(0, 6), (1, 1)]));
    running.stop().await;
    assert_eq!((world.committed(0), world.committed(1)), (Some(6), Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_without_a_place_begins_where_start_says() {
    for (start, expect) in
        [("earliest", vec!["u0001", "u0002", "u0003"]), ("latest", vec![]), ("committed", vec!["u0003"])]
    {
        let world = World::new(1);
        (1..4).for_each(|second| world.event(0, second));
        world.commit(0, 2);
        let mut running = world.start(None, json!({ "start": start })).await;
        let (seen, end) = running.caught_up().await;
        assert_eq!(seen, expect, "{start}");
        assert!(matches!(end, Position::Kafka { topics, .. } if topics[TOPIC] == BTreeMap::from([(0, 3)])), "{start}");
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrapper_is_opened_and_what_is_no_event_is_copied_and_passed_over() {
    let world = World::new(1);
    world.cluster.create_topic("bad", 1, 1).expect("a topic");
    let bare = event(1);
    let text = serde_json::Value::from(bare.as_str()).to_string();
    for value in [
        bare.clone(),
        format!("[{},{}]", event(2), event(3)),
        format!(r#"{{"version":"0","detail-type":"SystemLog","time":"2026-03-02T12:00:05Z","detail":{bare}}}"#),
        format!(r#"{{"eventType":"com.okta.event_hook","data":{{"events":[{bare}]}}}}"#),
        format!(r#"{{"schema":{{"type":"struct"}},"payload":{bare}}}"#),
        format!(r#"{{"schema":{{"type":"string"}},"payload":{text}}}"#),
        format!(r#"{{"sourcetype":"OktaIM2:log","event":{bare}}}"#),
        format!(r#"{{"integration":"okta","okta":{bare}}}"#),
        format!("\0\0\0\0\u{7}{bare}"),
        String::new(),
        "not json".to_owned(),
        format!("[{bare},7,{{}}]"),
    ] {
        world.write(0, value.as_bytes());
    }
    let mut running = world.start(None, json!({"reject_topic": "bad"})).await;
    let (seen, end) = running.caught_up().await;
    // The list of two, and seven wrappers of the first event beside the bare one.
    let wrapped = ["u0001"; 7];
    let expect =
        [&["u0001", "u0002", "u0003"][..], &wrapped, &["not_json", "u0001", "not_an_object", "no_event_type"]].concat();
    assert_eq!(seen, expect);
    assert!(matches!(end, Position::Kafka { topics, .. } if topics[TOPIC] == BTreeMap::from([(0, 12)])));
    running.stop().await;

    let copies = world.consumer("look");
    copies.subscribe(&["bad"]).expect("subscribed");
    let mut found = Vec::new();
    while found.len() < 2 {
        let Some(Ok(copy)) = copies.poll(PATIENCE) else { continue };
        let headers = copy.headers().expect("headers");
        let header = |index| std::str::from_utf8(headers.get(index).value.expect("a value")).expect("text").to_owned();
        let header: Vec<String> = (0..headers.count()).map(header).collect();
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.expect("bytes").to_vec()).expect("text");
        found.push((header.join(" "), text(copy.key()), text(copy.payload())));
    }
    let copy =
        |offset: i32, reason: &str, value: &str| (format!("{TOPIC} 0 {offset} {reason}"), "k".into(), value.into());
    assert_eq!(found, [copy(10, "not_json", "not json"), copy(11, "not_an_object", &format!("[{bare},7,{{}}]"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_in_the_group_takes_nothing_from_the_count() {
    let world = World::new(2);
    world.event(0, 1);
    world.event(1, 2);
    let mut running = world.start(None, json!({})).await;
    let (seen, _) = running.caught_up().await;
    assert_eq!(seen, ["u0001", "u0002"]);

    // A consumer of another kind joins and gets one of the partitions.
    let stranger = world.consumer(GROUP);
    stranger.subscribe(&[TOPIC]).expect("subscribed");
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let polling = std::thread::spawn(move || {
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            let _ = stranger.poll(Duration::from_millis(50));
        }
    });
    let (_, mut seen) =
        running.condition(|_, detail| detail == "another member of group `authwatch` has 1 of 2 partitions").await;
    world.event(0, 3);
    world.event(1, 4);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    polling.join().expect("ends");
    let (_, more) = running.condition(|ok, _| ok).await;
    seen.extend(more);
    seen.extend(running.caught_up().await.0);
    seen.sort();
    assert_eq!(seen, ["u0003", "u0004"], "each once, and nothing again");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_stands_by_and_reads_nothing() {
    let world = World::new(2);
    world.event(0, 1);
    let quick = json!({"properties": {"session.timeout.ms": 6000}});
    let mut owner = world.start(None, quick.clone()).await;
    assert_eq!(owner.caught_up().await.0, ["u0001"]);
    // The mock cannot say who is in a group, so the second joins, gets a part, and gives it back.
    let mut second = world.start(None, quick).await;
    let standing_by =
        second.condition(|_, detail| detail == "standing by: another member of group `authwatch` owns the partitions");
    let seen = tokio::select! {
        (_, seen) = standing_by => seen,
        _ = owner.condition(|_, _| false) => Vec::new(),
    };
    assert!(seen.is_empty(), "{seen:?}");
    second.stop().await;
    world.event(0, 2);
    world.event(1, 3);
    let mut seen = owner.until(2).await;
    seen.sort();
    assert_eq!(seen, ["u0002", "u0003"]);
    owner.condition(|ok, _| ok).await;
    owner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_down_is_waited_for_and_nothing_is_lost() {
    let world = World::new(1);
    world.event(0, 1);
    let mut running = world.start(None, json!({})).await;
    assert_eq!(running.caught_up().await.0, ["u0001"]);
    running.condition(|ok, _| ok).await;
    // Three requests end with their connection.
    world.cluster.request_errors(RDKafkaApiKey::Fetch, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT; 3]);
    world.event(0, 2);
    assert_eq!(running.until(1).await, ["u0002"]);

    world.cluster.broker_down(1).expect("down");
    let (why, _) = running.condition(|ok, detail| !ok && detail.contains("no broker can be reached")).await;
    assert!(why.contains("check `brokers`"), "{why}");
    // Nothing claims to have read everything while nobody answers.
    while running.batches.try_recv().is_ok() {}
    let quiet = tokio::time::timeout(Duration::from_secs(7), running.batches.recv()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    world.cluster.broker_up(1).expect("up");
    world.event(0, 3);
    assert_eq!(running.until(1).await, ["u0003"]);
    running.condition(|ok, _| ok).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_without_a_broker_is_waited_for_a_while_and_then_left_out() {
    let world = World::with_brokers(2, 2);
    world.cluster.coordinator(MockCoordinator::Group(GROUP.to_owned()), 1).expect("a coordinator");
    world.cluster.partition_leader(TOPIC, 0, Some(1)).expect("a leader");
    world.cluster.partition_leader(TOPIC, 1, Some(2)).expect("a leader");
    (1..4).for_each(|second| world.event(0, second));
    world.event(1, 2);
    world.cluster.broker_down(2).expect("down");
    let mut running = world.start(at(&[(0, 2), (1, 1)]), json!({})).await;
    // Nobody says where the second partition ends, so the first waits for it, but not for ever.
    assert_eq!(running.until(1).await, ["u0003"]);
    let blind =
        |detail: &str| detail.contains("1 of 2 partitions do not answer") || detail.contains("no broker can be");
    running.condition(|ok, detail| !ok && blind(detail)).await;
    world.cluster.broker_up(2).expect("up");
    world.event(1, 4);
    assert_eq!(running.until(1).await, ["u0004"]);
    running.condition(|ok, _| ok).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_the_topic_does_not_hold_is_a_gap() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let page: PrometheusHandle = recorder.handle();
    metrics::set_global_recorder(recorder).expect("the only one of this binary");
    let world = World::new(1);
    (1..4).for_each(|second| world.event(0, second));
    let mut running = world.start(at(&[(0, 40)]), json!({})).await;
    let (seen, _) = running.caught_up().await;
    assert_eq!(seen, ["u0001", "u0002", "u0003"]);
    running.condition(|ok, _| ok).await;
    let page = page.render();
    for line in [
        "authwatch_source_gaps_total{source=\"kafka:acme\",cause=\"offset_ahead\"} 1",
        "authwatch_source_kafka_lag{source=\"kafka:acme\",topic=\"okta.system-log\",partition=\"0\"} 0",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_is_named() {
    let world = World::new(1);
    world.event(0, 1);
    world.cluster.topic_error("missing", RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART).expect("set");
    let mut running = world.start(None, json!({"topics": [TOPIC, "missing"]})).await;
    assert_eq!(running.until(1).await, ["u0001"], "the other is read");
    let (why, _) = running.condition(|_, detail| detail.contains("`missing`")).await;
    assert_eq!(why, "the topic `missing` is not there, or may not be seen");
    running.stop().await;
}

#[test]
fn the_library_can_decompress_and_authenticate() {
    let mut client = ClientConfig::new();
    client.set("sasl.mechanism", "SCRAM-SHA-512").set("security.protocol", "sasl_ssl");
    client.set("sasl.username", "aw").set("sasl.password", "x").set("compression.codec", "zstd");
    let features = client.create_native_config().expect("a config").get("builtin.features").expect("a list");
    for feature in ["gzip", "snappy", "ssl", "lz4", "zstd", "sasl_plain", "sasl_scram"] {
        assert!(features.split(',').any(|known| known == feature), "{feature} in {features}");
    }
    assert!(!features.contains("gssapi"), "{features}");
    client.create::<BaseProducer>().expect("TLS and SCRAM are built in");
}
