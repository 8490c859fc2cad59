//! Canaries: what may not leave is planted wherever a record can hold it, and looked for in every shape.

use serde_json::{Value, json};

use super::super::testing::{event, forwarded, shapes};
use super::*;

const PASSWORD: &str = "Tr0ub4dor&3-Canary";
const TOKEN: &str = "02.id.CanaryCanary_2erQ99a6knyJxZZjzn9";

/// A failed sign-in of nobody known, with the typed text and tokens in every place that is known to hold them.
fn hostile() -> Value {
    json!({
        "uuid": "3aeede38-4f67-11ea-abd3-1f5d113f2546", "published": "2026-03-02T09:00:00.000Z",
        "eventType": "user.session.start", "displayMessage": format!("User {PASSWORD} not found"),
        "outcome": { "result": "FAILURE", "reason": format!("VERIFICATION_ERROR for {PASSWORD}") },
        "actor": { "id": "unknown", "type": "User", "alternateId": PASSWORD, "displayName": PASSWORD,
            "detailEntry": { "typed": PASSWORD } },
        "client": { "ipAddress": "192.0.2.7", "userAgent": { "rawUserAgent": "Mozilla/5.0" } },
        "debugContext": { "debugData": {
            "url": format!("/login/token/redirect?stateToken={TOKEN}&rememberDevice=false"),
            "requestUri": format!("/welcome/{TOKEN}"),
            "redirectUri": format!("https://a.example/cb?fromURI=%2Flogin%3FstateToken%3D{TOKEN}"),
            "subject": PASSWORD, "clientSecret": TOKEN, "note": format!("stateToken={TOKEN}"),
            "logOnlySecurityData": json!({ "risk": { "level": "LOW" }, "login": { "sessionToken": TOKEN, "name": PASSWORD } }).to_string(),
            "originalPrincipal": { "id": "unknown", "type": "User", "alternateId": PASSWORD },
            "behaviors": "{New IP=POSITIVE}", "text": format!("again {TOKEN}."),
        } },
        "target": [
            { "id": "unknown", "type": "AppUser", "alternateId": PASSWORD, "displayName": "unknown" },
            { "id": "0oa1qw2er3ty4ui5op6a", "type": "AppInstance", "alternateId": "Payroll", "displayName": "Payroll",
              "detailEntry": { "stateToken": TOKEN } },
        ],
    })
}

#[test]
fn a_typed_password_and_tokens_leave_in_no_shape() {
    for (name, text) in shapes(&forwarded(&hostile())) {
        for canary in [PASSWORD, "Tr0ub4dor", TOKEN, "CanaryCanary"] {
            assert!(!text.contains(canary), "{name}: {canary} in {text}");
        }
        for kept in ["192.0.2.7", "user.session.start", "Payroll"] {
            assert!(text.contains(kept), "{name}: no {kept} in {text}");
        }
    }
}

#[test]
fn the_same_with_every_key_in_lower_case() {
    fn lower(value: Value) -> Value {
        match value {
            Value::Object(map) => {
                map.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), lower(value))).collect()
            }
            Value::Array(list) => list.into_iter().map(lower).collect(),
            other => other,
        }
    }
    let raw = lower(hostile()).to_string();
    let out = Value::Object(record(&event(&hostile()), &raw).expect("an object")).to_string();
    assert!(!out.contains("Tr0ub4dor") && !out.contains("CanaryCanary"), "{out}");
}

#[test]
fn a_known_person_keeps_name_and_address_when_they_fail() {
    let mut known = hostile();
    known["actor"] =
        json!({ "id": "00u1qw2er3ty4ui5op6a", "type": "User", "alternateId": "ada@example.com", "displayName": "Ada" });
    known["target"] = json!([{ "id": "unknown", "type": "User", "alternateId": PASSWORD }]);
    let out = record(&event(&known), &known.to_string()).expect("an object");
    assert_eq!(out["actor"]["alternateId"], "ada@example.com");
    assert_eq!(out["target"][0]["alternateId"], WITHHELD, "the other one is still nobody");
    let everywhere = Value::Object(out).to_string();
    assert!(!everywhere.contains(PASSWORD), "{everywhere}");
}

#[test]
fn a_success_keeps_its_names_and_loses_its_tokens() {
    let mut good = hostile();
    good["outcome"] = json!({ "result": "SUCCESS", "reason": null });
    good["actor"] =
        json!({ "id": "00u1qw2er3ty4ui5op6a", "type": "User", "alternateId": "ada@example.com", "displayName": "Ada" });
    let out = Value::Object(record(&event(&good), &good.to_string()).expect("an object")).to_string();
    assert!(out.contains("ada@example.com") && !out.contains("CanaryCanary"), "{out}");
}

#[test]
fn settings_that_are_named_after_a_secret_stay_and_words_of_the_vocabulary_do() {
    let policy = json!({
        "uuid": "u", "published": "2026-03-02T09:00:00.000Z", "eventType": "policy.lifecycle.update",
        "outcome": { "result": "FAILURE" }, "actor": { "id": "unknown", "type": "User", "alternateId": "policy" },
        "target": [{ "id": "00p1", "type": "PolicyEntity", "changeDetails": { "to": { "password": { "complexity": { "minLength": 8 } } } } }],
    });
    let out = record(&event(&policy), &policy.to_string()).expect("an object");
    assert_eq!(out["target"][0]["changeDetails"]["to"]["password"]["complexity"]["minLength"], 8);
    assert_eq!(out["eventType"], "policy.lifecycle.update", "a typed word does not reach the vocabulary");
    assert_eq!(out["actor"]["alternateId"], WITHHELD);
}

#[test]
fn a_record_with_more_secrets_than_any_event_is_refused() {
    let mut base = hostile();
    let many: Vec<String> = (0..70).map(|n| format!("/x?stateToken=canary{n}")).collect();
    base["debugContext"]["debugData"]["many"] = json!(many);
    assert_eq!(record(&event(&base), &base.to_string()), None);
}

#[test]
fn what_is_no_object_is_refused_and_json_in_texts_has_a_bottom() {
    let base = hostile();
    for raw in ["", "[]", "\"stateToken=abc\"", "{"] {
        assert_eq!(record(&event(&base), raw), None, "{raw}");
    }
    let mut inner = json!({ "stateToken": TOKEN });
    for _ in 0..7 {
        inner = json!({ "x": inner.to_string() });
    }
    let out = Value::Object(record(&event(&base), &inner.to_string()).expect("an object")).to_string();
    assert!(!out.contains("CanaryCanary"), "{out}");
}
