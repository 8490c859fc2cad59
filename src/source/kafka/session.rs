//! One connection to the brokers: partitions in, batches out, until it is given up.
//!
//! Each partition has a queue of its own, of which one record is taken at a time; what is not taken stays with the
//! client, which stops to fetch. So a partition that is far ahead of another costs a bounded buffer and no more.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::member::{Context, Health, Partition};
use super::merge::{self, Lane};
use super::record::Record;
use super::rejects::Rejects;
use super::{Ended, Kafka, Outlet};
use crate::clock;
use crate::input::Input;
use crate::source::{Batch, Texts};
use crate::telemetry::metric::Metric;

/// Records in one batch.
const BATCH: usize = 1_000;
/// Inputs in one batch, but for the last record's: a record can hold many events.
const BATCH_INPUTS: usize = 4_000;
/// How long nothing is looked at while nothing comes.
const PAUSE: Duration = Duration::from_millis(20);
/// How often health is looked at, and the least time between two words that everything is read.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is said that everything is read while nothing comes.
const IDLE_EVERY: Duration = Duration::from_secs(5);
/// Statistics that are older say nothing.
const STALE: Duration = Duration::from_secs(5);
/// How long partitions that were just assigned may take to be served before that is a trouble.
const GRACE: Duration = Duration::from_secs(5);
/// How long the end of a connection waits for the last batch to become durable.
const LAST_RECEIPT: Duration = Duration::from_millis(500);
/// How long the brokers may take to say which partitions there are.
const METADATA_PATIENCE: Duration = Duration::from_secs(5);

/// One partition that is ours.
struct Assigned {
    at: Partition,
    queue: Option<PartitionQueue<Context>>,
    /// The offset after the last record that was read.
    read: i64,
    /// The offset after the last record that was handed on.
    next: i64,
}

/// Whether everything there is to read is ours.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Share {
    /// Not known: no broker has said which partitions there are.
    Unknown,
    All,
    /// A topic that does not exist, or may not be seen; everything else is ours.
    Missing(String),
    /// Another member has the rest.
    Part(usize),
}

/// A batch that was handed on and may not be durable yet.
struct Pending {
    receipt: oneshot::Receiver<()>,
    generation: u64,
    nexts: Vec<i64>,
}

