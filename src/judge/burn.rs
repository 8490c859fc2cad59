//! Burn rate: how fast an objective's error budget is being used, and whether that is worth a person's time.
//!
//! Burn is the share of bad ones over the share that may be bad; at 1 the budget lasts exactly its period. A pair of
//! windows fires while both burn above its factor: the long one shows that it matters, the short one that it goes on,
//! and lets the alert end soon after its cause (Google, *The Site Reliability Workbook*, chapter 5, "Alerting on SLOs").
//! A factor is the share of the budget that the long window may use, over the long window's share of the period, which
//! gives the chapter's 14.4, 6, 3 and 1 at 30 days and 13.44, 5.6, 2.8 and 0.933 at 28.
//!
//! Refused: a verdict without any event (nothing is not 100 %), and one on fewer bad ones than the objective's floor. The
//! floor is on bad ones, not on traffic, so that a total outage of a small part still counts.

mod counts;
mod standing;

use serde::{Deserialize, Serialize};

pub use counts::Counts;
pub use standing::{Standing, State};

use crate::action::Severity;
use crate::event::{Span, Timestamp};
use crate::input::{Alerts, Slo};
use crate::window::GoodBad;

/// Two windows that must burn together.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Pair {
    /// How bad it is when it fires.
    pub severity: Severity,
    /// The long window.
    pub long: Span,
    /// The short window, a twelfth of it.
    pub short: Span,
    /// The share of the budget that the long window may use.
    pub budget: f64,
}

/// The four pairs: two that page, two that open a ticket.
pub const PAIRS: [Pair; 4] = [
    Pair { severity: Severity::Page, long: Span::hours(1), short: Span::minutes(5), budget: 0.02 },
    Pair { severity: Severity::Page, long: Span::hours(6), short: Span::minutes(30), budget: 0.05 },
    Pair { severity: Severity::Ticket, long: Span::hours(24), short: Span::hours(2), budget: 0.10 },
    Pair { severity: Severity::Ticket, long: Span::hours(72), short: Span::hours(6), budget: 0.10 },
];

/// Every window that a burn rate is told for.
pub const WINDOWS: [(&str, Span); 8] = [
    ("5m", Span::minutes(5)),
    ("30m", Span::minutes(30)),
    ("1h", Span::hours(1)),
    ("2h", Span::hours(2)),
    ("6h", Span::hours(6)),
    ("1d", Span::hours(24)),
    ("3d", Span::hours(72)),
    ("period", Span(0)),
];

/// The window whose burn rate says how long the budget lasts.
const PACE: Span = Span::hours(6);

impl Pair {
    /// The burn rate above which it fires, for a period.
    pub fn factor(&self, period: Span) -> f64 {
        self.budget * period.0 as f64 / self.long.0 as f64
    }

    /// The least target at which it can fire at all: no burn rate is above 1 / (1 − target).
    pub fn least_target(&self, period: Span) -> f64 {
        1.0 - 1.0 / self.factor(period)
    }
}

/// The pairs of an objective.
pub fn pairs(alerts: Alerts) -> impl Iterator<Item = &'static Pair> {
    PAIRS.iter().filter(move |pair| match alerts {
        Alerts::None => false,
        Alerts::Ticket => pair.severity == Severity::Ticket,
        Alerts::Page => true,
    })
}

/// The first pair that a target puts out of reach.
pub fn unreachable(target: f64, period: Span, alerts: Alerts) -> Option<&'static Pair> {
    pairs(alerts).find(|pair| target <= pair.least_target(period))
}

/// The burn rate of what was counted; `None` without anything.
pub fn rate(counted: GoodBad, allowed: f64) -> Option<f64> {
    let all = f64::from(counted.good) + f64::from(counted.bad);
    (all > 0.0).then(|| f64::from(counted.bad) / all / allowed)
}

/// What one window held.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Reading {
    /// Its length in seconds.
    pub seconds: u32,
    /// Good ones.
    pub good: u32,
    /// Bad ones.
    pub bad: u32,
    /// The burn rate; `None` without any.
    pub burn: Option<f64>,
}

