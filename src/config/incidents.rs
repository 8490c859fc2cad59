//! `incidents`: the life cycle of an incident.

use serde::Deserialize;

use crate::duration;
use crate::event::Span;
use crate::input::{CoreConfig, IncidentConfig};

/// The section `incidents`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Incidents {
    /// How long all must be calm before an incident resolves; 30 min by default. Shorter closes sooner and reopens
    /// more often.
    #[serde(deserialize_with = "duration::deserialize")]
    pub hold_down: Span,
    /// A relapse within this time after resolution reopens the incident; 2 h by default, `0s` always opens a new one.
    #[serde(deserialize_with = "duration::deserialize")]
    pub reopen_window: Span,
    /// The least time between two updates of one incident; 5 min by default.
    #[serde(deserialize_with = "duration::deserialize")]
    pub update_interval: Span,
    /// Nobody is told anything while the data is further behind than this; 15 min by default.
    #[serde(deserialize_with = "duration::deserialize")]
    pub catch_up: Span,
}

impl Default for Incidents {
    fn default() -> Self {
        let IncidentConfig { hold_down, reopen_window, update_interval, catch_up } = CoreConfig::default().incident;
        Self { hold_down, reopen_window, update_interval, catch_up }
    }
}

impl From<&Incidents> for IncidentConfig {
    fn from(incidents: &Incidents) -> Self {
        let &Incidents { hold_down, reopen_window, update_interval, catch_up } = incidents;
        Self { hold_down, reopen_window, update_interval, catch_up }
    }
}
