//! The queue of what is forwarded: one row for each thing, whoever wants it, and a durable place for each sink.
//!
//! Rows are added in the transaction that stores the position which brought them, and go when every sink has passed
//! them. A new sink begins at the end; one that is configured no more loses its place. Beyond the bound on bytes the
//! oldest rows are dropped, and counted for each sink that was still to have them: a commit never waits for a receiver.
//!
//! A row is its topics, the name of the only sink that may have it (empty for all: what came back from the dead letters
//! is for the sink that buried it), then the packed thing. So rows are chosen without being unpacked.

use std::collections::BTreeSet;

use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::error::Trouble;
use super::tables::{CURSORS, DEAD_FORWARDS, FORWARDS, META, Packer, decode, encode, meta, number, unpack};
use super::{Store, StoreError};
use crate::action::What;
use crate::action::{Forwarded, Topics};
use crate::event::{Person, Timestamp};

/// Packed bytes of the queue unless told otherwise (`limits.queue_bytes`).
pub const QUEUE_BYTES: u64 = 1 << 30;

/// Dead letters of things forwarded, over all sinks; beyond it the sink's oldest are dropped.
pub const DEAD_FORWARD_LIMIT: u64 = 10_000;

/// Rows looked at in one go, wanted or not.
const LOOKED_AT: usize = 20_000;

/// A thing that a sink's receiver refused for good.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DeadForward {
    /// Why, as the closed reason label.
    pub reason: String,
    /// Why, in a sentence.
    pub detail: String,
    /// When it was given up, host clock.
    pub at: Timestamp,
    /// The thing.
    pub forwarded: Forwarded,
}

/// A sink's view of the queue.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Ahead {
    /// What it is still to have, oldest first, up to the bounds asked for.
    pub rows: Vec<(u64, Forwarded)>,
    /// The place behind all rows looked at: a sink that has `rows` may move here.
    pub passed: u64,
    /// Its place.
    pub place: u64,
    /// As many rows were looked at as are in one go: it is worth moving on without any that are wanted.
    pub is_long: bool,
    /// Rows dropped before it had them, since it has a place.
    pub dropped: u64,
}

/// How much the queue holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QueueSize {
    /// Things.
    pub rows: u64,
    /// Their packed bytes.
    pub bytes: u64,
}

type Rows<'a> = Table<'a, u64, &'static [u8]>;
type Places<'a> = Table<'a, &'static str, (u64, u32, u64)>;
/// A sink with its place, what it wants and how many it lost.
type Held = (String, (u64, u32, u64));
type Numbers<'a> = Table<'a, &'static str, u64>;

/// What stands before the packed thing.
fn head(topics: Topics, only: &str) -> Vec<u8> {
    let mut row = topics.bits().to_le_bytes().to_vec();
    // Names of sinks are at most 64 bytes.
    row.push(only.len() as u8);
    row.extend(only.as_bytes());
    row
}

/// The topics of a row, the only sink that may have it, and the packed thing.
fn split(row: &[u8]) -> Result<(Topics, &str, &[u8]), Trouble> {
    let damaged = || Trouble::Decode("a row of the queue is cut off".into());
    let (bits, rest) = row.split_first_chunk::<4>().ok_or_else(damaged)?;
    let (length, rest) = rest.split_first().ok_or_else(damaged)?;
    let (only, packed) = rest.split_at_checked(usize::from(*length)).ok_or_else(damaged)?;
    let only = std::str::from_utf8(only).map_err(|_| damaged())?;
    Ok((Topics::from_bits(u32::from_le_bytes(*bits)), only, packed))
}

fn is_for(sink: &str, wanted: Topics, topics: Topics, only: &str) -> bool {
    if only.is_empty() { wanted.meets(topics) } else { only == sink }
}

/// Appends things inside a commit, and keeps the queue within `limit` bytes.
pub(super) fn append(
    txn: &WriteTransaction,
    meta: &mut Numbers<'_>,
    things: &[(Topics, Forwarded)],
    limit: u64,
) -> Result<(), Trouble> {
    if things.is_empty() {
        return Ok(());
    }
    let mut rows = txn.open_table(FORWARDS)?;
    let mut packer = Packer::new()?;
    for (topics, thing) in things {
        push(&mut rows, meta, &mut packer, (*topics, "", thing))?;
    }
    keep_within(&mut rows, &mut txn.open_table(CURSORS)?, meta, limit)
}

