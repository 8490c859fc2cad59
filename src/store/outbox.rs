//! Actions that are durable and not yet done, what was told to whom, and what can never be told.
//!
//! A row leaves the outbox in the same transaction that writes the ledger, so an action is either still to do or
//! recorded as done.

use std::collections::BTreeSet;

use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::error::Trouble;
use super::tables::{DEAD, DEAD_FORWARDS, LEDGER, META, OUTBOX, decode, decode_grown, encode, meta, number};
use super::{Store, StoreError};
use crate::action::{Action, IncidentAction, IncidentStep, Severity};
use crate::event::Timestamp;

/// Rows in the outbox over all sinks; beyond it the oldest become dead letters.
pub const OUTBOX_LIMIT: u64 = 10_000;

/// Dead letters kept over all sinks; beyond it the oldest are dropped.
pub const DEAD_LETTER_LIMIT: u64 = 1_000;

/// What a sink has told about one incident, and under which name the other side keeps it. Stored by position: new
/// fields come last.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The newest revision carried out; a row with this revision or an older one is done.
    pub revision: u32,
    /// The other side's id (ServiceNow: `sys_id`), once known.
    pub remote_id: Option<String>,
    /// The other side's number for people (`INC0010023`).
    pub number: Option<String>,
    /// Where a person can see it.
    pub url: Option<String>,
    /// The priority that the other side computed, as read back.
    pub priority: Option<String>,
    /// The title as we last wrote it.
    pub title: String,
    /// The severity that the impact last written stands for.
    pub severity: Option<Severity>,
    /// The remote state as we last wrote it.
    pub remote_state: Option<String>,
    /// Who it was assigned to when we last wrote it: person and group.
    pub remote_owner: Option<(String, String)>,
    /// The key in use on the other side, where it is not the incident's own (`aw-…-2` for a follow-up ticket).
    pub remote_key: Option<String>,
    /// How many tickets this incident has had; 0 and 1 are the first.
    pub generation: u32,
    /// The number of the ticket that this one follows.
    pub previous: Option<String>,
    /// A create was sent, or was about to be, and its outcome is not known: look before creating again.
    pub post_intent: Option<Timestamp>,
    /// How often a create was deemed lost and sent again.
    pub reposts: u32,
    /// A person took it over: only notes follow.
    pub human: bool,
    /// Steps that a sink in shadow mode recorded instead of telling them, since anything was told last; see
    /// [`crate::action::WouldHaveTold`].
    pub shadowed: Vec<IncidentStep>,
    /// The last action, where it is to be told later or told again: recorded in shadow mode, or an alert that must be
    /// re-sent.
    pub last: Option<Box<IncidentAction>>,
    /// When `last` was told, host clock.
    pub told_at: Option<Timestamp>,
}

/// An action that could not be carried out and never will be.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Why, as the closed reason label.
    pub reason: String,
    /// Why, in a sentence.
    pub detail: String,
    /// When it was given up, host clock.
    pub at: Timestamp,
    /// The action.
    pub action: Action,
}

/// Appends outbox rows inside a commit.
pub(super) fn append(
    txn: &WriteTransaction,
    meta: &mut Table<'_, &'static str, u64>,
    rows: &[(String, Action)],
    limit: u64,
) -> Result<(), Trouble> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut sequence = number(meta, meta::OUTBOX_LAST)?.unwrap_or(0);
    let mut outbox = txn.open_table(OUTBOX)?;
    for (sink, action) in rows {
        sequence += 1;
        outbox.insert((sink.as_str(), sequence), encode(action)?.as_slice())?;
    }
    meta.insert(meta::OUTBOX_LAST, sequence)?;
    let over = outbox.len()?.saturating_sub(limit);
    if over > 0 {
        overflow(txn, &mut outbox, over)?;
    }
    Ok(())
}

