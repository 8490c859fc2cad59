//! One org's policies and groups, and what they say of each answer of a policy.
//!
//! An answer is compared with the policy version that held at its time. Where that version is still being read it waits,
//! at most [`PATIENCE`], then it is read from the device's signals alone. What was counted is never moved.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::counts::Limit;
use crate::attempt::{Known, Step};
use crate::event::{
    App, AuthEvent, DeviceSignals, Flow, Kind, Outcome, Person, Platform, PolicyRule, Posture, PostureCheck,
    PostureSource, Reason, Risk, Span, Timestamp,
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
    /// Bounds reached.
    pub limits: BTreeMap<Limit, u64>,
}

impl PostureCounts {
    fn limit(&mut self, limit: Limit, times: u64) {
        if times > 0 {
            *self.limits.entry(limit).or_default() += times;
        }
    }
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

    /// Whether no policies were ever read.
    pub(super) fn knows_nothing(&self) -> bool {
        self.ledger.is_empty()
    }

    /// What holds from `at` on is not known any more.
    pub(super) fn close(&mut self, at: Timestamp) {
        self.ledger.close(at);
    }

    pub(super) fn members(&mut self, group: &SmolStr, people: &BTreeSet<Person>) {
        self.groups.list(group, people);
    }

    /// Whether an event changes what holds: policies, or who is in a group.
    pub(super) fn follows(event: &AuthEvent) -> bool {
        let is_one = matches!(event.kind, Kind::PolicyChange | Kind::AssuranceChange | Kind::MembershipChange);
        is_one && event.change.is_some()
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
        self.counts.limit(Limit::Answers, over as u64);
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
        let mut folded = 0;
        if question.granted {
            let by = |app: &SmolStr, how| (app.clone(), cohort.clone(), how);
            folded += add(&mut counts.grants, by(&app, posture.assurance), || by(&OTHER, posture.assurance));
            for loose in &posture.loose {
                folded +=
                    add(&mut counts.loose, (app.clone(), cohort.clone(), *loose), || (OTHER, cohort.clone(), *loose));
            }
        } else {
            let reason = posture.reason.unwrap_or(Reason::PolicyDenied);
            *counts.reasons.entry((reason, posture.source)).or_default() += 1;
            for check in posture.culprits() {
                let by = |cohort| (check, posture.source, question.platform, cohort);
                folded += add(&mut counts.checks, by(cohort.clone()), || by(OTHER));
            }
        }
        counts.limit(Limit::Labels, folded);
        let (recent, most) = if question.granted { (&mut self.granted, GRANTS) } else { (&mut self.refused, REFUSALS) };
        let place = recent.partition_point(|decision| decision.at <= question.at);
        recent.insert(place, question.decision(posture.clone()));
        if recent.len() > most {
            recent.pop_front();
        }
    }

