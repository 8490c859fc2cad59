//! The judgement on one sign-in: what the policy's rules, read one by one, say together.
//!
//! Rules only grant. A refusal names the rule that was left, so its reason is looked for in the granting rules above
//! it; a grant is held against the checks of its own rule. Nothing is derived where the policy, or the rule that Okta
//! names, is not among those known: then the device block alone speaks.

use smol_str::SmolStr;

use super::assurance::Context;
use super::integrators::Integrators;
use super::logic::and;
use super::rules::{Reading, merge, no_device, read};
use super::{Agreement, AssuranceResult, Evaluation, Loose, Query};
use crate::event::{Check, CheckVerdict, DeviceSignals, PolicyRule, PostureCheck, PostureSource, Reason};
use crate::input::{Access, AccessPolicy, Network, Policies, Rule};

/// Why a sign-in ended as it did, by the policies in force; `None` where no policy is known.
pub fn evaluate(policies: Option<&Policies>, query: &Query<'_>) -> Evaluation {
    let Some((policies, policy)) = policies.and_then(|policies| Some((policies, find(policies, query)?))) else {
        return signals(query);
    };
    let Some(named) = query.rule.and_then(|rule| position(policy, rule)) else {
        // Okta matched a rule that our version does not have: nothing can be derived from that version.
        return Evaluation { agreement: Agreement::Disagree, ..signals(query) };
    };
    let context = Context::new(query.platform, query.device, query.releases.unwrap_or(&policies.releases));
    let rules = policy.rules.iter().take(named + 1).enumerate();
    let readings: Vec<Reading<'_>> =
        rules.map(|(at, rule)| read(rule, policies, query, &context, at == named)).collect();
    let case = Case { policy, readings: &readings, named, query };
    let mut evaluation = Evaluation {
        source: PostureSource::Derived,
        policy: Some(policy.name.clone()),
        agreement: case.agreement(),
        assurance: AssuranceResult::NotAsked,
        ..Evaluation::none()
    };
    if query.granted {
        case.grant(&mut evaluation);
    } else {
        case.refusal(&mut evaluation);
    }
    evaluation
}

/// The policy: by the id that the rule brings, by the rule's id, by the names of both.
fn find<'p>(policies: &'p Policies, query: &Query<'_>) -> Option<&'p AccessPolicy> {
    let rule = query.rule?;
    if let Some(policy) = rule.policy.as_ref().and_then(|id| policies.policies.get(id)) {
        return Some(policy);
    }
    let all = || policies.policies.values();
    if let Some(policy) = all().find(|policy| policy.rules.iter().any(|own| own.id == rule.id)) {
        return Some(policy);
    }
    let name = rule.policy_name.as_ref()?;
    let mut named = all().filter(|policy| policy.name == *name);
    let policy = named.next().filter(|policy| policy.rules.iter().any(|own| own.name == rule.name))?;
    named.next().is_none().then_some(policy)
}

fn position(policy: &AccessPolicy, rule: &PolicyRule) -> Option<usize> {
    let by_id = policy.rules.iter().position(|own| own.id == rule.id);
    by_id.or_else(|| policy.rules.iter().position(|own| own.name == rule.name))
}

/// One sign-in with every rule down to the one that Okta named.
struct Case<'c, 'p> {
    policy: &'p AccessPolicy,
    readings: &'c [Reading<'p>],
    named: usize,
    query: &'c Query<'c>,
}

impl<'c, 'p> Case<'c, 'p> {
    fn own(&self) -> Option<&'c Reading<'p>> {
        self.readings.get(self.named)
    }

