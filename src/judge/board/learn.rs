//! What the board learns: hours, days, how much they vary, and from these what is usual of a series.

use smol_str::SmolStr;

use super::{Board, Learning, Slot};
use crate::event::Timestamp;
use crate::judge::baseline::{self, Exposure, HOUR, Happened};
use crate::judge::dispersion;
use crate::window::{Level, SeriesKey};

/// An hour is learnt when it is this old: by then an incident that began in it is known.
const SETTLED: i64 = 5;
/// The share of the refusals that a check is taken to have before anything is learnt of it.
pub(super) const SHARE_OF_CHECK: f64 = 1.0 / 12.0;

impl Board {
    /// The φ of a series: its own where it has enough hours, else that of the widest-varying of its values, else the
    /// org's.
    pub fn dispersion(&self, key: &SeriesKey) -> f64 {
        let own = |key: &SeriesKey| self.find(key)?.series.dispersion.as_ref()?.bound();
        let org = || own(&SeriesKey::org()).unwrap_or(dispersion::ASSUMED);
        let parts = key.parts().map(|(level, value)| own(&SeriesKey::one(level, value)).unwrap_or_else(org));
        parts.reduce(f64::max).unwrap_or_else(org)
    }

    /// Learns the hours that have settled at `now`, but those for which `left_out` says that they belong to an incident;
    /// drops what no window reaches and series without a past. Returns the keys of these. Does nothing within an hour.
    pub fn settle(&mut self, now: Timestamp, left_out: &dyn Fn(i64) -> bool, learning: &Learning) -> Vec<SeriesKey> {
        let due = now.index(HOUR) - SETTLED;
        if due <= self.learnt {
            return Vec::new();
        }
        loop {
            let oldest = self.slots.iter().filter_map(|slot| slot.series.baseline.oldest()).min();
            let hour = oldest.map_or(due, |oldest| oldest.min(due)).max(self.learnt.saturating_add(1));
            if self.learnt != i64::MIN {
                if hour.div_euclid(24) != self.learnt.div_euclid(24) {
                    self.close_day(self.learnt, learning);
                }
                let hours = hour - self.learnt;
                self.slots.iter_mut().for_each(|slot| slot.series.baseline.fade(hours));
            }
            self.learn(hour, left_out(hour));
            self.learnt = hour;
            if hour >= due {
                break;
            }
        }
        for slot in &mut self.slots {
            slot.series.refused.expire(now);
        }
        if self.slots.iter().any(|slot| slot.series.is_idle(now)) {
            return self.remove(|slot| slot.series.is_idle(now));
        }
        Vec::new()
    }

    fn learn(&mut self, hour: i64, is_left_out: bool) {
        let happened: Vec<Happened> = self.slots.iter_mut().map(|slot| slot.series.baseline.take(hour)).collect();
        if is_left_out {
            return;
        }
        let block = baseline::block(Timestamp(hour * HOUR.0));
        for at in 0..self.slots.len() {
            let slot = &self.slots[at];
            if slot.series.dispersion.is_none() {
                continue;
            }
            let attempts = happened.get(slot.exposure as usize).map_or(0.0, |happened| happened.attempts);
            // An hour so quiet says nothing of φ, and asking what is usual costs.
            if attempts < 2.0 {
                continue;
            }
            let expected = self.rate(&slot.key, block) * attempts;
            if let Some(dispersion) = &mut self.slots[at].series.dispersion {
                dispersion.learn(happened[at], expected);
            }
        }
        for (slot, happened) in self.slots.iter_mut().zip(happened) {
            slot.series.baseline.learn(hour, happened);
        }
    }

    /// The day that holds `hour` is over.
    fn close_day(&mut self, hour: i64, learning: &Learning) {
        let block = baseline::block(Timestamp(hour * HOUR.0));
        let weights: Vec<f64> = self
            .slots
            .iter()
            .map(|slot| {
                if !slot.series.baseline.may_be_unusual() {
                    return 1.0;
                }
                let exposure = self.exposure(slot);
                let (parent, phi) = (self.parent(&slot.key, block), self.phi(&slot.key, learning));
                slot.series.baseline.weight_of_today(parent, exposure, phi, learning.weigh_above)
            })
            .collect();
        for (slot, weight) in self.slots.iter_mut().zip(weights) {
            slot.series.baseline.close_day(weight);
            if let Some(dispersion) = &mut slot.series.dispersion {
                dispersion.fade();
            }
        }
    }

    pub(super) fn phi(&self, key: &SeriesKey, learning: &Learning) -> f64 {
        learning.dispersion.unwrap_or_else(|| self.dispersion(key))
    }

    pub(super) fn exposure<'a>(&'a self, slot: &'a Slot) -> Exposure<'a> {
        let of = self.slots.get(slot.exposure as usize).unwrap_or(slot);
        let explained = slot.key.level.says_why() && slot.key.level != Level::Rule;
        Exposure { of: &of.series.baseline, explained }
    }

    /// Usual refusals per attempt of a series at a time of day.
    pub(super) fn rate(&self, key: &SeriesKey, block: usize) -> f64 {
        let parent = self.parent(key, block);
        let Some(slot) = self.find(key) else { return parent };
        slot.series.baseline.rate(parent, self.exposure(slot), block)
    }

    /// What a series leans on: a two-way key on the product of its one-way rates over the org's, a one-way key on the
    /// org's or on its share of it.
    fn parent(&self, key: &SeriesKey, block: usize) -> f64 {
        let mut parts = key.parts();
        let org = |board: &Self| board.rate(&SeriesKey::org(), block);
        match (parts.next(), parts.next()) {
            (None, _) => self.prior,
            (Some((Level::Check, _)), None) => org(self) * SHARE_OF_CHECK,
            (Some((Level::Rule, _)), None) => {
                org(self) / self.of_level.get(&Level::Rule).copied().unwrap_or(1).max(1) as f64
            }
            (Some(_), None) => org(self),
            (Some((a, first)), Some((b, second))) => {
                let of = |level, value: &SmolStr| self.rate(&SeriesKey::one(level, value), block);
                of(a, first) * of(b, second) / org(self)
            }
        }
    }
}
