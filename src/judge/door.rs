//! The second door: for half an hour after a change in scope, fewer people are enough.
//!
//! A change of policy is worth two people, and only for the series that its scope covers and that hold a check or a
//! rule that it touches; only who is refused after it counts. A change whose scope is not known opens no door. Who makes
//! many changes pays with a higher threshold, so how many there are in a week is kept here too.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::event::{Span, Timestamp};
use crate::window::{Level, SeriesKey};

/// How long a change keeps the door open.
pub const OPEN: Span = Span::minutes(30);
/// Doors open at once; a pipeline that changes more in half an hour keeps the newest.
const MOST_OPEN: usize = 64;
/// The time over which changes are counted.
const COUNTED: Span = Span::hours(24 * 28);
/// Changes counted; more than this in four weeks raise the threshold no further.
const MOST_COUNTED: usize = 4_096;

/// What a change may refuse. `None` is any; an empty set is none.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Scope {
    /// The checks that it touches.
    pub checks: BTreeSet<SmolStr>,
    /// The rules that refusals may name because of it, by id.
    pub rules: BTreeSet<SmolStr>,
    /// For whom it is.
    pub cohorts: Option<BTreeSet<SmolStr>>,
    /// Where, by the app's id.
    pub apps: Option<BTreeSet<SmolStr>>,
    /// On what.
    pub platforms: Option<BTreeSet<SmolStr>>,
}

impl Scope {
    /// Whether a series lies in the scope: it holds a check or a rule that the change touches, none of its values is
    /// outside, and where the change is for some people, apps or platforms only, it is narrower than the whole org.
    pub fn covers(&self, key: &SeriesKey) -> bool {
        let is_limited = self.cohorts.is_some() || self.apps.is_some() || self.platforms.is_some();
        let (mut holds, mut is_narrow) = (false, !is_limited);
        for (level, value) in key.parts() {
            let limit = match level {
                Level::Check if self.checks.contains(value) => {
                    holds = true;
                    continue;
                }
                // A rule belongs to one policy: it is as narrow as the change.
                Level::Rule if self.rules.contains(value) => {
                    (holds, is_narrow) = (true, true);
                    continue;
                }
                Level::Cohort => &self.cohorts,
                Level::App => &self.apps,
                Level::Platform => &self.platforms,
                _ => return false,
            };
            match limit {
                Some(limit) if !limit.contains(value) => return false,
                Some(_) => is_narrow = true,
                None => {}
            }
        }
        holds && is_narrow
    }

    /// Whether it can cover anything at all.
    pub fn is_known(&self) -> bool {
        !self.checks.is_empty() || !self.rules.is_empty()
    }
}

/// A change that passed not long ago.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Door {
    /// The `uuid` of the change event.
    pub change: SmolStr,
    /// When it passed.
    pub at: Timestamp,
    /// What it may refuse.
    pub scope: Scope,
}

/// The doors of one org.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Doors {
    open: VecDeque<Door>,
    passed: VecDeque<Timestamp>,
}

impl Doors {
    pub(super) fn open(&mut self, door: Door) {
        if !door.scope.is_known() {
            return;
        }
        // One apply that touches ten rules is one change.
        if self.passed.back().is_none_or(|last| door.at - *last >= Span::minutes(1)) {
            self.passed.push_back(door.at);
        }
        self.open.push_back(door);
        if self.open.len() > MOST_OPEN {
            self.open.pop_front();
        }
        if self.passed.len() > MOST_COUNTED {
            self.passed.pop_front();
        }
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        self.open.retain(|door| now - door.at < OPEN);
        while self.passed.front().is_some_and(|at| now - *at >= COUNTED) {
            self.passed.pop_front();
        }
    }

    /// The doors open at a tick that cover a series.
    pub(super) fn of<'a>(&'a self, key: &'a SeriesKey, tick: Timestamp) -> impl Iterator<Item = &'a Door> {
        let is_open = move |door: &&Door| door.at < tick && tick - door.at < OPEN;
        self.open.iter().filter(is_open).filter(|door| door.scope.covers(key))
    }

    /// Whether one is open.
    pub(super) fn any(&self) -> bool {
        !self.open.is_empty()
    }

    /// Changes per week, over the four weeks before.
    pub(super) fn a_week(&self) -> f64 {
        self.passed.len() as f64 / 4.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &[&str]) -> BTreeSet<SmolStr> {
        values.iter().map(SmolStr::new).collect()
    }

    #[test]
    fn a_scope_covers_what_holds_its_check_and_is_as_narrow() {
        let everyone = Scope { checks: set(&["os_version"]), ..Scope::default() };
        let pilot = Scope { cohorts: Some(set(&["pilot"])), ..everyone.clone() };
        let mac = Scope { platforms: Some(set(&["macos"])), ..everyone.clone() };
        let rule = Scope { rules: set(&["rul1"]), apps: Some(set(&["0oa1"])), ..everyone.clone() };
        let check = |value| SeriesKey::one(Level::Check, value);
        for (scope, key, expect) in [
            (&everyone, check("os_version"), true),
            (&everyone, check("risk"), false),
            (&everyone, SeriesKey::org(), false),
            (&everyone, SeriesKey::two(Level::CohortCheck, "pilot", "os_version"), true),
            (&pilot, SeriesKey::two(Level::CohortCheck, "pilot", "os_version"), true),
            (&pilot, SeriesKey::two(Level::CohortCheck, "wave-1", "os_version"), false),
            (&pilot, check("os_version"), false),
            (&pilot, SeriesKey::two(Level::PlatformCheck, "macos", "os_version"), false),
            (&mac, SeriesKey::two(Level::PlatformCheck, "macos", "os_version"), true),
            (&mac, SeriesKey::two(Level::PlatformCheck, "windows", "os_version"), false),
            (&rule, SeriesKey::one(Level::Rule, "rul1"), true),
            (&rule, SeriesKey::one(Level::Rule, "rul2"), false),
            (&rule, SeriesKey::two(Level::CohortRule, "pilot", "rul1"), true),
            (&rule, SeriesKey::two(Level::AppCheck, "0oa1", "os_version"), true),
            (&rule, SeriesKey::two(Level::AppCheck, "0oa2", "os_version"), false),
            (&Scope::default(), check("os_version"), false),
        ] {
            assert_eq!(scope.covers(&key), expect, "{key} in {scope:?}");
        }
    }

    #[test]
    fn doors_close_are_bounded_and_one_apply_is_one_change() {
        let scope = Scope { checks: set(&["risk"]), ..Scope::default() };
        let door = |at: i64| Door { change: "u".into(), at: Timestamp(at), scope: scope.clone() };
        let mut doors = Doors::default();
        doors.open(Door { scope: Scope::default(), ..door(0) });
        assert!(!doors.any(), "a change without a known scope opens none");
        (0..100).for_each(|n| doors.open(door(n * 100)));
        assert_eq!((doors.open.len(), doors.passed.len()), (MOST_OPEN, 1));
        let key = SeriesKey::one(Level::Check, "risk");
        assert_eq!(
            doors.of(&key, Timestamp(9_900)).count(),
            MOST_OPEN - 1,
            "who is refused at the change is not after it"
        );
        doors.expire(Timestamp(10_000) + OPEN);
        assert!(!doors.any());
        assert_eq!(doors.a_week(), 0.25);
        doors.expire(Timestamp(10_000) + COUNTED);
        assert_eq!(doors.a_week(), 0.0);
    }
}
