//! The org's sign-in policies as Okta's policy API returns them, and the change that a push makes to them.
//!
//! Each gated app has one `ACCESS_POLICY`: two rules that refuse (blocked networks, high risk), four that allow a
//! healthy device (pilot and staff, desktops and others) and the catch-all that refuses. Pilot and staff have their own
//! device assurance policy per platform, so a push can touch one of them only. Shapes: the fact sheet's section 6.4.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::chance;
use super::fleet::{Platform, Version};
use super::org::{App, Cohort, Org};
use super::push::Change;

/// The lowest CrowdStrike score that a desktop rule accepts.
pub(crate) const CROWDSTRIKE_FLOOR: u8 = 60;

/// Whose device assurance policy it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Tier {
    /// Cohort `pilot`.
    Pilot,
    /// Everybody else.
    Staff,
}

impl Tier {
    /// Both tiers.
    pub const ALL: [Self; 2] = [Self::Pilot, Self::Staff];

    /// The tier of a cohort.
    pub const fn of(cohort: Cohort) -> Self {
        match cohort {
            Cohort::Pilot => Self::Pilot,
            Cohort::Wave1 | Cohort::EveryoneElse => Self::Staff,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Pilot => "Pilot",
            Self::Staff => "Staff",
        }
    }
}

/// The rules of a gated app's policy, by priority.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Rule {
    BlockedNetworks,
    HighRisk,
    PilotDesktop,
    PilotOther,
    StaffDesktop,
    StaffOther,
    CatchAll,
}

impl Rule {
    pub(crate) const ALL: [Self; 7] = [
        Self::BlockedNetworks,
        Self::HighRisk,
        Self::PilotDesktop,
        Self::PilotOther,
        Self::StaffDesktop,
        Self::StaffOther,
        Self::CatchAll,
    ];

    /// The rule that allows a healthy device.
    pub(crate) const fn gate(tier: Tier, desktop: bool) -> Self {
        match (tier, desktop) {
            (Tier::Pilot, true) => Self::PilotDesktop,
            (Tier::Pilot, false) => Self::PilotOther,
            (Tier::Staff, true) => Self::StaffDesktop,
            (Tier::Staff, false) => Self::StaffOther,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::BlockedNetworks => "Blocked networks",
            Self::HighRisk => "High risk",
            Self::PilotDesktop => "Pilot on a healthy desktop",
            Self::PilotOther => "Pilot on a healthy phone or Chromebook",
            Self::StaffDesktop => "Staff on a healthy desktop",
            Self::StaffOther => "Staff on a healthy phone or Chromebook",
            Self::CatchAll => "Catch-all Rule",
        }
    }

    pub(crate) const fn priority(self) -> usize {
        self as usize
    }

    const fn gated(self) -> Option<(Tier, bool)> {
        match self {
            Self::PilotDesktop => Some((Tier::Pilot, true)),
            Self::PilotOther => Some((Tier::Pilot, false)),
            Self::StaffDesktop => Some((Tier::Staff, true)),
            Self::StaffOther => Some((Tier::Staff, false)),
            Self::BlockedNetworks | Self::HighRisk | Self::CatchAll => None,
        }
    }
}

/// The ids of policies, rules, assurance policies and zones.
#[derive(Debug)]
pub(crate) struct PolicyIds {
    /// Per app; apps that are not gated share the last one's value.
    pub(crate) policies: Vec<String>,
    /// Per app, per rule; apps that are not gated have one catch-all at the last place.
    pub(crate) rules: Vec<[String; 7]>,
    pub(crate) assurances: BTreeMap<(Tier, Platform), String>,
    pub(crate) zone: String,
    pub(crate) global_rule: String,
}

impl PolicyIds {
    pub(crate) fn draw(rng: &mut ChaCha8Rng, apps: &[App]) -> Self {
        let open = (chance::okta_id(rng, "rst"), [(); 7].map(|()| chance::okta_id(rng, "rul")));
        let (policies, rules) = apps
            .iter()
            .map(|app| {
                if app.gated {
                    (chance::okta_id(rng, "rst"), [(); 7].map(|()| chance::okta_id(rng, "rul")))
                } else {
                    open.clone()
                }
            })
            .unzip();
        let assurances = Tier::ALL
            .into_iter()
            .flat_map(|tier| Platform::ALL.map(|platform| (tier, platform)))
            .map(|key| (key, chance::okta_id(rng, "dae")))
            .collect();
        Self {
            policies,
            rules,
            assurances,
            zone: chance::okta_id(rng, "nzo"),
            global_rule: chance::okta_id(rng, "0pr"),
        }
    }
}

