//! The durable state: what a commit keeps, what a restart finds, and what is refused.

#![expect(clippy::expect_used, reason = "helpers of tests may fail a test")]

#[path = "common/incident.rs"]
mod incident;

use std::fs;
use std::path::Path;

use authwatch::action::{Action, IncidentAction, IncidentStep};
use authwatch::event::{Reject, SourceName, Timestamp};
use authwatch::input::Input;
use authwatch::source::Position;
use authwatch::store::{Commit, DEAD_LETTER_LIMIT, JournalFile, LedgerEntry, Store, StoreError};
use incident::incident;

fn source() -> SourceName {
    SourceName::new("okta:acme")
}

fn position(n: u64) -> Position {
    Position::Okta { next: format!("https://acme.okta.com/api/v1/logs?after={n}"), newest: Some(Timestamp(n as i64)) }
}

/// Inputs that tell commits apart and do not compress away.
fn inputs(n: u64) -> Vec<Input> {
    let mut inputs =
        vec![Input::Progress { source: source(), now: Some(Timestamp(n as i64)), caught_up: n.is_multiple_of(2) }];
    for i in 0..20_u64 {
        let name = SourceName::new(format!("{:x}", (n * 1_000 + i).wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        inputs.push(Input::Reject { source: name, reason: Reject::Future });
    }
    inputs
}

fn action(key: &str, revision: u32, step: IncidentStep) -> Action {
    let at = Timestamp(1_700_000_000_000);
    let incident = incident(key, at, "sign-in refused", 7);
    let (description, note) = ("text".to_owned(), "note".to_owned());
    Action::Incident(Box::new(IncidentAction { step, at, revision, incident, description, note }))
}

fn commit(n: u64) -> Commit {
    Commit {
        positions: vec![(source(), position(n))],
        inputs: inputs(n),
        outbox: vec![("servicenow".to_owned(), action(&format!("aw-{n}"), 1, IncidentStep::Open))],
        forwards: Vec::new(),
    }
}

fn journal(store: &Store, from: u64) -> Vec<(u64, Vec<Input>)> {
    store.journal_from(from).expect("a journal").map(|row| row.expect("a row")).collect()
}

fn refused(dir: &Path) -> StoreError {
    Store::open(dir).expect_err("must be refused")
}

#[test]
fn a_commit_is_there_after_a_restart_without_a_close() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path()).expect("opens");
    assert!(store.is_fresh());
    assert_eq!(store.commit(&commit(1)).expect("commits"), 1);
    assert_eq!(store.commit(&commit(2)).expect("commits"), 2);
    // What a killed process leaves is a copy of the file as it is while the database is open.
    let other = tempfile::tempdir().expect("a directory");
    fs::copy(store.path(), other.path().join("state.redb")).expect("copies");

    let store = Store::open(other.path()).expect("opens what was killed");
    assert!(!store.is_fresh());
    let recovered = store.recover().expect("recovers");
    assert_eq!(recovered.snapshot, None);
    assert_eq!(recovered.positions.into_iter().collect::<Vec<_>>(), [(source(), position(2))]);
    assert_eq!(journal(&store, 1), [(1, inputs(1)), (2, inputs(2))]);
    let pending = store.pending("servicenow", 0, 10).expect("pending");
    assert_eq!(pending, [(1, action("aw-1", 1, IncidentStep::Open)), (2, action("aw-2", 1, IncidentStep::Open))]);
    assert_eq!(store.commit(&commit(3)).expect("goes on"), 3);
}

#[test]
fn an_empty_commit_is_no_transaction_and_positions_alone_make_no_row() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path()).expect("opens");
    assert_eq!(store.commit(&Commit::default()).expect("nothing"), 0);
    store.commit(&commit(1)).expect("commits");
    let moved = Commit { positions: vec![(source(), position(9))], ..Commit::default() };
    assert_eq!(store.commit(&moved).expect("commits"), 1);
    assert_eq!(store.recover().expect("recovers").positions[&source()], position(9));
    assert_eq!(journal(&store, 1).len(), 1);
}

