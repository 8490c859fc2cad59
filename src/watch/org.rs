//! One org: the pure stages joined, from an event to the actions that it causes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::clock::Clocks;
use super::counts::{Counts, Limit};
use super::dedupe::{Dedupe, Novelty};
use super::posture::{Late, Postures};
use super::series::{self, SeriesTable};
use super::setting::{Asked, Setting, Waiting};
use super::slo::Slos;
use crate::action::{Incident, IncidentAction};
use crate::adoption::Adoption;
use crate::attempt::{Attempts, Closed, Decision, Entry, QUIET, Signal, Standing, Step, Verdict};
use crate::event::{AuthEvent, Credential, EventId, Kind, Org, Outcome, Person, Reject, SourceName, Span, Timestamp};
use crate::incident::{Incidents, Moment, Refusal, RefusalLog};
use crate::input::{CoreConfig, Policies, PolicyOrigin, PolicySource};
use crate::policy::fleet::Fleet;
use crate::window::{GoodBad, Latency, Ring};

/// Judges run on this grid of event time (invariant 2).
const TICK: Span = Span::seconds(5);

/// The event type of an authenticator that a person enrolled.
const ENROLLED: &str = "user.mfa.factor.activate";

/// Once held, notifications wait until the watermark is this close to `now`: what the backlog still holds is then
/// part of the first word.
const CAUGHT_UP: Span = Span::minutes(1);

/// All state of one org.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct OrgWatch {
    org: Org,
    pub(super) clocks: Clocks,
    dedupe: Dedupe,
    waiting: BTreeMap<(Timestamp, EventId), Waiting>,
    attempts: Attempts,
    pub(super) postures: Postures,
    /// Policies that were read before any source had spoken.
    early: Option<(PolicyOrigin, Arc<Policies>)>,
    pub(super) table: SeriesTable,
    pub(super) adoption: Adoption,
    refusals: RefusalLog,
    pub(super) incidents: Incidents,
    pub(super) counts: Counts,
    /// The roll-up by second, bounded by being one an org; and by minute for the hour.
    pub(super) seconds: Ring<GoodBad>,
    pub(super) minutes: Ring<GoodBad>,
    pub(super) durations: BTreeMap<Credential, Ring<Latency>>,
    pub(super) lag: Ring<Latency>,
    /// What every device last said; people outside the SLIs are in it.
    pub(super) fleet: Fleet,
    /// Objectives, what the sources can see, and the alarms of both.
    pub(super) slos: Slos,
    last_tick: Option<Timestamp>,
    /// Notifications are held until the daemon has caught up.
    held: bool,
}

impl OrgWatch {
    pub(super) fn new(org: Org) -> Self {
        let ten_minutes = Span::minutes(10);
        Self {
            org,
            clocks: Clocks::default(),
            dedupe: Dedupe::new(0),
            waiting: BTreeMap::new(),
            attempts: Attempts::new(0),
            postures: Postures::default(),
            early: None,
            table: SeriesTable::new(),
            adoption: Adoption::default(),
            refusals: RefusalLog::default(),
            incidents: Incidents::default(),
            counts: Counts::default(),
            seconds: Ring::new(Span::seconds(1), 300),
            minutes: Ring::new(Span::minutes(1), 61),
            durations: BTreeMap::new(),
            lag: Ring::new(ten_minutes, 7),
            fleet: Fleet::default(),
            slos: Slos::default(),
            last_tick: None,
            held: false,
        }
    }

    /// Takes a configuration; `source` is where the policies came from before it.
    pub(super) fn configure(&mut self, setting: Setting<'_>, source: Option<PolicySource>) {
        let CoreConfig { limits, judge, .. } = setting.core;
        let is_gone = source.is_some_and(|was| !setting.org.policies.is_some_and(|now| now.is_same_kind(was)));
        if is_gone {
            // Whoever said what holds says it no more, and follows no change any more.
            self.early = None;
            self.postures.close(self.clocks.now());
        }
        self.dedupe.set_capacity(limits.dedupe);
        self.attempts.set_capacity(limits.attempts);
        self.table.configure(limits.series, judge.prior_refused);
        self.slos.configure(&setting.core.slos, &setting.org.sources, self.clocks.now());
    }

