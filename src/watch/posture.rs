//! One org's policies and groups, and what they say of each answer of a policy.
//!
//! An answer is compared with the policy version that held at its time. Where that version is still being read it waits,
//! at most [`PATIENCE`], then it is read from the device's signals alone. What was counted is never moved.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::attempt::{Known, Step};
use crate::event::{
    App, AuthEvent, DeviceSignals, Flow, Kind, Person, Platform, PolicyRule, PostureCheck, PostureSource, Reason, Risk,
    Span, Timestamp,
};
use crate::input::{OrgConfig, Policies, PolicyOrigin};
use crate::policy::{self, Agreement, AssuranceResult, Evaluation, Groups, Held, Ledger, Loose, Query};

/// How long an answer waits for the policy version that held.
const PATIENCE: Span = Span::minutes(10);
/// Answers that wait; beyond it the oldest is read from the signals alone.
const WAITING: usize = 10_000;
/// Refusals that are kept for those who ask what happened lately.
const REFUSALS: usize = 1_000;
/// Grants that are kept likewise.
const GRANTS: usize = 300;
/// Combinations of labels that are counted apart; more are counted together.
const COMBINATIONS: usize = 2_000;
/// The label of what is counted together.
const OTHER: SmolStr = SmolStr::new_static("other");

/// An answer of a policy, with all that is known of the sign-in.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Question {
    at: Timestamp,
    uuid: SmolStr,
    person: Option<Person>,
    flow: Flow,
    cohort: Option<SmolStr>,
    platform: Platform,
    device: Option<Arc<DeviceSignals>>,
    app: Option<App>,
    rule: Option<PolicyRule>,
    zone: Option<SmolStr>,
    risk: Option<Risk>,
    granted: bool,
    phishing_resistant: Option<bool>,
}

/// An answer of a policy with its reading, for those who ask what happened lately. It names no person.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PolicyDecision {
    /// When Okta decided.
    pub at: Timestamp,
    /// The event's `uuid`.
    pub uuid: SmolStr,
    /// Whether the policy let it pass.
    pub granted: bool,
    /// The cohort.
    pub cohort: Option<SmolStr>,
    /// The platform.
    pub platform: Platform,
    /// The app.
    pub app: Option<App>,
    /// The rule that Okta named.
    pub rule: Option<PolicyRule>,
    /// Our reading.
    pub posture: Arc<Evaluation>,
}

/// An answer that was waiting and has its reading now.
pub(super) struct Late {
    pub(super) at: Timestamp,
    pub(super) person: Option<Person>,
    pub(super) flow: Flow,
    pub(super) posture: Arc<Evaluation>,
}

/// What the answers add up to. Only rises.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PostureCounts {
    /// Refusals by failing check, source of the reading, platform and cohort.
    pub checks: BTreeMap<(PostureCheck, PostureSource, Platform, SmolStr), u64>,
    /// Refusals by derived reason and source.
    pub reasons: BTreeMap<(Reason, PostureSource), u64>,
    /// Answers by whether our rule is Okta's.
    pub agreement: BTreeMap<Agreement, u64>,
    /// Grants by app, cohort and how the checks came out.
    pub grants: BTreeMap<(SmolStr, SmolStr, AssuranceResult), u64>,
    /// Grants that should not be, by app, cohort and why.
    pub loose: BTreeMap<(SmolStr, SmolStr, Loose), u64>,
    /// Answers that waited in vain for their policy version.
    pub waited_in_vain: u64,
}

/// One org's policies and groups.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Postures {
    ledger: Ledger,
    pub(super) groups: Groups,
    waiting: VecDeque<Question>,
    refused: VecDeque<PolicyDecision>,
    granted: VecDeque<PolicyDecision>,
    pub(super) counts: PostureCounts,
}

impl Postures {
    /// Takes a reading of the policies.
    pub(super) fn read(&mut self, since: Timestamp, origin: PolicyOrigin, policies: &Arc<Policies>) {
        self.ledger.read(since, origin, policies.clone());
    }

    pub(super) fn members(&mut self, group: &SmolStr, people: &BTreeSet<Person>) {
        self.groups.list(group, people);
    }

    /// Follows a change that passes in the log.
    pub(super) fn change(&mut self, event: &AuthEvent, published: Timestamp) {
        let Some(change) = &event.change else { return };
        match event.kind {
            Kind::PolicyChange | Kind::AssuranceChange => {
                self.ledger.change(published, change, &event.event_type);
            }
            Kind::MembershipChange => {
                let joins = match event.event_type.as_str() {
                    "group.user_membership.add" => true,
                    "group.user_membership.remove" => false,
                    _ => return,
                };
                if let Some(person) = &change.person {
                    self.groups.change(&change.target_id, person, joins);
                }
            }
            _ => {}
        }
    }

