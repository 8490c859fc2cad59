//! The System Log as a stream in commit order: flows, changes and background merged, with the awkwardness of a real log.
//!
//! An event is committed 0.2 to 1.2 s after its `published`, one in twenty up to 8 s after, so the stream is not in
//! order of `published`. A few events that are no refusal, failure or change come 60 to 120 s late; some come twice.
//! The stream holds what is published but not committed, a few hundred events, and one hour of background.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::iter::Peekable;
use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::chance;
use super::org::Org;
use super::plan::Plan;
use super::render::{self, Event};
use super::scenario::{Scenario, Timeline};
use super::truth::Truth;
use crate::event::{Span, Timestamp};

/// How awkward the log is: chances per event.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Awkward {
    /// The event comes again 5 to 300 s later, the same byte for byte.
    pub repeats: f64,
    /// It is committed 60 to 120 s late; never a refusal, a failure or a change.
    pub late: f64,
    /// It has an odd but acceptable shape (a number for `version`, an upper-case `uuid`); never a refusal.
    pub odd: f64,
    /// An element that is no event follows it.
    pub bad: f64,
}

impl Default for Awkward {
    /// Half a percent repeated, 0.2 % late, 0.1 % odd, nothing bad.
    fn default() -> Self {
        Self { repeats: 0.005, late: 0.002, odd: 0.001, bad: 0.0 }
    }
}

impl Awkward {
    /// A log that is only out of order.
    pub const NONE: Self = Self { repeats: 0.0, late: 0.0, odd: 0.0, bad: 0.0 };
}

/// One element of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// When the log shows it.
    pub commit: Timestamp,
    /// Its `published`; the commit time of a bad element.
    pub published: Timestamp,
    /// Its JSON.
    pub json: String,
}

/// The log of one run: an iterator in commit order that counts the truth on its way.
pub struct Log {
    org: Arc<Org>,
    plan: Peekable<Plan>,
    changes: VecDeque<Event>,
    background: VecDeque<Event>,
    next_hour: Timestamp,
    waiting: BinaryHeap<Reverse<Waiting>>,
    number: u64,
    rng: ChaCha8Rng,
    awkward: Awkward,
    truth: Truth,
}

/// A committed element that is not yet due; ordered by commit time, then by number.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    commit: Timestamp,
    number: u64,
    published: Timestamp,
    json: String,
}

impl Log {
    /// The log of the flows that start in `start..until`.
    pub fn new(org: Arc<Org>, timeline: Timeline, start: Timestamp, until: Timestamp, awkward: Awkward) -> Self {
        let mut changes: Vec<Event> = timeline
            .pushes
            .iter()
            .enumerate()
            .flat_map(|(number, push)| [false, true].map(|back| render::push_events(&org, number, push, back)))
            .flatten()
            .filter(|event| event.published >= start && event.published < until)
            .collect();
        changes.sort_by_key(|event| event.published);
        Self {
            truth: Truth::new(&org, &timeline, start, until),
            rng: chance::rng(org.seed, "log", start.0.cast_unsigned()),
            plan: Plan::new(Arc::clone(&org), timeline, start, until).peekable(),
            changes: changes.into(),
            background: VecDeque::new(),
            next_hour: start.floor(Span::hours(1)),
            waiting: BinaryHeap::new(),
            number: 0,
            awkward,
            org,
        }
    }

    /// The log of a scenario that happens at `moment`.
    pub fn of_scenario(
        org: Arc<Org>,
        scenario: Scenario,
        moment: Timestamp,
        start: Timestamp,
        until: Timestamp,
        awkward: Awkward,
    ) -> Self {
        let timeline = scenario.timeline(&org, moment);
        Self::new(org, timeline, start, until, awkward).named(Some(scenario))
    }

    /// Names the scenario in the truth.
    #[must_use]
    pub fn named(mut self, scenario: Option<Scenario>) -> Self {
        self.truth.scenario = scenario.map(Scenario::as_str);
        self
    }

    /// The org whose log it is.
    pub fn org(&self) -> &Arc<Org> {
        &self.org
    }

    /// The truth of everything drawn so far; complete when the stream has ended.
    pub fn truth(&self) -> Truth {
        let mut truth = self.truth.clone();
        truth.pushes.iter_mut().for_each(super::truth::PushTruth::order_people);
        truth
    }

    fn refill_background(&mut self) {
        while self.background.is_empty() && self.next_hour < self.truth.until {
            let events = render::background_hour(&self.org, self.next_hour);
            let (start, until) = (self.truth.start, self.truth.until);
            self.background.extend(events.into_iter().filter(|e| e.published >= start && e.published < until));
            self.next_hour = self.next_hour + Span::hours(1);
        }
    }

    /// Takes the earliest of flow, change and background, unless a waiting element is due before it.
    fn take_next(&mut self) -> bool {
        self.refill_background();
        let flow = self.plan.peek().map(|flow| flow.at);
        let change = self.changes.front().map(|event| event.published);
        let background = self.background.front().map(|event| event.published);
        let Some(first) = [flow, change, background].into_iter().flatten().min() else { return false };
        if self.waiting.peek().is_some_and(|Reverse(waiting)| waiting.commit < first) {
            return false;
        }
        if change == Some(first) {
            let event = self.changes.pop_front();
            event.into_iter().for_each(|event| self.commit(event));
        } else if background == Some(first) {
            let event = self.background.pop_front();
            event.into_iter().for_each(|event| self.commit(event));
        } else if let Some(flow) = self.plan.next() {
            self.truth.count(&self.org, &flow);
            render::flow_events(&self.org, &flow).into_iter().for_each(|event| self.commit(event));
        }
        true
    }

