//! The attempts that are under way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::ended::Ended;
use super::{Entry, Signal, Step, Trace, Verdict};
use crate::event::{
    App, Credential, DeviceSignals, EventId, Flow, Person, Platform, PolicyRule, Reason, Span, Timestamp,
};
use crate::policy::Evaluation;

/// An attempt closes this long after its last event (design, section 2).
pub const QUIET: Span = Span::minutes(10);

pub(super) type Key = (Option<Person>, Flow);

/// The place of an event in the order of time; the id breaks ties.
type Stamp = (Timestamp, EventId);

/// A verdict as it stands, with what it was about: what a window counts, and can take back exactly.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Standing {
    /// The verdict.
    pub verdict: Verdict,
    /// The time of the event that decided.
    pub at: Timestamp,
    /// The attempt's first event.
    pub began: Timestamp,
    /// How it came about, as far as the events show.
    pub entry: Entry,
    /// Who.
    pub person: Option<Person>,
    /// The person's cohort when the attempt began: it is counted, and taken back, there.
    pub cohort: Option<SmolStr>,
    /// The credential last used: the one that decided.
    pub credential: Credential,
    /// Whether any method that worked was phishing-resistant; `None` where nothing says so.
    pub phishing_resistant: Option<bool>,
    /// Why not, by the event that decided.
    pub reason: Reason,
    /// The platform, from whichever event knew it.
    pub platform: Platform,
    /// What the device said, likewise.
    pub device: Option<Arc<DeviceSignals>>,
    /// The app last asked for.
    pub app: Option<App>,
    /// The rule named by the event that decided, else the last one named.
    pub rule: Option<PolicyRule>,
    /// What the policies in force say of a refusal.
    pub posture: Option<Arc<Evaluation>>,
}

/// What the attempts ask about a step, at the moment that it is folded.
pub trait Outside {
    /// The cohort of the person, asked when an attempt begins.
    fn cohort(&self, step: &Step) -> Option<SmolStr>;

    /// What the policies in force say of a policy's answer. `None` where there is nothing to say, or not yet.
    fn evaluate(&mut self, step: &Step, known: &Known<'_>) -> Option<Arc<Evaluation>>;
}

/// What the whole flow showed up to a policy's answer.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The device.
    pub device: Option<&'a Arc<DeviceSignals>>,
    /// Its platform.
    pub platform: Platform,
    /// Whether any credential was phishing-resistant.
    pub phishing_resistant: Option<bool>,
    /// The app last asked for.
    pub app: Option<&'a App>,
    /// The person's cohort.
    pub cohort: Option<&'a SmolStr>,
    /// Whether the attempt was refused before.
    pub denied: bool,
}

/// What a step did to its attempt's standing.
#[derive(Clone, PartialEq, Debug)]
pub struct Decision {
    /// The standing that no longer holds.
    pub before: Option<Standing>,
    /// The standing that holds now.
    pub after: Option<Standing>,
}

/// An attempt that came to rest.
#[derive(Clone, PartialEq, Debug)]
pub struct Closed {
    /// Its final verdict; `None` where no event ever asked for or decided anything.
    pub verdict: Option<Verdict>,
    /// How it came about.
    pub entry: Entry,
    /// Who.
    pub person: Option<Person>,
    /// The time of its last event.
    pub last: Timestamp,
    /// How it stood in the end; `None` where nothing decided.
    pub standing: Option<Standing>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Open {
    began: Timestamp,
    last: Timestamp,
    /// The time that it stands under in [`Attempts::by_last`].
    filed: Timestamp,
    decided: Option<(Timestamp, EventId, Verdict)>,
    granted: Option<(Timestamp, EventId)>,
    challenged: bool,
    cohort: Option<SmolStr>,
    entry: Entry,
    credential: Credential,
    phishing_resistant: Option<bool>,
    reason: Reason,
    platform: Platform,
    device: Option<Arc<DeviceSignals>>,
    app: Option<App>,
    rule: Option<PolicyRule>,
    posture: Option<Arc<Evaluation>>,
    standing: Option<Standing>,
}

/// All attempts under way in one org, at most `capacity`; beyond it the one longest quiet closes early.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Attempts {
    capacity: usize,
    open: BTreeMap<Key, Open>,
    /// Every attempt, under a time at which it was last heard of; it is filed anew only when it comes up, since nearly
    /// every event moves that time.
    by_last: BTreeSet<(Timestamp, Key)>,
    /// Attempts that came to rest not long ago: an `ABANDONED` that is written late is theirs.
    ended: Ended,
}

