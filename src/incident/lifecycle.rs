//! The life of an incident, tick by tick.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use smol_str::{SmolStr, format_smolstr};

use super::facts::{self, Dimension, Facts};
use super::narrative;
use super::refusals::{Refusal, RefusalLog};
use crate::action::{Evidence, Incident, IncidentAction, IncidentStep, Severity};
use crate::event::{Org, Span, Timestamp};
use crate::input::IncidentConfig;
use crate::judge::{Firing, spike};
use crate::window::SeriesKey;

/// The judge's name in keys and tickets.
const RULE: &str = "deny_spike";
/// From this many people a person should look now.
const PAGE_PEOPLE: u64 = 10;
/// Incidents kept after their end, for lists.
const KEPT: usize = 200;
/// After this long a refused share is the usual one.
const LONGEST_UNUSUAL: Span = Span::hours(24);
/// Failing requirements listed in one incident.
const CHECKS: usize = 8;
/// Series listed as parts of one incident.
const PARTS: usize = 64;

/// How a series does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mood {
    /// As usual.
    Calm,
    /// Nobody in the org tries to sign in: nothing can be said.
    Silent,
    /// More people are refused than usual.
    Restless,
}

/// A tick with what the life cycle may ask about it.
pub struct Moment<'a> {
    /// The org.
    pub org: &'a Org,
    /// The tick.
    pub tick: Timestamp,
    /// The earliest that a live daemon could know of this tick: tick + L.
    pub known_at: Timestamp,
    /// Notifications are held: the watermark is far behind.
    pub held: bool,
    /// The life cycle's settings.
    pub config: &'a IncidentConfig,
    /// When the last incident ended.
    pub rested: Timestamp,
    /// The fewest people that open an incident.
    pub least_people: u32,
    /// The refusals in reach.
    pub refusals: &'a RefusalLog,
    /// How a series does in a window, at rest meaning a score below a limit.
    pub mood: &'a dyn Fn(&SeriesKey, Span, f64) -> Mood,
    /// People expected to be refused in a series since an instant.
    pub expected_since: &'a dyn Fn(&SeriesKey, Timestamp) -> f64,
    /// What people call a value: the label of an app for its id.
    pub name: &'a dyn Fn(&SeriesKey) -> String,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
enum State {
    Open,
    Recovering { since: Timestamp, calm_for: Span },
    Resolved,
}

/// What people were last told.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
struct Told {
    step: IncidentStep,
    at: Timestamp,
    people: u64,
    severity: Severity,
    recovering: bool,
    parts: usize,
    /// Whether a failing check was named.
    named: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Live {
    state: State,
    parts: Vec<SeriesKey>,
    calm_window: Span,
    facts: Facts,
    view: Incident,
    told: Option<Told>,
    revision: u32,
    /// The elder incident that was found to be of the same cause.
    merged_into: Option<SmolStr>,
    last_tick: Timestamp,
}

/// All incidents of one org: those that live or may come back, and the ended ones for lists.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Incidents {
    live: BTreeMap<SmolStr, Live>,
    ended: std::collections::VecDeque<Incident>,
}

impl Incidents {
    /// Incidents that are not resolved.
    pub fn open(&self) -> impl Iterator<Item = &Incident> {
        self.live.values().filter(|live| live.state != State::Resolved).map(|live| &live.view)
    }

    /// Every incident known, oldest first.
    pub fn all(&self) -> Vec<Incident> {
        let mut all: Vec<_> = self.ended.iter().chain(self.live.values().map(|live| &live.view)).cloned().collect();
        all.sort_by(|a, b| a.opened_at.cmp(&b.opened_at).then_with(|| a.key.cmp(&b.key)));
        all
    }

    /// Whether ticks matter to any of them.
    pub fn need_ticks(&self) -> bool {
        self.live.values().any(|live| live.state != State::Resolved || live.is_owed_a_word())
    }

    /// Whether an hour (of the epoch) belongs to an incident, from its onset. What has lasted for a day is the new usual:
    /// a policy that was tightened for good must not keep its incident open for ever.
    pub fn cover_hour(&self, hour: i64) -> bool {
        let covers = |incident: &Incident| {
            let longest = incident.onset + LONGEST_UNUSUAL;
            let end = incident.resolved_at.unwrap_or(longest).min(longest).index(Span::hours(1));
            (incident.onset.index(Span::hours(1))..=end).contains(&hour)
        };
        self.live.values().any(|live| covers(&live.view)) || self.ended.iter().any(covers)
    }

    /// Counts a refusal into every open incident that it belongs to. Those that a recovering one sees are ordinary
    /// ones, until it turns out that they are not.
    pub fn refused(&mut self, refusal: &Refusal) {
        for live in self.live.values_mut().filter(|live| live.state == State::Open) {
            live.count(refusal);
        }
    }

