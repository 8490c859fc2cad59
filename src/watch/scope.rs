//! What a change of policy may refuse: its scope, read from the policies before and after it.
//!
//! A device assurance policy asks on one platform, wherever rules name it; a rule asks in the apps of its policy. A refusal
//! names the rule that was left, not the one that changed, so every refusing rule of a policy concerned is in the scope.
//! Where the policies are not known, the scope is not known. A part that is not known limits nothing.

use std::collections::BTreeSet;

use smol_str::{SmolStr, format_smolstr};

use super::posture::Postures;
use super::series::SeriesTable;
use crate::event::{AuthEvent, Change, Kind, PostureCheck, Reason, Timestamp};
use crate::input::{Access, Network, OrgConfig, Policies, Requirement, Rule};
use crate::judge::Scope;

/// What a thing that changes asks for, where and of whom, as one version has it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Reach {
    /// The checks, each with what is asked.
    asks: BTreeSet<(SmolStr, SmolStr)>,
    policies: BTreeSet<SmolStr>,
    rules: BTreeSet<SmolStr>,
    platforms: Option<BTreeSet<SmolStr>>,
    groups: Option<BTreeSet<SmolStr>>,
    /// Whether a change can add checks that are not among `asks`.
    may_ask_more: bool,
}

/// How far a change reaches by the policies at a time.
pub(super) fn reach(event: &AuthEvent, postures: &Postures, at: Timestamp) -> Option<Reach> {
    let (change, policies) = (event.change.as_ref()?, postures.policies(at)?);
    match event.kind {
        Kind::AssuranceChange => of_assurance(change, policies),
        Kind::PolicyChange => of_rule(change, policies),
        _ => None,
    }
}

/// The scope of a change, from how far it reached before and how far it reaches after; `None` where neither is known or
/// nothing that can refuse has changed.
pub(super) fn scope(
    before: Option<&Reach>,
    after: Option<&Reach>,
    postures: &Postures,
    setting: &OrgConfig,
    table: &SeriesTable,
) -> Option<Scope> {
    if before.is_some() && before == after {
        return None;
    }
    let known = after.or(before)?;
    let both = before.zip(after);
    let differ = both.map(|(before, after)| before.asks.symmetric_difference(&after.asks).cloned().collect());
    let asks: BTreeSet<(SmolStr, SmolStr)> =
        differ.filter(|differ: &BTreeSet<_>| !differ.is_empty()).unwrap_or_else(|| known.asks.clone());
    let mut checks: BTreeSet<SmolStr> = asks.into_iter().map(|(check, _)| check).collect();
    if both.is_none() && known.may_ask_more {
        let more = [PostureCheck::NotManaged.as_str(), PostureCheck::NotRegistered.as_str()];
        checks.extend(more.map(SmolStr::new_static));
        checks.extend([Reason::NetworkZone.as_str(), Reason::Risk.as_str()].map(SmolStr::new_static));
    }
    let apps: Option<Vec<_>> = known.policies.iter().map(|policy| table.apps_of_policy(policy)).collect();
    Some(Scope {
        checks,
        rules: known.rules.clone(),
        cohorts: known.groups.as_ref().and_then(|groups| cohorts(groups, postures, setting)),
        apps: apps.filter(|apps| !apps.is_empty()).map(|apps| apps.into_iter().flatten().cloned().collect()),
        platforms: known.platforms.clone(),
    })
}

fn of_assurance(change: &Change, policies: &Policies) -> Option<Reach> {
    let assurance = policies.assurances.get(&change.target_id)?;
    let mut reach = Reach {
        asks: assurance.requirements.iter().flat_map(asked).collect(),
        platforms: Some([SmolStr::new_static(assurance.platform.as_str())].into()),
        groups: Some(BTreeSet::new()),
        ..Reach::default()
    };
    for (id, policy) in &policies.policies {
        let names_it = |rule: &&Rule| {
            rule.conditions.device.as_ref().is_some_and(|device| device.assurances.contains(&change.target_id))
        };
        let named: Vec<&Rule> = policy.rules.iter().filter(names_it).collect();
        if named.is_empty() {
            continue;
        }
        reach.policies.insert(id.clone());
        reach.rules.extend(refusing(&policy.rules));
        named.iter().for_each(|rule| reach.add_groups(rule));
    }
    reach.groups = reach.groups.filter(|groups| !groups.is_empty());
    Some(reach)
}