/// The parts of the policies that a push can change, at one instant.
#[derive(Clone, PartialEq, Debug)]
pub struct PolicyState {
    /// The lowest version, by tier and platform.
    pub floors: BTreeMap<(Tier, Platform), Version>,
    /// Apps whose staff and pilot rules ask for a managed device.
    pub managed_apps: Vec<u16>,
    /// When an instant's policies last changed, as RFC 3339.
    pub last_updated: String,
}

impl PolicyState {
    /// The policies before any push.
    pub fn base() -> Self {
        let floors = Tier::ALL
            .into_iter()
            .flat_map(|tier| Platform::ALL.map(|platform| ((tier, platform), platform.base_floor())))
            .collect();
        Self { floors, managed_apps: Vec::new(), last_updated: "2026-01-05T10:00:00.000Z".into() }
    }

    /// The policies with one change made.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Floor { tiers, floors } => {
                for tier in tiers {
                    for floor in floors {
                        self.floors.insert((*tier, floor.platform()), *floor);
                    }
                }
            }
            Change::RequireManaged { app } => self.managed_apps.push(*app),
        }
    }
}

impl Org {
    /// The policies, rules and device assurance policies as one document, in the shape that authwatch reads from a
    /// file: `{"policies": […], "rules": {policyId: […]}, "device_assurances": […]}`.
    pub fn policies(&self, state: &PolicyState) -> Value {
        let policies = self.policy_list(state);
        let rules: serde_json::Map<String, Value> = policies
            .iter()
            .filter_map(|policy| policy["id"].as_str())
            .map(|id| (id.into(), self.rules(id, state)))
            .collect();
        json!({"policies": policies, "rules": rules, "device_assurances": self.device_assurances(state)})
    }

    /// The access policies as `GET /api/v1/policies?type=ACCESS_POLICY` lists them.
    pub fn policy_list(&self, state: &PolicyState) -> Vec<Value> {
        let mut list: Vec<Value> = Vec::new();
        for (app, id) in self.apps.iter().zip(&self.policy_ids.policies) {
            if list.iter().any(|policy| policy["id"] == json!(id)) {
                continue;
            }
            let name = policy_name(app);
            list.push(json!({
                "id": id, "status": "ACTIVE", "name": name, "description": name, "priority": 1,
                "system": !app.gated, "type": "ACCESS_POLICY", "conditions": null,
                "created": "2026-01-05T10:00:00.000Z", "lastUpdated": state.last_updated,
            }));
        }
        list
    }

    /// The rules of one policy as `GET /api/v1/policies/{id}/rules` lists them; an empty list for an unknown id.
    pub fn rules(&self, policy: &str, state: &PolicyState) -> Value {
        let Some(app) = self.policy_ids.policies.iter().position(|id| id == policy) else { return json!([]) };
        if !self.apps[app].gated {
            return json!([self.rule(app, Rule::CatchAll, state)]);
        }
        Rule::ALL.iter().map(|rule| self.rule(app, *rule, state)).collect()
    }

    fn rule(&self, app: usize, rule: Rule, state: &PolicyState) -> Value {
        let mut conditions = match rule {
            Rule::BlockedNetworks => json!({"network": {"connection": "ZONE", "include": [self.policy_ids.zone]}}),
            Rule::HighRisk => json!({"network": {"connection": "ANYWHERE"}, "riskScore": {"level": "HIGH"}}),
            Rule::PilotDesktop | Rule::PilotOther | Rule::StaffDesktop | Rule::StaffOther | Rule::CatchAll => {
                json!({"network": {"connection": "ANYWHERE"}, "riskScore": {"level": "ANY"}})
            }
        };
        if let Some((tier, desktop)) = rule.gated() {
            self.gate(&mut conditions, tier, desktop, state.managed_apps.contains(&(app as u16)));
        }
        let gated = self.apps[app].gated;
        let allow = rule.gated().is_some() || !gated;
        let constraints = json!([{"possession": {"deviceBound": "REQUIRED", "phishingResistant": "OPTIONAL"}}]);
        json!({
            "id": self.policy_ids.rules[app][rule.priority()], "name": rule.name(), "type": "ACCESS_POLICY",
            "priority": if gated { rule.priority() } else { 99 }, "status": "ACTIVE",
            "system": rule == Rule::CatchAll,
            "created": "2026-01-05T10:00:00.000Z", "lastUpdated": state.last_updated, "conditions": conditions,
            "actions": {"appSignOn": {"access": if allow { "ALLOW" } else { "DENY" }, "verificationMethod": {
                "type": "ASSURANCE", "factorMode": "2FA", "reauthenticateIn": "PT8H", "constraints": constraints}}},
        })
    }

