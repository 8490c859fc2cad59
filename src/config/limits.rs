//! `limits`: the bounds of what is held in memory. Reaching one is counted in `authwatch_limit_reached_total`.

use serde::Deserialize;

use super::number;
use crate::input::{self, CoreConfig};

/// The section `limits`; all of them per org.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Series; 10,000 by default. The rest fold into `other`.
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
}

impl Default for Limits {
    fn default() -> Self {
        let input::Limits { series, attempts, dedupe, waiting } = CoreConfig::default().limits;
        Self { series, attempts, dedupe, waiting }
    }
}

impl From<&Limits> for input::Limits {
    fn from(limits: &Limits) -> Self {
        let &Limits { series, attempts, dedupe, waiting } = limits;
        Self { series, attempts, dedupe, waiting }
    }
}
