//! What is forwarded to a SIEM, and the receivers of it: events of the log with our reading, and steps of incidents.
//!
//! Every record has a stable id: a receiver may get it more than once, always under that id.

pub mod syslog;

use smol_str::SmolStr;

use crate::action::IncidentAction;
use crate::event::{AuthEvent, Org, Posture, SourceName, Timestamp};

/// One thing to forward, as the queue holds it.
#[derive(Clone, PartialEq, Debug)]
pub struct Forwarded {
    /// Stable: the same thing has the same id however often it is sent.
    pub id: SmolStr,
    /// The org.
    pub org: Org,
    /// Where the event came from; for a finding, the word `authwatch`.
    pub source: SourceName,
    /// When we had it, host clock.
    pub received: Timestamp,
    /// What it is.
    pub what: What,
}

/// What is forwarded.
#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// An event of the log.
    Event {
        /// As we read it.
        event: Box<AuthEvent>,
        /// What the policies in force made of it.
        posture: Option<Posture>,
        /// The record as it came, JSON.
        raw: Option<Box<str>>,
    },
    /// A step of an incident.
    Finding(Box<IncidentAction>),
}