    pub(super) fn event(
        &mut self,
        source: &SourceName,
        event: &AuthEvent,
        setting: Setting<'_>,
        out: &mut Vec<IncidentAction>,
    ) {
        let Some(published) = event.published else {
            if self.admit(event) {
                self.counts.undated += 1;
            }
            return;
        };
        if self.clocks.is_future(published) {
            self.counts.reject(Reject::Future);
            return;
        }
        if !self.admit(event) {
            return;
        }
        if published < self.clocks.watermark() {
            self.counts.late += 1;
        }
        if let Some(server_now) = self.clocks.server_now()
            && let Some(bucket) = self.lag.bucket(server_now)
        {
            bucket.record(server_now - published);
        }
        if Postures::follows(event) {
            self.wait(published, event.id, Waiting::Change(Box::new(event.clone())), setting);
        }
        let evicted = self.fleet.counts().evicted;
        self.fleet.saw_event(event);
        if self.fleet.counts().evicted > evicted {
            self.counts.limit(Limit::Devices);
        }
        let groups = &self.postures.groups;
        if !event.person.as_ref().is_some_and(|person| setting.is_break_glass(person, groups)) {
            self.sign_in(event, setting);
            self.enrollment(event, published);
        }
        self.clocks.saw(source, published, setting.core.lateness);
        self.slos.event(source, published);
        self.place_early_reading();
        self.advance(setting, out);
    }

    /// Counts an event, unless it was seen before.
    fn admit(&mut self, event: &AuthEvent) -> bool {
        let (novelty, forgot_early) = self.dedupe.meet(event, self.clocks.watermark());
        if forgot_early {
            self.counts.limit(Limit::Dedupe);
        }
        match novelty {
            Novelty::Duplicate => {
                self.counts.duplicates += 1;
                return false;
            }
            Novelty::UuidConflict => self.counts.uuid_conflicts += 1,
            Novelty::New => {}
        }
        self.counts.event(event);
        true
    }

    pub(super) fn reject(&mut self, reason: Reject) {
        self.counts.reject(reason);
    }

    pub(super) fn progress(
        &mut self,
        source: &SourceName,
        now: Option<Timestamp>,
        caught_up: bool,
        setting: Setting<'_>,
        out: &mut Vec<IncidentAction>,
    ) {
        self.clocks.progress(source, now, caught_up, setting.core.lateness);
        self.place_early_reading();
        self.advance(setting, out);
        if let Some(now) = now
            && let Some(watermark) = self.clocks.watermark_of(source)
        {
            let CoreConfig { slos, incident, .. } = setting.core;
            let step = self.slos.spoke(source, (now, watermark), slos, incident.reopen_window);
            self.counts.alarm_steps(step);
        }
    }

    /// A source has been silent; one that has told everything may be.
    pub(super) fn unheard(&mut self, source: &SourceName, silent: Span, setting: Setting<'_>) {
        if !self.clocks.has_ended(source) {
            let CoreConfig { slos, incident, .. } = setting.core;
            let step = self.slos.unheard(source, silent, slos, incident.reopen_window);
            self.counts.alarm_steps(step);
        }
    }

    /// Takes a reading of the policies; without a time it holds from now on.
    pub(super) fn policies(
        &mut self,
        since: Option<Timestamp>,
        origin: PolicyOrigin,
        policies: &Arc<Policies>,
        setting: Setting<'_>,
    ) {
        // A file holds from the beginning only where nothing was known before it: a changed one holds from now on.
        let since = since.filter(|_| origin == PolicyOrigin::Api || self.postures.knows_nothing());
        match since.or_else(|| self.clocks.has_begun().then(|| self.clocks.now())) {
            Some(since) => self.postures.read(since, origin, policies),
            None => self.early = Some((origin, policies.clone())),
        }
        self.release(self.clocks.watermark(), setting);
    }

    /// A reading that came before any source had spoken holds from the first word on.
    fn place_early_reading(&mut self) {
        if let Some((origin, policies)) = self.early.take_if(|_| self.clocks.has_begun()) {
            self.postures.read(self.clocks.now(), origin, &policies);
        }
    }

    /// Takes a listing of a group.
    pub(super) fn members(&mut self, group: &SmolStr, people: &BTreeSet<Person>) {
        self.postures.members(group, people);
    }

    /// Answers that waited for their policy version get their reading where they can have one by now.
    fn release(&mut self, now: Timestamp, setting: Setting<'_>) {
        if !self.postures.waits() {
            return;
        }
        for Late { at, person, flow, posture } in self.postures.release(now, setting.org) {
            self.attempts.explain(person.as_ref(), &flow, &posture);
            if let Some(person) = person
                && let Some(refusal) = self.refusals.explain(person.hash64(), at, &posture)
            {
                self.incidents.explained(refusal);
            }
        }
    }

    /// Nothing more will come: what still waits is counted, and every attempt comes to rest. Nothing is judged.
    pub(super) fn finish(&mut self, setting: Setting<'_>) {
        while self.fold_first(setting) {}
        self.release(Timestamp(i64::MAX), setting);
        let mut closed = Vec::new();
        self.attempts.close_all(&mut closed);
        self.count_closed(closed);
    }

