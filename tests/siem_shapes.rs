//! The shapes that go to a SIEM, over every event of the simulated scenarios and, where they are at hand, real events:
//! OCSF against the facts of its schema, ECS against its allowed values and against public detection rules.

#![expect(clippy::expect_used, clippy::panic, unreachable_pub, reason = "helpers of tests may fail a test")]

#[path = "common/incident.rs"]
mod incident;
mod support {
    //! What the tests of the shapes share.
    pub mod ocsf;
}

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use authwatch::act::encode::{cef, ecs, ocsf, raw};
use authwatch::act::forward::{Forwarded, What};
use authwatch::action::{IncidentAction, IncidentStep};
use authwatch::classify::{Reader, Tables};
use authwatch::event::{Check, CheckVerdict, Org, Posture, PostureCheck, PostureSource, SourceName, Span, Timestamp};
use authwatch::sim::{self, Awkward, Log, Scenario};
use serde_json::{Value, json};
use support::ocsf::findings;

fn start() -> Timestamp {
    Timestamp::parse("2026-03-02T00:00:00.000Z").expect("a time")
}

/// Every event in a record, as it is forwarded.
fn forwarded(record: &str) -> Vec<Forwarded> {
    static TABLES: LazyLock<Arc<Tables>> = LazyLock::new(|| Arc::new(Tables::embedded()));
    let mut all = Vec::new();
    Reader::new(Org::new("acme"), TABLES.clone()).read_record(record.as_bytes(), &mut |read| {
        let Ok(event) = read else { return };
        all.push(Forwarded {
            id: format!("acme:{}:{:032x}", event.uuid, event.id.0).into(),
            org: Org::new("acme"),
            source: SourceName::new("okta:acme"),
            received: start(),
            what: What::Event { event: Box::new(event), posture: None, raw: Some(record.into()) },
        });
    });
    all
}

#[track_caller]
fn one(record: &Value) -> Forwarded {
    forwarded(&record.to_string()).pop().expect("an event")
}

/// Values that ECS 8.11 allows for `event.type` beside a category.
const TYPES: [(&str, &[&str]); 6] = [
    ("authentication", &["start", "end", "info"]),
    ("session", &["start", "end", "info"]),
    ("iam", &["admin", "change", "creation", "deletion", "group", "info", "user"]),
    ("configuration", &["access", "change", "creation", "deletion", "info"]),
    ("threat", &["indicator"]),
    ("network", &["access", "allowed", "connection", "denied", "end", "info", "protocol", "start"]),
];

/// Every shape of a record is as it should be; the class of OCSF.
#[track_caller]
fn check(place: &str, forwarded: &Forwarded) -> u64 {
    let document = ocsf::encode(forwarded);
    assert_eq!(findings(&document), [""; 0], "{place}: {document}");
    assert_eq!(document["metadata"]["uid"], forwarded.id.as_str(), "{place}");
    let document_ecs = ecs::encode(forwarded);
    let words = |name: &str| -> Vec<String> {
        let list = document_ecs["event"][name].as_array().cloned().unwrap_or_default();
        list.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect()
    };
    let allowed: BTreeSet<&str> = words("category")
        .iter()
        .flat_map(|category| {
            let (_, types) = TYPES.iter().find(|(name, _)| name == category).expect("a category of ECS");
            *types
        })
        .copied()
        .collect();
    assert!(words("type").iter().all(|word| allowed.contains(word.as_str())), "{place}: {document_ecs}");
    assert_eq!(document_ecs["authwatch"]["id"], forwarded.id.as_str(), "{place}");
    assert_eq!(raw::encode(forwarded)["authwatch"]["id"], forwarded.id.as_str(), "{place}");
    let line = cef::encode(forwarded);
    assert!(line.starts_with("CEF:0|authwatch|authwatch|") && !line.contains('\n'), "{place}: {line}");
    document["class_uid"].as_u64().expect("a class")
}

#[test]
fn every_event_of_every_scenario_is_valid_in_every_shape() {
    let mut classes: BTreeMap<u64, usize> = BTreeMap::new();
    for scenario in Scenario::ALL {
        let org = Arc::new(sim::Org::new(1, 400));
        let moment = start() + scenario.usual_offset();
        let until = moment + Span::hours(2);
        let log = Log::of_scenario(org, scenario, moment, moment - Span::minutes(10), until, Awkward::default());
        for entry in log {
            for forwarded in forwarded(&entry.json) {
                *classes.entry(check(scenario.as_str(), &forwarded)).or_default() += 1;
            }
        }
    }
    eprintln!("events by class: {classes:?}");
    for class in [3_002, 3_004] {
        assert!(classes.get(&class).is_some_and(|n| *n > 5), "{classes:?}");
    }
    assert!(classes.values().sum::<usize>() > 5_000, "{classes:?}");
}

