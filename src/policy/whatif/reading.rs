//! How a device does in what it is held to, in three values.

use std::collections::BTreeSet;

use serde::Serialize;

use super::scope::{RuleAsk, Scope};
use crate::event::{Check, CheckVerdict, PostureCheck};
use crate::policy::assurance::Context;
use crate::policy::expression;

/// Whether a device would be let in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It fails a check.
    Refuse,
    /// None fails, and at least one cannot be told.
    Unknown,
    /// It passes every check.
    Pass,
}

impl Verdict {
    /// The word in JSON and CSV.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Unknown => "unknown",
            Self::Pass => "pass",
        }
    }
}

/// A verdict with the checks that made it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reading {
    pub(super) verdict: Verdict,
    pub(super) failing: BTreeSet<PostureCheck>,
    pub(super) unknown: BTreeSet<PostureCheck>,
}

impl Reading {
    pub(super) fn pass() -> Self {
        Self { verdict: Verdict::Pass, failing: BTreeSet::new(), unknown: BTreeSet::new() }
    }

    fn refuse(check: PostureCheck) -> Self {
        Self { verdict: Verdict::Refuse, failing: [check].into(), unknown: BTreeSet::new() }
    }

    pub(super) fn unknown(check: PostureCheck) -> Self {
        Self { verdict: Verdict::Unknown, failing: BTreeSet::new(), unknown: [check].into() }
    }

    /// The checks of one policy: all must pass.
    pub(super) fn of(checks: &[Check]) -> Self {
        Self::all(checks.iter().map(|check| match check.result {
            CheckVerdict::Pass => Self::pass(),
            CheckVerdict::Fail => Self::refuse(check.check),
            CheckVerdict::Unknown => Self::unknown(check.check),
        }))
    }

    /// All must be met.
    pub(super) fn all(readings: impl IntoIterator<Item = Self>) -> Self {
        readings.into_iter().fold(Self::pass(), |mut all, one| {
            all.verdict = all.verdict.min(one.verdict);
            all.failing.extend(one.failing);
            all.unknown.extend(one.unknown);
            all
        })
    }

    /// One must be met: the best of them, and of two refusals the one with fewer failing checks. Of nothing, pass.
    pub(super) fn any(readings: impl IntoIterator<Item = Self>) -> Self {
        let best = readings.into_iter().reduce(|a, b| {
            let is_better = (b.verdict, a.failing.len()) > (a.verdict, b.failing.len());
            if is_better { b } else { a }
        });
        best.unwrap_or_else(Self::pass)
    }

    /// One of them applies and nothing says which: known only where all agree.
    pub(super) fn agreed(readings: impl IntoIterator<Item = Self>) -> Self {
        let readings: Vec<Self> = readings.into_iter().collect();
        let verdicts: BTreeSet<Verdict> = readings.iter().map(|reading| reading.verdict).collect();
        if verdicts.len() > 1 {
            let unknown = readings.into_iter().flat_map(|reading| reading.unknown);
            let unknown = unknown.chain([PostureCheck::Unattributed]).collect();
            return Self { verdict: Verdict::Unknown, failing: BTreeSet::new(), unknown };
        }
        Self::any(readings)
    }

    /// What a scope comes to, with the reading of each device assurance policy by id.
    pub(super) fn in_scope(scope: &Scope, context: &Context<'_>, of_policy: &dyn Fn(&str) -> Self) -> Self {
        match scope {
            Scope::Nothing => Self::pass(),
            Scope::Platform(ids) => Self::agreed(ids.iter().map(|id| of_policy(id))),
            Scope::Rules(policies) => Self::all(
                policies
                    .iter()
                    .map(|rules| Self::any(rules.iter().map(|rule| Self::of_rule(rule, context, of_policy)))),
            ),
        }
    }

    fn of_rule(rule: &RuleAsk, context: &Context<'_>, of_policy: &dyn Fn(&str) -> Self) -> Self {
        let signal = |read: fn(&crate::event::DeviceSignals) -> Option<bool>| context.signals.and_then(read);
        let asked = |is_asked: bool, signal: Option<bool>, check| match signal {
            Some(true) => Self::pass(),
            Some(false) if is_asked => Self::refuse(check),
            None if is_asked => Self::unknown(check),
            Some(false) | None => Self::pass(),
        };
        Self::all([
            asked(rule.registered, signal(|said| said.registered), PostureCheck::NotRegistered),
            asked(rule.managed, signal(|said| said.managed), PostureCheck::NotManaged),
            Self::any(rule.assurances.iter().map(|id| of_policy(id))),
            rule.expression.as_deref().map_or_else(Self::pass, |text| Self::of_expression(text, context)),
        ])
    }
}

