//! `proxies`: networks of the company's own proxies and gateways, whose hops are not the client's.

use serde::{Deserialize, Deserializer};

use crate::classify::Network;

/// The most networks.
const MOST: usize = 1_000;

/// The list `proxies`, of a bounded length.
pub(super) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Network>, D::Error> {
    let networks = Option::<Vec<Network>>::deserialize(deserializer)?.unwrap_or_default();
    if networks.len() > MOST {
        return Err(serde::de::Error::custom(format!("more than {MOST} networks (write larger ones)")));
    }
    Ok(networks)
}
