//! The queue of what is forwarded: who gets what, when a row goes, what survives an export, and what the command line
//! does with dead letters.

#![expect(clippy::expect_used, clippy::panic, unreachable_pub, reason = "helpers of tests may fail a test")]

#[path = "common/incident.rs"]
mod incident;
mod support {
    //! What the tests of forwarding share.
    #[expect(dead_code, reason = "the tests of sinks use the rest")]
    pub mod forwarding;
}

use std::process::Command;
use std::time::Duration;

use authwatch::action::{Action, Forwarded, IncidentAction, IncidentStep, Topics};
use authwatch::event::{Kind, Outcome, Person};
use authwatch::store::{Commit, Store, StoreError};
use serde_json::{Value, json};
use support::forwarding::{denied, record, time};
use tempfile::TempDir;

const BOTH: [(&str, Topics); 2] = [("denies", Topics::DENIES), ("all", Topics::ALL)];

fn open(dir: &TempDir, sinks: &[(&str, Topics)]) -> Store {
    // A command that another test starts holds the lock too for an instant, between its fork and its exec.
    let opened = (0..100).find_map(|_| match Store::open(dir.path()) {
        Err(StoreError::Locked { .. }) => {
            std::thread::sleep(Duration::from_millis(20));
            None
        }
        opened => Some(opened.expect("opens")),
    });
    let store = opened.expect("not locked for ever");
    place(&store, sinks);
    store
}

fn place(store: &Store, sinks: &[(&str, Topics)]) -> u64 {
    let sinks: Vec<(String, Topics)> = sinks.iter().map(|(name, topics)| ((*name).to_owned(), *topics)).collect();
    store.set_forward_sinks(&sinks).expect("places")
}

fn commit(store: &Store, things: &[Forwarded]) {
    let about = |thing: &Forwarded| match &thing.what {
        authwatch::action::What::Event { event, .. } => Topics::of(event),
        authwatch::action::What::Finding(_) => Topics::DETECTIONS,
    };
    let forwards = things.iter().map(|thing| (about(thing), thing.clone())).collect();
    store.commit(&Commit { forwards, ..Commit::default() }).expect("commits");
}

fn change(n: u32) -> Forwarded {
    let mut thing = record(n, Kind::PolicyChange, Outcome::Success, None);
    if let authwatch::action::What::Event { event, .. } = &mut thing.what {
        event.okta_outcome = "SUCCESS".into();
        event.person = Some(Person::new("00uadmin"));
    }
    thing
}

#[track_caller]
fn check(store: &Store, sink: &str, expect: &[&str]) {
    let ahead = store.ahead(sink, 100, 1 << 20).expect("reads");
    let ids: Vec<&str> = ahead.rows.iter().map(|(_, thing)| thing.id.as_str()).collect();
    assert_eq!(ids, expect, "{sink}");
    assert_eq!(store.forward_waiting(sink).expect("counts"), expect.len() as u64, "{sink}");
}

fn rows(store: &Store) -> u64 {
    store.queue_size().expect("reads").rows
}

#[test]
fn a_row_goes_when_every_sink_has_passed_it_whether_it_wanted_it_or_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(&dir, &BOTH);
    commit(&store, &[denied(1), change(2), denied(3)]);
    check(&store, "denies", &["acme:u-1", "acme:u-3"]);
    check(&store, "all", &["acme:u-1", "acme:u-2", "acme:u-3"]);
    store.advance_forward("all", 3).expect("moves");
    assert_eq!(rows(&store), 3, "the other sink has none of them");
    store.advance_forward("denies", 1).expect("moves");
    assert_eq!(rows(&store), 2);
    store.advance_forward("denies", 0).expect("never back");
    check(&store, "denies", &["acme:u-3"]);
    let ahead = store.ahead("denies", 100, 1 << 20).expect("reads");
    assert_eq!((ahead.place, ahead.passed), (1, 3));
    store.advance_forward("denies", 3).expect("moves");
    assert_eq!(store.queue_size().expect("reads"), authwatch::store::QueueSize::default());
}

