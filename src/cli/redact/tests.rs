//! Nothing survives that could tell of somebody, and everything means what it meant.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::classify::Reader;
use crate::event::{AuthEvent, Org, Reject};

fn tables() -> Arc<Tables> {
    static TABLES: std::sync::LazyLock<Arc<Tables>> = std::sync::LazyLock::new(|| Arc::new(Tables::embedded()));
    TABLES.clone()
}

fn redactor() -> Redactor {
    Redactor::new(tables(), [7; 32])
}

fn redacted(value: &Value) -> Value {
    redactor().record(value.to_string().as_bytes()).expect("JSON")
}

/// What a member of an event becomes.
#[track_caller]
fn check(member: &str, before: Value, after: Value) {
    assert_eq!(redacted(&json!({ member: before }))[member], after, "{member}");
}

/// Part of every secret text below, in any case.
const CANARY: &str = "zqxv";

/// Texts of every form that is kept in part, with a canary in each part.
const CANARIES: [&str; 34] = [
    "zqxv",
    "Zqxv Quux",
    "zqxv@corp.example",
    "ZQXV-1234",
    "00uzqxv1qw2er3ty4ui5",
    "zqxv.corp.internal",
    "{New Device=zqxv, zqxv=NEGATIVE, Velocity=POSITIVE}",
    "{reasons=Anomalous Location, zqxv, level=zqxv}",
    "[DEVICE_BOUND, zqxv]",
    "okta_verify:zqxv:autzqxv",
    "zqxv:signed_nonce:zqxv",
    "https://zqxv.okta.com/app/zqxv/sso?stateToken=zqxv#zqxv",
    "/login/zqxv/zqxv1234567890?stateToken=02.zqxv",
    "zqxv://zqxv/zqxv",
    "Mozilla/5.0 (Macintosh; zqxv) Chrome/zqxv zqxv/1.0 ZQXV12.com.okta.mobile/8.1 iOS/zqxv Apple/zqxv1,2",
    "Mozilla/5.0 (Windows NT zqxv; rv:zqxv)",
    "Windows zqxv",
    "Mac OS X (iPhone zqxv)",
    "{\"zqxv\":\"zqxv\",\"CROWDSTRIKE\":{\"overall\":80,\"zqxv\":[\"zqxv\"]}}",
    "{\"a\":\"{\\\"b\\\":\\\"zqxv\\\"}\"}",
    "[\"zqxv\"]",
    "[{\"zqxv\":1}]",
    "Too many zqxv attempts",
    "Sign-on policy evaluation resulted in DENY for zqxv",
    "policy.rule.zqxv",
    "zqxv.rule.update",
    "user.mfa.factor.update_zqxv",
    "genericError(zqxv)",
    "14.6 zqxv",
    "2026-03-02T09:00:00.000Z zqxv",
    "  zqxv  ",
    "INFO zqxv",
    "Catch-all Rule zqxv",
    "Default Policy\u{0}zqxv",
];

/// Places of an event, as what stands around a member there.
fn places(member: Value) -> [Value; 12] {
    [
        member.clone(),
        json!({"actor": member, "eventType": "user.session.start"}),
        json!({"client": {"userAgent": member, "geographicalContext": member}}),
        json!({"device": member, "outcome": member}),
        json!({"debugContext": {"debugData": member}}),
        json!({"authenticationContext": {"authenticatorContext": member}, "transaction": {"detail": member}}),
        json!({"target": [member, {"type": "User", "detailEntry": member}, {"changeDetails": {"to": member}}]}),
        json!({"securityContext": {"userBehaviors": [member], "risk": member}, "request": {"ipChain": [member]}}),
        json!({"data": {"events": [member]}, "eventType": "com.okta.event_hook"}),
        json!({"payload": member.to_string()}),
        json!([{"detail": member, "detail-type": "x"}]),
        json!({"event": {"unheard": {"of": member}}}),
    ]
}

#[test]
fn no_text_with_a_canary_survives_under_any_name_in_any_place() {
    let names = keep::names().chain(["unheard", "Ada", "zqxv", "zqxv@corp.example"]);
    for name in names {
        let mut redactor = redactor();
        for text in CANARIES {
            for kind in [None, Some("User"), Some("Rule")] {
                let mut member = json!({ name: text, "list": [text, {name: [text]}] });
                if let Some(kind) = kind.filter(|_| name != "type") {
                    member["type"] = kind.into();
                }
                for event in places(member) {
                    let out = redactor.record(event.to_string().as_bytes()).expect("JSON").to_string();
                    assert!(!out.to_ascii_lowercase().contains(CANARY), "{name}: {text}\n{event}\n{out}");
                }
            }
        }
    }
}

