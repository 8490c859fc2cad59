//! One rule of an access policy from Okta's JSON.
//!
//! A condition that is set and not known here goes to [`Conditions::unread`] by its name. A rule without an action is
//! an error: nothing may be guessed of what it does.

use serde_json::Value;
use smol_str::{SmolStr, format_smolstr};

use super::object::{Object, PolicyError, says};
use crate::event::{Platform, Risk};
use crate::input::{Access, Conditions, DeviceCondition, Network, PlatformCondition, Rule};

/// Reads one rule.
pub(in crate::policy) fn rule(object: &Object<'_>) -> Result<Rule, PolicyError> {
    let mut rule = Rule {
        id: object.needed("id")?,
        name: SmolStr::default(),
        priority: i64::MAX,
        system: false,
        access: Access::Deny,
        conditions: Conditions::default(),
        phishing_resistant: false,
    };
    apply(&mut rule, object)?;
    let has_access = match object.object("actions")? {
        Some(actions) => match actions.object("appSignOn")? {
            Some(sign_on) => sign_on.get("access").is_some(),
            None => return Err(actions.error("appSignOn", "an object")),
        },
        None => false,
    };
    if has_access { Ok(rule) } else { Err(object.error("actions.appSignOn.access", "ALLOW or DENY")) }
}

/// The order in which Okta tries rules: by priority, the catch-all last.
pub(in crate::policy) fn sort(rules: &mut [Rule]) {
    rules.sort_by_key(|rule| (rule.system, rule.priority));
}

/// Takes over every member that the object holds; the others stay as they are.
///
/// Gives whether there was any that means something to a rule.
pub(in crate::policy) fn apply(rule: &mut Rule, object: &Object<'_>) -> Result<bool, PolicyError> {
    let mut any = false;
    if let Some(name) = object.text("name")? {
        (rule.name, any) = (name, true);
    }
    if let Some(priority) = object.number("priority")? {
        (rule.priority, any) = (priority, true);
    }
    if let Some(system) = object.flag("system")? {
        rule.system = system;
    }
    if let Some(actions) = object.object("actions")?
        && let Some(sign_on) = actions.object("appSignOn")?
    {
        any |= action(rule, &sign_on)?;
    }
    if let Some(conditions) = object.object("conditions")? {
        any = true;
        for (name, value) in conditions.all() {
            condition(&mut rule.conditions, &conditions, name, value)?;
        }
    }
    Ok(any)
}

fn action(rule: &mut Rule, sign_on: &Object<'_>) -> Result<bool, PolicyError> {
    let mut any = false;
    if let Some(access) = sign_on.text("access")? {
        rule.access = match access.as_str() {
            "ALLOW" => Access::Allow,
            "DENY" => Access::Deny,
            _ => return Err(sign_on.error("access", "ALLOW or DENY")),
        };
        any = true;
    }
    if let Some(method) = sign_on.object("verificationMethod")? {
        rule.phishing_resistant = phishing_resistant(&method)?;
        any = true;
    }
    Ok(any)
}

/// Whether every way to satisfy the rule is phishing-resistant; the constraints are alternatives.
fn phishing_resistant(method: &Object<'_>) -> Result<bool, PolicyError> {
    let constraints = method.list("constraints")?;
    let demands = |constraint: &Value| {
        constraint.pointer("/possession/phishingResistant").and_then(Value::as_str) == Some("REQUIRED")
    };
    Ok(!constraints.is_empty() && constraints.iter().all(demands))
}

fn condition(conditions: &mut Conditions, all: &Object<'_>, name: &str, value: &Value) -> Result<(), PolicyError> {
    let below = format!("{name}.");
    conditions.unread.retain(|unread| unread != name && !unread.starts_with(&below));
    match name {
        "people" => people(conditions, all)?,
        "network" => network(conditions, all)?,
        "riskScore" => risk(conditions, all)?,
        "platform" => platforms(conditions, all)?,
        "device" => device(conditions, all)?,
        "elCondition" => {
            let condition = match all.object(name)? {
                Some(el) => el.text("condition")?,
                None => None,
            };
            conditions.expression = condition.filter(|text| !text.trim().is_empty());
        }
        other if says(value) => conditions.unread.push(SmolStr::new(other)),
        _ => {}
    }
    Ok(())
}