impl Attempts {
    /// An empty table.
    pub fn new(capacity: u32) -> Self {
        Self { capacity: capacity as usize, open: BTreeMap::new(), by_last: BTreeSet::new(), ended: Ended::default() }
    }

    /// Changes the capacity.
    pub fn set_capacity(&mut self, capacity: u32) {
        self.capacity = capacity as usize;
    }

    /// Attempts under way.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is under way.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Folds a step. Attempts that its arrival closes go to `closed`; the decision says what changed in its own.
    pub fn fold(&mut self, step: &Step, outside: &mut dyn Outside, closed: &mut Vec<Closed>) -> Option<Decision> {
        let key = (step.person.clone(), step.flow.clone());
        if let Some(open) = self.open.get_mut(&key) {
            if step.published < open.last + QUIET {
                return open.fold(step, outside);
            }
            self.by_last.remove(&(open.filed, key.clone()));
            self.close(&key, closed);
        }
        if step.signal == Signal::Touch {
            return None;
        }
        if step.signal == Signal::Terminal(Verdict::Abandoned)
            && let Some(before) = self.ended.abandoned(&key)
        {
            closed.extend(before.is_none().then(|| Closed {
                verdict: Some(Verdict::Abandoned),
                entry: Entry::SignIn,
                person: key.0.clone(),
                last: step.published,
                standing: None,
            }));
            return None;
        }
        let mut open = Open::new(step, outside.cohort(step));
        let decision = open.fold(step, outside);
        self.by_last.insert((open.filed, key.clone()));
        self.open.insert(key, open);
        decision
    }

    /// Whether the table is over its capacity; then [`Attempts::close_oldest`] is due.
    pub fn is_full(&self) -> bool {
        self.open.len() > self.capacity
    }

    /// Closes the attempt that has been quiet longest.
    pub fn close_oldest(&mut self, closed: &mut Vec<Closed>) {
        if let Some(key) = self.take_quiet(Timestamp(i64::MAX)) {
            self.close(&key, closed);
        }
    }

    /// Gives an attempt that is still under way the posture that was not known when it was decided.
    pub fn explain(&mut self, person: Option<&Person>, flow: &Flow, posture: &Arc<Evaluation>) {
        if let Some(open) = self.open.get_mut(&(person.cloned(), flow.clone())) {
            open.posture = Some(posture.clone());
            if let Some(standing) = &mut open.standing {
                standing.posture = Some(posture.clone());
            }
        }
    }

    /// Closes every attempt that has been quiet for ten minutes at `now`.
    pub fn close_quiet(&mut self, now: Timestamp, closed: &mut Vec<Closed>) {
        self.ended.expire(now);
        while let Some(key) = self.take_quiet(now - QUIET) {
            self.close(&key, closed);
        }
    }

    /// Closes every attempt: nothing more will come.
    pub fn close_all(&mut self, closed: &mut Vec<Closed>) {
        while !self.by_last.is_empty() {
            self.close_oldest(closed);
        }
    }

    /// Forgets a person's attempts, uncounted.
    pub fn forget(&mut self, person: &Person) {
        let keys: Vec<Key> = self.open.keys().filter(|(who, _)| who.as_ref() == Some(person)).cloned().collect();
        for key in keys {
            if let Some(open) = self.open.remove(&key) {
                self.by_last.remove(&(open.filed, key));
            }
        }
        self.ended.forget(person);
    }

    /// Takes the attempt that has been quiet longest out of the order, where it was not heard of after `since`.
    fn take_quiet(&mut self, since: Timestamp) -> Option<Key> {
        while self.by_last.first().is_some_and(|(filed, _)| *filed <= since) {
            let (filed, key) = self.by_last.pop_first()?;
            match self.open.get_mut(&key) {
                Some(open) if open.last > filed => {
                    open.filed = open.last;
                    self.by_last.insert((open.last, key));
                }
                Some(_) | None => return Some(key),
            }
        }
        None
    }

    /// Ends an attempt that is out of the order already.
    fn close(&mut self, key: &Key, closed: &mut Vec<Closed>) {
        if let Some(open) = self.open.remove(key) {
            let verdict = open.standing.as_ref().map(|standing| standing.verdict);
            let verdict = verdict.or(open.challenged.then_some(Verdict::Abandoned));
            self.ended.note(key, open.last, verdict, self.capacity);
            let Open { entry, last, standing, .. } = open;
            closed.push(Closed { verdict, entry, person: key.0.clone(), last, standing });
        }
    }
}

