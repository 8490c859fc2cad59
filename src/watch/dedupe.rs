//! Which records were seen before (invariant 5).

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use serde::{Deserialize, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

use crate::event::{AuthEvent, EventId, Span, Timestamp};

/// How long an id is remembered, by the watermark: far longer than the longest re-read. Not by the server's clock, which
/// runs on while a source is away: what comes first after a long absence may repeat what came last before it.
const HORIZON: Span = Span::hours(2);

/// The ids are hashes already.
#[derive(Default)]
struct Passthrough(u64);

impl Hasher for Passthrough {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }

    fn write_u128(&mut self, value: u128) {
        self.0 = value as u64 ^ (value >> 64) as u64;
    }
}

type Set = HashSet<u128, BuildHasherDefault<Passthrough>>;
type Counter = HashMap<u64, u32, BuildHasherDefault<Passthrough>>;

/// What a record is to what was seen before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Novelty {
    /// Never seen.
    New,
    /// The same org, `uuid`, `published` and `eventType` as one before; without a `uuid`, the same text.
    Duplicate,
    /// A `uuid` that another event had: both are kept.
    UuidConflict,
}

/// The memory of ids, at most `capacity`; at the limit the oldest is forgotten early.
#[derive(Deserialize)]
#[serde(from = "Stored")]
pub(super) struct Dedupe {
    capacity: usize,
    queue: VecDeque<(Timestamp, EventId, u64)>,
    ids: Set,
    uuids: Counter,
}

#[derive(Deserialize)]
struct Stored {
    capacity: usize,
    queue: VecDeque<(Timestamp, EventId, u64)>,
}

impl From<Stored> for Dedupe {
    fn from(stored: Stored) -> Self {
        let ids = stored.queue.iter().map(|(_, id, _)| id.0).collect();
        let mut uuids = Counter::default();
        stored.queue.iter().for_each(|(_, _, uuid)| *uuids.entry(*uuid).or_default() += 1);
        Self { capacity: stored.capacity, queue: stored.queue, ids, uuids }
    }
}

impl Serialize for Dedupe {
    /// As [`Stored`], without a copy.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.capacity, &self.queue).serialize(serializer)
    }
}

impl Clone for Dedupe {
    fn clone(&self) -> Self {
        Stored { capacity: self.capacity, queue: self.queue.clone() }.into()
    }
}

impl Dedupe {
    pub(super) fn new(capacity: u32) -> Self {
        Self { capacity: capacity as usize, queue: VecDeque::new(), ids: Set::default(), uuids: Counter::default() }
    }

    pub(super) fn set_capacity(&mut self, capacity: u32) {
        self.capacity = capacity as usize;
    }

    /// Looks an event up and remembers it until the watermark has passed it, and what it is now, by the horizon. The
    /// flag says that another had to be forgotten early for it.
    pub(super) fn meet(&mut self, event: &AuthEvent, watermark: Timestamp) -> (Novelty, bool) {
        self.expire(watermark);
        if !self.ids.insert(event.id.0) {
            return (Novelty::Duplicate, false);
        }
        let uuid =
            if event.uuid.is_empty() { event.id.0 as u64 } else { xxh3_64(event.uuid.to_ascii_lowercase().as_bytes()) };
        let holders = self.uuids.entry(uuid).or_default();
        *holders += 1;
        let novelty = if *holders == 1 { Novelty::New } else { Novelty::UuidConflict };
        self.queue.push_back((event.published.map_or(watermark, |published| published.max(watermark)), event.id, uuid));
        let is_over = self.queue.len() > self.capacity;
        if is_over {
            self.forget_oldest();
        }
        (novelty, is_over)
    }

    /// Forgets what is older than the horizon. What was met before any clock was heard of, such as the undated head
    /// of a file, is remembered from the first time that is heard.
    fn expire(&mut self, watermark: Timestamp) {
        for (from, ..) in self.queue.iter_mut().take_while(|(from, ..)| *from == Timestamp::MIN) {
            *from = watermark;
        }
        while self.queue.front().is_some_and(|(from, _, _)| *from + HORIZON < watermark) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id, uuid)) = self.queue.pop_front() {
            self.ids.remove(&id.0);
            if let Some(holders) = self.uuids.get_mut(&uuid) {
                *holders -= 1;
                if *holders == 0 {
                    self.uuids.remove(&uuid);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::testing::{event, undated};

    fn meet(dedupe: &mut Dedupe, uuid: &str, published: i64, watermark: i64) -> Novelty {
        dedupe.meet(&event(uuid, published), Timestamp(watermark * 1_000)).0
    }

    #[test]
    fn the_same_record_is_a_duplicate_for_two_hours() {
        let mut dedupe = Dedupe::new(100);
        assert_eq!(meet(&mut dedupe, "a", 1, 0), Novelty::New);
        assert_eq!(meet(&mut dedupe, "A", 1, 7_200), Novelty::Duplicate);
        assert_eq!(meet(&mut dedupe, "a", 2, 7_200), Novelty::UuidConflict);
        assert_eq!(meet(&mut dedupe, "a", 1, 7_201), Novelty::UuidConflict);
    }

    #[test]
    fn what_was_met_before_any_clock_is_remembered_from_the_first_time_heard() {
        let mut dedupe = Dedupe::new(100);
        let undated = undated(event("a", 1));
        assert_eq!(dedupe.meet(&undated, Timestamp::MIN).0, Novelty::New);
        assert_eq!(meet(&mut dedupe, "b", 1, 1_000_000), Novelty::New);
        assert_eq!(dedupe.meet(&undated, Timestamp(1_007_200_000)).0, Novelty::Duplicate);
        assert_eq!(dedupe.meet(&undated, Timestamp(1_007_200_001)).0, Novelty::New);
    }

    #[test]
    fn the_capacity_is_held_and_reported() {
        let mut dedupe = Dedupe::new(2);
        for uuid in ["a", "b"] {
            assert!(!dedupe.meet(&event(uuid, 1), Timestamp(0)).1);
        }
        assert!(dedupe.meet(&event("c", 1), Timestamp(0)).1);
        assert_eq!(meet(&mut dedupe, "a", 1, 0), Novelty::New);
    }

    #[test]
    fn the_memory_survives_storing() {
        let mut dedupe = Dedupe::new(100);
        meet(&mut dedupe, "a", 1, 0);
        let bytes = postcard::to_stdvec(&dedupe).expect("encode");
        let mut stored: Dedupe = postcard::from_bytes(&bytes).expect("decode");
        assert_eq!(meet(&mut stored, "a", 1, 1), Novelty::Duplicate);
    }
}
