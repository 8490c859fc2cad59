//! What a source brings in each hour of a week, robustly: the median of up to five weeks, and of the days the quietest.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::event::{Span, Timestamp};

const HOUR: Span = Span::hours(1);
const WEEK_HOURS: i64 = 168;
/// Weeks remembered of each hour.
const WEEKS: usize = 5;

/// Events by hour of the week; at most 168 × 5 numbers.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Season {
    hours: BTreeMap<u8, VecDeque<u32>>,
    /// The first hour (of the epoch) that is not learnt yet.
    next: Option<i64>,
}

impl Season {
    /// Learns every whole hour up to the watermark, but for those from `blind_since` on. Nothing is learnt of the hour
    /// in which the first event came, which is not whole.
    pub fn settle(
        &mut self,
        watermark: Timestamp,
        newest: Option<Timestamp>,
        blind_since: Option<Timestamp>,
        events: &dyn Fn(i64) -> u32,
    ) {
        let Some(newest) = newest else { return };
        let first = *self.next.get_or_insert(newest.index(HOUR) + 1);
        let last = watermark.index(HOUR);
        // What is older than the counts of hours is not known to be 0.
        let known = last - 48;
        let blind = blind_since.map_or(i64::MAX, |since| since.index(HOUR));
        for hour in first.max(known)..last.min(blind) {
            let of_week = self.hours.entry(hour.rem_euclid(WEEK_HOURS) as u8).or_default();
            of_week.push_back(events(hour));
            if of_week.len() > WEEKS {
                of_week.pop_front();
            }
        }
        self.next = Some(first.max(last));
    }

    /// Whether every hour of a week was seen.
    pub fn knows_a_week(&self) -> bool {
        self.hours.len() == WEEK_HOURS as usize
    }

    /// What the quietest days would have brought from `from` to `to`, counted up to about `enough`; `None` before a week is
    /// known.
    pub fn quietest(&self, from: Timestamp, to: Timestamp, enough: f64) -> Option<f64> {
        if !self.knows_a_week() {
            return None;
        }
        let (mut sum, mut at) = (0.0, from);
        // A week of it is as good as for ever.
        for _ in 0..=WEEK_HOURS {
            if at >= to || sum >= enough {
                break;
            }
            let end = (at.floor(HOUR) + HOUR).min(to);
            sum += self.quietest_hour(at.index(HOUR)) * (end - at).0 as f64 / HOUR.0 as f64;
            at = end;
        }
        Some(sum)
    }

    /// The least median of all days for this hour of the day and the two beside it.
    fn quietest_hour(&self, hour: i64) -> f64 {
        let days = (0..7).flat_map(|day| [-1, 0, 1].map(|beside| hour + beside + day * 24));
        let medians = days.map(|hour| self.median(hour.rem_euclid(WEEK_HOURS) as u8));
        medians.min().map_or(0.0, f64::from)
    }

    fn median(&self, of_week: u8) -> u32 {
        let Some(weeks) = self.hours.get(&of_week) else { return 0 };
        let mut weeks: Vec<u32> = weeks.iter().copied().collect();
        weeks.sort_unstable();
        // Of an even number the upper one: a week that was cut short must not be the usual.
        weeks.get(weeks.len() / 2).copied().unwrap_or(0)
    }
}