#[test]
fn a_new_sink_begins_at_the_end_and_one_that_is_gone_holds_up_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(&dir, &BOTH[..1]);
    commit(&store, &[denied(1)]);
    place(&store, &BOTH);
    check(&store, "all", &[]);
    commit(&store, &[change(2)]);
    check(&store, "all", &["acme:u-2"]);
    store.advance_forward("all", 2).expect("moves");
    assert_eq!(place(&store, &BOTH[1..]), 2, "what only the other waited for");
    assert_eq!(rows(&store), 0);
    place(&store, &BOTH);
    check(&store, "denies", &[]);
    assert_eq!(place(&store, &[]), 0);
    commit(&store, &[]);
}

#[test]
fn a_batch_is_bounded_by_number_and_bytes_and_has_at_least_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(&dir, &BOTH);
    commit(&store, &(1..=9).map(denied).collect::<Vec<_>>());
    let taken = |limit, bytes| {
        let ahead = store.ahead("all", limit, bytes).expect("reads");
        (ahead.rows.len(), ahead.passed)
    };
    assert_eq!(taken(4, 1 << 20), (4, 4));
    assert_eq!(taken(4, 1), (1, 1));
    assert_eq!(taken(100, 1 << 20), (9, 9));
}

#[test]
fn queue_places_and_dead_letters_survive_an_export() {
    let (from, to) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let store = open(&from, &BOTH);
    commit(&store, &[denied(1), denied(2), denied(3)]);
    store.advance_forward("all", 2).expect("moves");
    store.bury_forward("denies", 1, "invalid", "no").expect("buries");
    let file = from.path().join("export");
    store.export(&file).expect("exports");
    Store::import(to.path(), &file).expect("imports");
    let imported = open(&to, &BOTH);
    for store in [&store, &imported] {
        check(store, "denies", &["acme:u-2", "acme:u-3"]);
        check(store, "all", &["acme:u-3"]);
        let dead = store.dead_forwards("denies").expect("reads");
        assert_eq!((dead.len(), dead[0].1.forwarded.clone()), (1, denied(1)));
    }
    assert_eq!(imported.queue_size().expect("reads"), store.queue_size().expect("reads"));
    commit(&imported, &[denied(4)]);
    check(&imported, "all", &["acme:u-3", "acme:u-4"]);
}

#[test]
fn a_state_from_before_there_was_a_queue_gets_one() {
    let dir = tempfile::tempdir().expect("a directory");
    drop(Store::open(dir.path()).expect("opens"));
    let db = redb::Database::open(dir.path().join("state.redb")).expect("opens");
    let txn = db.begin_write().expect("begins");
    txn.delete_table(redb::TableDefinition::<u64, &[u8]>::new("forwards")).expect("drops");
    txn.delete_table(redb::TableDefinition::<&str, (u64, u32, u64)>::new("cursors")).expect("drops");
    txn.delete_table(redb::TableDefinition::<(&str, u64), &[u8]>::new("dead_forwards")).expect("drops");
    txn.commit().expect("commits");
    drop(db);
    let store = open(&dir, &BOTH);
    assert!(!store.is_fresh());
    commit(&store, &[denied(1)]);
    check(&store, "all", &["acme:u-1"]);
}

#[test]
fn only_so_many_dead_letters_are_kept_the_newest() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path()).expect("opens").with_dead_forward_limit(3);
    place(&store, &BOTH);
    commit(&store, &(1..=5).map(denied).collect::<Vec<_>>());
    (1..=5).for_each(|number| store.bury_forward("all", number, "invalid", "no").expect("buries"));
    let kept: Vec<u64> = store.dead_forwards("all").expect("reads").iter().map(|(number, _)| *number).collect();
    assert_eq!(kept, [3, 4, 5]);
}

#[test]
fn a_person_who_is_forgotten_is_in_no_record() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(&dir, &BOTH);
    commit(&store, &[denied(1), change(2), denied(3)]);
    store.bury_forward("all", 1, "invalid", "no").expect("buries");
    assert_eq!(store.forget_forwards(&Person::new("00uada")).expect("forgets"), 3, "two in the queue, one buried");
    check(&store, "all", &["acme:u-2"]);
    assert_eq!(store.dead_forwards("all").expect("reads"), []);
}

