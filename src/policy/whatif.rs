//! What if: whom a proposed change of device assurance policies would refuse, by what every device last said.
//!
//! A device passes, is refused by named checks, or is unknown; what the log has not shown is never guessed. Where the
//! policies in force are known, the same devices are read under them too, so that those newly refused are told from those
//! that are refused already. Grace periods are left out: the answer is who fails once they are over.

mod proposal;
mod reading;
mod scope;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use smol_str::SmolStr;

use super::Query;
use super::ask::{Facts, Seat, share};
use super::assurance::{self, Context};
use super::integrators::{Integrators, Signal};
use crate::event::{CheckVerdict, DeviceSignals, Person, Platform, PostureCheck, Timestamp};
use crate::input::{Assurance, Releases, Requirement};
use proposal::Proposed;
use reading::Reading;
use scope::Scope;

pub use proposal::{Changed, How, Proposal, ProposalError};
pub use reading::Verdict;

/// Whom a proposal would refuse.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct WhatIf {
    /// What the proposal changes.
    pub changed: Vec<Changed>,
    /// All devices that it touches.
    pub all: Counts,
    /// By platform.
    pub by_platform: Vec<Row>,
    /// By cohort, empty for whoever is in none; no row where nobody is in any.
    pub by_cohort: Vec<Row>,
    /// By app that the devices were used for; a device counts under each of its apps.
    pub by_app: Vec<Row>,
    /// By check; a device counts under each that it fails.
    pub checks: Vec<CheckRow>,
    /// Devices that the proposal does not touch.
    pub not_touched: u64,
    /// Devices whose platform is not known.
    pub platform_unknown: u64,
    /// The devices, those refused first.
    pub devices: Vec<DeviceRow>,
    /// Devices beyond the length of the list.
    pub devices_left_off: u64,
}

/// Some of the devices, counted.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Counts {
    /// Devices.
    pub devices: u64,
    /// Those that would pass.
    pub pass: u64,
    /// Those that would be refused.
    pub refuse: u64,
    /// Those of which it cannot be told.
    pub unknown: u64,
    /// `unknown` of `devices`; `None` of nothing.
    pub unknown_share: Option<f64>,
    /// People whose devices they are.
    pub people: u64,
    /// People with a device that would be refused.
    pub people_refused: u64,
    /// People all of whose devices here would be refused.
    pub people_locked_out: u64,
    /// People with a device of which it cannot be told, and none that would be refused.
    pub people_unknown: u64,
    /// Compared with the policies in force; `None` where none are known.
    pub before: Option<Before>,
}

/// The same devices under the policies in force and under the proposal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Before {
    /// Pass now, and would be refused.
    pub newly_refused: u64,
    /// Refused now, and would be.
    pub already_refused: u64,
    /// Would be refused, and it cannot be told whether they are now.
    pub refused_unknown_before: u64,
    /// Refused now, and would pass.
    pub newly_let_in: u64,
    /// People with a device that is newly refused.
    pub people_newly_refused: u64,
}

/// One value of a dimension.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    /// Its key: the platform's word, the cohort's name, the app's id.
    pub key: SmolStr,
    /// The name that people know it by.
    pub name: SmolStr,
    /// Its devices.
    #[serde(flatten)]
    pub counts: Counts,
}

/// One check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CheckRow {
    /// Which.
    pub check: PostureCheck,
    /// Devices that would be refused and fail it.
    pub refuse: u64,
    /// Devices of which it cannot be told because of it. `unattributed`: several policies are for the platform, and
    /// nothing says which holds for the person.
    pub unknown: u64,
}

/// One device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DeviceRow {
    /// Okta's id of it.
    pub device: SmolStr,
    /// Okta's id of the person who signed in on it last.
    pub person: Option<Person>,
    /// Its platform.
    pub platform: Platform,
    /// The person's cohort.
    pub cohort: Option<SmolStr>,
    /// Its version.
    pub os_version: Option<SmolStr>,
    /// Under the proposal.
    pub verdict: Verdict,
    /// Under the policies in force; `None` where none are known.
    pub before: Option<Verdict>,
    /// The checks that it would fail.
    pub failing: Vec<PostureCheck>,
    /// The checks that cannot be told.
    pub unknown: Vec<PostureCheck>,
    /// Its newest event.
    pub last_seen: Timestamp,
}

