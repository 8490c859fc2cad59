//! What really happened, counted from the flows and never from the rendered events: `truth.json`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::org::{Cohort, Org};
use super::plan::{Cause, Flow, FlowResult};
use super::push::{Change, Push};
use super::render;
use super::scenario::Timeline;
use crate::event::Timestamp;

/// The truth of one run, so far.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Truth {
    /// The scenario, where the timeline came from one.
    pub scenario: Option<&'static str>,
    /// The seed.
    pub seed: u64,
    /// How many people.
    pub seats: usize,
    /// The start of the run.
    pub start: Timestamp,
    /// Its end: no flow starts later.
    pub until: Timestamp,
    /// Elements of the log: `events` + `duplicates` + `bad`.
    pub records: u64,
    /// Distinct well-formed events.
    pub events: u64,
    /// Repetitions of an event with the same `uuid`.
    pub duplicates: u64,
    /// Events committed 60 to 120 s after their `published`; part of `events`.
    pub late: u64,
    /// Events of an odd but acceptable shape; part of `events`.
    pub odd: u64,
    /// Elements that are no event.
    pub bad: u64,
    /// Distinct events by `eventType`.
    pub events_by_type: BTreeMap<&'static str, u64>,
    /// Flows by verdict.
    pub attempts: BTreeMap<&'static str, u64>,
    /// Refused flows by failing check.
    pub denied_by_check: BTreeMap<&'static str, u64>,
    /// The pushes, in the order of the timeline.
    pub pushes: Vec<PushTruth>,
    /// The person of the retry storm.
    pub storm: Option<StormTruth>,
    /// The people of each cohort.
    pub cohorts: BTreeMap<&'static str, Vec<String>>,
}

/// One push and whom it refused.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PushTruth {
    /// When it took effect.
    pub at: Timestamp,
    /// When it was taken back.
    pub rollback_at: Option<Timestamp>,
    /// The first change event of the apply.
    pub change_uuid: String,
    /// All change events of the apply; any of them is the right suspect.
    pub change_uuids: Vec<String>,
    /// The type of the first.
    pub event_type: &'static str,
    /// The policy of the first.
    pub policy: String,
    /// The rule of the first, where a rule changed.
    pub rule: Option<&'static str>,
    /// Everything that the apply touched.
    pub changes: Vec<Touched>,
    /// The apps whose sign-ins can be refused.
    pub apps: Vec<AppTruth>,
    /// The platforms whose devices can be refused.
    pub platforms: Vec<&'static str>,
    /// The failing check.
    pub check: &'static str,
    /// Whom it refused, in order of their first refusal.
    pub people_refused: Vec<String>,
    /// When each of them was first refused (the `DENY`'s `published`).
    pub refused_at: BTreeMap<String, Timestamp>,
    /// The first refusal.
    pub first_refused_at: Option<Timestamp>,
    /// The last refusal.
    pub last_refused_at: Option<Timestamp>,
    /// Flows it refused.
    pub attempts_refused: u64,
}

/// One policy or rule that an apply touched.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Touched {
    /// The change event's `uuid`.
    pub uuid: String,
    /// Its `eventType`.
    pub event_type: &'static str,
    /// The policy's name.
    pub policy: String,
    /// The rule's name.
    pub rule: Option<&'static str>,
    /// The platform of an assurance policy.
    pub platform: Option<&'static str>,
}

/// An app.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AppTruth {
    /// Okta's id.
    pub id: String,
    /// Its label.
    pub name: &'static str,
}

/// The person of a retry storm.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct StormTruth {
    /// Okta's id.
    pub person: String,
    /// The attempts seen so far.
    pub attempts: u64,
}

impl Truth {
    pub(crate) fn new(org: &Org, timeline: &Timeline, start: Timestamp, until: Timestamp) -> Self {
        let cohort = |cohort: Cohort| (cohort.as_str(), org.members(cohort).map(String::from).collect());
        Self {
            scenario: None,
            seed: org.seed,
            seats: org.people.len(),
            start,
            until,
            records: 0,
            events: 0,
            duplicates: 0,
            late: 0,
            odd: 0,
            bad: 0,
            events_by_type: BTreeMap::new(),
            attempts: BTreeMap::new(),
            denied_by_check: BTreeMap::new(),
            pushes: timeline.pushes.iter().enumerate().map(|(n, push)| PushTruth::new(org, n, push)).collect(),
            storm: timeline
                .storm
                .as_ref()
                .map(|storm| StormTruth { person: org.people[storm.person as usize].id.clone(), attempts: 0 }),
            cohorts: Cohort::ALL.map(cohort).into(),
        }
    }

    pub(crate) fn count(&mut self, org: &Org, flow: &Flow) {
        *self.attempts.entry(flow.result.verdict()).or_default() += 1;
        let FlowResult::Denied(check) = flow.result else { return };
        *self.denied_by_check.entry(check.as_str()).or_default() += 1;
        match flow.cause {
            Cause::Push(number) => {
                if let Some(push) = self.pushes.get_mut(usize::from(number)) {
                    push.count(&org.people[flow.person as usize].id, flow.decided_at);
                }
            }
            Cause::Storm => {
                if let Some(storm) = &mut self.storm {
                    storm.attempts += 1;
                }
            }
            Cause::Null | Cause::Cluster => {}
        }
    }
}

impl PushTruth {
    fn new(org: &Org, number: usize, push: &Push) -> Self {
        let changes = render::change_ids(org, number, push);
        let apps = org.apps.iter().zip(0_u16..).filter(|(app, index)| match &push.change {
            Change::Floor { .. } => app.gated,
            Change::RequireManaged { app: changed } => changed == index,
        });
        let platforms = match &push.change {
            Change::Floor { floors, .. } => floors.iter().map(|floor| floor.platform().as_str()).collect(),
            Change::RequireManaged { .. } => super::fleet::Platform::ALL.map(|platform| platform.as_str()).into(),
        };
        let check = match &push.change {
            Change::Floor { .. } => super::push::Check::OsVersion,
            Change::RequireManaged { .. } => super::push::Check::NotManaged,
        };
        let first = changes.first();
        Self {
            at: push.at,
            rollback_at: push.rollback_at,
            change_uuid: first.map(|change| change.uuid.clone()).unwrap_or_default(),
            change_uuids: changes.iter().map(|change| change.uuid.clone()).collect(),
            event_type: first.map_or("", |change| change.event_type),
            policy: first.map(|change| change.policy.clone()).unwrap_or_default(),
            rule: first.and_then(|change| change.rule),
            apps: apps.map(|(app, _)| AppTruth { id: app.id.clone(), name: app.name }).collect(),
            platforms,
            check: check.as_str(),
            changes,
            people_refused: Vec::new(),
            refused_at: BTreeMap::new(),
            first_refused_at: None,
            last_refused_at: None,
            attempts_refused: 0,
        }
    }

    fn count(&mut self, person: &str, at: Timestamp) {
        self.attempts_refused += 1;
        let first = self.refused_at.entry(person.to_owned()).or_insert(at);
        *first = (*first).min(at);
        self.first_refused_at = Some(self.first_refused_at.map_or(at, |first| first.min(at)));
        self.last_refused_at = Some(self.last_refused_at.map_or(at, |last| last.max(at)));
    }

    pub(crate) fn order_people(&mut self) {
        let mut people: Vec<_> = self.refused_at.iter().map(|(person, at)| (*at, person.clone())).collect();
        people.sort();
        self.people_refused = people.into_iter().map(|(_, person)| person).collect();
    }
}
