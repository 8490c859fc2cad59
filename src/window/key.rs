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
    /// One failing check.
    Check,
    /// One app on one platform.
    AppPlatform,
    /// One cohort in one app.
    CohortApp,
    /// One cohort on one platform.
    CohortPlatform,
    /// One cohort failing one check.
    CohortCheck,
    /// One platform failing one check.
    PlatformCheck,
    /// One app, one failing check.
    AppCheck,
    /// One cohort refused by one rule.
    CohortRule,
    /// One platform refused by one rule.
    PlatformRule,
}

impl Level {
    /// Every level.
    pub const ALL: [Self; 15] = [
        Self::Org,
        Self::App,
        Self::Rule,
        Self::Platform,
        Self::Cohort,
        Self::Credential,
        Self::Check,
        Self::AppPlatform,
        Self::CohortApp,
        Self::CohortPlatform,
        Self::CohortCheck,
        Self::PlatformCheck,
        Self::AppCheck,
        Self::CohortRule,
        Self::PlatformRule,
    ];

    /// Whether the judge looks at series of this level.
    pub const fn is_judged(self) -> bool {
        !matches!(self, Self::Credential)
    }

    /// Whether series of this level are published with their rates: all that have attempts of their own, and rules.
    pub const fn is_published(self) -> bool {
        !matches!(
            self,
            Self::Check
                | Self::CohortPlatform
                | Self::CohortCheck
                | Self::PlatformCheck
                | Self::AppCheck
                | Self::CohortRule
                | Self::PlatformRule
        )
    }

    /// Whether series of this level say why somebody was refused: only refusals belong to them, so their attempts are
    /// those of the nearest series that does not say it.
    pub const fn says_why(self) -> bool {
        matches!(
            self,
            Self::Check
                | Self::Rule
                | Self::CohortCheck
                | Self::PlatformCheck
                | Self::AppCheck
                | Self::CohortRule
                | Self::PlatformRule
        )
    }

    /// The levels of the one or two values that a series of this level fixes.
    pub const fn ways(self) -> &'static [Self] {
        match self {
            Self::Org => &[],
            Self::App => &[Self::App],
            Self::Rule => &[Self::Rule],
            Self::Platform => &[Self::Platform],
            Self::Cohort => &[Self::Cohort],
            Self::Credential => &[Self::Credential],
            Self::Check => &[Self::Check],
            Self::AppPlatform => &[Self::App, Self::Platform],
            Self::CohortApp => &[Self::Cohort, Self::App],
            Self::CohortPlatform => &[Self::Cohort, Self::Platform],
            Self::CohortCheck => &[Self::Cohort, Self::Check],
            Self::PlatformCheck => &[Self::Platform, Self::Check],
            Self::AppCheck => &[Self::App, Self::Check],
            Self::CohortRule => &[Self::Cohort, Self::Rule],
            Self::PlatformRule => &[Self::Platform, Self::Rule],
        }
    }

    /// The name of the dimension of a level with one value; empty for the others.
    const fn word(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Rule => "rule",
            Self::Platform => "platform",
            Self::Cohort => "cohort",
            Self::Credential => "credential",
            Self::Check => "check",
            _ => "",
        }
    }

    /// The names of the dimensions, in the order of the key's values.
    pub fn dimensions(self) -> impl Iterator<Item = &'static str> {
        self.ways().iter().map(|way| way.word())
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
        match level.ways().len() {
            0 => Self::org(),
            1 => Self::one(level, Self::OTHER),
            _ => Self::two(level, Self::OTHER, Self::OTHER),
        }
    }

    /// The values with the level of each.
    pub fn parts(&self) -> impl Iterator<Item = (Level, &SmolStr)> {
        self.level.ways().iter().copied().zip(&self.values)
    }

    /// The series that holds the attempts among which this one's refusals happen: itself, or the nearest that does not
    /// say why.
    pub fn exposure(&self) -> Self {
        if !self.level.says_why() {
            return self.clone();
        }
        match self.parts().find(|(level, _)| !level.says_why()) {
            Some((level, value)) => Self::one(level, value),
            None => Self::org(),
        }
    }
}

impl fmt::Display for SeriesKey {
    /// `org`, `app=0oa…`, `cohort=pilot,app=0oa…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.level == Level::Org {
            return f.write_str("org");
        }
        for (n, (name, value)) in self.level.dimensions().zip(&self.values).enumerate() {
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
        assert_eq!(SeriesKey::other(Level::AppCheck).to_string(), "app=other,check=other");
    }

    #[test]
    fn refusals_that_say_why_are_measured_against_the_nearest_attempts() {
        let two = |level| SeriesKey::two(level, "a", "b");
        for (key, expect) in [
            (SeriesKey::org(), SeriesKey::org()),
            (SeriesKey::one(Level::App, "a"), SeriesKey::one(Level::App, "a")),
            (SeriesKey::one(Level::Check, "a"), SeriesKey::org()),
            (SeriesKey::one(Level::Rule, "a"), SeriesKey::org()),
            (two(Level::CohortPlatform), two(Level::CohortPlatform)),
            (two(Level::CohortCheck), SeriesKey::one(Level::Cohort, "a")),
            (two(Level::AppCheck), SeriesKey::one(Level::App, "a")),
            (two(Level::PlatformRule), SeriesKey::one(Level::Platform, "a")),
        ] {
            assert_eq!(key.exposure(), expect, "{key}");
        }
    }
}