fn people(conditions: &mut Conditions, all: &Object<'_>) -> Result<(), PolicyError> {
    let Some(people) = all.object("people")? else {
        conditions.people = crate::input::People::default();
        return Ok(());
    };
    let own = &mut conditions.people;
    for (part, include, exclude) in [
        ("users", &mut own.users_include, &mut own.users_exclude),
        ("groups", &mut own.groups_include, &mut own.groups_exclude),
    ] {
        if let Some(lists) = people.object(part)? {
            if lists.is_written("include") {
                *include = lists.texts("include")?;
            }
            if lists.is_written("exclude") {
                *exclude = lists.texts("exclude")?;
            }
        }
    }
    let unknown = people.said().filter(|(name, _)| !matches!(*name, "users" | "groups"));
    conditions.unread.extend(unknown.map(|(name, _)| format_smolstr!("people.{name}")));
    Ok(())
}

fn network(conditions: &mut Conditions, all: &Object<'_>) -> Result<(), PolicyError> {
    let Some(network) = all.object("network")? else {
        conditions.network = Network::Anywhere;
        return Ok(());
    };
    let zones = Network::Zones { include: network.texts("include")?, exclude: network.texts("exclude")? };
    conditions.network = match network.text("connection")?.as_deref() {
        None if zones == (Network::Zones { include: Vec::new(), exclude: Vec::new() }) => Network::Anywhere,
        Some("ANYWHERE") => Network::Anywhere,
        None | Some("ZONE") => zones,
        Some(word) => Network::Word(SmolStr::new(word)),
    };
    Ok(())
}

fn risk(conditions: &mut Conditions, all: &Object<'_>) -> Result<(), PolicyError> {
    let level = match all.object("riskScore")? {
        Some(risk) => risk.text("level")?,
        None => None,
    };
    conditions.risk = None;
    match level.as_deref() {
        None | Some("ANY" | "") => {}
        Some("LOW") => conditions.risk = Some(Risk::Low),
        Some("MEDIUM") => conditions.risk = Some(Risk::Medium),
        Some("HIGH") => conditions.risk = Some(Risk::High),
        Some(_) => conditions.unread.push(SmolStr::new_static("riskScore.level")),
    }
    Ok(())
}

fn platforms(conditions: &mut Conditions, all: &Object<'_>) -> Result<(), PolicyError> {
    conditions.platforms.clear();
    let Some(platform) = all.object("platform")? else { return Ok(()) };
    for value in platform.list("include")? {
        let item = platform.item("include", value)?;
        let os = item.object("os")?;
        let word = match &os {
            Some(os) => os.text("type")?,
            None => None,
        };
        let system = match word.as_deref() {
            None | Some("ANY") => None,
            Some("MACOS" | "OSX") => Some(Platform::Macos),
            Some("WINDOWS") => Some(Platform::Windows),
            Some("IOS") => Some(Platform::Ios),
            Some("ANDROID") => Some(Platform::Android),
            Some("CHROMEOS") => Some(Platform::Chromeos),
            Some("OTHER") => Some(Platform::Other),
            Some(_) => {
                conditions.unread.push(SmolStr::new_static("platform.os.type"));
                continue;
            }
        };
        if let Some(os) = os {
            let unknown = os.said().filter(|(name, _)| *name != "type");
            conditions.unread.extend(unknown.map(|(name, _)| format_smolstr!("platform.os.{name}")));
        }
        let kind = item.text("type")?.unwrap_or_else(|| SmolStr::new_static("ANY"));
        conditions.platforms.push(PlatformCondition { kind, platform: system });
    }
    let unknown = platform.said().filter(|(name, _)| *name != "include");
    conditions.unread.extend(unknown.map(|(name, _)| format_smolstr!("platform.{name}")));
    Ok(())
}

