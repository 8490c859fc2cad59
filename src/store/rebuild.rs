//! A new state file, built beside the old one and put in its place whole: to begin, to import, to forget.
//!
//! The file is `state.redb.new` until it is complete and synced; a crash before the rename leaves the old state, or
//! none, and the next build starts over.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use redb::Database;

use super::error::Trouble;
use super::portable::{Frame, Tag, frames};
use super::tables::{
    self, CURSORS, DEAD, DEAD_FORWARDS, FORWARDS, JOURNAL, LEDGER, META, OUTBOX, POSITIONS, SNAPSHOTS, meta,
};
use super::{CACHE_BYTES, Store, StoreError, open_database, own};

/// Bytes written in one transaction of a build; nobody sees the parts.
const BATCH_BYTES: usize = 32 << 20;

/// Begins an empty state at `path`.
pub(super) fn create(path: &Path) -> Result<(), StoreError> {
    Filler::begin(path)?.publish()
}

/// Fills a new state file, and puts it in place.
pub(super) struct Filler {
    path: PathBuf,
    partial: PathBuf,
    db: Database,
    txn: Option<redb::WriteTransaction>,
    bytes: usize,
}

impl Filler {
    pub(super) fn begin(path: &Path) -> Result<Self, StoreError> {
        let partial = path.with_added_extension("new");
        match fs::remove_file(&partial) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                return Err(StoreError::Io { doing: "remove", path: partial, source });
            }
            Ok(()) | Err(_) => {}
        }
        let run = || {
            let db = redb::Builder::new().set_cache_size(CACHE_BYTES).create(&partial)?;
            let txn = db.begin_write()?;
            tables::create(&txn)?;
            Ok((db, txn))
        };
        let (db, txn) = run().map_err(|trouble: Trouble| trouble.at(&partial, "begin"))?;
        Ok(Self { path: path.to_owned(), partial, db, txn: Some(txn), bytes: 0 })
    }

    pub(super) fn put(&mut self, frame: &Frame) -> Result<(), StoreError> {
        self.insert(frame).map_err(|trouble| trouble.at(&self.partial, "write"))
    }

    fn insert(&mut self, frame: &Frame) -> Result<(), Trouble> {
        self.bytes += frame.value.len();
        if self.bytes > BATCH_BYTES {
            self.bytes = 0;
            self.flush()?;
        }
        let txn = match self.txn.take() {
            Some(txn) => txn,
            None => self.db.begin_write()?,
        };
        let (name, key, value) = (frame.name.as_str(), frame.key.as_str(), frame.value.as_slice());
        match frame.tag {
            // The new file has its own format.
            Tag::Meta if name == meta::FORMAT => {}
            Tag::Meta => drop(txn.open_table(META)?.insert(name, frame.number)?),
            Tag::Snapshot => drop(txn.open_table(SNAPSHOTS)?.insert(frame.number, value)?),
            Tag::Journal => drop(txn.open_table(JOURNAL)?.insert(frame.number, value)?),
            Tag::Position => drop(txn.open_table(POSITIONS)?.insert(name, value)?),
            Tag::Outbox => drop(txn.open_table(OUTBOX)?.insert((name, frame.number), value)?),
            Tag::Ledger => drop(txn.open_table(LEDGER)?.insert((name, key), value)?),
            Tag::DeadLetter => drop(txn.open_table(DEAD)?.insert((name, frame.number), value)?),
            Tag::Forward => drop(txn.open_table(FORWARDS)?.insert(frame.number, value)?),
            Tag::DeadForward => drop(txn.open_table(DEAD_FORWARDS)?.insert((name, frame.number), value)?),
            Tag::Cursor => {
                let damaged = || Trouble::Decode("a place in the queue is cut off".into());
                let (topics, dropped) = value.split_first_chunk::<4>().ok_or_else(damaged)?;
                let dropped = dropped.first_chunk::<8>().ok_or_else(damaged)?;
                let place = (frame.number, u32::from_le_bytes(*topics), u64::from_le_bytes(*dropped));
                txn.open_table(CURSORS)?.insert(name, place)?;
            }
            Tag::End => {}
        }
        self.txn = Some(txn);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Trouble> {
        if let Some(txn) = self.txn.take() {
            txn.commit()?;
        }
        Ok(())
    }

    /// Makes the file durable and puts it in place of what is there.
    pub(super) fn publish(mut self) -> Result<(), StoreError> {
        self.flush().map_err(|trouble| trouble.at(&self.partial, "write"))?;
        let Self { path, partial, db, .. } = self;
        db.close().map_err(|error| Trouble::from(error).at(&partial, "close"))?;
        let io = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Io { doing, path, source }
        };
        fs::rename(&partial, &path).map_err(io("replace", &path))?;
        // The rename itself must survive a power cut.
        let dir = path.parent().unwrap_or(Path::new("."));
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(io("sync", dir))
    }
}

impl Store {
    /// Drops every journal row and every snapshot but the newest, and rewrites the file so that nothing of them stays
    /// in its free pages. The newest snapshot must cover the whole journal.
    ///
    /// # Errors
    /// Where rows are not covered, and where the new file cannot be written; the old state stands then.
    pub fn purge_journal(&mut self) -> Result<(), StoreError> {
        let last = self.journal_last()?;
        let newest = self.newest()?.map(|(covers, _)| covers);
        if newest.unwrap_or(0) != last {
            return Err(StoreError::Snapshot { covers: newest.unwrap_or(0), newest: last, last });
        }
        let mut filler = Filler::begin(&self.path)?;
        self.read("purge the journal", |txn| {
            frames(txn, false, &mut |mut frame| {
                match (frame.tag, frame.name.as_str()) {
                    (Tag::Snapshot, _) if Some(frame.number) != newest => return Ok(()),
                    (Tag::Meta, meta::BASE) => return Ok(()),
                    (Tag::Meta, meta::JOURNAL_BYTES) => frame.number = 0,
                    _ => {}
                }
                Ok(filler.put(&frame)?)
            })
        })?;
        if let Some(covers) = newest {
            let base =
                Frame { tag: Tag::Meta, name: meta::BASE.into(), key: String::new(), number: covers, value: vec![] };
            filler.put(&base)?;
        }
        filler.publish()?;
        self.db = open_database(&self.path)?;
        Ok(())
    }

    /// Removes the state in `dir`; it need not be readable.
    ///
    /// # Errors
    /// Where the directory is locked or the file cannot be removed.
    pub fn reset(dir: &Path) -> Result<(), StoreError> {
        let (_lock, path) = own(dir)?;
        for path in [path.with_added_extension("new"), path] {
            match fs::remove_file(&path) {
                Err(source) if source.kind() != ErrorKind::NotFound => {
                    return Err(StoreError::Io { doing: "remove", path, source });
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// The directory that the state is in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