fn of_rule(change: &Change, policies: &Policies) -> Option<Reach> {
    let holds = |rules: &[Rule]| rules.iter().any(|rule| rule.id == change.target_id);
    let named = change.policy.as_ref().and_then(|id| policies.policies.get_key_value(id));
    let (id, policy) = named.or_else(|| policies.policies.iter().find(|(_, policy)| holds(&policy.rules)))?;
    let mut reach = Reach {
        policies: [id.clone()].into(),
        rules: refusing(&policy.rules).collect(),
        may_ask_more: true,
        ..Reach::default()
    };
    let Some(rule) = policy.rules.iter().find(|rule| rule.id == change.target_id) else { return Some(reach) };
    let mut ask = |check: &'static str, what: SmolStr| reach.asks.insert((SmolStr::new_static(check), what));
    if let Some(device) = &rule.conditions.device {
        for (check, value) in
            [(PostureCheck::NotManaged, device.managed), (PostureCheck::NotRegistered, device.registered)]
        {
            if value == Some(true) {
                ask(check.as_str(), SmolStr::default());
            }
        }
        let asked_here = device.assurances.iter().filter_map(|id| Some((id, policies.assurances.get(id)?)));
        for (id, assurance) in asked_here {
            for (check, what) in assurance.requirements.iter().flat_map(asked) {
                reach.asks.insert((check, format_smolstr!("{id} {what}")));
            }
        }
    }
    let mut ask = |check: &'static str, what: SmolStr| reach.asks.insert((SmolStr::new_static(check), what));
    if rule.conditions.network != Network::Anywhere {
        ask(Reason::NetworkZone.as_str(), format_smolstr!("{:?}", rule.conditions.network));
    }
    if let Some(risk) = rule.conditions.risk {
        ask(Reason::Risk.as_str(), format_smolstr!("{risk:?}"));
    }
    let platforms: Option<BTreeSet<SmolStr>> = rule
        .conditions
        .platforms
        .iter()
        .map(|condition| condition.platform.map(|platform| SmolStr::new_static(platform.as_str())))
        .collect();
    reach.platforms = platforms.filter(|platforms| !platforms.is_empty());
    reach.groups = Some(BTreeSet::new());
    reach.add_groups(rule);
    reach.groups = reach.groups.filter(|groups| !groups.is_empty());
    Some(reach)
}

impl Reach {
    /// The groups that a rule is for; one that is for everybody makes it everybody.
    fn add_groups(&mut self, rule: &Rule) {
        let people = &rule.conditions.people;
        if people.groups_include.is_empty() || !people.users_include.is_empty() {
            self.groups = None;
        } else if let Some(groups) = &mut self.groups {
            groups.extend(people.groups_include.iter().cloned());
        }
    }
}

/// The rules that a refusal of these may name.
fn refusing(rules: &[Rule]) -> impl Iterator<Item = SmolStr> {
    let last = rules.last().map(|rule| rule.id.clone());
    rules.iter().filter(|rule| rule.access == Access::Deny).map(|rule| rule.id.clone()).chain(last)
}

/// The checks that a requirement can fail, with what it asks.
fn asked(requirement: &Requirement) -> Vec<(SmolStr, SmolStr)> {
    let checks: &[PostureCheck] = match requirement {
        Requirement::OsVersion(_) | Requirement::Windows(_) => &[PostureCheck::OsVersion],
        Requirement::DiskEncryption(_) => &[PostureCheck::DiskEncryption],
        Requirement::ScreenLock(_) => &[PostureCheck::ScreenLock, PostureCheck::Biometrics],
        Requirement::SecureHardware(_) => &[PostureCheck::SecureHardware],
        Requirement::Jailbreak(_) => &[PostureCheck::Jailbreak],
        Requirement::Signal { check, .. } => &[*check, PostureCheck::SignalUnreadable],
        Requirement::Unread(_) => &[PostureCheck::Unattributed],
    };
    let what = format_smolstr!("{requirement:?}");
    checks.iter().map(|check| (SmolStr::new_static(check.as_str()), what.clone())).collect()
}

/// The cohorts that lie in these groups; `None` where one of the groups is no cohort's.
fn cohorts(groups: &BTreeSet<SmolStr>, postures: &Postures, setting: &OrgConfig) -> Option<BTreeSet<SmolStr>> {
    let mut found = BTreeSet::new();
    for group in groups {
        let lies_in = |cohort: &&crate::input::Cohort| {
            let by_people = || {
                let people = &cohort.users;
                let is_in = |person| postures.groups.has(group, person) == Some(true);
                !people.is_empty() && cohort.groups.is_empty() && people.iter().all(is_in)
            };
            cohort.groups.contains(group) || by_people()
        };
        let mut of_group = setting.cohorts.iter().filter(lies_in).peekable();
        of_group.peek()?;
        found.extend(of_group.map(|cohort| SmolStr::new(&cohort.name)));
    }
    Some(found)
}

#[cfg(test)]
#[path = "scope/tests.rs"]
mod tests;
