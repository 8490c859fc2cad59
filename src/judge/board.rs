//! The board: all series of one org, by key, with a cap; what the judge looks at and what it learns.
//!
//! Attempts and refusals go in as they are decided, a tick asks every series in which somebody was refused since the last
//! one, and once an hour the past is learnt. Nothing is judged that had no room and was folded into `other`: such series
//! share nothing but the want of room.

mod learn;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::baseline;
use super::case::{Attempt, Case, Ended, Why};
use super::door::{Door, Doors};
use super::spike::{self, WINDOWS};
use super::{Firing, Look, Series, Thresholds};
use crate::event::{Credential, Platform, Span, Timestamp};
use crate::window::{Level, SeriesKey};

/// Until this much history is known the judge asks for more.
const FIRST_DAY: Span = Span::hours(24);
/// Places kept resolved; beyond it they are looked up again.
const PLACES: usize = 20_000;

/// How the board learns. What the product uses is the default; the scorecard measures the others against it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Learning {
    /// φ where it is given instead of learnt.
    pub dispersion: Option<f64>,
    /// A day further above the usual than so many standard deviations counts for less. Source: the `weightsThreshold` of
    /// `farringtonFlexible`.
    pub weigh_above: f64,
}

impl Default for Learning {
    fn default() -> Self {
        Self { dispersion: None, weigh_above: 2.58 }
    }
}

/// Cohort, app, platform and credential of attempts.
type Place = (SmolStr, SmolStr, Platform, Credential);

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Slot {
    key: SeriesKey,
    /// The slot that holds its attempts.
    exposure: u32,
    series: Series,
}

/// All series of one org.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Board {
    capacity: usize,
    prior: f64,
    slots: Vec<Slot>,
    index: BTreeMap<SeriesKey, u32>,
    of_level: BTreeMap<Level, usize>,
    touched: BTreeSet<SeriesKey>,
    doors: Doors,
    began: Option<Timestamp>,
    /// Whether refusals are judged by their checks; else the rule stands for the reason.
    by_check: bool,
    /// Since when that is so.
    by_check_since: Option<Timestamp>,
    /// The last hour that was learnt.
    learnt: i64,
    /// The slots that an attempt at a place counts in, and whether a series had no room. Only a memory.
    #[serde(skip)]
    places: BTreeMap<Place, (Vec<u32>, bool)>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            capacity: 0,
            prior: 0.01,
            slots: Vec::new(),
            index: BTreeMap::new(),
            of_level: BTreeMap::new(),
            touched: BTreeSet::new(),
            doors: Doors::default(),
            began: None,
            by_check: false,
            by_check_since: None,
            learnt: i64::MIN,
            places: BTreeMap::new(),
        }
    }
}

impl Board {
    /// Sets how many series there may be, and the refused share assumed before anything is learnt.
    pub fn configure(&mut self, capacity: u32, prior: f64) {
        self.capacity = capacity as usize;
        self.prior = prior;
        self.places.clear();
    }

    /// Every series with its key, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (&SeriesKey, &Series)> {
        self.index.iter().filter_map(|(key, at)| Some((key, &self.slots.get(*at as usize)?.series)))
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether a series is kept.
    pub fn holds(&self, key: &SeriesKey) -> bool {
        self.index.contains_key(key)
    }

    /// Whether somebody was refused since the last tick.
    pub fn is_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Changes in scope per week, over the last four.
    pub fn changes_a_week(&self) -> f64 {
        self.doors.a_week()
    }

    /// The policies became known (`by_check`), or are known no more, at `at`: what was learnt of reasons says nothing any
    /// more, since the same refusals count elsewhere from now on.
    pub fn judge_by_check(&mut self, by_check: bool, at: Timestamp) {
        if self.by_check == by_check {
            return;
        }
        self.by_check = by_check;
        self.by_check_since = Some(at);
        self.remove(|slot| slot.key.level.says_why() && slot.key.level != Level::Rule);
        for slot in &mut self.slots {
            slot.series.baseline.explain_from_now();
        }
    }

    /// Whether refusals are judged by their checks.
    pub fn judges_by_check(&self) -> bool {
        self.by_check
    }

    /// Counts an attempt (`by` = 1) or takes it back (`by` = −1). Returns whether a series had no room.
    pub fn count(&mut self, attempt: &Attempt<'_>, by: i64) -> bool {
        self.began = Some(self.began.map_or(attempt.at, |began| began.min(attempt.at)));
        let value = |value: Option<&SmolStr>| value.cloned().unwrap_or_default();
        let place = (value(attempt.cohort), value(attempt.app), attempt.platform, attempt.credential);
        if !self.places.contains_key(&place) {
            self.resolve(place.clone(), attempt);
        }
        let mut folded = false;
        if let Some((slots, had_no_room)) = self.places.get(&place) {
            folded = *had_no_room;
            for at in slots {
                if let Some(slot) = self.slots.get_mut(*at as usize) {
                    slot.series.count(attempt.at, attempt.ended, by);
                }
            }
        }
        if let (Ended::Denied, Some(rule)) = (attempt.ended, attempt.rule) {
            let (at, had_no_room) = self.slot(SeriesKey::one(Level::Rule, rule));
            folded |= had_no_room;
            if let Some(slot) = self.slots.get_mut(at as usize) {
                slot.series.count(attempt.at, attempt.ended, by);
            }
        }
        folded
    }

