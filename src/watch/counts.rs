//! Counters that only rise, and survive restarts because they are part of the core's state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::slo::AlarmStep;
use crate::action::IncidentStep;
use crate::attempt::{Entry, Verdict};
use crate::event::{AuthEvent, Credential, Kind, Outcome, Part, Reason, Reject};
use crate::judge::alarm::Rule;

/// What an event counts under.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Meaning {
    /// What it is about.
    pub kind: Kind,
    /// With what.
    pub credential: Credential,
    /// How it ended.
    pub outcome: Outcome,
    /// Why not.
    pub reason: Reason,
}

/// A bound of the core's state that was reached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Limit {
    /// Series: the rest fold into `other`.
    Series,
    /// Attempts under way: the oldest closed early.
    Attempts,
    /// Event ids: the oldest was forgotten early.
    Dedupe,
    /// Steps that wait for the watermark: the oldest was judged early.
    Waiting,
    /// Refusals in reach: the oldest was dropped.
    Refusals,
    /// Answers that wait for their policy version: the oldest was read without it.
    Answers,
    /// Combinations of labels of policy answers: the rest fold into `other`.
    Labels,
    /// Devices: the one silent for longest was dropped.
    Devices,
    /// People whose adoption is followed: nobody new was taken up.
    People,
}

impl Limit {
    /// The word in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Series => "series",
            Self::Attempts => "attempts",
            Self::Dedupe => "dedupe",
            Self::Waiting => "waiting",
            Self::Refusals => "refusals",
            Self::Answers => "policy_answers",
            Self::Labels => "policy_labels",
            Self::Devices => "devices",
            Self::People => "people",
        }
    }
}

/// All counters of one org.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Distinct events by meaning.
    pub events: BTreeMap<Meaning, u64>,
    /// Records seen before.
    pub duplicates: u64,
    /// Records whose uuid another event had.
    pub uuid_conflicts: u64,
    /// Events that the watermark had passed.
    pub late: u64,
    /// Events without a time: part of `events`, of no attempt.
    pub undated: u64,
    /// Records that became no event.
    pub rejected: BTreeMap<Reject, u64>,
    /// Closed attempts, by verdict and by how they came about.
    pub attempts: BTreeMap<(Verdict, Entry), u64>,
    /// Incident steps that people were told.
    pub steps: BTreeMap<IncidentStep, u64>,
    /// What happened to alarms of the burn and the blind judge.
    pub alarms: BTreeMap<(Rule, IncidentStep), u64>,
    /// Bounds reached.
    pub limits: BTreeMap<Limit, u64>,
    /// Re-evaluations of running sessions, by how they came out. They are no sign-ins.
    pub reevaluations: BTreeMap<Outcome, u64>,
    /// Registered devices that stopped reporting their signals.
    pub signal_timeouts: u64,
    /// Events of types that no table lists, by type; beyond 100 types together under `other`.
    pub unlisted: BTreeMap<SmolStr, u64>,
}

/// Types that no table lists and that are counted apart.
const UNLISTED: usize = 100;

impl Counts {
    /// Distinct events in all.
    pub fn events_total(&self) -> u64 {
        self.events.values().sum()
    }

    pub(super) fn event(&mut self, event: &AuthEvent) {
        let AuthEvent { kind, credential, outcome, reason, .. } = *event;
        *self.events.entry(Meaning { kind, credential, outcome, reason }).or_default() += 1;
        match event.part {
            Part::SignIn => {}
            Part::Aside if event.event_type.starts_with("policy.auth_reevaluate.") => {
                *self.reevaluations.entry(outcome).or_default() += 1;
            }
            Part::Aside => self.signal_timeouts += u64::from(event.event_type == "device.signals.status.timeout"),
            Part::Unlisted => {
                let is_apart = self.unlisted.contains_key(&event.event_type) || self.unlisted.len() < UNLISTED;
                let name = if is_apart { event.event_type.clone() } else { SmolStr::new_static("other") };
                *self.unlisted.entry(name).or_default() += 1;
            }
        }
    }

    /// Counts what happened to alarms of the burn and the blind judge.
    pub(super) fn alarm_steps(&mut self, steps: impl IntoIterator<Item = AlarmStep>) {
        for AlarmStep { step, alarm } in steps {
            *self.alarms.entry((alarm.rule, step)).or_default() += 1;
        }
    }

    pub(super) fn reject(&mut self, reason: Reject) {
        *self.rejected.entry(reason).or_default() += 1;
    }

    pub(super) fn limit(&mut self, limit: Limit) {
        *self.limits.entry(limit).or_default() += 1;
    }
}