/// A pair's verdict, with the numbers that made it.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// How bad it is.
    pub severity: Severity,
    /// The burn rate above which it fires.
    pub factor: f64,
    /// The fewest bad ones in the long window.
    pub floor: u32,
    /// The long window.
    pub long: Reading,
    /// The short window.
    pub short: Reading,
}

impl Verdict {
    /// Whether both windows burn too fast, on enough bad ones.
    pub fn fires(&self) -> bool {
        let above = |reading: &Reading| reading.burn.is_some_and(|burn| burn > self.factor);
        self.long.bad >= self.floor && above(&self.long) && above(&self.short)
    }
}

fn reading(counts: &Counts, window: Span, allowed: f64, now: Timestamp) -> Reading {
    let counted = counts.sum(now, window);
    let seconds = u32::try_from(window.0 / 1_000).unwrap_or(u32::MAX);
    Reading { seconds, good: counted.good, bad: counted.bad, burn: rate(counted, allowed) }
}

/// The verdicts of an objective's pairs at `now`, the fastest first.
pub fn judge(slo: &Slo, counts: &Counts, now: Timestamp) -> impl Iterator<Item = Verdict> {
    pairs(slo.alerts).map(move |pair| Verdict {
        severity: pair.severity,
        factor: pair.factor(slo.period()),
        floor: slo.min_bad,
        long: reading(counts, pair.long, slo.allowed(), now),
        short: reading(counts, pair.short, slo.allowed(), now),
    })
}

/// The first pair that fires. The short windows are asked first: nearly always that ends it.
pub fn firing(slo: &Slo, counts: &Counts, now: Timestamp) -> Option<Verdict> {
    let burns = |pair: &Pair| {
        let short = rate(counts.sum(now, pair.short), slo.allowed());
        short.is_some_and(|burn| burn > pair.factor(slo.period()))
    };
    pairs(slo.alerts).any(burns).then(|| judge(slo, counts, now).find(Verdict::fires)).flatten()
}

/// Burn rates by window, shortest first; `None` where nothing was counted.
pub fn rates(slo: &Slo, counts: &Counts, now: Timestamp) -> [(&'static str, Option<f64>); 8] {
    WINDOWS.map(|(name, window)| {
        let window = if window == Span(0) { slo.period() } else { window };
        (name, rate(counts.sum(now, window), slo.allowed()))
    })
}

/// How an objective stands over its period.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Budget {
    /// Good ones in the period.
    pub good: u32,
    /// Bad ones in the period.
    pub bad: u32,
    /// The share of good ones.
    pub sli: f64,
    /// What is left of the budget: 1 is all of it, below 0 more was used than there is. Counts weigh, not hours: a quiet
    /// night uses no more of it than its events do.
    pub remaining: f64,
    /// When the budget is used up at the burn rate of the last six hours, in seconds: 0 where it is, `None` where that
    /// rate is 0 or nothing was counted.
    pub exhausted_in_seconds: Option<f64>,
}

/// How an objective stands; `None` where nothing was counted in the period, which is not 100 %.
pub fn budget(slo: &Slo, counts: &Counts, now: Timestamp) -> Option<Budget> {
    let period = counts.sum(now, slo.period());
    let used = rate(period, slo.allowed())?;
    let remaining = 1.0 - used;
    let pace = rate(counts.sum(now, PACE), slo.allowed()).filter(|pace| *pace > 0.0);
    let lasts = |pace: f64| remaining / pace * slo.period().as_seconds();
    let exhausted_in_seconds = if remaining <= 0.0 { Some(0.0) } else { pace.map(lasts) };
    Some(Budget {
        good: period.good,
        bad: period.bad,
        sli: 1.0 - used * slo.allowed(),
        remaining,
        exhausted_in_seconds,
    })
}

#[cfg(test)]
#[path = "burn/tests.rs"]
mod tests;
