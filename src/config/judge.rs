//! `judge`: when refusals are a cause and not chance. The defaults suit every size of org; change them with a replay of
//! your own log at hand.

use serde::Deserialize;

use super::number;
use crate::input::{CoreConfig, JudgeConfig};

/// The section `judge`.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Judge {
    /// The fewest distinct people that can open an incident; 5 by default. Below 3, single people with an old laptop
    /// open incidents.
    #[serde(deserialize_with = "number::from_one")]
    pub min_people: u32,
    /// How unlikely a cluster must be, as −log10 of its probability; 7.5 by default. Each step of 1 makes false
    /// incidents ten times rarer and detection slower.
    #[serde(deserialize_with = "number::not_negative")]
    pub threshold: f64,
    /// Added to the threshold until a day of history is known; 1.5 by default.
    #[serde(deserialize_with = "number::not_negative")]
    pub first_day_penalty: f64,
    /// How much more than chance hourly counts vary; 0.35 by default, 0 is pure chance.
    #[serde(deserialize_with = "number::not_negative")]
    pub dispersion: f64,
    /// The refused share that is assumed before anything is learnt; 0.01 by default.
    #[serde(deserialize_with = "number::inner_share")]
    pub prior_refused: f64,
}

impl Default for Judge {
    fn default() -> Self {
        let JudgeConfig { min_people, threshold, first_day_penalty, dispersion, prior_refused } =
            CoreConfig::default().judge;
        Self { min_people, threshold, first_day_penalty, dispersion, prior_refused }
    }
}

impl From<&Judge> for JudgeConfig {
    fn from(judge: &Judge) -> Self {
        let &Judge { min_people, threshold, first_day_penalty, dispersion, prior_refused } = judge;
        Self { min_people, threshold, first_day_penalty, dispersion, prior_refused }
    }
}
