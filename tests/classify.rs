//! The meaning of events: every fixture beside the tables, the reach of the vocabularies, and tables that are wrong.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use authwatch::attempt::{Signal, Verdict};
use authwatch::classify::{PageError, Reader, RulesError, Source, Tables, document};
use authwatch::event::{AuthEvent, Credential, Kind, Network, Org, Outcome, Part, Platform, Reason, Reject, Risk};
use authwatch::yaml;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn reader() -> Reader {
    static TABLES: LazyLock<Arc<Tables>> = LazyLock::new(|| Arc::new(Tables::embedded()));
    Reader::new(Org::new("acme"), TABLES.clone())
}

fn read(reader: &Reader, record: &[u8]) -> Vec<Result<AuthEvent, Reject>> {
    let mut found = Vec::new();
    reader.read_record(record, &mut |read| found.push(read));
    found
}

/// Every fixture: where it stands, what it expects, what was read.
fn fixtures() -> Vec<(String, Value, AuthEvent)> {
    let reader = reader();
    let rows = rows().into_iter();
    rows.map(|(place, row)| {
        let [Ok(event)] = &read(&reader, row["event"].to_string().as_bytes())[..] else {
            panic!("{place}: no event");
        };
        (place, row["expect"].clone(), event.clone())
    })
    .collect()
}

/// Every fixture: where it stands, and what is written there.
fn rows() -> Vec<(String, Value)> {
    let folder = root().join("rules/classify/fixtures");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder).expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "ndjson"));
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a fixture file");
        for (index, line) in text.lines().enumerate() {
            let row: Value = serde_json::from_str(line).expect("a fixture");
            let place = format!("{}:{} {}", file.display(), index + 1, row["name"]);
            all.push((place, row));
        }
    }
    all
}

#[test]
fn every_fixture_reads_as_it_says() {
    let all = fixtures();
    assert!(all.len() > 440, "{} fixtures", all.len());
    for (place, expect, event) in all {
        let words = serde_json::json!({
            "kind": event.kind,
            "credential": event.credential,
            "phishing_resistant": event.phishing_resistant,
            "outcome": event.outcome,
            "reason": event.reason,
            "platform": event.platform,
        });
        let changed = event.change.as_ref().map(|change| [&change.target_type, &change.target_id, &change.target_name]);
        let change = event.change.as_ref();
        let more = serde_json::json!({
            "person": event.person,
            "flow": event.flow,
            "app": event.app.map(|app| app.id),
            "rule": event.rule.as_ref().map(|rule| rule.id.clone()),
            "policy": event.rule.and_then(|rule| rule.policy),
            "change": changed,
            "changed_policy": change.and_then(|change| change.policy.clone()),
            "changed_person": change.and_then(|change| change.person.clone()),
            "to": change.and_then(|change| change.to.clone()),
            "part": event.part,
            "zone": event.context.zone,
            "risk": event.context.risk,
        });
        for (key, value) in expect.as_object().expect("an object") {
            let read = words.get(key).or_else(|| more.get(key));
            assert_eq!(read, Some(value), "{place}: {key}");
        }
        for key in words.as_object().expect("an object").keys() {
            assert!(expect.get(key).is_some(), "{place}: expects nothing of {key}");
        }
    }
}

#[track_caller]
fn reached<T: Ord + Copy + Display>(all: &[T], read: impl Iterator<Item = T>, not: &[T]) {
    let read: BTreeSet<T> = read.collect();
    let missing: Vec<String> =
        all.iter().filter(|word| !read.contains(word) && !not.contains(word)).map(T::to_string).collect();
    assert_eq!(missing, Vec::<String>::new(), "words that no fixture reaches");
}

#[test]
fn every_word_of_the_vocabularies_is_reached_by_a_fixture() {
    let events: Vec<AuthEvent> = fixtures().into_iter().map(|(_, _, event)| event).collect();
    reached(Kind::ALL, events.iter().map(|event| event.kind), &[]);
    reached(Credential::ALL, events.iter().map(|event| event.credential), &[]);
    reached(Outcome::ALL, events.iter().map(|event| event.outcome), &[]);
    reached(Part::ALL, events.iter().map(|event| event.part), &[]);
    reached(Risk::ALL, events.iter().filter_map(|event| event.context.risk), &[]);
    reached(Platform::ALL, events.iter().map(|event| event.platform), &[]);
    // No event says so; only an evaluation of the policy can.
    reached(Reason::ALL, events.iter().map(|event| event.reason), &[Reason::DevicePosture]);
}

/// What each fixture's readings rest on: its place, its record, its event, and source and word by reading.
type Grounds = BTreeMap<&'static str, (Source, Option<String>)>;

