//! Systems that tell people about incidents: one file per system, with its configuration.

pub mod alertmanager;
pub mod servicenow;
pub mod webhook;
