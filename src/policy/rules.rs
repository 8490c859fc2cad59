//! One rule beside one sign-in: for whom, from where, on what, with which device; each pass, fail or unknown.
//!
//! A zone is known by name in events and by id in rules, so a rule that asks for one is never known to match. What a
//! rule asks and the model does not know is unknown as well.

use smol_str::SmolStr;

use super::Query;
use super::assurance::{self, Context, flag};
use super::expression;
use super::logic::{and, known};
use crate::event::{Check, CheckVerdict, Platform, PostureCheck, Timestamp};
use crate::input::{
    Access, Assurance, Conditions, DeviceCondition, Grace, Network, People, PlatformCondition, Policies, Rule,
};

/// One rule as it stands to one sign-in.
pub(super) struct Reading<'p> {
    pub(super) rule: &'p Rule,
    /// Whether the person is in its scope.
    pub(super) people: CheckVerdict,
    /// Whether everything about the request holds: platform, network, risk, and what is unread.
    pub(super) request: CheckVerdict,
    /// Whether it asks anything of the device.
    pub(super) asks_device: bool,
    /// The checks of the device.
    pub(super) checks: Vec<Check>,
    /// Whether the device is let in by them.
    pub(super) device: CheckVerdict,
    /// Whether a grace period may let a failing device in.
    pub(super) grace: bool,
}

impl Reading<'_> {
    /// Whether the rule matches.
    pub(super) fn verdict(&self) -> CheckVerdict {
        and(self.people, and(self.request, self.device))
    }

    /// Whether it lets people in and may have been for this one but for the device.
    pub(super) fn is_candidate(&self) -> bool {
        self.rule.access == Access::Allow && self.people != CheckVerdict::Fail && self.request != CheckVerdict::Fail
    }

    fn fails(&self) -> bool {
        self.checks.iter().any(|check| check.result == CheckVerdict::Fail)
    }
}

/// Reads one rule. The device is not looked at where the rule is for somebody or something else, unless it is the one
/// that matched (`always`).
pub(super) fn read<'p>(
    rule: &'p Rule,
    policies: &Policies,
    query: &Query<'_>,
    context: &Context<'_>,
    always: bool,
) -> Reading<'p> {
    let conditions = &rule.conditions;
    let mut reading = Reading {
        rule,
        people: people(&conditions.people, query),
        request: request(conditions, query),
        asks_device: false,
        checks: Vec::new(),
        device: CheckVerdict::Pass,
        grace: false,
    };
    let is_elsewhere = reading.people == CheckVerdict::Fail || reading.request == CheckVerdict::Fail;
    if is_elsewhere && !always {
        // Its verdict is known; whether it would ask for the device does not matter to this sign-in.
        return reading;
    }
    if let Some(condition) = &conditions.device {
        device(&mut reading, condition, policies, query.at, context);
    }
    if let Some(text) = &conditions.expression {
        let expression = expression::evaluate(text, context, query.risk);
        reading.asks_device |= expression.asks_device;
        reading.request = and(reading.request, expression.request);
        reading.device = and(reading.device, expression.device);
        reading.grace &= expression.device != CheckVerdict::Fail;
        reading.checks.extend(expression.checks);
    }
    if reading.asks_device && context.signals.is_none() {
        reading.checks.clear();
        reading.grace = false;
        // An event without a device is not a device that is not there.
        reading.device = CheckVerdict::Unknown;
    }
    reading
}

/// Whether the person is in the rule's scope: in any of the people or groups it names, in none that it leaves out.
pub(super) fn people(people: &People, query: &Query<'_>) -> CheckVerdict {
    let People { users_include, users_exclude, groups_include, groups_exclude } = people;
    let in_any = |users: &[SmolStr], groups: &[SmolStr]| {
        let Some(person) = query.person else { return CheckVerdict::Unknown };
        if users.iter().any(|user| user == person.as_str()) {
            return CheckVerdict::Pass;
        }
        groups
            .iter()
            .fold(CheckVerdict::Fail, |any, group| super::logic::or(any, known(query.groups.has(group, person))))
    };
    let is_for_all = users_include.is_empty() && groups_include.is_empty();
    let included = if is_for_all { CheckVerdict::Pass } else { in_any(users_include, groups_include) };
    let leaves_out = !users_exclude.is_empty() || !groups_exclude.is_empty();
    let excluded = if leaves_out { in_any(users_exclude, groups_exclude) } else { CheckVerdict::Fail };
    and(included, super::logic::not(excluded))
}

