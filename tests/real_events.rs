//! Real events from public repositories, where they are at hand; the tests say so and pass where they are not.

#![expect(clippy::expect_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use authwatch::classify::{Reader, Tables};
use authwatch::cli::explain::{self, Explain};
use authwatch::event::{AuthEvent, Credential, Kind, Org, Outcome, Platform, Reason, Reject};
use serde_json::Value;

fn folder() -> Option<&'static Path> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/okta-events/dev"));
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no real events at {}", folder.display());
    None
}

fn reader() -> Reader {
    static TABLES: LazyLock<Arc<Tables>> = LazyLock::new(|| Arc::new(Tables::embedded()));
    Reader::new(Org::new("acme"), TABLES.clone())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".ndjson") && !name.ends_with(".expected.ndjson")
    });
    files.sort();
    files
}

/// Hand-written rule tests without any time.
const UNDATED: [&str; 10] = [
    "panther-rules:42",
    "panther-rules:43",
    "panther-rules:44",
    "panther-rules:45",
    "panther-rules:46",
    "panther-rules:58",
    "panther-rules:78",
    "panther-rules:84",
    "panther-rules:85",
    "panther-rules:86",
];

/// Every record: `file:line`, its text, what was read.
fn records(folder: &Path) -> Vec<(String, String, Result<AuthEvent, Reject>)> {
    let reader = reader();
    let mut all = Vec::new();
    for file in files(folder) {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for (index, line) in std::fs::read_to_string(&file).expect("a file").lines().enumerate() {
            let mut found = Vec::new();
            reader.read_record(line.as_bytes(), &mut |read| found.push(read));
            assert_eq!(found.len(), 1, "{name}:{}", index + 1);
            all.extend(found.pop().map(|read| (format!("{name}:{}", index + 1), line.to_owned(), read)));
        }
    }
    all
}

#[test]
fn the_events_that_are_other_or_rejected_are_those_in_the_documentation() {
    let Some(folder) = folder() else { return };
    let seen = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/rules/classify/fixtures/seen.json"));
    let seen: Value = serde_json::from_str(&seen.expect("what was seen")).expect("json");
    let all = records(folder);
    let mut other = BTreeMap::<String, u64>::new();
    let mut rejects = BTreeMap::<String, u64>::new();
    let mut undated = 0_u64;
    for (_, _, read) in &all {
        undated += u64::from(read.as_ref().is_ok_and(|event| event.published.is_none()));
        match read {
            Ok(event) if event.kind == Kind::Other => *other.entry(event.event_type.to_string()).or_default() += 1,
            Ok(_) => {}
            Err(reject) => *rejects.entry(reject.to_string()).or_default() += 1,
        }
    }
    assert_eq!(seen["records"], all.len());
    assert_eq!(seen["other"], serde_json::json!(other));
    assert_eq!(seen["rejected"], serde_json::json!(rejects));
    assert_eq!(seen["undated"], undated);
}

#[test]
fn every_record_is_an_event_and_only_those_without_any_time_are_undated() {
    let Some(folder) = folder() else { return };
    let (mut rejected, mut undated) = (Vec::new(), Vec::new());
    let all = records(folder);
    for (place, text, read) in &all {
        let record: Value = serde_json::from_str(text).expect("json");
        match read {
            Ok(event) if event.published.is_none() => {
                assert_eq!(record.get("published"), None, "{place}");
                undated.push(place.as_str());
            }
            Ok(_) => assert!(record.get("published").is_some(), "{place}"),
            Err(reject) => rejected.push((place, reject)),
        }
    }
    assert_eq!(rejected, []);
    assert_eq!(undated, UNDATED);
    assert_eq!(all.len(), 123);
}

