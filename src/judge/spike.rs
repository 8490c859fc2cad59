//! The DENY-spike judge: the chance that so many distinct people are refused in a window, were all as usual.
//!
//! For a series and a window the number of distinct refused people k is compared with the upper tail of a
//! negative-binomial count of mean μ = θ·A (θ: the series' usual refusals per attempt, A: its attempts in the same
//! window) and dispersion φ. It has two doors. The first takes five people and a score S = −log10 P(K ≥ k) − log10 n, n
//! being the number of series of the level, so that every level gets the same share of false alarms. The second, for
//! half an hour after a change in scope, takes three people refused since the change and −log10 P(K ≥ k) alone.
//!
//! Sources: the tail after Noufaily et al. 2013 (Stat. Med. 32, 1206); several windows at once as in scan statistics,
//! Naus 1982 (JASA 77, 177); the correction for n is Bonferroni's. Thresholds: [`super::budget`].

use super::budget::Thresholds;
use super::tail::surprise;
use crate::event::Span;

/// The windows looked at, shortest first.
pub const WINDOWS: [Span; 5] =
    [Span::minutes(1), Span::minutes(5), Span::minutes(15), Span::minutes(60), Span::minutes(240)];

/// The series that opened an incident is at rest below this score.
pub const CALM_FIRST: f64 = 2.0;
/// Every other part is at rest below this one: of dozens of parts over half an hour, one above 2 is ordinary.
pub const CALM_PART: f64 = 3.0;

/// The window in which an incident must come to rest: the one that it was seen in, so that refusals too thin for a
/// short window keep it open, within 15 to 60 minutes.
pub fn calm_window(fired: Span) -> Span {
    fired.clamp(Span::minutes(15), Span::minutes(60))
}

/// One question: this series, this window, now.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Look {
    /// Distinct people refused in the window.
    pub people: u32,
    /// Attempts in the window.
    pub attempts: f64,
    /// Usual refusals per attempt.
    pub rate: f64,
    /// Over-dispersion φ.
    pub dispersion: f64,
    /// Series of the same level.
    pub series_of_level: usize,
    /// The window.
    pub window: Span,
    /// Whether less than a day of history is known.
    pub first_day: bool,
    /// Whether the window begins with a change in scope.
    pub after_change: bool,
}

/// Why a judge says what it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Fewer people than any alarm needs.
    TooFewPeople,
    /// Chance explains it.
    AsUsual,
    /// Chance does not explain it.
    Spike,
    /// Chance does not explain it, given that something changed.
    SpikeAfterChange,
}

/// The answer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Verdict {
    /// Why.
    pub reason: Reason,
    /// −log10 p − log10 n; after a change −log10 p.
    pub score: f64,
    /// The score from which it fires.
    pub threshold: f64,
    /// People that would be usual.
    pub expected: f64,
    /// The fewest people that fire.
    pub least_people: u32,
}

impl Verdict {
    /// Whether it fires.
    pub fn fires(&self) -> bool {
        matches!(self.reason, Reason::Spike | Reason::SpikeAfterChange)
    }
}

/// Judges one look.
pub fn judge(look: &Look, thresholds: &Thresholds) -> Verdict {
    let (threshold, least_people, fired) = if look.after_change {
        (thresholds.after_change, thresholds.least_people_after_change, Reason::SpikeAfterChange)
    } else {
        (thresholds.spike, thresholds.least_people, Reason::Spike)
    };
    let threshold = threshold + if look.first_day { thresholds.first_day } else { 0.0 };
    let expected = look.rate * look.attempts;
    if look.people < least_people {
        return Verdict { reason: Reason::TooFewPeople, score: 0.0, threshold, expected, least_people };
    }
    let score = score(look);
    let reason = if score < threshold { Reason::AsUsual } else { fired };
    Verdict { reason, score, threshold, expected, least_people }
}

/// Whether the series is at rest in the look's window.
pub fn is_calm(look: &Look, below: f64) -> bool {
    score(look) < below
}

fn score(look: &Look) -> f64 {
    let surprise = surprise(look.people, look.rate * look.attempts, look.dispersion);
    if look.after_change { surprise } else { surprise - (look.series_of_level.max(1) as f64).log10() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::CoreConfig;

    fn look(people: u32, attempts: f64) -> Look {
        Look {
            people,
            attempts,
            rate: 0.01,
            dispersion: 0.35,
            series_of_level: 12,
            window: Span::minutes(15),
            first_day: false,
            after_change: false,
        }
    }

    fn usual() -> Thresholds {
        Thresholds::new(&CoreConfig::default().judge, 1, 0.0)
    }

    #[track_caller]
    fn check(look: Look, reason: Reason) {
        let verdict = judge(&look, &usual());
        assert_eq!(verdict.reason, reason, "{verdict:?}");
    }

    #[test]
    fn four_people_never_fire_and_a_locked_out_app_does() {
        check(look(4, 4.0), Reason::TooFewPeople);
        check(look(5, 300.0), Reason::AsUsual);
        check(look(6, 6.0), Reason::Spike);
        check(look(40, 300.0), Reason::Spike);
    }

    #[test]
    fn after_a_change_three_people_are_enough_where_two_never_are() {
        let after = |people, attempts| Look { after_change: true, ..look(people, attempts) };
        check(after(2, 2.0), Reason::TooFewPeople);
        check(after(3, 3.0), Reason::SpikeAfterChange);
        check(after(3, 300.0), Reason::AsUsual);
    }

    #[test]
    fn more_series_and_less_history_ask_for_more() {
        let base = judge(&look(6, 6.0), &usual());
        let crowded = judge(&Look { series_of_level: 1_200, ..look(6, 6.0) }, &usual());
        assert!((base.score - crowded.score - 2.0).abs() < 1e-9);
        let young = judge(&Look { first_day: true, ..look(6, 6.0) }, &usual());
        assert!((young.threshold - base.threshold - 1.5).abs() < 1e-9);
    }

    #[test]
    fn a_quiet_quarter_of_an_hour_is_calm() {
        assert!(is_calm(&look(0, 300.0), CALM_FIRST));
        assert!(is_calm(&look(4, 300.0), CALM_FIRST));
        assert!(!is_calm(&look(30, 300.0), CALM_PART));
        assert_eq!(calm_window(Span::minutes(1)), Span::minutes(15));
        assert_eq!(calm_window(Span::minutes(240)), Span::minutes(60));
    }
}