    /// It became known why a refusal that was counted happened.
    pub fn explained(&mut self, refusal: &Refusal) {
        self.refused(refusal);
    }

    /// A refusal was undone by a later success in its flow: a person with no other leaves the incidents.
    pub fn unrefused(&mut self, person: u64, left: &RefusalLog) {
        for live in self.live.values_mut().filter(|live| live.state == State::Open) {
            let mut others = left.since(live.view.onset).filter(|refusal| refusal.person == person);
            if !others.any(|refusal| live.parts.iter().any(|part| refusal.is_in(part))) {
                live.facts.forget(person);
            }
        }
    }

    /// Forgets a person.
    pub fn forget(&mut self, person: u64) {
        self.live.values_mut().for_each(|live| live.facts.forget(person));
    }

    /// Carries every incident over a tick; what people must be told is pushed to `out`, in key order.
    pub fn tick(&mut self, moment: &Moment<'_>, mut firing: Vec<Firing>, out: &mut Vec<IncidentAction>) {
        firing.sort_by(|a, b| b.excess().total_cmp(&a.excess()).then_with(|| a.key.cmp(&b.key)));
        for firing in firing {
            if !self.join(moment, &firing) {
                let live = Live::begin(moment, &firing);
                self.live.insert(live.view.key.clone(), live);
            }
        }
        self.merge_kin(moment);
        for live in self.live.values_mut() {
            live.step(moment);
            live.describe(moment);
            out.extend(live.tell(moment));
        }
        self.retire(moment);
    }

    /// Joins a firing series to the incident it belongs to; `false` where there is none. It does not take a recovering
    /// incident back: windows longer than the recovery still hold the people of its worst hour, and whether it is over
    /// is what the calm window says.
    fn join(&mut self, moment: &Moment<'_>, firing: &Firing) -> bool {
        let mut candidates: Vec<&mut Live> = self.live.values_mut().filter(|live| live.is_kin_of(firing)).collect();
        // The elder keeps the cause.
        candidates.sort_by_key(|live| (live.state == State::Resolved, live.view.opened_at));
        let Some(live) = candidates.into_iter().next() else { return false };
        match live.state {
            // The people of the worst hour are no relapse; as many new ones as open an incident are.
            State::Recovering { since, .. } => {
                let newcomers = moment.refusals.since(since).filter(|refusal| refusal.is_in(&firing.key));
                let people: BTreeSet<u64> = newcomers.map(|refusal| refusal.person).collect();
                if people.len() >= moment.least_people as usize && !live.parts.contains(&firing.key) {
                    live.state = State::Open;
                    live.add_part(moment, firing);
                }
            }
            State::Open => live.add_part(moment, firing),
            State::Resolved => {
                live.view.resolved_at = None;
                live.state = State::Open;
                live.add_part(moment, firing);
                moment.refusals.since(moment.rested).for_each(|refusal| live.count(refusal));
            }
        }
        true
    }

    /// Two open incidents found to be of one cause become one: the younger resolves into the elder.
    fn merge_kin(&mut self, moment: &Moment<'_>) {
        let open = |live: &&Live| live.state == State::Open;
        let mut by_age: Vec<(Timestamp, SmolStr)> =
            self.live.values().filter(open).map(|live| (live.view.opened_at, live.view.key.clone())).collect();
        by_age.sort();
        while let Some((_, younger)) = by_age.pop() {
            let Some(candidate) = self.live.get(&younger) else { continue };
            let is_elder =
                |key: &&SmolStr| self.live.get(*key).is_some_and(|elder| elder.facts.cover(&candidate.facts));
            let Some(elder) = by_age.iter().map(|(_, key)| key).find(is_elder).cloned() else { continue };
            let (facts, parts) = (candidate.facts.clone(), candidate.parts.clone());
            if let Some(elder) = self.live.get_mut(&elder) {
                elder.facts.absorb(&facts);
                elder.view.onset = elder.view.onset.min(moment.tick);
                for part in parts {
                    if !elder.parts.contains(&part) && elder.parts.len() < PARTS {
                        elder.parts.push(part);
                    }
                }
            }
            if let Some(younger) = self.live.get_mut(&younger) {
                younger.state = State::Resolved;
                younger.view.resolved_at = Some(moment.known_at);
                younger.merged_into = Some(elder);
            }
        }
    }

    /// When the last incident to end ended: nobody refused before it counts towards another.
    pub fn rested(&self) -> Option<Timestamp> {
        let live = self.live.values().filter(|live| live.merged_into.is_none()).map(|live| &live.view);
        self.ended.iter().chain(live).filter_map(|view| view.resolved_at).max()
    }

