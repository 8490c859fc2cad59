//! When people sign in, and how uneven days and hours are.
//!
//! The working week per office, holidays, and log-normal factors by day, hour and (hour, check). The judge assumes
//! gamma factors; the simulation draws another shape on purpose. Rates follow the judgement study's section 2.

use super::chance;
use super::org::OFFICES;
use super::push::Check;
use crate::event::{Span, Timestamp};

/// First tries a person makes in a week: 3,500 people make about 132,000.
pub(crate) const TRIES_A_WEEK: f64 = 37.8;
/// The chance that a first try at a gated app is refused; over all apps it is 0.78 %.
pub(crate) const REFUSED: f64 = 0.0083;

const DAY_SIGMA: f64 = 0.08;
const HOUR_SIGMA: f64 = 0.10;
const REFUSAL_HOUR_SIGMA: f64 = 0.36;
const REFUSAL_CHECK_SIGMA: f64 = 0.36;
const HOLIDAY: f64 = 0.03;

/// The share of a working day's sign-ins in each hour, local time, relative to a mean busy hour.
const WORKDAY: [f64; 24] = [
    0.02, 0.02, 0.02, 0.02, 0.03, 0.06, 0.15, 0.40, 1.05, 1.55, 1.20, 1.00, 0.70, 1.00, 1.00, 0.90, 0.80, 0.50, 0.25,
    0.15, 0.10, 0.08, 0.05, 0.03,
];
const WEEKEND: f64 = 0.04;

/// How many tries the people of an office make in the hour that starts at `hour`, relative to a week's total of 1.
pub(crate) fn share_of_week(seed: u64, office: usize, hour: Timestamp) -> f64 {
    let local = Timestamp(hour.0 + Span::minutes(OFFICES[office].utc_offset + 30).0);
    let day = local.index(Span::hours(24));
    let of_day = WORKDAY[local.index(Span::hours(1)).rem_euclid(24) as usize];
    let total: f64 = WORKDAY.iter().sum::<f64>() * (5.0 + 2.0 * WEEKEND) * (1.0 - HOLIDAY);
    // 1970-01-01 was a Thursday: day 2 was a Saturday.
    let factor = match (day + 3).rem_euclid(7) {
        5 | 6 => WEEKEND,
        _ if chance::unit(seed, "holiday", office as u64, day as u64) < HOLIDAY => WEEKEND,
        _ => 1.0,
    };
    let mut of_hour = chance::rng(seed, "hour", hour.index(Span::hours(1)) as u64);
    let mut of_date = chance::rng(seed, "day", day as u64);
    of_day * factor / total * chance::factor(&mut of_hour, HOUR_SIGMA) * chance::factor(&mut of_date, DAY_SIGMA)
}

/// The chance of each check of [`Check::NULL_MIX`] in one hour, for a person with propensity 1 at a gated app.
pub(crate) fn refusal_rates(seed: u64, hour: Timestamp) -> [f64; 8] {
    let mut rng = chance::rng(seed, "refusals", hour.index(Span::hours(1)) as u64);
    let all = chance::factor(&mut rng, REFUSAL_HOUR_SIGMA);
    let sum: f64 = Check::NULL_MIX.iter().map(|(_, share)| share).sum();
    Check::NULL_MIX.map(|(_, share)| REFUSED * share / sum * all * chance::factor(&mut rng, REFUSAL_CHECK_SIGMA))
}

/// How much more often than the average a person is refused: one in a hundred 15 times as often as the others. Every
/// four weeks 5 % of the people get a new propensity.
pub(crate) fn propensity(seed: u64, person: u32, at: Timestamp) -> f64 {
    const REMEMBERED: i64 = 100;
    let block = at.index(Span::hours(24 * 28));
    let changed = (block - REMEMBERED..=block)
        .rev()
        .find(|block| chance::unit(seed, "changed", u64::from(person), *block as u64) < 0.05)
        .unwrap_or(block - REMEMBERED);
    let offender = chance::unit(seed, "offender", u64::from(person), changed as u64) < 0.01;
    (if offender { 15.0 } else { 1.0 }) / (0.99 + 0.01 * 15.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Monday.
    const MONDAY: &str = "2026-03-02T00:00:00.000Z";

    fn monday() -> Timestamp {
        Timestamp::parse(MONDAY).expect("a time")
    }

    #[test]
    fn a_year_of_weeks_has_the_weight_of_a_year_and_nights_and_weekends_are_quiet() {
        let share = |hours: std::ops::Range<i64>| -> f64 {
            hours.map(|hour| share_of_week(1, 1, monday() + Span::hours(hour))).sum()
        };
        let year = share(0..52 * 168) / 52.0;
        assert!((year - 1.0).abs() < 0.04, "{year}");
        assert!(share(5 * 24..7 * 24) < 0.05 * share(0..7 * 24));
        assert!(share(0..4) < 0.2 * share(9..10));
    }

    #[test]
    fn refusals_average_their_rate_over_a_year() {
        let hours = 24 * 364;
        let sum: f64 = (0..hours).map(|h| refusal_rates(1, monday() + Span::hours(h)).iter().sum::<f64>()).sum();
        assert!((sum / hours as f64 / REFUSED - 1.0).abs() < 0.04, "{sum}");
    }

    #[test]
    fn one_in_a_hundred_people_is_a_repeat_offender_for_weeks() {
        let offenders = |at| (0..20_000).filter(|person| propensity(1, *person, at) > 5.0).collect::<Vec<u32>>();
        let (now, later) = (offenders(monday()), offenders(monday() + Span::hours(24 * 28)));
        assert!((140..260).contains(&now.len()), "{}", now.len());
        let same = now.iter().filter(|person| later.contains(person)).count();
        assert!(same < now.len() && same * 10 > now.len() * 8, "{same} of {}", now.len());
    }
}
