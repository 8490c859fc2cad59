//! Durations as people write them in a configuration or on a command line: `500ms`, `5s`, `40m`, `24h`, `7d`, `2w`,
//! and sums of these such as `1h30m`.
//!
//! A number without a unit is refused: whether it means seconds or minutes would be a guess. Zero is a duration; what
//! must not be zero says so with [`bounded`]. Nothing is longer than ten years, so that sums with a time stay far from
//! the end of their type.

use std::fmt;
use std::time::Duration;

use serde::{Deserializer, de};
use thiserror::Error;

use crate::event::Span;

/// The units that are read, longest first, with their length in milliseconds.
const UNITS: [(&str, i64); 6] =
    [("w", 7 * 86_400_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The longest duration that is meant by anybody: ten years.
pub const MAX: Span = Span::hours(24 * 3_650);

/// Why a text is no duration.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum DurationError {
    /// Nothing there.
    #[error("an empty duration (write one such as `24h`)")]
    Empty,
    /// A number with nothing behind it.
    #[error("duration `{0}` has no unit (add one of ms, s, m, h, d, w)")]
    NoUnit(String),
    /// A unit that is not in the list.
    #[error("duration `{0}` has an unknown unit (use ms, s, m, h, d, w)")]
    UnknownUnit(String),
    /// No number where one should stand.
    #[error("duration `{0}` is not a whole number with a unit (write one such as `24h`)")]
    NoNumber(String),
    /// Longer than [`MAX`].
    #[error("duration `{0}` is longer than ten years (`3650d`)")]
    TooLong(String),
    /// Outside what a setting allows.
    #[error("duration `{text}` is out of range (from {least} to {most})")]
    OutOfRange {
        /// The text.
        text: String,
        /// The least allowed.
        least: String,
        /// The most allowed.
        most: String,
    },
}

/// Reads a duration.
///
/// # Errors
/// Where a number, a unit or both are missing, or the sum is longer than [`MAX`].
pub fn parse(text: &str) -> Result<Span, DurationError> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(DurationError::Empty);
    }
    let too_long = || DurationError::TooLong(text.to_owned());
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let (number, after) = split_while(rest, |c| c.is_ascii_digit());
        if number.is_empty() {
            return Err(DurationError::NoNumber(text.to_owned()));
        }
        let (unit, after) = split_while(after.trim_start(), |c| !c.is_ascii_digit() && !c.is_whitespace());
        if unit.is_empty() {
            return Err(DurationError::NoUnit(text.to_owned()));
        }
        let Some((_, length)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(DurationError::UnknownUnit(text.to_owned()));
        };
        let number: i64 = number.parse().map_err(|_| too_long())?;
        total = number.checked_mul(*length).and_then(|part| total.checked_add(part)).ok_or_else(too_long)?;
        if total > MAX.0 {
            return Err(too_long());
        }
        rest = after.trim_start();
    }
    Ok(Span(total))
}

/// The shortest text that [`parse`] reads back as the same span; a negative span reads as zero.
pub fn format(span: Span) -> String {
    let mut left = span.0.max(0);
    if left == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, length) in UNITS {
        // Weeks only where they say it all: `10d` reads better than `1w3d`.
        if left >= length && (unit != "w" || left % length == 0) {
            text.push_str(&format!("{}{unit}", left / length));
            left %= length;
        }
    }
    text
}

/// A span as the standard library's duration; a negative one is zero.
pub fn to_std(span: Span) -> Duration {
    Duration::from_millis(u64::try_from(span.0).unwrap_or(0))
}

/// For `#[serde(deserialize_with = "duration::deserialize")]` on a [`Span`].
///
/// # Errors
/// As [`parse`].
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    deserializer.deserialize_str(DurationText { least: Span(0), most: MAX })
}

/// For `#[serde(deserialize_with = "duration::deserialize_std")]` on a [`Duration`].
///
/// # Errors
/// As [`parse`].
pub fn deserialize_std<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserialize(deserializer).map(to_std)
}

/// For a setting's own `deserialize_with`: a duration from `least` to `most`, both allowed.
///
/// # Errors
/// As [`parse`], and where the duration is outside the range.
pub fn bounded<'de, D: Deserializer<'de>>(deserializer: D, least: Span, most: Span) -> Result<Span, D::Error> {
    deserializer.deserialize_str(DurationText { least, most })
}

struct DurationText {
    least: Span,
    most: Span,
}

impl de::Visitor<'_> for DurationText {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration with a unit, such as `24h`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
        let span = parse(text).map_err(E::custom)?;
        if (self.least..=self.most).contains(&span) {
            return Ok(span);
        }
        let (least, most) = (format(self.least), format(self.most));
        Err(E::custom(DurationError::OutOfRange { text: text.to_owned(), least, most }))
    }
}

fn split_while(text: &str, keep: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !keep(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Result<i64, &str>) {
        let got = parse(text).map(|span| span.0).map_err(|error| error.to_string());
        assert_eq!(got, expect.map_err(str::to_owned), "{text:?}");
    }

    #[test]
    fn every_unit_and_sums_of_them_are_read() {
        check("500ms", Ok(500));
        check("5s", Ok(5_000));
        check("40m", Ok(2_400_000));
        check("24h", Ok(86_400_000));
        check("90d", Ok(7_776_000_000));
        check("2w", Ok(1_209_600_000));
        check("1h30m", Ok(5_400_000));
        check(" 1 h  30 m ", Ok(5_400_000));
        check("0s", Ok(0));
    }

    #[test]
    fn what_would_be_a_guess_is_refused_by_name() {
        check("", Err("an empty duration (write one such as `24h`)"));
        check("5", Err("duration `5` has no unit (add one of ms, s, m, h, d, w)"));
        check("1h30", Err("duration `1h30` has no unit (add one of ms, s, m, h, d, w)"));
        check("5 parsecs", Err("duration `5 parsecs` has an unknown unit (use ms, s, m, h, d, w)"));
        check("5M", Err("duration `5M` has an unknown unit (use ms, s, m, h, d, w)"));
        check("1.5h", Err("duration `1.5h` has an unknown unit (use ms, s, m, h, d, w)"));
        check("-5s", Err("duration `-5s` is not a whole number with a unit (write one such as `24h`)"));
        check("99999999999999999999s", Err("duration `99999999999999999999s` is longer than ten years (`3650d`)"));
        check("9223372036854775807w", Err("duration `9223372036854775807w` is longer than ten years (`3650d`)"));
        check("3650d", Ok(MAX.0));
        check("3650d1ms", Err("duration `3650d1ms` is longer than ten years (`3650d`)"));
    }

    #[test]
    fn a_number_without_quotes_and_a_value_out_of_range_are_refused() {
        let read = |json: &str| {
            let mut deserializer = serde_json::Deserializer::from_str(json);
            bounded(&mut deserializer, Span::seconds(1), Span::hours(24 * 180)).map_err(|error| error.to_string())
        };
        assert_eq!(read("\"180d\""), Ok(Span::hours(24 * 180)));
        assert_eq!(read("\"1s\""), Ok(Span::seconds(1)));
        let error = read("\"181d\"").expect_err("too long");
        assert!(error.starts_with("duration `181d` is out of range (from 1s to 180d)"), "{error}");
        let error = read("24").expect_err("no text");
        assert!(error.contains("expected a duration with a unit, such as `24h`"), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in 0..=MAX.0) {
            prop_assert_eq!(parse(&format(Span(millis))), Ok(Span(millis)));
        }
    }
}
