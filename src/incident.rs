//! Incidents: one cause, from first verdict to recovery, with one ticket.
//!
//! `pending → open → recovering → resolved → (reopened)`. A judge's verdict opens; series that fire for the same people
//! join as parts; when every part is calm for the hold-down it resolves. What people are told is reconciled with what
//! is true at every tick ([`lifecycle`]), so that notifications held during catch-up need no queue of their own.
//! Nothing here knows of sinks: the text and the facts leave as an [`crate::action::IncidentAction`].

pub mod alarm;
mod facts;
pub mod lifecycle;
mod narrative;
mod refusals;

pub use lifecycle::{Firing, Incidents, Moment, Mood};
pub use refusals::{Refusal, RefusalLog};
