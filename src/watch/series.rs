//! The series of one org: rings, refused people and baselines by key, with a cap.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::attempt::{Standing, Verdict};
use crate::event::{Credential, Platform, Span, Timestamp};
use crate::incident::{Firing, Mood, Refusal};
use crate::input::JudgeConfig;
use crate::judge::spike::{self, WINDOWS};
use crate::judge::{Baseline, Look};
use crate::window::{LastSeen, Level, Ring, SeriesKey, Tally};

/// Until this much history is known the judge asks for more.
const FIRST_DAY: Span = Span::hours(24);

/// One series.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Series {
    tallies: Ring<Tally>,
    refused: LastSeen,
    baseline: Baseline,
}

impl Default for Series {
    fn default() -> Self {
        Self { tallies: Ring::new(Span::minutes(1), 241), refused: LastSeen::default(), baseline: Baseline::default() }
    }
}

impl Series {
    /// Attempts in the `window` up to `now`, whole minutes.
    pub fn tally(&self, now: Timestamp, window: Span) -> Tally {
        self.tallies.sum(now - window, now)
    }

    /// Distinct people refused in the `window` up to `now`.
    pub fn refused_people(&self, now: Timestamp, window: Span) -> u32 {
        self.refused.count(now - window, now)
    }
}

/// What all looks at one series have in common.
struct Ground<'a> {
    exposure: Option<&'a Ring<Tally>>,
    rate: f64,
    series_of_level: usize,
    began: Option<Timestamp>,
}

impl Ground<'_> {
    fn look(&self, people: u32, from: Timestamp, tick: Timestamp) -> Look {
        Look {
            people,
            attempts: self.exposure.map_or(0.0, |ring| ring.attempts(from, tick)),
            rate: self.rate,
            series_of_level: self.series_of_level,
            window: tick - from,
            first_day: self.began.is_none_or(|began| tick - began < FIRST_DAY),
        }
    }
}

/// All series of one org.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct SeriesTable {
    capacity: usize,
    prior: f64,
    series: BTreeMap<SeriesKey, Series>,
    of_level: BTreeMap<Level, usize>,
    names: BTreeMap<SeriesKey, String>,
    touched: BTreeSet<SeriesKey>,
    began: Option<Timestamp>,
    settled_hour: i64,
}

impl SeriesTable {
    pub(super) fn new() -> Self {
        Self {
            capacity: 0,
            prior: 0.01,
            series: BTreeMap::new(),
            of_level: BTreeMap::new(),
            names: BTreeMap::new(),
            touched: BTreeSet::new(),
            began: None,
            settled_hour: 0,
        }
    }

