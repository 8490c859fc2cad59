//! What is usual for a series: its own past, leaning on its parent while that past is short.
//!
//! θ = (n + κ) / (E + κ/θ_parent), κ = 4: n person-episodes of refusal (a person counts again after an hour) in E
//! attempts, both fading with a half-life of four weeks. Form: gamma-Poisson shrinkage, as DuMouchel 1999 (Am. Stat. 53,
//! 177) uses it. Hours that belong to an incident are left out, so an outage never becomes usual; a day far above what
//! was usual counts for less, which is how Noufaily et al. 2013 (Stat. Med. 32, 1206) keep past outbreaks out.
//!
//! Attempts carry the season of sign-ins. Refusals per attempt have a season of their own only where the numbers show
//! it: then θ is that of the four-hour block, leaning on the whole day's by the same formula.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::event::{Span, Timestamp};

/// The weight of the parent, in people refused.
const KAPPA: f64 = 4.0;
/// Baselines are learnt by the hour.
pub(super) const HOUR: Span = Span::hours(1);
/// 0.84 a week: a half-life of four weeks.
const FADE_PER_HOUR: f64 = 0.998_963;
/// Blocks of a day that may have a rate of their own.
const BLOCKS: usize = 6;
/// People that a block needs, refused or expected, before its rate can differ from the day's.
const SEASON_PEOPLE: f64 = 30.0;
/// How much a block must differ, up or down.
const SEASON_RATIO: f64 = 2.0;
/// A day with fewer people refused is never weighed down: it cannot be an outbreak.
const DAY_PEOPLE: f64 = 5.0;
/// People that the past needs before a day can be unusual: a first guess that is wrong must not keep itself up.
const PAST_PEOPLE: f64 = 20.0;
/// The least weight of a day: what has come to stay must become usual in weeks, not in years.
const LEAST_WEIGHT: f64 = 0.25;

/// Episodes and attempts of one hour that is not learnt yet.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
struct Pending {
    hour: i64,
    episodes: i64,
    attempts: i64,
}

/// Episodes and attempts, fading.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Cell {
    episodes: f64,
    attempts: f64,
    /// The part of `attempts` from before the reasons were known.
    unexplained: f64,
}

impl Cell {
    fn scale(&mut self, by: f64) {
        self.episodes *= by;
        self.attempts *= by;
        self.unexplained *= by;
    }

    fn add(&mut self, other: &Self, weight: f64) {
        self.episodes += other.episodes * weight;
        self.attempts += other.attempts * weight;
        self.unexplained += other.unexplained * weight;
    }
}

/// What happened in one hour.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Happened {
    pub(super) episodes: f64,
    pub(super) attempts: f64,
}

/// Whose attempts a series is measured against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exposure<'a> {
    /// The series that holds them.
    pub(super) of: &'a Baseline,
    /// Only those since the reasons of refusals are known.
    pub(super) explained: bool,
}

/// The learnt past of one series.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Baseline {
    past: [Cell; BLOCKS],
    /// The day under way: part of the past, until it is known how far it is out of the usual.
    today: [Cell; BLOCKS],
    pending: VecDeque<Pending>,
}

impl Baseline {
    /// Counts an attempt at `at`, or takes one back (`by` = −1).
    pub(super) fn attempt(&mut self, at: Timestamp, by: i64) {
        self.pending(at).attempts += by;
    }

    /// Counts a person-episode of refusal at `at`, or takes one back (`by` = −1).
    pub(super) fn episode(&mut self, at: Timestamp, by: i64) {
        self.pending(at).episodes += by;
    }

    /// The oldest hour that waits to be learnt.
    pub(super) fn oldest(&self) -> Option<i64> {
        self.pending.front().map(|pending| pending.hour)
    }

    /// Takes out what waited up to an hour.
    pub(super) fn take(&mut self, hour: i64) -> Happened {
        let mut happened = Happened::default();
        while let Some(pending) = self.pending.front().copied().filter(|pending| pending.hour <= hour) {
            self.pending.pop_front();
            happened.episodes += pending.episodes.max(0) as f64;
            happened.attempts += pending.attempts.max(0) as f64;
        }
        happened
    }

    /// Learns what happened in an hour.
    pub(super) fn learn(&mut self, hour: i64, happened: Happened) {
        let cell = &mut self.today[block_of_hour(hour)];
        cell.episodes += happened.episodes;
        cell.attempts += happened.attempts;
    }

