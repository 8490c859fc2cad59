//! temporary
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::{Change, Timestamp};
use crate::input::{Policies, PolicyOrigin};

/// t
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Ledger(Option<Arc<Policies>>);
/// t
pub enum Held<'a> {
    /// t
    Version(&'a Policies),
    /// t
    Pending,
    /// t
    Unknown,
    /// t
    None,
}
impl Ledger {
    /// t
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
    /// t
    pub fn read(&mut self, _: Timestamp, _: PolicyOrigin, policies: Arc<Policies>) {
        self.0 = Some(policies);
    }
    /// t
    pub fn change(&mut self, _: Timestamp, _: &Change, _: &str) {}
    /// t
    pub fn at(&self, _: Timestamp) -> Held<'_> {
        self.0.as_deref().map_or(Held::None, Held::Version)
    }
}
