//! The durable state: positions, journal, snapshots, outbox and ledger in one embedded database, one transaction at a
//! time (invariant 3).
//!
//! `state_dir` holds `state.redb` and `lock`. A [`Commit`] is durable when [`Store::commit`] returns: positions, the
//! journal row of its inputs and its outbox rows appear together or not at all, so a restart is a snapshot and a
//! re-fold. A missing file is a fresh state; a file that is empty, damaged or of a newer format is refused, never
//! replaced. Everything here blocks: call it from a thread or `spawn_blocking`.

mod error;
mod forward;
mod journal;
mod lock;
mod outbox;
mod portable;
mod rebuild;
mod tables;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTable, WriteTransaction};

pub use error::StoreError;
pub use forward::{Ahead, DEAD_FORWARD_LIMIT, DeadForward, QUEUE_BYTES, QueueSize};
pub use journal::JournalRows;
pub use outbox::{DEAD_LETTER_LIMIT, DeadLetter, LedgerEntry, OUTBOX_LIMIT};
pub use portable::JournalFile;

use crate::action::{Action, Forwarded, Topics};
use crate::event::SourceName;
use crate::input::Input;
use crate::source::Position;
use error::Trouble;
use lock::DirLock;
use tables::{FORMAT, JOURNAL, META, POSITIONS, WRITER, encode, meta};

/// The journal is cut back to the newest snapshot once it is larger than this, packed.
pub const JOURNAL_BYTES: u64 = 256 << 20;

/// Memory for the database's page cache: the daemon's working set is the newest journal rows.
const CACHE_BYTES: usize = 32 << 20;

/// Everything that one batch of inputs made durable.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// How far each source has been read.
    pub positions: Vec<(SourceName, Position)>,
    /// The inputs, in arrival order.
    pub inputs: Vec<Input>,
    /// What is to be done, by sink, in order.
    pub outbox: Vec<(String, Action)>,
    /// What is to be forwarded, in order, with what it is about.
    pub forwards: Vec<(Topics, Forwarded)>,
}

impl Commit {
    /// Whether there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty() && self.inputs.is_empty() && self.outbox.is_empty() && self.forwards.is_empty()
    }
}

/// What a restart begins with.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Recovered {
    /// The newest snapshot, with the journal number that it covers: fold [`Store::journal_from`] the next number.
    pub snapshot: Option<(u64, Vec<u8>)>,
    /// How far each source was read.
    pub positions: BTreeMap<SourceName, Position>,
    /// The version of authwatch that wrote the state last, before this one opened it.
    pub written_by: String,
}

/// The open state; the directory is locked while it lives.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    path: PathBuf,
    db: Database,
    fresh: bool,
    written_by: String,
    journal_limit: u64,
    outbox_limit: u64,
    queue_limit: u64,
    dead_forward_limit: u64,
    _lock: DirLock,
}