fn configure(dir: &TempDir) {
    let config = json!({
        "org": "acme", "state_dir": ".", "sources": [{ "file": { "paths": ["-"] } }],
        "sinks": [
            { "splunk": { "url": "https://hec.example.com:8088", "token": { "env": "HEC" } } },
            { "webhook": { "url": "https://hook.example.com/x" } },
        ],
    });
    std::fs::write(dir.path().join("a.yaml"), config.to_string()).expect("writes");
}

/// The result of `state dead-letters …`: exit code, stdout, stderr.
fn dead_letters(dir: &TempDir, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_authwatch"));
    command.args(["state", "dead-letters"]).args(args).arg("--config").arg(dir.path().join("a.yaml")).env_clear();
    let output = command.output().expect("runs");
    let text = |bytes| String::from_utf8(bytes).expect("utf-8");
    (output.status.code().expect("a code"), text(output.stdout), text(output.stderr))
}

#[test]
fn dead_letters_of_both_kinds_are_listed_with_their_reason_and_come_back() {
    let dir = tempfile::tempdir().expect("a directory");
    configure(&dir);
    let store = open(&dir, &[("splunk", Topics::ALL), ("gone", Topics::ALL)]);
    assert_eq!(dead_letters(&dir, &["list"]).0, 5, "the daemon runs");
    let incident = incident::incident("aw-1", time(0), "Sign-in refused to 12 people", 12);
    let (step, description, note) = (IncidentStep::Open, String::new(), String::new());
    let action = IncidentAction { step, at: time(1), revision: 1, incident, description, note };
    let outbox = vec![("webhook".to_owned(), Action::Incident(Box::new(action)))];
    store.commit(&Commit { outbox, ..Commit::default() }).expect("commits");
    store.give_up("webhook", &[1], "invalid", "hook answered 400").expect("gives up");
    commit(&store, &[denied(1), denied(2)]);
    store.bury_forward("splunk", 1, "invalid", "splunk answered 400 with code 6").expect("buries");
    store.bury_forward("gone", 1, "invalid", "no").expect("buries");
    drop(store);

    let (code, listed, _) = dead_letters(&dir, &["list", "--json"]);
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let letters = listed["dead_letters"].as_array().expect("a list");
    let told: Vec<[&str; 3]> =
        letters.iter().map(|letter| ["sink", "what", "id"].map(|key| letter[key].as_str().expect("a text"))).collect();
    assert_eq!(code, 0);
    assert_eq!(
        told,
        [["gone", "record", "acme:u-1"], ["splunk", "record", "acme:u-1"], ["webhook", "incident", "aw-1"]]
    );
    assert_eq!((&letters[1]["reason"], &letters[2]["step"]), (&json!("invalid"), &json!("open")));
    let (_, text, _) = dead_letters(&dir, &["list", "--sink", "splunk"]);
    assert!(text.contains("record acme:u-1  invalid: splunk answered 400 with code 6"), "{text}");
    let everything = format!("{listed}{text}");
    assert!(!everything.contains("ada@example.com") && !everything.contains("Ada Example"), "{everything}");
    let (code, _, error) = dead_letters(&dir, &["list", "--sink", "splonk"]);
    assert_eq!(code, 5);
    assert!(error.contains("sink `splonk` has no dead letters (these have: gone, splunk, webhook)"), "{error}");

    let (code, replayed, warned) = dead_letters(&dir, &["replay", "--json"]);
    assert_eq!(code, 0);
    let expect = json!({ "replayed": [
        { "sink": "splunk", "incidents": 0, "records": 1 },
        { "sink": "webhook", "incidents": 1, "records": 0 },
    ] });
    assert_eq!(serde_json::from_str::<Value>(&replayed).expect("JSON"), expect);
    assert!(warned.contains("no sink `gone` is configured"), "{warned}");
    let store = Store::open(dir.path()).expect("opens");
    check(&store, "splunk", &["acme:u-2", "acme:u-1"]);
    check(&store, "gone", &["acme:u-2"]);
    assert_eq!(store.count("webhook").expect("counts"), 1);
    drop(store);
    let (_, text, _) = dead_letters(&dir, &["replay", "--sink", "gone"]);
    assert_eq!(text, "nothing to try again\n");
}
