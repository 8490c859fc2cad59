//! Who was refused, and when last: one entry a person answers "how many distinct people" for every window at once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Merge;
use crate::event::{Span, Timestamp};

/// Person → last time, for [`LastSeen::REACH`]. Merging keeps the later time, so a repeated event changes nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LastSeen {
    people: BTreeMap<u64, Timestamp>,
}

impl LastSeen {
    /// How far back a window may look.
    pub const REACH: Span = Span::hours(4);
    /// People kept; beyond it the count is a lower bound, which is far above what any judge needs to fire.
    pub const CAPACITY: usize = 4_096;

    /// Notes the person at `at` and returns the time before, if there is one in reach.
    pub fn note(&mut self, person: u64, at: Timestamp) -> Option<Timestamp> {
        let before = self.people.get(&person).copied();
        if before.is_none() && self.people.len() >= Self::CAPACITY {
            return None;
        }
        let last = self.people.entry(person).or_insert(at);
        *last = at.max(*last);
        before
    }

    /// Takes back a note, where the person's last time is just that.
    pub fn take_back(&mut self, person: u64, at: Timestamp) {
        if self.people.get(&person) == Some(&at) {
            self.people.remove(&person);
        }
    }

    /// Forgets a person.
    pub fn forget(&mut self, person: u64) {
        self.people.remove(&person);
    }

    /// Distinct people in (`from`, `to`].
    pub fn count(&self, from: Timestamp, to: Timestamp) -> u32 {
        self.people.values().filter(|at| **at > from && **at <= to).count() as u32
    }

    /// The people in (`from`, `to`], in the order of their hashes.
    pub fn people(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = u64> {
        self.people.iter().filter(move |(_, at)| **at > from && **at <= to).map(|(person, _)| *person)
    }

    /// Drops what no window can reach any more.
    pub fn expire(&mut self, now: Timestamp) {
        self.people.retain(|_, at| *at > now - Self::REACH);
    }

    /// Whether nobody is left.
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }
}

impl Merge for LastSeen {
    fn merge(&mut self, other: &Self) {
        for (person, at) in &other.people {
            self.note(*person, *at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_hundred_retries_are_one_person() {
        let mut seen = LastSeen::default();
        (0..500).for_each(|n| {
            seen.note(7, Timestamp(n * 1_000));
        });
        assert_eq!(seen.count(Timestamp(-1), Timestamp(600_000)), 1);
        assert_eq!(seen.count(Timestamp(499_000), Timestamp(600_000)), 0);
    }

    #[test]
    fn a_person_taken_back_is_gone_unless_refused_again() {
        let mut seen = LastSeen::default();
        seen.note(7, Timestamp(1));
        seen.note(7, Timestamp(2));
        seen.take_back(7, Timestamp(1));
        assert_eq!(seen.count(Timestamp(0), Timestamp(9)), 1);
        seen.take_back(7, Timestamp(2));
        assert!(seen.is_empty());
    }

    #[test]
    fn the_capacity_is_held() {
        let mut seen = LastSeen::default();
        (0..5_000u64).for_each(|person| {
            seen.note(person, Timestamp(1));
        });
        assert_eq!(seen.count(Timestamp(0), Timestamp(1)) as usize, LastSeen::CAPACITY);
    }
}
