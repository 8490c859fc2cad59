//! Whole questions over a small fleet.

use serde_json::{Value, json};

use super::*;
use crate::event::{App, DeviceSignals};
use crate::input::Policies;
use crate::policy::Groups;
use crate::policy::fleet::Fleet;
use crate::policy::parse;

const T0: Timestamp = Timestamp(1_780_000_000_000);

/// A device of `00u{person}`: platform, version, disk.
fn fleet(devices: &[(u32, Platform, Option<&str>, Option<&str>)]) -> Fleet {
    let mut fleet = Fleet::default();
    for (n, (person, platform, version, disk)) in devices.iter().enumerate() {
        let signals = DeviceSignals {
            id: Some(format!("guo{n}").into()),
            os_version: version.map(SmolStr::new),
            disk_encryption: disk.map(SmolStr::new),
            registered: Some(true),
            ..DeviceSignals::default()
        };
        let app = App { id: format!("0oa{}", n % 2).into(), name: format!("App {}", n % 2).into() };
        fleet.saw(T0, Some(&Person::new(format!("00u{person}"))), *platform, &signals, Some(&app));
    }
    fleet
}

/// Macs by version: two at 14.5, one at 14.6, one that does not say; and a phone.
fn mixed() -> Fleet {
    let full = Some("ALL_INTERNAL_VOLUMES");
    fleet(&[
        (1, Platform::Macos, Some("14.5.0"), full),
        (1, Platform::Macos, Some("14.6.1"), full),
        (2, Platform::Macos, Some("14.5.0"), Some("NONE")),
        (3, Platform::Macos, None, full),
        (3, Platform::Ios, Some("17.5"), None),
        (4, Platform::Unknown, Some("1"), None),
    ])
}

fn assurance(id: &str, name: &str, minimum: &str) -> Value {
    json!({"id": id, "name": name, "platform": "MACOS", "osVersion": {"minimum": minimum}})
}

/// A gate for group `00gpilot` and one for the rest, each with its own policy, and a catch-all that refuses.
fn in_force() -> Policies {
    let gate = |id: &str, priority: u32, people: Value, dae: &str| {
        json!({"id": id, "name": id, "priority": priority, "status": "ACTIVE",
            "conditions": {"people": people, "device": {"registered": true, "assurance": {"include": [dae]}}},
            "actions": {"appSignOn": {"access": "ALLOW"}}})
    };
    let document = json!({
        "policies": [{"id": "rst1", "type": "ACCESS_POLICY", "name": "Mail", "status": "ACTIVE"}],
        "rules": {"rst1": [
            gate("rul1", 1, json!({"groups": {"include": ["00gpilot"]}}), "dae1"),
            gate("rul2", 2, json!({"groups": {"exclude": ["00gpilot"]}}), "dae2"),
            {"id": "rul3", "name": "Catch-all Rule", "priority": 99, "system": true,
                "actions": {"appSignOn": {"access": "DENY"}}}]},
        "device_assurances": [assurance("dae1", "Pilot", "14.6.0"), assurance("dae2", "Staff", "14.0.0")],
    });
    parse::parse(document.to_string().as_bytes()).expect("policies")
}

fn ask(fleet: &Fleet, policies: Option<&Policies>, groups: &Groups, sets: &[&str]) -> WhatIf {
    let mut proposal = Proposal::default();
    sets.iter().for_each(|set| proposal.set(set).expect("a value"));
    let cohort_of = |person: &Person| (person.as_str() == "00u1").then(|| SmolStr::new("pilot"));
    whatif(Facts { fleet, policies, groups, cohort_of: &cohort_of }, &proposal, usize::MAX)
}

/// Pass, refuse, unknown.
#[track_caller]
fn check(counts: &Counts, expect: [u64; 3]) {
    assert_eq!([counts.pass, counts.refuse, counts.unknown], expect, "{counts:?}");
    assert_eq!(counts.devices, expect.iter().sum::<u64>());
}

fn pilots() -> Groups {
    let mut groups = Groups::default();
    groups.list(&"00gpilot".into(), &BTreeSet::from([Person::new("00u1")]));
    groups
}

