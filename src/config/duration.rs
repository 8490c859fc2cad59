//! Durations with their unit: `500ms`, `10s`, `5m`, `24h`, `7d`.
//!
//! Use as `#[serde(deserialize_with = "duration::deserialize")]` for a [`Duration`] and `deserialize_span` for a
//! [`Span`] of event time. A number without a unit is refused: nobody remembers which one was meant.

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use thiserror::Error;

use crate::event::Span;

/// The longest duration that is meant by anybody: ten years.
const MAX: Duration = Duration::from_secs(3_650 * 86_400);

/// Why a text is no duration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum DurationError {
    /// No number, or no known unit.
    #[error("expected a whole number with a unit (as `500ms`, `10s`, `5m`, `24h` or `7d`)")]
    Form,
    /// Longer than ten years.
    #[error("longer than ten years (`3650d`)")]
    TooLong,
}

/// Reads a duration.
///
/// # Errors
/// Where the text is not a whole number followed by `ms`, `s`, `m`, `h` or `d`, or is longer than ten years.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or(DurationError::Form)?;
    let (number, unit) = text.split_at(unit_at);
    let millis: u64 = match unit.trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(DurationError::Form),
    };
    if number.is_empty() {
        return Err(DurationError::Form);
    }
    let number: u64 = number.parse().map_err(|_| DurationError::TooLong)?;
    let duration = Duration::from_millis(number.checked_mul(millis).ok_or(DurationError::TooLong)?);
    if duration > MAX { Err(DurationError::TooLong) } else { Ok(duration) }
}

/// For `#[serde(deserialize_with)]` on a [`Duration`].
///
/// # Errors
/// As [`parse`].
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(serde::de::Error::custom)
}

/// For `#[serde(deserialize_with)]` on a [`Span`] of event time.
///
/// # Errors
/// As [`parse`].
pub fn deserialize_span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    // Ten years of milliseconds are far below the limit of an i64.
    deserialize(deserializer).map(|duration| Span(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read() {
        for (text, millis) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("5m", 300_000),
            ("5min", 300_000),
            ("24h", 86_400_000),
            ("7d", 604_800_000),
            ("0s", 0),
            (" 2 h ", 7_200_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_by_kind() {
        for text in ["", "s", "10", "-1s", "1.5h", "1h30m", "10 parsecs", "10S"] {
            assert_eq!(parse(text), Err(DurationError::Form), "{text}");
        }
        for text in ["3651d", "99999999999999999999s", "18446744073709551615h"] {
            assert_eq!(parse(text), Err(DurationError::TooLong), "{text}");
        }
        assert!(parse("3650d").is_ok());
    }
}
