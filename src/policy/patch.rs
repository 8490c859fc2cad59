//! A change event → the next version of the policies, as far as the event says what it changed.
//!
//! `changeDetails.to` holds what holds from now on, often only the members that changed. Those are taken over, the
//! others stay. A change whose content the event does not hold, or that does not read, gives no version: what holds
//! from then on is unknown, and nothing is guessed.

use serde_json::{Map, Value};
use smol_str::SmolStr;

use super::parse::{self, Object, PARTS, PolicyError};
use crate::event::{Change, PostureCheck};
use crate::input::{Assurance, Policies, Requirement, Rule};

/// Bytes of `changeDetails.to` that are read.
const TO_BYTES: usize = 256 << 10;

/// What a change makes of a version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Patched {
    /// It concerns nothing that the version holds.
    Same,
    /// The next version.
    Next(Box<Policies>),
    /// Something changed, and the event does not say what.
    Unknown,
}

/// What happened, from the last word of the event's type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    /// It is gone, or switched off.
    Gone,
    /// It is there again, as it was.
    Back,
    /// Its content changed.
    Changed,
}

/// Applies a change to a version.
pub(super) fn apply(policies: &Policies, change: &Change, event_type: &str) -> Patched {
    let act = match event_type.rsplit('.').next().unwrap_or_default() {
        "delete" | "remove" | "deactivate" => Act::Gone,
        "activate" => Act::Back,
        _ => Act::Changed,
    };
    let to = change.to.as_deref().filter(|text| text.len() <= TO_BYTES).and_then(|text| {
        match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(map)) => Some(map),
            _ => None,
        }
    });
    let done = if event_type.starts_with("device.assurance.policy.") {
        assurance(policies, change, act, to)
    } else if event_type.contains(".rule.") {
        rule(policies, change, act, to)
    } else if event_type.starts_with("policy.lifecycle.") {
        Ok(policy(policies, change, act, to))
    } else {
        // Posture checks' queries, mappings of apps: nothing of it is in a version.
        Ok(Patched::Same)
    };
    done.unwrap_or(Patched::Unknown)
}

fn next(policies: &Policies, edit: impl FnOnce(&mut Policies)) -> Patched {
    let mut next = policies.clone();
    edit(&mut next);
    if next == *policies { Patched::Same } else { Patched::Next(Box::new(next)) }
}

/// The object with the id and the name that the event gives it.
fn whole(change: &Change, mut to: Map<String, Value>) -> Value {
    to.insert("id".to_owned(), Value::String(change.target_id.to_string()));
    if !to.contains_key("name") {
        to.insert("name".to_owned(), Value::String(change.target_name.to_string()));
    }
    Value::Object(to)
}

fn policy(policies: &Policies, change: &Change, act: Act, to: Option<Map<String, Value>>) -> Patched {
    let id = &change.target_id;
    if !policies.policies.contains_key(id) {
        // Of another type, or new: without its rules it is not known, which is what the version says already.
        return Patched::Same;
    }
    let is_off = |to: &Map<String, Value>| to.get("status").and_then(Value::as_str) == Some("INACTIVE");
    match (act, to) {
        (Act::Gone, _) => next(policies, |all| drop(all.policies.remove(id))),
        (_, Some(to)) if is_off(&to) => next(policies, |all| drop(all.policies.remove(id))),
        (Act::Back, None) => Patched::Same,
        (Act::Changed, None) => Patched::Unknown,
        (_, Some(to)) => {
            let aside = ["name", "status", "description", "priority", "lastUpdated", "system"];
            if to.is_empty() || !to.keys().all(|key| aside.contains(&key.as_str())) {
                return Patched::Unknown;
            }
            next(policies, |all| {
                if let (Some(policy), Some(name)) = (all.policies.get_mut(id), to.get("name").and_then(Value::as_str)) {
                    policy.name = SmolStr::new(name);
                }
            })
        }
    }
}

