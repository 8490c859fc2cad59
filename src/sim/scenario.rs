//! The named scenarios: what happens, when, as a plain timeline.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error;

use super::chance;
use super::fleet::{Platform, Version};
use super::org::Org;
use super::policies::Tier;
use super::push::{Change, Push};
use crate::event::{Span, Timestamp};

/// A name for `--scenario`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// The macOS and Windows floors of everyone move too far and stay there: about 60 % of the people are refused.
    BadPushEveryone,
    /// One app asks for a managed device and goes on asking: about half of its people are refused.
    BadPushApp,
    /// The floors of the pilot move too far and stay there.
    BadPushPilot,
    /// [`Self::BadPushEveryone`], taken back 30 minutes later.
    Rollback,
    /// Nothing happens.
    QuietWeek,
    /// One person is refused 500 times in about two hours.
    #[serde(rename = "one-person-500")]
    OnePerson500,
    /// Three hours with 2.5 times the usual sign-ins.
    MondaySurge,
}

/// A scenario's name that there is none of.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("no scenario is called `{0}` (there are: {known})", known = Scenario::ALL.map(Scenario::as_str).join(", "))]
pub struct UnknownScenario(String);

/// One person who tries again and again and is refused each time.
#[derive(Clone, PartialEq, Debug)]
pub struct Storm {
    /// Index into [`Org::people`].
    pub person: u32,
    /// The first attempt.
    pub from: Timestamp,
    /// How many attempts.
    pub attempts: u32,
    /// The time between two attempts.
    pub every: Span,
}

/// A time with more sign-ins than usual, or with fewer.
#[derive(Clone, PartialEq, Debug)]
pub struct Surge {
    /// Its start.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
    /// How many times the usual rate; 0 is an outage.
    pub factor: f64,
}

/// What happens beside the ordinary, at absolute times. Build one by hand for a case that no scenario has.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Timeline {
    /// Changes of policy.
    pub pushes: Vec<Push>,
    /// A retry storm.
    pub storm: Option<Storm>,
    /// A surge.
    pub surge: Option<Surge>,
}

impl Scenario {
    /// Every scenario.
    pub const ALL: [Self; 7] = [
        Self::BadPushEveryone,
        Self::BadPushApp,
        Self::BadPushPilot,
        Self::Rollback,
        Self::QuietWeek,
        Self::OnePerson500,
        Self::MondaySurge,
    ];

    /// The name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadPushEveryone => "bad-push-everyone",
            Self::BadPushApp => "bad-push-app",
            Self::BadPushPilot => "bad-push-pilot",
            Self::Rollback => "rollback",
            Self::QuietWeek => "quiet-week",
            Self::OnePerson500 => "one-person-500",
            Self::MondaySurge => "monday-surge",
        }
    }

    /// How long after the start of a run that begins at midnight UTC it happens: in working hours of three offices.
    pub const fn usual_offset(self) -> Span {
        match self {
            Self::MondaySurge => Span::hours(8),
            Self::BadPushEveryone
            | Self::BadPushApp
            | Self::BadPushPilot
            | Self::Rollback
            | Self::QuietWeek
            | Self::OnePerson500 => Span::hours(14),
        }
    }

    /// The timeline of this scenario when it happens at `moment`.
    pub fn timeline(self, org: &Org, moment: Timestamp) -> Timeline {
        let push = |rollback_at, change| Timeline {
            pushes: vec![Push { at: moment, rollback_at, change }],
            ..Timeline::default()
        };
        let floors = || {
            vec![Version::new(Platform::Macos, [15, 1, 0, 0]), Version::new(Platform::Windows, [10, 0, 22631, 4391])]
        };
        let everyone = || Change::Floor { tiers: vec![Tier::Staff, Tier::Pilot], floors: floors() };
        match self {
            Self::BadPushEveryone => push(None, everyone()),
            Self::BadPushApp => push(None, Change::RequireManaged { app: 0 }),
            Self::BadPushPilot => push(None, Change::Floor { tiers: vec![Tier::Pilot], floors: floors() }),
            Self::Rollback => push(Some(moment + Span::minutes(30)), everyone()),
            Self::QuietWeek => Timeline::default(),
            Self::OnePerson500 => {
                let people = org.people.len() as f64;
                let person = (chance::unit(org.seed, "storm", 0, 0) * people) as u32;
                let storm = Storm { person, from: moment, attempts: 500, every: Span::seconds(14) };
                Timeline { storm: Some(storm), ..Timeline::default() }
            }
            Self::MondaySurge => {
                let surge = Surge { from: moment, until: moment + Span::hours(3), factor: 2.5 };
                Timeline { surge: Some(surge), ..Timeline::default() }
            }
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scenario {
    type Err = UnknownScenario;
    fn from_str(text: &str) -> Result<Self, UnknownScenario> {
        Self::ALL.into_iter().find(|scenario| scenario.as_str() == text).ok_or_else(|| UnknownScenario(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_a_wrong_one_lists_the_right_ones() {
        for scenario in Scenario::ALL {
            assert_eq!(scenario.as_str().parse(), Ok(scenario));
            assert_eq!(serde_json::to_value(scenario).expect("json"), scenario.as_str());
        }
        let error = "bad-push".parse::<Scenario>().expect_err("no such scenario").to_string();
        assert!(error.contains("`bad-push`") && error.contains("one-person-500"), "{error}");
    }

    #[test]
    fn only_the_rollback_scenario_is_taken_back() {
        let org = Org::new(1, 20);
        let moment = Timestamp(5_000);
        for scenario in Scenario::ALL {
            let rolled_back = scenario.timeline(&org, moment).pushes.iter().any(|push| push.rollback_at.is_some());
            assert_eq!(rolled_back, scenario == Scenario::Rollback, "{scenario}");
        }
    }
}
