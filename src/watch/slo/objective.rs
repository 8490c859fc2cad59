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
    /// The minute of the source's clock that is not over, and whether it is good so far.
    minute: Option<(i64, bool)>,
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

    /// The source's clock stands at `now`. A minute is good if it was so at any look in it; one without a look is not,
    /// for nobody saw anything in it. Counting begins with the first good one.
    pub(super) fn minute(&mut self, now: Timestamp, is_good: bool) {
        let index = now.index(MINUTE);
        match &mut self.minute {
            None if !is_good => {}
            None => self.minute = Some((index, true)),
            Some((current, _)) if index < *current => {}
            Some((current, good)) if index == *current => *good |= is_good,
            Some((current, good)) => {
                let (over, was_good) = (*current, *good);
                self.minute = Some((index, is_good));
                for minute in over.max(index - MOST_MINUTES)..index {
                    let at = Timestamp(minute * MINUTE.0);
                    self.count(at, (minute != over || !was_good, None), 1);
                }
            }
        }
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