    fn retire(&mut self, moment: &Moment<'_>) {
        let over = |live: &Live| {
            let since = live.view.resolved_at.filter(|_| live.state == State::Resolved && !live.is_owed_a_word());
            since.is_some_and(|at| moment.known_at - at > moment.config.reopen_window)
        };
        let keys: Vec<SmolStr> = self.live.iter().filter(|(_, live)| over(live)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.ended.extend(self.live.remove(&key).map(|live| live.view));
        }
        while self.ended.len() > KEPT {
            self.ended.pop_front();
        }
    }
}

impl Live {
    fn begin(moment: &Moment<'_>, firing: &Firing) -> Self {
        let expected = |since| (moment.expected_since)(&firing.key, since);
        let least = firing.verdict.least_people;
        let span = (moment.rested, moment.tick);
        let onset = facts::onset(moment.refusals, &firing.key, span, least, &expected);
        let onset = onset.unwrap_or(moment.rested.max(moment.tick - firing.look.window));
        let mut facts = Facts::default();
        let refused = moment.refusals.since(onset).filter(|refusal| refusal.is_in(&firing.key));
        refused.for_each(|refusal| facts.add(refusal));
        let view = Incident {
            key: key(moment.org, &firing.key, moment.tick),
            org: moment.org.clone(),
            rule: RULE.into(),
            severity: Severity::Ticket,
            onset,
            opened_at: moment.known_at,
            resolved_at: None,
            title: String::new(),
            people: 0,
            series: Vec::new(),
            checks: Vec::new(),
            notified: false,
            suspects: Vec::new(),
            evidence: Evidence {
                people: u64::from(firing.look.people),
                expected: firing.verdict.expected,
                attempts: firing.look.attempts,
                window_minutes: ((firing.look.window.0 + 59_999) / 60_000).clamp(1, 240) as u32,
                score: firing.verdict.score,
                threshold: firing.verdict.threshold,
                since_change: firing.change.clone(),
                ..Evidence::default()
            },
        };
        let calm_window = spike::calm_window(firing.look.window);
        Self {
            state: State::Open,
            parts: vec![firing.key.clone()],
            calm_window,
            facts,
            view,
            told: None,
            revision: 0,
            merged_into: None,
            last_tick: moment.tick,
        }
    }

    /// Counts a refusal in, where it belongs to a part.
    fn count(&mut self, refusal: &Refusal) {
        if refusal.at >= self.view.onset && self.parts.iter().any(|part| refusal.is_in(part)) {
            self.facts.add(refusal);
        }
    }

    fn add_part(&mut self, moment: &Moment<'_>, firing: &Firing) {
        if !self.parts.contains(&firing.key) && self.parts.len() < PARTS {
            self.parts.push(firing.key.clone());
            let newcomers = moment.refusals.since(self.view.onset).filter(|refusal| refusal.is_in(&firing.key));
            newcomers.for_each(|refusal| self.facts.add(refusal));
        }
    }

    /// Whether a firing series is of the same cause: a part already, or about people mostly counted already.
    fn is_kin_of(&self, firing: &Firing) -> bool {
        self.merged_into.is_none() && (self.parts.contains(&firing.key) || self.facts.hold_half_of(&firing.people))
    }

    fn step(&mut self, moment: &Moment<'_>) {
        let passed = moment.tick - self.last_tick;
        self.last_tick = moment.tick;
        if self.state == State::Resolved {
            return;
        }
        self.state = match (self.state, self.mood(moment)) {
            (State::Open, Mood::Calm) => State::Recovering { since: moment.tick, calm_for: Span(0) },
            (State::Recovering { since, .. }, Mood::Restless) => {
                moment.refusals.since(since).for_each(|refusal| self.count(refusal));
                State::Open
            }
            (State::Recovering { since, calm_for }, Mood::Calm) => {
                let calm_for = Span(calm_for.0 + passed.0);
                if calm_for >= moment.config.hold_down {
                    self.view.resolved_at = Some(moment.known_at);
                    State::Resolved
                } else {
                    State::Recovering { since, calm_for }
                }
            }
            // Silence neither brings an incident back nor counts as recovery.
            (state, Mood::Calm | Mood::Silent | Mood::Restless) => state,
        };
    }

    /// The worst mood of the parts.
    fn mood(&self, moment: &Moment<'_>) -> Mood {
        // What was before the onset would dilute the first minutes: an incident is not over because it is young.
        let window = self.calm_window.min(moment.tick - self.view.onset).max(Span::minutes(1));
        let mut worst = Mood::Calm;
        for (n, part) in self.parts.iter().enumerate() {
            let below = if n == 0 { spike::CALM_FIRST } else { spike::CALM_PART };
            worst = worst.max((moment.mood)(part, window, below));
            if worst == Mood::Restless {
                break;
            }
        }
        worst
    }