    pub(super) fn forget(&mut self, person: &Person) {
        let hash = person.hash64();
        self.attempts.forget(person);
        self.postures.forget(person);
        self.adoption.forget(person);
        self.waiting.retain(|_, waiting| !waiting.is_about(person));
        self.table.forget(hash);
        self.refusals.forget(hash);
        self.incidents.forget(hash);
        self.fleet.forget(person);
        self.slos.forget(hash);
    }

    pub(super) fn known_incidents(&self) -> Vec<Incident> {
        self.incidents.all()
    }

    /// The part of a sign-in's event that does not wait, and the step that does.
    fn sign_in(&mut self, event: &AuthEvent, setting: Setting<'_>) {
        let Some(step) = Step::of(event) else { return };
        let good_bad = match step.signal {
            Signal::Terminal(Verdict::Success | Verdict::PhishDeclined) => Some((1, 0)),
            Signal::Terminal(Verdict::Denied | Verdict::Failed) => Some((0, 1)),
            Signal::Terminal(Verdict::Abandoned)
            | Signal::Touch
            | Signal::Progress
            | Signal::Challenge
            | Signal::Granted => None,
        };
        if let Some((good, bad)) = good_bad {
            for bucket in
                [self.seconds.bucket(step.published), self.minutes.bucket(step.published)].into_iter().flatten()
            {
                bucket.good += good;
                bucket.bad += bad;
            }
        }
        self.wait(step.published, step.id, Waiting::Step(step), setting);
    }

    /// Puts something by until the watermark has passed it; what is late is folded at once.
    fn wait(&mut self, at: Timestamp, id: EventId, waiting: Waiting, setting: Setting<'_>) {
        if self.last_tick.is_some_and(|tick| at < tick) {
            self.fold(at, &waiting, setting);
            return;
        }
        self.waiting.insert((at, id), waiting);
        if self.waiting.len() > setting.core.limits.waiting as usize {
            self.counts.limit(Limit::Waiting);
            self.fold_first(setting);
        }
    }

    /// Folds the first that waits; `false` where nothing does.
    fn fold_first(&mut self, setting: Setting<'_>) -> bool {
        let Some(((at, _), waiting)) = self.waiting.pop_first() else { return false };
        self.fold(at, &waiting, setting);
        true
    }

    fn fold(&mut self, at: Timestamp, waiting: &Waiting, setting: Setting<'_>) {
        match waiting {
            Waiting::Step(step) => self.apply(step, setting),
            Waiting::Change(event) => self.postures.change(event, at),
        }
    }

    /// Folds a step into its attempt, and what changed into the windows.
    fn apply(&mut self, step: &Step, setting: Setting<'_>) {
        let mut closed = Vec::new();
        let mut asked = Asked { postures: &mut self.postures, setting };
        let decision = self.attempts.fold(step, &mut asked, &mut closed);
        while self.attempts.is_full() {
            self.counts.limit(Limit::Attempts);
            self.attempts.close_oldest(&mut closed);
        }
        self.count_closed(closed);
        self.slos.step(step, &setting.core.slos);
        let Some(decision) = decision else { return };
        self.slos.decided(&decision, &setting.core.slos);
        let Decision { before, after } = decision;
        let was_success = before.as_ref().is_some_and(|standing| standing.verdict == Verdict::Success);
        if let Some(before) = &before {
            self.withdraw(before);
        }
        if let Some(after) = &after {
            self.enter(after, was_success);
        }
    }

    fn withdraw(&mut self, standing: &Standing) {
        self.table.count(standing, -1);
        if let (Verdict::Denied, Some(person)) = (standing.verdict, &standing.person) {
            self.table.unrefuse(standing, person.hash64());
            self.refusals.take_back(person.hash64(), standing.at);
            self.incidents.unrefused(person.hash64(), &self.refusals);
        }
    }

    fn enter(&mut self, standing: &Standing, was_success: bool) {
        if self.table.count(standing, 1) {
            self.counts.limit(Limit::Series);
        }
        if standing.verdict == Verdict::Success && !was_success && standing.entry != Entry::Session {
            let ring = self.durations.entry(standing.credential);
            let ring = ring.or_insert_with(|| Ring::new(Span::minutes(10), 7));
            if let Some(bucket) = ring.bucket(standing.at) {
                bucket.record(standing.at - standing.began);
            }
        }
        if let (Verdict::Denied, Some(person)) = (standing.verdict, &standing.person) {
            let refusal = Refusal {
                at: standing.at,
                person: person.hash64(),
                app: series::app_of(standing),
                rule: series::rule_of(standing),
                platform: standing.platform,
                os_version: standing.device.as_ref().and_then(|device| device.os_version.clone()),
                cohort: standing.cohort.clone(),
                posture: standing.posture.clone(),
            };
            self.table.refuse(standing, &refusal);
            self.incidents.refused(&refusal);
            if self.refusals.push(refusal) {
                self.counts.limit(Limit::Refusals);
            }
        }
    }

