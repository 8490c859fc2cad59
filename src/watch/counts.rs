//! Counters that only rise, and survive restarts because they are part of the core's state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::action::IncidentStep;
use crate::attempt::Verdict;
use crate::event::{AuthEvent, Credential, Kind, Outcome, Reason, Reject};

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
    /// Closed attempts.
    pub attempts: BTreeMap<Verdict, u64>,
    /// Incident steps that people were told.
    pub steps: BTreeMap<IncidentStep, u64>,
    /// Bounds reached.
    pub limits: BTreeMap<Limit, u64>,
}

impl Counts {
    /// Distinct events in all.
    pub fn events_total(&self) -> u64 {
        self.events.values().sum()
    }

    pub(super) fn event(&mut self, event: &AuthEvent) {
        let AuthEvent { kind, credential, outcome, reason, .. } = *event;
        *self.events.entry(Meaning { kind, credential, outcome, reason }).or_default() += 1;
    }

    pub(super) fn reject(&mut self, reason: Reject) {
        *self.rejected.entry(reason).or_default() += 1;
    }

    pub(super) fn limit(&mut self, limit: Limit) {
        *self.limits.entry(limit).or_default() += 1;
    }
}