#[test]
fn the_journal_is_cut_at_the_newest_snapshot_once_it_is_over_its_bound() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path()).expect("opens").with_journal_bytes(1 << 40);
    for n in 1..=600 {
        store.commit(&Commit { inputs: inputs(n), ..Commit::default() }).expect("commits");
    }
    store.write_snapshot(500, b"state at 500").expect("snapshots");
    assert_eq!(store.base().expect("reads"), None, "under the bound the journal stays whole");
    assert_eq!(journal(&store, 1).len(), 600);
    assert_eq!(store.recover().expect("recovers").snapshot, Some((500, b"state at 500".to_vec())));

    let store = store.with_journal_bytes(1_000);
    store.write_snapshot(590, b"state at 590").expect("snapshots");
    assert_eq!(store.base().expect("reads"), Some((590, b"state at 590".to_vec())));
    assert_eq!(journal(&store, 591).first(), Some(&(591, inputs(591))));
    assert_eq!(journal(&store, 591).len(), 10);
    assert!(matches!(store.journal_from(590).err(), Some(StoreError::Pruned { from: 590, base: 590 })));

    let store = store.with_journal_bytes(1 << 40);
    store.write_snapshot(600, b"state at 600").expect("snapshots");
    assert_eq!(store.base().expect("reads"), Some((590, b"state at 590".to_vec())), "the base begins the journal");
    assert_eq!(store.recover().expect("recovers").snapshot, Some((600, b"state at 600".to_vec())));
    assert_eq!(store.commit(&commit(601)).expect("commits"), 601);
}

#[test]
fn a_snapshot_must_fit_the_journal() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path()).expect("opens");
    for n in 1..=3 {
        store.commit(&commit(n)).expect("commits");
    }
    store.write_snapshot(2, b"two").expect("snapshots");
    for covers in [1, 4] {
        let error = store.write_snapshot(covers, b"x").expect_err("refused");
        assert!(matches!(error, StoreError::Snapshot { newest: 2, last: 3, .. }), "{error}");
    }
    assert_eq!(store.recover().expect("recovers").snapshot, Some((2, b"two".to_vec())));
}

#[test]
fn a_second_process_is_refused_and_told_who_holds_the_state() {
    let dir = tempfile::tempdir().expect("a directory");
    let held = Store::open(dir.path()).expect("opens");
    let error = refused(dir.path());
    assert!(matches!(&error, StoreError::Locked { pid: Some(pid), .. } if *pid == std::process::id()), "{error}");
    assert!(error.to_string().contains(&format!("in use by process {}", std::process::id())), "{error}");
    assert!(matches!(Store::reset(dir.path()), Err(StoreError::Locked { .. })));
    drop(held);
    Store::open(dir.path()).expect("opens once it is free");
}

#[test]
fn a_damaged_file_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("state.redb");
    let whole = {
        let store = Store::open(dir.path()).expect("opens");
        for n in 1..=30 {
            store.commit(&commit(n)).expect("commits");
        }
        drop(store);
        fs::read(&path).expect("reads")
    };
    let cut = whole[..whole.len() / 2].to_vec();
    let mut scrambled = whole.clone();
    let end = scrambled.len();
    for byte in &mut scrambled[8_192..end] {
        *byte ^= 0x55;
    }
    let text = b"this is no database, but it is longer than a header would be".repeat(20);
    for (what, bytes) in [("empty", vec![]), ("cut", cut), ("scrambled", scrambled), ("text", text)] {
        fs::write(&path, &bytes).expect("writes");
        let error = refused(dir.path());
        assert!(matches!(error, StoreError::Corrupt { .. }), "{what}: {error}");
        let text = error.to_string();
        assert!(text.contains("state.redb` is corrupt (move it aside: `mv "), "{what}: {text}");
        assert_eq!(fs::read(&path).expect("reads").len(), bytes.len(), "{what}: the file is evidence");
    }
    fs::write(&path, &whole).expect("writes");
    assert_eq!(journal(&Store::open(dir.path()).expect("opens"), 1).len(), 30);
}

#[test]
fn a_crash_while_the_file_is_first_made_leaves_a_fresh_state() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("state.redb.new"), b"").expect("writes");
    assert!(Store::open(dir.path()).expect("opens").is_fresh());
    assert!(!dir.path().join("state.redb.new").exists());
}

#[test]
fn a_newer_format_is_refused_by_number() {
    let dir = tempfile::tempdir().expect("a directory");
    drop(Store::open(dir.path()).expect("opens"));
    let db = redb::Database::open(dir.path().join("state.redb")).expect("a database");
    let txn = db.begin_write().expect("a transaction");
    txn.open_table(redb::TableDefinition::<&str, u64>::new("meta")).expect("a table").insert("format", 7).expect("in");
    txn.open_table(redb::TableDefinition::<&str, &str>::new("writer"))
        .expect("a table")
        .insert("version", "9.1.0")
        .expect("in");
    txn.commit().expect("commits");
    drop(db);
    let text = refused(dir.path()).to_string();
    assert!(text.contains("has format 7, written by authwatch 9.1.0") && text.contains("`mv "), "{text}");
}

