//! Changes of what decides about sign-ins, read off the committed counts of events: a marker for each org and kind of
//! change in an interval. Pure.
//!
//! The counts say how many and when they were read, not which policy it was. So a marker says no more than that, and
//! none is made while the org's log is read with a delay: it would stand at the wrong place.

use std::collections::{BTreeMap, VecDeque};

use super::AGE;
use crate::event::{Kind, Outcome, Timestamp};
use crate::telemetry::metric::Metric;
use crate::telemetry::snapshot::{Series, Snapshot, Value};

/// The kinds of events that are a change.
const KINDS: [Kind; 4] =
    [Kind::PolicyChange, Kind::AssuranceChange, Kind::AuthenticatorChange, Kind::IntegrationChange];

/// How far behind an org's log may be, in seconds, for a marker to stand where it belongs.
const DELAY: f64 = 300.0;

/// Markers that wait; beyond it the oldest goes.
const WAITING: usize = 64;

/// Changes of one kind in one org in one interval.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Marker {
    /// The org.
    pub(super) org: String,
    /// What changed (`policy_change`).
    pub(super) kind: String,
    /// How many changes.
    pub(super) count: u64,
    /// When they were read: between these.
    pub(super) from: Timestamp,
    /// As `from`.
    pub(super) until: Timestamp,
}

impl Marker {
    /// One line for a list.
    pub(super) fn title(&self) -> String {
        let what = self.kind.replace('_', " ");
        let (org, count) = (&self.org, self.count);
        if count == 1 { format!("{what} in {org}") } else { format!("{count} of {what} in {org}") }
    }

    /// What is known.
    pub(super) fn text(&self) -> String {
        let Self { kind, count, from, until, .. } = self;
        format!("The sign-in log had {count} events of kind {kind} between {from} and {until}.")
    }
}

/// Knows the counts of changes, and holds the markers that are not sent yet.
#[derive(Debug)]
pub(super) struct Changes {
    last: BTreeMap<(String, String), u64>,
    waiting: VecDeque<Marker>,
}

impl Changes {
    /// Begins with a base line.
    pub(super) fn new(base: &Snapshot) -> Self {
        Self { last: counts(base), waiting: VecDeque::new() }
    }

    /// Takes up what changed. How many markers were left out: for a delay, or for want of room.
    pub(super) fn take(&mut self, snapshot: &Snapshot, from: Timestamp, until: Timestamp) -> usize {
        let now = counts(snapshot);
        let mut left_out = 0;
        for ((org, kind), total) in &now {
            let count = total.saturating_sub(self.last.get(&(org.clone(), kind.clone())).copied().unwrap_or(0));
            if count > 0 && delay(snapshot, org).is_none_or(|delay| delay > DELAY) {
                left_out += 1;
            } else if count > 0 {
                self.waiting.push_back(Marker { org: org.clone(), kind: kind.clone(), count, from, until });
            }
        }
        self.last = now;
        while self.waiting.len() > WAITING {
            self.waiting.pop_front();
            left_out += 1;
        }
        left_out
    }

    /// Drops markers that are too old; how many.
    pub(super) fn expire(&mut self, now: Timestamp) -> usize {
        let before = self.waiting.len();
        self.waiting.retain(|marker| now - marker.until <= AGE);
        before - self.waiting.len()
    }

    /// The next to be sent.
    pub(super) fn front(&self) -> Option<&Marker> {
        self.waiting.front()
    }

    /// The next is done with.
    pub(super) fn settle(&mut self) {
        self.waiting.pop_front();
    }
}

/// The changes that took place, by org and kind.
fn counts(snapshot: &Snapshot) -> BTreeMap<(String, String), u64> {
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    for (series, value) in snapshot.iter().filter(|(series, _)| series.metric == Metric::Events) {
        let (Some(org), Some(kind)) = (label(series, "org"), label(series, "kind")) else { continue };
        let is_change = KINDS.iter().any(|change| change.as_str() == kind);
        if let (true, Value::Counter(count)) = (is_change && label(series, "outcome") == Some(SUCCESS), value) {
            *counts.entry((org.to_owned(), kind.to_owned())).or_default() += count;
        }
    }
    counts
}

const SUCCESS: &str = Outcome::Success.as_str();

/// How far behind an org's log is, in seconds.
fn delay(snapshot: &Snapshot, org: &str) -> Option<f64> {
    let is_it = |series: &Series| series.metric == Metric::WatermarkLag && label(series, "org") == Some(org);
    snapshot.iter().find(|(series, _)| is_it(series)).and_then(|(_, value)| match value {
        Value::Gauge(delay) => Some(*delay),
        Value::Counter(_) | Value::Histogram(_) => None,
    })
}

fn label<'a>(series: &'a Series, name: &str) -> Option<&'a str> {
    series.labels.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Span;

    /// A snapshot with one count of events and the org's delay.
    fn snapshot(kind: &str, outcome: &str, count: u64, delay: f64) -> Snapshot {
        let text = format!(
            "authwatch_events_total{{org=\"acme\",kind=\"{kind}\",outcome=\"{outcome}\"}} {count}\n\
             authwatch_watermark_lag_seconds{{org=\"acme\"}} {delay}\n"
        );
        crate::telemetry::snapshot::read(&text)
    }

    /// The markers of a second snapshot, as kind and count.
    #[track_caller]
    fn check(now: &Snapshot, expect: &[(&str, u64)], left_out: usize) -> Changes {
        let mut changes = Changes::new(&snapshot("policy_change", "success", 40, 20.0));
        assert_eq!(changes.take(now, Timestamp(0), Timestamp(60_000)), left_out);
        let markers: Vec<_> = changes.waiting.iter().map(|marker| (marker.kind.as_str(), marker.count)).collect();
        assert_eq!(markers, expect);
        changes
    }

    #[test]
    fn a_change_is_marked_once_with_its_kind() {
        let mut changes = check(&snapshot("policy_change", "success", 42, 20.0), &[("policy_change", 2)], 0);
        assert_eq!(changes.front().map(Marker::title).as_deref(), Some("2 of policy change in acme"));
        changes.settle();
        assert_eq!(changes.take(&snapshot("policy_change", "success", 42, 20.0), Timestamp(1), Timestamp(2)), 0);
        assert_eq!(changes.front(), None);
        check(&snapshot("policy_change", "success", 40, 20.0), &[], 0);
        check(&snapshot("assurance_change", "success", 1, 20.0), &[("assurance_change", 1)], 0);
    }

    #[test]
    fn what_is_no_change_is_not_marked() {
        check(&snapshot("policy_change", "failure", 9, 20.0), &[], 0);
        check(&snapshot("authentication", "success", 9, 20.0), &[], 0);
    }

    #[test]
    fn trap_a_change_that_is_read_late_would_be_marked_at_the_wrong_place() {
        check(&snapshot("policy_change", "success", 42, 301.0), &[], 1);
        check(&snapshot("policy_change", "success", 42, f64::INFINITY), &[], 1);
    }

    #[test]
    fn markers_are_bounded_in_number_and_age() {
        let mut changes = check(&snapshot("policy_change", "success", 40, 0.0), &[], 0);
        let mut left_out = 0;
        for minute in 0..100 {
            let at = Timestamp(0) + Span::minutes(minute);
            left_out += changes.take(&snapshot("policy_change", "success", 41 + minute as u64, 0.0), at, at);
        }
        assert_eq!((changes.waiting.len(), left_out), (WAITING, 100 - WAITING));
        assert_eq!(changes.expire(Timestamp(0) + Span::minutes(99)), 99 - 36 - 55);
    }
}