impl Reading {
    /// An expression is no part of a proposal: it is taken to hold unless the device's signals show that it does not.
    fn of_expression(text: &str, context: &Context<'_>) -> Self {
        let failing = expression::evaluate(text, context, None).checks.into_iter();
        Self::all(failing.filter(|check| check.result == CheckVerdict::Fail).map(|check| Self::refuse(check.check)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{DeviceSignals, Platform};
    use crate::input::Releases;
    use PostureCheck::{DiskEncryption, OsVersion, ScreenLock};

    fn refuse(checks: &[PostureCheck]) -> Reading {
        Reading { failing: checks.iter().copied().collect(), ..Reading::refuse(OsVersion) }
    }

    #[track_caller]
    fn check(reading: &Reading, verdict: Verdict, failing: &[PostureCheck], unknown: &[PostureCheck]) {
        let list = |set: &BTreeSet<PostureCheck>| set.iter().copied().collect::<Vec<_>>();
        let found = (reading.verdict, list(&reading.failing), list(&reading.unknown));
        assert_eq!(found, (verdict, failing.to_vec(), unknown.to_vec()));
    }

    #[test]
    fn all_any_and_agreed_never_turn_unknown_into_a_verdict() {
        let pass = Reading::pass;
        let unknown = || Reading::unknown(ScreenLock);
        let one = || refuse(&[OsVersion]);
        let two = || refuse(&[OsVersion, DiskEncryption]);
        check(&Reading::all([pass(), unknown()]), Verdict::Unknown, &[], &[ScreenLock]);
        check(&Reading::all([one(), unknown()]), Verdict::Refuse, &[OsVersion], &[ScreenLock]);
        check(&Reading::any([one(), unknown()]), Verdict::Unknown, &[], &[ScreenLock]);
        check(&Reading::any([unknown(), pass()]), Verdict::Pass, &[], &[]);
        check(&Reading::any([two(), one()]), Verdict::Refuse, &[OsVersion], &[]);
        check(&Reading::any([one(), two()]), Verdict::Refuse, &[OsVersion], &[]);
        check(&Reading::any([]), Verdict::Pass, &[], &[]);
        check(&Reading::agreed([pass(), pass()]), Verdict::Pass, &[], &[]);
        check(&Reading::agreed([two(), one()]), Verdict::Refuse, &[OsVersion], &[]);
        check(&Reading::agreed([pass(), one()]), Verdict::Unknown, &[], &[PostureCheck::Unattributed]);
    }

    #[test]
    fn a_rule_asks_for_registration_and_management_beside_its_policies() {
        let assurances = vec!["dae1".into()];
        let rule = RuleAsk { managed: true, registered: true, assurances, expression: None };
        let scope = Scope::Rules([vec![rule]].into());
        let of =
            |managed, registered| in_scope(&scope, &DeviceSignals { managed, registered, ..DeviceSignals::default() });
        check(&of(Some(true), Some(true)), Verdict::Pass, &[], &[]);
        check(&of(Some(false), Some(true)), Verdict::Refuse, &[PostureCheck::NotManaged], &[]);
        check(&of(Some(true), None), Verdict::Unknown, &[], &[PostureCheck::NotRegistered]);
    }

    fn in_scope(scope: &Scope, signals: &DeviceSignals) -> Reading {
        let releases = Releases::default();
        let context = Context::new(Platform::Macos, Some(signals), &releases);
        Reading::in_scope(scope, &context, &|_| Reading::pass())
    }

    #[test]
    fn an_expression_holds_unless_the_device_shows_that_it_does_not() {
        let expression = Some("device.provider.zta.overall >= 60".into());
        let rule = RuleAsk { managed: false, registered: false, assurances: Vec::new(), expression };
        let scope = Scope::Rules([vec![rule]].into());
        let of = |text: Option<&str>| {
            in_scope(&scope, &DeviceSignals { integrators: text.map(Into::into), ..DeviceSignals::default() })
        };
        check(&of(Some(r#"{"CROWDSTRIKE":{"overall":80}}"#)), Verdict::Pass, &[], &[]);
        check(&of(None), Verdict::Pass, &[], &[]);
        check(&of(Some(r#"{"CROWDSTRIKE":{"overall":20}}"#)), Verdict::Refuse, &[PostureCheck::Crowdstrike], &[]);
    }
}
