//! What a whole log came to: the document of `replay --json` (design, section 8).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::action::{Action, Incident, IncidentStep, WouldHaveTold};
use crate::adoption::Funnel;
use crate::attempt::Verdict;
use crate::event::{Credential, Kind, Org, Outcome, Reason, Reject};
use crate::judge::alarm::Alarm;
use crate::judge::burn::Standing;
use crate::watch::Watch;

/// One row of counts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Count {
    /// What it is about.
    pub kind: Kind,
    /// With what.
    pub credential: Credential,
    /// How it ended.
    pub outcome: Outcome,
    /// Why not.
    pub reason: Reason,
    /// How many.
    pub n: u64,
}

/// One incident, with what the configured sinks would have been told of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Reported {
    /// The incident.
    #[serde(flatten)]
    pub incident: Incident,
    /// By sink; absent without a configuration that has sinks, as nobody can be named then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub would_have_told: Vec<WouldHaveTold>,
}

/// One alarm of the burn or the blind judge.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AlarmReported {
    /// The org.
    pub org: Org,
    /// The alarm.
    #[serde(flatten)]
    pub alarm: Alarm,
}

/// The steps of every incident, in the order in which they were decided.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Steps(BTreeMap<SmolStr, Vec<IncidentStep>>);

impl Steps {
    /// Takes what the core decided.
    pub fn drain(&mut self, watch: &mut Watch) {
        while let Some(Action::Incident(action)) = watch.poll_action() {
            WouldHaveTold::add(self.0.entry(action.incident.key.clone()).or_default(), action.step);
        }
    }
}

/// The document. Records in = `events` + `duplicates` + the sum of `rejected`; `late` and `undated` are part of
/// `events`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Distinct events accepted.
    pub events: u64,
    /// Records that became no event, by reason.
    pub rejected: BTreeMap<Reject, u64>,
    /// Records seen before.
    pub duplicates: u64,
    /// Events that the watermark had passed.
    pub late: u64,
    /// Attempts by verdict; those under way at the end are closed.
    pub attempts: BTreeMap<Verdict, u64>,
    /// Events by meaning.
    pub counts: Vec<Count>,
    /// Incidents, oldest first.
    pub incidents: Vec<Reported>,
    /// How far phishing-resistant sign-in has come, by org; absent in reports of older versions.
    #[serde(default)]
    pub adoption: BTreeMap<Org, Funnel>,
    /// How every objective stands at the end of the log.
    #[serde(default)]
    pub slos: Vec<Standing>,
    /// Alarms of the burn and the blind judge, oldest first.
    #[serde(default)]
    pub alarms: Vec<AlarmReported>,
    /// How long it took, in milliseconds of the host's clock.
    pub wall_ms: u64,
    /// Inputs of the core that this replay did not have.
    pub inputs_missing: Vec<String>,
    /// The hash of the incident actions; two runs that told people the same have the same.
    pub digest: String,
}

impl Report {
    /// The report of a core that has taken its last input.
    pub fn of(watch: &Watch, wall_ms: u64, inputs_missing: Vec<String>) -> Self {
        let mut report = Self {
            events: 0,
            rejected: BTreeMap::new(),
            duplicates: 0,
            late: 0,
            attempts: BTreeMap::new(),
            counts: Vec::new(),
            incidents: Vec::new(),
            adoption: BTreeMap::new(),
            slos: Vec::new(),
            alarms: Vec::new(),
            wall_ms,
            inputs_missing,
            digest: watch.digest().hex(),
        };
        let mut by_meaning = BTreeMap::new();
        for org in watch.orgs() {
            let counts = org.counts();
            report.events += counts.events_total();
            report.duplicates += counts.duplicates;
            report.late += counts.late;
            counts.rejected.iter().for_each(|(reason, n)| *report.rejected.entry(*reason).or_default() += n);
            counts.attempts.iter().for_each(|((verdict, _), n)| *report.attempts.entry(*verdict).or_default() += n);
            counts.events.iter().for_each(|(meaning, n)| *by_meaning.entry(*meaning).or_default() += n);
            let reported = |incident| Reported { incident, would_have_told: Vec::new() };
            report.incidents.extend(org.incidents().into_iter().map(reported));
            report.slos.extend(org.slos(org.now()));
            let alarm = |alarm: &Alarm| AlarmReported { org: org.name().clone(), alarm: alarm.clone() };
            report.alarms.extend(org.alarms().into_iter().map(alarm));
            report.adoption.insert(org.name().clone(), org.adoption(org.now()));
        }
        report.incidents.sort_by(|Reported { incident: a, .. }, Reported { incident: b, .. }| {
            a.opened_at.cmp(&b.opened_at).then_with(|| a.key.cmp(&b.key))
        });
        report.counts = by_meaning
            .into_iter()
            .map(|(meaning, n)| Count {
                kind: meaning.kind,
                credential: meaning.credential,
                outcome: meaning.outcome,
                reason: meaning.reason,
                n,
            })
            .collect();
        report
    }

    /// Adds what each sink would have been told.
    pub fn would_have_told(&mut self, sinks: &[String], steps: &Steps) {
        for Reported { incident, would_have_told } in &mut self.incidents {
            let Some(steps) = steps.0.get(&incident.key) else { continue };
            *would_have_told =
                sinks.iter().map(|sink| WouldHaveTold { sink: sink.clone(), steps: steps.clone() }).collect();
        }
    }

    /// Records that went in.
    pub fn records(&self) -> u64 {
        self.events + self.duplicates + self.rejected.values().sum::<u64>()
    }
}
