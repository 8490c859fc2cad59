//! Forwarding to a SIEM: every refusal, every policy change, every detection, at least once and under a stable id.
//!
//! What is forwarded is one durable queue for all sinks, filled in the transaction that stores the position (invariant
//! 3). Each sink has a worker and a durable place of its own in the queue, apart from those that tell about incidents.

pub use crate::action::{Forwarded, Topics, What};
