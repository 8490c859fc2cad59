//! What was counted of one objective, and what of a sign-in decides whether it counts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::attempt::{Standing, Step, Verdict};
use crate::event::{App, Credential, Platform, Reason, Span, Timestamp};
use crate::input::{Endings, Indicator, Scope};
use crate::judge::burn::Counts;

/// A person who failed counts again after this long.
const EPISODE: Span = Span::hours(1);
/// People remembered for that; beyond it everybody counts each time.
const PEOPLE: usize = 16_384;
const MINUTE: Span = Span::minutes(1);
/// Minutes that are made up for at most when the clock jumps: what the rings hold.
const MOST_MINUTES: i64 = 30 * 24 * 60;

/// A minute of the source's clock.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
struct Minute {
    index: i64,
    is_good: bool,
    /// How far all was known at the last look.
    known: Timestamp,
}

/// One objective's counts.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Objective {
    indicator: Indicator,
    counts: Counts,
    /// Counted and not taken back.
    net: (u64, u64),
    /// The most that was ever counted: what a counter may show.
    totals: (u64, u64),
    /// Who failed when, as it was counted.
    failed: BTreeMap<u64, Timestamp>,
    /// The minute of the source's clock that is not over.
    minute: Option<Minute>,
    touched: bool,
}

impl Objective {
    pub(super) fn new(indicator: &Indicator) -> Self {
        Self {
            indicator: indicator.clone(),
            counts: Counts::default(),
            net: (0, 0),
            totals: (0, 0),
            failed: BTreeMap::new(),
            minute: None,
            touched: false,
        }
    }

    pub(super) fn measures(&self, indicator: &Indicator) -> bool {
        self.indicator == *indicator
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Good and bad ones in all; never fewer than before.
    pub(super) fn totals(&self) -> (u64, u64) {
        self.totals
    }

    pub(super) fn is_touched(&self) -> bool {
        self.touched
    }

    /// Whether something bad was counted since it was last asked.
    pub(super) fn take_touched(&mut self) -> bool {
        std::mem::take(&mut self.touched)
    }

    /// Counts one (`by` = 1), or takes one back that was counted at the same time (`by` = −1).
    pub(super) fn count(&mut self, at: Timestamp, (is_bad, person): (bool, Option<u64>), by: i32) {
        let repeats = person.is_some_and(|person| is_bad && self.repeats(person, at, by));
        if repeats {
            return;
        }
        self.counts.add(at, is_bad, by);
        let step = i64::from(by);
        let (good, bad) = &mut self.net;
        let net = if is_bad { bad } else { good };
        *net = net.saturating_add_signed(step);
        self.totals = (self.totals.0.max(self.net.0), self.totals.1.max(self.net.1));
        self.touched |= is_bad;
    }

    /// Whether a failure is one that its person was counted for already; notes it, or its being taken back.
    fn repeats(&mut self, person: u64, at: Timestamp, by: i32) -> bool {
        match self.failed.get(&person).copied() {
            Some(counted) if by < 0 && counted == at => {
                self.failed.remove(&person);
                false
            }
            Some(counted) if by < 0 => (counted - at).0.abs() < EPISODE.0,
            Some(counted) if (counted - at).0.abs() < EPISODE.0 => true,
            None if by < 0 => false,
            Some(_) | None => {
                if self.failed.contains_key(&person) || self.failed.len() < PEOPLE {
                    self.failed.insert(person, at);
                }
                false
            }
        }
    }

    /// The source's clock stands at `now`, and all is known up to `lag` before it. A minute is good if at any moment of it
    /// the lag was within the limit: at a look, or at its start by what was known then. Counting begins with the first
    /// good one.
    pub(super) fn minute(&mut self, now: Timestamp, lag: Span, within: Span) {
        let (index, is_good, known) = (now.index(MINUTE), lag <= within, now - lag);
        let Some(Minute { index: current, is_good: was_good, known: was_known }) = self.minute else {
            self.minute = is_good.then_some(Minute { index, is_good, known });
            return;
        };
        if index <= current {
            let is_good = was_good || (index == current && is_good);
            self.minute = Some(Minute { index: current, is_good, known: was_known.max(known) });
            return;
        }
        let by_then = |minute: i64| Timestamp(minute * MINUTE.0) - was_known <= within;
        for minute in current.max(index - MOST_MINUTES)..index {
            let is_good = (minute == current && was_good) || by_then(minute);
            self.count(Timestamp(minute * MINUTE.0), (!is_good, None), 1);
        }
        self.minute = Some(Minute { index, is_good: is_good || by_then(index), known: was_known.max(known) });
    }

    /// Lets go of people who would count again; nothing older is taken back.
    pub(super) fn forget_before(&mut self, now: Timestamp) {
        if self.failed.len() > 64 {
            self.failed.retain(|_, at| now - *at < Span(2 * EPISODE.0));
        }
    }

    /// Forgets a person.
    pub(super) fn forget(&mut self, person: u64) {
        self.failed.remove(&person);
    }
}

/// What of a sign-in decides whether it counts.
pub(super) struct Sight<'a> {
    credential: Credential,
    platform: Platform,
    app: Option<&'a App>,
    cohort: Option<&'a SmolStr>,
    reason: Reason,
}