/// Asks.
pub(super) fn whatif(facts: Facts<'_>, proposal: &Proposal, list: usize) -> WhatIf {
    let (proposed, changed) = proposal.apply(facts.policies);
    let mut gathered = Gathered::default();
    for seat in facts.seats() {
        if seat.platform == Platform::Unknown {
            gathered.platform_unknown += 1;
            continue;
        }
        match read(facts, &proposed, &seat) {
            Some((before, after)) => gathered.add(&seat, before.map(|before| before.verdict), after),
            None => gathered.not_touched += 1,
        }
    }
    gathered.report(changed, list)
}

/// How a device does before and after; `None` where the proposal does not touch it.
fn read(facts: Facts<'_>, proposed: &Proposed, seat: &Seat<'_>) -> Option<(Option<Reading>, Reading)> {
    let none = Releases::default();
    let releases = facts.policies.map_or(&none, |policies| &policies.releases);
    let context = Context::new(seat.platform, Some(&seat.signals), releases);
    let of = |assurance: &Assurance| Reading::of(&assurance::of(assurance, &context));
    let in_scope = |scope: &Scope, known: &BTreeMap<SmolStr, Assurance>| {
        let of_policy = |id: &str| known.get(id).map_or_else(|| Reading::unknown(PostureCheck::Unattributed), &of);
        Reading::in_scope(scope, &context, &of_policy)
    };
    let query = Query {
        at: seat.device.last_seen(),
        person: seat.person,
        groups: facts.groups,
        platform: seat.platform,
        device: Some(&seat.signals),
        rule: None,
        risk: None,
        granted: false,
        phishing_resistant: None,
        releases: None,
    };
    let scope = facts.policies.map(|policies| Scope::of(policies, &query));
    let before = scope.as_ref().zip(facts.policies).map(|(scope, policies)| in_scope(scope, &policies.assurances));
    if let Some(standing) = proposed.standing.get(&seat.platform) {
        return Some((before, Reading::any(standing.iter().map(of))));
    }
    let scope = scope.filter(|scope| scope.holds_any(&proposed.changed))?;
    Some((before, in_scope(&scope, &proposed.assurances)))
}

/// How a device does in one requirement alone.
pub(super) fn requirement(asked: &Requirement, platform: Platform, signals: &DeviceSignals) -> CheckVerdict {
    let requirements = vec![asked.clone()];
    let assurance = Assurance { name: SmolStr::default(), platform, grace: None, requirements };
    match Reading::of(&assurance::checks(&assurance, signals, &Releases::default())).verdict {
        Verdict::Refuse => CheckVerdict::Fail,
        Verdict::Unknown => CheckVerdict::Unknown,
        Verdict::Pass => CheckVerdict::Pass,
    }
}

/// Whether CrowdStrike's signals can be read; `None` where the device carries none.
pub(super) fn crowdstrike_readable(signals: &DeviceSignals) -> Option<bool> {
    match Integrators::parse(signals.integrators.as_deref()?).signal(PostureCheck::Crowdstrike, "overall") {
        Signal::Value(_) => Some(true),
        Signal::Unreadable(_) => Some(false),
        Signal::Absent => None,
    }
}

/// What is gathered over all devices.
#[derive(Default)]
struct Gathered<'a> {
    all: Tally<'a>,
    by_platform: BTreeMap<SmolStr, Tally<'a>>,
    by_cohort: BTreeMap<SmolStr, Tally<'a>>,
    by_app: BTreeMap<&'a SmolStr, (&'a SmolStr, Tally<'a>)>,
    checks: BTreeMap<PostureCheck, CheckRow>,
    has_cohorts: bool,
    not_touched: u64,
    platform_unknown: u64,
    devices: Vec<DeviceRow>,
}

/// Counts with the people behind them.
#[derive(Default)]
struct Tally<'a> {
    counts: Counts,
    people: BTreeMap<&'a Person, BTreeSet<Verdict>>,
    newly_refused: BTreeSet<&'a Person>,
}