fn request(conditions: &Conditions, query: &Query<'_>) -> CheckVerdict {
    let network = match &conditions.network {
        Network::Anywhere => CheckVerdict::Pass,
        Network::Zones { .. } | Network::Word(_) => CheckVerdict::Unknown,
    };
    let risk = match (conditions.risk, query.risk) {
        (None, _) => CheckVerdict::Pass,
        (Some(asked), level) => known(level.map(|level| level == asked)),
    };
    let unread = if conditions.unread.is_empty() { CheckVerdict::Pass } else { CheckVerdict::Unknown };
    and(and(network, risk), and(unread, platforms(&conditions.platforms, query.platform)))
}

pub(super) fn platforms(conditions: &[PlatformCondition], platform: Platform) -> CheckVerdict {
    if conditions.is_empty() {
        return CheckVerdict::Pass;
    }
    conditions.iter().fold(CheckVerdict::Fail, |any, condition| super::logic::or(any, on(condition, platform)))
}

fn on(condition: &PlatformCondition, platform: Platform) -> CheckVerdict {
    let kind = condition.kind.as_str();
    if kind == "ANY" && condition.platform.is_none() {
        return CheckVerdict::Pass;
    }
    let is_desktop = match platform {
        Platform::Unknown => return CheckVerdict::Unknown,
        Platform::Macos | Platform::Windows | Platform::Chromeos | Platform::Linux => Some(true),
        Platform::Ios | Platform::Android => Some(false),
        Platform::Other => None,
    };
    let of_kind = match kind {
        "DESKTOP" => known(is_desktop),
        "MOBILE" => known(is_desktop.map(|is_desktop| !is_desktop)),
        "ANY" => CheckVerdict::Pass,
        // `OTHER` and words that are not documented.
        _ => known(
            matches!(platform, Platform::Macos | Platform::Windows | Platform::Ios | Platform::Android)
                .then_some(false),
        ),
    };
    let of_system = match condition.platform {
        None => CheckVerdict::Pass,
        Some(Platform::Other) => known(Some(matches!(platform, Platform::Other | Platform::Linux))),
        Some(system) => known(Some(system == platform)),
    };
    and(of_kind, of_system)
}

fn device(
    reading: &mut Reading<'_>,
    condition: &DeviceCondition,
    policies: &Policies,
    at: Timestamp,
    context: &Context<'_>,
) {
    let DeviceCondition { registered, managed, assurances } = condition;
    reading.asks_device |= *registered == Some(true) || *managed == Some(true) || !assurances.is_empty();
    let Some(signals) = context.signals else { return };
    for (asked, actual, what) in [
        (*registered, signals.registered, PostureCheck::NotRegistered),
        (*managed, signals.managed, PostureCheck::NotManaged),
    ] {
        if asked == Some(true) {
            let result = known(actual);
            reading.checks.push(flag(what, "required", true, actual, result));
            reading.device = and(reading.device, result);
        }
    }
    // Okta's pages disagree on whether a rule for devices that are "not managed" matches managed ones.
    let says_unmanaged = *registered == Some(true) && *managed == Some(false);
    if says_unmanaged && signals.managed != Some(false) {
        reading.device = and(reading.device, CheckVerdict::Unknown);
    }
    if !assurances.is_empty() {
        let Some(nearest) = nearest(assurances, policies, context) else {
            // Every policy is for another platform: so is the rule, and no check of the device is to blame.
            reading.request = CheckVerdict::Fail;
            return;
        };
        let runs = nearest.assurance.and_then(|assurance| grace(assurance, at));
        let is_failing = nearest.verdict == CheckVerdict::Fail;
        reading.grace = is_failing && runs.is_some() && !reading.fails();
        let let_in = match (is_failing, runs) {
            (true, Some(let_in)) => let_in,
            (_, _) => nearest.verdict,
        };
        reading.device = and(reading.device, let_in);
        reading.checks.extend(nearest.checks);
    }
}

