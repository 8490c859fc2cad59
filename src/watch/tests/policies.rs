//! What the core does with policies, their changes and memberships.

use smol_str::SmolStr;

use super::*;
use crate::event::{Change, DeviceSignals, Platform, PostureCheck};
use crate::input::{PolicyOrigin, PolicySource};

/// One gated policy whose devices must have version `floor`.
fn policies(floor: &str) -> Input {
    let document = format!(
        r#"{{"policies":[{{"id":"rst1","type":"ACCESS_POLICY","status":"ACTIVE","name":"Salesforce sign-in"}}],
        "rules":{{"rst1":[
          {{"id":"rul0","name":"Healthy device","priority":1,"status":"ACTIVE","system":false,
            "conditions":{{"device":{{"registered":true,"assurance":{{"include":["dae1","dae2"]}}}}}},
            "actions":{{"appSignOn":{{"access":"ALLOW"}}}}}},
          {{"id":"rul1","name":"Catch-all Rule","priority":99,"status":"ACTIVE","system":true,
            "actions":{{"appSignOn":{{"access":"DENY"}}}}}}]}},
        "device_assurances":[
          {{"id":"dae1","name":"Mac","platform":"MACOS","osVersion":{{"minimum":"{floor}"}}}},
          {{"id":"dae2","name":"Windows","platform":"WINDOWS","osVersion":{{"minimum":"{floor}.0"}}}}]}}"#
    );
    let policies = std::sync::Arc::new(crate::policy::parse::parse(document.as_bytes()).expect("policies"));
    let since = if floor == "14.0.0" { Timestamp(0) } else { Timestamp(48 * 60 * MINUTE) };
    Input::Policies { org: Org::new("acme"), since: Some(since), origin: PolicyOrigin::Api, policies }
}

#[test]
fn a_changed_file_holds_from_now_on_and_policies_that_nobody_tells_any_more_hold_no_longer() {
    let configured = |policies| {
        let mut config = config();
        config.orgs.values_mut().for_each(|org| org.policies = policies);
        Input::Configure(Box::new(config))
    };
    let file = |floor: &str| match policies(floor) {
        Input::Policies { org, policies, .. } => {
            Input::Policies { org, since: Some(Timestamp::MIN), origin: PolicyOrigin::File, policies }
        }
        other => other,
    };
    let floor = |watch: &Watch| {
        let policies = watch.orgs().next().and_then(|org| org.policies())?;
        let requirement = policies.assurances["dae1"].requirements.first()?;
        match requirement {
            crate::input::Requirement::OsVersion(version) => version.minimum.clone(),
            _ => None,
        }
    };
    let mut change = event("change", 2 * MINUTE);
    change.kind = Kind::PolicyChange;
    change.event_type = "policy.rule.update".into();
    change.change = Some(Box::new(Change {
        target_type: "PolicyRule".into(),
        target_id: "rul0".into(),
        target_name: "Healthy device".into(),
        policy: Some("rst1".into()),
        person: None,
        to: None,
    }));
    let mut watch = Watch::new();
    let mut after = |inputs: &[Input]| {
        for input in inputs {
            watch.handle(input);
        }
        floor(&watch)
    };
    let source = |n| Some(PolicySource::File(n));
    let begun = [configured(source(1)), file("14.0.0"), input(event("one", MINUTE))];
    assert_eq!(after(&begun).as_deref(), Some("14.0.0"));
    assert_eq!(after(&[input(change), input(event("later", 3 * MINUTE))]), None, "the log does not say what changed");
    assert_eq!(after(&[configured(source(2)), file("15.0.0")]).as_deref(), Some("15.0.0"));
    assert_eq!(after(&[configured(None), input(event("two", 4 * MINUTE))]), None);
    assert_eq!(after(&[configured(source(2)), file("15.0.0")]).as_deref(), Some("15.0.0"));
    assert_eq!(after(&[configured(Some(PolicySource::Api)), input(event("three", 5 * MINUTE))]), None);
}

