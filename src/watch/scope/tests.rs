//! Scopes from hand-made policies.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::event::Person;
use crate::input::{Cohort, PolicyOrigin};
use crate::policy::parse::parse;
use crate::watch::testing;

/// A policy with a rule for the pilot and a catch-all, and an assurance policy that the first names.
fn policies(minimum: &str, managed: bool) -> Arc<Policies> {
    let document = json!({
        "policies": [{"id": "rst1", "name": "Mail", "type": "ACCESS_POLICY", "status": "ACTIVE"}],
        "rules": {"rst1": [
            {"id": "rul1", "name": "Pilot", "priority": 0, "status": "ACTIVE", "type": "ACCESS_POLICY",
             "conditions": {"people": {"groups": {"include": ["00gpilot"]}},
                            "device": {"registered": true, "managed": managed.then_some(true),
                                       "assurance": {"include": ["dae1"]}}},
             "actions": {"appSignOn": {"access": "ALLOW", "verificationMethod": {"type": "ASSURANCE"}}}},
            {"id": "rul9", "name": "Catch-all Rule", "priority": 99, "system": true, "status": "ACTIVE",
             "type": "ACCESS_POLICY", "actions": {"appSignOn": {"access": "DENY"}}}]},
        "device_assurances": [{"id": "dae1", "name": "Mac", "platform": "MACOS", "osVersion": {"minimum": minimum},
                               "screenLockType": {"include": ["PASSCODE"]}}]});
    Arc::new(parse(document.to_string().as_bytes()).expect("policies"))
}

fn change(kind: Kind, target: &str) -> AuthEvent {
    let mut event = testing::event("change", 50);
    event.kind = kind;
    event.change = Some(Box::new(Change {
        target_type: "x".into(),
        target_id: target.into(),
        target_name: "x".into(),
        policy: None,
        person: None,
        to: None,
    }));
    event
}

/// The scope of a change at 50 between two readings; `None` for a reading that is not there.
fn found(event: &AuthEvent, before: Option<Arc<Policies>>, after: Option<Arc<Policies>>) -> Option<Scope> {
    let mut postures = Postures::default();
    let read = |postures: &mut Postures, at, policies: &Option<Arc<Policies>>| {
        if let Some(policies) = policies {
            postures.read(Timestamp(at), PolicyOrigin::Api, policies);
        }
    };
    read(&mut postures, 10, &before);
    let people: BTreeSet<Person> = ["00u1", "00u2"].map(Person::new).into();
    postures.members(&"00gpilot".into(), &people);
    let cohort = Cohort { name: "pilot".into(), users: people, groups: BTreeSet::new() };
    let setting = OrgConfig { cohorts: vec![cohort], ..OrgConfig::default() };
    let reached = reach(event, &postures, Timestamp(49));
    let mut later = Postures::default();
    read(&mut later, 10, &after);
    let reaches = reach(event, &later, Timestamp(50));
    scope(reached.as_ref(), reaches.as_ref(), &postures, &setting, &SeriesTable::default())
}

fn words(set: &BTreeSet<SmolStr>) -> Vec<&str> {
    set.iter().map(SmolStr::as_str).collect()
}

#[test]
fn a_floor_that_moves_touches_its_check_on_its_platform_for_whom_its_rules_are() {
    let event = change(Kind::AssuranceChange, "dae1");
    let scope = found(&event, Some(policies("14", false)), Some(policies("15", false))).expect("a scope");
    assert_eq!(words(&scope.checks), ["os_version"]);
    assert_eq!(words(&scope.rules), ["rul9"]);
    assert_eq!(scope.platforms.as_ref().map(words), Some(vec!["macos"]));
    assert_eq!(scope.cohorts.as_ref().map(words), Some(vec!["pilot"]));
}

#[test]
fn while_the_new_version_is_awaited_everything_that_it_asked_for_is_touched() {
    let event = change(Kind::AssuranceChange, "dae1");
    let scope = found(&event, Some(policies("14", false)), None).expect("a scope");
    assert_eq!(words(&scope.checks), ["biometrics", "os_version", "screen_lock"]);
    let scope = found(&change(Kind::PolicyChange, "rul1"), Some(policies("14", false)), None).expect("a scope");
    assert!(words(&scope.checks).contains(&"not_managed"), "a rule may ask for more than it did");
}

#[test]
fn a_rule_that_asks_for_more_touches_what_it_asks_for() {
    let event = change(Kind::PolicyChange, "rul1");
    let scope = found(&event, Some(policies("14", false)), Some(policies("14", true))).expect("a scope");
    assert_eq!(words(&scope.checks), ["not_managed"]);
    assert_eq!(words(&scope.rules), ["rul9"]);
    assert_eq!(scope.apps, None, "which apps the policy is for was never seen");
}

#[test]
fn what_is_not_known_or_does_not_change_opens_nothing() {
    let same = || Some(policies("14", false));
    assert_eq!(found(&change(Kind::AssuranceChange, "dae1"), same(), same()), None);
    assert_eq!(found(&change(Kind::AssuranceChange, "dae2"), same(), None), None);
    assert_eq!(found(&change(Kind::AssuranceChange, "dae1"), None, None), None);
    assert_eq!(found(&change(Kind::MembershipChange, "00gpilot"), same(), None), None);
}