/// Moves the oldest rows to the dead letters.
fn overflow(
    txn: &WriteTransaction,
    outbox: &mut Table<'_, (&'static str, u64), &'static [u8]>,
    over: u64,
) -> Result<(), Trouble> {
    let mut keys = Vec::new();
    for row in outbox.iter()? {
        let (key, _) = row?;
        let (sink, sequence) = key.value();
        keys.push((sequence, sink.to_owned()));
    }
    keys.sort_unstable();
    for (sequence, sink) in keys.into_iter().take(usize::try_from(over).unwrap_or(usize::MAX)) {
        let Some(action) = outbox.remove((sink.as_str(), sequence))? else { continue };
        let action = decode(action.value())?;
        let detail = "the outbox was full and this was the oldest row".to_owned();
        let letter = DeadLetter { reason: "outbox_full".to_owned(), detail, at: crate::clock::now(), action };
        bury(txn, &sink, sequence, &letter)?;
        tracing::error!(sink, sequence, "the outbox is full; its oldest action is now a dead letter");
    }
    Ok(())
}

/// Writes a dead letter and keeps their number within the bound.
fn bury(txn: &WriteTransaction, sink: &str, sequence: u64, letter: &DeadLetter) -> Result<(), Trouble> {
    let mut dead = txn.open_table(DEAD)?;
    dead.insert((sink, sequence), encode(letter)?.as_slice())?;
    while dead.len()? > DEAD_LETTER_LIMIT {
        let mut oldest: Option<(u64, String)> = None;
        for row in dead.iter()? {
            let (key, _) = row?;
            let (sink, sequence) = key.value();
            if oldest.as_ref().is_none_or(|(held, _)| sequence < *held) {
                oldest = Some((sequence, sink.to_owned()));
            }
        }
        let Some((sequence, sink)) = oldest else { break };
        dead.remove((sink.as_str(), sequence))?;
    }
    Ok(())
}

impl Store {
    /// The sink's rows with a sequence number above `after`, in order, at most `limit`.
    ///
    /// # Errors
    /// Where the state cannot be read.
    pub fn pending(&self, sink: &str, after: u64, limit: usize) -> Result<Vec<(u64, Action)>, StoreError> {
        self.read("read the outbox", |txn| {
            let outbox = txn.open_table(OUTBOX)?;
            let rows = outbox.range((sink, after.saturating_add(1))..=(sink, u64::MAX))?.take(limit);
            rows.map(|row| {
                let (key, action) = row?;
                Ok((key.value().1, decode(action.value())?))
            })
            .collect()
        })
    }

    /// How many actions of the sink are not yet done.
    ///
    /// # Errors
    /// Where the state cannot be read.
    pub fn count(&self, sink: &str) -> Result<u64, StoreError> {
        self.read("read the outbox", |txn| {
            let outbox = txn.open_table(OUTBOX)?;
            let mut rows = 0;
            for row in outbox.range((sink, 0)..=(sink, u64::MAX))? {
                row?;
                rows += 1;
            }
            Ok(rows)
        })
    }

    /// Takes rows out of the outbox as done and writes what the ledger says of them, in one durable transaction.
    ///
    /// # Errors
    /// Where the transaction fails; the rows are still to do then.
    pub fn complete(
        &self,
        sink: &str,
        sequences: &[u64],
        ledger: Option<(&str, &LedgerEntry)>,
    ) -> Result<(), StoreError> {
        self.write("complete an action", |txn| {
            let mut outbox = txn.open_table(OUTBOX)?;
            for sequence in sequences {
                outbox.remove((sink, *sequence))?;
            }
            if let Some((key, entry)) = ledger {
                txn.open_table(LEDGER)?.insert((sink, key), encode(entry)?.as_slice())?;
            }
            Ok(())
        })
    }