#[test]
fn people_are_told_at_once_when_the_failing_check_becomes_known() {
    let begin = 48 * 60 * MINUTE;
    let mut change = event("change", begin);
    change.kind = Kind::AssuranceChange;
    change.change = Some(Box::new(Change {
        target_type: "DeviceAssurancePolicy".into(),
        target_id: "dae1".into(),
        target_name: "Mac".into(),
        policy: None,
        person: None,
        to: None,
    }));
    let refused = |n: u32| {
        let mut event = sign_in(n, begin + i64::from(n) * 1_000, true);
        let version = if event.platform == Platform::Macos { "14.5.0" } else { "14.5.0.0" };
        let signals = DeviceSignals {
            id: Some(format!("guo{n}").into()),
            os_version: Some(version.into()),
            registered: Some(true),
            ..DeviceSignals::default()
        };
        event.device = Some(std::sync::Arc::new(signals));
        input(event)
    };
    let mut inputs: Vec<Input> = vec![policies("14.0.0")];
    inputs.extend(quiet_days().into_iter().map(input));
    inputs.push(input(change));
    inputs.extend((1..200).map(refused));
    let (watch, actions) = run(&inputs);
    assert_eq!(steps(&actions).first().map(|(step, _)| *step), Some(IncidentStep::Open));
    let told_check = |action: &Action| {
        let Action::Incident(action) = action;
        action.incident.checks.first().map(|check| (check.check, check.required.to_string(), check.actual.clone()))
    };
    assert!(actions.iter().all(|action| told_check(action).is_none()), "the policies are still being read");
    drop(watch);

    inputs.push(policies("15.0.0"));
    inputs.extend([refused(200), refused(230)]);
    let (watch, actions) = run(&inputs);
    let named = actions.iter().find(|action| told_check(action).is_some()).expect("an update names the check");
    let Action::Incident(update) = named;
    assert_eq!(update.step, IncidentStep::Update);
    assert!(update.note.starts_with("The failing check is known now. os_version: required 15.0.0"), "{}", update.note);
    assert!(update.description.contains("Checks that fail, with people: os_version ("), "{}", update.description);
    assert!(update.at - Timestamp(begin + 200_000) <= Span::minutes(1), "{}", update.at);
    let counts = watch.orgs().next().expect("an org").postures().clone();
    assert_eq!(counts.waited_in_vain, 0);
    let by_version: u64 =
        counts.checks.iter().filter(|(key, _)| key.0 == PostureCheck::OsVersion).map(|(_, n)| n).sum();
    assert!(by_version >= 199, "{:?}", counts.checks);
}

#[test]
fn changes_are_followed_in_event_time_whatever_the_order_of_arrival() {
    let change = |n: i64, kind, event_type: &str, change: Change| {
        let mut event = event(&format!("change {n}"), n * 1_000);
        (event.kind, event.event_type, event.change) = (kind, event_type.into(), Some(Box::new(change)));
        input(event)
    };
    let blank = Change {
        target_type: SmolStr::default(),
        target_id: SmolStr::default(),
        target_name: SmolStr::default(),
        policy: None,
        person: None,
        to: None,
    };
    let floor = |n, to: &str| {
        let to = Some(format!(r#"{{"osVersion":{{"minimum":"{to}"}}}}"#).into());
        change(
            n,
            Kind::AssuranceChange,
            "device.assurance.policy.update",
            Change { target_id: "dae1".into(), to, ..blank.clone() },
        )
    };
    let member = |n, word: &str| {
        let person = Some(Person::new("00u1"));
        let change_of = Change { target_id: "00gpilot".into(), person, ..blank.clone() };
        change(n, Kind::MembershipChange, &format!("group.user_membership.{word}"), change_of)
    };
    let policies = match policies("14.0.0") {
        Input::Policies { org, since, policies, .. } => {
            Input::Policies { org, since, origin: PolicyOrigin::File, policies }
        }
        other => other,
    };
    let group = Input::Members { org: Org::new("acme"), group: "00gpilot".into(), people: BTreeSet::new() };
    let state = |changes: [Input; 4]| {
        let begun = [policies.clone(), group.clone(), input(event("begin", 1_000))];
        let inputs: Vec<Input> = begun.into_iter().chain(changes).chain([input(event("end", 60_000))]).collect();
        let (watch, _) = run(&inputs);
        let org = watch.orgs().next().expect("an org");
        (org.policies().cloned(), org.groups().clone())
    };
    let in_order = state([floor(15, "15"), member(16, "add"), floor(20, "16"), member(21, "remove")]);
    let swapped = state([floor(20, "16"), member(21, "remove"), floor(15, "15"), member(16, "add")]);
    assert_eq!(in_order, swapped);
    assert_eq!(in_order.1.has("00gpilot", &Person::new("00u1")), Some(false));
    let minimum = in_order.0.expect("policies").assurances["dae1"].requirements.clone();
    assert!(format!("{minimum:?}").contains("16"), "{minimum:?}");
}