#[test]
fn numbers_addresses_and_places_do_not_survive() {
    let secrets = [
        (json!("198.18.7.9"), "198.18.7.9"),
        (json!("2a00:1450::99"), "1450"),
        (json!("+49 151 23456789"), "23456789"),
        (json!(4_915_123_456_789_u64), "4915123456789"),
        (json!("7f1a9c52-0b1e-4d1c-9a57-1e8f2f6c9d10"), "7f1a9c52"),
        (json!("C02ZX9YKLVDQ"), "C02ZX9"),
        (json!(51.507_351), "507351"),
        (json!(-0.127_758), "127758"),
        (json!("1QAZxsw2#EDC"), "QAZ"),
    ];
    for name in keep::names().chain(["unheard"]) {
        let mut redactor = redactor();
        for (value, part) in &secrets {
            for event in places(json!({ name: value })) {
                let out = redactor.record(event.to_string().as_bytes()).expect("JSON").to_string();
                assert!(!out.contains(part), "{name}: {value}\n{out}");
            }
        }
    }
    check("lat", json!(42), json!(0));
    check("lat", json!(42.5), json!(0.0));
    check("postalCode", json!(12), json!(0));
    check("postalCode", json!("12"), json!("redacted"));
}

proptest! {
    #[test]
    fn whatever_stands_around_a_canary_it_does_not_survive(before in ".{0,12}", after in ".{0,12}", at in 0_usize..400) {
        let names: Vec<&str> = keep::names().collect();
        let event = json!({ names[at % names.len()]: format!("{before}{CANARY}{after}"), format!("{before}{CANARY}"): 1 });
        let out = redacted(&event).to_string().to_ascii_lowercase();
        prop_assert!(!out.contains(CANARY), "{}\n{}", event, out);
    }
}

#[test]
fn what_is_kept_and_what_stands_in() {
    check("published", json!("2026-03-02T09:00:00.123Z"), json!("2026-03-02T09:00:00.123Z"));
    check("published", json!("yesterday"), json!("redacted"));
    check("eventType", json!("user.mfa.factor.activate"), json!("user.mfa.factor.activate"));
    check("eventType", json!("user.mfa.factor.ada"), json!("user.mfa.factor.redacted"));
    check("severity", json!("WARN"), json!("WARN"));
    check("reason", json!("INVALID_CREDENTIALS"), json!("INVALID_CREDENTIALS"));
    check("reason", json!("Too many calls by Ada"), json!("Too many redacted"));
    check("reason", json!("Ada said so"), json!("redacted"));
    check("reason", json!(""), json!(""));
    check("zone", json!("null"), json!("null"));
    check("zone", json!("Ada's house"), json!("redacted"));
    check("os_version", json!("10.0.19045.3570"), json!("10.0.19045.3570"));
    check("os_version", json!("14.6.0 (23G80)"), json!("14.6.0"));
    check("os_version", json!("8.20.30.40"), json!("8.20.30"));
    check("behaviors", json!("{New IP=POSITIVE, Ada=NEGATIVE}"), json!("{New IP=POSITIVE, Behavior 1=NEGATIVE}"));
    check("behaviors", json!(["New IP=POSITIVE"]), json!(["New IP=POSITIVE"]));
    check(
        "risk",
        json!("{reasons=Anomalous Device, Ada, level=HIGH}"),
        json!("{reasons=Anomalous Device, redacted, level=HIGH}"),
    );
    check("url", json!("https://acme.okta.com/login/ada?x=1"), json!("https://example.com/login/redacted"));
    check("requestUri", json!("/api/v1/authn/factors"), json!("/api/v1/authn/factors"));
    check("origin", json!("https://acme.okta.com"), json!("https://example.com"));
    check(
        "device_integrator",
        json!("{\"CROWDSTRIKE\":{\"overall\":80}}"),
        json!("{\"CROWDSTRIKE\":{\"overall\":80}}"),
    );
    check("deviceIntegrator", json!({"WSC": "genericError(timeout of Ada)"}), json!({"WSC": "genericError(redacted)"}));
    check("methodUsedVerifiedProperties", json!("[USER_PRESENCE, ADA]"), json!("[USER_PRESENCE, redacted]"));
    check("managed", json!("false"), json!("false"));
    check("managed", Value::Null, Value::Null);
    check("threshold", json!("50"), json!("50"));
    check("threshold", json!("5000"), json!("redacted"));
    check(
        "rawUserAgent",
        json!(
            "B7F62B65BN.com.okta.mobile/8.1.1 OktaDeviceSDK/0.0.1 macOS/13.4.0 Apple/MacBookPro16,2 6C743C36-0000-400D-8FB9-A5F049A745CF"
        ),
        json!("com.okta.mobile/8.1.1 OktaDeviceSDK/0.0.1 macOS/13.4.0 Apple/MacBookPro16,2"),
    );
    check(
        "rawUserAgent",
        json!(
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/127.0.0.0"
        ),
        json!(
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/127.0.0.0"
        ),
    );
    check(
        "rawUserAgent",
        json!("Adas/1.0 (Ada; Windows NT 10.0; 8.20.30.40) Chrome/1.0 (Ada)"),
        json!("(Windows NT 10.0) Chrome/1.0"),
    );
    check("rawUserAgent", json!("AdaBot on an iPad"), json!("iPad"));
    check("rawUserAgent", json!("AdaCrOSBot"), json!("CrOS"));
    check("rawUserAgent", json!("AdaBot"), json!("redacted"));
}