/// Whether a device that fails is let in by a grace period: surely, perhaps (its start is not in the log), or not.
fn grace(assurance: &Assurance, at: Timestamp) -> Option<CheckVerdict> {
    match assurance.grace? {
        Grace::Until(end) => (at < end).then_some(CheckVerdict::Pass),
        Grace::For(_) => Some(CheckVerdict::Unknown),
    }
}

/// One device assurance policy of several that are each enough, with its checks.
struct Nearest<'p> {
    verdict: CheckVerdict,
    checks: Vec<Check>,
    assurance: Option<&'p Assurance>,
}

/// The policy of the device's platform that comes nearest to being met: one that is, else one that may be, else the
/// one with the fewest failing checks.
///
/// `None` where every policy is for another platform.
fn nearest<'p>(ids: &[SmolStr], policies: &'p Policies, context: &Context<'_>) -> Option<Nearest<'p>> {
    let mut best: Option<(Nearest<'p>, usize)> = None;
    let mut missing = None;
    for id in ids {
        let Some(assurance) = policies.assurances.get(id) else {
            missing = Some(id);
            continue;
        };
        if assurance.platform != context.platform {
            continue;
        }
        let checks = assurance::of(assurance, context);
        let verdict = checks.iter().fold(CheckVerdict::Pass, |all, check| and(all, check.result));
        let fails = checks.iter().filter(|check| check.result == CheckVerdict::Fail).count();
        let rank = |verdict| match verdict {
            CheckVerdict::Pass => 0,
            CheckVerdict::Unknown => 1,
            CheckVerdict::Fail => 2,
        };
        if best.as_ref().is_none_or(|(best, fewest)| (rank(verdict), fails) < (rank(best.verdict), *fewest)) {
            best = Some((Nearest { verdict, checks, assurance: Some(assurance) }, fails));
        }
    }
    match (best, missing) {
        (Some((best, _)), None) => Some(best),
        (Some((best, _)), Some(_)) if best.verdict != CheckVerdict::Fail => Some(best),
        (_, Some(id)) => Some(untold("assurance", id.clone())),
        (None, None) if context.platform == Platform::Unknown => Some(untold("platform", SmolStr::default())),
        (None, None) => None,
    }
}

/// Whether a device assurance policy is met cannot be told: it is not among those known, or the platform is not.
fn untold<'p>(detail: &'static str, required: SmolStr) -> Nearest<'p> {
    let result = CheckVerdict::Unknown;
    let detail = SmolStr::new_static(detail);
    let check = Check { check: PostureCheck::Unattributed, detail, required, actual: None, result };
    Nearest { verdict: result, checks: vec![check], assurance: None }
}

/// The flow has no device, and a rule asks for one.
pub(super) fn no_device() -> Check {
    Check {
        check: PostureCheck::NoDeviceContext,
        detail: SmolStr::new_static("device"),
        required: SmolStr::new_static("a registered device"),
        actual: None,
        result: CheckVerdict::Unknown,
    }
}

/// What is known where any one of several rules may have been the person's: a check fails only if it fails in each.
pub(super) fn merge(readings: &[&Reading<'_>]) -> Vec<Check> {
    if let [only] = readings {
        return only.checks.clone();
    }
    let mut merged: Vec<Check> = Vec::new();
    for check in readings.iter().flat_map(|reading| &reading.checks) {
        let is_same = |other: &&Check| other.check == check.check && other.detail == check.detail;
        if merged.iter().any(|seen| is_same(&seen)) {
            continue;
        }
        let fails = |other: &Check| other.check == check.check && other.result == CheckVerdict::Fail;
        let all_fail = || readings.iter().all(|reading| reading.checks.iter().any(fails));
        // A rule that does not ask for it does not speak against it.
        let all_pass = || {
            let mut same = readings.iter().flat_map(|reading| &reading.checks).filter(is_same);
            same.all(|other| other.result == CheckVerdict::Pass)
        };
        let result = match check.result {
            CheckVerdict::Fail if all_fail() => CheckVerdict::Fail,
            CheckVerdict::Pass if all_pass() => CheckVerdict::Pass,
            CheckVerdict::Pass | CheckVerdict::Fail | CheckVerdict::Unknown => CheckVerdict::Unknown,
        };
        merged.push(Check { result, ..check.clone() });
    }
    merged
}