#[test]
fn every_real_event_is_valid_in_every_shape() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/okta-events/dev"));
    if !folder.is_dir() {
        return eprintln!("skipped: no real events at {}", folder.display());
    }
    let mut count = 0;
    for file in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.ends_with(".ndjson") || name.ends_with(".expected.ndjson") {
            continue;
        }
        for (line, number) in std::fs::read_to_string(&file).expect("a file").lines().zip(1..) {
            for forwarded in forwarded(line) {
                check(&format!("{name}:{number}"), &forwarded);
                count += 1;
                for shape in [raw::encode, ecs::encode, ocsf::encode] {
                    let text = shape(&forwarded).to_string();
                    assert!(!text.contains("stateToken=02"), "{name}:{number}: {text}");
                    assert!(!text.contains("02.id.Mwm"), "{name}:{number}: {text}");
                }
            }
        }
    }
    assert!(count > 100, "{count}");
}

#[test]
fn events_are_categorised_as_elastic_expects_where_it_says_so() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/okta-events/dev"));
    let Ok(expected) = std::fs::read_to_string(folder.join("elastic-integrations.expected.ndjson")) else {
        return eprintln!("skipped: no real events at {}", folder.display());
    };
    let events = std::fs::read_to_string(folder.join("elastic-integrations.ndjson")).expect("the events");
    let lines: Vec<&str> = events.lines().collect();
    let mut compared = 0;
    for row in expected.lines() {
        let row: Value = serde_json::from_str(row).expect("JSON");
        let number = row["line"].as_u64().expect("a number") as usize;
        let document = ecs::encode(&forwarded(lines[number - 1]).pop().expect("an event"));
        compared += contains(&format!("line {number}"), &document, &row["expected"]);
    }
    assert!(compared > 80, "{compared}");
}

/// Everything that is expected is there; lists without regard to order. How many values were compared.
#[track_caller]
fn contains(path: &str, document: &Value, expected: &Value) -> usize {
    match expected {
        Value::Object(map) => {
            map.iter().map(|(name, value)| contains(&format!("{path}/{name}"), &document[name], value)).sum()
        }
        Value::Array(list) => {
            for value in list {
                assert!(document.as_array().is_some_and(|own| own.contains(value)), "{path}: no {value} in {document}");
            }
            list.len()
        }
        value => {
            assert_eq!(document, value, "{path}");
            1
        }
    }
}

fn event(kind: &str, result: &str, more: Value) -> Value {
    let mut event = json!({
        "uuid": "3aeede38-4f67-11ea-abd3-1f5d113f2546", "published": "2026-03-02T09:00:00.000Z", "eventType": kind,
        "outcome": { "result": result },
        "actor": { "id": "00u1qw2er3ty4ui5op6a", "type": "User", "alternateId": "ada@example.com", "displayName": "Ada" },
        "client": { "ipAddress": "192.0.2.7", "device": "Computer", "userAgent": { "rawUserAgent": "Mozilla/5.0" } },
    });
    for (name, value) in more.as_object().expect("an object") {
        event[name] = value.clone();
    }
    event
}

/// A name, a record, and what a rule asks of it: field and value, `*` for any.
type Case = (&'static str, Value, &'static [(&'static str, &'static str)]);

