//! The shapes in which an event or a finding leaves for a SIEM. Every encoder is a pure function.
//!
//! [`raw`] is the record as it came with our reading beside it, [`ecs`] the fields of Elastic's Okta integration,
//! [`ocsf`] classes of the Open Cybersecurity Schema Framework, [`cef`] one line of the Common Event Format. What none
//! of them may say, [`redact`] takes out of the record before any of them reads it (invariant 8). A record that is no
//! JSON object is left out; our reading of it still goes.

pub mod cef;
pub mod ecs;
pub mod ocsf;
pub mod raw;
mod reading;
mod record;
pub mod redact;
mod shorten;

use super::forward::{Forwarded, What};
use crate::action::{IncidentAction, IncidentStep, Severity};
use crate::event::{AuthEvent, Kind, Outcome, Reason, Timestamp};
use record::Record;
pub use shorten::shorten;

/// How much a record matters, the same in every shape.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Nothing went wrong.
    Info,
    /// A person failed to sign in.
    Low,
    /// A policy refused, or somebody changed one.
    Medium,
    /// A hostile act, or an incident that pages.
    High,
}

impl Level {
    /// The level of a record.
    pub fn of(forwarded: &Forwarded) -> Self {
        match &forwarded.what {
            What::Event { event, .. } => Self::of_event(event),
            What::Finding(action) => Self::of_finding(action),
        }
    }

    fn of_event(event: &AuthEvent) -> Self {
        if event.reason == Reason::PhishingDeclined || event.kind == Kind::Threat {
            return Self::High;
        }
        let is_change = matches!(
            event.kind,
            Kind::PolicyChange
                | Kind::AssuranceChange
                | Kind::AuthenticatorChange
                | Kind::IntegrationChange
                | Kind::AdminChange
        );
        match event.outcome {
            Outcome::Deny => Self::Medium,
            _ if is_change => Self::Medium,
            Outcome::Failure | Outcome::RateLimited => Self::Low,
            _ => Self::Info,
        }
    }

    fn of_finding(action: &IncidentAction) -> Self {
        match (action.step, action.incident.severity) {
            (IncidentStep::Resolve, _) => Self::Info,
            (_, Severity::Ticket) => Self::Medium,
            (_, Severity::Page) => Self::High,
        }
    }
}

/// When it happened; when we had it where the record does not say.
pub fn time(forwarded: &Forwarded) -> Timestamp {
    match &forwarded.what {
        What::Event { event, .. } => event.published.unwrap_or(forwarded.received),
        What::Finding(action) => action.at,
    }
}

/// The record of an event without what may not leave.
fn record_of(event: &AuthEvent, raw: Option<&str>) -> Record {
    Record::new(raw.and_then(|raw| redact::record(event, raw)).unwrap_or_default())
}

#[cfg(test)]
mod testing;
