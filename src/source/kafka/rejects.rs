//! Records that could not become an event, copied to a topic where somebody can look at them.
//!
//! The copy has the key and value as they were, and headers that say where the record stood and what was wrong. It is
//! handed to the brokers before the position passes the record, and waited for a few seconds; what cannot be delivered
//! in five minutes, or at all before the process ends, is counted and never holds up the reading.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use crate::event::{Reject, SourceName};
use crate::telemetry::metric::Metric;

/// How long a batch waits for the copies of its rejects.
const PATIENCE: Duration = Duration::from_secs(5);

/// One record as it came.
#[derive(Debug)]
pub(super) struct Rejected {
    pub(super) reason: Reject,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Vec<u8>,
}

/// The producer.
pub(super) struct Rejects {
    source: SourceName,
    topic: String,
    producer: BaseProducer<Deliveries>,
    /// Copies were handed over that nobody has waited for.
    is_new: bool,
    /// The topic did not take them in time: it is not waited for again until it has.
    is_behind: bool,
}

/// Counts what became of the copies.
struct Deliveries {
    source: SourceName,
    /// Copies that failed since this was last told.
    failed: AtomicU64,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(source = %self.source, ?level, facility, "librdkafka: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(source = %self.source, %error, "librdkafka: {reason}");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.count(result.as_ref().map(|_| ()).map_err(|(error, _)| error));
    }
}

impl Deliveries {
    fn count(&self, result: Result<(), &KafkaError>) {
        let outcome = if result.is_ok() { "ok" } else { "failed" };
        Metric::KafkaRejectCopies.counter(&[self.source.as_str(), outcome]).increment(1);
        if let Err(error) = result {
            self.failed.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(source = %self.source, %error, "a rejected record was not copied");
        }
    }
}

impl Rejects {
    /// A producer for the topic; connects in the background.
    pub(super) fn new(client: &rdkafka::ClientConfig, source: SourceName, topic: String) -> KafkaResult<Self> {
        let producer = client.create_with_context(Deliveries { source: source.clone(), failed: AtomicU64::new(0) })?;
        Ok(Self { source, topic, producer, is_new: false, is_behind: false })
    }

    /// Hands over a copy of the record that stood at `offset`.
    pub(super) fn copy(&mut self, rejected: &Rejected, topic: &str, partition: i32, offset: i64) {
        let (partition, offset) = (partition.to_string(), offset.to_string());
        let headers = [
            ("authwatch.topic", topic),
            ("authwatch.partition", &partition),
            ("authwatch.offset", &offset),
            ("authwatch.reason", rejected.reason.as_str()),
        ];
        let headers = headers
            .into_iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
        let mut record = BaseRecord::to(&self.topic).payload(&rejected.value).headers(headers);
        if let Some(key) = &rejected.key {
            record = record.key(key);
        }
        match self.producer.send(record) {
            Ok(()) => self.is_new = true,
            Err((error, _)) => self.producer.context().count(Err(&error)),
        }
        self.producer.poll(Duration::ZERO);
    }

    /// Waits a little for the copies under way; not again where the last wait was in vain.
    pub(super) fn settle(&mut self) {
        if !self.is_new {
            return;
        }
        self.is_new = false;
        let patience = if self.is_behind { Duration::ZERO } else { PATIENCE };
        self.is_behind = self.producer.flush(patience).is_err();
        if self.is_behind {
            tracing::debug!(source = %self.source, "copies of rejected records are still under way");
        }
        let failed = self.producer.context().failed.swap(0, Ordering::Relaxed);
        if failed > 0 {
            tracing::warn!(source = %self.source, failed, "rejected records were not copied to the reject topic");
        }
    }

    /// Waits a little for all copies, whatever came of the last wait.
    pub(super) fn finish(&self) {
        let _ = self.producer.flush(PATIENCE);
    }

    /// Hears of what became of the copies.
    pub(super) fn serve(&self) {
        self.producer.poll(Duration::ZERO);
    }
}
