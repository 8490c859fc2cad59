//! What is known of an incident: since when, whom, and where.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::refusals::{Refusal, RefusalLog};
use crate::event::{Check, CheckVerdict, Platform, Timestamp};
use crate::window::{Distinct, LastSeen, Merge as _, SeriesKey};

/// People of one incident: exact for any org of up to this size.
pub(super) type People = Distinct<16_384>;

/// The dimensions that a ticket lists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) enum Dimension {
    App,
    Rule,
    Platform,
    Cohort,
    OsVersion,
    Check,
}

/// Distinct values kept per dimension; a push cannot hit more apps than an org has rules for.
const VALUES: usize = 200;

/// Who was refused since the onset, in all and by dimension.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Facts {
    people: People,
    last: Option<Timestamp>,
    by: BTreeMap<Dimension, BTreeMap<SmolStr, People>>,
    /// Who failed which requirement with which value; and the value of those of whom it cannot be told.
    checks: BTreeMap<Check, People>,
}

impl Facts {
    /// Counts a refusal in.
    pub(super) fn add(&mut self, refusal: &Refusal) {
        self.people.insert(refusal.person);
        self.last = self.last.max(Some(refusal.at));
        let platform = SmolStr::new(refusal.platform.as_str());
        let known_platform = (refusal.platform != Platform::Unknown).then_some(platform);
        for (dimension, value) in [
            (Dimension::App, refusal.app.clone()),
            (Dimension::Rule, refusal.rule.clone()),
            (Dimension::Platform, known_platform),
            (Dimension::Cohort, refusal.cohort.clone()),
            (Dimension::OsVersion, refusal.os_version.clone()),
        ] {
            let values = self.by.entry(dimension).or_default();
            if let Some(value) = value
                && (values.contains_key(&value) || values.len() < VALUES)
            {
                values.entry(value).or_default().insert(refusal.person);
            }
        }
        self.explain(refusal);
    }

    /// Counts in why a refusal happened.
    fn explain(&mut self, refusal: &Refusal) {
        let Some(posture) = &refusal.posture else { return };
        let words = self.by.entry(Dimension::Check).or_default();
        for check in posture.culprits() {
            words.entry(SmolStr::new_static(check.as_str())).or_default().insert(refusal.person);
        }
        let failed = |check: &&Check| check.result == CheckVerdict::Fail && posture.blames_device();
        for check in posture.checks.iter().filter(failed) {
            if self.checks.contains_key(check) || self.checks.len() < VALUES {
                self.checks.entry(check.clone()).or_default().insert(refusal.person);
            }
        }
    }

    /// The requirements that most people failed, each with what most of their devices said; at most `most`.
    pub(super) fn failed(&self, most: usize) -> Vec<Check> {
        let mut rows: Vec<(u64, &Check)> = self.checks.iter().map(|(check, people)| (people.count(), check)).collect();
        rows.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        let mut failed: Vec<Check> = Vec::new();
        for (_, row) in rows {
            let is_listed = |other: &Check| {
                (other.check, &other.detail, &other.required) == (row.check, &row.detail, &row.required)
            };
            if failed.len() < most && !failed.iter().any(is_listed) {
                failed.push(row.clone());
            }
        }
        failed
    }

    /// Distinct people.
    pub(super) fn people(&self) -> u64 {
        self.people.count()
    }

    /// The last refusal counted.
    pub(super) fn last(&self) -> Option<Timestamp> {
        self.last
    }

    /// Whether at least half of another's people are among those counted; a sketch cannot say and is taken to hold them.
    pub(super) fn cover(&self, other: &Self) -> bool {
        match &other.people {
            People::Exact(people) => self.hold_half_of(&people.iter().copied().collect::<Vec<_>>()),
            People::Sketch(_) => true,
        }
    }

    /// Takes over all that another counted.
    pub(super) fn absorb(&mut self, other: &Self) {
        self.people.merge(&other.people);
        self.last = self.last.max(other.last);
        for (dimension, values) in &other.by {
            let own = self.by.entry(*dimension).or_default();
            for (value, people) in values {
                if own.contains_key(value) || own.len() < VALUES {
                    own.entry(value.clone()).or_default().merge(people);
                }
            }
        }
        for (check, people) in &other.checks {
            if self.checks.contains_key(check) || self.checks.len() < VALUES {
                self.checks.entry(check.clone()).or_default().merge(people);
            }
        }
    }

    /// Whether at least half of `people` are among those counted; a sketch cannot say and is taken to hold them.
    pub(super) fn hold_half_of(&self, people: &[u64]) -> bool {
        let known = people.iter().filter(|person| self.people.contains(**person).unwrap_or(true)).count();
        !people.is_empty() && known * 2 >= people.len()
    }