    /// Notes a refused person in every judged series that the refusal belongs to. Returns whether one had no room.
    pub fn refuse(&mut self, case: &Case<'_>) -> bool {
        self.note(case, case.keys())
    }

    /// Why somebody was refused, who was counted already, is known now.
    pub fn explain(&mut self, case: &Case<'_>) -> bool {
        self.note(case, case.reasons())
    }

    /// Takes back a refusal that a later success in its flow undid.
    pub fn unrefuse(&mut self, case: &Case<'_>) {
        let mut keys = case.keys();
        // It may have been counted before its reason was known.
        keys.extend(Case { why: Why::Rule, ..case.clone() }.reasons());
        for key in keys {
            if let Some(slot) = self.index.get(&key).and_then(|at| self.slots.get_mut(*at as usize)) {
                slot.series.unrefuse(case.person, case.at);
            }
        }
    }

    /// A change whose scope is known has passed.
    pub fn open(&mut self, door: Door) {
        self.doors.open(door);
    }

    /// Judges every series in which someone was refused since the last tick. Nobody refused before `rested`, the end of
    /// the last incident, counts.
    pub fn judge(
        &mut self,
        tick: Timestamp,
        rested: Timestamp,
        thresholds: &Thresholds,
        learning: &Learning,
    ) -> Vec<Firing> {
        self.doors.expire(tick);
        let touched = std::mem::take(&mut self.touched);
        touched.into_iter().flat_map(|key| self.judge_one(&key, tick, rested, thresholds, learning)).collect()
    }

    /// The furthest above its threshold through each door.
    fn judge_one(
        &self,
        key: &SeriesKey,
        tick: Timestamp,
        rested: Timestamp,
        thresholds: &Thresholds,
        learning: &Learning,
    ) -> Vec<Firing> {
        let Some(slot) = self.find(key) else { return Vec::new() };
        let refused = &slot.series.refused;
        let since = WINDOWS.map(|window| rested.max(tick - window));
        let counts = refused.counts(since, tick);
        // The last window holds the others.
        let most = counts.last().copied().unwrap_or(0);
        let mut ground: Option<Ground<'_>> = None;
        let mut look = |from: Timestamp, people: u32| {
            ground.get_or_insert_with(|| self.ground(slot, tick, learning)).look(people, from, tick)
        };
        let mut firings = Vec::new();
        let mut consider = |look: Look, change: Option<&SmolStr>| {
            let verdict = spike::judge(&look, thresholds);
            if verdict.fires() {
                let people = Vec::new();
                firings.push(Firing { key: key.clone(), look, verdict, change: change.cloned(), people });
            }
        };
        for (from, people) in since.into_iter().zip(counts) {
            if people >= thresholds.least_people {
                consider(look(from, people), None);
            }
        }
        if most >= thresholds.least_people_after_change && self.doors.any() {
            for door in self.doors.of(key, tick) {
                let from = rested.max(door.at);
                let people = refused.count(from, tick);
                if people >= thresholds.least_people_after_change {
                    consider(Look { after_change: true, ..look(from, people) }, Some(&door.change));
                }
            }
        }
        let best = |after_change: bool| {
            let through = firings.iter().filter(|firing| firing.change.is_some() == after_change);
            let best = through.max_by(|a, b| a.excess().total_cmp(&b.excess())).cloned();
            best.map(|best| Firing { people: refused.people(tick - best.look.window, tick).collect(), ..best })
        };
        [false, true].into_iter().filter_map(best).collect()
    }

    /// Whether a series is at rest in a window, its score below a limit; one that is gone is.
    pub fn is_calm(&self, key: &SeriesKey, window: Span, below: f64, tick: Timestamp, learning: &Learning) -> bool {
        let Some(slot) = self.find(key) else { return true };
        let from = tick - window;
        let people = slot.series.refused.count(from, tick);
        people == 0 || spike::is_calm(&self.ground(slot, tick, learning).look(people, from, tick), below)
    }

    /// Attempts from `since` to `to` among which the refusals of a series happen.
    pub fn attempts(&self, key: &SeriesKey, since: Timestamp, to: Timestamp) -> f64 {
        self.find(&key.exposure()).map_or(0.0, |slot| slot.series.tallies.attempts(since, to))
    }

    /// People expected to be refused in a series from `since` to `to`.
    pub fn expected(&self, key: &SeriesKey, since: Timestamp, to: Timestamp) -> f64 {
        self.rate(key, baseline::block(to)) * self.attempts(key, since, to)
    }