impl Store {
    /// Opens the state in `dir`, or begins one there.
    ///
    /// Opening checks the whole file: a damaged one is refused here, not met later.
    ///
    /// # Errors
    /// Where the directory is locked or cannot be used, and where the file is corrupt, empty or of a newer format.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let (lock, path) = own(dir)?;
        let written = fs::metadata(&path);
        let fresh = matches!(&written, Err(error) if error.kind() == std::io::ErrorKind::NotFound);
        match written {
            Ok(file) if file.len() == 0 => {
                return Err(StoreError::Corrupt { path, source: "the file is empty".into() });
            }
            Ok(_) => {}
            Err(_) if fresh => rebuild::create(&path)?,
            Err(source) => return Err(StoreError::Io { doing: "read", path, source }),
        }
        let db = open_database(&path)?;
        let written_by = check_format(&db, &path)?;
        let (journal_limit, outbox_limit, queue_limit) = (JOURNAL_BYTES, OUTBOX_LIMIT, QUEUE_BYTES);
        let dir = dir.to_owned();
        Ok(Self {
            dir,
            path,
            db,
            fresh,
            written_by,
            journal_limit,
            outbox_limit,
            queue_limit,
            dead_forward_limit: DEAD_FORWARD_LIMIT,
            _lock: lock,
        })
    }

    /// The same store with another bound on the journal, in packed bytes.
    #[must_use]
    pub fn with_journal_bytes(mut self, bytes: u64) -> Self {
        self.journal_limit = bytes;
        self
    }

    /// The same store with another bound on the rows of the outbox, over all sinks.
    #[must_use]
    pub fn with_outbox_limit(mut self, rows: u64) -> Self {
        self.outbox_limit = rows;
        self
    }

    /// The same store with another bound on the queue of what is forwarded, in packed bytes.
    #[must_use]
    pub fn with_queue_bytes(mut self, bytes: u64) -> Self {
        self.queue_limit = bytes;
        self
    }

    /// The same store with another bound on the dead letters of things forwarded, over all sinks.
    #[must_use]
    pub fn with_dead_forward_limit(mut self, rows: u64) -> Self {
        self.dead_forward_limit = rows;
        self
    }

    /// Whether there was no state before.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// The state file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Stores a commit durably in one transaction and gives the newest journal number. An empty commit does nothing.
    ///
    /// Rows of the queue beyond its bound push the oldest out, counted. Outbox rows beyond the bound push the oldest rows out to the dead letters, logged as an error.
    ///
    /// # Errors
    /// Where the transaction fails; nothing of it is stored then.
    pub fn commit(&self, commit: &Commit) -> Result<u64, StoreError> {
        if commit.is_empty() {
            return self.journal_last();
        }
        self.write("commit", |txn| {
            let mut meta = txn.open_table(META)?;
            let mut last = tables::number(&meta, meta::JOURNAL_LAST)?.unwrap_or(0);
            let mut positions = txn.open_table(POSITIONS)?;
            for (source, position) in &commit.positions {
                positions.insert(source.as_str(), encode(position)?.as_slice())?;
            }
            if !commit.inputs.is_empty() {
                last += 1;
                let row = encode(&commit.inputs)?;
                let bytes = tables::number(&meta, meta::JOURNAL_BYTES)?.unwrap_or(0) + row.len() as u64;
                txn.open_table(JOURNAL)?.insert(last, row.as_slice())?;
                meta.insert(meta::JOURNAL_LAST, last)?;
                meta.insert(meta::JOURNAL_BYTES, bytes)?;
            }
            outbox::append(txn, &mut meta, &commit.outbox, self.outbox_limit)?;
            forward::append(txn, &mut meta, &commit.forwards, self.queue_limit)?;
            Ok(last)
        })
    }

    /// What a restart begins with.
    ///
    /// # Errors
    /// Where the state cannot be read.
    pub fn recover(&self) -> Result<Recovered, StoreError> {
        let positions = self.read("read positions", |txn| {
            let mut positions = BTreeMap::new();
            for row in txn.open_table(POSITIONS)?.iter()? {
                let (source, position) = row?;
                positions.insert(SourceName::new(source.value()), tables::decode(position.value())?);
            }
            Ok(positions)
        })?;
        Ok(Recovered { snapshot: self.newest()?, positions, written_by: self.written_by.clone() })
    }

    /// One durable write transaction.
    fn write<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&WriteTransaction) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        let run = || {
            let txn = self.db.begin_write()?;
            let value = work(&txn)?;
            txn.commit()?;
            Ok(value)
        };
        run().map_err(|trouble: Trouble| trouble.at(&self.path, doing))
    }

    /// One consistent read.
    fn read<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&redb::ReadTransaction) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        let run = || work(&self.db.begin_read()?);
        run().map_err(|trouble: Trouble| trouble.at(&self.path, doing))
    }
}

/// Makes the directory ours and names the state file in it.
fn own(dir: &Path) -> Result<(DirLock, PathBuf), StoreError> {
    fs::create_dir_all(dir).map_err(|source| StoreError::Io { doing: "create", path: dir.to_owned(), source })?;
    Ok((DirLock::take(dir)?, dir.join("state.redb")))
}

fn open_database(path: &Path) -> Result<Database, StoreError> {
    let open = redb::Builder::new().set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).open(path);
    open.map_err(|error| Trouble::from(error).at(path, "open"))
}

/// Refuses another format, and signs the state with our version. Gives the version that signed before.
fn check_format(db: &Database, path: &Path) -> Result<String, StoreError> {
    let run = || {
        let txn = db.begin_read()?;
        let format = tables::number(&txn.open_table(META)?, meta::FORMAT)?;
        let writer = txn.open_table(WRITER)?.get("version")?.map(|value| value.value().to_owned());
        let (Some(found), Some(writer)) = (format, writer) else {
            return Err(Trouble::Decode("it does not say which format it has".into()));
        };
        if found != FORMAT {
            let path = path.to_owned();
            return Err(StoreError::OtherFormat { path, found, known: FORMAT, writer }.into());
        }
        let has_queue = match txn.open_table(tables::DEAD_FORWARDS) {
            Ok(_) => true,
            Err(redb::TableError::TableDoesNotExist(_)) => false,
            Err(error) => return Err(error.into()),
        };
        if !has_queue {
            let txn = db.begin_write()?;
            tables::create_forwards(&txn)?;
            txn.commit()?;
        }
        if writer != env!("CARGO_PKG_VERSION") {
            let txn = db.begin_write()?;
            tables::stamp(&txn)?;
            txn.commit()?;
        }
        Ok(writer)
    };
    run().map_err(|trouble| trouble.at(path, "read the format"))
}