#[test]
fn a_completed_row_and_its_ledger_entry_appear_together() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path()).expect("opens");
    for n in 1..=3 {
        store.commit(&commit(n)).expect("commits");
    }
    let entry = LedgerEntry {
        revision: 1,
        remote_id: Some("abc".into()),
        post_intent: Some(Timestamp(5)),
        remote_owner: Some((String::new(), "group".into())),
        ..LedgerEntry::default()
    };
    store.complete("servicenow", &[1, 2], Some(("aw-1", &entry))).expect("completes");
    store.put_ledger("servicenow-2", "aw-0", &LedgerEntry::default()).expect("puts");
    drop(store);

    let store = Store::open(dir.path()).expect("opens");
    assert_eq!(store.count("servicenow").expect("counts"), 1);
    assert_eq!(store.count("servicenow-2").expect("counts"), 0);
    assert_eq!(store.pending("servicenow", 0, 9).expect("reads")[0].0, 3);
    assert_eq!(store.pending("servicenow", 3, 9).expect("reads"), []);
    assert_eq!(store.ledger("servicenow", "aw-1").expect("reads"), Some(entry.clone()));
    assert_eq!(store.ledger("servicenow", "aw-3").expect("reads"), None);
    assert_eq!(store.ledger_all("servicenow").expect("reads"), [("aw-1".to_owned(), entry)]);
    // Sequence numbers are never given out twice, even when the outbox was empty.
    store.complete("servicenow", &[3], None).expect("completes");
    store.commit(&commit(4)).expect("commits");
    assert_eq!(store.pending("servicenow", 0, 9).expect("reads")[0].0, 4);
}

#[test]
fn a_row_given_up_is_kept_with_its_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path()).expect("opens");
    store.commit(&commit(1)).expect("commits");
    store.give_up("servicenow", &[1, 77], "invalid", "400: no such field").expect("gives up");
    assert_eq!(store.count("servicenow").expect("counts"), 0);
    let letters = store.dead_letters("servicenow").expect("reads");
    assert_eq!(letters.len(), 1);
    let (sequence, letter) = &letters[0];
    assert_eq!((*sequence, letter.reason.as_str()), (1, "invalid"));
    assert_eq!(letter.action, action("aw-1", 1, IncidentStep::Open));
}

#[test]
fn a_full_outbox_gives_up_its_oldest_rows_and_dead_letters_are_bounded_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path()).expect("opens").with_outbox_limit(3);
    let row = |n: u32| ("servicenow".to_owned(), action("aw-1", n, IncidentStep::Update));
    let many = DEAD_LETTER_LIMIT as u32 + 5;
    store.commit(&Commit { outbox: (1..=5).map(row).collect(), ..Commit::default() }).expect("commits");
    let left: Vec<u64> = store.pending("servicenow", 0, 9).expect("reads").iter().map(|(seq, _)| *seq).collect();
    assert_eq!(left, [3, 4, 5]);
    let letters = store.dead_letters("servicenow").expect("reads");
    assert_eq!(
        letters.iter().map(|(seq, letter)| (*seq, letter.reason.as_str())).collect::<Vec<_>>(),
        [(1, "outbox_full"), (2, "outbox_full")]
    );
    store.commit(&Commit { outbox: (6..=many + 3).map(row).collect(), ..Commit::default() }).expect("commits");
    let letters = store.dead_letters("servicenow").expect("reads");
    assert_eq!(letters.len() as u64, DEAD_LETTER_LIMIT);
    assert_eq!(letters.last().map(|(seq, _)| *seq), Some(u64::from(many)));
}

fn busy(dir: &Path) -> Store {
    let store = Store::open(dir).expect("opens").with_journal_bytes(1);
    for n in 1..=6 {
        store.commit(&commit(n)).expect("commits");
    }
    store.write_snapshot(3, b"three").expect("snapshots");
    let store = store.with_journal_bytes(1 << 40);
    store.write_snapshot(5, b"five").expect("snapshots");
    store
        .complete("servicenow", &[2], Some(("aw-2", &LedgerEntry { revision: 4, ..LedgerEntry::default() })))
        .expect("ok");
    store.give_up("servicenow", &[3], "invalid", "400").expect("gives up");
    store
}