fn grounds() -> Vec<(String, String, AuthEvent, Grounds)> {
    let reader = reader();
    let mut all = Vec::new();
    for (place, row) in rows() {
        let record = row["event"].to_string();
        reader.explain_record(record.as_bytes(), &[], &mut |read| {
            let read = read.expect("an event");
            let grounds = read.evidence.all().into_iter();
            let grounds = grounds.map(|(name, ground)| (name, (ground.source, ground.listed.map(str::to_owned))));
            all.push((place.clone(), record.clone(), read.event, grounds.collect()));
        });
    }
    all
}

#[test]
fn evidence_is_given_exactly_where_something_was_read() {
    for (place, record, event, grounds) in grounds() {
        let [plain] = &read(&reader(), record.as_bytes())[..] else { panic!("{place}: one event") };
        assert_eq!(plain.as_ref(), Ok(&event), "{place}: the two ways of reading");
        let read = [
            ("published", event.published.is_some()),
            ("kind", event.part != Part::Unlisted),
            ("credential", event.credential != Credential::None),
            ("phishing_resistant", event.phishing_resistant.is_some()),
            ("reason", event.reason != Reason::None),
            ("person", event.person.is_some()),
            ("flow", event.flow.is_some()),
            ("app", event.app.is_some()),
            ("rule", event.rule.is_some()),
            ("platform", event.platform != Platform::Unknown),
            ("device", event.device.is_some()),
            ("zone", event.context.zone.is_some()),
            ("risk", event.context.risk.is_some()),
            ("change", event.change.is_some()),
        ];
        for (name, is_read) in read {
            assert_eq!(grounds[name].0 != Source::Nothing, is_read, "{place}: {name} rests on {:?}", grounds[name]);
        }
        assert!(event.outcome == Outcome::Unknown || grounds["outcome"].0 != Source::Nothing, "{place}: outcome");
        assert_eq!(grounds.len(), read.len() + 1, "{place}");
    }
}

#[test]
fn a_word_given_as_evidence_stands_in_the_record() {
    let mut words = 0;
    for (place, record, _, grounds) in grounds() {
        let record = record.to_lowercase();
        for (name, (_, word)) in grounds {
            let Some(word) = word.map(|word| word.to_lowercase()) else { continue };
            // An authenticator and its method stand apart.
            let stands = record.contains(&word) || word.split(':').all(|part| record.contains(part));
            assert!(stands, "{place}: {name} rests on {word}");
            words += 1;
        }
    }
    assert!(words > 1_000, "{words}");
}

#[test]
fn every_row_with_a_mark_is_what_some_fixture_rests_on() {
    let mut used = BTreeSet::new();
    for (_, _, _, grounds) in grounds() {
        used.extend(grounds.into_values().filter_map(|(source, word)| Some((source, word?))));
    }
    let table = |file: &str| {
        let text = std::fs::read_to_string(root().join("rules/classify").join(file)).expect("a table");
        yaml::read::<BTreeMap<String, Value>>(&text, Path::new(file)).expect("sections")
    };
    let keys = |section: &Value| section.as_object().expect("rows").keys().cloned().collect::<Vec<_>>();
    let (types, credentials, outcomes) = (table("event-types.yaml"), table("credentials.yaml"), table("outcomes.yaml"));
    let factors = credentials["factors"].as_array().expect("rows").iter();
    let factors = factors.map(|row| row["factor"].as_str().expect("a factor").to_owned()).collect();
    let sections: [(&[Source], Vec<String>); 6] = [
        (&[Source::EventType], keys(&types["event_types"])),
        (&[Source::EventPrefix], keys(&types["event_prefixes"])),
        (&[Source::VerifiedMethod, Source::EnrolledMethod, Source::SessionMethods], keys(&credentials["methods"])),
        (&[Source::Factor], factors),
        (&[Source::ReasonText, Source::LoginResult], keys(&outcomes["reasons"])),
        (&[Source::ReasonPrefix], keys(&outcomes["reason_prefixes"])),
    ];
    let is_used =
        |sources: &[Source], word: &str| sources.iter().any(|source| used.contains(&(*source, word.to_owned())));
    let unused: Vec<String> = sections
        .iter()
        .flat_map(|(sources, words)| words.iter().filter(|word| !is_used(sources, word)))
        .map(String::clone)
        .collect();
    assert_eq!(unused, Vec::<String>::new(), "rows that no fixture rests on");
}