    fn describe(&mut self, moment: &Moment<'_>) {
        if self.state == State::Resolved && !self.is_owed_a_word() {
            return;
        }
        let view = &mut self.view;
        view.people = self.facts.people();
        view.severity = view.severity.max(if view.people >= PAGE_PEOPLE { Severity::Page } else { Severity::Ticket });
        view.series = self.parts.iter().map(|part| (moment.name)(part)).collect();
        let named = |dimension: Dimension| -> Vec<(String, u64)> {
            let level = match dimension {
                Dimension::App => Some(crate::window::Level::App),
                Dimension::Rule => Some(crate::window::Level::Rule),
                Dimension::Platform | Dimension::Cohort | Dimension::OsVersion | Dimension::Check => None,
            };
            let label = |value: &SmolStr| {
                level.map_or(value.to_string(), |level| {
                    let name = (moment.name)(&SeriesKey::one(level, value));
                    name.split_once('=').map_or(name.clone(), |(_, label)| label.to_owned())
                })
            };
            self.facts.top(dimension).iter().map(|(value, people)| (label(value), *people)).collect()
        };
        view.evidence.top_apps = named(Dimension::App);
        view.evidence.top_rules = named(Dimension::Rule);
        view.evidence.top_platforms = named(Dimension::Platform);
        view.evidence.top_cohorts = named(Dimension::Cohort);
        view.evidence.top_os_versions = named(Dimension::OsVersion);
        view.evidence.top_checks = named(Dimension::Check);
        view.checks = self.facts.failed(CHECKS);
        view.title = narrative::title(view);
    }

    /// Whether people were told less than is true of its end.
    fn is_owed_a_word(&self) -> bool {
        let told_resolved = self.told.is_some_and(|told| told.step == IncidentStep::Resolve);
        self.told.is_some() && told_resolved != (self.state == State::Resolved)
    }

    /// Reconciles what people were told with what is true.
    fn tell(&mut self, moment: &Moment<'_>) -> Option<IncidentAction> {
        if moment.held {
            return None;
        }
        let is_resolved = self.state == State::Resolved;
        let step = match self.told {
            None if is_resolved => return None,
            None => IncidentStep::Open,
            Some(told) if told.step == IncidentStep::Resolve => {
                if is_resolved {
                    return None;
                }
                IncidentStep::Reopen
            }
            Some(_) if is_resolved => IncidentStep::Resolve,
            Some(told) if self.is_news(&told, moment) => IncidentStep::Update,
            Some(_) => return None,
        };
        self.view.notified = true;
        self.revision += 1;
        let recovering = matches!(self.state, State::Recovering { .. });
        let note = match &self.merged_into {
            Some(elder) => narrative::merged(elder),
            None => {
                let newly_named = self.told.is_some_and(|told| !told.named) && self.is_named();
                let before = self.told.map(|told| told.people);
                narrative::note(&self.view, step, (recovering, newly_named), before, self.facts.last())
            }
        };
        self.told = Some(Told {
            step,
            at: moment.known_at,
            people: self.view.people,
            severity: self.view.severity,
            recovering,
            parts: self.parts.len(),
            named: self.is_named(),
        });
        let description = narrative::description(&self.view, recovering);
        let incident = self.view.clone();
        Some(IncidentAction { step, at: moment.known_at, revision: self.revision, incident, description, note })
    }

    /// Whether the failing check is known. It may become so only after the opening: the policies are read again after a
    /// change, and the refusals wait for that.
    fn is_named(&self) -> bool {
        !self.view.checks.is_empty()
    }

    /// Whether an update is worth a person's time: at once when it becomes worse or the failing check becomes known, else
    /// not more often than the interval and only for a change.
    fn is_news(&self, told: &Told, moment: &Moment<'_>) -> bool {
        if self.view.severity > told.severity || (self.is_named() && !told.named) {
            return true;
        }
        let recovering = matches!(self.state, State::Recovering { .. });
        let grew = self.view.people * 2 >= told.people * 3 && self.view.people > told.people;
        let changed = grew || recovering != told.recovering || self.parts.len() > told.parts;
        changed && moment.known_at - told.at >= moment.config.update_interval
    }
}

/// The incident's id: fixed at opening from org, judge, first series and opening tick, so that every run of the same
/// events finds the same ticket.
fn key(org: &Org, first: &SeriesKey, tick: Timestamp) -> SmolStr {
    let mut hash = Sha256::new();
    for part in [org.as_str(), RULE, &first.to_string(), &tick.0.to_string()] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let hex: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format_smolstr!("aw-{hex}")
}
