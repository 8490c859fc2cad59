//! What a series is about: one level, and up to two values.

use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// Which dimensions a series fixes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The whole org.
    Org,
    /// One app.
    App,
    /// One policy rule, as named by refusals.
    Rule,
    /// One platform.
    Platform,
    /// One cohort.
    Cohort,
    /// One credential; published, not judged: a refusal is not a credential's fault.
    Credential,
    /// One app on one platform.
    AppPlatform,
    /// One cohort in one app.
    CohortApp,
}

impl Level {
    /// Every level.
    pub const ALL: [Self; 8] = [
        Self::Org,
        Self::App,
        Self::Rule,
        Self::Platform,
        Self::Cohort,
        Self::Credential,
        Self::AppPlatform,
        Self::CohortApp,
    ];

    /// Whether the judge looks at series of this level.
    pub const fn is_judged(self) -> bool {
        !matches!(self, Self::Credential)
    }

    /// The names of the dimensions, in the order of the key's values.
    pub const fn dimensions(self) -> &'static [&'static str] {
        match self {
            Self::Org => &[],
            Self::App => &["app"],
            Self::Rule => &["rule"],
            Self::Platform => &["platform"],
            Self::Cohort => &["cohort"],
            Self::Credential => &["credential"],
            Self::AppPlatform => &["app", "platform"],
            Self::CohortApp => &["cohort", "app"],
        }
    }
}

/// One series within an org. Values are ids or words as the log has them; [`SeriesKey::OTHER`] collects what is over
/// the cap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct SeriesKey {
    /// The level.
    pub level: Level,
    /// The values, in the order of [`Level::dimensions`]; unused ones are empty.
    pub values: [SmolStr; 2],
}

impl SeriesKey {
    /// The value of a series that stands for all that had no room.
    pub const OTHER: &'static str = "other";

    /// The org's own series.
    pub fn org() -> Self {
        Self { level: Level::Org, values: [SmolStr::default(), SmolStr::default()] }
    }

    /// A series with one value.
    pub fn one(level: Level, value: &str) -> Self {
        Self { level, values: [SmolStr::new(value), SmolStr::default()] }
    }

    /// A series with two values.
    pub fn two(level: Level, first: &str, second: &str) -> Self {
        Self { level, values: [SmolStr::new(first), SmolStr::new(second)] }
    }

    /// The series of the same level that collects what had no room.
    pub fn other(level: Level) -> Self {
        match level.dimensions().len() {
            0 => Self::org(),
            1 => Self::one(level, Self::OTHER),
            _ => Self::two(level, Self::OTHER, Self::OTHER),
        }
    }
}

impl fmt::Display for SeriesKey {
    /// `org`, `app=0oa…`, `cohort=pilot,app=0oa…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.level == Level::Org {
            return f.write_str("org");
        }
        for (n, (name, value)) in self.level.dimensions().iter().zip(&self.values).enumerate() {
            write!(f, "{}{name}={value}", if n > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_as_its_dimensions() {
        assert_eq!(SeriesKey::org().to_string(), "org");
        assert_eq!(SeriesKey::two(Level::CohortApp, "pilot", "0oa1").to_string(), "cohort=pilot,app=0oa1");
        assert_eq!(SeriesKey::other(Level::App).to_string(), "app=other");
    }
}