impl<'a> Gathered<'a> {
    fn add(&mut self, seat: &Seat<'a>, before: Option<Verdict>, after: Reading) {
        let verdict = after.verdict;
        self.all.add(seat.person, before, verdict);
        let platform = SmolStr::new_static(seat.platform.as_str());
        self.by_platform.entry(platform).or_default().add(seat.person, before, verdict);
        self.has_cohorts |= seat.cohort.is_some();
        let cohort = seat.cohort.clone().unwrap_or_default();
        self.by_cohort.entry(cohort).or_default().add(seat.person, before, verdict);
        for (key, name) in seat.device.apps() {
            let (_, tally) = self.by_app.entry(key).or_insert_with(|| (name, Tally::default()));
            tally.add(seat.person, before, verdict);
        }
        let (failing, unknown) = match verdict {
            Verdict::Refuse => (after.failing, after.unknown),
            Verdict::Unknown => (BTreeSet::new(), after.unknown),
            Verdict::Pass => (BTreeSet::new(), BTreeSet::new()),
        };
        for check in &failing {
            self.check(*check).refuse += 1;
        }
        if verdict == Verdict::Unknown {
            for check in &unknown {
                self.check(*check).unknown += 1;
            }
        }
        self.devices.push(DeviceRow {
            device: seat.id.clone(),
            person: seat.person.cloned(),
            platform: seat.platform,
            cohort: seat.cohort.clone(),
            os_version: seat.signals.os_version.clone(),
            verdict,
            before,
            failing: failing.into_iter().collect(),
            unknown: unknown.into_iter().collect(),
            last_seen: seat.device.last_seen(),
        });
    }

    fn check(&mut self, check: PostureCheck) -> &mut CheckRow {
        self.checks.entry(check).or_insert(CheckRow { check, refuse: 0, unknown: 0 })
    }

    fn report(mut self, changed: Vec<Changed>, list: usize) -> WhatIf {
        self.devices.sort_by(|a, b| (a.verdict, &a.device).cmp(&(b.verdict, &b.device)));
        let left_off = self.devices.len().saturating_sub(list);
        self.devices.truncate(list);
        let named = |(key, tally): (SmolStr, Tally<'_>)| Row { name: key.clone(), key, counts: tally.counts() };
        let app = |(key, (name, tally)): (&SmolStr, (&SmolStr, Tally<'_>))| {
            let name = if name.is_empty() { key } else { name };
            Row { key: key.clone(), name: name.clone(), counts: tally.counts() }
        };
        let by_cohort = if self.has_cohorts { self.by_cohort } else { BTreeMap::new() };
        WhatIf {
            changed,
            all: self.all.counts(),
            by_platform: self.by_platform.into_iter().map(named).collect(),
            by_cohort: by_cohort.into_iter().map(named).collect(),
            by_app: self.by_app.into_iter().map(app).collect(),
            checks: self.checks.into_values().collect(),
            not_touched: self.not_touched,
            platform_unknown: self.platform_unknown,
            devices: self.devices,
            devices_left_off: left_off as u64,
        }
    }
}

impl<'a> Tally<'a> {
    fn add(&mut self, person: Option<&'a Person>, before: Option<Verdict>, after: Verdict) {
        self.counts.devices += 1;
        match after {
            Verdict::Pass => self.counts.pass += 1,
            Verdict::Refuse => self.counts.refuse += 1,
            Verdict::Unknown => self.counts.unknown += 1,
        }
        if let Some(person) = person {
            self.people.entry(person).or_default().insert(after);
        }
        let Some(before) = before else { return };
        let compared = self.counts.before.get_or_insert_default();
        match (before, after) {
            (Verdict::Pass, Verdict::Refuse) => {
                compared.newly_refused += 1;
                self.newly_refused.extend(person);
            }
            (Verdict::Refuse, Verdict::Refuse) => compared.already_refused += 1,
            (Verdict::Unknown, Verdict::Refuse) => compared.refused_unknown_before += 1,
            (Verdict::Refuse, Verdict::Pass) => compared.newly_let_in += 1,
            (Verdict::Pass | Verdict::Unknown, Verdict::Pass) | (_, Verdict::Unknown) => {}
        }
    }

    fn counts(self) -> Counts {
        let with = |verdict| self.people.values().filter(|verdicts| verdicts.contains(&verdict)).count() as u64;
        let only = |verdict| self.people.values().filter(|all| all.first() == Some(&verdict) && all.len() == 1).count();
        let people_refused = with(Verdict::Refuse);
        let not_refused = self.people.values().filter(|verdicts| !verdicts.contains(&Verdict::Refuse));
        let people_unknown = not_refused.filter(|verdicts| verdicts.contains(&Verdict::Unknown)).count() as u64;
        let people_newly_refused = self.newly_refused.len() as u64;
        Counts {
            unknown_share: share(self.counts.unknown, self.counts.devices),
            people: self.people.len() as u64,
            people_refused,
            people_locked_out: only(Verdict::Refuse) as u64,
            people_unknown,
            before: self.counts.before.map(|before| Before { people_newly_refused, ..before }),
            ..self.counts
        }
    }
}

#[cfg(test)]
#[path = "whatif/tests.rs"]
mod tests;
