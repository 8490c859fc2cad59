//! Events to attempts: all events of one (person or none, flow) are one try to sign in, with one verdict.
//!
//! The verdict exists from the first terminal event and is provisional until ten minutes pass without an event; the
//! latest terminal event wins, so a mistyped code followed by a success is a success, and a FastPass success inside a
//! flow that a policy ends with DENY is a denial. A policy's ALLOW and an app reached are weak: they decide only where
//! nothing else does. Which event is terminal: the fact sheet's section 5.2 (flow ratio).

mod ended;
mod signal;
mod table;

pub use signal::{Circumstances, Signal, Step, Trace};
pub use table::{Attempts, Closed, Decision, Known, Outside, QUIET, Standing};

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

/// How a person came to be asked, as far as the flow's events show.
///
/// Okta lets a person with a session into further apps without a credential, or asks for one again where an app
/// demands it (the fact sheet's section 5.2). Each is an attempt of its own; they are counted apart, and only those with
/// a credential have a duration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A session began.
    SignIn,
    /// A credential was used and no session began: there was one.
    Reauthentication,
    /// Neither: a policy was evaluated for a person with a session.
    Session,
}

impl Entry {
    /// The word in JSON and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::Reauthentication => "reauthentication",
            Self::Session => "session",
        }
    }
}