    fn above(&self) -> &'c [Reading<'p>] {
        self.readings.get(..self.named).unwrap_or_default()
    }

    fn is_catch_all(&self, at: usize) -> bool {
        at + 1 == self.policy.rules.len() || self.policy.rules.get(at).is_some_and(|rule| rule.system)
    }

    /// A rule above that is known to match, or a named one that is known not to, is another reading than Okta's,
    /// whatever else is unknown.
    fn agreement(&self) -> Agreement {
        let Some(own) = self.own() else { return Agreement::None };
        let above = || self.above().iter().map(Reading::verdict);
        if own.verdict() == CheckVerdict::Fail || above().any(|verdict| verdict == CheckVerdict::Pass) {
            Agreement::Disagree
        } else if own.verdict() == CheckVerdict::Unknown || above().any(|verdict| verdict == CheckVerdict::Unknown) {
            Agreement::Undecided
        } else {
            Agreement::Agree
        }
    }

    fn refusal(&self, evaluation: &mut Evaluation) {
        let Some(own) = self.own() else { return };
        if own.rule.access == Access::Allow {
            // Its conditions held, and what it asks of the person was not given.
            self.take(evaluation, &[own]);
            return;
        }
        if !self.is_catch_all(self.named) {
            let conditions = &own.rule.conditions;
            if conditions.network != Network::Anywhere {
                evaluation.reason = Some(Reason::NetworkZone);
            } else if conditions.risk.is_some() {
                evaluation.reason = Some(Reason::Risk);
            }
            if evaluation.reason.is_some() {
                return;
            }
        }
        // A rule whose device passes would have let it in: that it did not shows that the rule was for somebody else.
        let may_be_why = |reading: &Reading<'_>| reading.is_candidate() && reading.device != CheckVerdict::Pass;
        let nearest = self.nearest(may_be_why);
        self.take(evaluation, &nearest);
        let is_failing = evaluation.checks.iter().any(|check| check.result == CheckVerdict::Fail);
        if is_failing {
            evaluation.reason = Some(Reason::DevicePosture);
        }
    }

    /// The granting rules that count: the first that is surely for this sign-in but for the device, else every one that
    /// may be.
    fn nearest(&self, is_one: impl Fn(&Reading<'_>) -> bool) -> Vec<&'c Reading<'p>> {
        let all = || self.above().iter().filter(|reading| is_one(reading));
        match all().find(|reading| and(reading.people, reading.request) == CheckVerdict::Pass) {
            Some(sure) => vec![sure],
            None => all().collect(),
        }
    }

    /// Takes over the checks of the rules that count.
    fn take(&self, evaluation: &mut Evaluation, readings: &[&Reading<'_>]) {
        let asks = readings.iter().any(|reading| reading.asks_device);
        evaluation.would_grant = readings.first().map(|reading| reading.rule.name.clone());
        evaluation.checks = if asks && self.query.device.is_none() { vec![no_device()] } else { merge(readings) };
    }

    fn grant(&self, evaluation: &mut Evaluation) {
        let Some(own) = self.own() else { return };
        let is_gated = |reading: &Reading<'_>| reading.is_candidate() && reading.asks_device;
        let by_catch_all = self.is_catch_all(self.named);
        if by_catch_all {
            let gated = self.nearest(is_gated);
            self.take(evaluation, &gated);
            if !gated.is_empty() {
                evaluation.loose.push(Loose::CatchAll);
            }
        } else {
            self.take(evaluation, &[own]);
        }
        evaluation.assurance = result(&evaluation.checks);
        if !by_catch_all && evaluation.assurance == AssuranceResult::Failed {
            evaluation.loose.push(if own.grace { Loose::GracePeriod } else { Loose::FailingCheck });
        }
        self.ungated(own.rule, &mut evaluation.loose);
        if own.rule.phishing_resistant && self.query.phishing_resistant == Some(false) {
            evaluation.loose.push(Loose::Phishable);
        }
    }

    /// Devices that got in although the policy knows rules that would not have let them.
    fn ungated(&self, own: &Rule, loose: &mut Vec<Loose>) {
        let device = |rule: &'p Rule| rule.conditions.device.as_ref();
        let demands_managed =
            |rule: &Rule| rule.conditions.device.as_ref().is_some_and(|device| device.managed == Some(true));
        let is_gated = |rule: &'p Rule| {
            device(rule).is_some_and(|device| device.registered == Some(true) || !device.assurances.is_empty())
        };
        let any = |is_one: &dyn Fn(&'p Rule) -> bool| {
            self.policy.rules.iter().any(|rule| rule.access == Access::Allow && is_one(rule))
        };
        let signals = self.query.device;
        let is_unmanaged = signals.is_some_and(|device| device.managed == Some(false));
        if is_unmanaged && any(&demands_managed) && !demands_managed(own) {
            loose.push(Loose::Unmanaged);
        }
        let is_unregistered = signals.is_none_or(|device| device.registered == Some(false));
        let asks = own.conditions.device.as_ref().is_some_and(|device| device.registered == Some(true));
        if is_unregistered && any(&is_gated) && !asks {
            loose.push(Loose::Unregistered);
        }
    }
}

fn result(checks: &[Check]) -> AssuranceResult {
    let any = |result| checks.iter().any(|check| check.result == result);
    if checks.is_empty() {
        AssuranceResult::NotAsked
    } else if any(CheckVerdict::Fail) {
        AssuranceResult::Failed
    } else if any(CheckVerdict::Unknown) {
        AssuranceResult::Unknown
    } else {
        AssuranceResult::Met
    }
}

/// The device block alone: what no policy would accept fails, what some would is unknown.
fn signals(query: &Query<'_>) -> Evaluation {
    let Some(device) = query.device else { return Evaluation::none() };
    Evaluation { source: PostureSource::Signals, checks: of_signals(device), ..Evaluation::none() }
}

fn of_signals(device: &DeviceSignals) -> Vec<Check> {
    let rows = [
        (PostureCheck::DiskEncryption, none(device.disk_encryption.as_ref()), CheckVerdict::Fail),
        (PostureCheck::ScreenLock, none(device.screen_lock.as_ref()), CheckVerdict::Fail),
        (PostureCheck::SecureHardware, word(device.secure_hardware, false), CheckVerdict::Unknown),
        (PostureCheck::Jailbreak, word(device.jailbreak, true), CheckVerdict::Fail),
        (PostureCheck::NotRegistered, word(device.registered, false), CheckVerdict::Unknown),
        (PostureCheck::NotManaged, word(device.managed, false), CheckVerdict::Unknown),
    ];
    let signal = |check, actual: &str, result| Check {
        check,
        detail: SmolStr::new_static("signal"),
        required: SmolStr::default(),
        actual: Some(SmolStr::new(actual)),
        result,
    };
    let rows = rows.into_iter().filter_map(|(check, actual, result)| Some(signal(check, actual?, result)));
    let mut checks: Vec<Check> = rows.collect();
    if let Some(text) = &device.integrators {
        let integrators = Integrators::parse(text);
        let broken = integrators.errors().map(|text| signal(PostureCheck::SignalUnreadable, text, CheckVerdict::Fail));
        checks.extend(broken);
    }
    checks
}

fn word(flag: Option<bool>, bad: bool) -> Option<&'static str> {
    (flag == Some(bad)).then_some(super::assurance::yes_or_no(bad))
}

fn none(text: Option<&SmolStr>) -> Option<&str> {
    text.map(SmolStr::as_str).filter(|text| *text == "NONE")
}