    fn commit(&mut self, event: Event) {
        let Event { published, event_type, may_be_late, mut json } = event;
        self.truth.events += 1;
        *self.truth.events_by_type.entry(event_type).or_default() += 1;
        let mut lag = if self.rng.random_bool(0.05) { 1_000..8_000 } else { 200..1_200 };
        if may_be_late && self.rng.random_bool(self.awkward.late) {
            self.truth.late += 1;
            lag = 60_000..120_000;
        }
        if may_be_late && self.rng.random_bool(self.awkward.odd) {
            self.truth.odd += 1;
            json = odd(&json);
        }
        let commit = published + Span(self.rng.random_range(lag));
        if self.rng.random_bool(self.awkward.repeats) {
            self.truth.duplicates += 1;
            let again = commit + Span(self.rng.random_range(5_000..300_000));
            self.enqueue(again, published, json.clone());
        }
        if self.rng.random_bool(self.awkward.bad) {
            let element = bad(self.truth.bad, commit);
            self.truth.bad += 1;
            self.enqueue(commit, commit, element);
        }
        self.enqueue(commit, published, json);
    }

    fn enqueue(&mut self, commit: Timestamp, published: Timestamp, json: String) {
        self.truth.records += 1;
        self.number += 1;
        self.waiting.push(Reverse(Waiting { commit, number: self.number, published, json }));
    }
}

impl Iterator for Log {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        while self.take_next() {}
        let Reverse(Waiting { commit, published, json, .. }) = self.waiting.pop()?;
        Some(Entry { commit, published, json })
    }
}

/// The event in a shape that Okta's own examples have.
fn odd(json: &str) -> String {
    json.replacen("\"version\":\"0\"", "\"version\":0", 1).replacen("\"zone\":\"null\"", "\"zone\":null", 1)
}

/// One of the elements that are no event.
fn bad(number: u64, at: Timestamp) -> String {
    let uuid = chance::uuid(chance::hash128(0, "bad", number, at.0.cast_unsigned()));
    match number % 5 {
        0 => "{}".into(),
        1 => "null".into(),
        2 => format!("{{\"uuid\":\"{uuid}\",\"published\":\"{at}\",\"eventType\":null}}"),
        3 => format!("{{\"uuid\":\"{uuid}\",\"published\":\"{at}\"}}"),
        _ => "\"not an event\"".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    const AWKWARD: Awkward = Awkward { repeats: 0.02, late: 0.02, odd: 0.02, bad: 0.01 };

    fn log(awkward: Awkward) -> Log {
        let org = Arc::new(Org::new(9, 600));
        let start = Timestamp::parse("2026-03-02T12:30:00.000Z").expect("a time");
        let (moment, until) = (start + Span::hours(1), start + Span::hours(3));
        Log::of_scenario(org, Scenario::Rollback, moment, start, until, awkward)
    }

    #[test]
    fn elements_come_in_commit_order_and_the_truth_counts_each() {
        let mut log = log(AWKWARD);
        let entries: Vec<Entry> = log.by_ref().collect();
        let truth = log.truth();
        assert!(entries.is_sorted_by_key(|entry| entry.commit));
        assert!(!entries.is_sorted_by_key(|entry| entry.published), "some come out of order");
        assert_eq!(truth.records, entries.len() as u64);
        assert_eq!(truth.records, truth.events + truth.duplicates + truth.bad);
        assert_eq!(truth.events, truth.events_by_type.values().sum::<u64>());
        assert!(truth.duplicates > 20 && truth.bad > 10 && truth.odd > 20 && truth.late > 20, "{truth:?}");
        let late = entries.iter().filter(|entry| (entry.commit - entry.published) >= Span::seconds(60));
        assert!(late.count() as u64 >= truth.late);
        let mut by_uuid: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for entry in &entries {
            let value: Value = serde_json::from_str(&entry.json).expect("every element is JSON");
            if value["eventType"].is_string() && value["published"] != "redacted" {
                let uuid = value["uuid"].as_str().expect("a uuid").to_owned();
                by_uuid.entry(uuid).or_default().push(&entry.json);
            }
        }
        assert_eq!(by_uuid.len() as u64, truth.events);
        assert!(by_uuid.values().all(|same| same.iter().all(|json| *json == same[0])));
    }

    #[test]
    fn refusals_and_changes_are_never_late() {
        for entry in log(AWKWARD) {
            let lag = entry.commit - entry.published;
            if entry.json.contains("\"result\":\"DENY\"") || entry.json.contains("assurance.policy.update") {
                // A repetition may come late; its first copy did not.
                assert!(lag < Span::seconds(309), "{lag:?}");
            }
        }
        for entry in log(Awkward { repeats: 0.0, ..AWKWARD }) {
            let refusal = entry.json.contains("\"result\":\"DENY\"") || entry.json.contains("assurance.policy.update");
            assert!(!refusal || entry.commit - entry.published < Span::seconds(8));
        }
    }

    #[test]
    fn the_same_arguments_give_the_same_bytes() {
        assert!(log(AWKWARD).eq(log(AWKWARD)));
    }
}
