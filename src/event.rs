//! The language of the pipeline: one decoded, classified record of a sign-in log.
//!
//! Everything here is a plain value with closed vocabularies; nothing reads a clock or does I/O. An [`AuthEvent`] is
//! compact and owned: it is what the journal stores and what the core folds. Okta's own wording stays only where a
//! person needs it (`event_type`, `okta_outcome`).

mod auth_event;
mod identity;
mod network;
mod posture;
mod reject;
mod timestamp;
mod vocabulary;

pub use auth_event::{App, AuthEvent, Change, Context, PolicyRule};
pub use identity::{EventId, Flow, Org, Person, SourceName};
pub use network::Network;
pub use posture::{Check, CheckVerdict, DeviceSignals, Posture, PostureCheck, PostureSource};
pub use reject::Reject;
pub use timestamp::{Span, Timestamp};
pub(crate) use vocabulary::vocabulary;
pub use vocabulary::{Credential, Kind, Outcome, Part, Platform, Reason, Risk};
