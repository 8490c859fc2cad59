//! The meaning of events: every fixture beside the tables, the reach of the vocabularies, and tables that are wrong.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use authwatch::classify::{PageError, Reader, RulesError, Tables, document};
use authwatch::event::{AuthEvent, Credential, Kind, Org, Outcome, Platform, Reason, Reject};
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
            let [Ok(event)] = &read(&reader, row["event"].to_string().as_bytes())[..] else {
                panic!("{place}: no event");
            };
            all.push((place, row["expect"].clone(), event.clone()));
        }
    }
    all
}

#[test]
fn every_fixture_reads_as_it_says() {
    let all = fixtures();
    assert!(all.len() > 190, "{} fixtures", all.len());
    for (place, expect, event) in all {
        let words = serde_json::json!({
            "kind": event.kind,
            "credential": event.credential,
            "phishing_resistant": event.phishing_resistant,
            "outcome": event.outcome,
            "reason": event.reason,
            "platform": event.platform,
        });
        let change = event.change.map(|change| {
            [change.target_type.to_string(), change.target_id.to_string(), change.target_name.to_string()]
        });
        let more = serde_json::json!({
            "person": event.person,
            "flow": event.flow,
            "app": event.app.map(|app| app.id),
            "rule": event.rule.as_ref().map(|rule| rule.id.clone()),
            "policy": event.rule.and_then(|rule| rule.policy),
            "change": change,
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
    reached(Platform::ALL, events.iter().map(|event| event.platform), &[]);
    // No event says so; only an evaluation of the policy can.
    reached(Reason::ALL, events.iter().map(|event| event.reason), &[Reason::DevicePosture]);
}

#[test]
fn no_name_or_address_of_a_person_is_kept() {
    for (place, _, event) in fixtures() {
        let kept = serde_json::to_string(&event).expect("json");
        for secret in ["Ada", "ada@", "hunter2", "system@okta.com", "203.0.113.7"] {
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
