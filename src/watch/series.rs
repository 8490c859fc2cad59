//! The series of one org: the judge's board, fed from standings and refusals, and what people call its values.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::attempt::{Standing, Verdict};
use crate::event::{Span, Timestamp};
use crate::incident::{Mood, Refusal};
use crate::judge::{Attempt, Board, Case, Door, Ended, Firing, Learning, Series, Thresholds, Why};
use crate::window::{Level, SeriesKey};

/// Apps that the refusals of one policy are known to be about; a policy that more apps share says nothing of an app.
const APPS_OF_POLICY: usize = 100;

/// All series of one org.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct SeriesTable {
    board: Board,
    names: BTreeMap<SeriesKey, String>,
    /// The apps whose answers named a rule of a policy.
    apps_of_policy: BTreeMap<SmolStr, BTreeSet<SmolStr>>,
    capacity: usize,
}

impl SeriesTable {
    pub(super) fn configure(&mut self, capacity: u32, prior: f64) {
        self.capacity = capacity as usize;
        self.board.configure(capacity, prior);
    }

    /// The series that are published.
    pub(super) fn published(&self) -> impl Iterator<Item = (&SeriesKey, &Series)> {
        self.board.iter().filter(|(key, _)| key.level.is_published())
    }

    pub(super) fn len(&self) -> usize {
        self.board.len()
    }

    pub(super) fn is_touched(&self) -> bool {
        self.board.is_touched()
    }

    /// The policies became known at `at`, or are known no more.
    pub(super) fn judge_by_check(&mut self, by_check: bool, at: Timestamp) {
        self.board.judge_by_check(by_check, at);
    }

    /// Counts a standing (`by` = 1) or takes it back (`by` = −1). Returns whether a series had no room.
    pub(super) fn count(&mut self, standing: &Standing, by: i64) -> bool {
        let ended = match standing.verdict {
            Verdict::Success | Verdict::PhishDeclined => Ended::Succeeded,
            Verdict::Denied => Ended::Denied,
            Verdict::Failed => Ended::Failed,
            Verdict::Abandoned => return false,
        };
        let (app, rule) = (app_of(standing), rule_of(standing));
        let attempt = Attempt {
            at: standing.at,
            ended,
            cohort: standing.cohort.as_ref(),
            app: app.as_ref(),
            rule: rule.as_ref(),
            platform: standing.platform,
            credential: standing.credential,
        };
        let had_no_room = self.board.count(&attempt, by);
        self.learn_names(standing, app.as_ref());
        had_no_room
    }

    /// Notes a refused person in every judged series that the refusal belongs to. Returns whether one had no room.
    pub(super) fn refuse(&mut self, refusal: &Refusal) -> bool {
        let case = self.case(refusal);
        self.board.refuse(&case)
    }

    /// Why somebody was refused, who was counted already, is known now.
    pub(super) fn explain(&mut self, refusal: &Refusal) -> bool {
        let case = self.case(refusal);
        self.board.explain(&case)
    }

    /// Takes back a refusal that a later success in its flow undid.
    pub(super) fn unrefuse(&mut self, refusal: &Refusal) {
        let case = self.case(refusal);
        self.board.unrefuse(&case);
    }