#[test]
fn explain_gives_one_line_a_record() {
    let Some(folder) = folder() else { return };
    let reader = reader();
    for (place, text, read) in records(folder) {
        let [line]: [Explain; 1] = explain::lines(&reader, text.as_bytes()).try_into().expect("one line");
        assert_eq!(line.reject, read.err(), "{place}");
        assert!(!explain::text(&line).is_empty(), "{place}");
    }
}

#[test]
fn the_events_nearest_to_a_live_org_read_as_checked_by_hand() {
    use {Credential as C, Kind as K, Outcome as O, Platform as P, Reason as R};
    let Some(folder) = folder() else { return };
    let all: BTreeMap<String, AuthEvent> =
        records(folder).into_iter().filter_map(|(place, _, read)| Some((place, read.ok()?))).collect();
    let table = [
        ("elastic-integrations:3", K::PolicyEvaluation, C::None, O::Allow, R::None, P::Macos, None),
        ("elastic-integrations:5", K::Verification, C::None, O::Success, R::None, P::Ios, None),
        ("elastic-integrations:7", K::Authentication, C::Push, O::Success, R::None, P::Ios, Some(false)),
        ("elastic-integrations:8", K::Authentication, C::Webauthn, O::Success, R::None, P::Linux, Some(true)),
        ("elastic-integrations:12", K::Sso, C::None, O::Success, R::None, P::Macos, None),
        ("elastic-integrations:14", K::Authentication, C::Fastpass, O::Success, R::None, P::Macos, Some(true)),
        ("elastic-integrations:15", K::Device, C::None, O::Success, R::None, P::Macos, None),
        ("grafana-collector:1", K::AccessDenied, C::None, O::Deny, R::NotAssigned, P::Macos, None),
        ("loki-drain-test:1", K::PolicyEvaluation, C::Other, O::Allow, R::None, P::Macos, None),
        ("okta-docs:1", K::Session, C::Password, O::Success, R::None, P::Macos, Some(false)),
        ("okta-docs:3", K::RateLimit, C::None, O::RateLimited, R::RateLimited, P::Macos, None),
        ("okta-openapi:1", K::Session, C::Other, O::Success, R::None, P::Macos, None),
        ("okta-workflows-template:1", K::Threat, C::None, O::Unknown, R::None, P::Macos, None),
        ("panther-rules:13", K::Session, C::None, O::Failure, R::PhishingDeclined, P::Macos, None),
        ("panther-rules:22", K::Session, C::Password, O::Failure, R::None, P::Macos, Some(false)),
        ("panther-rules:72", K::Threat, C::None, O::Deny, R::Risk, P::Windows, None),
        ("panther-rules:74", K::Authentication, C::None, O::Failure, R::LockedOut, P::Macos, None),
        ("splunk-bots-writeup:1", K::Sso, C::None, O::Success, R::None, P::Macos, None),
    ];
    for (place, kind, credential, outcome, reason, platform, resistant) in table {
        let event = &all[place];
        let read =
            (event.kind, event.credential, event.outcome, event.reason, event.platform, event.phishing_resistant);
        assert_eq!(read, (kind, credential, outcome, reason, platform, resistant), "{place}");
    }
    let sso = &all["splunk-bots-writeup:1"];
    let device = sso.device.as_ref().expect("a device");
    assert_eq!(device.integrators.as_deref(), Some(r#"{"WSC":{},"CROWDSTRIKE":{}}"#));
    assert_eq!((device.managed, device.jailbreak, device.secure_hardware), (Some(false), None, Some(true)));
    assert_eq!(sso.person.as_ref().expect("a person").as_str(), "00u4bvrsjigCcoLt20x7");
    assert_eq!(sso.app.as_ref().expect("an app").id, "0oa4c11huqM8PmtE10x7");
}

#[test]
fn names_addresses_and_secrets_of_real_events_are_not_kept() {
    let Some(folder) = folder() else { return };
    for (place, text, read) in records(folder) {
        let Ok(event) = read else { continue };
        let record: Value = serde_json::from_str(&text).expect("json");
        let kept = serde_json::to_string(&event).expect("json");
        let secrets = [
            &record["actor"]["alternateId"],
            &record["actor"]["displayName"],
            &record["client"]["ipAddress"],
            &record["debugContext"]["debugData"]["url"],
            &record["debugContext"]["debugData"]["clientSecret"],
        ];
        for secret in secrets.into_iter().filter_map(Value::as_str).filter(|text| text.len() > 6 && *text != "unknown")
        {
            let is_app = event.app.as_ref().is_some_and(|app| app.name == secret);
            assert!(is_app || !kept.contains(secret), "{place}: {secret}");
        }
    }
}

/// What the author of a file recorded: `file:line` and the expectation.
fn expectations(folder: &Path, name: &str) -> Vec<(String, Value)> {
    let text = std::fs::read_to_string(folder.join(format!("{name}.expected.ndjson"))).expect("expectations");
    text.lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line).expect("json");
            (format!("{name}:{}", row["line"]), row["expected"].clone())
        })
        .collect()
}