/// What public detection rules for Okta ask for.
#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn public_detection_rules_match() {
    let debug = |data: Value| json!({ "debugContext": { "debugData": data } });
    let cases: [Case; 10] = [
        (
            "a phishing attempt declined",
            event(
                "user.authentication.auth_via_mfa",
                "FAILURE",
                json!({ "outcome": { "result": "FAILURE", "reason": "FastPass declined phishing attempt" } }),
            ),
            &[
                ("event.category", "authentication"),
                ("okta.event_type", "user.authentication.auth_via_mfa"),
                ("event.outcome", "failure"),
                ("okta.outcome.reason", "FastPass declined phishing attempt"),
            ],
        ),
        (
            "a rule changed",
            event("policy.rule.update", "SUCCESS", json!({})),
            &[("event.action", "policy.rule.update")],
        ),
        (
            "a policy deactivated",
            event("policy.lifecycle.deactivate", "SUCCESS", json!({})),
            &[("event.action", "policy.lifecycle.deactivate")],
        ),
        (
            "an app's policy changed",
            event("application.policy.sign_on.update", "SUCCESS", json!({})),
            &[("event.action", "application.policy.sign_on.update")],
        ),
        (
            "a threat suspected",
            event("user.session.start", "SUCCESS", debug(json!({ "threatSuspected": "true" }))),
            &[("okta.debug_context.debug_data.threat_suspected", "true")],
        ),
        (
            "an administrator made",
            event(
                "user.account.privilege.grant",
                "SUCCESS",
                debug(json!({ "privilegeGranted": "Super administrator" })),
            ),
            &[
                ("event.action", "user.account.privilege.grant"),
                ("okta.debug_context.debug_data.flattened.privilegeGranted", "Super administrator"),
            ],
        ),
        (
            "a password tried",
            event(
                "user.authentication.auth_via_mfa",
                "FAILURE",
                json!({ "outcome": { "result": "FAILURE", "reason": "INVALID_CREDENTIALS" }, "debugContext": { "debugData": { "dtHash": "ab12", "requestUri": "/api/v1/authn" } } }),
            ),
            &[
                ("okta.outcome.reason", "INVALID_CREDENTIALS"),
                ("okta.actor.alternate_id", "*"),
                ("okta.debug_context.debug_data.dt_hash", "ab12"),
                ("okta.debug_context.debug_data.request_uri", "/api/v1/authn"),
                ("okta.client.ip", "192.0.2.7"),
            ],
        ),
        (
            "pushes refused",
            event(
                "user.authentication.auth_via_mfa",
                "FAILURE",
                json!({ "outcome": { "result": "FAILURE", "reason": "INVALID_CREDENTIALS" }, "debugContext": { "debugData": { "factor": "OKTA_VERIFY_PUSH" } } }),
            ),
            &[("okta.debug_context.debug_data.factor", "OKTA_VERIFY_PUSH"), ("okta.actor.id", "*")],
        ),
        (
            "an unknown client",
            event("user.authentication.sso", "SUCCESS", json!({ "client": { "device": "Unknown" } })),
            &[
                ("event.action", "user.authentication.sso"),
                ("event.outcome", "success"),
                ("okta.client.device", "Unknown"),
            ],
        ),
        (
            "a session from a proxy",
            event("user.session.start", "SUCCESS", json!({ "securityContext": { "isProxy": true } })),
            &[("okta.security_context.is_proxy", "true"), ("okta.actor.id", "*")],
        ),
    ];
    for (name, record, conditions) in cases {
        let document = ecs::encode(&one(&record));
        assert_eq!(document["data_stream"]["dataset"], "okta.system", "{name}");
        for (field, expect) in conditions {
            let value = field.split('.').fold(&document, |value, name| &value[name]);
            let texts: Vec<String> = match value {
                Value::Array(list) => list.iter().map(|value| value.as_str().unwrap_or_default().to_owned()).collect(),
                Value::String(text) => vec![text.clone()],
                Value::Null => vec![],
                other => vec![other.to_string()],
            };
            assert!(texts.iter().any(|text| text == expect || *expect == "*"), "{name}: {field} is {value}");
        }
    }
}

fn step(step: IncidentStep, revision: u32) -> Forwarded {
    let at = start() + Span::hours(9);
    let mut incident =
        incident::incident("aw-0123456789abcdef0123456789abcdef", at, "Sign-in refused to 12 people", 12);
    incident.evidence.top_apps = vec![("Payroll".to_owned(), 12)];
    incident.resolved_at = (step == IncidentStep::Resolve).then_some(at + Span::hours(1));
    let action = IncidentAction {
        step,
        at: at + Span::minutes(5),
        revision,
        incident,
        description: "What fails".to_owned(),
        note: "Opened".to_owned(),
    };
    Forwarded {
        id: format!("acme:aw-0123456789abcdef0123456789abcdef:{revision}").into(),
        org: Org::new("acme"),
        source: SourceName::new("authwatch"),
        received: at,
        what: What::Finding(Box::new(action)),
    }
}

#[test]
fn steps_of_an_incident_are_findings_that_are_created_updated_and_closed() {
    for (kind, activity, status, is_alert) in [
        (IncidentStep::Open, 1, 1, true),
        (IncidentStep::Update, 2, 2, false),
        (IncidentStep::Resolve, 3, 4, false),
        (IncidentStep::Reopen, 2, 2, true),
    ] {
        let forwarded = step(kind, 3);
        assert_eq!(check(kind.as_str(), &forwarded), 2_004);
        let document = ocsf::encode(&forwarded);
        assert_eq!(document["activity_id"], activity, "{kind:?}");
        assert_eq!(document["type_uid"], 200_400 + activity, "{kind:?}");
        assert_eq!(document["status_id"], status, "{kind:?}");
        assert_eq!(document["is_alert"], is_alert, "{kind:?}");
        assert_eq!(document["finding_info"]["uid"], "aw-0123456789abcdef0123456789abcdef");
    }
}

