//! What one commit of the daemon costs in an embedded store: a position, a journal row of 20 or 50 KB and now and then
//! an outbox row, in one durable transaction (ADR 0002).
//!
//! `cargo run --release -- DIR [COMMITS]` prints a Markdown table; DIR should be on the disk that will hold the state.
//! Bytes are pseudo-random, since the journal is compressed before it is stored.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// One commit in so many carries an outbox row of this size.
const OUTBOX_EVERY: u64 = 20;
const OUTBOX_BYTES: usize = 3_000;

/// Rows kept; older ones are deleted in the same transaction.
const KEPT: u64 = 500;

fn main() -> Fallible<()> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("usage: store-choice DIR [COMMITS]")?);
    let commits: u64 = arguments.next().map_or(Ok(2_000), |text| text.parse())?;
    println!("| engine | journal row | p50 ms | p90 | p99 | max | open ms | file MiB |");
    println!("| --- | --: | --: | --: | --: | --: | --: | --: |");
    for bytes in [20_000, 50_000] {
        report("append + fdatasync (limit)", bytes, append(&fresh(&dir)?, commits, bytes)?);
        report("redb 4.6.0, Immediate", bytes, redb(&fresh(&dir)?, commits, bytes)?);
        report("rusqlite 0.43 bundled, WAL, FULL", bytes, sqlite(&fresh(&dir)?, commits, bytes)?);
    }
    fs::remove_dir_all(dir.join("store-choice"))?;
    Ok(())
}

fn fresh(dir: &Path) -> Fallible<PathBuf> {
    let dir = dir.join("store-choice");
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

struct Measured {
    millis: Vec<f64>,
    open: f64,
    file: u64,
}

fn report(engine: &str, bytes: usize, mut measured: Measured) {
    measured.millis.sort_by(f64::total_cmp);
    let at = |share: f64| measured.millis[((measured.millis.len() - 1) as f64 * share) as usize];
    println!(
        "| {engine} | {} KB | {:.2} | {:.2} | {:.2} | {:.1} | {:.1} | {:.1} |",
        bytes / 1_000,
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0),
        measured.open,
        measured.file as f64 / f64::from(1 << 20)
    );
}

/// xorshift64*: incompressible, the same on every run.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        out.extend(state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    out.truncate(bytes);
    out
}

fn timed(commits: u64, bytes: usize, mut commit: impl FnMut(u64, &[u8]) -> Fallible<()>) -> Fallible<Vec<f64>> {
    let mut millis = Vec::new();
    for n in 1..=commits {
        let row = noise(n, bytes);
        let start = Instant::now();
        commit(n, &row)?;
        millis.push(start.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(millis)
}

fn size(dir: &Path) -> Fallible<u64> {
    let mut total = 0;
    for entry in fs::read_dir(dir)? {
        total += entry?.metadata()?.len();
    }
    Ok(total)
}

fn append(dir: &Path, commits: u64, bytes: usize) -> Fallible<Measured> {
    let mut file = File::create(dir.join("log"))?;
    let millis = timed(commits, bytes, |_, row| {
        file.write_all(row)?;
        Ok(file.sync_data()?)
    })?;
    Ok(Measured { millis, open: 0.0, file: size(dir)? })
}

fn redb(dir: &Path, commits: u64, bytes: usize) -> Fallible<Measured> {
    use redb::TableDefinition;
    const JOURNAL: TableDefinition<u64, &[u8]> = TableDefinition::new("journal");
    const OUTBOX: TableDefinition<u64, &[u8]> = TableDefinition::new("outbox");
    const POSITIONS: TableDefinition<&str, &[u8]> = TableDefinition::new("positions");

    let path = dir.join("state.redb");
    let db = redb::Builder::new().set_cache_size(32 << 20).create(&path)?;
    let millis = timed(commits, bytes, |n, row| {
        let txn = db.begin_write()?;
        {
            txn.open_table(POSITIONS)?.insert("okta:acme", &row[..120])?;
            let mut journal = txn.open_table(JOURNAL)?;
            journal.insert(n, row)?;
            if n > KEPT {
                journal.remove(n - KEPT)?;
            }
            if n % OUTBOX_EVERY == 0 {
                txn.open_table(OUTBOX)?.insert(n, &row[..OUTBOX_BYTES])?;
            }
        }
        Ok(txn.commit()?)
    })?;
    drop(db);
    let start = Instant::now();
    let db = redb::Builder::new().set_check_integrity_on_open(true).open(&path)?;
    drop(db.begin_write()?);
    Ok(Measured { millis, open: start.elapsed().as_secs_f64() * 1_000.0, file: size(dir)? })
}

fn sqlite(dir: &Path, commits: u64, bytes: usize) -> Fallible<Measured> {
    let path = dir.join("state.sqlite");
    let db = rusqlite::Connection::open(&path)?;
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE journal (n INTEGER PRIMARY KEY, row BLOB);
         CREATE TABLE outbox (n INTEGER PRIMARY KEY, row BLOB);
         CREATE TABLE positions (source TEXT PRIMARY KEY, row BLOB) WITHOUT ROWID;",
    )?;
    let mut position = db.prepare("INSERT OR REPLACE INTO positions VALUES ('okta:acme', ?1)")?;
    let mut journal = db.prepare("INSERT INTO journal VALUES (?1, ?2)")?;
    let mut prune = db.prepare("DELETE FROM journal WHERE n = ?1")?;
    let mut outbox = db.prepare("INSERT INTO outbox VALUES (?1, ?2)")?;
    let millis = timed(commits, bytes, |n, row| {
        db.execute_batch("BEGIN IMMEDIATE")?;
        position.execute([&row[..120]])?;
        journal.execute((n as i64, row))?;
        if n > KEPT {
            prune.execute([(n - KEPT) as i64])?;
        }
        if n % OUTBOX_EVERY == 0 {
            outbox.execute((n as i64, &row[..OUTBOX_BYTES]))?;
        }
        Ok(db.execute_batch("COMMIT")?)
    })?;
    drop((position, journal, prune, outbox));
    drop(db);
    let start = Instant::now();
    let db = rusqlite::Connection::open(&path)?;
    let check: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    assert_eq!(check, "ok");
    Ok(Measured { millis, open: start.elapsed().as_secs_f64() * 1_000.0, file: size(dir)? })
}