    pub(super) fn configure(&mut self, capacity: u32, prior: f64) {
        self.capacity = capacity as usize;
        self.prior = prior;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&SeriesKey, &Series)> {
        self.series.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    pub(super) fn is_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Counts a standing (`by` = 1) or takes it back (`by` = −1). Returns whether a series had no room.
    pub(super) fn count(&mut self, standing: &Standing, by: i64) -> bool {
        self.began = Some(self.began.map_or(standing.at, |began| began.min(standing.at)));
        let mut had_no_room = false;
        for key in keys_of(standing) {
            let (series, folded) = self.entry(key);
            had_no_room |= folded;
            add(series, standing, by);
        }
        self.learn_names(standing);
        had_no_room
    }

    /// Notes a refused person in every judged series that the refusal belongs to.
    pub(super) fn refuse(&mut self, standing: &Standing, refusal: &Refusal) {
        for key in keys_of(standing).into_iter().filter(|key| key.level.is_judged()) {
            // What is folded into `other` shares nothing but the want of room: it is counted, and not judged.
            if let Some(series) = self.series.get_mut(&key) {
                if series.refused.note(refusal.person, refusal.at) {
                    series.baseline.episode(refusal.at, 1);
                }
                self.touched.insert(key);
            }
        }
    }

    /// Takes back a refusal that a later success in its flow undid.
    pub(super) fn unrefuse(&mut self, standing: &Standing, person: u64) {
        for key in keys_of(standing) {
            if let Some(series) = self.series.get_mut(&key)
                && series.refused.take_back(person, standing.at)
            {
                series.baseline.episode(standing.at, -1);
            }
        }
    }

    /// Judges every series in which someone was refused since the last tick. Nobody refused before `rested`, the end of
    /// the last incident, counts.
    pub(super) fn judge(&mut self, tick: Timestamp, rested: Timestamp, config: &JudgeConfig) -> Vec<Firing> {
        let touched = std::mem::take(&mut self.touched);
        touched.into_iter().filter_map(|key| self.judge_one(key, tick, rested, config)).collect()
    }

    fn judge_one(&self, key: SeriesKey, tick: Timestamp, rested: Timestamp, config: &JudgeConfig) -> Option<Firing> {
        let series = self.series.get(&key)?;
        let since = WINDOWS.map(|window| rested.max(tick - window));
        let people = series.refused.counts(since, tick);
        if people.iter().all(|people| *people < config.min_people) {
            return None;
        }
        let ground = self.ground(&key);
        let looks = since.into_iter().zip(people).filter(|(_, people)| *people >= config.min_people);
        let looks = looks.map(|(from, people)| ground.look(people, from, tick));
        let verdicts = looks.map(|look| (look, spike::judge(&look, config))).filter(|(_, verdict)| verdict.fires());
        let (look, verdict) = verdicts.max_by(|(_, a), (_, b)| a.score.total_cmp(&b.score))?;
        let people = series.refused.people(tick - look.window, tick).collect();
        Some(Firing { key, look, verdict, people })
    }

    /// How a series does in a window; one that is gone is at rest.
    pub(super) fn mood(
        &self,
        key: &SeriesKey,
        window: Span,
        below: f64,
        tick: Timestamp,
        config: &JudgeConfig,
    ) -> Mood {
        let Some(series) = self.series.get(key) else { return Mood::Calm };
        let from = tick - window;
        let look = self.ground(key).look(series.refused.count(from, tick), from, tick);
        if !spike::is_calm(&look, config, below) {
            return Mood::Restless;
        }
        let org = self.exposure(&SeriesKey::org());
        let someone_tries = org.is_some_and(|org| org.attempts(from, tick) > 0.0);
        // Silence is not recovery: without a single attempt in the org nobody knows (invariant 4).
        if someone_tries { Mood::Calm } else { Mood::Silent }
    }

    /// People expected to be refused in a series from `since` to `to`.
    pub(super) fn expected(&self, key: &SeriesKey, since: Timestamp, to: Timestamp) -> f64 {
        let attempts = self.exposure(key).map_or(0.0, |ring| ring.attempts(since, to));
        self.rate(key) * attempts
    }

    /// What people call a series: labels for ids.
    pub(super) fn name(&self, key: &SeriesKey) -> String {
        let label = |level: Level, value: &SmolStr| {
            let name = self.names.get(&SeriesKey::one(level, value));
            name.map_or_else(|| value.to_string(), Clone::clone)
        };
        match key.level {
            Level::App | Level::Rule => {
                format!("{}={}", key.level.dimensions()[0], label(key.level, &key.values[0]))
            }
            Level::AppPlatform => format!("app={},platform={}", label(Level::App, &key.values[0]), key.values[1]),
            Level::CohortApp => format!("cohort={},app={}", key.values[0], label(Level::App, &key.values[1])),
            Level::Org | Level::Platform | Level::Cohort | Level::Credential => key.to_string(),
        }
    }

    /// The label of one value of a key, for metrics.
    pub(super) fn label(&self, level: Level, value: &str) -> String {
        self.names.get(&SeriesKey::one(level, value)).cloned().unwrap_or_else(|| value.to_owned())
    }

    /// Once an hour: learns settled hours, drops what no window reaches and series without a past.
    pub(super) fn settle(&mut self, now: Timestamp, left_out: &dyn Fn(i64) -> bool) {
        let hour = now.index(Span::hours(1));
        if hour == self.settled_hour {
            return;
        }
        self.settled_hour = hour;
        for series in self.series.values_mut() {
            series.baseline.settle(now, left_out);
            series.refused.expire(now);
        }
        let is_idle = |series: &Series| {
            series.baseline.is_blank() && series.refused.is_empty() && series.tallies.quiet_since(now - LastSeen::REACH)
        };
        let idle: Vec<SeriesKey> =
            self.series.iter().filter(|(_, series)| is_idle(series)).map(|(key, _)| key.clone()).collect();
        for key in idle {
            self.series.remove(&key);
            self.names.remove(&key);
            if let Some(count) = self.of_level.get_mut(&key.level) {
                *count = count.saturating_sub(1);
            }
        }
    }

    /// Forgets a person.
    pub(super) fn forget(&mut self, person: u64) {
        self.series.values_mut().for_each(|series| series.refused.forget(person));
    }

    fn ground(&self, key: &SeriesKey) -> Ground<'_> {
        Ground {
            exposure: self.exposure(key),
            rate: self.rate(key),
            series_of_level: self.of_level.get(&key.level).copied().unwrap_or(1),
            began: self.began,
        }
    }

