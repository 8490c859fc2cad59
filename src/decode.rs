//! Decoding: the bytes of one record, or of one page of the System Log API, into borrowed [`okta::LogEvent`]s.
//!
//! Pure: no I/O, no clock, no logging. It refuses to guess and to give up: a value of a foreign type reads as absent, a
//! record that is no event becomes a [`Reject`](crate::event::Reject) with a closed reason, and one bad record never
//! spoils the others. A record may be wrapped, as event hooks, EventBridge, Kafka Connect and collectors do.
//!
//! Each event is handed over while its bytes are hot; no list of events is ever built.

mod envelope;
mod lenient;
pub mod okta;
mod page;
mod scan;

pub(crate) use envelope::{Found, record};
pub(crate) use page::{Fault, page};
pub(crate) use scan::mend_surrogates;

/// Bytes of one event; a longer one is rejected as `too_large`.
pub(crate) const RECORD_BYTES: usize = 1 << 20;

/// Bytes of one text that holds several events, such as an array or an event hook's body.
pub(crate) const ENVELOPE_BYTES: usize = 64 << 20;

/// Nesting of one event; a deeper one is rejected as `too_deep`. Real events nest 7 deep.
pub(crate) const RECORD_DEPTH: usize = 64;

/// Envelopes within envelopes, for example a Kafka Connect payload that holds an event hook's body.
pub(crate) const ENVELOPE_DEPTH: usize = 4;