    /// Fades by so many hours.
    pub(super) fn fade(&mut self, hours: i64) {
        let factor = FADE_PER_HOUR.powi(hours.clamp(0, 1_000_000) as i32);
        self.past.iter_mut().chain(&mut self.today).for_each(|cell| cell.scale(factor));
    }

    /// Whether the day under way can be unusual at all.
    pub(super) fn may_be_unusual(&self) -> bool {
        self.today.iter().map(|cell| cell.episodes).sum::<f64>() >= DAY_PEOPLE
    }

    /// How much the day under way may count: 1, or less where it is further above the usual than `above` standard
    /// deviations.
    pub(super) fn weight_of_today(&self, parent: f64, exposure: Exposure<'_>, dispersion: f64, above: f64) -> f64 {
        let people: f64 = self.today.iter().map(|cell| cell.episodes).sum();
        let before: f64 = self.past.iter().map(|cell| cell.episodes).sum();
        if !self.may_be_unusual() || before < PAST_PEOPLE {
            return 1.0;
        }
        let rate = (before + KAPPA) / (exposure.sum(|base| &base.past) + KAPPA / parent);
        let usual = rate * exposure.sum(|base| &base.today);
        let residual = (people - usual) / (usual + dispersion * usual * usual).sqrt().max(1e-9);
        if residual > above { (above / residual).powi(2).max(LEAST_WEIGHT) } else { 1.0 }
    }

    /// The day is over: it becomes part of the past with a weight.
    pub(super) fn close_day(&mut self, weight: f64) {
        for (past, today) in self.past.iter_mut().zip(&self.today) {
            past.add(today, weight);
        }
        self.today = [Cell::default(); BLOCKS];
    }

    /// From now on the reasons of refusals are known, or known in another way.
    pub(super) fn explain_from_now(&mut self) {
        for cell in self.past.iter_mut().chain(&mut self.today) {
            cell.unexplained = cell.attempts;
        }
    }

    /// Usual refusals per attempt at a time of day; `parent` is the parent's.
    pub(super) fn rate(&self, parent: f64, exposure: Exposure<'_>, block: usize) -> f64 {
        let cells = || self.past.iter().zip(&self.today);
        let episodes: f64 = cells().map(|(past, today)| past.episodes + today.episodes).sum();
        let attempts = exposure.sum(|base| &base.past) + exposure.sum(|base| &base.today);
        let rate = (episodes + KAPPA) / (attempts + KAPPA / parent);
        if !self.has_season(exposure, rate) {
            return rate;
        }
        let here = self.past[block].episodes + self.today[block].episodes;
        (here + KAPPA) / (exposure.of_block(block) + KAPPA / rate)
    }

    /// Whether refusals per attempt have a season of their own, given the rate of the whole day.
    fn has_season(&self, exposure: Exposure<'_>, rate: f64) -> bool {
        (0..BLOCKS).any(|block| {
            let people = self.past[block].episodes + self.today[block].episodes;
            let usual = rate * exposure.of_block(block);
            people.max(usual) >= SEASON_PEOPLE && (people > SEASON_RATIO * usual || usual > SEASON_RATIO * people)
        })
    }

    /// Whether nothing worth keeping was learnt and nothing waits to be.
    pub(super) fn is_blank(&self) -> bool {
        let is_blank = |cell: &Cell| cell.attempts < 0.5 && cell.episodes < 0.1;
        self.pending.is_empty() && self.past.iter().chain(&self.today).all(is_blank)
    }

    fn pending(&mut self, at: Timestamp) -> &mut Pending {
        let hour = at.index(HOUR);
        let place = match self.pending.back() {
            Some(last) if last.hour == hour => self.pending.len() - 1,
            _ => self.pending.partition_point(|pending| pending.hour < hour),
        };
        if self.pending.get(place).is_none_or(|pending| pending.hour != hour) {
            self.pending.insert(place, Pending { hour, episodes: 0, attempts: 0 });
        }
        &mut self.pending[place]
    }
}

impl Exposure<'_> {
    fn sum(&self, cells: impl Fn(&Baseline) -> &[Cell; BLOCKS]) -> f64 {
        cells(self.of).iter().map(|cell| self.attempts(cell)).sum()
    }

    fn of_block(&self, block: usize) -> f64 {
        self.attempts(&self.of.past[block]) + self.attempts(&self.of.today[block])
    }

    fn attempts(&self, cell: &Cell) -> f64 {
        if self.explained { (cell.attempts - cell.unexplained).max(0.0) } else { cell.attempts }
    }
}

/// The block of the day that an instant lies in, UTC.
pub(super) fn block(at: Timestamp) -> usize {
    block_of_hour(at.index(HOUR))
}

