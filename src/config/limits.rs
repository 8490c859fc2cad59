//! `limits`: the bounds of what is held in memory, counted in `authwatch_limit_reached_total`, and of the queue on disk.

use serde::Deserialize;

use super::number;
use crate::input::{self, CoreConfig};

/// The section `limits`; all of them per org, but for the queue.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Series; 2,000 by default. The rest fold into `other`.
    #[serde(deserialize_with = "number::from_one")]
    pub series: u32,
    /// Open attempts; 100,000 by default. The oldest closes first.
    #[serde(deserialize_with = "number::from_one")]
    pub attempts: u32,
    /// Event ids remembered, to know a duplicate; 4,000,000 by default (about 100 MB).
    #[serde(deserialize_with = "number::from_one")]
    pub dedupe: u32,
    /// Steps that wait for the watermark; 200,000 by default. At the limit the oldest is judged early.
    #[serde(deserialize_with = "number::from_one")]
    pub waiting: u32,
    /// Bytes on disk of what is still to be forwarded, packed; 1 GiB by default. Beyond it the oldest is dropped.
    #[serde(deserialize_with = "number::bytes")]
    pub queue_bytes: u64,
}

/// What [`Limits::queue_bytes`] is unless told otherwise.
const QUEUE_BYTES: u64 = 1 << 30;

impl Default for Limits {
    fn default() -> Self {
        let input::Limits { series, attempts, dedupe, waiting } = CoreConfig::default().limits;
        Self { series, attempts, dedupe, waiting, queue_bytes: QUEUE_BYTES }
    }
}

impl From<&Limits> for input::Limits {
    fn from(limits: &Limits) -> Self {
        let &Limits { series, attempts, dedupe, waiting, queue_bytes: _ } = limits;
        Self { series, attempts, dedupe, waiting }
    }
}
