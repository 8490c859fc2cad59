//! Sources: where records come from, and how far each has been read.
//!
//! A source fetches, decodes and classifies, and hands the pump [`Batch`]es in order. It never commits: a position is
//! stored in the same transaction as everything its records caused (invariant 3), and a restart begins there.

use serde::{Deserialize, Serialize};

use crate::event::{SourceName, Timestamp};
use crate::input::Input;

/// How far a source has been read; durable, opaque to all but the source itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Position {
    /// The Okta System Log.
    Okta {
        /// The `rel="next"` link to fetch next, as the server gave it.
        next: String,
        /// The newest `published` seen, for a cold restart where the link is refused.
        newest: Option<Timestamp>,
    },
    /// A set of files, read in order.
    File {
        /// How many files are done.
        files_done: u64,
        /// How many records of the current file are done.
        records_done: u64,
    },
}

/// What one fetch brought, in order.
#[derive(Debug)]
pub struct Batch {
    /// The source.
    pub source: SourceName,
    /// Progress, events and rejects, in arrival order.
    pub inputs: Vec<Input>,
    /// Where to go on once these inputs are committed; `None` leaves the position as it is.
    pub position: Option<Position>,
    /// When the reply was received, for the time to a visible metric.
    pub received: std::time::Instant,
    /// Whether more is waiting: the page was full.
    pub backlog: bool,
}
