//! `judge`: when refusals are a cause and not chance. One knob: how many false incidents the deployment may have.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use super::number;
use crate::duration;
use crate::event::Span;
use crate::input::{Budget, CoreConfig, JudgeConfig};

/// The section `judge`.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Judge {
    /// The false incidents that the whole deployment may have, all orgs together; `1 per 90d` by default, from
    /// `1 per 3650d` to `10 per 1d`. The thresholds follow from it. Ten times fewer cost about one more person until an
    /// alarm.
    #[serde(deserialize_with = "budget")]
    pub false_alarms: Budget,
    /// The fewest distinct people that can open an incident; 5 by default, and two fewer for half an hour after a change
    /// of policy. Below 5, two to four colleagues with the same broken laptop open incidents.
    #[serde(deserialize_with = "number::from_one")]
    pub min_people: u32,
    /// The refused share that is assumed before anything is learnt; 0.01 by default.
    #[serde(deserialize_with = "number::inner_share")]
    pub prior_refused: f64,
}

impl Default for Judge {
    fn default() -> Self {
        let JudgeConfig { false_alarms, min_people, prior_refused } = CoreConfig::default().judge;
        Self { false_alarms, min_people, prior_refused }
    }
}

impl From<&Judge> for JudgeConfig {
    fn from(judge: &Judge) -> Self {
        let &Judge { false_alarms, min_people, prior_refused } = judge;
        Self { false_alarms, min_people, prior_refused }
    }
}

fn budget<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Budget, D::Error> {
    deserializer.deserialize_str(Written)
}

/// `1 per 90d`.
struct Written;

impl Visitor<'_> for Written {
    type Value = Budget;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of incidents in a time (as `1 per 90d`)")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Budget, E> {
        read(text).map_err(E::custom)
    }
}

fn read(text: &str) -> Result<Budget, String> {
    let wrong = || format!("`{text}` is no budget of false incidents (write one such as `1 per 90d`)");
    let (incidents, per) = text.split_once(" per ").ok_or_else(wrong)?;
    let incidents: f64 = incidents.trim().parse().map_err(|_| wrong())?;
    let per = duration::parse(per.trim()).map_err(|error| error.to_string())?;
    let a_day = incidents * Span::hours(24).as_seconds() / per.as_seconds();
    if !a_day.is_finite() || !(1.0 / 3_650.1..=10.0).contains(&a_day) {
        return Err(format!("`{text}` is out of range (from `1 per 3650d` to `10 per 1d`)"));
    }
    Ok(Budget { incidents, per })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Result<(f64, i64), &str>) {
        let found = read(text).map(|budget| (budget.incidents, budget.per.0 / 3_600_000));
        assert_eq!(found, expect.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn a_budget_is_a_number_of_incidents_in_a_time() {
        check("1 per 90d", Ok((1.0, 90 * 24)));
        check("0.5 per 12w", Ok((0.5, 12 * 7 * 24)));
        check("10 per 1d", Ok((10.0, 24)));
        check("1 per 3650d", Ok((1.0, 3_650 * 24)));
        check("90d", Err("`90d` is no budget of false incidents (write one such as `1 per 90d`)"));
        check("one per 90d", Err("`one per 90d` is no budget of false incidents (write one such as `1 per 90d`)"));
        check("1 per 90", Err("duration `90` has no unit (add one of ms, s, m, h, d, w)"));
        for text in ["0 per 90d", "-1 per 90d", "11 per 1d", "1 per 0s", "NaN per 90d", "0.5 per 3650d"] {
            check(text, Err(&format!("`{text}` is out of range (from `1 per 3650d` to `10 per 1d`)")));
        }
    }
}