#[test]
fn without_policies_every_device_of_the_platform_is_asked() {
    let found = ask(&mixed(), None, &Groups::default(), &["macos.osVersion=14.6.0"]);
    check(&found.all, [1, 2, 1]);
    assert_eq!(found.all.unknown_share, Some(0.25));
    let people = (found.all.people, found.all.people_refused, found.all.people_locked_out, found.all.people_unknown);
    assert_eq!(people, (3, 2, 1, 1), "00u1 has another Mac that passes");
    assert_eq!((found.not_touched, found.platform_unknown, found.all.before), (1, 1, None));
    assert_eq!(found.checks, [CheckRow { check: PostureCheck::OsVersion, refuse: 2, unknown: 1 }]);
    let rows: Vec<_> = found.devices.iter().map(|row| (row.device.as_str(), row.verdict)).collect();
    assert_eq!(
        rows,
        [("guo0", Verdict::Refuse), ("guo2", Verdict::Refuse), ("guo3", Verdict::Unknown), ("guo1", Verdict::Pass)]
    );
    let cohorts: Vec<_> = found.by_cohort.iter().map(|row| (row.key.as_str(), row.counts.refuse)).collect();
    assert_eq!(cohorts, [("", 1), ("pilot", 1)]);
    let apps: Vec<_> = found.by_app.iter().map(|row| (row.name.as_str(), row.counts.refuse)).collect();
    assert_eq!(apps, [("App 0", 2), ("App 1", 0)]);
}

#[test]
fn a_device_that_fails_several_checks_counts_once_and_under_each() {
    let sets = ["macos.osVersion=14.6.0", "macos.diskEncryptionType=ALL_INTERNAL_VOLUMES"];
    let found = ask(&mixed(), None, &Groups::default(), &sets);
    check(&found.all, [1, 2, 1]);
    let both = &found.devices[1];
    assert_eq!(both.failing, [PostureCheck::OsVersion, PostureCheck::DiskEncryption]);
    let rows: Vec<_> = found.checks.iter().map(|row| (row.check, row.refuse, row.unknown)).collect();
    assert_eq!(rows, [(PostureCheck::OsVersion, 2, 1), (PostureCheck::DiskEncryption, 1, 0)]);
}

#[test]
fn newly_refused_are_told_from_those_refused_already() {
    let found = ask(&mixed(), Some(&in_force()), &pilots(), &["macos.osVersion=14.6.0"]);
    check(&found.all, [1, 2, 1]);
    let before = found.all.before.expect("policies are known");
    let expect = Before { newly_refused: 1, already_refused: 1, people_newly_refused: 1, ..Before::default() };
    assert_eq!(before, expect, "the pilot's old Mac is refused already");
    let was: Vec<_> = found.devices.iter().map(|row| (row.device.as_str(), row.before)).collect();
    let (refuse, unknown, pass) = (Some(Verdict::Refuse), Some(Verdict::Unknown), Some(Verdict::Pass));
    assert_eq!(was, [("guo0", refuse), ("guo2", pass), ("guo3", unknown), ("guo1", pass)]);
    let looser = ask(&mixed(), Some(&in_force()), &pilots(), &["macos.osVersion=14.0.0"]);
    assert_eq!(looser.all.before.map(|before| before.newly_let_in), Some(1));
}

#[test]
fn a_change_to_one_policy_touches_only_those_whose_rules_use_it() {
    let mut proposal = Proposal::default();
    proposal.assure(&assurance("dae2", "Staff", "14.6.0")).expect("a policy");
    let (fleet, policies, groups) = (mixed(), in_force(), pilots());
    let facts = |groups| Facts { fleet: &fleet, policies: Some(&policies), groups, cohort_of: &|_| None };
    let found = whatif(facts(&groups), &proposal, usize::MAX);
    check(&found.all, [0, 1, 1]);
    assert_eq!((found.not_touched, found.by_cohort.len()), (3, 0));

    let nobody = Groups::default();
    let undecided = whatif(facts(&nobody), &proposal, usize::MAX);
    check(&undecided.all, [1, 2, 1]);
    let before: Vec<_> = undecided.devices.iter().map(|row| row.before).collect();
    let (unknown, pass) = (Some(Verdict::Unknown), Some(Verdict::Pass));
    assert_eq!(before, [unknown, unknown, unknown, pass], "the floors disagree and nothing says which holds");
    assert_eq!(undecided.all.before.map(|before| before.refused_unknown_before), Some(2));
}

#[test]
fn a_list_ends_at_its_length_and_says_how_many_it_leaves_off() {
    let mut proposal = Proposal::default();
    proposal.set("macos.osVersion=14.6.0").expect("a value");
    let fleet = mixed();
    let facts = Facts { fleet: &fleet, policies: None, groups: &Groups::default(), cohort_of: &|_| None };
    let found = whatif(facts, &proposal, 1);
    assert_eq!((found.devices.len(), found.devices_left_off), (1, 3));
    assert_eq!(found.devices[0].verdict, Verdict::Refuse);
}