fn device(conditions: &mut Conditions, all: &Object<'_>) -> Result<(), PolicyError> {
    let Some(device) = all.object("device")? else {
        conditions.device = None;
        return Ok(());
    };
    let mut own = conditions.device.take().unwrap_or_default();
    if device.is_written("registered") {
        own.registered = device.flag("registered")?;
    }
    if device.is_written("managed") {
        own.managed = device.flag("managed")?;
    }
    if device.is_written("assurance") {
        own.assurances = match device.object("assurance")? {
            Some(lists) => {
                let unknown = lists.said().filter(|(name, _)| *name != "include");
                conditions.unread.extend(unknown.map(|(name, _)| format_smolstr!("device.assurance.{name}")));
                lists.texts("include")?
            }
            None => Vec::new(),
        };
    }
    let known = |name: &str| matches!(name, "registered" | "managed" | "assurance");
    let unknown = device.said().filter(|(name, _)| !known(name));
    conditions.unread.extend(unknown.map(|(name, _)| format_smolstr!("device.{name}")));
    conditions.device = (own != DeviceCondition::default()).then_some(own);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(conditions: Value) -> Conditions {
        let value = json!({"id": "rul1", "name": "A", "priority": 1, "conditions": conditions,
            "actions": {"appSignOn": {"access": "ALLOW"}}});
        rule(&Object::top("rule", &value).expect("an object")).expect("a rule").conditions
    }

    #[test]
    fn each_condition_has_its_place() {
        let conditions = read(json!({
            "people": {"users": {"include": ["00u1"], "exclude": ["00u2"]}, "groups": {"include": ["00g1"]}},
            "network": {"connection": "ZONE", "include": ["nzo1"]}, "riskScore": {"level": "LOW"},
            "platform": {"include": [{"type": "DESKTOP", "os": {"type": "MACOS"}}, {"type": "MOBILE"}]},
            "device": {"registered": true, "managed": false, "assurance": {"include": ["dae1"]}},
            "userType": {"include": [], "exclude": []},
            "elCondition": {"condition": "device.provider.zta.overall >= 60"}}));
        assert_eq!(conditions.people.users_include, ["00u1"]);
        assert_eq!(conditions.people.users_exclude, ["00u2"]);
        assert_eq!(conditions.people.groups_include, ["00g1"]);
        assert_eq!(conditions.network, Network::Zones { include: vec!["nzo1".into()], exclude: Vec::new() });
        assert_eq!(conditions.risk, Some(Risk::Low));
        assert_eq!(
            conditions.platforms,
            [
                PlatformCondition { kind: "DESKTOP".into(), platform: Some(Platform::Macos) },
                PlatformCondition { kind: "MOBILE".into(), platform: None },
            ]
        );
        let device = conditions.device.expect("a device condition");
        assert_eq!((device.registered, device.managed), (Some(true), Some(false)));
        assert_eq!(device.assurances, ["dae1"]);
        assert_eq!(conditions.expression.as_deref(), Some("device.provider.zta.overall >= 60"));
        assert_eq!(conditions.unread, Vec::<SmolStr>::new());
    }

    #[test]
    fn what_is_empty_is_no_condition_and_what_is_unknown_is_kept_by_name() {
        let empty = read(json!({"people": {"users": {"include": []}}, "network": {"connection": "ANYWHERE"},
            "riskScore": {"level": "ANY"}, "platform": {"include": []}, "device": null, "elCondition": null}));
        assert_eq!(empty, Conditions::default());
        let odd = read(json!({"userType": {"include": ["oty1"]}, "platform": {"exclude": [{"type": "MOBILE"}]},
            "riskScore": {"level": "EXTREME"}, "device": {"assurance": {"exclude": ["dae1"]}, "trusted": true}}));
        assert_eq!(
            odd.unread,
            ["device.assurance.exclude", "device.trusted", "platform.exclude", "riskScore.level", "userType"]
        );
    }

    #[test]
    fn a_resistant_authenticator_is_demanded_only_if_every_alternative_does() {
        for (constraints, expect) in [
            (json!([]), false),
            (json!([{"possession": {"phishingResistant": "REQUIRED"}}]), true),
            (json!([{"possession": {"phishingResistant": "REQUIRED"}}, {"knowledge": {}}]), false),
        ] {
            let value = json!({"id": "rul1", "actions": {"appSignOn": {"access": "ALLOW",
                "verificationMethod": {"type": "ASSURANCE", "constraints": constraints}}}});
            let rule = rule(&Object::top("rule", &value).expect("an object")).expect("a rule");
            assert_eq!(rule.phishing_resistant, expect, "{constraints}");
        }
    }
}