fn everything(store: &Store) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        store.recover().expect("recovers"),
        store.base().expect("reads"),
        journal(store, 4),
        store.pending("servicenow", 0, 99).expect("reads"),
        store.ledger_all("servicenow").expect("reads"),
        store.dead_letters("servicenow").expect("reads"),
    )
}

#[test]
fn an_imported_export_is_the_same_state_and_goes_on_the_same() {
    let (one, two) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let store = busy(one.path());
    let file = one.path().join("state.export");
    store.export(&file).expect("exports");
    Store::import(two.path(), &file).expect("imports");
    let copy = Store::open(two.path()).expect("opens");
    assert_eq!(everything(&copy), everything(&store));
    assert_eq!(copy.commit(&commit(7)).expect("commits"), store.commit(&commit(7)).expect("commits"));
    assert_eq!(everything(&copy), everything(&store));

    assert!(matches!(Store::import(one.path(), &file), Err(StoreError::Locked { .. })));
    drop(copy);
    assert!(matches!(Store::import(two.path(), &file), Err(StoreError::Exists { .. })));
    Store::reset(two.path()).expect("resets");
    Store::import(two.path(), &file).expect("imports after a reset");
}

#[test]
fn an_export_is_a_journal_for_replay() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = busy(dir.path());
    let file = dir.path().join("state.export");
    store.export(&file).expect("exports");
    assert!(JournalFile::is(&file));
    assert!(!JournalFile::is(store.path()));
    assert!(!JournalFile::is(&dir.path().join("absent")));
    let journal = JournalFile::open(&file).expect("opens");
    assert_eq!(journal.base.as_deref(), Some(b"three".as_slice()));
    let rows: Vec<_> = journal.map(|row| row.expect("a row")).collect();
    assert_eq!(rows, [inputs(4), inputs(5), inputs(6)]);
}

#[test]
fn an_export_that_is_cut_or_altered_anywhere_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("state.export");
    busy(&dir.path().join("one")).export(&file).expect("exports");
    let whole = fs::read(&file).expect("reads");
    let target = dir.path().join("two");
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let mut altered = whole.clone();
        altered[at] ^= 1;
        for bytes in [&altered[..], &whole[..at]] {
            fs::write(&file, bytes).expect("writes");
            // The version text is the one part that is only shown.
            let result = Store::import(&target, &file);
            let shown = (14..20).contains(&at) && bytes.len() == whole.len();
            assert_eq!(result.is_ok(), shown, "byte {at} of {}", bytes.len());
            assert_eq!(target.join("state.redb").exists(), shown, "byte {at}");
            if shown {
                Store::reset(&target).expect("resets");
            }
            let replayed = JournalFile::open(&file).and_then(|journal| journal.collect::<Result<Vec<_>, _>>());
            assert_eq!(replayed.is_ok(), shown, "byte {at} of {}", bytes.len());
        }
    }
}

#[test]
fn a_purge_needs_a_snapshot_of_everything_and_leaves_nothing_in_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = Store::open(dir.path()).expect("opens");
    // A name that zstd keeps as a literal, so that its bytes can be looked for.
    let forgotten = "00uQ7ZKp4VtR1mXcW9Ls";
    let input = |name: &str| Input::Reject { source: SourceName::new(name), reason: Reject::Future };
    store.commit(&Commit { inputs: vec![input(forgotten)], ..commit(1) }).expect("commits");
    assert!(matches!(store.purge_journal(), Err(StoreError::Snapshot { .. })));
    store.write_snapshot(1, forgotten.as_bytes()).expect("snapshots");
    store.commit(&commit(2)).expect("commits");
    store.write_snapshot(2, b"without that person").expect("snapshots");
    let held = |store: &Store| {
        let bytes = fs::read(store.path()).expect("reads");
        bytes.windows(forgotten.len()).any(|window| window == forgotten.as_bytes())
    };
    assert!(held(&store), "the test looks for what is there");
    store.purge_journal().expect("purges");
    assert!(!held(&store));
    assert_eq!(store.base().expect("reads"), Some((2, b"without that person".to_vec())));
    assert_eq!(store.recover().expect("recovers").snapshot, Some((2, b"without that person".to_vec())));
    assert_eq!(journal(&store, 3), []);
    assert_eq!(store.pending("servicenow", 0, 9).expect("reads").len(), 2);
    assert_eq!(store.commit(&commit(3)).expect("commits"), 3);
    drop(store);
    assert_eq!(journal(&Store::open(dir.path()).expect("opens"), 3), [(3, inputs(3))]);
}
