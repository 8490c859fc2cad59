//! One record of a topic, read into inputs while its bytes are at hand.

use rdkafka::Message;

use super::rejects::Rejected;
use crate::event::{AuthEvent, Reject, SourceName, Timestamp};
use crate::input::Input;
use crate::source::{ReadRecord, Texts};
use crate::telemetry::metric::Metric;

/// What a record became.
#[derive(Debug)]
pub(super) struct Record {
    /// The offset after it.
    pub(super) next: i64,
    /// Its events and rejects, in order; none for a tombstone.
    pub(super) inputs: Vec<Input>,
    /// The texts of those that are wanted whole.
    pub(super) texts: Texts,
    /// The newest `published` of its events.
    pub(super) newest: Option<Timestamp>,
    /// The record itself, where it is to be copied.
    pub(super) rejected: Option<Rejected>,
}

impl Record {
    /// Reads a record; with `keep` one that holds a reject is kept as it came.
    pub(super) fn read(message: &impl Message, source: &SourceName, read: &ReadRecord, keep: bool) -> Self {
        let next = message.offset() + 1;
        let mut record = Self { next, inputs: Vec::new(), texts: Texts::new(), newest: None, rejected: None };
        let Some(value) = message.payload().filter(|value| !value.is_empty()) else {
            Metric::KafkaTombstones.counter(&[source.as_str()]).increment(1);
            return record;
        };
        let mut first = None;
        let mut each = |read: Result<AuthEvent, Reject>, text: Option<Box<str>>| {
            let source = source.clone();
            record.texts.extend(text.map(|text| (record.inputs.len(), text)));
            record.inputs.push(match read {
                Ok(event) => {
                    record.newest = record.newest.max(event.published);
                    Input::Event { source, event: Box::new(event) }
                }
                Err(reason) => {
                    first.get_or_insert(reason);
                    Input::Reject { source, reason }
                }
            });
        };
        read(without_schema_id(value), &mut each);
        if let Some(reason) = first.filter(|_| keep) {
            let key = message.key().map(<[u8]>::to_vec);
            record.rejected = Some(Rejected { reason, key, value: value.to_vec() });
        }
        record
    }
}

/// The JSON of a value that a schema registry's serializer framed: a zero byte and the schema's id in four more.
fn without_schema_id(value: &[u8]) -> &[u8] {
    match value {
        [0, _, _, _, _, json @ ..] if matches!(json.trim_ascii_start().first(), Some(b'{' | b'[')) => json,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_frame_of_a_schema_registry_is_taken_off() {
        for (value, expect) in [
            (&b"\0\0\0\0\x07{\"a\":1}"[..], &b"{\"a\":1}"[..]),
            (b"\0\0\0\0\x07 [1]", b" [1]"),
            (b"{\"a\":1}", b"{\"a\":1}"),
            (b"\0\0\0\0\x07avro", b"\0\0\0\0\x07avro"),
            (b"\0\0\0\0", b"\0\0\0\0"),
            (b"", b""),
        ] {
            assert_eq!(without_schema_id(value), expect);
        }
    }
}