impl<'a> Sight<'a> {
    pub(super) fn of_step(step: &'a Step) -> Self {
        let Step { credential, platform, reason, .. } = *step;
        Self { credential, platform, app: step.app.as_ref(), cohort: None, reason }
    }

    pub(super) fn of_standing(standing: &'a Standing) -> Self {
        let Standing { credential, platform, reason, .. } = *standing;
        Self { credential, platform, app: standing.app.as_ref(), cohort: standing.cohort.as_ref(), reason }
    }

    /// Whether it is in a scope, whatever its ending.
    pub(super) fn is_in(&self, scope: &Scope) -> bool {
        let Scope { credentials, platforms, apps, cohorts, .. } = scope;
        let has_app = |app: &App| apps.iter().any(|name| *name == app.id || *name == app.name);
        (credentials.is_empty() || credentials.contains(&self.credential))
            && (platforms.is_empty() || platforms.contains(&self.platform))
            && (apps.is_empty() || self.app.is_some_and(has_app))
            && (cohorts.is_empty() || self.cohort.is_some_and(|cohort| cohorts.contains(cohort)))
    }

    /// Whether an ending is bad; `None` where it does not count.
    pub(super) fn counts(&self, scope: &Scope, bad: Endings, verdict: Verdict) -> Option<bool> {
        let is_bad = match verdict {
            Verdict::Success | Verdict::PhishDeclined => false,
            Verdict::Denied if bad.denied => true,
            Verdict::Failed if bad.failed => true,
            Verdict::Abandoned if bad.abandoned => true,
            Verdict::Denied | Verdict::Failed | Verdict::Abandoned => return None,
        };
        (self.is_in(scope) && !(is_bad && scope.except_reasons.contains(&self.reason))).then_some(is_bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at (seconds, lag in seconds), within two minutes; the good and the bad minutes that are over.
    #[track_caller]
    fn check(looks: &[(i64, i64)], expect: (u64, u64)) {
        let mut objective = Objective::new(&Indicator::Lag { within: Span::minutes(2) });
        for (now, lag) in looks {
            objective.minute(Timestamp(0) + Span::seconds(*now), Span::seconds(*lag), Span::minutes(2));
        }
        assert_eq!(objective.totals(), expect, "{looks:?}");
    }

    #[test]
    fn a_minute_is_fresh_by_a_look_in_it_or_by_what_was_known_at_its_start() {
        check(&[], (0, 0));
        check(&[(0, 3_600), (60, 3_600), (120, 20), (150, 20)], (0, 0));
        check(&[(0, 20), (60, 20), (120, 20)], (2, 0));
        // A poll every two minutes is fresh enough.
        check(&[(0, 20), (120, 20), (240, 20)], (4, 0));
        // Known up to −20: minutes 0 and 1 are fresh, minute 2 begins 140 s later.
        check(&[(0, 20), (600, 20)], (2, 8));
        check(&[(0, 20), (65, 85), (130, 150), (190, 210)], (2, 1));
        check(&[(0, 20), (65, 85), (130, 150), (170, 20), (190, 20)], (3, 0));
        check(&[(120, 20), (60, 20), (180, 20)], (1, 0));
    }

    #[test]
    fn a_person_counts_as_bad_once_an_hour_and_is_taken_back_exactly() {
        let mut objective = Objective::new(&Indicator::Lag { within: Span(1) });
        let at = |minute: i64| Timestamp(0) + Span::minutes(minute);
        let bad = |objective: &mut Objective, minute, person, by| objective.count(at(minute), (true, person), by);
        let sum = |objective: &Objective| objective.counts().sum(at(200), Span::hours(6)).bad;
        (0..50).for_each(|minute| bad(&mut objective, minute, Some(1), 1));
        assert_eq!(sum(&objective), 1);
        bad(&mut objective, 61, Some(1), 1);
        bad(&mut objective, 61, Some(2), 1);
        bad(&mut objective, 61, None, 1);
        bad(&mut objective, 61, None, 1);
        assert_eq!(sum(&objective), 5);
        bad(&mut objective, 70, Some(2), 1);
        bad(&mut objective, 70, Some(2), -1);
        assert_eq!(sum(&objective), 5, "what was not counted is not taken back");
        bad(&mut objective, 61, Some(2), -1);
        assert_eq!(sum(&objective), 4);
        bad(&mut objective, 80, Some(2), 1);
        assert_eq!(sum(&objective), 5);
        assert_eq!(objective.totals(), (0, 5), "a counter does not go back");
    }
}