#[test]
fn the_same_value_has_the_same_stand_in_everywhere_and_in_no_other_run() {
    let person = "00uada1qw2er3ty4ui5o";
    let event = json!({
        "actor": {"id": person, "type": "User", "alternateId": "ada@corp.example", "displayName": "Ada"},
        "target": [
            {"id": person, "type": "User", "displayName": "Ada", "detailEntry": {"subject": "Ada@corp.example"}},
            {"id": "0oaabc1qw2er3ty4ui5o", "type": "AppInstance", "displayName": "Payroll", "alternateId": "Payroll"},
            {"id": "0oaabc1qw2er3ty4ui5p", "type": "AppInstance", "displayName": "Mail"},
            {"id": "rulabc1qw2er3ty4ui5o", "type": "Rule", "displayName": "Catch-all Rule"},
            {"id": "guo1", "type": "UDDevice", "displayName": "Ada's Mac"},
        ],
        "device": {"id": "guo1", "name": "Ada's Mac"},
        "client": {"ipAddress": "198.18.7.9"},
        "request": {"ipChain": [{"ip": "198.18.7.9"}, {"ip": "198.18.7.10"}, {"ip": "2a00::1"}]},
        "debugContext": {"debugData": {"url": format!("/api/v1/users/{person}")}},
    });
    let mut one = redactor();
    let out = one.record(event.to_string().as_bytes()).expect("JSON");
    let id = out["actor"]["id"].as_str().expect("an id");
    assert_ne!(id, person);
    assert!(id.starts_with("00u") && id.len() == person.len(), "{id}");
    assert_eq!(out["target"][0]["id"], id);
    assert_eq!(out["debugContext"]["debugData"]["url"], format!("/api/v1/users/{id}"));
    assert_eq!(out["target"][0]["detailEntry"]["subject"], out["actor"]["alternateId"]);
    let names =
        [&out["actor"], &out["target"][0], &out["target"][1], &out["target"][2], &out["target"][3], &out["target"][4]];
    assert_eq!(
        names.map(|object| object["displayName"].as_str().expect("a name")),
        ["Person 1", "Person 1", "App 1", "App 2", "Catch-all Rule", "Device 1"]
    );
    assert_eq!(out["target"][1]["alternateId"], "App 1");
    assert_eq!((&out["device"]["name"], &out["device"]["id"]), (&json!("Device 1"), &out["target"][4]["id"]));
    assert_eq!(out["client"]["ipAddress"], "192.0.2.1");
    assert_eq!(out["request"]["ipChain"], json!([{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}, {"ip": "2001:db8::3"}]));
    assert_eq!(one.record(event.to_string().as_bytes()), Some(out.clone()), "the same run");
    let other = Redactor::new(tables(), [8; 32]).record(event.to_string().as_bytes()).expect("JSON");
    assert_ne!(other["actor"]["id"], id);
    assert_ne!(other["actor"]["alternateId"], out["actor"]["alternateId"]);
}

#[test]
fn short_ids_never_meet_and_addresses_stay_in_their_ranges() {
    let mut redactor = redactor();
    let mut stand_ins = std::collections::BTreeSet::new();
    for n in 0..1_000 {
        let id = redacted_with(&mut redactor, "id", json!(format!("a{n}")));
        assert!(stand_ins.insert(id.to_string()), "{id}");
    }
    for n in 0..2_000_u32 {
        let address = std::net::Ipv4Addr::from(0x0b00_0000 + n).to_string();
        let out = redacted_with(&mut redactor, "ip", json!(address));
        let out = out.as_str().expect("an address");
        let is_ours = ["192.0.2.", "198.51.100.", "203.0.113."].iter().any(|net| out.starts_with(net));
        assert!(is_ours && out.parse::<IpAddr>().is_ok(), "{out}");
    }
}

