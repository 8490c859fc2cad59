//! Event time in milliseconds, and spans of it.

use std::fmt;
use std::ops::{Add, Sub};

use chrono::{DateTime, SecondsFormat, TimeZone, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant of event time: milliseconds since 1970-01-01T00:00:00Z.
///
/// JSON shows RFC 3339 in UTC with milliseconds; the journal stores the number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(pub i64);

/// A length of event time in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Span(pub i64);

impl Span {
    /// A span of whole seconds.
    pub const fn seconds(seconds: i64) -> Self {
        Self(seconds * 1_000)
    }

    /// A span of whole minutes.
    pub const fn minutes(minutes: i64) -> Self {
        Self::seconds(minutes * 60)
    }

    /// A span of whole hours.
    pub const fn hours(hours: i64) -> Self {
        Self::minutes(hours * 60)
    }

    /// The span in seconds, with its fraction.
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1_000.0
    }
}

impl Timestamp {
    /// Before every event that a log can hold.
    pub const MIN: Self = Self(i64::MIN / 4);

    /// Reads RFC 3339, and the looser forms that log pipelines write: a space for the `T`, no zone (taken as UTC),
    /// any number of fraction digits. `None` where the text is no time.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Some(Self(time.timestamp_millis()));
        }
        ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"].iter().find_map(|form| {
            let bare = text.strip_suffix('Z').unwrap_or(text);
            let time = chrono::NaiveDateTime::parse_from_str(bare, form).ok()?;
            Some(Self(time.and_utc().timestamp_millis()))
        })
    }

    /// The largest multiple of `step` since the epoch that is not after this instant.
    pub const fn floor(self, step: Span) -> Self {
        Self(self.0.div_euclid(step.0) * step.0)
    }

    /// The number of whole `step`s since the epoch.
    pub const fn index(self, step: Span) -> i64 {
        self.0.div_euclid(step.0)
    }

    /// This instant for a calendar; clamped to what chrono can hold.
    pub fn to_utc(self) -> DateTime<Utc> {
        Utc.timestamp_millis_opt(self.0).single().unwrap_or(DateTime::UNIX_EPOCH)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_utc().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Add<Span> for Timestamp {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Timestamp {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Sub for Timestamp {
    type Output = Span;
    fn sub(self, other: Self) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return i64::deserialize(deserializer).map(Self);
        }
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no RFC 3339 time")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<&str>) {
        assert_eq!(Timestamp::parse(text).map(|time| time.to_string()).as_deref(), expect, "{text}");
    }

    #[test]
    fn every_form_seen_in_the_wild_is_read() {
        check("2024-07-03T09:19:59.973Z", Some("2024-07-03T09:19:59.973Z"));
        check("2024-07-03T09:19:59Z", Some("2024-07-03T09:19:59.000Z"));
        check("2024-07-03T11:19:59.973123+02:00", Some("2024-07-03T09:19:59.973Z"));
        check("2022-06-22 18:18:29.015", Some("2022-06-22T18:18:29.015Z"));
        check("2022-06-22 18:18:29.015000000", Some("2022-06-22T18:18:29.015Z"));
        check("2022-06-22T18:18:29", Some("2022-06-22T18:18:29.000Z"));
        check("redacted", None);
        check("", None);
    }

    #[test]
    fn floor_goes_down_before_the_epoch_too() {
        assert_eq!(Timestamp(-1).floor(Span::seconds(5)), Timestamp(-5_000));
        assert_eq!(Timestamp(9_999).floor(Span::seconds(5)), Timestamp(5_000));
    }
}
