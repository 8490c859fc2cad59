//! The versions of one org's policies, each with the time from which it holds.
//!
//! A reading gives a version. A change that passes in the log closes it: one read from a file is rolled forward by what
//! the event says, one read from the API waits for the next reading. Between a change whose content is not known and
//! the next reading nothing holds, and nothing is derived. Versions are few and bounded; the oldest go first.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::patch::{Patched, apply};
use crate::event::{Change, Span, Timestamp};
use crate::input::{Policies, PolicyOrigin};

/// Versions kept; a rollout that changes policies more often loses the oldest.
const VERSIONS: usize = 64;

/// How long a version is kept after the newest began.
const KEPT: Span = Span::hours(24);

/// The versions of one org.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// In the order of time.
    versions: Vec<Version>,
    /// The file as it was last read: reading the same again says nothing of what changed since.
    file: Option<Arc<Policies>>,
    /// Versions dropped by the bound, not by age.
    dropped: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Version {
    from: Timestamp,
    origin: PolicyOrigin,
    holds: Holds,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
enum Holds {
    Known(Arc<Policies>),
    Pending,
    Unknown,
}

/// What holds at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held<'a> {
    /// These policies.
    Version(&'a Policies),
    /// A change has passed, and its reading is awaited.
    Pending,
    /// Something changed that is not known.
    Unknown,
    /// Nothing was read for that time.
    None,
}

/// What a change did to the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LedgerChange {
    /// The version was rolled forward.
    Rolled,
    /// Nothing that is held is concerned, or nothing is held.
    Unconcerned,
    /// The version is closed: what holds from now on is unknown.
    Closed,
    /// The version is closed until its reading arrives.
    Pending,
    /// The reading that the change caused has arrived before it.
    Read,
}

impl Ledger {
    /// Takes a whole reading, which holds from `since` on. Gives whether there is a new version.
    pub fn read(&mut self, since: Timestamp, origin: PolicyOrigin, policies: Arc<Policies>) -> bool {
        if origin == PolicyOrigin::File && self.file.replace(Arc::clone(&policies)).as_ref() == Some(&policies) {
            return false;
        }
        let place = self.versions.partition_point(|version| version.from <= since);
        // A reading answers every change before it. Those that another change has closed since stay unknown.
        let (mut from, mut is_answer) = (since, false);
        for (at, version) in self.versions.iter_mut().enumerate().take(place) {
            if version.holds != Holds::Pending || origin != PolicyOrigin::Api {
                continue;
            }
            if at + 1 == place {
                (from, is_answer) = (version.from, true);
            }
            version.holds = Holds::Unknown;
        }
        let in_force = if is_answer { place.checked_sub(2) } else { place.checked_sub(1) };
        let known = |at: usize| match self.versions.get(at).map(|version| &version.holds) {
            Some(Holds::Known(known)) => Some(known),
            Some(Holds::Pending | Holds::Unknown) | None => None,
        };
        if in_force.and_then(known).is_some_and(|known| **known == *policies) {
            // The change changed nothing that is held.
            if is_answer {
                self.versions.remove(place - 1);
            }
            return false;
        }
        let version = Version { from, origin, holds: Holds::Known(policies) };
        match place.checked_sub(1).and_then(|at| self.versions.get_mut(at)).filter(|last| last.from == from) {
            Some(last) => *last = version,
            None => self.versions.insert(place, version),
        }
        self.bound();
        true
    }

    /// Takes a change of a policy, a rule or a device assurance policy that passes in the log.
    pub fn change(&mut self, at: Timestamp, change: &Change, event_type: &str) -> LedgerChange {
        let place = self.versions.partition_point(|version| version.from <= at);
        let later = self.versions.get(place..).unwrap_or_default();
        let is_read_later = later.iter().any(|version| matches!(version.holds, Holds::Known(_)));
        let Some(last) = place.checked_sub(1).and_then(|last| self.versions.get(last)) else {
            return LedgerChange::Unconcerned;
        };
        let origin = last.origin;
        let (holds, outcome) = match (&last.holds, origin) {
            (Holds::Known(_), PolicyOrigin::Api) if last.from == at => return LedgerChange::Read,
            (_, PolicyOrigin::Api) if is_read_later => (Holds::Unknown, LedgerChange::Closed),
            (_, PolicyOrigin::Api) => (Holds::Pending, LedgerChange::Pending),
            (Holds::Known(policies), PolicyOrigin::File) => match apply(policies, change, event_type) {
                Patched::Same => return LedgerChange::Unconcerned,
                Patched::Next(next) => (Holds::Known(Arc::from(next)), LedgerChange::Rolled),
                Patched::Unknown => (Holds::Unknown, LedgerChange::Closed),
            },
            (Holds::Pending | Holds::Unknown, PolicyOrigin::File) => return LedgerChange::Unconcerned,
        };
        let version = Version { from: at, origin, holds };
        match self.versions.get_mut(place - 1).filter(|last| last.from == at) {
            Some(last) => *last = version,
            None => self.versions.insert(place, version),
        }
        self.bound();
        outcome
    }