    fn case<'a>(&self, refusal: &'a Refusal) -> Case<'a> {
        // A reading that is not derived says nothing of checks where others are: the refusals of such an app would come
        // and go with the policies that are known.
        let why = match refusal.checks() {
            Some(checks) if self.board.judges_by_check() => Why::Checks(checks),
            Some(_) => Why::Unknown,
            None if self.board.judges_by_check() => Why::Unknown,
            None => Why::Rule,
        };
        Case {
            at: refusal.at,
            person: refusal.person,
            cohort: refusal.cohort.as_ref(),
            app: refusal.app.as_ref(),
            rule: refusal.rule.as_ref(),
            platform: refusal.platform,
            why,
        }
    }

    /// A change whose scope is known lowers the threshold for a while.
    pub(super) fn open(&mut self, door: Door) {
        self.board.open(door);
    }

    /// The apps whose answers named a rule of a policy; `None` where none is known, or too many.
    pub(super) fn apps_of_policy(&self, policy: &str) -> Option<&BTreeSet<SmolStr>> {
        self.apps_of_policy.get(policy).filter(|apps| apps.len() < APPS_OF_POLICY)
    }

    /// Changes in scope per week.
    pub(super) fn changes_a_week(&self) -> f64 {
        self.board.changes_a_week()
    }

    /// Judges every series in which someone was refused since the last tick. Nobody refused before `rested`, the end of
    /// the last incident, counts.
    pub(super) fn judge(&mut self, tick: Timestamp, rested: Timestamp, thresholds: &Thresholds) -> Vec<Firing> {
        self.board.judge(tick, rested, thresholds, &Learning::default())
    }

    /// How a series does in a window; one that is gone is at rest.
    pub(super) fn mood(&self, key: &SeriesKey, window: Span, below: f64, tick: Timestamp) -> Mood {
        if !self.board.is_calm(key, window, below, tick, &Learning::default()) {
            return Mood::Restless;
        }
        let someone_tries = self.board.attempts(&SeriesKey::org(), tick - window, tick) > 0.0;
        // Silence is not recovery: without a single attempt in the org nobody knows (invariant 4).
        if someone_tries || !self.board.holds(key) { Mood::Calm } else { Mood::Silent }
    }

    /// People expected to be refused in a series from `since` to `to`.
    pub(super) fn expected(&self, key: &SeriesKey, since: Timestamp, to: Timestamp) -> f64 {
        self.board.expected(key, since, to)
    }

    /// What people call a series: labels for ids.
    pub(super) fn name(&self, key: &SeriesKey) -> String {
        if key.level == Level::Org {
            return key.to_string();
        }
        let label = |(name, (level, value)): (&str, (Level, &SmolStr))| format!("{name}={}", self.label(level, value));
        key.level.dimensions().zip(key.parts()).map(label).collect::<Vec<_>>().join(",")
    }

    /// The label of one value of a key.
    pub(super) fn label(&self, level: Level, value: &str) -> String {
        self.names.get(&SeriesKey::one(level, value)).cloned().unwrap_or_else(|| value.to_owned())
    }

    /// Once an hour: learns settled hours, drops what no window reaches and series without a past.
    pub(super) fn settle(&mut self, now: Timestamp, left_out: &dyn Fn(i64) -> bool) {
        for key in self.board.settle(now, left_out, &Learning::default()) {
            self.names.remove(&key);
        }
    }

    /// Forgets a person.
    pub(super) fn forget(&mut self, person: u64) {
        self.board.forget(person);
    }

    fn learn_names(&mut self, standing: &Standing, app_id: Option<&SmolStr>) {
        if let (Some(app), Some(id)) = (&standing.app, app_id) {
            self.learn_name(Level::App, id, &app.name, None);
        }
        let Some(rule) = &standing.rule else { return };
        // People know a policy by its name; the id is for where the event has none.
        let policy = rule.policy_name.as_deref().or(rule.policy.as_deref());
        self.learn_name(Level::Rule, &rule_value(rule), &rule.name, policy);
        if let (Some(policy), Some(app)) = (&rule.policy, app_id) {
            let is_known = self.apps_of_policy.get(policy).is_some_and(|apps| apps.contains(app));
            if !is_known && (self.apps_of_policy.contains_key(policy) || self.apps_of_policy.len() < self.capacity) {
                let apps = self.apps_of_policy.entry(policy.clone()).or_default();
                if apps.len() < APPS_OF_POLICY {
                    apps.insert(app.clone());
                }
            }
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
        if self.names.get(&key).and_then(begins_so).is_some() || !self.board.holds(&key) {
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
