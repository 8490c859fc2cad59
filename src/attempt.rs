//! Events to attempts: all events of one (person or none, flow) are one try to sign in, with one verdict.
//!
//! The verdict exists from the first terminal event and is provisional until ten minutes pass without an event; the
//! latest terminal event wins, so a mistyped code followed by a success is a success, and a FastPass success inside a
//! flow that a policy ends with DENY is a denial. A policy's ALLOW and an app reached are weak: they decide only where
//! nothing else does. Which event is terminal: the fact sheet's section 5.2 (flow ratio).

mod signal;
mod table;

pub use signal::{Signal, Step};
pub use table::{Attempts, Closed, Decision, QUIET, Standing};

use serde::{Deserialize, Serialize};

/// How an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The flow completed.
    Success,
    /// A policy refused it.
    Denied,
    /// A credential failed, or the account is locked.
    Failed,
    /// More was asked for and the person walked away: neither good nor bad.
    Abandoned,
    /// FastPass declined a phishing attempt: a good refusal.
    PhishDeclined,
}

impl Verdict {
    /// Every verdict, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Success, Self::Denied, Self::Failed, Self::Abandoned, Self::PhishDeclined];

    /// The word in JSON and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
            Self::PhishDeclined => "phish_declined",
        }
    }
}