    /// What the policies in force say of an answer; `None` where it must wait or there is nothing to compare with.
    pub(super) fn ask(&mut self, step: &Step, known: &Known<'_>, setting: &OrgConfig) -> Option<Arc<Evaluation>> {
        let circumstances = step.circumstances.as_ref()?;
        let granted = circumstances.granted;
        // Where no policy was ever known a grant has nothing to be compared with.
        if (granted && self.ledger.is_empty()) || (circumstances.repeats && known.denied) {
            return None;
        }
        let question = Question {
            at: step.published,
            uuid: circumstances.uuid.clone(),
            person: step.person.clone(),
            flow: step.flow.clone(),
            cohort: known.cohort.cloned(),
            platform: known.platform,
            device: known.device.cloned(),
            app: step.app.as_ref().or(known.app).cloned(),
            rule: step.rule.clone(),
            zone: circumstances.zone.clone(),
            risk: circumstances.risk,
            granted,
            phishing_resistant: known.phishing_resistant,
        };
        let policies = match self.ledger.at(question.at) {
            Held::Version(policies) => Some(policies),
            Held::Pending => {
                self.waiting.push_back(question);
                return None;
            }
            Held::Unknown | Held::None => None,
        };
        let posture = Arc::new(question.evaluate(policies, &self.groups, setting));
        self.count(question, &posture);
        Some(posture)
    }

    /// Answers what no longer has to wait: its version is known by now, or it has waited long enough.
    pub(super) fn release(&mut self, now: Timestamp, setting: &OrgConfig) -> Vec<Late> {
        let mut late = Vec::new();
        let mut waiting = std::mem::take(&mut self.waiting);
        let mut over = waiting.len().saturating_sub(WAITING);
        waiting.retain(|question| {
            let policies = match self.ledger.at(question.at) {
                Held::Pending if over == 0 && question.at > now - PATIENCE => return true,
                Held::Version(policies) => Some(policies),
                Held::Pending | Held::Unknown | Held::None => None,
            };
            over = over.saturating_sub(1);
            let posture = Arc::new(question.evaluate(policies, &self.groups, setting));
            late.push((question.clone(), posture, policies.is_none()));
            false
        });
        self.waiting = waiting;
        late.into_iter()
            .map(|(question, posture, in_vain)| {
                self.counts.waited_in_vain += u64::from(in_vain);
                let Question { at, person, flow, .. } = question.clone();
                self.count(question, &posture);
                Late { at, person, flow, posture }
            })
            .collect()
    }

    /// Whether answers wait.
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn count(&mut self, question: Question, posture: &Arc<Evaluation>) {
        let counts = &mut self.counts;
        *counts.agreement.entry(posture.agreement).or_default() += 1;
        let cohort = question.cohort.clone().unwrap_or_default();
        let app = question.app.as_ref().map(|app| if app.name.is_empty() { app.id.clone() } else { app.name.clone() });
        let app = app.unwrap_or_default();
        if question.granted {
            add(&mut counts.grants, (app.clone(), cohort.clone(), posture.assurance), |key| {
                (OTHER, cohort.clone(), key.2)
            });
            for loose in &posture.loose {
                add(&mut counts.loose, (app.clone(), cohort.clone(), *loose), |key| (OTHER, cohort.clone(), key.2));
            }
        } else {
            let reason = posture.reason.unwrap_or(Reason::PolicyDenied);
            *counts.reasons.entry((reason, posture.source)).or_default() += 1;
            for check in posture.culprits() {
                let key = (check, posture.source, question.platform, cohort.clone());
                add(&mut counts.checks, key, |key| (key.0, key.1, key.2, OTHER));
            }
        }
        let (recent, most) = if question.granted { (&mut self.granted, GRANTS) } else { (&mut self.refused, REFUSALS) };
        let place = recent.partition_point(|decision| decision.at <= question.at);
        recent.insert(place, question.decision(posture.clone()));
        if recent.len() > most {
            recent.pop_front();
        }
    }

    /// The newest refusals (or grants) at or after `since`, oldest first.
    pub(super) fn decisions(&self, granted: bool, since: Timestamp) -> impl Iterator<Item = &PolicyDecision> {
        let decisions = if granted { &self.granted } else { &self.refused };
        decisions.iter().filter(move |decision| decision.at >= since)
    }

    /// The policies that hold at a time, where they are known.
    pub(super) fn policies(&self, at: Timestamp) -> Option<&Policies> {
        match self.ledger.at(at) {
            Held::Version(policies) => Some(policies),
            Held::Pending | Held::Unknown | Held::None => None,
        }
    }

    pub(super) fn forget(&mut self, person: &Person) {
        self.groups.forget(person);
        self.waiting.retain(|question| question.person.as_ref() != Some(person));
    }
}

impl Question {
    fn evaluate(&self, policies: Option<&Policies>, groups: &Groups, setting: &OrgConfig) -> Evaluation {
        let query = Query {
            at: self.at,
            person: self.person.as_ref(),
            groups,
            platform: self.platform,
            device: self.device.as_deref(),
            app: self.app.as_ref(),
            rule: self.rule.as_ref(),
            zone: self.zone.as_deref(),
            risk: self.risk,
            granted: Some(self.granted),
            phishing_resistant: self.phishing_resistant,
            releases: Some(&setting.releases),
        };
        policy::evaluate(policies, &query)
    }

    fn decision(self, posture: Arc<Evaluation>) -> PolicyDecision {
        let Self { at, uuid, granted, cohort, platform, app, rule, .. } = self;
        PolicyDecision { at, uuid, granted, cohort, platform, app, rule, posture }
    }
}

/// Adds one under a key, or under a coarser one where there is no room for another.
fn add<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K, coarser: impl FnOnce(&K) -> K) {
    let key = if counts.contains_key(&key) || counts.len() < COMBINATIONS { key } else { coarser(&key) };
    *counts.entry(key).or_default() += 1;
}
