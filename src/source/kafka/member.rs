//! What librdkafka calls back: partitions that come and go, its statistics, its errors and its log.
//!
//! A rebalance is answered here, at once: partitions that come are sought to their places before anything is read from
//! them. Statistics come every second and are what health and lag are told by.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Statistics, TopicPartitionList};

use super::places::{Gap, Places};
use crate::clock;
use crate::event::SourceName;
use crate::telemetry::metric::Metric;

/// A broker that has been silent for longer does not serve: an idle one answers a fetch several times a second.
const SILENT_MICROS: i64 = 5_000_000;

/// A partition, by topic and number.
pub(super) type Partition = (String, i32);

/// What the callbacks leave for the reader.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Rises with every rebalance.
    pub(super) generation: u64,
    /// The partitions that are ours.
    pub(super) assigned: Vec<Partition>,
    /// Why the partitions could not be placed.
    pub(super) failed: Option<KafkaError>,
    /// The newest error of the client, in words.
    pub(super) trouble: Option<String>,
    /// Whether the brokers refuse who we are.
    pub(super) refused: bool,
    /// The newest statistics.
    pub(super) health: Option<Health>,
}

/// What the statistics say of our partitions.
#[derive(Clone, Debug)]
pub(super) struct Health {
    /// When they came.
    pub(super) at: Instant,
    /// The end of each partition: the offset after its newest record.
    pub(super) ends: BTreeMap<Partition, i64>,
    /// Partitions whose broker answers.
    pub(super) served: usize,
}

/// The receiver of callbacks, one for each connection.
pub(super) struct Context {
    source: SourceName,
    places: Arc<Mutex<Places>>,
    heard: Mutex<Heard>,
}

impl Context {
    pub(super) fn new(source: SourceName, places: Arc<Mutex<Places>>) -> Self {
        Self { source, places, heard: Mutex::default() }
    }

    /// What was heard, to be read and taken.
    pub(super) fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The places of all partitions.
    pub(super) fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_over(&self, consumer: &BaseConsumer<Self>, list: &mut TopicPartitionList) -> KafkaResult<()> {
        let gaps = self.places().place(consumer, list)?;
        gaps.into_iter().for_each(|gap| report_gap(&self.source, gap));
        consumer.assign(list)
    }
}

/// Counts and logs a gap.
pub(super) fn report_gap(source: &SourceName, gap: Gap) {
    Metric::SourceGaps.counter(&[source.as_str(), gap.label()]).increment(1);
    tracing::warn!(%source, cause = gap.label(), "events may be missing: {}", gap.message());
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, list: &mut TopicPartitionList) {
        Metric::KafkaRebalances.counter(&[self.source.as_str()]).increment(1);
        let comes = kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let done = if comes { self.take_over(consumer, list) } else { consumer.unassign() };
        let mut heard = self.heard();
        heard.generation += 1;
        heard.assigned.clear();
        heard.health = None;
        match done {
            Ok(()) if comes => {
                heard.assigned = list.elements().iter().map(|at| (at.topic().to_owned(), at.partition())).collect();
                heard.assigned.sort();
            }
            Ok(()) => {}
            Err(error) => {
                // The group must be answered all the same; the reader gives the connection up.
                let _ = consumer.unassign();
                heard.failed = Some(error);
            }
        }
        tracing::info!(source = %self.source, partitions = heard.assigned.len(), "partitions of the group assigned");
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        let outcome = if result.is_ok() { "ok" } else { "failed" };
        Metric::KafkaGroupCommits.counter(&[self.source.as_str(), outcome]).increment(1);
        if let Err(error) = result {
            // Nothing depends on it, and the next one says it all again.
            tracing::debug!(source = %self.source, %error, "group commit failed");
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters of it comes as an error too, and decides readiness.
        tracing::debug!(source = %self.source, ?level, facility, "librdkafka: {message}");
    }

    fn stats(&self, statistics: Statistics) {
        let mut heard = self.heard();
        heard.health = Some(health(&statistics, &heard.assigned, clock::monotonic()));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        if code == RDKafkaErrorCode::PartitionEOF {
            return;
        }
        tracing::debug!(source = %self.source, ?code, "librdkafka: {reason}");
        let mut heard = self.heard();
        heard.refused |= code == RDKafkaErrorCode::Authentication;
        heard.trouble = Some(words(code, reason));
    }
}