    /// The attempts that a series' refusals are measured against: its own, and the org's for a rule, which only
    /// refusals name.
    fn exposure(&self, key: &SeriesKey) -> Option<&Ring<Tally>> {
        let org = SeriesKey::org();
        let key = if key.level == Level::Rule { &org } else { key };
        self.series.get(key).map(|series| &series.tallies)
    }

    /// Usual refusals per attempt of a series; see [`Baseline::rate`]. A two-way key's parent is the product of its
    /// one-way rates over the org's.
    fn rate(&self, key: &SeriesKey) -> f64 {
        let org = self.own_rate(&SeriesKey::org(), self.prior);
        let [first, second] = &key.values;
        match key.level {
            Level::Org => org,
            Level::App | Level::Platform | Level::Cohort | Level::Credential => self.own_rate(key, org),
            Level::Rule => {
                let rules = self.of_level.get(&Level::Rule).copied().unwrap_or(1).max(1);
                self.own_rate(key, org / rules as f64)
            }
            Level::AppPlatform => {
                let app = self.own_rate(&SeriesKey::one(Level::App, first), org);
                let platform = self.own_rate(&SeriesKey::one(Level::Platform, second), org);
                self.own_rate(key, app * platform / org)
            }
            Level::CohortApp => {
                let cohort = self.own_rate(&SeriesKey::one(Level::Cohort, first), org);
                let app = self.own_rate(&SeriesKey::one(Level::App, second), org);
                self.own_rate(key, cohort * app / org)
            }
        }
    }

    fn own_rate(&self, key: &SeriesKey, parent: f64) -> f64 {
        let exposure = if key.level == Level::Rule { self.series.get(&SeriesKey::org()) } else { None };
        let exposure = exposure.map(|series| &series.baseline);
        self.series.get(key).map_or(parent, |series| series.baseline.rate(parent, exposure))
    }

    fn entry(&mut self, key: SeriesKey) -> (&mut Series, bool) {
        let has_room = self.series.contains_key(&key) || self.series.len() < self.capacity;
        let key = if has_room { key } else { SeriesKey::other(key.level) };
        let level = key.level;
        let of_level = &mut self.of_level;
        let series = self.series.entry(key).or_insert_with(|| {
            *of_level.entry(level).or_default() += 1;
            Series::default()
        });
        (series, !has_room)
    }

