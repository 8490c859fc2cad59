//! Durations in an HDR histogram: mergeable, two significant digits, 1 ms to 2 h.

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Merge;
use crate::event::Span;

const HIGHEST_MS: u64 = 2 * 60 * 60 * 1_000;
const DIGITS: u8 = 2;

/// A histogram of durations; empty ones hold no memory.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Latency(Option<Histogram<u32>>);

impl Latency {
    /// Counts a duration, clamped to 1 ms … 2 h.
    pub fn record(&mut self, duration: Span) {
        self.record_n(duration.0.max(1) as u64, 1);
    }

    /// The duration in seconds that `quantile` (0 to 1) of all do not exceed; `None` where there is none.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let histogram = self.0.as_ref()?;
        Some(histogram.value_at_quantile(quantile) as f64 / 1_000.0)
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::len)
    }

    fn record_n(&mut self, ms: u64, count: u32) {
        if self.0.is_none() {
            self.0 = Histogram::new_with_bounds(1, HIGHEST_MS, DIGITS).ok();
        }
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record_n(ms, count);
        }
    }
}

impl Merge for Latency {
    fn merge(&mut self, other: &Self) {
        for step in other.0.iter().flat_map(Histogram::iter_recorded) {
            self.record_n(step.value_iterated_to(), step.count_at_value());
        }
    }
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let steps = self.0.iter().flat_map(Histogram::iter_recorded);
        let pairs: Vec<(u64, u32)> = steps.map(|step| (step.value_iterated_to(), step.count_at_value())).collect();
        pairs.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut latency = Self::default();
        for (ms, count) in Vec::<(u64, u32)>::deserialize(deserializer)? {
            latency.record_n(ms, count);
        }
        Ok(latency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(durations: &[i64]) -> Latency {
        let mut latency = Latency::default();
        durations.iter().for_each(|ms| latency.record(Span(*ms)));
        latency
    }

    #[test]
    fn merging_and_storing_keep_every_count() {
        let (mut left, right) = (of(&[5, 900, 1_500, 9_000_000]), of(&[0, 40_000]));
        let mut other = right.clone();
        other.merge(&left);
        left.merge(&right);
        assert_eq!(left, other);
        let bytes = postcard::to_stdvec(&left).expect("encode");
        assert_eq!(postcard::from_bytes::<Latency>(&bytes).expect("decode"), left);
        assert_eq!(left.count(), 6);
    }

    #[test]
    fn quantiles_are_within_two_digits() {
        let latency = of(&(1..=1_000).collect::<Vec<_>>());
        let median = latency.quantile(0.5).expect("durations");
        assert!((median - 0.5).abs() < 0.01, "{median}");
        assert_eq!(Latency::default().quantile(0.5), None);
    }
}
