//! What `check` asks of the brokers: the topics, their first and last offsets, and the group.
//!
//! Joins no group, commits nothing and writes nothing.

use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;

use super::client::Passwords;
use super::config::Config;
use crate::event::SourceName;
use crate::secret::Secrets;
use crate::telemetry::preflight::{Finding, Findings, Verdict};

/// How long each question may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Checks what a source needs of its brokers.
pub async fn check(config: &Config, name: &SourceName, secrets: &Secrets) -> Vec<Finding> {
    let mut findings = Findings::of(name.as_str());
    match config.passwords(secrets).await {
        Ok(passwords) => {
            let config = config.clone();
            // The client blocks.
            let asked = tokio::task::spawn_blocking(move || {
                ask_all(&config, &passwords, &mut findings);
                findings
            });
            match asked.await {
                Ok(findings) => findings.into_vec(),
                Err(error) => {
                    let mut findings = Findings::of(name.as_str());
                    findings.add("brokers", Verdict::Failed, format!("the client ended abnormally: {error}"));
                    findings.into_vec()
                }
            }
        }
        Err(error) => {
            findings.add("brokers", Verdict::Failed, format!("a password cannot be read: {error}"));
            findings.into_vec()
        }
    }
}

fn ask_all(config: &Config, passwords: &Passwords, findings: &mut Findings) {
    let consumer: BaseConsumer = match config.consumer("authwatch-check", passwords).create() {
        Ok(consumer) => consumer,
        Err(error) => return findings.add("brokers", Verdict::Failed, format!("the settings are refused: {error}")),
    };
    // Asks for no topic by name, so that a missing right on one of them is not taken for unreachable brokers.
    let brokers = match consumer.fetch_metadata(None, PATIENCE) {
        Ok(metadata) => metadata.brokers().len(),
        Err(error) => {
            let fix =
                "(check `brokers` and `security`; the brokers' administrator knows addresses, user and certificates)";
            return findings.add("brokers", Verdict::Failed, format!("cannot be asked: {error} {fix}"));
        }
    };
    findings.add("brokers", Verdict::Ok, format!("{brokers} known to `{}`", config.brokers.join(",")));
    let mut known = TopicPartitionList::new();
    for topic in &config.topics {
        let check = format!("topic {topic}");
        findings.judge(check, partitions(&consumer, topic, config, &mut known));
    }
    if let Some(topic) = &config.reject_topic {
        let detail = topic_partitions(&consumer, topic).map(|count| format!("{count} partitions; WRITE is not tried"));
        findings.judge(format!("reject topic {topic}"), detail);
    }
    let group = consumer.committed_offsets(known, PATIENCE);
    let of_group = format!("an administrator grants READ on group `{}`", config.group);
    findings.judge(
        format!("group {}", config.group),
        group.map(|_| "offsets readable".to_owned()).map_err(|error| format!("{error} ({of_group})")),
    );
}

/// Describes a topic, which shows DESCRIBE; its offsets show READ.
fn partitions(
    consumer: &BaseConsumer,
    topic: &str,
    config: &Config,
    known: &mut TopicPartitionList,
) -> Result<String, String> {
    let count = topic_partitions(consumer, topic)?;
    let mut records = 0;
    for partition in 0..count {
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        let marks = consumer.fetch_watermarks(topic, partition, PATIENCE);
        let (low, high) = marks.map_err(|error| {
            format!(
                "partition {partition}: {error} (an administrator grants READ on the topic to the user of `{}`)",
                config.group
            )
        })?;
        records += (high - low).max(0);
        known.add_partition(topic, partition);
    }
    Ok(format!("{count} partitions with about {records} records"))
}

fn topic_partitions(consumer: &BaseConsumer, topic: &str) -> Result<usize, String> {
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).map_err(|error: KafkaError| error.to_string())?;
    let described = metadata.topics().iter().find(|described| described.name() == topic);
    match described.map(|described| (described.error(), described.partitions().len())) {
        Some((None, count)) if count > 0 => Ok(count),
        Some((Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED), _)) => {
            Err("may not be described (an administrator grants DESCRIBE and READ on it)".to_owned())
        }
        Some((Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART), _)) | None => {
            Err("does not exist, or may not be described (check `topics`)".to_owned())
        }
        Some((error, _)) => Err(format!("cannot be described: {error:?}")),
    }
}
