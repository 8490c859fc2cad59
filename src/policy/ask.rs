//! A question about the fleet, what it is asked of, and the answer: the same for the command, the API and tests.
//!
//! Nothing here changes anything. What the log cannot show is `unknown`, counted beside what it can (invariant 6).

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::Serialize;
use smol_str::SmolStr;
use thiserror::Error;

use super::Groups;
use super::baseline::{Baseline, baseline};
use super::fleet::{Device, Fleet, FleetCounts};
use super::whatif::{Proposal, WhatIf, whatif};
use crate::event::{DeviceSignals, Person, Platform, Timestamp};
use crate::input::Policies;

/// What a question is asked of.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The devices.
    pub fleet: &'a Fleet,
    /// The policies in force; `None` where none are known.
    pub policies: Option<&'a Policies>,
    /// Who is in which group, for the people conditions of rules.
    pub groups: &'a Groups,
    /// The cohort of a person now.
    pub cohort_of: &'a dyn Fn(&Person) -> Option<SmolStr>,
}

/// What is asked.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Question {
    /// What would change; empty asks for the baseline.
    pub proposal: Proposal,
    /// The share of devices that a floor may refuse.
    pub budget: Budget,
    /// How many devices the answer lists at most.
    pub list: usize,
}

/// The answer to a [`Question`]: one of `baseline` and `whatif`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Answer {
    /// What it rests on.
    pub seen: Seen,
    /// What the fleet is like.
    pub baseline: Option<Baseline>,
    /// Whom the proposal would refuse.
    pub whatif: Option<WhatIf>,
}

/// What an answer rests on.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Seen {
    /// The event times between which devices spoke.
    pub from: Option<Timestamp>,
    /// The newest of them.
    pub until: Option<Timestamp>,
    /// Devices.
    pub devices: u64,
    /// People whose devices they are.
    pub people: u64,
    /// Devices that nobody signed in on.
    pub devices_without_person: u64,
    /// Whether policies are known, to compare with.
    pub policies_known: bool,
    /// Counters, since the state was created.
    #[serde(flatten)]
    pub counts: FleetCounts,
}

/// The share of devices that a floor may refuse: less than this.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(transparent)]
pub struct Budget(f64);

/// Why a budget cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("`{0}` is no share of devices (write a percentage from 0 to 100, for example `1%`)")]
pub struct BudgetError(String);

impl Budget {
    /// A budget in percent.
    ///
    /// # Errors
    /// Where it is not between 0 and 100.
    pub fn percent(percent: f64) -> Result<Self, BudgetError> {
        if (0.0..=100.0).contains(&percent) { Ok(Self(percent)) } else { Err(BudgetError(percent.to_string())) }
    }

    /// In percent.
    pub fn as_percent(self) -> f64 {
        self.0
    }

    /// Whether refusing `part` of `all` is within it. Refusing nobody always is.
    pub fn allows(self, part: u64, all: u64) -> bool {
        part == 0 || (part as f64) * 100.0 < self.0 * (all as f64)
    }
}

impl Default for Budget {
    /// One percent.
    fn default() -> Self {
        Self(1.0)
    }
}

impl FromStr for Budget {
    type Err = BudgetError;

    fn from_str(text: &str) -> Result<Self, BudgetError> {
        let refuse = || BudgetError(text.to_owned());
        let number = text.trim().trim_end_matches('%').trim_end();
        Self::percent(number.parse().map_err(|_| refuse())?).map_err(|_| refuse())
    }
}

/// One device as a question sees it.
pub(super) struct Seat<'a> {
    pub(super) id: &'a SmolStr,
    pub(super) device: &'a Device,
    pub(super) platform: Platform,
    pub(super) person: Option<&'a Person>,
    pub(super) cohort: Option<SmolStr>,
    pub(super) signals: DeviceSignals,
}

impl<'a> Facts<'a> {
    /// Every device, in the order of the ids.
    pub(super) fn seats(self) -> impl Iterator<Item = Seat<'a>> {
        self.fleet.devices().map(move |(id, device)| Seat {
            id,
            device,
            platform: device.platform(),
            person: device.person(),
            cohort: device.person().and_then(|person| (self.cohort_of)(person)),
            signals: self.fleet.signals(id, device),
        })
    }

    fn seen(self) -> Seen {
        let people: BTreeSet<&Person> = self.fleet.devices().filter_map(|(_, device)| device.person()).collect();
        let nobody = self.fleet.devices().filter(|(_, device)| device.person().is_none()).count();
        Seen {
            from: self.fleet.seen().map(|(from, _)| from),
            until: self.fleet.seen().map(|(_, until)| until),
            devices: self.fleet.len() as u64,
            people: people.len() as u64,
            devices_without_person: nobody as u64,
            policies_known: self.policies.is_some(),
            counts: self.fleet.counts(),
        }
    }
}

/// Answers a question.
pub fn answer(facts: Facts<'_>, question: &Question) -> Answer {
    let asks_for_baseline = question.proposal.is_empty();
    Answer {
        seen: facts.seen(),
        baseline: asks_for_baseline.then(|| baseline(facts, question.budget)),
        whatif: (!asks_for_baseline).then(|| whatif(facts, &question.proposal, question.list)),
    }
}

/// `part` of `all`; `None` of nothing.
pub fn share(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<f64>) {
        assert_eq!(text.parse::<Budget>().ok().map(Budget::as_percent), expect, "{text}");
    }

    #[test]
    fn a_budget_is_a_percentage_with_or_without_its_sign() {
        check("1%", Some(1.0));
        check("0.5", Some(0.5));
        check(" 2 % ", Some(2.0));
        check("0", Some(0.0));
        check("100", Some(100.0));
        for text in ["", "%", "-1", "101", "NaN", "one"] {
            check(text, None);
        }
        let error = "one".parse::<Budget>().expect_err("no number").to_string();
        assert!(error.starts_with("`one` is no share of devices (write a percentage"), "{error}");
    }

    #[test]
    fn a_budget_is_a_bound_that_is_not_reached_but_nobody_is_always_allowed() {
        let one = Budget::default();
        assert!(one.allows(0, 0) && one.allows(0, 100) && one.allows(9, 1_000));
        assert!(!one.allows(10, 1_000) && !one.allows(1, 1));
        let none = Budget::percent(0.0).expect("a budget");
        assert!(none.allows(0, 10) && !none.allows(1, 10_000));
    }
}
