//! Numbers with bounds, for `#[serde(deserialize_with)]`.

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// A whole number from 1.
pub(super) fn from_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        0 => Err(D::Error::custom("must be at least 1")),
        number => Ok(number),
    }
}

/// A share between 0 and 1, both excluded.
pub(super) fn inner_share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let number = f64::deserialize(deserializer)?;
    if number > 0.0 && number < 1.0 {
        Ok(number)
    } else {
        Err(D::Error::custom("must be more than 0 and less than 1 (a share: `0.01` is 1 %)"))
    }
}
