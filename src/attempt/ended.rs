//! Attempts that came to rest not long ago.
//!
//! Okta writes `ABANDONED` when the authentication request expires, which can be long after the attempt's last event
//! (the fact sheet's section 5.4). It belongs to that attempt and makes no second one.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::Verdict;
use super::table::Key;
use crate::event::{Person, Span, Timestamp};

/// How long an attempt is remembered after its last event. How long a request lives is not documented; an hour is
/// usual, this is twice that.
const REMEMBERED: Span = Span::hours(2);

/// The attempts that came to rest within [`REMEMBERED`], and how.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Ended {
    verdicts: BTreeMap<Key, (Timestamp, Option<Verdict>)>,
    order: VecDeque<(Timestamp, Key)>,
}

impl Ended {
    /// Remembers an attempt; at most `capacity` of them, the oldest goes first.
    pub(super) fn note(&mut self, key: &Key, last: Timestamp, verdict: Option<Verdict>, capacity: usize) {
        self.verdicts.insert(key.clone(), (last, verdict));
        self.order.push_back((last, key.clone()));
        while self.order.len() > capacity.max(1) {
            self.pop();
        }
    }

    /// A late `ABANDONED`: the verdict that its attempt had, if it is known. Told once of an attempt without one.
    pub(super) fn abandoned(&mut self, key: &Key) -> Option<Option<Verdict>> {
        let (_, verdict) = self.verdicts.get_mut(key)?;
        let before = *verdict;
        *verdict = before.or(Some(Verdict::Abandoned));
        Some(before)
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        while self.order.front().is_some_and(|(last, _)| *last <= now - REMEMBERED) {
            self.pop();
        }
    }

    pub(super) fn forget(&mut self, person: &Person) {
        self.verdicts.retain(|(who, _), _| who.as_ref() != Some(person));
        self.order.retain(|(_, (who, _))| who.as_ref() != Some(person));
    }

    fn pop(&mut self) {
        let Some((last, key)) = self.order.pop_front() else { return };
        // A flow can come to rest twice; the later time stands.
        if self.verdicts.get(&key).is_some_and(|(noted, _)| *noted == last) {
            self.verdicts.remove(&key);
        }
    }
}
