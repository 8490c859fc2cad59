//! The refusals of the last four hours, with everything a ticket says about them.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::event::{Platform, PostureSource, Reason, Timestamp};
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
    /// The checks that explain it, derived from the policies that held: those that fail, `network_zone` and `risk` where
    /// a rule refused for these. `None` where nothing is derived.
    pub fn checks(&self) -> Option<Vec<SmolStr>> {
        let posture = self.posture.as_ref().filter(|posture| posture.source == PostureSource::Derived)?;
        Some(match posture.reason {
            Some(reason @ (Reason::NetworkZone | Reason::Risk)) => vec![SmolStr::new_static(reason.as_str())],
            _ => posture.culprits().into_iter().map(|check| SmolStr::new_static(check.as_str())).collect(),
        })
    }

    /// Whether the refusal belongs to a series.
    pub fn is_in(&self, key: &SeriesKey) -> bool {
        key.level != Level::Credential
            && key.parts().all(|(level, value)| match level {
                Level::App => self.app.as_ref() == Some(value),
                Level::Rule => self.rule.as_ref() == Some(value),
                Level::Platform => self.platform.as_str() == value,
                Level::Cohort => self.cohort.as_ref() == Some(value),
                Level::Check => self.checks().is_some_and(|checks| checks.contains(value)),
                _ => false,
            })
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

    /// Takes back a refusal that a later success in its flow undid, and returns it.
    pub fn take_back(&mut self, person: u64, at: Timestamp) -> Option<Refusal> {
        let first = self.entries.partition_point(|other| other.at < at);
        let here = self.entries.iter().skip(first).take_while(|other| other.at == at);
        let place = here.enumerate().find(|(_, other)| other.person == person).map(|(n, _)| first + n);
        self.entries.remove(place?)
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
    use crate::event::{Check, CheckVerdict, PostureCheck};

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
            (SeriesKey::two(Level::CohortPlatform, "pilot", "macos"), true),
            (SeriesKey::two(Level::CohortRule, "pilot", "rul1"), true),
            (SeriesKey::one(Level::Check, "os_version"), false),
            (SeriesKey::one(Level::Credential, "fastpass"), false),
        ] {
            assert_eq!(refusal.is_in(&key), expect, "{key}");
        }
    }

    #[test]
    fn only_a_derived_reading_names_checks() {
        let check = |result| Check {
            check: PostureCheck::OsVersion,
            detail: "minimum".into(),
            required: "15".into(),
            actual: Some("14".into()),
            result,
        };
        let failing = Evaluation {
            source: PostureSource::Derived,
            reason: Some(Reason::DevicePosture),
            checks: vec![check(CheckVerdict::Fail)],
            ..Evaluation::none()
        };
        let zone = Evaluation { reason: Some(Reason::NetworkZone), ..failing.clone() };
        let guessed = Evaluation { source: PostureSource::Signals, ..failing.clone() };
        for (posture, expect) in [
            (Some(failing), Some(vec!["os_version".into()])),
            (Some(zone), Some(vec!["network_zone".into()])),
            (Some(guessed), None),
            (None, None),
        ] {
            let refusal = Refusal { posture: posture.map(Arc::new), ..refusal(1, 7) };
            assert_eq!(refusal.checks(), expect);
            let is_in = refusal.is_in(&SeriesKey::two(Level::CohortCheck, "pilot", "os_version"));
            assert_eq!(is_in, expect.is_some_and(|checks| checks[0] == "os_version"));
        }
    }

    #[test]
    fn the_log_keeps_order_takes_back_and_is_bounded() {
        let mut log = RefusalLog::default();
        for (at, person) in [(5, 1), (3, 2), (5, 3)] {
            assert!(!log.push(refusal(at, person)));
        }
        assert_eq!(log.take_back(3, Timestamp(5)).map(|entry| entry.person), Some(3));
        assert_eq!(log.take_back(3, Timestamp(5)), None);
        let left: Vec<_> = log.since(Timestamp(0)).map(|entry| entry.person).collect();
        assert_eq!(left, [2, 1]);
        (0..RefusalLog::CAPACITY as i64).for_each(|n| {
            log.push(refusal(10 + n, 9));
        });
        assert_eq!(log.len(), RefusalLog::CAPACITY);
        assert_eq!(log.since(Timestamp(0)).next().map(|entry| entry.at), Some(Timestamp(10)));
    }
}
