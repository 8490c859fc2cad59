//! Good and bad ones over the last 30 days, at resolutions that fit the windows asked for.
//!
//! Four rings take every count: 10 s for half an hour, a minute for six hours, five minutes for three days, an hour for
//! the period; about 2,100 buckets at most. A window is summed in the finest ring that reaches that far, and may be
//! longer by one bucket than its name says: at most 3 %.

use serde::{Deserialize, Serialize};

use crate::event::{Span, Timestamp};
use crate::window::{GoodBad, Ring};

/// Width and number of buckets, finest first.
const LEVELS: [(Span, u32); 4] =
    [(Span::seconds(10), 181), (Span::minutes(1), 361), (Span::minutes(5), 865), (Span::hours(1), 721)];

/// The counts of one objective. They merge: parts counted apart add up to what one place would have counted.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Counts {
    rings: [Ring<GoodBad>; 4],
}

impl Default for Counts {
    fn default() -> Self {
        Self { rings: LEVELS.map(|(width, capacity)| Ring::new(width, capacity)) }
    }
}

impl Counts {
    /// Counts a good or a bad one at its event time (`by` = 1), or takes one back (`by` = −1) that was counted at the same
    /// time. What is older than a ring is not in it.
    pub fn add(&mut self, at: Timestamp, is_bad: bool, by: i32) {
        for bucket in self.rings.iter_mut().filter_map(|ring| ring.bucket(at)) {
            let counter = if is_bad { &mut bucket.bad } else { &mut bucket.good };
            *counter = counter.saturating_add_signed(by);
        }
    }

    /// What was counted in the window up to `now`.
    pub fn sum(&self, now: Timestamp, window: Span) -> GoodBad {
        let reaches = |(width, capacity): &(Span, u32)| width.0 * i64::from(capacity - 1) >= window.0;
        let level = LEVELS.iter().position(reaches).unwrap_or(LEVELS.len() - 1);
        // A tick is the end of its window: the bucket that begins there holds nothing that is before it.
        self.rings[level].sum(now - window, Timestamp(now.0 - 1))
    }

    /// Folds the counts of another place into these.
    pub fn merge(&mut self, other: &Self) {
        self.rings.iter_mut().zip(&other.rings).for_each(|(own, other)| own.merge(other));
    }
}
