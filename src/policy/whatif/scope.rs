//! Which device assurance policies a device is held to: those of the rules that its person's sign-ins reach.
//!
//! Network and risk belong to one sign-in and not to a device, so a rule that asks for a device is taken to meet them,
//! and one that asks for none is taken not to: the question is who depends on the device. Where a people condition is
//! not decided, nothing is guessed: the device is held to all policies of its platform.

use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use crate::event::{CheckVerdict, Platform};
use crate::input::{Access, AccessPolicy, Assurance, Conditions, DeviceCondition, Network, Policies};
use crate::policy::{Query, rules};

/// What a device is held to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Scope {
    /// By policy, the rules that could let it in: each policy must be met by one of its rules.
    Rules(BTreeSet<Vec<RuleAsk>>),
    /// All policies of the platform, of which one applies and nothing says which.
    Platform(Vec<SmolStr>),
    /// No device is asked for.
    Nothing,
}

/// What one rule asks of the device.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct RuleAsk {
    pub(super) managed: bool,
    pub(super) registered: bool,
    /// One of these must be met; empty asks for none.
    pub(super) assurances: Vec<SmolStr>,
    /// An expression that must be true.
    pub(super) expression: Option<SmolStr>,
}

/// How far one policy depends on the device.
enum Depends {
    /// One of these rules must match.
    On(Vec<RuleAsk>),
    /// Not at all.
    Not,
    /// Not decided.
    Unknown,
}

impl Scope {
    /// What the device of a query's person is held to.
    pub(super) fn of(policies: &Policies, query: &Query<'_>) -> Self {
        let mut asked = BTreeSet::new();
        for policy in policies.policies.values() {
            match depends(policy, &policies.assurances, query) {
                Depends::On(rules) => {
                    asked.insert(rules);
                }
                Depends::Not => {}
                Depends::Unknown => return Self::by_platform(policies, query.platform),
            }
        }
        if policies.policies.is_empty() {
            Self::by_platform(policies, query.platform)
        } else if asked.is_empty() {
            Self::Nothing
        } else {
            Self::Rules(asked)
        }
    }

    fn by_platform(policies: &Policies, platform: Platform) -> Self {
        let of_platform = policies.assurances.iter().filter(|(_, assurance)| assurance.platform == platform);
        let ids: Vec<SmolStr> = of_platform.map(|(id, _)| id.clone()).collect();
        if ids.is_empty() { Self::Nothing } else { Self::Platform(ids) }
    }

    /// Whether any of these policies is among what is asked.
    pub(super) fn holds_any(&self, ids: &BTreeSet<SmolStr>) -> bool {
        let any = |asked: &[SmolStr]| asked.iter().any(|id| ids.contains(id));
        match self {
            Self::Rules(policies) => policies.iter().flatten().any(|rule| any(&rule.assurances)),
            Self::Platform(asked) => any(asked),
            Self::Nothing => false,
        }
    }
}

fn depends(policy: &AccessPolicy, known: &BTreeMap<SmolStr, Assurance>, query: &Query<'_>) -> Depends {
    let mut asked = Vec::new();
    let no_condition = DeviceCondition::default();
    for rule in &policy.rules {
        let conditions = &rule.conditions;
        if rules::platforms(&conditions.platforms, query.platform) == CheckVerdict::Fail {
            continue;
        }
        match rules::people(&conditions.people, query) {
            CheckVerdict::Pass => {}
            CheckVerdict::Fail => continue,
            // A rule that depends on more than the person is taken not to match, whoever it is for.
            CheckVerdict::Unknown if conditions.device.is_none() && !is_unconditional(conditions) => continue,
            CheckVerdict::Unknown => return Depends::Unknown,
        }
        let of_device = conditions.expression.as_ref().filter(|text| text.contains("device."));
        let device = match (&conditions.device, of_device) {
            (Some(device), _) => device,
            (None, Some(_)) => &no_condition,
            (None, None) => {
                if !is_unconditional(conditions) {
                    continue;
                }
                return match rule.access {
                    Access::Allow => Depends::Not,
                    Access::Deny => on(asked),
                };
            }
        };
        if rule.access == Access::Deny {
            return Depends::Unknown;
        }
        let is_of_platform =
            |id: &&SmolStr| known.get(*id).is_none_or(|assurance| assurance.platform == query.platform);
        let assurances: Vec<SmolStr> = device.assurances.iter().filter(is_of_platform).cloned().collect();
        if assurances.is_empty() && !device.assurances.is_empty() {
            continue;
        }
        asked.push(RuleAsk {
            managed: device.managed == Some(true),
            registered: device.registered == Some(true),
            assurances,
            expression: conditions.expression.clone(),
        });
    }
    on(asked)
}

