//! What happened, as the judge counts it: attempts, and refusals with what is known of why.

use smol_str::SmolStr;

use crate::event::{Credential, Platform, Timestamp};
use crate::window::{Level, SeriesKey};

/// How an attempt ended, as far as it counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Well; a phishing attempt that was declined ended well.
    Succeeded,
    /// Refused by a policy.
    Denied,
    /// Failed otherwise.
    Failed,
}

/// One attempt.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// When it was decided.
    pub at: Timestamp,
    /// How it ended.
    pub ended: Ended,
    /// The cohort.
    pub cohort: Option<&'a SmolStr>,
    /// The app's id.
    pub app: Option<&'a SmolStr>,
    /// The rule's id; counts where it was refused.
    pub rule: Option<&'a SmolStr>,
    /// The platform.
    pub platform: Platform,
    /// The credential.
    pub credential: Credential,
}

/// What is known of why somebody was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Why {
    /// These checks fail, derived from the policies that held.
    Checks(Vec<SmolStr>),
    /// The policies are not known: the rule that the refusal names stands for the reason.
    Rule,
    /// Nothing, or nothing yet.
    Unknown,
}

/// One refusal of a known person.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    /// When.
    pub at: Timestamp,
    /// Who, hashed.
    pub person: u64,
    /// The cohort.
    pub cohort: Option<&'a SmolStr>,
    /// The app's id.
    pub app: Option<&'a SmolStr>,
    /// The rule's id.
    pub rule: Option<&'a SmolStr>,
    /// The platform.
    pub platform: Platform,
    /// Why.
    pub why: Why,
}

/// The word of a platform that is known.
fn known(platform: Platform) -> Option<&'static str> {
    (platform != Platform::Unknown).then(|| platform.as_str())
}

/// The series that an attempt belongs to, whatever came of it.
fn places(cohort: Option<&SmolStr>, app: Option<&SmolStr>, platform: Platform) -> Vec<SeriesKey> {
    let platform = known(platform);
    let mut keys = vec![SeriesKey::org()];
    keys.extend(app.map(|app| SeriesKey::one(Level::App, app)));
    keys.extend(platform.map(|platform| SeriesKey::one(Level::Platform, platform)));
    keys.extend(cohort.map(|cohort| SeriesKey::one(Level::Cohort, cohort)));
    if let (Some(app), Some(platform)) = (app, platform) {
        keys.push(SeriesKey::two(Level::AppPlatform, app, platform));
    }
    if let (Some(app), Some(cohort)) = (app, cohort) {
        keys.push(SeriesKey::two(Level::CohortApp, cohort, app));
    }
    if let (Some(platform), Some(cohort)) = (platform, cohort) {
        keys.push(SeriesKey::two(Level::CohortPlatform, cohort, platform));
    }
    keys
}

impl Attempt<'_> {
    /// The series that count it. A rule's holds refusals only: the rule that grants is another.
    pub(super) fn keys(&self) -> Vec<SeriesKey> {
        let mut keys = places(self.cohort, self.app, self.platform);
        if self.credential != Credential::None {
            keys.push(SeriesKey::one(Level::Credential, self.credential.as_str()));
        }
        keys
    }
}

impl Case<'_> {
    /// The judged series that it belongs to.
    pub(super) fn keys(&self) -> Vec<SeriesKey> {
        let mut keys = places(self.cohort, self.app, self.platform);
        keys.extend(self.rule.map(|rule| SeriesKey::one(Level::Rule, rule)));
        keys.extend(self.reasons());
        keys
    }

    /// Those of them that say why.
    pub(super) fn reasons(&self) -> Vec<SeriesKey> {
        let mut keys = Vec::new();
        let platform = known(self.platform);
        match &self.why {
            Why::Unknown => {}
            Why::Checks(checks) => {
                for check in checks {
                    keys.push(SeriesKey::one(Level::Check, check));
                    keys.extend(self.cohort.map(|cohort| SeriesKey::two(Level::CohortCheck, cohort, check)));
                    keys.extend(platform.map(|platform| SeriesKey::two(Level::PlatformCheck, platform, check)));
                    keys.extend(self.app.map(|app| SeriesKey::two(Level::AppCheck, app, check)));
                }
            }
            Why::Rule => {
                let Some(rule) = self.rule else { return keys };
                keys.extend(self.cohort.map(|cohort| SeriesKey::two(Level::CohortRule, cohort, rule)));
                keys.extend(platform.map(|platform| SeriesKey::two(Level::PlatformRule, platform, rule)));
            }
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(why: Why, expect: &[&str]) {
        let (cohort, app, rule) = ("pilot".into(), "0oa1".into(), "rul1".into());
        let case = Case {
            at: Timestamp(1),
            person: 7,
            cohort: Some(&cohort),
            app: Some(&app),
            rule: Some(&rule),
            platform: Platform::Macos,
            why,
        };
        let keys: Vec<String> = case.keys().iter().map(SeriesKey::to_string).collect();
        let places = [
            "org",
            "app=0oa1",
            "platform=macos",
            "cohort=pilot",
            "app=0oa1,platform=macos",
            "cohort=pilot,app=0oa1",
            "cohort=pilot,platform=macos",
            "rule=rul1",
        ];
        assert_eq!(keys, [&places[..], expect].concat());
    }

    #[test]
    fn a_refusal_is_judged_by_its_checks_or_by_its_rule() {
        let checks = |words: &[&str]| Why::Checks(words.iter().map(SmolStr::new).collect());
        check(
            checks(&["risk"]),
            &["check=risk", "cohort=pilot,check=risk", "platform=macos,check=risk", "app=0oa1,check=risk"],
        );
        check(Why::Rule, &["cohort=pilot,rule=rul1", "platform=macos,rule=rul1"]);
        check(Why::Unknown, &[]);
        check(checks(&[]), &[]);
    }

    #[test]
    fn what_is_not_known_makes_no_series() {
        let attempt = Attempt {
            at: Timestamp(1),
            ended: Ended::Succeeded,
            cohort: None,
            app: None,
            rule: None,
            platform: Platform::Unknown,
            credential: Credential::None,
        };
        assert_eq!(attempt.keys(), [SeriesKey::org()]);
    }
}
