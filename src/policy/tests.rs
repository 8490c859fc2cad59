//! The evaluator's semantics as tables: one policy, many sign-ins. It refuses nothing and fails where a row differs.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use smol_str::SmolStr;

use super::parse::parse;
use super::{Agreement, AssuranceResult, Evaluation, Groups, Loose, Query, evaluate};
use crate::event::{DeviceSignals, Person, Platform, PolicyRule, PostureCheck, PostureSource, Reason, Risk, Timestamp};
use crate::input::Policies;
use Agreement::{Agree, Disagree, Undecided};
use PostureCheck::{
    Biometrics, Crowdstrike, DiskEncryption, Jailbreak, NoDeviceContext, NotManaged, NotRegistered, OsVersion,
    ScreenLock, SecureHardware, SignalUnreadable, Unattributed,
};

fn allow(id: &str, priority: i64, conditions: Value) -> Value {
    json!({"id": id, "name": format!("{id} name"), "priority": priority, "conditions": conditions,
        "actions": {"appSignOn": {"access": "ALLOW", "verificationMethod": {
            "constraints": [{"possession": {"phishingResistant": "REQUIRED"}}]}}}})
}

fn catch_all(access: &str) -> Value {
    json!({"id": "rul9", "name": "Catch-all Rule", "priority": 99, "system": true,
        "actions": {"appSignOn": {"access": access}}})
}

/// One policy with these rules, and device assurance policies that differ by what they ask.
fn policies(rules: Value) -> Policies {
    let document = json!({
        "policies": [{"id": "rst1", "type": "ACCESS_POLICY", "name": "Console"}], "rules": {"rst1": rules},
        "device_assurances": [
            {"id": "dae15", "name": "Mac 15", "platform": "MACOS", "osVersion": {"minimum": "15.1"},
                "screenLockType": {"include": ["BIOMETRIC"]}},
            {"id": "dae14", "name": "Mac 14", "platform": "MACOS", "osVersion": {"minimum": "14.6"},
                "diskEncryptionType": {"include": ["ALL_INTERNAL_VOLUMES"]}},
            {"id": "daewin", "name": "Win", "platform": "WINDOWS", "secureHardwarePresent": true},
            {"id": "daegrace", "name": "Mac grace", "platform": "MACOS", "osVersion": {"minimum": "15.1"},
                "gracePeriod": {"type": "BY_DATE_TIME", "expiry": "1970-01-01T00:00:10Z"}},
            {"id": "daedays", "name": "Mac days", "platform": "MACOS", "osVersion": {"minimum": "15.1"},
                "gracePeriod": {"type": "BY_DURATION", "expiry": "P30D"}}]});
    parse(document.to_string().as_bytes()).expect("policies")
}

fn gate(assurances: &[&str]) -> Value {
    json!({"device": {"registered": true, "assurance": {"include": assurances}}})
}

fn in_group(group: &str, assurances: &[&str]) -> Value {
    let mut conditions = gate(assurances);
    conditions["people"] = json!({"groups": {"include": [group]}});
    conditions
}

fn mac(os_version: &str) -> DeviceSignals {
    DeviceSignals {
        os_version: Some(os_version.into()),
        registered: Some(true),
        managed: Some(false),
        disk_encryption: Some("ALL_INTERNAL_VOLUMES".into()),
        screen_lock: Some("BIOMETRIC".into()),
        ..DeviceSignals::default()
    }
}

/// A sign-in that a test changes before it asks.
struct Ask {
    rule: &'static str,
    granted: bool,
    device: Option<DeviceSignals>,
    platform: Platform,
    risk: Option<Risk>,
    at: i64,
    resistant: Option<bool>,
}

fn refused(device: DeviceSignals) -> Ask {
    Ask {
        rule: "rul9",
        granted: false,
        device: Some(device),
        platform: Platform::Macos,
        risk: None,
        at: 0,
        resistant: None,
    }
}

fn granted(rule: &'static str, device: DeviceSignals) -> Ask {
    Ask { rule, granted: true, ..refused(device) }
}

