//! The DENY-spike judge: the chance that so many distinct people are refused in a window, were all as usual.
//!
//! For a series and a window the number of distinct refused people k is compared with the upper tail of a
//! negative-binomial count of mean μ = θ·A (θ: the series' usual refusals per attempt, A: its attempts in the same
//! window) and dispersion φ. The score is S = −log10 P(K ≥ k) − log10 n, n being the number of series of the level, so
//! that every level gets the same share of false alarms. It fires when k and S reach their limits.
//!
//! Sources: the tail after Noufaily et al. 2013 (Stat. Med. 32, 1206); several windows at once as in scan statistics,
//! Naus 1982 (JASA 77, 177); the correction for n is Bonferroni's.

use super::tail::surprise;
use crate::event::Span;
use crate::input::JudgeConfig;

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
    /// Series of the same level.
    pub series_of_level: usize,
    /// The window.
    pub window: Span,
    /// Whether less than a day of history is known.
    pub first_day: bool,
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
}

/// The answer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Verdict {
    /// Why.
    pub reason: Reason,
    /// −log10 p − log10 n.
    pub score: f64,
    /// The score from which it fires.
    pub threshold: f64,
    /// People that would be usual.
    pub expected: f64,
}

impl Verdict {
    /// Whether it fires.
    pub fn fires(&self) -> bool {
        self.reason == Reason::Spike
    }
}

/// Judges one look.
pub fn judge(look: &Look, config: &JudgeConfig) -> Verdict {
    let threshold = config.threshold + if look.first_day { config.first_day_penalty } else { 0.0 };
    let expected = look.rate * look.attempts;
    let score = score(look, config);
    let reason = if look.people < config.min_people {
        Reason::TooFewPeople
    } else if score < threshold {
        Reason::AsUsual
    } else {
        Reason::Spike
    };
    Verdict { reason, score, threshold, expected }
}

/// Whether the series is at rest in the look's window.
pub fn is_calm(look: &Look, config: &JudgeConfig, below: f64) -> bool {
    score(look, config) < below
}

fn score(look: &Look, config: &JudgeConfig) -> f64 {
    let levels = (look.series_of_level.max(1) as f64).log10();
    surprise(look.people, look.rate * look.attempts, config.dispersion) - levels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::CoreConfig;

    fn look(people: u32, attempts: f64) -> Look {
        Look { people, attempts, rate: 0.01, series_of_level: 12, window: Span::minutes(15), first_day: false }
    }

    #[track_caller]
    fn check(look: Look, reason: Reason) {
        let verdict = judge(&look, &CoreConfig::default().judge);
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
    fn more_series_and_less_history_ask_for_more() {
        let base = judge(&look(6, 6.0), &CoreConfig::default().judge);
        let crowded = judge(&Look { series_of_level: 1_200, ..look(6, 6.0) }, &CoreConfig::default().judge);
        assert!((base.score - crowded.score - 2.0).abs() < 1e-9);
        let young = judge(&Look { first_day: true, ..look(6, 6.0) }, &CoreConfig::default().judge);
        assert!((young.threshold - base.threshold - 1.5).abs() < 1e-9);
    }

    #[test]
    fn a_quiet_quarter_of_an_hour_is_calm() {
        let config = CoreConfig::default().judge;
        assert!(is_calm(&look(0, 300.0), &config, CALM_FIRST));
        assert!(is_calm(&look(4, 300.0), &config, CALM_FIRST));
        assert!(!is_calm(&look(30, 300.0), &config, CALM_PART));
        assert_eq!(calm_window(Span::minutes(1)), Span::minutes(15));
        assert_eq!(calm_window(Span::minutes(240)), Span::minutes(60));
    }
}