    /// The values most hit, most people first, at most five.
    pub(super) fn top(&self, dimension: Dimension) -> Vec<(SmolStr, u64)> {
        let values = self.by.get(&dimension).into_iter().flatten();
        let mut top: Vec<_> = values.map(|(value, people)| (value.clone(), people.count())).collect();
        top.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        top.truncate(5);
        top
    }

    /// Forgets a person.
    pub(super) fn forget(&mut self, person: u64) {
        self.people.forget(person);
        self.by.values_mut().flat_map(BTreeMap::values_mut).for_each(|people| people.forget(person));
        self.checks.values_mut().for_each(|people| people.forget(person));
    }
}

/// When a spike began: the start that makes the refusals since then most unlike the usual rate.
///
/// Over the first refusal of each person in the series, the start t with the greatest n·ln(n/μ) − (n − μ), n people
/// since t against μ expected, none of them before `reach`: the generalised likelihood ratio for a Poisson rate with a free start (Höhle & Paul
/// 2008, Comput. Stat. Data Anal. 52, 4357; Kulldorff 1997).
pub(super) fn onset(
    log: &RefusalLog,
    key: &SeriesKey,
    (reach, at): (Timestamp, Timestamp),
    least_people: u32,
    expected_since: &dyn Fn(Timestamp) -> f64,
) -> Option<Timestamp> {
    let mut first_of: BTreeMap<u64, Timestamp> = BTreeMap::new();
    for refusal in log.since(reach.max(at - LastSeen::REACH)).filter(|refusal| refusal.at < at && refusal.is_in(key)) {
        first_of.entry(refusal.person).or_insert(refusal.at);
    }
    let mut starts: Vec<Timestamp> = first_of.into_values().collect();
    starts.sort_unstable();
    let mut best: Option<(f64, Timestamp)> = None;
    for (earlier, start) in starts.iter().enumerate() {
        let n = (starts.len() - earlier) as f64;
        if n < f64::from(least_people) && best.is_some() {
            break;
        }
        let mu = expected_since(*start).max(1e-6);
        let ratio = if n > mu { n * (n / mu).ln() - (n - mu) } else { 0.0 };
        if best.is_none_or(|(other, _)| ratio > other) {
            best = Some((ratio, *start));
        }
    }
    best.map(|(_, start)| start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(at: i64, person: u64) -> Refusal {
        let (app, rule, cohort) = (Some("0oa1".into()), None, None);
        Refusal {
            at: Timestamp(at),
            person,
            app,
            rule,
            platform: Platform::Macos,
            os_version: None,
            cohort,
            posture: None,
        }
    }

    #[test]
    fn the_onset_is_where_the_refusals_thicken() {
        let mut log = RefusalLog::default();
        let innocent = [600_000, 2_400_000];
        let push = (0..8).map(|n| 7_200_000 + n * 5_000);
        for (person, at) in innocent.into_iter().chain(push).enumerate() {
            log.push(refusal(at, person as u64));
        }
        let at = Timestamp(7_240_000);
        let usual = |since: Timestamp| 2.0 * (at - since).as_seconds() / 7_200.0;
        assert_eq!(onset(&log, &SeriesKey::org(), (Timestamp::MIN, at), 5, &usual), Some(Timestamp(7_200_000)));
        assert_eq!(onset(&RefusalLog::default(), &SeriesKey::org(), (Timestamp::MIN, at), 5, &usual), None);
    }

    #[test]
    fn a_retry_does_not_move_the_onset() {
        let mut log = RefusalLog::default();
        (0..50).for_each(|n| {
            log.push(refusal(n * 1_000, n as u64 % 5));
        });
        let found = onset(&log, &SeriesKey::org(), (Timestamp::MIN, Timestamp(60_000)), 5, &|_| 0.01);
        assert_eq!(found, Some(Timestamp(0)));
    }

    #[test]
    fn people_are_counted_once_and_top_values_are_ranked() {
        let mut facts = Facts::default();
        for (at, person) in [(1, 1), (2, 1), (3, 2)] {
            facts.add(&refusal(at, person));
        }
        facts.add(&Refusal { app: Some("0oa2".into()), ..refusal(4, 3) });
        assert_eq!(facts.people(), 3);
        assert_eq!(facts.top(Dimension::App), [("0oa1".into(), 2), ("0oa2".into(), 1)]);
        assert!(facts.hold_half_of(&[1, 9]));
        assert!(!facts.hold_half_of(&[1, 8, 9]));
        facts.forget(1);
        assert_eq!(facts.people(), 2);
    }
}
