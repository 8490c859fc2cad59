//! The journal of inputs and the snapshots that stand in for its beginning.
//!
//! The retained journal begins after the *base* snapshot, or at the very beginning while there is none. A restart
//! needs only the *newest* snapshot and the rows after it; the rows between base and newest are there for replay, and
//! go when the journal outgrows its bound.

use redb::{ReadOnlyTable, WriteTransaction};

use super::error::Trouble;
use super::tables::{JOURNAL, META, SNAPSHOTS, decode, meta, number, pack, unpack};
use super::{Store, StoreError};
use crate::fault;
use crate::input::Input;

/// Rows dropped in one transaction, so that pruning never holds up a commit for long.
const PRUNE_ROWS: usize = 256;

/// Journal rows in order, one in memory at a time. A gap is an error, never skipped.
pub struct JournalRows {
    range: redb::Range<'static, u64, &'static [u8]>,
    next: u64,
    last: u64,
    path: std::path::PathBuf,
}

impl Iterator for JournalRows {
    type Item = Result<(u64, Vec<Input>), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next > self.last {
            return None;
        }
        let row = self.read();
        // After an error the rest cannot be trusted to follow on.
        self.next = if row.is_ok() { self.next + 1 } else { u64::MAX };
        Some(row.map_err(|trouble| trouble.at(&self.path, "read the journal")))
    }
}

impl JournalRows {
    fn read(&mut self) -> Result<(u64, Vec<Input>), Trouble> {
        let missing = || Trouble::Decode(format!("journal row {} is missing", self.next).into());
        let (number, row) = self.range.next().ok_or_else(missing)??;
        if number.value() != self.next {
            return Err(missing());
        }
        Ok((self.next, decode(row.value())?))
    }
}

impl Store {
    /// The newest journal number; 0 before the first row.
    ///
    /// # Errors
    /// Where the state cannot be read.
    pub fn journal_last(&self) -> Result<u64, StoreError> {
        self.read("read the journal", |txn| Ok(number(&txn.open_table(META)?, meta::JOURNAL_LAST)?.unwrap_or(0)))
    }

    /// The journal rows from number `from` on, as of now.
    ///
    /// # Errors
    /// Where `from` is before the retained journal, and where the state cannot be read.
    pub fn journal_from(&self, from: u64) -> Result<JournalRows, StoreError> {
        self.read("read the journal", |txn| {
            let meta = txn.open_table(META)?;
            let base = number(&meta, meta::BASE)?.unwrap_or(0);
            let last = number(&meta, meta::JOURNAL_LAST)?.unwrap_or(0);
            let from = from.max(1);
            if from <= base {
                return Err(StoreError::Pruned { from, base }.into());
            }
            let table: ReadOnlyTable<u64, &'static [u8]> = txn.open_table(JOURNAL)?;
            Ok(JournalRows { range: table.range(from..)?, next: from, last, path: self.path.clone() })
        })
    }

    /// The snapshot that begins the retained journal, with the number it covers; `None` while the journal is whole.
    ///
    /// # Errors
    /// Where the state cannot be read.
    pub fn base(&self) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        self.snapshot(meta::BASE)
    }

    /// The newest snapshot, with the number it covers.
    pub(super) fn newest(&self) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        self.snapshot(meta::NEWEST)
    }

    fn snapshot(&self, which: &'static str) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        self.read("read a snapshot", |txn| {
            let Some(covers) = number(&txn.open_table(META)?, which)? else { return Ok(None) };
            let table = txn.open_table(SNAPSHOTS)?;
            let bytes = table.get(covers)?.ok_or_else(|| Trouble::Decode("a snapshot is missing".into()))?;
            Ok(Some((covers, unpack(bytes.value())?)))
        })
    }

    /// Stores a snapshot of the core that covers the journal up to and with number `covers`, in its own transaction.
    ///
    /// Where the journal has outgrown its bound, the rows covered by this snapshot go and it becomes the base.
    ///
    /// # Errors
    /// Where `covers` is older than the newest snapshot or ahead of the journal, and where the transaction fails.
    pub fn write_snapshot(&self, covers: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let packed = pack(bytes).map_err(|trouble| trouble.at(&self.path, "pack a snapshot"))?;
        self.write("write a snapshot", |txn| {
            let mut meta = txn.open_table(META)?;
            let newest = number(&meta, meta::NEWEST)?;
            let last = number(&meta, meta::JOURNAL_LAST)?.unwrap_or(0);
            if covers > last || covers < newest.unwrap_or(0) {
                return Err(StoreError::Snapshot { covers, newest: newest.unwrap_or(0), last }.into());
            }
            let too_large = number(&meta, meta::JOURNAL_BYTES)?.unwrap_or(0) > self.journal_limit;
            if too_large {
                meta.insert(meta::BASE, covers)?;
            }
            meta.insert(meta::NEWEST, covers)?;
            let base = number(&meta, meta::BASE)?;
            let mut snapshots = txn.open_table(SNAPSHOTS)?;
            snapshots.insert(covers, packed.as_slice())?;
            snapshots.retain(|held, _| held == covers || Some(held) == base)?;
            fault::point("snapshot");
            Ok(())
        })?;
        self.prune()
    }

    /// Drops the rows that the base covers, a bounded number at a time. A crash in between leaves rows that nobody
    /// reads and that the next call drops.
    fn prune(&self) -> Result<(), StoreError> {
        while self.write("prune the journal", prune_some)? == PRUNE_ROWS {}
        Ok(())
    }
}

/// Drops up to [`PRUNE_ROWS`] rows and says how many.
fn prune_some(txn: &WriteTransaction) -> Result<usize, Trouble> {
    let mut meta = txn.open_table(META)?;
    let Some(base) = number(&meta, meta::BASE)? else { return Ok(0) };
    let mut journal = txn.open_table(JOURNAL)?;
    let (mut rows, mut freed) = (0, 0);
    for row in journal.extract_from_if(..=base, |_, _| true)?.take(PRUNE_ROWS) {
        rows += 1;
        freed += row?.1.value().len() as u64;
    }
    let bytes = number(&meta, meta::JOURNAL_BYTES)?.unwrap_or(0).saturating_sub(freed);
    meta.insert(meta::JOURNAL_BYTES, bytes)?;
    Ok(rows)
}