fn block_of_hour(hour: i64) -> usize {
    (hour.rem_euclid(24) / 4) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(baseline: &Baseline) -> Exposure<'_> {
        Exposure { of: baseline, explained: false }
    }

    fn rate(baseline: &Baseline) -> f64 {
        baseline.rate(0.01, own(baseline), 0)
    }

    /// Days of so many people refused of so many attempts, all in the first hour.
    fn past(days: &[(f64, f64)]) -> Baseline {
        let mut baseline = Baseline::default();
        for (episodes, attempts) in days {
            baseline.learn(0, Happened { episodes: *episodes, attempts: *attempts });
            baseline.close_day(1.0);
        }
        baseline
    }

    #[test]
    fn without_a_past_the_parent_speaks() {
        assert!((rate(&Baseline::default()) - 0.01).abs() < 1e-12);
    }

    #[test]
    fn a_past_outweighs_the_parent() {
        let baseline = past(&[(300.0, 10_000.0)]);
        assert!((rate(&baseline) - 0.03).abs() < 0.002, "{}", rate(&baseline));
    }

    #[test]
    fn four_weeks_halve_what_was_learnt() {
        let mut baseline = past(&[(0.0, 1_000.0)]);
        baseline.fade(28 * 24);
        assert!((own(&baseline).sum(|base| &base.past) / 1_000.0 - 0.5).abs() < 0.01);
    }

    #[test]
    fn hours_are_taken_once_in_order_with_what_was_taken_back() {
        let mut baseline = Baseline::default();
        let hour = |n: i64| Timestamp(n * HOUR.0);
        baseline.attempt(hour(3), 1);
        baseline.attempt(hour(2), 1);
        baseline.attempt(hour(3), 1);
        baseline.attempt(hour(3), -1);
        baseline.episode(hour(2), 1);
        assert_eq!(baseline.oldest(), Some(2));
        assert_eq!(baseline.take(2), Happened { episodes: 1.0, attempts: 1.0 });
        assert_eq!(baseline.take(9), Happened { episodes: 0.0, attempts: 1.0 });
        assert_eq!(baseline.oldest(), None);
    }

    #[test]
    fn a_day_far_above_the_usual_counts_for_little_and_a_small_one_in_full() {
        let weight = |people: f64| {
            let mut baseline = past(&[(10.0, 1_000.0); 14]);
            baseline.learn(0, Happened { episodes: people, attempts: 1_000.0 });
            baseline.weight_of_today(0.01, own(&baseline), 0.05, 2.58)
        };
        assert_eq!(weight(12.0), 1.0);
        assert!(weight(20.0) > LEAST_WEIGHT && weight(20.0) < 1.0, "{}", weight(20.0));
        assert_eq!(weight(100.0), LEAST_WEIGHT);
        let young = Baseline { today: past(&[(90.0, 1_000.0)]).past, ..past(&[(10.0, 1_000.0)]) };
        assert_eq!(young.weight_of_today(0.01, own(&young), 0.05, 2.58), 1.0);
        let sparse = Baseline { today: past(&[(4.0, 10.0)]).past, ..Baseline::default() };
        assert_eq!(sparse.weight_of_today(0.001, own(&sparse), 0.05, 2.58), 1.0);
    }

    #[test]
    fn a_block_has_a_rate_of_its_own_only_where_the_numbers_show_it() {
        let mut flat = Baseline::default();
        (0..24).for_each(|hour| flat.learn(hour, Happened { episodes: 10.0, attempts: 1_000.0 }));
        assert!((flat.rate(0.01, own(&flat), 3) - flat.rate(0.01, own(&flat), 0)).abs() < 1e-12);
        let mut nightly = flat.clone();
        nightly.learn(1, Happened { episodes: 400.0, attempts: 100.0 });
        assert!(nightly.rate(0.01, own(&nightly), 0) > 4.0 * nightly.rate(0.01, own(&nightly), 3));
    }

    #[test]
    fn attempts_from_before_the_reasons_were_known_do_not_count_for_a_check() {
        let mut org = past(&[(100.0, 10_000.0)]);
        org.explain_from_now();
        org.learn(0, Happened { episodes: 0.0, attempts: 500.0 });
        let check = past(&[(5.0, 0.0)]);
        let all = check.rate(0.001, Exposure { of: &org, explained: false }, 0);
        let since = check.rate(0.001, Exposure { of: &org, explained: true }, 0);
        assert!((since - 9.0 / 4_500.0).abs() < 1e-9 && all < since, "{since} {all}");
    }
}