    fn count_closed(&mut self, closed: Vec<Closed>) {
        for closed in closed {
            if let Some(verdict) = closed.verdict {
                *self.counts.attempts.entry((verdict, closed.entry)).or_default() += 1;
            }
            let Some(person) = &closed.person else { continue };
            let success = closed.standing.filter(|standing| standing.verdict == Verdict::Success);
            let is_full = self.adoption.saw(person, closed.last)
                || success.is_some_and(|standing| {
                    let Standing { at, credential, phishing_resistant, .. } = standing;
                    self.adoption.saw_sign_in(person, at, credential, phishing_resistant)
                });
            if is_full {
                self.counts.limit(Limit::People);
            }
        }
    }

    /// Notes an authenticator that its owner enrolled. Only what the person did: an administrator's act names the
    /// administrator.
    fn enrollment(&mut self, event: &AuthEvent, published: Timestamp) {
        if event.kind != Kind::Enrollment || event.event_type != ENROLLED || event.outcome != Outcome::Success {
            return;
        }
        if let Some(person) = &event.person
            && self.adoption.saw_enrollment(person, published, event.credential)
        {
            self.counts.limit(Limit::People);
        }
    }

    /// Closes the days of the adoption funnel that ended before `tick`, once their attempts have come to rest.
    fn close_days(&mut self, tick: Timestamp, setting: Setting<'_>) {
        let rested = tick - TICK - QUIET;
        while let Some(until) = self.adoption.day_due(rested) {
            let mut closed = Vec::new();
            self.attempts.close_quiet(until + QUIET, &mut closed);
            self.count_closed(closed);
            let groups = &self.postures.groups;
            self.adoption.close_day(until, &|person| setting.cohort_of(person, groups));
        }
    }

    /// Runs every tick that the watermark has passed. Idle stretches are skipped: a tick at which nothing waits, no
    /// series was touched and no incident lives changes nothing.
    fn advance(&mut self, setting: Setting<'_>, out: &mut Vec<IncidentAction>) {
        if !self.clocks.advance(&setting.org.sources, TICK) {
            return;
        }
        self.fleet.expire(self.clocks.watermark());
        let newest_due = self.clocks.watermark().floor(TICK);
        loop {
            let first_waiting = self.waiting.keys().next().map(|(published, _)| published.floor(TICK) + TICK);
            let next = match self.last_tick {
                Some(tick) if self.need_ticks() => tick + TICK,
                Some(tick) => first_waiting.unwrap_or(newest_due).max(tick + TICK),
                None => first_waiting.unwrap_or(newest_due).min(newest_due),
            };
            if next > newest_due {
                break;
            }
            self.tick(next, setting, out);
        }
        self.last_tick = self.last_tick.max(Some(newest_due));
        self.release(newest_due, setting);
        let mut closed = Vec::new();
        self.attempts.close_quiet(newest_due, &mut closed);
        self.count_closed(closed);
    }

    fn need_ticks(&self) -> bool {
        self.incidents.need_ticks() || self.table.is_touched() || self.slos.need_ticks()
    }

    fn tick(&mut self, tick: Timestamp, setting: Setting<'_>, out: &mut Vec<IncidentAction>) {
        self.close_days(tick, setting);
        while self.waiting.keys().next().is_some_and(|(published, _)| *published < tick) {
            self.fold_first(setting);
        }
        let CoreConfig { judge, incident, lateness, .. } = setting.core;
        self.table.settle(tick, &|hour| self.incidents.cover_hour(hour));
        self.refusals.expire(tick);
        let rested = self.incidents.rested().map_or(Timestamp::MIN, |at| at - *lateness);
        let firing = self.table.judge(tick, rested, judge);
        let behind = self.clocks.now() - (tick + *lateness);
        self.held = behind > if self.held { CAUGHT_UP } else { incident.catch_up.max(CAUGHT_UP) };
        let table = &self.table;
        let moment = Moment {
            org: &self.org,
            tick,
            known_at: tick + *lateness,
            held: self.held,
            config: incident,
            rested,
            judge,
            refusals: &self.refusals,
            mood: &|key, window, below| table.mood(key, window, below, tick, judge),
            expected_since: &|key, since| table.expected(key, since, tick),
            name: &|key| table.name(key),
        };
        let told = out.len();
        self.incidents.tick(&moment, firing, out);
        for action in out.iter().skip(told) {
            *self.counts.steps.entry(action.step).or_default() += 1;
        }
        let spike = || self.incidents.open().next().map(|incident| incident.key.clone());
        let CoreConfig { slos, .. } = setting.core;
        let steps = self.slos.tick((tick, tick + *lateness), slos, &spike, incident.reopen_window);
        self.counts.alarm_steps(steps);
        self.last_tick = Some(tick);
    }
}
