//! A running hash of the incident actions: two runs that told people the same things have the same digest.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::action::IncidentAction;

/// SHA-256 over (digest before, step, time, key, revision, facts) of every action, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Digest([u8; 32]);

impl Digest {
    pub(super) fn add(&mut self, action: &IncidentAction) {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(action.step.as_str().as_bytes());
        hash.update(action.at.0.to_le_bytes());
        hash.update(action.incident.key.as_bytes());
        hash.update(action.revision.to_le_bytes());
        // The facts as people read them; floats are printed the same way on every run of one build.
        hash.update(action.description.as_bytes());
        self.0 = hash.finalize().into();
    }

    /// 64 hex digits.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
