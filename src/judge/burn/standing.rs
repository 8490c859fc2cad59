//! How an objective stands, as metrics, the API and reports tell it.

use serde::{Deserialize, Serialize};

use super::{Budget, Counts, budget, rates};
use crate::event::{Org, Timestamp};
use crate::input::Slo;
use crate::judge::alarm::Alarm;

/// What can be said of an objective.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No pair fires.
    Ok,
    /// A pair fires, or fired not long ago.
    Burning,
    /// Nothing was counted in the period, or a source is blind: whether it holds cannot be told.
    Unknown,
}

/// An objective as it stands.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Standing {
    /// The org.
    pub org: Org,
    /// The objective.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// What is measured.
    pub indicator: String,
    /// The share that is to be good.
    pub target: f64,
    /// The rolling period.
    pub period_days: u8,
    /// What can be said of it.
    pub state: State,
    /// The budget over the period; `None` where the state is unknown.
    pub budget: Option<Budget>,
    /// Burn rates by window; `None` where nothing was counted or the state is unknown.
    pub burn_rates: Vec<(String, Option<f64>)>,
    /// Good ones since the state was created, never fewer than before.
    pub good_total: u64,
    /// Bad ones, likewise.
    pub bad_total: u64,
    /// The alarm that is open.
    pub alarm: Option<Alarm>,
}

impl Standing {
    /// How an objective stands at `now`.
    pub fn of(
        org: &Org,
        slo: &Slo,
        (counts, totals): (&Counts, (u64, u64)),
        (alarm, is_blind): (Option<&Alarm>, bool),
        now: Timestamp,
    ) -> Self {
        let budget = budget(slo, counts, now).filter(|_| !is_blind);
        let state = match (&budget, alarm) {
            (None, _) => State::Unknown,
            (Some(_), Some(_)) => State::Burning,
            (Some(_), None) => State::Ok,
        };
        let burn_rates = rates(slo, counts, now);
        Self {
            org: org.clone(),
            name: slo.name.to_string(),
            title: slo.title.clone(),
            indicator: slo.indicator.as_str().to_owned(),
            target: slo.target,
            period_days: slo.days,
            state,
            budget,
            burn_rates: burn_rates.map(|(name, rate)| (name.to_owned(), rate.filter(|_| !is_blind))).into(),
            good_total: totals.0,
            bad_total: totals.1,
            alarm: alarm.cloned(),
        }
    }
}