fn redacted_with(redactor: &mut Redactor, name: &str, value: Value) -> Value {
    redactor.record(json!({ name: value }).to_string().as_bytes()).expect("JSON")[name].clone()
}

#[test]
fn what_is_no_json_is_none_and_halves_of_pairs_are_mended() {
    for bytes in [&b"{"[..], b"", b"   ", b"\xff{}", b"{\"a\":1} x"] {
        assert_eq!(redactor().record(bytes), None);
    }
    assert_eq!(redactor().record(b"\xef\xbb\xbf{\"version\":\"0\"}"), Some(json!({"version": "0"})));
    assert_eq!(
        redactor().record(br#"{"uuid":null,"version":"\ud800"}"#),
        Some(json!({"uuid": null, "version": "redacted"}))
    );
}

/// What must be the same of an event before and after.
fn meaning(event: &AuthEvent) -> Value {
    let device = event.device.as_ref().map(|device| {
        let integrators = device
            .integrators
            .as_ref()
            .map(|text| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_string())));
        json!([
            device.os_version,
            device.managed,
            device.registered,
            device.jailbreak,
            device.secure_hardware,
            device.disk_encryption,
            device.screen_lock,
            integrators,
            device.id.is_some(),
        ])
    });
    json!([
        event.kind,
        event.credential,
        event.phishing_resistant,
        event.outcome,
        event.reason,
        event.platform,
        event.published,
        event.context.risk,
        device,
        event.person.is_some(),
        event.flow.is_some(),
        event.app.is_some(),
        event.rule.is_some(),
    ])
}

fn read(bytes: &[u8]) -> Vec<Result<AuthEvent, Reject>> {
    let mut found = Vec::new();
    Reader::new(Org::new("acme"), tables()).read_record(bytes, &mut |event| found.push(event));
    found
}

/// Redacts every record of a folder's files; those whose meaning changed, as `file:line`.
fn changed(folder: &Path) -> Vec<String> {
    let mut redactor = redactor();
    let mut changed = Vec::new();
    let mut ids = BTreeMap::new();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    for file in files.iter().filter(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".ndjson") && !name.ends_with(".expected.ndjson")
    }) {
        for (line, number) in std::fs::read_to_string(file).expect("a file").lines().zip(1..) {
            let Some(out) = redactor.record(line.as_bytes()) else { continue };
            let (before, after) = (read(line.as_bytes()), read(out.to_string().as_bytes()));
            let place = format!("{}:{number}", file.file_stem().unwrap_or_default().to_string_lossy());
            assert_eq!(before.len(), after.len(), "{place}");
            for (before, after) in before.iter().zip(&after) {
                match (before, after) {
                    (Ok(before), Ok(after)) => {
                        if meaning(before) != meaning(after) {
                            eprintln!("{place}\n  {}\n  {}", meaning(before), meaning(after));
                            changed.push(place.clone());
                        }
                        for (was, is) in [
                            (before.person.as_ref().map(|id| id.as_str()), after.person.as_ref().map(|id| id.as_str())),
                            (before.flow.as_ref().map(|id| id.as_str()), after.flow.as_ref().map(|id| id.as_str())),
                        ] {
                            let (Some(was), Some(is)) = (was, is) else { continue };
                            assert_ne!(was, is, "{place}");
                            let known = ids.entry(was.to_owned()).or_insert_with(|| is.to_owned());
                            assert_eq!(known, is, "{place}: {was}");
                        }
                    }
                    (before, after) => assert_eq!(before.as_ref().err(), after.as_ref().err(), "{place}"),
                }
            }
        }
    }
    let distinct: std::collections::BTreeSet<_> = ids.values().collect();
    assert_eq!(distinct.len(), ids.len(), "two ids have one stand-in");
    assert!(!ids.is_empty());
    changed
}

#[test]
fn fixtures_mean_the_same_when_redacted() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/classify/fixtures");
    assert_eq!(changed(Path::new(folder)), [""; 0]);
}

#[test]
fn real_events_mean_the_same_when_redacted() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/okta-events/dev"));
    if !folder.is_dir() {
        eprintln!("skipped: no real events at {}", folder.display());
        return;
    }
    assert_eq!(changed(folder), [""; 0]);
}