    /// Whoever told the policies is gone: nothing is known of what holds from `at` on, and no reading is awaited.
    pub fn close(&mut self, at: Timestamp) {
        self.file = None;
        let Some(last) = self.versions.last() else { return };
        let from = at.max(last.from);
        self.versions.retain(|version| version.from < from);
        for version in &mut self.versions {
            if version.holds == Holds::Pending {
                version.holds = Holds::Unknown;
            }
        }
        self.versions.push(Version { from, origin: PolicyOrigin::File, holds: Holds::Unknown });
    }

    /// What holds at a time.
    pub fn at(&self, at: Timestamp) -> Held<'_> {
        let place = self.versions.partition_point(|version| version.from <= at);
        match place.checked_sub(1).and_then(|last| self.versions.get(last)).map(|version| &version.holds) {
            Some(Holds::Known(policies)) => Held::Version(policies),
            Some(Holds::Pending) => Held::Pending,
            Some(Holds::Unknown) => Held::Unknown,
            None => Held::None,
        }
    }

    /// How many versions are kept.
    pub fn len(&self) -> usize {
        self.versions.len()
    }

    /// Whether nothing was ever read.
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    /// How many versions the bound has dropped before their time.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn bound(&mut self) {
        let Some(newest) = self.versions.last().map(|version| version.from) else { return };
        let horizon = newest - KEPT;
        // The version that held at the horizon is still asked for.
        let aged = self.versions.partition_point(|version| version.from <= horizon).saturating_sub(1);
        self.versions.drain(..aged);
        let over = self.versions.len().saturating_sub(VERSIONS);
        self.versions.drain(..over);
        self.dropped += over as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::parse::parse;
    use serde_json::json;
    use smol_str::SmolStr;

    fn policies(minimum: &str) -> Arc<Policies> {
        let document = json!({"device_assurances": [
            {"id": "dae1", "name": "Mac", "platform": "MACOS", "osVersion": {"minimum": minimum}}]});
        Arc::new(parse(document.to_string().as_bytes()).expect("policies"))
    }

    fn change(to: Option<&str>) -> Change {
        Change {
            target_type: SmolStr::new("DeviceAssurancePolicy"),
            target_id: SmolStr::new("dae1"),
            target_name: SmolStr::new("Mac"),
            policy: None,
            person: None,
            to: to.map(SmolStr::new),
        }
    }

    const UPDATE: &str = "device.assurance.policy.update";

    #[track_caller]
    fn holds(ledger: &Ledger, at: i64, expect: &str) {
        let found = match ledger.at(Timestamp(at)) {
            Held::Version(found) => {
                let versions = ["14", "15", "16"];
                versions.into_iter().find(|version| *policies(version) == *found).unwrap_or("another")
            }
            Held::Pending => "pending",
            Held::Unknown => "unknown",
            Held::None => "none",
        };
        assert_eq!(found, expect, "at {at}");
    }

    #[test]
    fn a_file_is_rolled_forward_and_closed_by_a_change_that_it_cannot_follow() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.change(Timestamp(5), &change(None), UPDATE), LedgerChange::Unconcerned);
        assert!(ledger.read(Timestamp(10), PolicyOrigin::File, policies("14")));
        let rolled = ledger.change(Timestamp(20), &change(Some(r#"{"osVersion":{"minimum":"15"}}"#)), UPDATE);
        assert_eq!(rolled, LedgerChange::Rolled);
        assert_eq!(ledger.change(Timestamp(30), &change(None), UPDATE), LedgerChange::Closed);
        for (at, expect) in [(9, "none"), (10, "14"), (19, "14"), (20, "15"), (29, "15"), (30, "unknown")] {
            holds(&ledger, at, expect);
        }
        assert!(!ledger.read(Timestamp(40), PolicyOrigin::File, policies("14")), "the same file says nothing new");
        holds(&ledger, 40, "unknown");
        assert!(ledger.read(Timestamp(50), PolicyOrigin::File, policies("16")));
        holds(&ledger, 49, "unknown");
        holds(&ledger, 50, "16");
    }

    #[test]
    fn who_told_the_policies_is_gone_until_somebody_tells_them_again() {
        let mut ledger = Ledger::default();
        ledger.close(Timestamp(5));
        assert!(ledger.is_empty(), "nothing was known");
        ledger.read(Timestamp(10), PolicyOrigin::Api, policies("14"));
        ledger.change(Timestamp(20), &change(None), UPDATE);
        ledger.close(Timestamp(30));
        for (at, expect) in [(10, "14"), (20, "unknown"), (30, "unknown")] {
            holds(&ledger, at, expect);
        }
        assert_eq!(ledger.change(Timestamp(40), &change(None), UPDATE), LedgerChange::Unconcerned);
        assert!(ledger.read(Timestamp(50), PolicyOrigin::File, policies("14")));
        ledger.close(Timestamp(50));
        assert!(ledger.read(Timestamp(60), PolicyOrigin::File, policies("14")), "the same file again is news then");
        for (at, expect) in [(49, "unknown"), (50, "unknown"), (60, "14")] {
            holds(&ledger, at, expect);
        }
    }

    #[test]
    fn the_api_is_awaited_after_a_change_and_its_reading_holds_from_the_change() {
        let mut ledger = Ledger::default();
        ledger.read(Timestamp(10), PolicyOrigin::Api, policies("14"));
        assert_eq!(ledger.change(Timestamp(20), &change(None), UPDATE), LedgerChange::Pending);
        holds(&ledger, 19, "14");
        holds(&ledger, 25, "pending");
        assert!(!ledger.read(Timestamp(15), PolicyOrigin::Api, policies("14")), "read before the change");
        holds(&ledger, 25, "pending");
        assert!(ledger.read(Timestamp(22), PolicyOrigin::Api, policies("15")));
        holds(&ledger, 20, "15");
        assert_eq!(ledger.change(Timestamp(30), &change(None), UPDATE), LedgerChange::Pending);
        assert_eq!(ledger.change(Timestamp(32), &change(None), UPDATE), LedgerChange::Pending);
        assert!(ledger.read(Timestamp(32), PolicyOrigin::Api, policies("16")));
        for (at, expect) in [(29, "15"), (30, "unknown"), (31, "unknown"), (32, "16")] {
            holds(&ledger, at, expect);
        }
    }

    #[test]
    fn a_reading_may_come_before_its_change_has_passed() {
        let mut ledger = Ledger::default();
        ledger.read(Timestamp(10), PolicyOrigin::Api, policies("14"));
        ledger.read(Timestamp(20), PolicyOrigin::Api, policies("15"));
        assert_eq!(ledger.change(Timestamp(20), &change(None), UPDATE), LedgerChange::Read);
        assert_eq!(ledger.change(Timestamp(15), &change(None), UPDATE), LedgerChange::Closed);
        for (at, expect) in [(14, "14"), (15, "unknown"), (20, "15")] {
            holds(&ledger, at, expect);
        }
    }

    #[test]
    fn a_reading_that_equals_what_holds_adds_nothing() {
        let mut ledger = Ledger::default();
        ledger.read(Timestamp(10), PolicyOrigin::Api, policies("14"));
        assert!(!ledger.read(Timestamp(15), PolicyOrigin::Api, policies("14")));
        ledger.change(Timestamp(20), &change(None), UPDATE);
        assert!(!ledger.read(Timestamp(20), PolicyOrigin::Api, policies("14")));
        assert_eq!(ledger.len(), 1);
        holds(&ledger, 30, "14");
    }

    #[test]
    fn versions_are_bounded_by_age_and_number() {
        let mut ledger = Ledger::default();
        for (hour, version) in [(0, "14"), (1, "15"), (26, "16")] {
            ledger.read(Timestamp(0) + Span::hours(hour), PolicyOrigin::Api, policies(version));
        }
        holds(&ledger, 0, "none");
        holds(&ledger, Span::hours(2).0, "15");
        assert_eq!((ledger.len(), ledger.dropped()), (2, 0));
        let mut ledger = Ledger::default();
        for at in 0..70 {
            ledger.read(Timestamp(at), PolicyOrigin::Api, policies(if at % 2 == 0 { "14" } else { "15" }));
        }
        assert_eq!((ledger.len(), ledger.dropped()), (VERSIONS, 6));
        holds(&ledger, 5, "none");
        holds(&ledger, 69, "15");
    }
}