#[test]
fn trap_times_are_milliseconds_and_a_refusal_is_neither_unknown_nor_a_finding() {
    let deny = event(
        "policy.evaluate_sign_on",
        "DENY",
        json!({ "target": [{ "id": "rul1", "type": "Rule", "displayName": "Catch-all Rule", "detailEntry": { "policyId": "rst1" } }] }),
    );
    let mut forwarded = one(&deny);
    let document = ocsf::encode(&forwarded);
    assert_eq!(document["time"], 1_772_442_000_000_i64);
    let ids = ["class_uid", "type_uid", "status_id", "action_id", "disposition_id"].map(|name| document[name].as_u64());
    assert_eq!(ids, [Some(3_002), Some(300_201), Some(2), Some(2), Some(2)]);
    assert_eq!(document["policy"]["uid"], "rst1");
    assert_eq!(document["metadata"]["event_code"], "policy.evaluate_sign_on");
    let challenge = ocsf::encode(&one(&event("policy.evaluate_sign_on", "CHALLENGE", json!({}))));
    assert_eq!((&challenge["status_id"], &challenge["disposition_id"]), (&json!(99), &json!(23)));
    // Our reading of the device stands where the schema has no place for it.
    if let What::Event { posture, .. } = &mut forwarded.what {
        let check = Check {
            check: PostureCheck::DiskEncryption,
            detail: "type".into(),
            required: "FULL".into(),
            actual: None,
            result: CheckVerdict::Fail,
        };
        *posture = Some(Posture {
            source: PostureSource::Derived,
            fail: vec![PostureCheck::DiskEncryption],
            checks: vec![check],
            ..Posture::NONE
        });
    }
    let document = ocsf::encode(&forwarded);
    assert_eq!(document["unmapped"]["authwatch"]["posture"]["checks"][0]["check"], "disk_encryption");
    assert_eq!(document["unmapped"]["authwatch"]["reason"], "device_posture");
}

#[test]
fn trap_there_is_no_class_for_a_policy_so_a_change_is_entity_management() {
    let target = json!([{ "id": "rul1", "type": "PolicyRule", "displayName": "Healthy Mac" }, { "id": "rst1", "type": "PolicyEntity", "displayName": "Payroll" }]);
    let document = ocsf::encode(&one(&event("policy.rule.update", "SUCCESS", json!({ "target": target }))));
    let ids = ["class_uid", "type_uid", "status_id"].map(|name| document[name].as_u64());
    assert_eq!(ids, [Some(3_004), Some(300_403), Some(1)]);
    assert_eq!(document["entity"]["type_id"], 5);
    assert_eq!(document["entity"]["name"], "Healthy Mac");
    assert_eq!(document["entity"]["policy"]["name"], "Payroll");
    assert_eq!(document["actor"]["user"]["email_addr"], "ada@example.com");
}

#[test]
fn the_validator_finds_what_is_wrong() {
    let good = ocsf::encode(&one(&event("policy.evaluate_sign_on", "DENY", json!({}))));
    assert_eq!(findings(&good), [""; 0]);
    for (pointer, value, expect) in [
        ("/time", json!(1_772_442_000), "/time is no timestamp"),
        ("/type_uid", json!(300_299), "type_uid is not"),
        ("/category_uid", json!(6), "category_uid is not"),
        ("/severity_id", json!(42), "/severity_id may not be 42"),
        ("/status_id", json!("1"), "/status_id is no integer"),
        ("/user", json!({ "type_id": 1 }), "/user has none of"),
        ("/user", json!({ "uid": "x", "nick": "y" }), "/user/nick is no attribute"),
        ("/src_endpoint/ip", json!("unknown"), "/src_endpoint/ip is no ip"),
        ("/metadata/version", json!("1.7.0"), "metadata.version"),
        ("/metadata/profiles", json!([]), "/action_id is no attribute"),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        let found = findings(&bad);
        assert!(found.iter().any(|finding| finding.contains(expect)), "{pointer}: {found:?}");
    }
    for required in ["time", "metadata", "user", "class_uid", "severity_id", "activity_id"] {
        let mut bad = good.clone();
        bad.as_object_mut().expect("an object").remove(required);
        assert!(!findings(&bad).is_empty(), "{required}");
    }
}