    /// Takes rows out of the outbox as never to be done, and keeps each with the reason.
    ///
    /// # Errors
    /// Where the transaction fails; the rows are still to do then.
    pub fn give_up(&self, sink: &str, sequences: &[u64], reason: &str, detail: &str) -> Result<(), StoreError> {
        let at = crate::clock::now();
        self.write("give an action up", |txn| {
            let mut outbox = txn.open_table(OUTBOX)?;
            for sequence in sequences {
                let Some(action) = outbox.remove((sink, *sequence))? else { continue };
                let action = decode(action.value())?;
                let letter = DeadLetter { reason: reason.to_owned(), detail: detail.to_owned(), at, action };
                bury(txn, sink, *sequence, &letter)?;
            }
            Ok(())
        })
    }

    /// The sink's dead letters by sequence number.
    ///
    /// # Errors
    /// Where the state cannot be read.
    pub fn dead_letters(&self, sink: &str) -> Result<Vec<(u64, DeadLetter)>, StoreError> {
        self.read("read the dead letters", |txn| {
            let dead = txn.open_table(DEAD)?;
            let rows = dead.range((sink, 0)..=(sink, u64::MAX))?;
            rows.map(|row| {
                let (key, letter) = row?;
                Ok((key.value().1, decode(letter.value())?))
            })
            .collect()
        })
    }

    /// Puts the sink's dead letters back into the outbox, in their order. What the ledger has by then is not told again.
    /// Gives how many.
    ///
    /// # Errors
    /// Where the transaction fails; they are dead letters still then.
    pub fn replay_dead_letters(&self, sink: &str) -> Result<u64, StoreError> {
        let letters = self.dead_letters(sink)?;
        self.write("replay dead letters", |txn| {
            let mut dead = txn.open_table(DEAD)?;
            for (sequence, _) in &letters {
                dead.remove((sink, *sequence))?;
            }
            drop(dead);
            let rows: Vec<_> = letters.iter().map(|(_, letter)| (sink.to_owned(), letter.action.clone())).collect();
            append(txn, &mut txn.open_table(META)?, &rows, self.outbox_limit)?;
            Ok(rows.len() as u64)
        })
    }

    /// The sinks that have dead letters, of either kind.
    ///
    /// # Errors
    /// Where the state cannot be read.
    pub fn sinks_with_dead_letters(&self) -> Result<Vec<String>, StoreError> {
        self.read("read the dead letters", |txn| {
            let mut sinks = BTreeSet::new();
            for table in [DEAD, DEAD_FORWARDS] {
                for row in txn.open_table(table)?.iter()? {
                    sinks.insert(row?.0.value().0.to_owned());
                }
            }
            Ok(sinks.into_iter().collect())
        })
    }

    /// What the sink has told about the incident `key`.
    ///
    /// # Errors
    /// Where the state cannot be read.
    pub fn ledger(&self, sink: &str, key: &str) -> Result<Option<LedgerEntry>, StoreError> {
        self.read("read the ledger", |txn| {
            let row = txn.open_table(LEDGER)?.get((sink, key))?;
            row.map(|entry| decode_grown(entry.value())).transpose()
        })
    }

    /// Everything the sink has told, by incident key.
    ///
    /// # Errors
    /// Where the state cannot be read.
    pub fn ledger_all(&self, sink: &str) -> Result<Vec<(String, LedgerEntry)>, StoreError> {
        self.read("read the ledger", |txn| {
            let ledger = txn.open_table(LEDGER)?;
            let mut entries = Vec::new();
            for row in ledger.range((sink, "")..)? {
                let (key, entry) = row?;
                let (of, key) = key.value();
                if of != sink {
                    break;
                }
                entries.push((key.to_owned(), decode_grown(entry.value())?));
            }
            Ok(entries)
        })
    }

    /// Writes the ledger alone, durably: an intent before the act.
    ///
    /// # Errors
    /// Where the transaction fails.
    pub fn put_ledger(&self, sink: &str, key: &str, entry: &LedgerEntry) -> Result<(), StoreError> {
        self.complete(sink, &[], Some((key, entry)))
    }
}