    /// What the policies that hold at an event's time make of it alone: a refusal by a policy with a device of its own.
    /// Nothing is counted.
    pub(super) fn read_alone(&self, event: &AuthEvent, setting: &OrgConfig) -> Option<Posture> {
        let is_answer = matches!(event.kind, Kind::PolicyEvaluation | Kind::AccessDenied);
        if !is_answer || event.outcome != Outcome::Deny {
            return None;
        }
        let at = event.published?;
        let query = Query {
            at,
            person: event.person.as_ref(),
            groups: &self.groups,
            platform: event.platform,
            device: Some(event.device.as_deref()?),
            rule: event.rule.as_ref(),
            risk: event.context.risk,
            granted: false,
            phishing_resistant: event.phishing_resistant,
            releases: Some(&setting.releases),
        };
        Some(Posture::from(&policy::evaluate(self.policies(at), &query)))
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
            rule: self.rule.as_ref(),
            risk: self.risk,
            granted: self.granted,
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

/// Adds one under a key, or under a coarser one where there is no room for another. Gives how often it was coarser.
fn add<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K, coarser: impl FnOnce() -> K) -> u64 {
    let has_room = counts.contains_key(&key) || counts.len() < COMBINATIONS;
    *counts.entry(if has_room { key } else { coarser() }).or_default() += 1;
    u64::from(!has_room)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::{Circumstances, Step};
    use crate::watch::testing;

    /// A refusal by the catch-all at a time, in an app.
    fn refusal(at: i64, app: &str) -> Step {
        let mut event = testing::sign_in(1, at, true);
        event.app = Some(App { id: app.into(), name: app.into() });
        Step::of(&event).expect("a step")
    }

    fn ask(postures: &mut Postures, step: &Step) -> Option<Arc<Evaluation>> {
        let known = Known {
            device: None,
            platform: Platform::Macos,
            phishing_resistant: None,
            app: None,
            cohort: None,
            denied: false,
        };
        postures.ask(step, &known, &OrgConfig::default())
    }

    /// Policies whose reading is awaited from minute 1 on.
    fn awaiting() -> Postures {
        let mut postures = Postures::default();
        postures.read(Timestamp(0), PolicyOrigin::Api, &Arc::default());
        let mut change = testing::event("change", 60_000);
        change.kind = Kind::AssuranceChange;
        change.change = Some(Box::new(crate::event::Change {
            target_type: "DeviceAssurancePolicy".into(),
            target_id: "dae1".into(),
            target_name: "Mac".into(),
            policy: None,
            person: None,
            to: None,
        }));
        postures.change(&change, Timestamp(60_000));
        postures
    }

    #[test]
    fn an_answer_waits_for_its_version_and_no_longer_than_ten_minutes() {
        let mut postures = awaiting();
        assert!(ask(&mut postures, &refusal(30_000, "a")).is_some(), "the version before the change is known");
        assert!(ask(&mut postures, &refusal(61_000, "a")).is_none());
        let setting = OrgConfig::default();
        assert!(postures.release(Timestamp(61_000), &setting).is_empty());
        postures.read(Timestamp(60_000), PolicyOrigin::Api, &Arc::default());
        let late = postures.release(Timestamp(62_000), &setting);
        assert_eq!((late.len(), postures.counts.waited_in_vain), (1, 0));

        let mut postures = awaiting();
        ask(&mut postures, &refusal(61_000, "a"));
        assert!(postures.release(Timestamp(660_999), &setting).is_empty());
        assert_eq!(postures.release(Timestamp(661_000), &setting).len(), 1);
        assert_eq!((postures.counts.waited_in_vain, postures.waits()), (1, false));
    }

    #[test]
    fn only_so_many_answers_wait_and_each_that_had_to_give_way_is_counted() {
        let mut postures = awaiting();
        let answers = WAITING as i64 + 3;
        (0..answers).for_each(|n| drop(ask(&mut postures, &refusal(61_000 + n, "a"))));
        assert_eq!(postures.release(Timestamp(62_000), &OrgConfig::default()).len(), 3);
        assert_eq!(postures.counts.limits, [(Limit::Answers, 3)].into());
        let counted: u64 = postures.counts.reasons.values().sum();
        assert_eq!(counted, 3, "those that wait are not counted yet");
    }

    #[test]
    fn labels_beyond_the_bound_are_counted_together_and_lists_keep_the_newest() {
        let mut postures = awaiting();
        for n in 0..COMBINATIONS as i64 + 2 {
            let mut step = refusal(n, &format!("app {n}"));
            step.circumstances = Some(Box::new(Circumstances { granted: true, ..Circumstances::default() }));
            assert!(ask(&mut postures, &step).is_some());
        }
        assert_eq!(postures.counts.limits, [(Limit::Labels, 2)].into());
        let other: u64 = postures.counts.grants.iter().filter(|(key, _)| key.0 == OTHER).map(|(_, n)| n).sum();
        assert_eq!((other, postures.counts.grants.len()), (2, COMBINATIONS + 1));
        let kept: Vec<i64> = postures.decisions(true, Timestamp::MIN).map(|decision| decision.at.0).collect();
        assert_eq!((kept.len(), kept.last()), (GRANTS, Some(&(COMBINATIONS as i64 + 1))));
    }
}
