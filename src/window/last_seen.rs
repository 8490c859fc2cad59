//! Who was refused, and when last: one entry a person answers "how many distinct people" for every window at once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Merge;
use crate::event::{Span, Timestamp};

/// When a person was last refused, and when the run of refusals began that this one belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
struct Seen {
    last: Timestamp,
    began: Timestamp,
}

/// Person → last time, for [`LastSeen::REACH`]. Merging keeps the later time, so a repeated event changes nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LastSeen {
    people: BTreeMap<u64, Seen>,
}

impl LastSeen {
    /// How far back a window may look.
    pub const REACH: Span = Span::hours(4);
    /// People kept; beyond it the count is a lower bound, which is far above what any judge needs to fire.
    pub const CAPACITY: usize = 4_096;
    /// A person counts again as an episode after this long.
    pub const EPISODE: Span = Span::hours(1);

    /// Notes the person at `at`. Returns whether that begins an episode.
    pub fn note(&mut self, person: u64, at: Timestamp) -> bool {
        match self.people.get_mut(&person) {
            Some(seen) => {
                let is_new = at - seen.last >= Self::EPISODE;
                if is_new {
                    seen.began = at;
                }
                seen.last = seen.last.max(at);
                is_new
            }
            None => {
                let has_room = self.people.len() < Self::CAPACITY;
                if has_room {
                    self.people.insert(person, Seen { last: at, began: at });
                }
                has_room
            }
        }
    }

    /// Takes back a note, where the person's last time is just that. Returns whether an episode is undone with it; an
    /// episode that began earlier stays, at its beginning.
    pub fn take_back(&mut self, person: u64, at: Timestamp) -> bool {
        match self.people.get_mut(&person) {
            Some(seen) if seen.last == at && seen.began < at => {
                seen.last = seen.began;
                false
            }
            Some(seen) if seen.last == at => {
                self.people.remove(&person);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Forgets a person.
    pub fn forget(&mut self, person: u64) {
        self.people.remove(&person);
    }

    /// Distinct people in (`from`, `to`].
    pub fn count(&self, from: Timestamp, to: Timestamp) -> u32 {
        let [count] = self.counts([from], to);
        count
    }

    /// Distinct people in (`from`, `to`] for every `from`, in one pass.
    pub fn counts<const N: usize>(&self, from: [Timestamp; N], to: Timestamp) -> [u32; N] {
        let mut counts = [0; N];
        for seen in self.people.values().filter(|seen| seen.last <= to) {
            for (count, from) in counts.iter_mut().zip(&from) {
                *count += u32::from(seen.last > *from);
            }
        }
        counts
    }

    /// The people in (`from`, `to`], in the order of their hashes.
    pub fn people(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = u64> {
        let inside = move |seen: &Seen| seen.last > from && seen.last <= to;
        self.people.iter().filter(move |(_, seen)| inside(seen)).map(|(person, _)| *person)
    }

    /// Drops what no window can reach any more.
    pub fn expire(&mut self, now: Timestamp) {
        self.people.retain(|_, seen| seen.last > now - Self::REACH);
    }

    /// Whether nobody is left.
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }
}

impl Merge for LastSeen {
    fn merge(&mut self, other: &Self) {
        for (person, theirs) in &other.people {
            let seen = self.people.entry(*person).or_insert(*theirs);
            *seen = (*seen).max(*theirs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pass_counts_every_window() {
        let mut seen = LastSeen::default();
        for (person, at) in [(1, 10), (2, 20), (3, 30), (4, 40), (2, 35)] {
            seen.note(person, Timestamp(at));
        }
        let since = [34, 30, 29, 10, 9].map(Timestamp);
        assert_eq!(seen.counts(since, Timestamp(35)), [1, 1, 2, 2, 3]);
        assert_eq!(seen.counts(since, Timestamp(40)), [2, 2, 3, 3, 4]);
    }

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
        assert!(seen.note(7, Timestamp(1)));
        assert!(!seen.note(7, Timestamp(2)));
        assert!(!seen.take_back(7, Timestamp(3)));
        assert!(!seen.take_back(7, Timestamp(2)), "refused at 1 all the same");
        assert_eq!(seen.count(Timestamp(0), Timestamp(9)), 1);
        assert!(seen.take_back(7, Timestamp(1)));
        assert!(seen.is_empty());
        assert!(seen.note(7, Timestamp(4)));
        assert!(seen.note(7, Timestamp(4) + LastSeen::EPISODE));
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