#[test]
fn a_record_is_explained_with_its_evidence_and_where_it_came_from() {
    let record = r#"{"eventType":"user.authentication.auth_via_mfa","published":"2026-03-02T09:00:00Z","uuid":"1",
        "outcome":{"result":"FAILURE","reason":"FastPass declined phishing attempt"},
        "actor":{"id":"00u1","type":"User"},"debugContext":{"debugData":{"factor":"SIGNED_NONCE","risk":"{level=LOW}"}},
        "client":{"zone":"Offices","ipAddress":"198.51.100.9"},
        "request":{"ipChain":[{"ip":"198.51.100.9"},{"ip":"192.0.2.1"}]}}"#;
    let proxies: [Network; 1] = ["198.51.100.0/24".parse().expect("a range")];
    let mut found = Vec::new();
    reader().explain_record(record.as_bytes(), &proxies, &mut |read| {
        let read = read.expect("an event");
        found.extend(read.evidence.given().map(|(name, ground)| format!("{name}: {ground}")));
        found.extend(read.address.map(|address| address.to_string()));
    });
    assert_eq!(
        found,
        [
            "published: published",
            "kind: eventType = user.authentication.auth_via_mfa",
            "credential: debugData.factor = SIGNED_NONCE",
            "phishing_resistant: the credential",
            "outcome: outcome.result = FAILURE",
            "reason: outcome.reason = FastPass declined phishing attempt",
            "person: actor",
            "zone: client.zone",
            "risk: debugData.risk = low",
            "192.0.2.1",
        ]
    );
    let mut rejects = Vec::new();
    reader().explain_record(b"{}", &proxies, &mut |read| rejects.push(read.err()));
    assert_eq!(rejects, [Some(Reject::NoEventType)]);
}

#[test]
fn only_steps_of_a_sign_in_have_a_part_in_attempts() {
    let mut aside = BTreeSet::new();
    for (place, _, event) in fixtures() {
        if event.part != Part::SignIn {
            assert_eq!(Signal::of(&event), None, "{place}");
            aside.insert(event.event_type.to_string());
        }
    }
    for event_type in [
        "policy.auth_reevaluate.fail",
        "policy.auth_reevaluate.enforce",
        "policy.auth_reevaluate.action",
        "device.signals.status.timeout",
        "user.session.access_admin_app",
        "user.session.context.change",
        "user.identity_verification",
        "device.platform_sso.authentication",
        "system.operation.rate_limit.violation",
    ] {
        assert!(aside.contains(event_type), "{event_type}");
    }
    let declined = fixtures().into_iter().filter(|(_, _, event)| event.reason == Reason::PhishingDeclined);
    for (place, _, event) in declined {
        assert_eq!(Signal::of(&event), Some(Signal::Terminal(Verdict::PhishDeclined)), "{place}");
    }
}

#[test]
fn no_name_or_address_of_a_person_is_kept() {
    for (place, _, event) in fixtures() {
        let kept = serde_json::to_string(&event).expect("json");
        for secret in ["Ada", "ada@", "Ben ", "ben@", "hunter2", "system@okta.com", "203.0.113.7"] {
            assert!(!kept.contains(secret), "{place}: {secret} in {kept}");
        }
    }
}