impl Open {
    fn new(step: &Step, cohort: Option<SmolStr>) -> Self {
        Self {
            began: step.published,
            last: step.published,
            filed: step.published,
            decided: None,
            granted: None,
            challenged: false,
            cohort,
            entry: Entry::Session,
            credential: Credential::None,
            phishing_resistant: None,
            reason: Reason::None,
            platform: Platform::Unknown,
            device: None,
            app: None,
            rule: None,
            posture: None,
            standing: None,
        }
    }

    fn fold(&mut self, step: &Step, outside: &mut dyn Outside) -> Option<Decision> {
        let is_newest = step.published >= self.last;
        self.began = self.began.min(step.published);
        self.last = self.last.max(step.published);
        if step.credential != Credential::None && (is_newest || self.credential == Credential::None) {
            self.credential = step.credential;
        }
        if step.signal.worked() {
            self.phishing_resistant = self.phishing_resistant.max(step.phishing_resistant);
        }
        if self.platform == Platform::Unknown || step.device.is_some() {
            self.platform = if step.platform == Platform::Unknown { self.platform } else { step.platform };
        }
        match (&self.device, &step.device) {
            (None, Some(device)) => self.device = Some(device.clone()),
            // An event that says less of the device takes nothing from what is known of it.
            (Some(known), Some(device)) if known != device => {
                self.device = Some(Arc::new(if is_newest { device.or(known) } else { known.or(device) }));
            }
            (_, None) | (Some(_), Some(_)) => {}
        }
        self.entry = match (step.trace, self.entry) {
            (Trace::SessionStart, _) => Entry::SignIn,
            (Trace::Credential, Entry::Session) => Entry::Reauthentication,
            (Trace::Credential | Trace::None, entry) => entry,
        };
        if step.app.is_some() && (is_newest || self.app.is_none()) {
            self.app.clone_from(&step.app);
        }
        let stamp = (step.published, step.id);
        let mut names_rule = self.rule.is_none();
        match step.signal {
            Signal::Touch | Signal::Progress => {}
            Signal::Challenge => self.challenged = true,
            Signal::Granted => {
                names_rule |= self.decided.is_none();
                self.granted = self.granted.max(Some(stamp));
            }
            Signal::Terminal(verdict) => {
                if self.decided.is_none_or(|(at, id, standing)| outweighs((stamp, verdict), ((at, id), standing))) {
                    self.decided = Some((stamp.0, stamp.1, verdict));
                    self.reason = step.reason;
                    names_rule = true;
                }
            }
        }
        if names_rule && step.rule.is_some() {
            self.rule.clone_from(&step.rule);
        }
        if step.circumstances.is_some() {
            let known = Known {
                device: self.device.as_ref(),
                platform: self.platform,
                phishing_resistant: self.phishing_resistant,
                app: self.app.as_ref(),
                cohort: self.cohort.as_ref(),
                denied: self.standing.as_ref().is_some_and(|standing| standing.verdict == Verdict::Denied),
            };
            let posture = outside.evaluate(step, &known);
            if step.signal == Signal::Terminal(Verdict::Denied) {
                self.posture = posture.or(self.posture.take());
            }
        }
        self.restate(step)
    }

    fn restate(&mut self, step: &Step) -> Option<Decision> {
        let (at, verdict) = match (self.decided, self.granted) {
            (Some((at, _, verdict)), _) => (at, verdict),
            (None, Some((at, _))) => (at, Verdict::Success),
            (None, None) => return None,
        };
        let after = Standing {
            verdict,
            at,
            began: self.began,
            entry: self.entry,
            person: step.person.clone(),
            cohort: self.cohort.clone(),
            credential: self.credential,
            phishing_resistant: self.phishing_resistant,
            reason: self.reason,
            platform: self.platform,
            device: self.device.clone(),
            app: self.app.clone(),
            rule: self.rule.clone(),
            posture: self.posture.clone().filter(|_| verdict == Verdict::Denied),
        };
        if self.standing.as_ref() == Some(&after) {
            return None;
        }
        let before = self.standing.replace(after.clone());
        Some(Decision { before, after: Some(after) })
    }
}

/// Whether a terminal event decides over the one that did so far: the later one does, but that a request expired is no
/// news once a policy refused or the flow completed, whichever comes first in the log.
fn outweighs((stamp, verdict): (Stamp, Verdict), (before, standing): (Stamp, Verdict)) -> bool {
    let is_firm = |verdict| matches!(verdict, Verdict::Denied | Verdict::Success);
    match (verdict, standing) {
        (Verdict::Abandoned, firm) if is_firm(firm) => false,
        (firm, Verdict::Abandoned) if is_firm(firm) => true,
        _ => stamp > before,
    }
}

#[cfg(test)]
mod tests;