/// A policy that lets nobody in refuses whatever the device says.
fn on(asked: Vec<RuleAsk>) -> Depends {
    if asked.is_empty() { Depends::Not } else { Depends::On(asked) }
}

fn is_unconditional(conditions: &Conditions) -> bool {
    conditions.network == Network::Anywhere
        && conditions.risk.is_none()
        && conditions.expression.is_none()
        && conditions.unread.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Person, Timestamp};
    use crate::input::{DeviceCondition, People, Rule};
    use crate::policy::Groups;

    fn assurance(platform: Platform) -> Assurance {
        Assurance { name: "x".into(), platform, grace: None, requirements: Vec::new() }
    }

    fn gate(people: People, assurances: &[&str]) -> Rule {
        let device = DeviceCondition {
            registered: Some(true),
            managed: None,
            assurances: assurances.iter().map(SmolStr::new).collect(),
        };
        rule(Access::Allow, Conditions { people, device: Some(device), ..Conditions::default() })
    }

    fn rule(access: Access, conditions: Conditions) -> Rule {
        Rule {
            id: "rul1".into(),
            name: "a rule".into(),
            priority: 1,
            system: false,
            access,
            conditions,
            phishing_resistant: false,
        }
    }

    fn groups(include: &[&str], exclude: &[&str]) -> People {
        let list = |ids: &[&str]| ids.iter().map(SmolStr::new).collect();
        People { groups_include: list(include), groups_exclude: list(exclude), ..People::default() }
    }

    /// The scope of `00u1`'s Mac, in words; `00g1` has that person, `00g2` is empty, others are unknown.
    #[track_caller]
    fn check(rules: Vec<Rule>, expect: &str) {
        let mut known = Groups::default();
        let person = Person::new("00u1");
        known.list(&"00g1".into(), &BTreeSet::from([person.clone()]));
        known.list(&"00g2".into(), &BTreeSet::new());
        let policies = Policies {
            policies: [("rst1".into(), AccessPolicy { name: "Mail".into(), rules })].into(),
            assurances: [
                ("dae1".into(), assurance(Platform::Macos)),
                ("dae2".into(), assurance(Platform::Macos)),
                ("dae3".into(), assurance(Platform::Ios)),
            ]
            .into(),
            ..Policies::default()
        };
        let query = Query {
            at: Timestamp::MIN,
            person: Some(&person),
            groups: &known,
            platform: Platform::Macos,
            device: None,
            rule: None,
            risk: None,
            granted: false,
            phishing_resistant: None,
            releases: None,
        };
        let found = match Scope::of(&policies, &query) {
            Scope::Rules(policies) => {
                let rules = policies.iter().flatten().map(|rule| rule.assurances.join(" or "));
                rules.collect::<Vec<_>>().join("; ")
            }
            Scope::Platform(ids) => format!("platform: {}", ids.join(", ")),
            Scope::Nothing => "nothing".to_owned(),
        };
        assert_eq!(found, expect);
    }

    #[test]
    fn a_device_is_held_to_the_rules_that_its_person_reaches() {
        let all = People::default;
        let catch_all = || rule(Access::Deny, Conditions::default());
        check(vec![gate(all(), &["dae1"]), catch_all()], "dae1");
        check(vec![gate(all(), &["dae1", "dae2", "dae3"]), catch_all()], "dae1 or dae2");
        check(vec![gate(all(), &["dae3"]), catch_all()], "nothing");
        check(vec![gate(groups(&["00g1"], &[]), &["dae1"]), gate(groups(&[], &["00g1"]), &["dae2"])], "dae1");
        check(vec![gate(groups(&["00g2"], &[]), &["dae1"]), gate(all(), &["dae2"])], "dae2");
        check(vec![gate(groups(&["00g9"], &[]), &["dae1"]), gate(all(), &["dae2"])], "platform: dae1, dae2");
        check(vec![gate(groups(&["00g9", "00g1"], &[]), &["dae1"])], "dae1");
        check(vec![gate(groups(&["00g1"], &["00g9"]), &["dae1"])], "platform: dae1, dae2");
        check(vec![gate(all(), &["dae1"]), rule(Access::Allow, Conditions::default())], "nothing");
        check(vec![catch_all(), gate(all(), &["dae1"])], "nothing");
    }

    #[test]
    fn conditions_of_one_sign_in_do_not_free_a_person_from_the_device() {
        let zone = Network::Zones { include: vec!["nzo1".into()], exclude: Vec::new() };
        let office = Conditions { network: zone, ..Conditions::default() };
        for access in [Access::Allow, Access::Deny] {
            check(vec![rule(access, office.clone()), gate(People::default(), &["dae1"])], "dae1");
        }
        let people = groups(&["00g9"], &[]);
        let unknown = Conditions { people, ..office };
        check(vec![rule(Access::Deny, unknown), gate(People::default(), &["dae1"])], "dae1");
    }
}
