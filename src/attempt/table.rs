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
                if self.decided.is_none_or(|(at, id, _)| stamp > (at, id)) {
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
            self.posture = outside.evaluate(step, &known).or(self.posture.take());
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

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Abandoned, Denied, Failed, PhishDeclined, Success};

    fn step(at: i64, signal: Signal) -> Step {
        Step {
            published: Timestamp(at * 1_000),
            id: EventId(at as u128),
            signal,
            person: Some(Person::new("00u1")),
            flow: Flow::new("flow"),
            trace: Trace::None,
            credential: Credential::None,
            phishing_resistant: None,
            reason: Reason::None,
            platform: Platform::Unknown,
            device: None,
            app: None,
            rule: None,
            circumstances: None,
        }
    }

    fn fold(attempts: &mut Attempts, step: &Step, closed: &mut Vec<Closed>) -> Option<Decision> {
        attempts.fold(step, &mut Nothing, closed)
    }

    /// An outside that knows nothing.
    struct Nothing;

    impl Outside for Nothing {
        fn cohort(&self, _: &Step) -> Option<SmolStr> {
            None
        }

        fn evaluate(&mut self, _: &Step, _: &Known<'_>) -> Option<Arc<Evaluation>> {
            None
        }
    }

    fn verdicts(closed: &[Closed]) -> Vec<Option<Verdict>> {
        closed.iter().map(|closed| closed.verdict).collect()
    }

    #[track_caller]
    fn check(signals: &[(i64, Signal)], expect: Option<Verdict>) {
        let mut forward = Attempts::new(10);
        let mut closed = Vec::new();
        for (at, signal) in signals {
            fold(&mut forward, &step(*at, *signal), &mut closed);
        }
        forward.close_all(&mut closed);
        assert_eq!(verdicts(&closed), [expect], "{signals:?}");
    }

    #[test]
    fn the_latest_terminal_event_wins() {
        let terminal = Signal::Terminal;
        check(&[(1, Signal::Challenge), (2, terminal(Failed)), (3, terminal(Success))], Some(Success));
        check(&[(1, Signal::Progress), (2, terminal(Success)), (3, terminal(Denied))], Some(Denied));
        check(&[(1, terminal(Denied)), (2, terminal(Success))], Some(Success));
        check(&[(1, Signal::Granted), (2, terminal(Denied)), (3, Signal::Granted)], Some(Denied));
        check(&[(1, Signal::Granted)], Some(Success));
        check(&[(1, Signal::Challenge)], Some(Abandoned));
        check(&[(1, Signal::Challenge), (2, terminal(PhishDeclined))], Some(PhishDeclined));
        check(&[(1, Signal::Progress)], None);
    }

    #[test]
    fn arrival_order_does_not_change_the_verdict() {
        let terminal = Signal::Terminal;
        check(&[(3, terminal(Success)), (2, terminal(Denied)), (1, Signal::Challenge)], Some(Success));
        check(&[(3, terminal(Denied)), (2, terminal(Success)), (1, terminal(Failed))], Some(Denied));
    }

    #[test]
    fn ten_quiet_minutes_end_an_attempt_and_a_touch_begins_none() {
        let mut attempts = Attempts::new(10);
        let mut closed = Vec::new();
        assert_eq!(fold(&mut attempts, &step(0, Signal::Touch), &mut closed), None);
        assert!(attempts.is_empty());
        fold(&mut attempts, &step(0, Signal::Terminal(Denied)), &mut closed);
        fold(&mut attempts, &step(599, Signal::Touch), &mut closed);
        attempts.close_quiet(Timestamp(1_198_999), &mut closed);
        assert_eq!((attempts.len(), closed.len()), (1, 0));
        fold(&mut attempts, &step(1_199, Signal::Terminal(Success)), &mut closed);
        assert_eq!(verdicts(&closed), [Some(Denied)]);
        assert_eq!(attempts.len(), 1);
    }

    #[test]
    fn a_changed_verdict_names_the_one_it_replaces() {
        let mut attempts = Attempts::new(10);
        let mut closed = Vec::new();
        let first = fold(&mut attempts, &step(1, Signal::Terminal(Denied)), &mut closed).expect("decided");
        assert_eq!(first.before, None);
        let second = fold(&mut attempts, &step(2, Signal::Terminal(Success)), &mut closed).expect("decided");
        assert_eq!(second.before, first.after);
        assert_eq!(second.after.map(|standing| (standing.verdict, standing.at)), Some((Success, Timestamp(2_000))));
    }

    #[test]
    fn the_attempt_longest_quiet_is_not_the_one_that_began_first() {
        let mut attempts = Attempts::new(10);
        let mut closed = Vec::new();
        let of_flow = |flow: &str, at: i64, signal: Signal| Step { flow: Flow::new(flow), ..step(at, signal) };
        fold(&mut attempts, &of_flow("a", 0, Signal::Terminal(Denied)), &mut closed);
        fold(&mut attempts, &of_flow("b", 1, Signal::Terminal(Success)), &mut closed);
        fold(&mut attempts, &of_flow("a", 500, Signal::Touch), &mut closed);
        fold(&mut attempts, &of_flow("c", 502, Signal::Terminal(Failed)), &mut closed);
        attempts.close_oldest(&mut closed);
        assert_eq!(verdicts(&closed), [Some(Success)]);
        attempts.close_quiet(Timestamp(1_099_999), &mut closed);
        assert_eq!((attempts.len(), closed.len()), (2, 1));
        attempts.close_quiet(Timestamp(1_100_000), &mut closed);
        assert_eq!(verdicts(&closed).last(), Some(&Some(Denied)));
        fold(&mut attempts, &of_flow("c", 503, Signal::Touch), &mut closed);
        attempts.forget(&Person::new("00u1"));
        assert!(attempts.is_empty() && attempts.by_last.is_empty());
        fold(&mut attempts, &of_flow("d", 600, Signal::Terminal(Denied)), &mut closed);
        fold(&mut attempts, &of_flow("d", 601, Signal::Touch), &mut closed);
        fold(&mut attempts, &of_flow("d", 1_300, Signal::Terminal(Success)), &mut closed);
        assert_eq!((closed.len(), attempts.len(), attempts.by_last.len()), (3, 1, 1));
    }

    #[test]
    fn an_attempt_is_as_resistant_as_the_best_method_that_worked() {
        type Part = (Signal, Option<bool>);
        let cases: [(&[Part], Option<bool>); 6] = [
            (&[(Signal::Progress, Some(false)), (Signal::Terminal(Success), None)], Some(false)),
            (&[(Signal::Progress, Some(true)), (Signal::Terminal(Success), Some(false))], Some(true)),
            // FastPass failed, and something else worked.
            (&[(Signal::Terminal(Failed), Some(true)), (Signal::Terminal(Success), Some(false))], Some(false)),
            // A push that was sent is no method that worked.
            (&[(Signal::Progress, None), (Signal::Touch, Some(false)), (Signal::Terminal(Success), None)], None),
            (&[(Signal::Challenge, Some(true)), (Signal::Granted, None)], None),
            (&[(Signal::Granted, Some(true))], Some(true)),
        ];
        for (steps, expect) in cases {
            let mut attempts = Attempts::new(10);
            let mut closed = Vec::new();
            for ((signal, phishing_resistant), at) in steps.iter().zip(1..) {
                let step = Step { phishing_resistant: *phishing_resistant, ..step(at, *signal) };
                fold(&mut attempts, &step, &mut closed);
            }
            attempts.close_all(&mut closed);
            let [Closed { verdict, standing: Some(standing), person: Some(_), last, .. }] = closed.as_slice() else {
                panic!("{steps:?}: {closed:?}");
            };
            assert_eq!((*verdict, standing.phishing_resistant), (Some(Success), expect), "{steps:?}");
            assert_eq!(last.0, 1_000 * steps.len() as i64);
        }
    }

    #[test]
    fn the_table_knows_when_it_is_full() {
        let mut attempts = Attempts::new(2);
        let mut closed = Vec::new();
        for n in 0..3 {
            let mut step = step(n, Signal::Challenge);
            step.flow = Flow::new(format!("flow-{n}"));
            fold(&mut attempts, &step, &mut closed);
        }
        assert!(attempts.is_full());
        attempts.close_oldest(&mut closed);
        assert_eq!((attempts.len(), closed.len(), attempts.is_full()), (2, 1, false));
    }

    #[test]
    fn a_late_abandoned_joins_the_attempt_that_it_ends() {
        let mut attempts = Attempts::new(10);
        let mut closed = Vec::new();
        let abandoned = Signal::Terminal(Abandoned);
        fold(&mut attempts, &step(0, Signal::Progress), &mut closed);
        attempts.close_quiet(Timestamp(700_000), &mut closed);
        assert_eq!(verdicts(&closed), [None]);
        assert_eq!(fold(&mut attempts, &step(1_800, abandoned), &mut closed), None);
        assert_eq!(verdicts(&closed).last(), Some(&Some(Abandoned)));
        assert_eq!(fold(&mut attempts, &step(1_801, abandoned), &mut closed), None);
        assert_eq!((closed.len(), attempts.len()), (2, 0), "counted once");
        attempts.close_quiet(Timestamp(9_000_000), &mut closed);
        assert!(fold(&mut attempts, &step(9_001, abandoned), &mut closed).is_some(), "too long ago to be known");
    }

    #[test]
    fn the_way_in_is_told_by_what_the_flow_holds() {
        for (traces, expect) in [
            (&[Trace::Credential, Trace::SessionStart, Trace::None][..], Entry::SignIn),
            (&[Trace::SessionStart, Trace::Credential], Entry::SignIn),
            (&[Trace::None, Trace::Credential], Entry::Reauthentication),
            (&[Trace::None], Entry::Session),
        ] {
            let mut attempts = Attempts::new(10);
            let mut closed = Vec::new();
            for (at, trace) in (0..).zip(traces) {
                fold(&mut attempts, &Step { trace: *trace, ..step(at, Signal::Granted) }, &mut closed);
            }
            attempts.close_all(&mut closed);
            let found: Vec<_> = closed.iter().map(|closed| (closed.verdict, closed.entry)).collect();
            assert_eq!(found, [(Some(Success), expect)], "{traces:?}");
        }
    }

    #[test]
    fn an_attempt_knows_the_device_of_its_neighbours_and_whether_any_factor_resists_phishing() {
        let mut attempts = Attempts::new(10);
        let mut closed = Vec::new();
        let device =
            DeviceSignals { id: Some("guo1".into()), os_version: Some("14.5".into()), ..DeviceSignals::default() };
        let partial = DeviceSignals { id: Some("guo1".into()), managed: Some(false), ..DeviceSignals::default() };
        let with = |at, device: &DeviceSignals, resistant| Step {
            device: Some(Arc::new(device.clone())),
            phishing_resistant: resistant,
            ..step(at, Signal::Progress)
        };
        fold(&mut attempts, &with(1, &device, Some(true)), &mut closed);
        fold(&mut attempts, &with(2, &partial, Some(false)), &mut closed);
        let denied = fold(&mut attempts, &step(3, Signal::Terminal(Denied)), &mut closed).and_then(|one| one.after);
        let denied = denied.expect("decided");
        let expect = DeviceSignals { managed: Some(false), ..device };
        assert_eq!((denied.device.as_deref(), denied.phishing_resistant), (Some(&expect), Some(true)));
    }
}
