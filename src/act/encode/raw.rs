//! The record as it came, with our reading beside its members under `authwatch`. A finding has only that.

use serde_json::{Map, Value};

use super::super::forward::{Forwarded, What};
use super::{reading, record_of};

/// What a short form keeps beside `authwatch`, in this order of what goes first.
pub(in crate::act) const DROPPED: [&str; 10] = [
    "/debugContext",
    "/request",
    "/securityContext",
    "/authenticationContext",
    "/device",
    "/client",
    "/target",
    "/actor",
    "/authwatch/finding/evidence",
    "/authwatch/finding/description",
];

/// One record as JSON.
pub fn encode(forwarded: &Forwarded) -> Value {
    let mut record = match &forwarded.what {
        What::Event { event, raw, .. } => record_of(event, raw.as_deref()).into_map(),
        What::Finding(_) => Map::new(),
    };
    // A record may not speak for us.
    record.retain(|name, _| !name.eq_ignore_ascii_case("authwatch"));
    record.insert("authwatch".to_owned(), reading::reading(forwarded));
    Value::Object(record)
}
