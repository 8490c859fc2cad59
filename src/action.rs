//! Actions as plain values: what the core asks the edge to do. Nothing here does anything.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::event::{Check, Org, Timestamp};

/// One thing to be done outside, durable before it is done.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Action {
    /// Tell people about an incident.
    Incident(Box<IncidentAction>),
}

/// What happened to an incident.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentStep {
    /// It opened.
    Open,
    /// Its facts changed.
    Update,
    /// It is over.
    Resolve,
    /// It came back within the reopen window.
    Reopen,
}

impl IncidentStep {
    /// The step as written in JSON and in the digest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Update => "update",
            Self::Resolve => "resolve",
            Self::Reopen => "reopen",
        }
    }
}

/// A step of an incident with everything a sink needs to tell it; a sink asks nobody else.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct IncidentAction {
    /// The step.
    pub step: IncidentStep,
    /// Event time of the step.
    pub at: Timestamp,
    /// Counts the steps of one incident from 1; a sink that has carried out revision n ignores n and below.
    pub revision: u32,
    /// The incident as it stands after the step.
    pub incident: Incident,
    /// The text for people, whole.
    pub description: String,
    /// What changed with this step, in a sentence or two.
    pub note: String,
}

/// What a sink in shadow mode would have told about one incident.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WouldHaveTold {
    /// The sink's name.
    pub sink: String,
    /// The steps, oldest first; updates in a row are one.
    pub steps: Vec<IncidentStep>,
}

/// Steps kept of one incident in shadow mode; later ones change nothing about what it would have been like.
const SHADOWED: usize = 64;

impl WouldHaveTold {
    /// Adds a step to those that would have been told. Updates in a row are one, as the outbox folds them.
    pub fn add(steps: &mut Vec<IncidentStep>, step: IncidentStep) {
        let is_repeat = step == IncidentStep::Update && steps.last() == Some(&step);
        if !is_repeat && steps.len() < SHADOWED {
            steps.push(step);
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A person should look today.
    Ticket,
    /// A person should look now.
    Page,
}

/// An incident as `replay --json`, the API and the sinks see it (design, section 8).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Incident {
    /// `aw-` and 32 hex digits, fixed at opening from org, judge, first series and opening tick.
    pub key: SmolStr,
    /// The org.
    pub org: Org,
    /// The judge that opened it (`deny_spike`).
    pub rule: SmolStr,
    /// How bad it is; rises, never falls.
    pub severity: Severity,
    /// When it began, as far as can be told; may be refined.
    pub onset: Timestamp,
    /// The opening tick + L: the earliest that a live daemon could know.
    pub opened_at: Timestamp,
    /// When it was over.
    pub resolved_at: Option<Timestamp>,
    /// One line for a list.
    pub title: String,
    /// Distinct people refused since onset.
    pub people: u64,
    /// The series that are part of it, the first one first.
    pub series: Vec<String>,
    /// The failing checks, as in `explain`; empty while the evidence names none.
    pub checks: Vec<Check>,
    /// Whether anyone is told: `false` where it was over before the daemon had caught up.
    pub notified: bool,
    /// Change events scored as a possible cause.
    pub suspects: Vec<Suspect>,
    /// The numbers that made the verdict.
    pub evidence: Evidence,
}

/// A change event with its score.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Suspect {
    /// The change event's `uuid`.
    pub uuid: SmolStr,
    /// Its `eventType`.
    pub event_type: SmolStr,
    /// What it changed.
    pub target: String,
    /// 0 to 1.
    pub score: f64,
    /// What the score is made of.
    pub parts: Vec<(SmolStr, f64)>,
}

/// The numbers behind a spike verdict, for the series that opened the incident.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Distinct people refused in the window.
    pub people: u64,
    /// How many people would be usual in the window.
    pub expected: f64,
    /// Attempts in the window.
    pub attempts: f64,
    /// The window's length in minutes.
    pub window_minutes: u32,
    /// −log10 p − log10 series of the level; after a change in scope −log10 p.
    pub score: f64,
    /// The score from which the judge fires.
    pub threshold: f64,
    /// The `uuid` of the change in scope that lowered the threshold, where that was what it took.
    pub since_change: Option<SmolStr>,
    /// The apps most hit, with people.
    pub top_apps: Vec<(String, u64)>,
    /// The policy rules most named, with people.
    pub top_rules: Vec<(String, u64)>,
    /// The platforms most hit, with people.
    pub top_platforms: Vec<(String, u64)>,
    /// The cohorts most hit, with people.
    pub top_cohorts: Vec<(String, u64)>,
    /// The OS versions most hit, with people.
    pub top_os_versions: Vec<(String, u64)>,
    /// The checks that the refusals failed, with people; `unattributed` where the evidence names none.
    pub top_checks: Vec<(String, u64)>,
}