/// An error of the client as an operator should read it.
fn words(code: RDKafkaErrorCode, reason: &str) -> String {
    match code {
        RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve => {
            "no broker can be reached (check `brokers`, name resolution, network and `security.protocol`)".to_owned()
        }
        RDKafkaErrorCode::SSL => format!("TLS with a broker failed (check `security`): {reason}"),
        RDKafkaErrorCode::Authentication => {
            "the brokers refuse the user (check `security.sasl` and the password)".to_owned()
        }
        RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => {
            "a topic is not there, or may not be seen (check `topics`)".to_owned()
        }
        RDKafkaErrorCode::TopicAuthorizationFailed => {
            "the user may not read a topic (grant it READ and DESCRIBE)".to_owned()
        }
        RDKafkaErrorCode::GroupAuthorizationFailed => "the user may not use the group (grant it READ)".to_owned(),
        RDKafkaErrorCode::FencedInstanceId => {
            "the place in the group is taken (after a restart of the brokers this passes; else another process runs on a copy of this state: stop one of them)".to_owned()
        }
        other => format!("the broker or the client reports: {other}"),
    }
}

#[expect(clippy::disallowed_methods, reason = "looks for the one broker of a number; their order says nothing")]
fn health(statistics: &Statistics, assigned: &[Partition], at: Instant) -> Health {
    let answers = |broker: i32| {
        // A partition without a broker has the number of those that are only known by their address.
        let mut brokers = statistics.brokers.values().filter(|other| other.nodeid >= 0 && other.state == "UP");
        brokers.find(|other| other.nodeid == broker).map(|broker| broker.rxidle)
    };
    let mut health = Health { at, ends: BTreeMap::new(), served: 0 };
    for (topic, number) in assigned {
        let partition = statistics.topics.get(topic).and_then(|topic| topic.partitions.get(number));
        let Some(partition) = partition else { continue };
        let end = if partition.ls_offset >= 0 { partition.ls_offset } else { partition.hi_offset };
        if end >= 0 {
            health.ends.insert((topic.clone(), *number), end);
        }
        // Where enough waits here already, nothing is asked for.
        let is_recent = |idle| partition.fetchq_cnt > 0 || (0..SILENT_MICROS).contains(&idle);
        health.served += usize::from(answers(partition.broker).is_some_and(is_recent));
    }
    health
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics(state: &str, rxidle: i64, fetchq: i64, ends: (i64, i64)) -> Statistics {
        of_broker(1, state, rxidle, fetchq, ends)
    }

    fn of_broker(number: i32, state: &str, rxidle: i64, fetchq: i64, ends: (i64, i64)) -> Statistics {
        let mut statistics = Statistics::default();
        let broker = rdkafka::statistics::Broker { nodeid: number, state: state.into(), rxidle, ..Default::default() };
        statistics.brokers.insert("b".into(), broker);
        let (ls_offset, hi_offset) = ends;
        let partition = rdkafka::statistics::Partition {
            broker: number,
            fetchq_cnt: fetchq,
            ls_offset,
            hi_offset,
            ..Default::default()
        };
        let mut topic = rdkafka::statistics::Topic::default();
        topic.partitions.insert(3, partition);
        statistics.topics.insert("t".into(), topic);
        statistics
    }

    #[track_caller]
    fn check(statistics: &Statistics, served: usize, end: Option<i64>) {
        let ours = [("t".to_owned(), 3), ("t".to_owned(), 4)];
        let health = health(statistics, &ours, clock::monotonic());
        assert_eq!((health.served, health.ends.get(&ours[0]).copied()), (served, end));
    }

    #[test]
    fn a_partition_is_served_while_its_broker_answers_or_records_wait() {
        check(&statistics("UP", 200_000, 0, (7, 9)), 1, Some(7));
        check(&statistics("UP", 200_000, 0, (-1001, 9)), 1, Some(9));
        check(&statistics("UP", 5_000_000, 0, (7, 7)), 0, Some(7));
        check(&statistics("UP", 5_000_000, 1, (7, 7)), 1, Some(7));
        check(&statistics("DOWN", 200_000, 1, (7, 7)), 0, Some(7));
        check(&of_broker(-1, "UP", 200_000, 0, (7, 7)), 0, Some(7));
        check(&statistics("UP", -1, 0, (-1001, -1001)), 0, None);
    }
}
