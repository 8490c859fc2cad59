//! The refusals of the last four hours, with everything a ticket says about them.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::event::{Platform, Timestamp};
use crate::policy::Evaluation;
use crate::window::{LastSeen, Level, SeriesKey};

/// One refusal of a known person.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// When the policy refused.
    pub at: Timestamp,
    /// Who, hashed.
    pub person: u64,
    /// The app's id.
    pub app: Option<SmolStr>,
    /// The rule's id.
    pub rule: Option<SmolStr>,
    /// The platform.
    pub platform: Platform,
    /// The OS version as sent.
    pub os_version: Option<SmolStr>,
    /// The cohort.
    pub cohort: Option<SmolStr>,
    /// What the policies in force say of it; `None` where nothing, or nothing yet.
    pub posture: Option<Arc<Evaluation>>,
}

impl Refusal {
    /// Whether the refusal belongs to a series.
    pub fn is_in(&self, key: &SeriesKey) -> bool {
        let [first, second] = &key.values;
        let app = |value: &SmolStr| self.app.as_ref() == Some(value);
        let cohort = |value: &SmolStr| self.cohort.as_ref() == Some(value);
        match key.level {
            Level::Org => true,
            Level::App => app(first),
            Level::Rule => self.rule.as_ref() == Some(first),
            Level::Platform => self.platform.as_str() == first,
            Level::Cohort => cohort(first),
            Level::Credential => false,
            Level::AppPlatform => app(first) && self.platform.as_str() == second,
            Level::CohortApp => cohort(first) && app(second),
        }
    }
}

/// The log: in order of time, four hours, at most [`RefusalLog::CAPACITY`] entries.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct RefusalLog {
    entries: VecDeque<Refusal>,
}

impl RefusalLog {
    /// Entries kept; beyond it the oldest go, and a late incident's onset can be found no earlier.
    pub const CAPACITY: usize = 20_000;

    /// Adds a refusal. Returns whether the oldest had to go for it.
    pub fn push(&mut self, refusal: Refusal) -> bool {
        let place = self.entries.partition_point(|other| other.at <= refusal.at);
        self.entries.insert(place, refusal);
        let is_over = self.entries.len() > Self::CAPACITY;
        if is_over {
            self.entries.pop_front();
        }
        is_over
    }

    /// Takes back a refusal that a later success in its flow undid.
    pub fn take_back(&mut self, person: u64, at: Timestamp) {
        let first = self.entries.partition_point(|other| other.at < at);
        let here = self.entries.iter().skip(first).take_while(|other| other.at == at);
        let place = here.enumerate().find(|(_, other)| other.person == person).map(|(n, _)| first + n);
        if let Some(place) = place {
            self.entries.remove(place);
        }
    }

    /// Gives a refusal the posture that was not known when it happened, and returns it.
    pub fn explain(&mut self, person: u64, at: Timestamp, posture: &Arc<Evaluation>) -> Option<&Refusal> {
        let first = self.entries.partition_point(|other| other.at < at);
        let here = self.entries.iter_mut().skip(first).take_while(|other| other.at == at);
        let refusal = here.into_iter().find(|other| other.person == person)?;
        refusal.posture = Some(posture.clone());
        Some(refusal)
    }

    /// Refusals at or after `since`, oldest first.
    pub fn since(&self, since: Timestamp) -> impl Iterator<Item = &Refusal> {
        let first = self.entries.partition_point(|other| other.at < since);
        self.entries.iter().skip(first)
    }

    /// Drops what is older than any window.
    pub fn expire(&mut self, now: Timestamp) {
        while self.entries.front().is_some_and(|entry| entry.at <= now - LastSeen::REACH) {
            self.entries.pop_front();
        }
    }

    /// Forgets a person.
    pub fn forget(&mut self, person: u64) {
        self.entries.retain(|entry| entry.person != person);
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(at: i64, person: u64) -> Refusal {
        Refusal {
            at: Timestamp(at),
            person,
            app: Some("0oa1".into()),
            rule: Some("rul1".into()),
            platform: Platform::Macos,
            os_version: None,
            cohort: Some("pilot".into()),
            posture: None,
        }
    }

    #[test]
    fn a_refusal_is_in_the_series_that_its_facts_name() {
        let refusal = refusal(1, 7);
        for (key, expect) in [
            (SeriesKey::org(), true),
            (SeriesKey::one(Level::App, "0oa1"), true),
            (SeriesKey::one(Level::App, "0oa2"), false),
            (SeriesKey::one(Level::Rule, "rul1"), true),
            (SeriesKey::two(Level::AppPlatform, "0oa1", "macos"), true),
            (SeriesKey::two(Level::AppPlatform, "0oa1", "windows"), false),
            (SeriesKey::two(Level::CohortApp, "pilot", "0oa1"), true),
            (SeriesKey::one(Level::Credential, "fastpass"), false),
        ] {
            assert_eq!(refusal.is_in(&key), expect, "{key}");
        }
    }

    #[test]
    fn the_log_keeps_order_takes_back_and_is_bounded() {
        let mut log = RefusalLog::default();
        for (at, person) in [(5, 1), (3, 2), (5, 3)] {
            assert!(!log.push(refusal(at, person)));
        }
        log.take_back(3, Timestamp(5));
        let left: Vec<_> = log.since(Timestamp(0)).map(|entry| entry.person).collect();
        assert_eq!(left, [2, 1]);
        (0..RefusalLog::CAPACITY as i64).for_each(|n| {
            log.push(refusal(10 + n, 9));
        });
        assert_eq!(log.len(), RefusalLog::CAPACITY);
        assert_eq!(log.since(Timestamp(0)).next().map(|entry| entry.at), Some(Timestamp(10)));
    }
}