fn push(
    rows: &mut Rows<'_>,
    meta: &mut Numbers<'_>,
    packer: &mut Packer,
    (topics, only, thing): (Topics, &str, &Forwarded),
) -> Result<(), Trouble> {
    let mut row = head(topics, only);
    row.extend(packer.encode(thing)?);
    let last = number(meta, meta::FORWARD_LAST)?.unwrap_or(0) + 1;
    let bytes = number(meta, meta::FORWARD_BYTES)?.unwrap_or(0) + row.len() as u64;
    rows.insert(last, row.as_slice())?;
    meta.insert(meta::FORWARD_LAST, last)?;
    meta.insert(meta::FORWARD_BYTES, bytes)?;
    Ok(())
}

/// Drops the oldest rows beyond the bound, and counts each for the sinks that have not had it.
fn keep_within(
    rows: &mut Rows<'_>,
    places: &mut Places<'_>,
    meta: &mut Numbers<'_>,
    limit: u64,
) -> Result<(), Trouble> {
    let mut bytes = number(meta, meta::FORWARD_BYTES)?.unwrap_or(0);
    if bytes <= limit {
        return Ok(());
    }
    let mut sinks = all_places(places)?;
    while bytes > limit {
        let Some((sequence, row)) = rows.pop_first()? else { break };
        let (sequence, row) = (sequence.value(), row.value());
        bytes = bytes.saturating_sub(row.len() as u64);
        let (topics, only, _) = split(row)?;
        for (sink, (place, wanted, dropped)) in &mut sinks {
            if *place < sequence && is_for(sink, Topics::from_bits(*wanted), topics, only) {
                *dropped += 1;
            }
        }
    }
    for (sink, place) in &sinks {
        places.insert(sink.as_str(), *place)?;
    }
    meta.insert(meta::FORWARD_BYTES, bytes)?;
    Ok(())
}

fn all_places(places: &impl ReadableTable<&'static str, (u64, u32, u64)>) -> Result<Vec<Held>, Trouble> {
    let mut all = Vec::new();
    for row in places.iter()? {
        let (sink, place) = row?;
        all.push((sink.value().to_owned(), place.value()));
    }
    Ok(all)
}

/// Removes the rows that every sink has passed; all of them where there is no sink.
fn release(txn: &WriteTransaction, places: &Places<'_>) -> Result<u64, Trouble> {
    let mut meta = txn.open_table(META)?;
    let mut rows = txn.open_table(FORWARDS)?;
    let last = number(&meta, meta::FORWARD_LAST)?.unwrap_or(0);
    let passed = all_places(places)?.into_iter().map(|(_, (place, _, _))| place).min().unwrap_or(last);
    let (mut count, mut freed) = (0, 0);
    for row in rows.extract_from_if(..=passed, |_, _| true)? {
        freed += row?.1.value().len() as u64;
        count += 1;
    }
    if count > 0 {
        let bytes = number(&meta, meta::FORWARD_BYTES)?.unwrap_or(0).saturating_sub(freed);
        meta.insert(meta::FORWARD_BYTES, bytes)?;
    }
    Ok(count)
}

/// Moves a sink on; never back.
fn advance(places: &mut Places<'_>, sink: &str, to: u64) -> Result<(), Trouble> {
    let held = places.get(sink)?.map(|place| place.value());
    let Some((place, wanted, dropped)) = held else { return Ok(()) };
    places.insert(sink, (place.max(to), wanted, dropped))?;
    Ok(())
}

impl Store {
    /// Names the sinks that are forwarded to, and what each wants. A new one begins at the end of the queue, one that is
    /// no longer named loses its place, and what no sink wants any more goes. Gives how many rows went.
    ///
    /// # Errors
    /// Where the transaction fails.
    pub fn set_forward_sinks(&self, sinks: &[(String, Topics)]) -> Result<u64, StoreError> {
        self.write("name who is forwarded to", |txn| {
            let last = number(&txn.open_table(META)?, meta::FORWARD_LAST)?.unwrap_or(0);
            let mut places = txn.open_table(CURSORS)?;
            let named: BTreeSet<&str> = sinks.iter().map(|(name, _)| name.as_str()).collect();
            places.retain(|sink, _| named.contains(sink))?;
            for (sink, topics) in sinks {
                let held = places.get(sink.as_str())?.map(|place| place.value());
                let (place, _, dropped) = held.unwrap_or((last, 0, 0));
                places.insert(sink.as_str(), (place, topics.bits(), dropped))?;
            }
            release(txn, &places)
        })
    }

