//! Windows over event time: rings of buckets, sets of people, latency histograms, and the keys they are kept under.
//!
//! Every type is a commutative monoid under [`Merge`] (invariant 9): parts built on different machines combine into
//! what one machine would have built. Nothing here knows of judges or incidents.

mod distinct;
mod key;
mod last_seen;
mod latency;
mod ring;

pub use distinct::Distinct;
pub use key::{Level, SeriesKey};
pub use last_seen::LastSeen;
pub use latency::Latency;
pub use ring::Ring;

use serde::{Deserialize, Serialize};

/// A commutative, associative combination with `Default` as its neutral element.
pub trait Merge: Default {
    /// Folds `other` into `self`.
    fn merge(&mut self, other: &Self);
}

/// Attempts in a bucket by how they ended; abandoned ones are neither good nor bad and are not in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Ended well; a phishing attempt declined by FastPass is a good refusal and is counted here.
    pub succeeded: u32,
    /// Refused by a policy.
    pub denied: u32,
    /// Failed otherwise: a wrong code, a lock-out.
    pub failed: u32,
}

impl Tally {
    /// All attempts of the bucket.
    pub const fn all(self) -> u32 {
        self.succeeded + self.denied + self.failed
    }
}

impl Merge for Tally {
    fn merge(&mut self, other: &Self) {
        self.succeeded = self.succeeded.saturating_add(other.succeeded);
        self.denied = self.denied.saturating_add(other.denied);
        self.failed = self.failed.saturating_add(other.failed);
    }
}

/// Good and bad events of a bucket: the order-free ratio.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GoodBad {
    /// Completed sign-ins.
    pub good: u32,
    /// Refusals and failures.
    pub bad: u32,
}

impl Merge for GoodBad {
    fn merge(&mut self, other: &Self) {
        self.good = self.good.saturating_add(other.good);
        self.bad = self.bad.saturating_add(other.bad);
    }
}