#[test]
fn successes_and_event_types_agree_with_elastic() {
    let Some(folder) = folder() else { return };
    let all: BTreeMap<_, _> = records(folder).into_iter().map(|(place, _, read)| (place, read)).collect();
    let mut compared = 0;
    for (place, expected) in expectations(folder, "elastic-integrations") {
        let event = all[&place].as_ref().expect("an event");
        if let Some(action) = expected["event"]["action"].as_str() {
            assert_eq!(event.event_type, action, "{place}");
            compared += 1;
        }
        if expected["event"]["outcome"] == "success" {
            assert!(matches!(event.outcome, Outcome::Success | Outcome::Allow), "{place}: {}", event.outcome);
            compared += 1;
        }
    }
    assert!(compared > 15, "{compared}");
}

#[test]
fn rules_of_panther_match_events_of_the_kind_that_they_are_about() {
    let Some(folder) = folder() else { return };
    let all: BTreeMap<_, _> = records(folder).into_iter().map(|(place, _, read)| (place, read)).collect();
    let kinds = BTreeMap::from([
        ("Okta.Support.Access", Kind::Session),
        ("Okta.Global.MFA.Disabled", Kind::AuthenticatorChange),
        ("Okta.APIKeyCreated", Kind::AdminChange),
        ("Okta.App.Unauthorized.Access.Attempt", Kind::AccessDenied),
        ("Okta.Group.Admin.Role.Assigned", Kind::AdminChange),
        ("Okta.Login.Success", Kind::Session),
        ("Okta.New.Behavior.Accessing.Admin.Console", Kind::PolicyEvaluation),
        ("Okta.Org2org.Creation.Modification", Kind::IntegrationChange),
        ("Okta.Rate.Limits", Kind::RateLimit),
        ("Okta.ServiceApp.MFA.Factor.Deactivate", Kind::Enrollment),
        ("Okta.SkeletonKey.Bypass", Kind::Sso),
        ("Okta.ThreatInsight.Security.Threat.Detected", Kind::Threat),
        ("Okta.User.Account.Locked", Kind::Authentication),
        ("Okta.User.MFA.Factor.Suspend", Kind::Enrollment),
        ("Okta.User.MFA.Reset.All", Kind::Enrollment),
        ("Okta.User.Reported.Suspicious.Activity", Kind::Threat),
    ]);
    let mut compared = std::collections::BTreeSet::new();
    for (place, expected) in expectations(folder, "panther-rules") {
        let rule = expected["rule"].as_str().expect("a rule");
        if let (Ok(event), Some(kind), Value::Bool(true)) = (&all[&place], kinds.get(rule), &expected["rule_matches"]) {
            assert_eq!(event.kind, *kind, "{place} {rule}");
            compared.insert(rule.to_owned());
        }
    }
    assert!(compared.len() >= 13, "{compared:?}");
}