    /// What a sink is still to have, at most `limit` things and about `bytes` bytes of them unpacked, but at least one.
    ///
    /// # Errors
    /// Where the state cannot be read, or the sink has no place.
    pub fn ahead(&self, sink: &str, limit: usize, bytes: usize) -> Result<Ahead, StoreError> {
        self.read("read the queue", |txn| {
            let held = txn.open_table(CURSORS)?.get(sink)?.map(|place| place.value());
            let no_place = || Trouble::Decode(format!("sink `{sink}` has no place in the queue").into());
            let (place, wanted, dropped) = held.ok_or_else(no_place)?;
            let mut ahead = Ahead { place, passed: place, dropped, ..Ahead::default() };
            let (mut taken, mut looked_at) = (0, 0);
            for row in txn.open_table(FORWARDS)?.range(place + 1..)?.take(LOOKED_AT) {
                let (sequence, row) = row?;
                looked_at += 1;
                let (topics, only, packed) = split(row.value())?;
                if is_for(sink, Topics::from_bits(wanted), topics, only) {
                    if ahead.rows.len() == limit {
                        break;
                    }
                    let unpacked = unpack(packed)?;
                    if taken + unpacked.len() > bytes && !ahead.rows.is_empty() {
                        break;
                    }
                    taken += unpacked.len();
                    let thing = postcard::from_bytes(&unpacked).map_err(|error| Trouble::Decode(error.into()))?;
                    ahead.rows.push((sequence.value(), thing));
                }
                ahead.passed = sequence.value();
            }
            ahead.is_long = looked_at == LOOKED_AT;
            Ok(ahead)
        })
    }

    /// How many things a sink is still to have.
    ///
    /// # Errors
    /// Where the state cannot be read.
    pub fn forward_waiting(&self, sink: &str) -> Result<u64, StoreError> {
        self.read("read the queue", |txn| {
            let held = txn.open_table(CURSORS)?.get(sink)?.map(|place| place.value());
            let Some((place, wanted, _)) = held else { return Ok(0) };
            let mut waiting = 0;
            for row in txn.open_table(FORWARDS)?.range(place + 1..)? {
                let row = row?.1;
                let (topics, only, _) = split(row.value())?;
                waiting += u64::from(is_for(sink, Topics::from_bits(wanted), topics, only));
            }
            Ok(waiting)
        })
    }

    /// A sink has everything up to and with number `to`; rows that nobody waits for any more go. Durable on return.
    ///
    /// # Errors
    /// Where the transaction fails; the sink has its old place then.
    pub fn advance_forward(&self, sink: &str, to: u64) -> Result<(), StoreError> {
        self.write("move on in the queue", |txn| {
            let mut places = txn.open_table(CURSORS)?;
            advance(&mut places, sink, to)?;
            release(txn, &places)?;
            Ok(())
        })
    }

    /// A sink's receiver refuses the thing at number `sequence` for good: it is kept with the reason and the sink moves
    /// past it.
    ///
    /// # Errors
    /// Where the transaction fails; the thing is still to be forwarded then.
    pub fn bury_forward(&self, sink: &str, sequence: u64, reason: &str, detail: &str) -> Result<(), StoreError> {
        let at = crate::clock::now();
        self.write("give up what is forwarded", |txn| {
            let thing = match txn.open_table(FORWARDS)?.get(sequence)? {
                Some(row) => Some(decode(split(row.value())?.2)?),
                None => None,
            };
            if let Some(forwarded) = thing {
                let mut dead = txn.open_table(DEAD_FORWARDS)?;
                let letter = DeadForward { reason: reason.to_owned(), detail: detail.to_owned(), at, forwarded };
                dead.insert((sink, sequence), encode(&letter)?.as_slice())?;
                while dead.len()? > self.dead_forward_limit {
                    let oldest = dead.range((sink, 0)..=(sink, u64::MAX))?.next().transpose()?;
                    let Some(oldest) = oldest.map(|(key, _)| key.value().1) else { break };
                    dead.remove((sink, oldest))?;
                    tracing::error!(sink, "there are too many dead letters; the sink's oldest is gone");
                }
            }
            let mut places = txn.open_table(CURSORS)?;
            advance(&mut places, sink, sequence)?;
            release(txn, &places)?;
            Ok(())
        })
    }

