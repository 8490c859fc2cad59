//! The tables of the state file, and the one codec for what is in them.
//!
//! Every value that is not a bare number is postcard, in a zstd frame of level 1 with its own checksum: compact, and
//! damage is seen when it is read. A change of any stored type is a new [`FORMAT`], but for fields at the end of one that
//! is read with [`decode_grown`].

use std::io::Read;

use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::Trouble;

/// The format of the state file and of exports.
pub(super) const FORMAT: u64 = 3;

/// The largest value that is read back, unpacked. More means damage, not data.
const VALUE_LIMIT: u64 = 1 << 30;

/// zstd's level: the journal is written every second, and level 1 already takes most of the repetition out.
const LEVEL: i32 = 1;

/// Numbers by name: see the `meta` constants.
pub(super) const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");
/// Who wrote it: `version`.
pub(super) const WRITER: TableDefinition<'static, &str, &str> = TableDefinition::new("writer");
/// Source → position.
pub(super) const POSITIONS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("positions");
/// Journal number → inputs of one commit.
pub(super) const JOURNAL: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("journal");
/// Journal number covered → core snapshot: the base and the newest, which may be one.
pub(super) const SNAPSHOTS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("snapshots");
/// (Sink, sequence number) → action that is not yet done.
pub(super) const OUTBOX: TableDefinition<'static, (&str, u64), &[u8]> = TableDefinition::new("outbox");
/// (Sink, incident key) → what was told.
pub(super) const LEDGER: TableDefinition<'static, (&str, &str), &[u8]> = TableDefinition::new("ledger");
/// (Sink, sequence number) → action that can never be done, with the reason.
pub(super) const DEAD: TableDefinition<'static, (&str, u64), &[u8]> = TableDefinition::new("dead_letters");

/// The names of the numbers in [`META`].
pub(super) mod meta {
    /// The file's format.
    pub(in crate::store) const FORMAT: &str = "format";
    /// The newest journal number ever given out.
    pub(in crate::store) const JOURNAL_LAST: &str = "journal_last";
    /// Packed bytes of all journal rows.
    pub(in crate::store) const JOURNAL_BYTES: &str = "journal_bytes";
    /// The newest outbox sequence number ever given out.
    pub(in crate::store) const OUTBOX_LAST: &str = "outbox_last";
    /// What the snapshot that begins the retained journal covers; absent while the journal is whole.
    pub(in crate::store) const BASE: &str = "base";
    /// What the newest snapshot covers; absent before the first.
    pub(in crate::store) const NEWEST: &str = "newest";
}

/// Creates every table, so that a reader finds them all.
pub(super) fn create(txn: &WriteTransaction) -> Result<(), Trouble> {
    txn.open_table(POSITIONS)?;
    txn.open_table(JOURNAL)?;
    txn.open_table(SNAPSHOTS)?;
    txn.open_table(OUTBOX)?;
    txn.open_table(LEDGER)?;
    txn.open_table(DEAD)?;
    txn.open_table(META)?.insert(meta::FORMAT, FORMAT)?;
    stamp(txn)
}

/// Records which version writes from here on.
pub(super) fn stamp(txn: &WriteTransaction) -> Result<(), Trouble> {
    txn.open_table(WRITER)?.insert("version", env!("CARGO_PKG_VERSION"))?;
    Ok(())
}

/// A number of [`META`], if it is there.
pub(super) fn number(table: &impl ReadableTable<&'static str, u64>, name: &str) -> Result<Option<u64>, Trouble> {
    Ok(table.get(name)?.map(|value| value.value()))
}

/// Packs a value.
pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Trouble> {
    pack(&postcard::to_stdvec(value).map_err(|error| Trouble::Encode(error.into()))?)
}

/// Unpacks a value.
pub(super) fn decode<T: DeserializeOwned>(packed: &[u8]) -> Result<T, Trouble> {
    postcard::from_bytes(&unpack(packed)?).map_err(|error| Trouble::Decode(error.into()))
}

/// Unpacks a value whose type may have got fields at its end since it was written; they must be such that zeros mean
/// nothing there (`None`, no elements, 0), and none may have grown inside: what is missing there would be read from
/// the field after it. A value with more fields than the type has is read as far as it has them.
pub(super) fn decode_grown<T: DeserializeOwned>(packed: &[u8]) -> Result<T, Trouble> {
    let mut bytes = unpack(packed)?;
    // Damage was seen while unpacking, so what is missing was never there. One field is one zero byte.
    bytes.extend([0; 16]);
    postcard::from_bytes(&bytes).map_err(|error| Trouble::Decode(error.into()))
}

/// Packs bytes.
pub(super) fn pack(bytes: &[u8]) -> Result<Vec<u8>, Trouble> {
    let packed = (|| {
        let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
        compressor.set_parameter(zstd::zstd_safe::CParameter::ChecksumFlag(true))?;
        compressor.compress(bytes)
    })();
    packed.map_err(|error: std::io::Error| Trouble::Encode(error.into()))
}

/// Unpacks bytes; refuses more than the limit.
pub(super) fn unpack(packed: &[u8]) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    let read = zstd::stream::Decoder::new(packed)
        .and_then(|decoder| decoder.take(VALUE_LIMIT + 1).read_to_end(&mut bytes))
        .map_err(|error| Trouble::Decode(error.into()))?;
    if read as u64 > VALUE_LIMIT {
        return Err(Trouble::Decode(format!("a value of more than {VALUE_LIMIT} bytes").into()));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_from_before_a_field_and_one_from_after_it_are_read() {
        type Before = (u32, String);
        type After = (u32, String, Vec<u8>, Option<String>);
        let before: Before = (7, "x".to_owned());
        let packed = encode(&before).expect("packs");
        assert_eq!(decode_grown::<After>(&packed).expect("reads"), (7, "x".to_owned(), vec![], None));
        let after: After = (7, "x".to_owned(), vec![1], Some("y".to_owned()));
        let packed = encode(&after).expect("packs");
        assert_eq!(decode_grown::<After>(&packed).expect("reads"), after);
        assert_eq!(decode::<Before>(&packed).expect("reads"), before);
    }

    #[test]
    fn a_flipped_bit_in_a_value_is_seen() {
        let bytes: Vec<u8> = (0..2_000_u32).flat_map(|n| (n * n).to_le_bytes()).collect();
        let packed = pack(&bytes).expect("packs");
        assert_eq!(unpack(&packed).expect("unpacks"), bytes);
        for at in (0..packed.len()).step_by(97) {
            let mut damaged = packed.clone();
            damaged[at] ^= 0x10;
            assert!(unpack(&damaged).map_or(true, |got| got == bytes), "byte {at}");
        }
        assert!(matches!(unpack(&packed[..packed.len() / 2]), Err(Trouble::Decode(_))));
    }
}
