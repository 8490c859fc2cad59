//! The shapes that a record can be sent in, by the word in the configuration.

use serde::Deserialize;
use serde_json::Value;

use super::Forwarded;
use crate::act::encode::{ecs, ocsf, raw};

/// How a record looks to the receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// The record as it came, with our reading beside it under `authwatch`.
    #[default]
    Raw,
    /// The fields of Elastic's Okta integration.
    Ecs,
    /// The Open Cybersecurity Schema Framework.
    Ocsf,
}

impl Shape {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Ecs => "ecs",
            Self::Ocsf => "ocsf",
        }
    }

    /// One record in this shape.
    pub fn encode(self, forwarded: &Forwarded) -> Value {
        match self {
            Self::Raw => raw::encode(forwarded),
            Self::Ecs => ecs::encode(forwarded),
            Self::Ocsf => ocsf::encode(forwarded),
        }
    }
}
