//! Fields where Elastic's integration has them, and the two places where a naive reading goes wrong.

use serde_json::{Value, json};

use super::super::testing::forwarded;
use super::*;

fn record() -> Value {
    json!({
        "uuid": "3aeede38-4f67-11ea-abd3-1f5d113f2546", "published": "2026-03-02T09:00:00.000Z",
        "eventType": "policy.evaluate_sign_on", "displayMessage": "Evaluation of sign-on policy", "severity": "WARN",
        "outcome": { "result": "DENY", "reason": "Sign-on policy evaluation resulted in DENIED" },
        "actor": { "id": "00u1qw2er3ty4ui5op6a", "type": "User", "alternateId": "ada@example.com", "displayName": "Ada B" },
        "client": { "ipAddress": "192.0.2.7", "device": "Unknown", "zone": "null",
            "userAgent": { "rawUserAgent": "Mozilla/5.0", "os": "Mac OS X", "browser": "FIREFOX" },
            "geographicalContext": { "city": "Ghent", "country": "Belgium", "geolocation": { "lat": 51.0, "lon": 420 } } },
        "securityContext": { "asNumber": 64500, "asOrg": "Example", "isProxy": "false", "domain": "example.net" },
        "authenticationContext": { "authenticationProvider": "FACTOR_PROVIDER", "interface": "wsTrust",
            "externalSessionId": "unknown", "rootSessionId": "idx1" },
        "debugContext": { "debugData": { "dtHash": "-", "threatSuspected": "true", "url": "/x?stateToken=abc",
            "risk": "{reasons=Anomalous Location, Anomalous Device, level=HIGH}",
            "behaviors": "{New Geo-Location=NEGATIVE, New Device=POSITIVE, Velocity=POSITIVE}",
            "privilegeGranted": "Super administrator" } },
        "target": [{ "id": "00u2", "type": "User", "alternateId": "bob@example.com", "displayName": "Bob",
            "detailEntry": { "methodTypeUsed": "Password", "other": "x" } }],
        "request": { "ipChain": [{ "ip": "192.0.2.7", "version": "V4", "geographicalContext": { "postalCode": "9000" } }] },
        "device": { "id": "guo1", "disk_encryption_type": "NONE", "managed": false, "device_integrator": "{\"WSC\":{}}" },
        "transaction": { "id": "t1", "type": "WEB", "detail": { "requestApiTokenId": "00T1" } },
    })
}

#[track_caller]
fn check(pointer: &str, expect: Value) {
    assert_eq!(encode(&forwarded(&record())).pointer(pointer).cloned().unwrap_or_default(), expect, "{pointer}");
}

#[test]
fn fields_are_where_the_integration_has_them() {
    for (pointer, expect) in [
        ("/@timestamp", json!("2026-03-02T09:00:00.000Z")),
        ("/data_stream/dataset", json!("okta.system")),
        ("/event/id", json!("3aeede38-4f67-11ea-abd3-1f5d113f2546")),
        ("/event/action", json!("policy.evaluate_sign_on")),
        ("/event/category", json!(["authentication"])),
        ("/okta/event_type", json!("policy.evaluate_sign_on")),
        ("/okta/actor/alternate_id", json!("ada@example.com")),
        ("/okta/client/device", json!("Unknown")),
        ("/okta/client/user_agent/raw_user_agent", json!("Mozilla/5.0")),
        ("/okta/client/zone", Value::Null),
        ("/user/name", json!("ada")),
        ("/user/full_name", json!("Ada B")),
        ("/user/target/id", json!("00u2")),
        ("/user/target/email", json!("bob@example.com")),
        ("/client/ip", json!("192.0.2.7")),
        ("/source/ip", json!("192.0.2.7")),
        ("/source/geo/city_name", json!("Ghent")),
        ("/source/as/number", json!(64500)),
        ("/related/ip", json!(["192.0.2.7"])),
        ("/related/user", json!(["Ada B", "Bob", "ada"])),
        ("/user_agent/original", json!("Mozilla/5.0")),
        ("/user_agent/os/name", json!("Mac OS X")),
        ("/okta/security_context/is_proxy", json!(false)),
        ("/okta/security_context/as/organization/name", json!("Example")),
        ("/okta/authentication_context/root_session_id", json!("idx1")),
        ("/okta/debug_context/debug_data/dt_hash", json!("-")),
        ("/okta/debug_context/debug_data/threat_suspected", json!("true")),
        ("/okta/debug_context/debug_data/url", json!("/x?stateToken=redacted")),
        ("/okta/debug_context/debug_data/risk_level", json!("HIGH")),
        ("/okta/debug_context/debug_data/risk_reasons", json!(["Anomalous Location", "Anomalous Device"])),
        ("/okta/debug_context/debug_data/risk_behaviors", json!(["New Device", "Velocity"])),
        ("/okta/debug_context/debug_data/behaviors/New_Geo_Location", json!("NEGATIVE")),
        ("/okta/debug_context/debug_data/flattened/privilegeGranted", json!("Super administrator")),
        ("/okta/target/0/display_name", json!("Bob")),
        ("/okta/target/0/detailEntry", json!({ "methodTypeUsed": "Password" })),
        ("/okta/request/ip_chain/0/geographical_context/postal_code", json!("9000")),
        ("/okta/device/disk_encryption_type", json!("NONE")),
        ("/okta/device/device_integrator", json!({ "WSC": {} })),
        ("/okta/transaction/detail/request_api_token_id", json!("00T1")),
        ("/authwatch/outcome", json!("deny")),
        ("/authwatch/reason", json!("policy_denied")),
    ] {
        check(pointer, expect);
    }
}

#[test]
fn trap_a_refusal_is_a_failure_like_a_wrong_password_and_is_told_apart_elsewhere() {
    check("/event/outcome", json!("failure"));
    check("/okta/outcome/result", json!("DENY"));
    for (result, expect) in [
        ("SUCCESS", "success"),
        ("ALLOW", "success"),
        ("FAILURE", "failure"),
        ("DENY", "failure"),
        ("CHALLENGE", "unknown"),
        ("SKIPPED", "unknown"),
        ("ABANDONED", "unknown"),
        ("UNKNOWN", "unknown"),
        ("", "unknown"),
    ] {
        assert_eq!(outcome(result), expect, "{result}");
    }
}

#[test]
fn trap_the_interface_does_not_replace_the_provider() {
    check("/okta/authentication_context/authentication_provider", json!("FACTOR_PROVIDER"));
    check("/okta/authentication_context/interface", json!("wsTrust"));
}

#[test]
fn a_place_that_is_none_is_left_out() {
    check("/client/geo/location", Value::Null);
}