impl Ask {
    fn with<T>(&self, ask: impl FnOnce(&Query<'_>) -> T) -> T {
        let person = Person::new("00u1");
        let mut groups = Groups::default();
        groups.list(&SmolStr::new("00gin"), &BTreeSet::from([person.clone()]));
        groups.list(&SmolStr::new("00gout"), &BTreeSet::new());
        let rule = PolicyRule {
            id: self.rule.into(),
            name: SmolStr::default(),
            policy: Some("rst1".into()),
            policy_name: None,
        };
        ask(&Query {
            at: Timestamp(self.at),
            person: Some(&person),
            groups: &groups,
            platform: self.platform,
            device: self.device.as_ref(),
            rule: Some(&rule),
            risk: self.risk,
            granted: self.granted,
            phishing_resistant: self.resistant,
            releases: None,
        })
    }

    fn of(&self, rules: Value) -> Evaluation {
        let policies = policies(rules);
        self.with(|query| evaluate(Some(&policies), query))
    }
}

#[track_caller]
fn check(
    evaluation: &Evaluation,
    reason: Option<Reason>,
    failing: &[PostureCheck],
    unknown: &[PostureCheck],
    agreement: Agreement,
) {
    assert_eq!(evaluation.source, PostureSource::Derived);
    let found = (evaluation.reason, evaluation.failing(), evaluation.unknown(), evaluation.agreement);
    assert_eq!(found, (reason, failing.to_vec(), unknown.to_vec(), agreement));
}

const POSTURE: Option<Reason> = Some(Reason::DevicePosture);

#[test]
fn a_refusal_is_explained_by_the_granting_rule_above() {
    let rules = || json!([allow("rul1", 1, gate(&["dae15", "daewin"])), catch_all("DENY")]);
    let evaluation = refused(mac("14.6")).of(rules());
    check(&evaluation, POSTURE, &[OsVersion], &[], Agree);
    assert_eq!(evaluation.would_grant.as_deref(), Some("rul1 name"));
    assert_eq!(evaluation.policy.as_deref(), Some("Console"));
    check(&refused(mac("15.1")).of(rules()), None, &[], &[], Disagree);
    let blind = DeviceSignals { screen_lock: None, ..mac("15.1") };
    check(&refused(blind.clone()).of(rules()), None, &[], &[Biometrics], Undecided);
    let both = DeviceSignals { os_version: Some("14".into()), registered: Some(false), ..blind };
    check(&refused(both).of(rules()), POSTURE, &[NotRegistered, OsVersion], &[Biometrics], Agree);
    let windows = Ask {
        platform: Platform::Windows,
        ..refused(DeviceSignals { secure_hardware: Some(false), ..mac("10.0.22631.1") })
    };
    check(&windows.of(rules()), POSTURE, &[SecureHardware], &[], Agree);
    let linux = Ask { platform: Platform::Linux, ..refused(mac("6.1")) };
    check(&linux.of(rules()), None, &[], &[], Agree);
}

#[test]
fn several_device_assurance_policies_are_each_enough() {
    let rules = || json!([allow("rul1", 1, gate(&["dae15", "dae14"])), catch_all("DENY")]);
    check(&granted("rul1", mac("14.6")).of(rules()), None, &[], &[], Agree);
    check(&refused(mac("14.5")).of(rules()), POSTURE, &[OsVersion], &[], Agree);
    let open = DeviceSignals { disk_encryption: None, ..mac("14.6") };
    check(&refused(open).of(rules()), None, &[], &[DiskEncryption], Undecided);
    let missing = json!([allow("rul1", 1, gate(&["daegone"])), catch_all("DENY")]);
    check(&refused(mac("14.6")).of(missing), None, &[], &[Unattributed], Undecided);
}

#[test]
fn only_rules_that_may_have_been_for_this_sign_in_count() {
    for (conditions, reason, failing, agreement) in [
        (in_group("00gin", &["dae15"]), POSTURE, &[OsVersion][..], Agree),
        (in_group("00gout", &["dae15"]), None, &[], Agree),
        (in_group("00gwho", &["dae15"]), POSTURE, &[OsVersion], Agree),
    ] {
        let rules = json!([allow("rul1", 1, conditions), catch_all("DENY")]);
        check(&refused(mac("14.6")).of(rules), reason, failing, &[], agreement);
    }
    for (name, value, reason) in [
        ("platform", json!({"include": [{"type": "DESKTOP", "os": {"type": "WINDOWS"}}]}), None),
        ("platform", json!({"include": [{"type": "DESKTOP", "os": {"type": "MACOS"}}]}), POSTURE),
        ("platform", json!({"include": [{"type": "MOBILE"}]}), None),
        ("riskScore", json!({"level": "LOW"}), None),
        ("riskScore", json!({"level": "HIGH"}), POSTURE),
        ("network", json!({"connection": "ZONE", "include": ["nzo1"]}), POSTURE),
        ("userType", json!({"include": ["oty1"]}), POSTURE),
        ("elCondition", json!({"condition": "security.risk.level == 'LOW'"}), None),
    ] {
        let mut conditions = gate(&["dae15"]);
        conditions[name] = value;
        let ask = Ask { risk: Some(Risk::High), ..refused(mac("14.6")) };
        let evaluation = ask.of(json!([allow("rul1", 1, conditions.clone()), catch_all("DENY")]));
        assert_eq!(evaluation.reason, reason, "{conditions}");
    }
    let excluded = json!({"people": {"users": {"exclude": ["00u1"]}}, "device": {"registered": true}});
    let stranger = DeviceSignals { registered: Some(false), ..mac("14.6") };
    check(&refused(stranger).of(json!([allow("rul1", 1, excluded), catch_all("DENY")])), None, &[], &[], Agree);
}

#[test]
fn where_membership_is_unknown_a_check_fails_only_if_it_fails_for_every_rule_that_remains() {
    let rules = |first: &[&str], second: &[&str]| {
        json!([
            allow("rul1", 1, in_group("00ga", first)),
            allow("rul2", 2, in_group("00gb", second)),
            catch_all("DENY")
        ])
    };
    check(&refused(mac("14.5")).of(rules(&["dae15"], &["dae14"])), POSTURE, &[OsVersion], &[], Agree);
    // Who is refused with a device that the second rule accepts is not in its group.
    check(&refused(mac("14.6")).of(rules(&["dae15"], &["dae14"])), POSTURE, &[OsVersion], &[], Undecided);
    let open = DeviceSignals { disk_encryption: Some("NONE".into()), ..mac("14.6") };
    check(&refused(open).of(rules(&["dae15"], &["dae14"])), None, &[], &[OsVersion, DiskEncryption], Agree);
    let sure = json!([
        allow("rul1", 1, in_group("00ga", &["dae15"])),
        allow("rul2", 2, in_group("00gin", &["dae14"])),
        catch_all("DENY")
    ]);
    let evaluation = refused(DeviceSignals { disk_encryption: Some("NONE".into()), ..mac("14.6") }).of(sure);
    check(&evaluation, POSTURE, &[DiskEncryption], &[], Agree);
    assert_eq!(evaluation.would_grant.as_deref(), Some("rul2 name"));
}

#[test]
fn a_rule_that_refuses_by_itself_gives_its_own_reason() {
    let deny = |conditions: Value| {
        let mut rule = allow("rul5", 5, conditions);
        rule["actions"] = json!({"appSignOn": {"access": "DENY"}});
        json!([allow("rul1", 1, gate(&["dae15"])), rule, catch_all("DENY")])
    };
    let ask = || Ask { rule: "rul5", risk: Some(Risk::High), ..refused(mac("14.6")) };
    let zone = json!({"network": {"connection": "ZONE", "include": ["nzo1"]}});
    check(&ask().of(deny(zone)), Some(Reason::NetworkZone), &[], &[], Undecided);
    check(&ask().of(deny(json!({"riskScore": {"level": "HIGH"}}))), Some(Reason::Risk), &[], &[], Agree);
    check(&ask().of(deny(json!({}))), POSTURE, &[OsVersion], &[], Agree);
}

#[test]
fn a_flow_without_a_device_is_no_bad_device() {
    let rules = || json!([allow("rul1", 1, gate(&["dae15"])), catch_all("DENY")]);
    let evaluation = Ask { device: None, ..refused(mac("")) }.of(rules());
    check(&evaluation, None, &[], &[NoDeviceContext], Undecided);
    assert_eq!(evaluation.checks[0].required, "a registered device");
    let ungated = json!([allow("rul1", 1, json!({"people": {"groups": {"include": ["00gout"]}}})), catch_all("DENY")]);
    check(&Ask { device: None, ..refused(mac("")) }.of(ungated), None, &[], &[], Agree);
}

#[test]
fn expressions_are_checks_of_the_rule() {
    let condition = json!({"elCondition": {"condition": "device.provider.zta.overall >= 60"}});
    let rules = || json!([allow("rul1", 1, condition.clone()), catch_all("DENY")]);
    let with = |text: &str| DeviceSignals { integrators: Some(text.into()), ..mac("15.1") };
    check(&refused(with("{CROWDSTRIKE={overall=45}}")).of(rules()), POSTURE, &[Crowdstrike], &[], Agree);
    let error = with("{CROWDSTRIKE=genericError(TIMEOUT)}");
    check(&refused(error).of(rules()), POSTURE, &[SignalUnreadable], &[], Agree);
    check(&refused(mac("15.1")).of(rules()), None, &[], &[Crowdstrike], Undecided);
}

#[test]
fn a_grace_period_lets_a_failing_device_in_while_it_runs() {
    let rules = |id: &str| json!([allow("rul1", 1, gate(&[id])), catch_all("DENY")]);
    let late = || Ask { at: 20_000, ..refused(mac("14.6")) };
    check(&late().of(rules("daegrace")), POSTURE, &[OsVersion], &[], Agree);
    check(&refused(mac("14.6")).of(rules("daegrace")), None, &[], &[], Disagree);
    check(&refused(mac("14.6")).of(rules("daedays")), POSTURE, &[OsVersion], &[], Undecided);
    for (id, at, loose) in [
        ("daegrace", 0, Loose::GracePeriod),
        ("daegrace", 20_000, Loose::FailingCheck),
        ("daedays", 0, Loose::GracePeriod),
        ("dae15", 0, Loose::FailingCheck),
    ] {
        let evaluation = Ask { at, ..granted("rul1", mac("14.6")) }.of(rules(id));
        assert_eq!((evaluation.loose, evaluation.assurance), (vec![loose], AssuranceResult::Failed), "{id} {at}");
    }
}

#[test]
fn grants_are_held_against_what_their_rule_asks() {
    let rules = || {
        let mut managed = gate(&["dae15"]);
        managed["device"]["managed"] = json!(true);
        json!([allow("rul1", 1, managed), allow("rul2", 2, json!({})), catch_all("ALLOW")])
    };
    let healthy = || DeviceSignals { managed: Some(true), ..mac("15.1") };
    let blind = || DeviceSignals { screen_lock: None, ..healthy() };
    let stranger = || DeviceSignals { registered: Some(false), ..mac("14.6") };
    let (weak, strong) = (Some(false), Some(true));
    use AssuranceResult::{Failed, Met, NotAsked, Unknown};
    for (rule, device, resistant, assurance, loose) in [
        ("rul1", healthy(), strong, Met, &[][..]),
        ("rul1", healthy(), weak, Met, &[Loose::Phishable]),
        ("rul1", blind(), None, Unknown, &[]),
        ("rul1", mac("15.1"), None, Failed, &[Loose::FailingCheck]),
        ("rul2", healthy(), None, NotAsked, &[]),
        ("rul2", stranger(), None, NotAsked, &[Loose::Unmanaged, Loose::Unregistered]),
        ("rul9", healthy(), weak, Met, &[Loose::CatchAll]),
        ("rul9", stranger(), None, Failed, &[Loose::CatchAll, Loose::Unmanaged, Loose::Unregistered]),
    ] {
        let evaluation = Ask { resistant, ..granted(rule, device) }.of(rules());
        assert_eq!((evaluation.assurance, evaluation.loose.as_slice()), (assurance, loose), "{rule}");
        assert_eq!(evaluation.reason, None);
    }
    let out = json!([allow("rul1", 1, in_group("00gout", &["dae15"])), catch_all("ALLOW")]);
    let evaluation = granted("rul9", mac("15.1")).of(out);
    assert_eq!((evaluation.assurance, evaluation.loose), (NotAsked, Vec::new()));
}

#[test]
fn without_a_policy_the_device_block_alone_speaks() {
    let bad = DeviceSignals {
        managed: Some(false),
        registered: Some(false),
        jailbreak: Some(true),
        secure_hardware: Some(false),
        disk_encryption: Some("NONE".into()),
        screen_lock: Some("NONE".into()),
        integrators: Some("{WSC=genericError(TIMEOUT), CHROME={}}".into()),
        ..DeviceSignals::default()
    };
    let evaluation = refused(bad).with(|query| evaluate(None, query));
    assert_eq!((evaluation.source, evaluation.reason), (PostureSource::Signals, None));
    assert_eq!(evaluation.failing(), [DiskEncryption, ScreenLock, Jailbreak, SignalUnreadable]);
    assert_eq!(evaluation.unknown(), [SecureHardware, NotRegistered, NotManaged]);
    let none = Ask { device: None, ..refused(mac("")) };
    assert_eq!(none.with(|query| evaluate(None, query)), Evaluation::none());
    let stale = Ask { rule: "rulnew", ..refused(mac("14.6")) }.of(json!([catch_all("DENY")]));
    assert_eq!((stale.source, stale.agreement), (PostureSource::Signals, Disagree));
}

#[test]
fn a_rule_that_depends_on_the_network_hides_no_other_and_one_whose_device_passes_was_not_it() {
    let zone = json!({"network": {"connection": "ZONE", "include": ["nzo1"]}, "device": {"registered": true, "managed": true}});
    let anywhere = json!({"device": {"registered": true, "assurance": {"include": ["dae15"]}}});
    let rules = || json!([allow("rul1", 1, zone.clone()), allow("rul2", 2, anywhere.clone()), catch_all("DENY")]);
    let unmanaged = DeviceSignals { managed: Some(false), registered: Some(true), ..mac("14.6") };
    let evaluation = refused(unmanaged).of(rules());
    check(&evaluation, POSTURE, &[OsVersion], &[], Agree);
    assert_eq!(evaluation.would_grant.as_deref(), Some("rul2 name"));
    let managed = DeviceSignals { managed: Some(true), registered: Some(true), ..mac("14.6") };
    check(&refused(managed).of(rules()), POSTURE, &[OsVersion], &[], Undecided);
}

#[test]
fn what_counts_is_what_is_blamed() {
    let rules = json!([allow("rul1", 1, in_group("00gin", &["dae15"])), catch_all("DENY")]);
    assert_eq!(refused(mac("14.6")).of(rules.clone()).culprits(), [OsVersion]);
    let let_pass = Evaluation { reason: None, ..refused(mac("14.6")).of(rules) };
    assert_eq!(let_pass.culprits(), [PostureCheck::Unattributed], "a grace period let it pass");
    let alone = refused(DeviceSignals { screen_lock: Some("NONE".into()), ..DeviceSignals::default() });
    let alone = alone.with(|query| evaluate(None, query));
    assert_eq!(alone.culprits(), [PostureCheck::ScreenLock]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever a policy's expression and an event's integrators say, the answer is a reading, and nothing is blamed on
    /// a device that says nothing.
    #[test]
    fn no_text_breaks_the_evaluator(
        condition in "([()!&|'\"<>={}.,?0-9é ]|device\\.profile\\.managed|device\\.provider\\.zta\\.os|and|or|not){0,24}",
        integrators in "([{}=:,\"()\\[\\] é]|CROWDSTRIKE|os|genericError|[0-9]){0,24}",
    ) {
        let rules = json!([allow("rul1", 1, json!({"elCondition": {"condition": condition}})), catch_all("DENY")]);
        let device = DeviceSignals { integrators: Some(integrators.into()), ..DeviceSignals::default() };
        let evaluation = refused(device).of(rules.clone());
        prop_assert_eq!(evaluation.source, PostureSource::Derived);
        let silent = refused(DeviceSignals::default()).of(rules);
        prop_assert_eq!(silent.failing(), []);
    }
}