fn rule(
    policies: &Policies,
    change: &Change,
    act: Act,
    to: Option<Map<String, Value>>,
) -> Result<Patched, PolicyError> {
    let id = &change.target_id;
    let mut known = policies.policies.iter();
    let known = known.find(|(_, policy)| policy.rules.iter().any(|rule| rule.id == *id)).map(|(key, _)| key);
    let Some(policy) = known.or(change.policy.as_ref()) else {
        // A new rule may belong to any policy.
        return Ok(if act == Act::Gone { Patched::Same } else { Patched::Unknown });
    };
    if !policies.policies.contains_key(policy) {
        return Ok(Patched::Same);
    }
    let without = || {
        next(policies, |all| {
            if let Some(policy) = all.policies.get_mut(policy) {
                policy.rules.retain(|rule| rule.id != *id);
            }
        })
    };
    let to = match (act, to) {
        (Act::Gone, _) => return Ok(without()),
        (Act::Back, None) if known.is_some() => return Ok(Patched::Same),
        (Act::Back | Act::Changed, None) => return Ok(Patched::Unknown),
        (Act::Back | Act::Changed, Some(to)) => to,
    };
    let is_whole = to.contains_key("conditions") && to.contains_key("actions");
    let value = match known {
        Some(_) => Value::Object(to),
        None => whole(change, to),
    };
    let object = Object::top("rule", &value)?;
    if parse::is_inactive(&object)? {
        return Ok(without());
    }
    let mut after = policies.clone();
    let Some(rules) = after.policies.get_mut(policy).map(|policy| &mut policy.rules) else {
        return Ok(Patched::Same);
    };
    match rules.iter_mut().find(|rule| rule.id == *id) {
        Some(rule) => {
            if !parse::apply(rule, &object)? {
                return Ok(Patched::Unknown);
            }
        }
        None if is_whole => rules.push(parse::rule(&object)?),
        None => return Ok(Patched::Unknown),
    }
    let place = |rule: &Rule| (rule.system, rule.priority);
    let own = rules.iter().find(|rule| rule.id == *id).map(place);
    if rules.iter().filter(|rule| Some(place(rule)) == own).count() > 1 || own == Some((false, i64::MAX)) {
        // Moved in front of another, or put nowhere: where the others went the change does not say.
        return Ok(Patched::Unknown);
    }
    parse::sort(rules);
    Ok(next(policies, |all| *all = after))
}

fn assurance(
    policies: &Policies,
    change: &Change,
    act: Act,
    to: Option<Map<String, Value>>,
) -> Result<Patched, PolicyError> {
    let id = &change.target_id;
    if act == Act::Gone {
        return Ok(next(policies, |all| drop(all.assurances.remove(id))));
    }
    let Some(to) = to else { return Ok(Patched::Unknown) };
    let mut assurance = match policies.assurances.get(id) {
        Some(known) => known.clone(),
        None if to.contains_key("platform") => {
            let (id, assurance) = parse::assurance(&whole(change, to))?;
            return Ok(next(policies, |all| drop(all.assurances.insert(id, assurance))));
        }
        None => return Ok(Patched::Unknown),
    };
    if to.is_empty() {
        return Ok(Patched::Unknown);
    }
    let value = Value::Object(to);
    merge(&mut assurance, &Object::top("device assurance policy", &value)?)?;
    Ok(next(policies, |all| drop(all.assurances.insert(id.clone(), assurance))))
}

/// Takes over every member that is written; null takes it away.
fn merge(assurance: &mut Assurance, object: &Object<'_>) -> Result<(), PolicyError> {
    if let Some(name) = object.text("name")? {
        assurance.name = name;
    }
    if object.is_written("gracePeriod") {
        assurance.grace = parse::grace(object)?;
    }
    for part in PARTS.into_iter().filter(|part| object.is_written(part)) {
        if part == "thirdPartySignalProviders" {
            forget_signals(&mut assurance.requirements, object)?;
        } else {
            assurance.requirements.retain(|requirement| !is_of(requirement, part));
        }
        let added = parse::requirements_of(object, part, assurance.platform)?;
        assurance.requirements.retain(|old| !added.iter().any(|new| is_same_signal(old, new)));
        assurance.requirements.extend(added);
    }
    for (name, value) in object.all().filter(|(name, _)| !PARTS.contains(name) && !parse::is_aside(name)) {
        let unread = Requirement::Unread(SmolStr::new(name));
        assurance.requirements.retain(|requirement| *requirement != unread);
        if !value.is_null() {
            assurance.requirements.push(unread);
        }
    }
    parse::order(&mut assurance.requirements);
    Ok(())
}