    /// The sink's dead letters of things forwarded, by number.
    ///
    /// # Errors
    /// Where the state cannot be read.
    pub fn dead_forwards(&self, sink: &str) -> Result<Vec<(u64, DeadForward)>, StoreError> {
        self.read("read the dead letters", |txn| {
            let dead = txn.open_table(DEAD_FORWARDS)?;
            let rows = dead.range((sink, 0)..=(sink, u64::MAX))?;
            rows.map(|row| {
                let (key, letter) = row?;
                Ok((key.value().1, decode(letter.value())?))
            })
            .collect()
        })
    }

    /// Puts the sink's dead letters back at the end of the queue, for that sink alone. Gives how many.
    ///
    /// # Errors
    /// Where the transaction fails; they are dead letters still then.
    pub fn replay_dead_forwards(&self, sink: &str) -> Result<u64, StoreError> {
        let letters = self.dead_forwards(sink)?;
        self.write("replay dead letters", |txn| {
            let mut meta = txn.open_table(META)?;
            let (mut rows, mut dead) = (txn.open_table(FORWARDS)?, txn.open_table(DEAD_FORWARDS)?);
            let (mut packer, mut places) = (Packer::new()?, txn.open_table(CURSORS)?);
            if places.get(sink)?.is_none() {
                // Its place would be behind them otherwise, at the next start.
                let last = number(&meta, meta::FORWARD_LAST)?.unwrap_or(0);
                places.insert(sink, (last, 0, 0))?;
            }
            for (sequence, letter) in &letters {
                push(&mut rows, &mut meta, &mut packer, (Topics::ALL, sink, &letter.forwarded))?;
                dead.remove((sink, *sequence))?;
            }
            keep_within(&mut rows, &mut places, &mut meta, self.queue_limit)?;
            Ok(letters.len() as u64)
        })
    }

    /// How much the queue holds.
    ///
    /// # Errors
    /// Where the state cannot be read.
    pub fn queue_size(&self) -> Result<QueueSize, StoreError> {
        self.read("read the queue", |txn| {
            let bytes = number(&txn.open_table(META)?, meta::FORWARD_BYTES)?.unwrap_or(0);
            Ok(QueueSize { rows: txn.open_table(FORWARDS)?.len()?, bytes })
        })
    }

    /// Drops every event of a person from the queue and its dead letters, forwarded or not. Gives how many.
    ///
    /// # Errors
    /// Where the transaction fails.
    pub fn forget_forwards(&self, person: &Person) -> Result<u64, StoreError> {
        let is_theirs = |thing: &Forwarded| match &thing.what {
            What::Event { event, .. } => {
                let changed = event.change.as_ref().and_then(|change| change.person.as_ref());
                [event.person.as_ref(), changed].contains(&Some(person))
            }
            What::Finding(_) => false,
        };
        self.write("forget a person", |txn| {
            let mut meta = txn.open_table(META)?;
            let (mut rows, mut dead) = (txn.open_table(FORWARDS)?, txn.open_table(DEAD_FORWARDS)?);
            let (mut gone, mut freed) = (Vec::new(), 0);
            for row in rows.iter()? {
                let (sequence, row) = row?;
                if is_theirs(&decode(split(row.value())?.2)?) {
                    gone.push(sequence.value());
                    freed += row.value().len() as u64;
                }
            }
            for sequence in &gone {
                rows.remove(sequence)?;
            }
            let mut buried = Vec::new();
            for row in dead.iter()? {
                let (key, letter) = row?;
                if is_theirs(&decode::<DeadForward>(letter.value())?.forwarded) {
                    buried.push((key.value().0.to_owned(), key.value().1));
                }
            }
            for (sink, sequence) in &buried {
                dead.remove((sink.as_str(), *sequence))?;
            }
            let bytes = number(&meta, meta::FORWARD_BYTES)?.unwrap_or(0).saturating_sub(freed);
            meta.insert(meta::FORWARD_BYTES, bytes)?;
            Ok((gone.len() + buried.len()) as u64)
        })
    }
}
