//! How far a rollout of phishing-resistant sign-in has come, in people: seen → with FastPass → phishing-resistant at the
//! last sign-in → nothing but phishing-resistant sign-ins lately; and who still falls back, to which credential.
//!
//! A sign-in counts once its attempt has come to rest, as it came to rest: a password followed by FastPass in one flow
//! is resistant, FastPass that failed and a password that then worked is a fallback. A fallback is a sign-in of which
//! it is known that no method was phishing-resistant; it counts under the credential used last. Where nothing says so
//! (an identity provider, a RADIUS agent), the sign-in is neither, and the person is not among those who sign in
//! resistantly only.
//!
//! Refused: names (people are ids, and only numbers come out), and any guess at an enrolment that was never seen.
//! Bounded: [`Adoption::CAPACITY`] people for [`Adoption::RETENTION`], [`Adoption::HISTORY_DAYS`] days of history.
//! Pure: no clock, no I/O.

mod days;
mod funnel;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::event::{Credential, Person, Span, Timestamp};
use days::{DAY, Days, Manner, day_of, end_of};

pub use funnel::{Day, Funnel, Numbers, Stages};

/// What is known of one person.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Known {
    /// First part in a sign-in, or first enrolment.
    first: Timestamp,
    /// The last.
    seen: Timestamp,
    /// The first known use or enrolment of FastPass.
    fastpass_since: Option<Timestamp>,
    last: Option<LastSignIn>,
    days: Days,
}

/// A sign-in; of two at one time the greater counts, so that the order of arrival decides nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
struct LastSignIn {
    at: Timestamp,
    phishing_resistant: Option<bool>,
    credential: Credential,
}

/// The people of one org, and how their numbers came to be.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Adoption {
    capacity: usize,
    window_days: u8,
    people: BTreeMap<Person, Known>,
    history: VecDeque<Day>,
    /// When the first person was first seen.
    began: Option<Timestamp>,
    /// The last day that is in the history.
    closed: Option<i32>,
}

impl Default for Adoption {
    fn default() -> Self {
        Self::new(Self::CAPACITY)
    }
}

impl Adoption {
    /// People kept; beyond it nobody new is taken up until somebody's time has run out.
    pub const CAPACITY: usize = 100_000;
    /// A person is forgotten this long after they were last seen (invariant 8).
    pub const RETENTION: Span = Span(90 * DAY.0);
    /// Days of history kept.
    pub const HISTORY_DAYS: usize = 400;
    /// The days that "lately" means, unless set: the last 14, in UTC, with the day under way.
    pub const WINDOW_DAYS: u8 = 14;
    /// The most days that "lately" can mean.
    pub const MAX_WINDOW_DAYS: u8 = 30;

    /// Nobody, and room for so many people.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            window_days: Self::WINDOW_DAYS,
            people: BTreeMap::new(),
            history: VecDeque::new(),
            began: None,
            closed: None,
        }
    }

    /// Sets how many days "lately" means: 1 to [`Adoption::MAX_WINDOW_DAYS`]; what is outside is brought inside.
    pub fn set_window_days(&mut self, days: u8) {
        self.window_days = days.clamp(1, Self::MAX_WINDOW_DAYS);
    }

    /// People kept.
    pub fn len(&self) -> usize {
        self.people.len()
    }

    /// Whether nobody is kept.
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    /// Somebody took part in a sign-in. Returns whether the table was too full to take them up.
    pub fn saw(&mut self, person: &Person, at: Timestamp) -> bool {
        self.known(person, at).is_none()
    }

    /// An attempt of theirs succeeded: at which time, with which credential last, and whether any of its methods was
    /// phishing-resistant. Returns as [`Adoption::saw`].
    ///
    /// An attempt that names no credential and says nothing of resistance (an app reached within a session) is no
    /// sign-in of its own; it only shows that the person is there.
    pub fn saw_sign_in(
        &mut self,
        person: &Person,
        at: Timestamp,
        credential: Credential,
        phishing_resistant: Option<bool>,
    ) -> bool {
        let Some(known) = self.known(person, at) else { return true };
        let manner = match phishing_resistant {
            None if credential == Credential::None => return false,
            None => Manner::Unknown,
            Some(true) => Manner::Resistant,
            Some(false) => Manner::Fallback(credential),
        };
        known.last = known.last.max(Some(LastSignIn { at, phishing_resistant, credential }));
        known.days.note(day_of(at), manner);
        if credential == Credential::Fastpass {
            known.has_fastpass(at);
        }
        false
    }

    /// They enrolled an authenticator. Returns as [`Adoption::saw`].
    pub fn saw_enrollment(&mut self, person: &Person, at: Timestamp, credential: Credential) -> bool {
        let Some(known) = self.known(person, at) else { return true };
        if credential == Credential::Fastpass {
            known.has_fastpass(at);
        }
        false
    }

    /// Forgets a person; the history holds only numbers.
    pub fn forget(&mut self, person: &Person) {
        self.people.remove(person);
    }

    /// The end of the oldest day that has ended at `now` and is not in the history: [`Adoption::close_day`] is due for it.
    pub fn day_due(&self, now: Timestamp) -> Option<Timestamp> {
        let last = day_of(now) - 1;
        let kept = i32::try_from(Self::HISTORY_DAYS).unwrap_or(i32::MAX);
        let next = self.closed.map_or(day_of(self.began?), |closed| closed + 1);
        let day = next.max(last - kept + 1);
        (day <= last).then(|| end_of(day))
    }

    /// Puts the day that ended at `until` into the history, and forgets whom nobody has seen for
    /// [`Adoption::RETENTION`]. To be called once the sign-ins before `until`, and none after it, have been taken.
    pub fn close_day(&mut self, until: Timestamp, cohort_of: &dyn Fn(&Person) -> Option<SmolStr>) {
        let day = day_of(until) - 1;
        if self.closed.is_some_and(|closed| closed >= day) {
            return;
        }
        let stages = funnel::count(self, day, cohort_of);
        let cohorts = stages.cohorts.into_iter().map(|(name, stages)| (name, stages.numbers));
        self.history.push_back(Day { until: end_of(day), all: stages.all.numbers, cohorts: cohorts.collect() });
        if self.history.len() > Self::HISTORY_DAYS {
            self.history.pop_front();
        }
        self.closed = Some(day);
        self.people.retain(|_, known| known.seen >= until - Self::RETENTION);
    }

    /// The funnel at `now`. People are counted under the cohort that they are in now; whoever is in none is in `all` only.
    pub fn funnel(&self, now: Timestamp, cohort_of: &dyn Fn(&Person) -> Option<SmolStr>) -> Funnel {
        let mut funnel = funnel::count(self, day_of(now), cohort_of);
        funnel.history = self.history.iter().cloned().collect();
        funnel
    }

    fn known(&mut self, person: &Person, at: Timestamp) -> Option<&mut Known> {
        if !self.people.contains_key(person) {
            if self.people.len() >= self.capacity {
                return None;
            }
            let known = Known { first: at, seen: at, fastpass_since: None, last: None, days: Days::default() };
            self.people.insert(person.clone(), known);
        }
        let known = self.people.get_mut(person)?;
        known.first = known.first.min(at);
        known.seen = known.seen.max(at);
        self.began = Some(self.began.map_or(at, |began| began.min(at)));
        Some(known)
    }
}

impl Known {
    fn has_fastpass(&mut self, at: Timestamp) {
        self.fastpass_since = Some(self.fastpass_since.map_or(at, |since| since.min(at)));
    }
}

#[cfg(test)]
#[path = "adoption/tests.rs"]
mod tests;