pub(super) struct Session<'a> {
    kafka: &'a Kafka,
    // Before the consumer, which must outlive its queues.
    assigned: Vec<Assigned>,
    lanes: Vec<Lane<Record>>,
    consumer: Arc<BaseConsumer<Context>>,
    rejects: &'a mut Option<Rejects>,
    generation: u64,
    since: Instant,
    share: Share,
    /// Whether all partitions were ours before: an owner does not give way.
    is_owner: bool,
    pending: VecDeque<Pending>,
    /// Durable, and not yet committed to the group.
    durable: Option<Vec<i64>>,
    group_committed: Instant,
    looked: Instant,
    caught_up: Instant,
    has_news: bool,
    lost: Option<String>,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        kafka: &'a Kafka,
        consumer: Arc<BaseConsumer<Context>>,
        rejects: &'a mut Option<Rejects>,
    ) -> Self {
        let now = clock::monotonic();
        Self {
            kafka,
            assigned: Vec::new(),
            lanes: Vec::new(),
            consumer,
            rejects,
            generation: 0,
            since: now,
            share: Share::Unknown,
            is_owner: false,
            pending: VecDeque::new(),
            durable: None,
            group_committed: now,
            looked: now,
            caught_up: now,
            has_news: false,
            lost: None,
        }
    }

    pub(super) fn run(mut self, outlet: &Outlet) -> Ended {
        let mut pause = Duration::ZERO;
        loop {
            if outlet.is_closed() {
                self.follow_to_the_end();
                return Ended::Stopped;
            }
            self.serve(pause);
            if let Some(ended) = self.heed(outlet) {
                return ended;
            }
            let read = if self.may_read() { self.hand_on() } else { (Vec::new(), Texts::new()) };
            pause = if read.0.is_empty() { PAUSE } else { Duration::ZERO };
            let is_caught_up = self.is_caught_up();
            if (!read.0.is_empty() || is_caught_up) && !self.send(outlet, read, is_caught_up) {
                return Ended::Stopped;
            }
            self.follow();
        }
    }

    /// Serves the client's events. A record comes this way only before its partition had a queue of its own.
    fn serve(&mut self, pause: Duration) {
        let consumer = self.consumer.clone();
        match consumer.poll(pause) {
            Some(Ok(message)) => {
                let at = self
                    .assigned
                    .iter()
                    .position(|ours| ours.at.1 == message.partition() && ours.at.0 == message.topic());
                if let Some(index) = at {
                    let record = self.read(&message);
                    self.arrived(index, record);
                }
            }
            Some(Err(error)) => self.failed(&error),
            None => {}
        }
        if let Some(rejects) = &*self.rejects {
            rejects.serve();
        }
    }

    /// Acts on what the callbacks left. Gives an end where the connection is of no use any more.
    fn heed(&mut self, outlet: &Outlet) -> Option<Ended> {
        let (generation, failed, refused) = {
            let mut heard = self.consumer.context().heard();
            let refused = heard.refused.then(|| heard.trouble.clone().unwrap_or_default());
            (heard.generation, heard.failed.take(), refused)
        };
        let failed = failed.map(|error| format!("where the partitions begin cannot be told: {error}"));
        if let Some(why) = failed.or(refused).or(self.lost.take()) {
            return Some(Ended::Lost(why));
        }
        if generation != self.generation {
            self.generation = generation;
            self.take_over();
            self.learn_share();
        }
        if self.looked.elapsed() >= LOOK_EVERY {
            self.looked = clock::monotonic();
            if !matches!(self.share, Share::All) && !self.assigned.is_empty() {
                self.learn_share();
            }
            self.look();
        }
        let is_new_owner = matches!(self.share, Share::All | Share::Missing(_)) && !self.is_owner;
        if is_new_owner && !self.assigned.is_empty() {
            self.is_owner = true;
            // Where reading begins is stored before anything is read.
            if !self.send(outlet, (Vec::new(), Texts::new()), false) {
                return Some(Ended::Stopped);
            }
        }
        (matches!(self.share, Share::Part(_)) && !self.is_owner).then_some(Ended::Taken)
    }

    /// Gives each assigned partition a queue and a lane.
    fn take_over(&mut self) {
        self.assigned.clear();
        let now = clock::monotonic();
        self.since = now;
        let consumer = self.consumer.clone();
        let partitions = consumer.context().heard().assigned.clone();
        let mut list = TopicPartitionList::new();
        for (topic, partition) in &partitions {
            list.add_partition(topic, *partition);
        }
        // While they rest nothing can arrive on the common queue, so that no record is overtaken by a later one.
        let paused = consumer.pause(&list);
        for at in partitions {
            let next = consumer.context().places().get(&at.0, at.1).unwrap_or(0);
            let queue = consumer.split_partition_queue(&at.0, at.1);
            self.assigned.push(Assigned { at, queue, read: next, next });
        }
        self.lanes = self.assigned.iter().map(|_| Lane::new(now)).collect();
        if let Err(error) = paused.and_then(|()| consumer.resume(&list)) {
            self.lost = Some(format!("the partitions cannot be read: {error}"));
        }
    }

    /// Compares what is ours with what there is.
    fn learn_share(&mut self) {
        if self.generation == 0 {
            return;
        }
        let mut all = 0;
        let mut missing = None;
        for topic in &self.kafka.config.topics {
            let Ok(metadata) = self.consumer.fetch_metadata(Some(topic), METADATA_PATIENCE) else {
                self.share = Share::Unknown;
                return;
            };
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            let partitions = found.map_or(0, |found| found.partitions().len());
            all += partitions;
            if partitions == 0 {
                missing.get_or_insert_with(|| topic.clone());
            }
        }
        self.share = match missing {
            _ if self.assigned.len() < all => Share::Part(all),
            Some(topic) => Share::Missing(topic),
            None => Share::All,
        };
    }

    fn may_read(&self) -> bool {
        self.is_owner && self.lost.is_none()
    }

    fn read(&self, message: &BorrowedMessage<'_>) -> Record {
        Record::read(message, &self.kafka.name, &self.kafka.read, self.rejects.is_some())
    }

    fn arrived(&mut self, index: usize, record: Record) {
        let (Some(ours), Some(lane)) = (self.assigned.get_mut(index), self.lanes.get_mut(index)) else { return };
        // Asked for again after an interruption.
        if record.next <= ours.read {
            return;
        }
        ours.read = record.next;
        lane.push(record.newest, record, clock::monotonic());
    }

    /// Takes the partition's next record, where none of it waits.
    fn pull(&mut self, index: usize) {
        while self.lanes.get(index).is_some_and(|lane| !lane.has_record()) {
            let queue = self.assigned.get(index).and_then(|ours| ours.queue.as_ref());
            let Some(result) = queue.and_then(|queue| queue.poll(Duration::ZERO)) else { return };
            match result.map(|message| self.read(&message)) {
                Ok(record) => self.arrived(index, record),
                Err(KafkaError::PartitionEOF(_)) => {
                    if let Some(lane) = self.lanes.get_mut(index) {
                        lane.ended(clock::monotonic());
                    }
                }
                Err(error) => return self.failed(&error),
            }
        }
    }

    fn failed(&mut self, error: &KafkaError) {
        let is_lost = matches!(error, KafkaError::MessageConsumptionFatal(_))
            // The place is outside of the topic: it is worked out anew when the partitions are assigned again.
            || error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset);
        if is_lost {
            let trouble = self.consumer.context().heard().trouble.clone();
            self.lost = Some(trouble.unwrap_or_else(|| error.to_string()));
        }
    }

    /// Merges what the partitions hold into the inputs of one batch.
    fn hand_on(&mut self) -> (Vec<Input>, Texts) {
        (0..self.lanes.len()).for_each(|index| self.pull(index));
        let now = clock::monotonic();
        let (mut inputs, mut texts) = (Vec::new(), Texts::new());
        let mut records = 0;
        while records < BATCH && inputs.len() < BATCH_INPUTS {
            let Some(index) = merge::next(&self.lanes, now, self.kafka.timing.idle) else { break };
            let Some(record) = self.lanes.get_mut(index).and_then(Lane::take) else { break };
            let Some(ours) = self.assigned.get_mut(index) else { break };
            if let (Some(rejected), Some(rejects)) = (&record.rejected, &mut *self.rejects) {
                rejects.copy(rejected, &ours.at.0, ours.at.1, record.next - 1);
            }
            ours.next = record.next;
            texts.extend(record.texts.into_iter().map(|(at, text)| (inputs.len() + at, text)));
            inputs.extend(record.inputs);
            records += 1;
            self.pull(index);
        }
        if records > 0 {
            Metric::SourceRecords.counter(&[self.kafka.name.as_str()]).increment(records as u64);
            // A tombstone has no inputs, and its place is stored all the same.
            self.has_news = true;
        }
        (inputs, texts)
    }

    /// Hands a batch on; `false` where nobody takes it.
    fn send(&mut self, outlet: &Outlet, (events, texts): (Vec<Input>, Texts), caught_up: bool) -> bool {
        let received = clock::monotonic();
        let source = &self.kafka.name;
        if let Some(rejects) = &mut *self.rejects {
            rejects.settle();
        }
        let now = Some(clock::now());
        let mut inputs = Vec::with_capacity(events.len() + 2);
        inputs.push(Input::Progress { source: source.clone(), now, caught_up: false });
        // The texts are counted from the first event.
        let first = inputs.len();
        let texts = texts.into_iter().map(|(at, text)| (first + at, text)).collect();
        inputs.extend(events);
        if caught_up {
            inputs.push(Input::Progress { source: source.clone(), now, caught_up: true });
            self.caught_up = received;
            self.has_news = false;
        }
        let position = {
            let mut places = self.consumer.context().places();
            self.assigned.iter().for_each(|ours| places.set(&ours.at.0, ours.at.1, ours.next));
            places.position()
        };
        *self.kafka.sent.lock().unwrap_or_else(PoisonError::into_inner) = Some(position.clone());
        let (told, receipt) = oneshot::channel();
        let nexts = self.assigned.iter().map(|ours| ours.next).collect();
        self.pending.push_back(Pending { receipt, generation: self.generation, nexts });
        let batch = Batch {
            source: source.clone(),
            inputs,
            texts,
            position: Some(position),
            received,
            backlog: !caught_up,
            receipt: Some(told),
        };
        outlet.out.blocking_send(batch).is_ok()
    }

    /// Whether it is time to say that everything is read.
    fn is_caught_up(&self) -> bool {
        let due = if self.has_news { LOOK_EVERY } else { IDLE_EVERY };
        let is_due = self.caught_up.elapsed() >= due;
        is_due
            && self.share == Share::All
            && !self.lanes.is_empty()
            && self.lanes.iter().all(Lane::is_done)
            && self.is_served(self.consumer.context().heard().health.as_ref())
    }

    fn is_served(&self, health: Option<&Health>) -> bool {
        health.is_some_and(|health| health.at.elapsed() < STALE && health.served == self.assigned.len())
    }

    /// Commits to the group what has become durable.
    fn follow(&mut self) {
        while let Some(first) = self.pending.front_mut() {
            match first.receipt.try_recv() {
                Err(TryRecvError::Empty) => break,
                Ok(()) if first.generation == self.generation => self.durable = Some(std::mem::take(&mut first.nexts)),
                Ok(()) | Err(TryRecvError::Closed) => {}
            }
            self.pending.pop_front();
        }
        if self.group_committed.elapsed() >= LOOK_EVERY {
            self.commit_to_group();
        }
    }

    fn follow_to_the_end(&mut self) {
        let until = clock::monotonic() + LAST_RECEIPT;
        while !self.pending.is_empty() && clock::monotonic() < until {
            std::thread::sleep(PAUSE);
            self.follow();
        }
        self.commit_to_group();
    }

    fn commit_to_group(&mut self) {
        let Some(nexts) = self.durable.take() else { return };
        self.group_committed = clock::monotonic();
        let mut list = TopicPartitionList::with_capacity(nexts.len());
        for (ours, next) in self.assigned.iter().zip(nexts) {
            // An offset can only be refused for being negative, which none is.
            let _ = list.add_partition_offset(&ours.at.0, ours.at.1, Offset::Offset(next));
        }
        if let Err(error) = self.consumer.commit(&list, CommitMode::Async) {
            tracing::debug!(source = %self.kafka.name, %error, "the group was not told how far it is read");
        }
    }

    /// Says how it fares.
    fn look(&mut self) {
        let (health, trouble) = {
            let heard = self.consumer.context().heard();
            (heard.health.clone(), heard.trouble.clone())
        };
        let source = self.kafka.name.as_str();
        if let Some(health) = &health {
            for ours in &self.assigned {
                let (topic, partition) = (ours.at.0.as_str(), ours.at.1.to_string());
                let labels = [source, topic, &partition];
                Metric::KafkaPosition.gauge(&labels).set(ours.next as f64);
                if let Some(end) = health.ends.get(&ours.at) {
                    Metric::KafkaLag.gauge(&labels).set((end - ours.next).max(0) as f64);
                }
            }
        }
        let all = self.assigned.len();
        let group = &self.kafka.config.group;
        let why = match &self.share {
            _ if all == 0 => trouble.unwrap_or_else(|| format!("joining the group `{group}`")),
            Share::Part(there) => {
                format!("another member of group `{group}` has {} of {there} partitions", there.saturating_sub(all))
            }
            Share::Missing(topic) => format!("the topic `{topic}` is not there, or may not be seen"),
            Share::All if self.is_served(health.as_ref()) => {
                self.consumer.context().heard().trouble = None;
                Metric::SourceLastSuccess.gauge(&[source]).set(clock::now().0 as f64 / 1_000.0);
                if self.kafka.condition.ok() {
                    tracing::info!(source, partitions = all, "source delivers");
                }
                return;
            }
            Share::Unknown | Share::All => {
                let served = health.map_or(0, |health| health.served);
                trouble.unwrap_or_else(|| format!("the brokers of {} of {all} partitions do not answer", all - served))
            }
        };
        if (all == 0 || self.since.elapsed() >= GRACE) && self.kafka.condition.failing(&why) {
            tracing::warn!(source, "source cannot read: {why}");
        }
    }
}