    fn gate(&self, conditions: &mut Value, tier: Tier, desktop: bool, managed: bool) {
        let pilot = &self.groups[Cohort::Pilot.as_str()];
        let platforms = || Platform::ALL.into_iter().filter(|platform| platform.is_desktop() == desktop);
        conditions["people"] = match tier {
            Tier::Pilot => json!({"groups": {"include": [pilot]}}),
            Tier::Staff => json!({"groups": {"exclude": [pilot]}}),
        };
        conditions["platform"] = json!({"include": platforms().map(|platform| json!({
            "type": match platform {
                Platform::Ios | Platform::Android => "MOBILE",
                Platform::Macos | Platform::Windows | Platform::Chromeos => "DESKTOP",
            },
            "os": {"type": platform.policy_word()},
        })).collect::<Vec<_>>()});
        let assurances: Vec<&str> =
            platforms().map(|platform| self.policy_ids.assurances[&(tier, platform)].as_str()).collect();
        conditions["device"] = json!({"registered": true, "assurance": {"include": assurances}});
        if managed {
            conditions["device"]["managed"] = json!(true);
        }
        if desktop {
            let expression = format!("device.provider.zta.overall >= {CROWDSTRIKE_FLOOR}");
            conditions["elCondition"] = json!({"condition": expression});
        }
    }

    /// The device assurance policies as `GET /api/v1/device-assurances` lists them.
    pub fn device_assurances(&self, state: &PolicyState) -> Vec<Value> {
        state.floors.iter().map(|((tier, platform), floor)| self.assurance(*tier, *platform, *floor, state)).collect()
    }

    fn assurance(&self, tier: Tier, platform: Platform, floor: Version, state: &PolicyState) -> Value {
        let mut policy = json!({
            "id": self.policy_ids.assurances[&(tier, platform)], "name": assurance_name(tier, platform),
            "platform": platform.policy_word(), "displayRemediationMode": "SHOW",
            "createdDate": "2026-01-05T10:00:00.000Z", "lastUpdate": state.last_updated,
        });
        let minimum = json!({"minimum": floor.to_string()});
        let lock = json!({"include": ["BIOMETRIC", "PASSCODE"]});
        match platform {
            Platform::Macos | Platform::Windows => {
                policy["osVersion"] = minimum;
                policy["screenLockType"] = lock;
                policy["diskEncryptionType"] = json!({"include": ["ALL_INTERNAL_VOLUMES"]});
            }
            Platform::Ios => {
                policy["osVersion"] = minimum;
                policy["screenLockType"] = lock;
                policy["jailbreak"] = json!(false);
            }
            Platform::Android => {
                policy["osVersion"] = minimum;
                policy["screenLockType"] = lock;
                policy["diskEncryptionType"] = json!({"include": ["FULL", "USER"]});
                policy["jailbreak"] = json!(false);
            }
            Platform::Chromeos => {
                policy["thirdPartySignalProviders"] = json!({"dtc": {"osVersion": minimum}});
            }
        }
        policy
    }
}

/// The name of an app's policy.
pub(crate) fn policy_name(app: &App) -> String {
    if app.gated { format!("{} sign-in", app.name) } else { "Any two factors".into() }
}

/// The name of a device assurance policy.
pub(crate) fn assurance_name(tier: Tier, platform: Platform) -> String {
    format!("{} {}", tier.word(), platform.policy_word())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gated_app_has_seven_rules_whose_catch_all_refuses() {
        let org = Org::new(1, 10);
        let document = org.policies(&PolicyState::base());
        assert_eq!(document["policies"].as_array().map(Vec::len), Some(11));
        assert_eq!(document["device_assurances"].as_array().map(Vec::len), Some(10));
        let rules = &document["rules"][&org.policy_ids.policies[0]];
        assert_eq!(rules.as_array().map(Vec::len), Some(7));
        assert_eq!(rules[6]["actions"]["appSignOn"]["access"], "DENY");
        assert_eq!(rules[4]["conditions"]["elCondition"]["condition"], "device.provider.zta.overall >= 60");
        assert_eq!(org.rules("rstunknown", &PolicyState::base()), json!([]));
    }

    #[test]
    fn a_change_shows_in_the_document() {
        let org = Org::new(1, 10);
        let mut state = PolicyState::base();
        let floor = Version::new(Platform::Macos, [15, 1, 0, 0]);
        state.apply(&Change::Floor { tiers: vec![Tier::Staff], floors: vec![floor] });
        state.apply(&Change::RequireManaged { app: 2 });
        let document = org.policies(&state);
        let floors: Vec<_> = document["device_assurances"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|policy| policy["platform"] == "MACOS")
            .map(|policy| (policy["name"].clone(), policy["osVersion"]["minimum"].clone()))
            .collect();
        assert_eq!(floors, [(json!("Pilot MACOS"), json!("14.5.0")), (json!("Staff MACOS"), json!("15.1.0"))]);
        let managed =
            |app: usize| document["rules"][&org.policy_ids.policies[app]][4]["conditions"]["device"]["managed"].clone();
        assert_eq!((managed(2), managed(3)), (json!(true), Value::Null));
    }
}
