//! The service-level objectives that the core holds sign-in to, as typed values.
//!
//! Where they are written is no concern of this file; what cannot hold (a target that no alert could reach) was refused
//! by whoever read them.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::event::{Credential, Platform, Reason, Span};

/// One objective.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Slo {
    /// Unique among the objectives; a label of metrics.
    pub name: SmolStr,
    /// What people call it.
    pub title: String,
    /// What it promises, in words.
    pub description: String,
    /// The share that is to be good, above 0 and below 1.
    pub target: f64,
    /// The rolling period in days: 28 or 30.
    pub days: u8,
    /// What is measured.
    pub indicator: Indicator,
    /// Up to what it alerts.
    pub alerts: Alerts,
    /// The fewest bad ones in the long window of a pair that can alert.
    pub min_bad: u32,
    /// What to do when it alerts.
    pub triage: String,
    /// When an alert of it means nothing.
    pub false_positives: String,
}

impl Slo {
    /// The rolling period.
    pub const fn period(&self) -> Span {
        Span::hours(24 * self.days as i64)
    }

    /// The share that may be bad.
    pub fn allowed(&self) -> f64 {
        1.0 - self.target
    }
}

/// How loud an objective may become.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alerts {
    /// Its budget is counted and nobody is told.
    None,
    /// Only the two slow pairs.
    Ticket,
    /// All four pairs.
    Page,
}

/// What is measured: what counts at all, and which of that is bad.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Indicator {
    /// Deciding events, in whatever order they come.
    Events {
        /// Which.
        scope: Scope,
        /// Which of them are bad.
        bad: Endings,
    },
    /// Attempts by their verdict, provisional ones too.
    Attempts {
        /// Which.
        scope: Scope,
        /// Which of them are bad.
        bad: Endings,
    },
    /// Successful sign-ins with a credential: from the first event to the verdict.
    Duration {
        /// Which.
        scope: Scope,
        /// Up to this long is good.
        within: Span,
    },
    /// Minutes of the source's clock, by how far the watermark was behind it.
    Lag {
        /// Up to this far is good.
        within: Span,
    },
}

impl Indicator {
    /// The word in JSON and docs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Events { .. } => "events",
            Self::Attempts { .. } => "attempts",
            Self::Duration { .. } => "duration",
            Self::Lag { .. } => "lag",
        }
    }
}

/// Endings that are bad. Success and a phishing attempt declined by FastPass are good; what is in neither set does not
/// count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Endings {
    /// A policy refused it.
    pub denied: bool,
    /// A credential failed.
    pub failed: bool,
    /// The person walked away.
    pub abandoned: bool,
}

/// Which sign-ins count; an empty list is all.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Scope {
    /// By the credential that decided.
    pub credentials: Vec<Credential>,
    /// By platform.
    pub platforms: Vec<Platform>,
    /// By app: id or name.
    pub apps: Vec<SmolStr>,
    /// By cohort; attempts and durations only.
    pub cohorts: Vec<SmolStr>,
    /// Bad endings with one of these reasons count neither way: they are not the service's.
    pub except_reasons: Vec<Reason>,
}