/// Whether a requirement came from a member. The two ways to ask for a version of Windows replace each other.
fn is_of(requirement: &Requirement, part: &str) -> bool {
    match requirement {
        Requirement::OsVersion(_) | Requirement::Windows(_) => matches!(part, "osVersion" | "osVersionConstraints"),
        Requirement::DiskEncryption(_) => part == "diskEncryptionType",
        Requirement::ScreenLock(_) => part == "screenLockType",
        Requirement::SecureHardware(_) => part == "secureHardwarePresent",
        Requirement::Jailbreak(_) => part == "jailbreak",
        Requirement::Signal { check, .. } => *check == PostureCheck::Osquery && part == "devicePostureChecks",
        Requirement::Unread(name) => name == part,
    }
}

fn is_same_signal(old: &Requirement, new: &Requirement) -> bool {
    match (old, new) {
        (Requirement::Signal { check: a, member: x, .. }, Requirement::Signal { check: b, member: y, .. }) => {
            (a, x) == (b, y)
        }
        // ChromeOS asks for its version by way of Chrome Device Trust.
        (Requirement::OsVersion(_), Requirement::OsVersion(_)) => true,
        (a, b) => a == b,
    }
}

/// Takes away the providers, and the members of one, that are written as null.
fn forget_signals(requirements: &mut Vec<Requirement>, object: &Object<'_>) -> Result<(), PolicyError> {
    let providers = object.object("thirdPartySignalProviders")?;
    requirements.retain(|requirement| {
        let Requirement::Signal { check, member, .. } = requirement else { return true };
        let Some(provider) = parse::provider(*check) else { return true };
        let Some(providers) = &providers else { return false };
        if !providers.is_written(provider) {
            return true;
        }
        match providers.get(provider) {
            None => false,
            Some(members) => members.get(member.as_str()).is_none_or(|value| !value.is_null()),
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policies() -> Policies {
        let document = json!({
            "policies": [{"id": "rst1", "type": "ACCESS_POLICY", "name": "Console"}],
            "rules": {"rst1": [
                {"id": "rul1", "name": "Healthy", "priority": 1, "actions": {"appSignOn": {"access": "ALLOW"}},
                    "conditions": {"people": {"groups": {"include": ["00g1"]}},
                        "device": {"registered": true, "assurance": {"include": ["dae1"]}}}},
                {"id": "rul9", "name": "Catch-all Rule", "priority": 99, "system": true,
                    "actions": {"appSignOn": {"access": "DENY"}}}]},
            "device_assurances": [{"id": "dae1", "name": "Mac", "platform": "MACOS",
                "osVersion": {"minimum": "14.6"}, "secureHardwarePresent": true,
                "thirdPartySignalProviders": {"dtc": {"osFirewall": true, "diskEncrypted": true}}}]});
        parse::parse(document.to_string().as_bytes()).expect("policies")
    }

    fn patch(event_type: &str, id: &str, policy: Option<&str>, to: Option<Value>) -> Patched {
        let change = Change {
            target_type: SmolStr::default(),
            target_id: SmolStr::new(id),
            target_name: SmolStr::new("New"),
            policy: policy.map(SmolStr::new),
            person: None,
            to: to.map(|to| to.to_string().into()),
        };
        apply(&policies(), &change, event_type)
    }

    #[track_caller]
    fn next(patched: Patched) -> Policies {
        match patched {
            Patched::Next(policies) => *policies,
            other => panic!("{other:?}"),
        }
    }

    fn update(to: Value) -> Vec<Requirement> {
        next(patch("device.assurance.policy.update", "dae1", None, Some(to))).assurances["dae1"].requirements.clone()
    }

    #[test]
    fn members_that_are_written_replace_those_of_the_same_name_and_null_takes_away() {
        let before = policies().assurances["dae1"].requirements.clone();
        let version = |minimum: &str| {
            Requirement::OsVersion(crate::input::OsRequirement { minimum: Some(minimum.into()), dynamic: None })
        };
        let mut raised = before.clone();
        raised[0] = version("15.1.0");
        assert_eq!(update(json!({"osVersion": {"minimum": "15.1.0"}})), raised);
        assert_eq!(update(json!({"osVersion": null})), before[1..]);
        assert_eq!(update(json!({"thirdPartySignalProviders": null})), before[..2]);
        let firewall = update(json!({"thirdPartySignalProviders": {"dtc": {"diskEncrypted": null}}}));
        assert_eq!(firewall, [&before[..2], &before[3..]].concat());
        let odd = update(json!({"brandNew": {"a": 1}, "lastUpdate": "2026-01-01"}));
        assert_eq!(odd, [before.as_slice(), &[Requirement::Unread("brandNew".into())]].concat());
    }

    #[test]
    fn conditions_of_a_rule_merge_member_by_member() {
        let to = json!({"conditions": {"device": {"registered": true, "managed": true}}});
        let after = next(patch("policy.rule.update", "rul1", Some("rst1"), Some(to)));
        let rule = &after.policies["rst1"].rules[0];
        let device = rule.conditions.device.as_ref().expect("a device condition");
        assert_eq!((device.managed, device.assurances.as_slice()), (Some(true), &["dae1".into()][..]));
        assert_eq!(rule.conditions.people.groups_include, ["00g1"]);
        let added = json!({"priority": 0, "conditions": {}, "actions": {"appSignOn": {"access": "DENY"}}});
        let after = next(patch("policy.rule.add", "rul5", Some("rst1"), Some(added)));
        let ids: Vec<&str> = after.policies["rst1"].rules.iter().map(|rule| rule.id.as_str()).collect();
        assert_eq!(ids, ["rul5", "rul1", "rul9"]);
    }

    #[test]
    fn what_goes_is_removed() {
        for event_type in ["policy.rule.delete", "policy.rule.deactivate"] {
            let after = next(patch(event_type, "rul1", Some("rst1"), None));
            assert_eq!(after.policies["rst1"].rules.len(), 1, "{event_type}");
        }
        let off = json!({"status": "INACTIVE"});
        assert_eq!(next(patch("policy.rule.update", "rul1", None, Some(off))).policies["rst1"].rules.len(), 1);
        assert!(next(patch("policy.lifecycle.delete", "rst1", None, None)).policies.is_empty());
        assert!(next(patch("device.assurance.policy.delete", "dae1", None, None)).assurances.is_empty());
    }

    #[test]
    fn a_change_without_its_content_gives_no_version_and_one_of_something_else_changes_nothing() {
        let bad = json!({"osVersion": {"minimum": 15}});
        for (event_type, id, policy, to, expect) in [
            ("device.assurance.policy.update", "dae1", None, None, Patched::Unknown),
            ("device.assurance.policy.update", "dae1", None, Some(bad), Patched::Unknown),
            ("device.assurance.policy.add", "dae2", None, Some(json!({"name": "x"})), Patched::Unknown),
            ("policy.rule.update", "rul1", Some("rst1"), None, Patched::Unknown),
            ("policy.rule.add", "rul7", None, Some(json!({"priority": 1})), Patched::Unknown),
            ("policy.rule.add", "rul7", Some("rst1"), Some(json!({"priority": 1})), Patched::Unknown),
            ("policy.rule.add", "rul7", Some("00pmfa"), None, Patched::Same),
            ("policy.rule.activate", "rul1", None, None, Patched::Same),
            ("policy.lifecycle.update", "00pmfa", None, None, Patched::Same),
            ("policy.lifecycle.update", "rst1", None, None, Patched::Unknown),
            ("device.posture.check.update", "dpc1", None, None, Patched::Same),
            ("policy.mapping.create", "0oa1", None, None, Patched::Same),
        ] {
            assert_eq!(patch(event_type, id, policy, to), expect, "{event_type} {id}");
        }
    }
}
