//! Who and what: newtypes for the ids that the core keys its state by.
//!
//! Every identity that leaves an org's own state starts with the [`Org`] (invariant 11).

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use super::Timestamp;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(SmolStr);

        impl $name {
            /// Wraps the id as written.
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(SmolStr::new(text))
            }

            /// The id as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id! {
    /// The label of one Okta org; the first part of every identity.
    Org
}
text_id! {
    /// Okta's opaque id of a person (`00u…`); never an address or a login name.
    Person
}
text_id! {
    /// One authentication flow: `authnRequestId`, else `transaction.id`.
    Flow
}
text_id! {
    /// The name of a configured source, unique within the process (`okta:acme`).
    SourceName
}

impl Person {
    /// A fixed 64-bit hash for sets of people; the same on every machine and in every release.
    pub fn hash64(&self) -> u64 {
        const SEED: u64 = 0x6175_7468_7761_7463;
        xxh3_64_with_seed(self.as_str().as_bytes(), SEED)
    }
}

/// What makes a record the same record: org, `uuid`, `published` (where it can be read) and `eventType`, hashed to 128
/// bits. Without a `uuid`, the hash of the record's content (invariant 5).
///
/// With n ids remembered, a new event is taken for a duplicate with probability n/2^128.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct EventId(pub u128);

impl EventId {
    /// The id of a record that carries a `uuid` (compared without regard to case). `published` is the record's own
    /// time: that of an envelope may differ when the record comes again.
    pub fn from_uuid(org: &Org, uuid: &str, published: Option<Timestamp>, event_type: &str) -> Self {
        let mut hash = Xxh3::new();
        for part in [org.as_str().as_bytes(), uuid.to_ascii_lowercase().as_bytes(), event_type.as_bytes()] {
            hash.update(part);
            hash.update(&[0]);
        }
        if let Some(published) = published {
            hash.update(&published.0.to_le_bytes());
        }
        Self(hash.digest128())
    }

    /// The id of a record without a `uuid`, from its whole text.
    pub fn from_content(org: &Org, content: &[u8]) -> Self {
        let mut hash = Xxh3::new();
        hash.update(org.as_str().as_bytes());
        hash.update(&[1]);
        hash.update(content);
        Self(hash.digest128())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_uuid_in_another_org_time_or_type_is_another_event() {
        let id = |org: &str, uuid: &str, time: Option<i64>, kind: &str| {
            EventId::from_uuid(&Org::new(org), uuid, time.map(Timestamp), kind)
        };
        let base = id("acme", "AB-1", Some(7), "user.session.start");
        assert_eq!(base, id("acme", "ab-1", Some(7), "user.session.start"));
        for other in [
            id("beta", "ab-1", Some(7), "user.session.start"),
            id("acme", "ab-1", Some(8), "user.session.start"),
            id("acme", "ab-1", None, "user.session.start"),
            id("acme", "ab-1", Some(7), "user.session.end"),
        ] {
            assert_ne!(base, other);
        }
        let undated = id("acme", "AB-1", None, "user.session.start");
        assert_eq!(undated, id("acme", "ab-1", None, "user.session.start"));
        assert_ne!(undated, id("acme", "ab-2", None, "user.session.start"));
    }
}