    /// Distinct people refused in a series in (`since`, `to`].
    pub fn refused(&self, key: &SeriesKey, since: Timestamp, to: Timestamp) -> u32 {
        self.find(key).map_or(0, |slot| slot.series.refused.count(since, to))
    }

    /// Forgets a person.
    pub fn forget(&mut self, person: u64) {
        self.slots.iter_mut().for_each(|slot| slot.series.refused.forget(person));
    }

    fn find(&self, key: &SeriesKey) -> Option<&Slot> {
        self.slots.get(*self.index.get(key)? as usize)
    }

    fn note(&mut self, case: &Case<'_>, keys: Vec<SeriesKey>) -> bool {
        let mut folded = false;
        for key in keys {
            let is_place = !key.level.says_why() || key.level == Level::Rule;
            let at = if is_place { self.index.get(&key).copied() } else { self.room_for(&key) };
            let Some(slot) = at.and_then(|at| self.slots.get_mut(at as usize)) else {
                // That a place had no room was told when its attempt was counted.
                folded |= !is_place;
                continue;
            };
            slot.series.refuse(case.person, case.at);
            self.touched.insert(key);
        }
        folded
    }

    fn ground<'a>(&'a self, slot: &'a Slot, tick: Timestamp, learning: &Learning) -> Ground<'a> {
        let says_check = slot.key.level.says_why() && slot.key.level != Level::Rule;
        let began = if says_check { self.began.max(self.by_check_since) } else { self.began };
        Ground {
            exposure: self.slots.get(slot.exposure as usize).map(|slot| &slot.series),
            rate: self.rate(&slot.key, baseline::block(tick)),
            dispersion: self.phi(&slot.key, learning),
            series_of_level: self.of_level.get(&slot.key.level).copied().unwrap_or(1),
            first_day: began.is_none_or(|began| tick - began < FIRST_DAY),
        }
    }

    /// The slots of a place, made where they are not there.
    fn resolve(&mut self, place: Place, attempt: &Attempt<'_>) {
        let found: Vec<(u32, bool)> = attempt.keys().into_iter().map(|key| self.slot(key)).collect();
        if self.places.len() >= PLACES {
            self.places.clear();
        }
        let folded = found.iter().any(|(_, folded)| *folded);
        self.places.insert(place, (found.into_iter().map(|(at, _)| at).collect(), folded));
    }

    /// The slot of a key, made if absent; and whether it had no room and another stands for it.
    fn slot(&mut self, key: SeriesKey) -> (u32, bool) {
        match self.room_for(&key) {
            Some(at) => (at, false),
            None => (self.insert(SeriesKey::other(key.level)), true),
        }
    }

    /// The slot of a key, made if absent and there is room.
    fn room_for(&mut self, key: &SeriesKey) -> Option<u32> {
        if let Some(at) = self.index.get(key) {
            return Some(*at);
        }
        (self.slots.len() < self.capacity).then(|| self.insert(key.clone()))
    }

    fn insert(&mut self, key: SeriesKey) -> u32 {
        if let Some(at) = self.index.get(&key) {
            return *at;
        }
        let exposure = key.exposure();
        let exposure = if exposure == key { None } else { Some(self.insert(exposure)) };
        let at = self.slots.len() as u32;
        *self.of_level.entry(key.level).or_default() += 1;
        self.index.insert(key.clone(), at);
        let series = Series::new(key.level);
        self.slots.push(Slot { key, exposure: exposure.unwrap_or(at), series });
        at
    }

    /// Removes slots and returns their keys.
    fn remove(&mut self, is_gone: impl Fn(&Slot) -> bool) -> Vec<SeriesKey> {
        let (gone, left): (Vec<Slot>, Vec<Slot>) = std::mem::take(&mut self.slots).into_iter().partition(is_gone);
        self.places.clear();
        self.index.clear();
        self.of_level.clear();
        // In the order in which they came: attempts come before what is measured against them.
        for slot in left {
            let at = self.insert(slot.key) as usize;
            self.slots[at].series = slot.series;
        }
        for slot in &gone {
            self.touched.remove(&slot.key);
        }
        gone.into_iter().map(|slot| slot.key).collect()
    }
}

/// What all looks at one series have in common.
struct Ground<'a> {
    exposure: Option<&'a Series>,
    rate: f64,
    dispersion: f64,
    series_of_level: usize,
    first_day: bool,
}

impl Ground<'_> {
    fn look(&self, people: u32, from: Timestamp, tick: Timestamp) -> Look {
        Look {
            people,
            attempts: self.exposure.map_or(0.0, |series| series.tallies.attempts(from, tick)),
            rate: self.rate,
            dispersion: self.dispersion,
            series_of_level: self.series_of_level,
            window: tick - from,
            first_day: self.first_day,
            after_change: false,
        }
    }
}

#[cfg(test)]
#[path = "board/tests.rs"]
mod tests;