#[test]
fn the_document_is_the_one_that_the_tables_give() {
    let path = root().join("docs/classification.md");
    let fresh = document();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder");
        std::fs::write(&path, &fresh).expect("written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(kept, fresh, "docs/classification.md is out of date (run with UPDATE_DOCS=1)");
}

/// The shipped tables with one text of one file replaced by another.
fn replaced(file: &str, from: &str, to: &str) -> Vec<(String, String)> {
    let names = ["event-types.yaml", "credentials.yaml", "outcomes.yaml", "platforms.yaml"];
    let read = |name: &str| {
        let text = std::fs::read_to_string(root().join("rules/classify").join(name)).expect("a table");
        if name == file { text.replacen(from, to, 1) } else { text }
    };
    names.iter().map(|name| ((*name).to_owned(), read(name))).collect()
}

#[test]
fn a_replaced_table_changes_the_reading() {
    let files =
        replaced("event-types.yaml", "user.session.start: { kind: session", "user.session.start: { kind: device");
    let reader = Reader::new(Org::new("acme"), Arc::new(Tables::from_yaml(&files).expect("valid tables")));
    let record = br#"{"eventType":"user.session.start","published":"2026-03-02T09:00:00Z"}"#;
    assert_eq!(read(&reader, record)[0].as_ref().expect("an event").kind, Kind::Device);
}

/// Replaces the right word by `wrong`, and expects the error to stand where `wrong` does.
#[track_caller]
fn refused(file: &str, (before, right, after): (&str, &str, &str), wrong: &str, what: &str) {
    let files = replaced(file, &format!("{before}{right}{after}"), &format!("{before}{wrong}{after}"));
    let text = &files.iter().find(|(name, _)| name == file).expect("the file").1;
    let at = text.find(&format!("{before}{wrong}{after}")).expect("the replacement") + before.len();
    let line = text[..at].matches('\n').count() + 1;
    let column = at - text[..at].rfind('\n').map_or(0, |newline| newline + 1) + 1;
    let error = Tables::from_yaml(&files).expect_err("an error");
    assert_eq!(error.to_string(), format!("{file}:{line}:{column}: {what}"));
}

#[test]
fn wrong_tables_are_refused_with_place_and_nearest_word() {
    let unknown = "unknown word `denny` (did you mean `deny`?)";
    refused("outcomes.yaml", ("  DENY: ", "deny", "\n"), "denny", unknown);
    let unknown = "unknown key `agent_text` (did you mean `agent_texts`?)";
    refused("platforms.yaml", ("\n", "agent_texts", ":\n"), "agent_text", unknown);
    let unknown = "unknown key `platfrom` (did you mean `platform`?)";
    refused("platforms.yaml", ("Mac OS X (iP, ", "platform", ": ios"), "platfrom", unknown);
    let unknown = "unknown key `outcom` (did you mean `outcome`?)";
    refused("event-types.yaml", ("kind: access_denied\n    ", "outcome", ": deny"), "outcom", unknown);
}

#[test]
fn a_credential_without_a_place_in_the_precedence_is_refused() {
    let error = Tables::from_yaml(&replaced("credentials.yaml", "  - fastpass\n", "")).expect_err("an error");
    assert_eq!(error, RulesError::Precedence { credential: Credential::Fastpass });
}

#[test]
fn a_section_that_is_missing_or_there_twice_is_refused() {
    let absent = Tables::from_yaml(&[]).expect_err("an error");
    assert_eq!(absent, RulesError::Absent { section: "event_types" });
    let file = |name: &str| (name.to_owned(), "phishable: []\n".to_owned());
    let twice = Tables::from_yaml(&[file("a.yaml"), file("b.yaml")]).expect_err("an error");
    assert_eq!(twice, RulesError::Twice { file: "b.yaml".to_owned(), section: "phishable" });
}

fn page(body: &[u8]) -> (Result<usize, PageError>, Vec<Result<Kind, Reject>>) {
    let mut found = Vec::new();
    let count = reader().read_page(body, &mut |read| found.push(read.map(|event| event.kind)));
    (count, found)
}

const GOOD: &str = r#"{"eventType":"user.session.start","published":"2026-03-02T09:00:00Z","uuid":"1"}"#;

#[test]
fn a_page_gives_every_element_and_one_bad_element_is_only_a_reject() {
    assert_eq!(page(b"[]"), (Ok(0), vec![]));
    assert_eq!(page(b" [ ]\n"), (Ok(0), vec![]));
    let body = format!(r#"[{GOOD}, {{}} ,7,null,"x",{{"eventType":"a","published":"redacted"}},{GOOD}]"#);
    let (count, found) = page(body.as_bytes());
    assert_eq!(count, Ok(7));
    assert_eq!(
        found,
        [
            Ok(Kind::Session),
            Err(Reject::NoEventType),
            Err(Reject::NotAnObject),
            Err(Reject::NotAnObject),
            Err(Reject::NotAnObject),
            Ok(Kind::Other),
            Ok(Kind::Session),
        ]
    );
}

#[test]
fn a_page_with_a_byte_that_is_no_utf8_loses_that_element_only() {
    let mut body = format!(r#"[{GOOD},{{"eventType":"x{{,","published":"?"}},{GOOD}]"#).into_bytes();
    let at = body.iter().position(|byte| *byte == b'?').expect("the mark");
    body[at] = 0xFF;
    assert_eq!(page(&body), (Ok(3), vec![Ok(Kind::Session), Err(Reject::NotUtf8), Ok(Kind::Session)]));
    assert_eq!(read(&reader(), &body).len(), 3);
}

#[test]
fn a_body_that_is_no_page_is_an_error_of_a_closed_kind() {
    let whole = format!("[{GOOD},{GOOD}]");
    for end in 0..whole.len() {
        assert_eq!(page(&whole.as_bytes()[..end]).0, Err(PageError::CutOff), "cut at {end}");
    }
    for (body, expect) in [
        ("", PageError::CutOff),
        ("  \n", PageError::CutOff),
        ("<html><body>502</body></html>", PageError::NotJson),
        (r#"{"errorCode":"E0000009"}"#, PageError::NotAnArray),
        (r#"{"errorCode":"E00"#, PageError::CutOff),
        ("null", PageError::NotAnArray),
        ("[1 2]", PageError::NotJson),
        ("[{\"a\":tru}]", PageError::NotJson),
        ("[1]]", PageError::NotJson),
        ("[1,]", PageError::NotJson),
        ("[,1]", PageError::NotJson),
    ] {
        assert_eq!(page(body.as_bytes()).0, Err(expect), "{body}");
    }
    let cut_in_a_letter = &"[\"é".as_bytes()[..3];
    assert_eq!(page(cut_in_a_letter).0, Err(PageError::CutOff));
}
