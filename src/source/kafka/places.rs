//! Where each partition is read next: the stored position, and the offset of a partition that has none.
//!
//! A place is an offset and never a word such as `latest`: it is worked out once, stored before anything is read, and
//! a restart begins there. A stored offset that the topic no longer holds is a gap: it is counted, and reading goes on
//! at the first record that is kept.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};

use super::config::Start;
use super::member::Context;
use crate::clock;
use crate::source::Position;

/// How long a broker may take to say where a partition begins and ends.
const PATIENCE: Duration = Duration::from_secs(10);

/// The next offset of each partition, by topic.
type Topics = BTreeMap<String, BTreeMap<i32, i64>>;

/// The places of all partitions.
#[derive(Clone, Debug)]
pub(super) struct Places {
    member: u64,
    topics: Topics,
    start: Start,
}

/// Why records may be missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Gap {
    /// The next record was deleted by the topic's retention before it was read.
    Expired,
    /// The topic ends before the place: it was made anew, or lost its end.
    Ahead,
    /// The stored position is of another kind of source.
    OtherPosition,
}

impl Gap {
    /// The word in metrics.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Expired => "offset_expired",
            Self::Ahead => "offset_ahead",
            Self::OtherPosition => "other_position",
        }
    }

    /// The sentence in the log.
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::Expired => "the topic no longer keeps the next record; reading goes on at the first that it keeps",
            Self::Ahead => "the topic ends before the stored offset; reading begins at its first record",
            Self::OtherPosition => "the stored position is of another kind of source; reading begins by `start`",
        }
    }
}

impl Places {
    /// The places of a stored position. `member` is the identity in the group of a source that has none stored.
    pub(super) fn resume(position: Option<Position>, start: Start, member: u64) -> (Self, Option<Gap>) {
        let (member, topics, gap) = match position {
            Some(Position::Kafka { member, topics }) => (member, topics, None),
            Some(Position::Okta { .. } | Position::File { .. }) => (member, Topics::new(), Some(Gap::OtherPosition)),
            None => (member, Topics::new(), None),
        };
        (Self { member, topics, start }, gap)
    }

    /// What the broker knows this process by, restart after restart.
    pub(super) fn member(&self) -> String {
        format!("authwatch-{:016x}", self.member)
    }

    /// For the checkpoint.
    pub(super) fn position(&self) -> Position {
        Position::Kafka { member: self.member, topics: self.topics.clone() }
    }

    /// The next offset of a partition.
    pub(super) fn get(&self, topic: &str, partition: i32) -> Option<i64> {
        self.topics.get(topic)?.get(&partition).copied()
    }

    /// Everything before `next` is handed on.
    pub(super) fn set(&mut self, topic: &str, partition: i32, next: i64) {
        match self.topics.get_mut(topic) {
            Some(partitions) => drop(partitions.insert(partition, next)),
            None => drop(self.topics.insert(topic.to_owned(), BTreeMap::from([(partition, next)]))),
        }
    }

    /// Puts the place of each partition into the list, working out those that are not known and those that the topic
    /// no longer holds. A partition whose broker does not answer is read on at its place; if that is no longer there,
    /// the client says so later. Nothing changes where a place that is not known cannot be worked out.
    pub(super) fn place(
        &mut self,
        consumer: &impl Consumer<Context>,
        assigned: &mut TopicPartitionList,
    ) -> KafkaResult<Vec<Gap>> {
        let partitions: Vec<_> = assigned.elements().iter().map(|at| (at.topic().to_owned(), at.partition())).collect();
        let mut gaps = Vec::new();
        let mut found = Vec::new();
        // The group waits for the answer to a rebalance, so that silence is waited for once.
        let mut is_answered = true;
        for (topic, partition) in partitions {
            let known = self.get(&topic, partition);
            let bounds = match known {
                Some(_) if !is_answered => None,
                Some(_) => consumer.fetch_watermarks(&topic, partition, PATIENCE).ok(),
                None => Some(consumer.fetch_watermarks(&topic, partition, PATIENCE)?),
            };
            is_answered &= bounds.is_some();
            let next = match (known, bounds) {
                (Some(next), None) => next,
                (Some(next), Some((low, high))) => {
                    let gap = gap(next, low, high);
                    gaps.extend(gap);
                    gap.map_or(next, |_| low)
                }
                // Every record of a partition that came later is new.
                (None, Some((low, _))) if self.topics.contains_key(&topic) => low,
                (None, Some(bounds)) => self.begin(consumer, &topic, partition, bounds)?,
                (None, None) => continue,
            };
            found.push((topic, partition, next));
        }
        for (topic, partition, next) in found {
            assigned.set_partition_offset(&topic, partition, Offset::Offset(next))?;
            self.set(&topic, partition, next);
        }
        Ok(gaps)
    }

    /// Where a partition of a new topic begins.
    fn begin(
        &self,
        consumer: &impl Consumer<Context>,
        topic: &str,
        partition: i32,
        (low, high): (i64, i64),
    ) -> KafkaResult<i64> {
        let mut asked = TopicPartitionList::new();
        let answer = match self.start {
            Start::Earliest => return Ok(low),
            Start::Latest => return Ok(high),
            Start::Committed => {
                asked.add_partition(topic, partition);
                consumer.committed_offsets(asked, PATIENCE)?
            }
            Start::Ago(span) => {
                asked.add_partition_offset(topic, partition, Offset::Offset((clock::now() - span).0.max(0)))?;
                consumer.offsets_for_times(asked, PATIENCE)?
            }
        };
        let answer = answer.find_partition(topic, partition);
        Ok(match answer.map(|answer| answer.error().map(|()| answer.offset())).transpose()? {
            Some(Offset::Offset(next)) => next.clamp(low, high),
            // No record is as new as that.
            _ if matches!(self.start, Start::Ago(_)) => high,
            _ => low,
        })
    }
}

fn gap(next: i64, low: i64, high: i64) -> Option<Gap> {
    if next < low {
        Some(Gap::Expired)
    } else if next > high {
        Some(Gap::Ahead)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_outside_of_the_topic_is_a_gap() {
        for (next, expect) in [(4, Some(Gap::Expired)), (5, None), (7, None), (9, None), (10, Some(Gap::Ahead))] {
            assert_eq!(gap(next, 5, 9), expect, "{next}");
        }
    }

    #[test]
    fn a_stored_position_comes_back_with_its_member() {
        let (mut places, gap) = Places::resume(None, Start::Earliest, 7);
        places.set("a", 1, 40);
        places.set("a", 0, 2);
        assert_eq!((gap, places.member().as_str()), (None, "authwatch-0000000000000007"));
        let (again, gap) = Places::resume(Some(places.position()), Start::Latest, 8);
        assert_eq!((gap, again.position()), (None, places.position()));
        assert_eq!((again.get("a", 1), again.get("a", 2), again.get("b", 0)), (Some(40), None, None));
        let other = Position::File { files_done: 0, records_done: 0 };
        assert_eq!(Places::resume(Some(other), Start::Latest, 8).1, Some(Gap::OtherPosition));
    }
}