    fn learn_names(&mut self, standing: &Standing) {
        if let Some(app) = &standing.app {
            self.learn_name(Level::App, &app_value(app), &app.name, None);
        }
        if let Some(rule) = &standing.rule {
            // People know a policy by its name; the id is for where the event has none.
            let policy = rule.policy_name.as_deref().or(rule.policy.as_deref());
            self.learn_name(Level::Rule, &rule_value(rule), &rule.name, policy);
        }
    }

    /// Every attempt brings its names, and hardly any is new: a known one costs no allocation.
    fn learn_name(&mut self, level: Level, id: &SmolStr, name: &str, policy: Option<&str>) {
        let key = SeriesKey::one(level, id);
        let begins_so = |known: &String| {
            let rest = known.strip_prefix(name)?;
            policy.map_or(Some(()), |policy| {
                rest.strip_prefix(" (")?.strip_prefix(policy)?.starts_with(')').then_some(())
            })
        };
        if self.names.get(&key).and_then(begins_so).is_some() || !self.series.contains_key(&key) {
            return;
        }
        let name = policy.map_or_else(|| name.to_owned(), |policy| format!("{name} ({policy})"));
        if name.is_empty() {
            return;
        }
        // Two apps may carry one label; a metric's labels must tell them apart.
        let is_taken = self.names.iter().any(|(other, taken)| other.level == level && *taken == name);
        self.names.insert(key, if is_taken { format!("{name} ({id})") } else { name });
    }
}

fn app_value(app: &crate::event::App) -> SmolStr {
    if app.id.is_empty() { app.name.clone() } else { app.id.clone() }
}

fn rule_value(rule: &crate::event::PolicyRule) -> SmolStr {
    if rule.id.is_empty() { rule.name.clone() } else { rule.id.clone() }
}

/// The id under which an app's series is kept.
pub(super) fn app_of(standing: &Standing) -> Option<SmolStr> {
    standing.app.as_ref().map(app_value)
}

/// The id under which a rule's series is kept.
pub(super) fn rule_of(standing: &Standing) -> Option<SmolStr> {
    standing.rule.as_ref().map(rule_value)
}

/// Every series that an attempt belongs to. A rule's series holds refusals only: the rule that grants is another.
fn keys_of(standing: &Standing) -> Vec<SeriesKey> {
    let cohort = standing.cohort.as_ref();
    let app = app_of(standing);
    let platform = (standing.platform != Platform::Unknown).then(|| standing.platform.as_str());
    let mut keys = vec![SeriesKey::org()];
    keys.extend(app.iter().map(|app| SeriesKey::one(Level::App, app)));
    keys.extend(platform.map(|platform| SeriesKey::one(Level::Platform, platform)));
    keys.extend(cohort.map(|cohort| SeriesKey::one(Level::Cohort, cohort)));
    if let (Some(app), Some(platform)) = (&app, platform) {
        keys.push(SeriesKey::two(Level::AppPlatform, app, platform));
    }
    if let (Some(app), Some(cohort)) = (&app, cohort) {
        keys.push(SeriesKey::two(Level::CohortApp, cohort, app));
    }
    if standing.credential != Credential::None {
        keys.push(SeriesKey::one(Level::Credential, standing.credential.as_str()));
    }
    if standing.verdict == Verdict::Denied {
        keys.extend(rule_of(standing).map(|rule| SeriesKey::one(Level::Rule, &rule)));
    }
    keys
}

fn add(series: &mut Series, standing: &Standing, by: i64) {
    let Some(tally) = series.tallies.bucket(standing.at) else { return };
    let count = match standing.verdict {
        Verdict::Success | Verdict::PhishDeclined => &mut tally.succeeded,
        Verdict::Denied => &mut tally.denied,
        Verdict::Failed => &mut tally.failed,
        Verdict::Abandoned => return,
    };
    *count = count.saturating_add_signed(by as i32);
    series.baseline.attempt(standing.at, by);
}
