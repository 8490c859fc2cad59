//! From the false-alarm budget to the thresholds of the judge.
//!
//! No theory gives them: the counts are over-dispersed, looks overlap, and small innocent clusters decide the tail. They
//! are the quantiles of the scorecard's null weeks (`cargo bench --bench scorecard -- --tune`), and hold for the orgs that it
//! describes; `docs/detection.md` shows what happens in others. What differs between deployments is in the score and
//! here: the number of series (a score is reduced by the log of the series of its level, so that every level has the
//! same share), their dispersion (φ is in the tail), the number of orgs (they share the budget), and how often changes
//! open the second door.

use crate::event::Span;
use crate::input::{Budget, JudgeConfig};

/// False incidents per 90 days that the deployment may have in all, and the thresholds of the two doors that keep
/// them. The two spend 80 % of the budget, 5 to 3; the rest is the burn-rate judge's. They aim at four fifths of their
/// share, since tuning and testing each miss by some percent.
///
/// Measured for 12 apps, 3 cohorts, 5 platforms, 9 checks (about 450 series), φ learnt, 5 changes in scope a week.
pub const TABLE: [(f64, f64, f64); 5] =
    [(0.1, 7.6, 4.5), (0.3, 6.8, 3.9), (1.0, 6.1, 2.9), (3.0, 5.4, 2.0), (10.0, 4.7, 1.2)];

/// No budget lowers the thresholds below these: the floor of people decides there, and a score that every busy hour
/// reaches says nothing.
const LEAST: (f64, f64) = (4.0, 1.0);
/// The changes in scope per week for which the table holds.
const CHANGES_A_WEEK: f64 = 5.0;
/// A change in scope is worth this many people.
const WORTH_OF_CHANGE: u32 = 2;
/// Added to both until a day of history is known. Source: the judgement study, section 8; `docs/detection.md`, first
/// days.
const FIRST_DAY_PENALTY: f64 = 1.5;

/// From when the judge fires.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Thresholds {
    /// The score of a series, −log10 p − log10 series of its level, from which it fires.
    pub spike: f64,
    /// −log10 p from which a series fires after a change in scope.
    pub after_change: f64,
    /// The fewest people.
    pub least_people: u32,
    /// The fewest people after a change in scope.
    pub least_people_after_change: u32,
    /// Added to both until a day of history is known.
    pub first_day: f64,
}

impl Thresholds {
    /// Those that keep a deployment's budget, for one of `orgs` orgs in which so many changes in scope pass in a week.
    pub fn new(config: &JudgeConfig, orgs: usize, changes_a_week: f64) -> Self {
        let Budget { incidents, per } = config.false_alarms;
        let days = per.as_seconds() / Span::hours(24).as_seconds();
        let per_90_days = incidents / days * 90.0 / orgs.max(1) as f64;
        let (spike, after_change) = for_budget(per_90_days);
        Self {
            spike: spike.max(LEAST.0),
            after_change: after_change.max(LEAST.1) + (changes_a_week / CHANGES_A_WEEK).max(1.0).log10(),
            least_people: config.min_people,
            least_people_after_change: config.min_people.saturating_sub(WORTH_OF_CHANGE).max(1),
            first_day: FIRST_DAY_PENALTY,
        }
    }
}

/// The table, read linearly in the log of the budget, and beyond its ends along the last step.
fn for_budget(per_90_days: f64) -> (f64, f64) {
    let x = per_90_days.max(1e-6).log10();
    let place = TABLE.partition_point(|(budget, ..)| budget.log10() < x).clamp(1, TABLE.len() - 1);
    let (low, high) = (TABLE[place - 1], TABLE[place]);
    let share = (x - low.0.log10()) / (high.0.log10() - low.0.log10());
    (low.1 + share * (high.1 - low.1), low.2 + share * (high.2 - low.2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::CoreConfig;

    fn thresholds(incidents: f64, days: i64, orgs: usize, changes: f64) -> Thresholds {
        let per = Span::hours(24 * days);
        let config = JudgeConfig { false_alarms: Budget { incidents, per }, ..CoreConfig::default().judge };
        Thresholds::new(&config, orgs, changes)
    }

    #[test]
    fn the_table_is_read_at_its_rows_between_them_and_beyond() {
        for (budget, spike, after_change) in TABLE {
            let found = thresholds(budget, 90, 1, 5.0);
            assert!((found.spike - spike).abs() < 1e-9, "{budget}: {found:?}");
            assert!((found.after_change - after_change).abs() < 1e-9, "{budget}: {found:?}");
        }
        let of = |incidents, days| thresholds(incidents, days, 1, 5.0).spike;
        assert!((of(1.0, 30) - of(3.0, 90)).abs() < 1e-9, "the budget is a rate");
        assert!(of(0.6, 90) > of(1.0, 90) && of(0.6, 90) < of(0.3, 90));
        assert!(of(0.01, 90) > of(0.1, 90));
        assert!((of(1e6, 1) - LEAST.0).abs() < 1e-9, "no budget buys less than the floor");
    }

    #[test]
    fn orgs_share_the_budget_and_many_changes_raise_the_second_door() {
        assert!((thresholds(3.0, 90, 3, 0.0).spike - thresholds(1.0, 90, 1, 0.0).spike).abs() < 1e-9);
        let (few, many) = (thresholds(1.0, 90, 1, 2.0), thresholds(1.0, 90, 1, 50.0));
        assert!((many.after_change - few.after_change - 1.0).abs() < 1e-9);
        assert_eq!((few.least_people, few.least_people_after_change), (5, 3));
    }
}
