//! Alarms: verdicts with a beginning and an end.
//!
//! The burn and the blind judge say at every look whether something is wrong. An alarm is what people would be told of
//! it: it opens with the first such verdict, becomes worse but never better while it lasts, is over when nothing was
//! wrong for a while *and something was seen to go well* (silence ends nothing), and comes back as the same alarm if the
//! trouble does so soon. Nothing here knows of incidents or sinks.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{blind, burn};
use crate::action::{IncidentStep, Severity};
use crate::event::{Span, Timestamp};

/// Alarms kept after their end, for lists.
const KEPT: usize = 100;

/// Which judge raised it: the `rule` of an incident.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// An objective's budget is used too fast.
    BurnRate,
    /// A source does not tell what happens.
    SourceBlind,
}

impl Rule {
    /// The word in JSON, keys and tickets.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BurnRate => "burn_rate",
            Self::SourceBlind => "source_blind",
        }
    }
}

/// The numbers that made it.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The pair that fired.
    Burn(burn::Verdict),
    /// The sign that was seen.
    Blind(blind::Verdict),
}

/// What a judge found wrong at a look.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Since when.
    pub onset: Timestamp,
    /// The numbers.
    pub why: Why,
}

/// One alarm.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Alarm {
    /// Which judge raised it.
    pub rule: Rule,
    /// The objective or the source.
    pub subject: SmolStr,
    /// How bad it is; rises, never falls.
    pub severity: Severity,
    /// When it began, as far as can be told.
    pub onset: Timestamp,
    /// The look that opened it, event time; with rule and subject it is the alarm's identity.
    pub tick: Timestamp,
    /// The earliest that a live daemon could know.
    pub opened_at: Timestamp,
    /// When it was over.
    pub resolved_at: Option<Timestamp>,
    /// The numbers that opened it, or made it worse.
    pub why: Why,
    /// The spike incident that was open when it began: one cause, already told.
    pub part_of: Option<SmolStr>,
    /// The last look at which something was wrong.
    seen: Timestamp,
}

/// A look at one subject.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Moment<'a> {
    /// Which judge looks.
    pub rule: Rule,
    /// At what.
    pub subject: &'a SmolStr,
    /// When, event time.
    pub tick: Timestamp,
    /// The earliest that a live daemon could know of it.
    pub known_at: Timestamp,
}

/// A step of an alarm that people are to be told.
#[derive(Clone, PartialEq, Debug)]
pub struct Telling {
    /// What happened to it.
    pub step: IncidentStep,
    /// When, event time.
    pub at: Timestamp,
    /// Counts the steps of one alarm from 1.
    pub revision: u32,
    /// The alarm after it.
    pub alarm: Alarm,
}

/// What people were last told of an alarm.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
struct Told {
    step: IncidentStep,
    severity: Severity,
    revision: u32,
}

/// All alarms of one org.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Alarms {
    live: BTreeMap<(Rule, SmolStr), Alarm>,
    told: BTreeMap<(Rule, SmolStr), Told>,
    ended: VecDeque<Alarm>,
}

impl Alarms {
    /// Something is wrong. Returns what that changes; `part_of` is asked only where an alarm begins.
    pub fn fire(
        &mut self,
        moment: &Moment<'_>,
        finding: &Finding,
        part_of: &dyn Fn() -> Option<SmolStr>,
    ) -> Option<IncidentStep> {
        let key = (moment.rule, moment.subject.clone());
        let Some(alarm) = self.live.get_mut(&key) else {
            let alarm = Alarm {
                rule: moment.rule,
                subject: moment.subject.clone(),
                severity: finding.severity,
                onset: finding.onset,
                tick: moment.tick,
                opened_at: moment.known_at,
                resolved_at: None,
                why: finding.why,
                part_of: part_of(),
                seen: moment.tick,
            };
            self.live.insert(key, alarm);
            return Some(IncidentStep::Open);
        };
        alarm.seen = alarm.seen.max(moment.tick);
        let is_worse = finding.severity > alarm.severity;
        if is_worse || alarm.resolved_at.is_some() {
            alarm.severity = alarm.severity.max(finding.severity);
            alarm.why = finding.why;
        }
        match alarm.resolved_at.take() {
            Some(_) => Some(IncidentStep::Reopen),
            None => is_worse.then_some(IncidentStep::Update),
        }
    }

    /// Nothing is wrong, and `is_well` says that something was seen to go well. Over after `hold` without a finding.
    pub fn calm(&mut self, moment: &Moment<'_>, hold: Span, is_well: bool) -> Option<IncidentStep> {
        let alarm = self.live.get_mut(&(moment.rule, moment.subject.clone()))?;
        if alarm.resolved_at.is_some() || !is_well || moment.tick - alarm.seen < hold {
            return None;
        }
        alarm.resolved_at = Some(moment.known_at);
        Some(IncidentStep::Resolve)
    }

    /// Lets go of what ended longer than `reopen` ago.
    pub fn retire(&mut self, now: Timestamp, reopen: Span) {
        let is_over = |alarm: &Alarm| alarm.resolved_at.is_some_and(|at| now - at > reopen);
        let over: Vec<_> = self.live.iter().filter(|(_, alarm)| is_over(alarm)).map(|(key, _)| key.clone()).collect();
        for key in over {
            self.ended.extend(self.live.remove(&key));
            self.told.remove(&key);
        }
        while self.ended.len() > KEPT {
            self.ended.pop_front();
        }
    }

    /// Reconciles what people were told with what is true, and gives what they are to be told now. Nothing is told while
    /// `held`, so that a catch-up tells once; nor of an alarm that was over before it could be told, nor of one that is
    /// part of an incident that has told of its cause.
    pub fn tell(&mut self, at: Timestamp, held: bool) -> Vec<Telling> {
        let mut tellings = Vec::new();
        for (key, alarm) in self.live.iter().filter(|(_, alarm)| !held && alarm.part_of.is_none()) {
            let told = self.told.get(key).copied();
            let is_over = alarm.resolved_at.is_some();
            let step = match told {
                None if is_over => continue,
                None => IncidentStep::Open,
                Some(told) => match (told.step == IncidentStep::Resolve, is_over) {
                    (true, true) => continue,
                    (true, false) => IncidentStep::Reopen,
                    (false, true) => IncidentStep::Resolve,
                    (false, false) if alarm.severity > told.severity => IncidentStep::Update,
                    (false, false) => continue,
                },
            };
            let revision = told.map_or(0, |told| told.revision) + 1;
            self.told.insert(key.clone(), Told { step, severity: alarm.severity, revision });
            tellings.push(Telling { step, at, revision, alarm: alarm.clone() });
        }
        tellings
    }

    /// The alarm of a subject that is not over.
    pub fn open(&self, rule: Rule, subject: &SmolStr) -> Option<&Alarm> {
        self.get(rule, subject).filter(|alarm| alarm.resolved_at.is_none())
    }

    /// The alarm of a subject that is not over, or was not long ago.
    pub fn get(&self, rule: Rule, subject: &SmolStr) -> Option<&Alarm> {
        self.live.get(&(rule, subject.clone()))
    }

    /// Whether an alarm of a judge is not over.
    pub fn any_open(&self, rule: Rule) -> bool {
        self.live.values().any(|alarm| alarm.rule == rule && alarm.resolved_at.is_none())
    }

    /// Every alarm known, oldest first.
    pub fn all(&self) -> Vec<&Alarm> {
        let mut all: Vec<&Alarm> = self.ended.iter().chain(self.live.values()).collect();
        all.sort_by(|a, b| (a.opened_at, a.rule, &a.subject).cmp(&(b.opened_at, b.rule, &b.subject)));
        all
    }

    /// Subjects that are gone can neither fire nor calm: what is open of them is over.
    pub fn keep(&mut self, now: Timestamp, is_kept: &dyn Fn(Rule, &SmolStr) -> bool) {
        for alarm in self.live.values_mut().filter(|alarm| !is_kept(alarm.rule, &alarm.subject)) {
            alarm.resolved_at.get_or_insert(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Span = Span::minutes(15);

    fn finding(severity: Severity) -> Finding {
        let verdict = blind::Verdict { sign: blind::Sign::Lag, since: Timestamp(0), measured: 1.0, expected: 2.0 };
        Finding { severity, onset: Timestamp(0), why: Why::Blind(verdict) }
    }

    /// One look a minute: `t` a ticket, `p` a page, `w` well, `.` silence; the steps with their minute.
    #[track_caller]
    fn check(looks: &str, expect: &[(i64, IncidentStep)]) {
        let (mut alarms, mut steps, subject) = (Alarms::default(), Vec::new(), "x".into());
        for (look, minute) in looks.chars().zip(0..) {
            let tick = Timestamp(Span::minutes(minute).0);
            let moment = Moment { rule: Rule::BurnRate, subject: &subject, tick, known_at: tick };
            let step = match look {
                't' => alarms.fire(&moment, &finding(Severity::Ticket), &|| None),
                'p' => alarms.fire(&moment, &finding(Severity::Page), &|| None),
                look => alarms.calm(&moment, HOLD, look == 'w'),
            };
            steps.extend(step.map(|step| (minute, step)));
            alarms.retire(tick, Span::hours(2));
        }
        assert_eq!(steps, expect, "{looks}");
    }

    #[test]
    fn it_opens_worsens_ends_and_comes_back() {
        use IncidentStep::{Open, Reopen, Resolve, Update};
        check("wwww", &[]);
        check("tt", &[(0, Open)]);
        check("tpt", &[(0, Open), (1, Update)]);
        check(&format!("p{}", "w".repeat(20)), &[(0, Open), (15, Resolve)]);
        check(&format!("p{}", ".".repeat(40)), &[(0, Open)]);
        check(&format!("p{}w", ".".repeat(40)), &[(0, Open), (41, Resolve)]);
        check(&format!("p{}t", "w".repeat(60)), &[(0, Open), (15, Resolve), (61, Reopen)]);
        check(&format!("p{}t", "w".repeat(200)), &[(0, Open), (15, Resolve), (201, Open)]);
    }

    #[test]
    fn people_are_told_what_is_true_once_and_after_a_catch_up() {
        use IncidentStep::{Open, Reopen, Resolve, Update};
        let mut alarms = Alarms::default();
        let subject = "x".into();
        let mut at = |minute: i64, look: Option<Severity>, held: bool| -> Vec<(IncidentStep, u32)> {
            let tick = Timestamp(Span::minutes(minute).0);
            let moment = Moment { rule: Rule::SourceBlind, subject: &subject, tick, known_at: tick };
            match look {
                Some(severity) => alarms.fire(&moment, &finding(severity), &|| None),
                None => alarms.calm(&moment, HOLD, true),
            };
            alarms.tell(tick, held).iter().map(|telling| (telling.step, telling.revision)).collect()
        };
        assert_eq!(at(0, Some(Severity::Ticket), true), []);
        assert_eq!(at(20, None, false), [], "over before anybody could be told");
        assert_eq!(at(30, Some(Severity::Ticket), false), [(Open, 1)]);
        assert_eq!(at(31, Some(Severity::Ticket), false), []);
        assert_eq!(at(32, Some(Severity::Page), true), []);
        assert_eq!(at(33, Some(Severity::Page), false), [(Update, 2)]);
        assert_eq!(at(50, None, false), [(Resolve, 3)]);
        assert_eq!(at(51, None, false), []);
        assert_eq!(at(60, Some(Severity::Ticket), false), [(Reopen, 4)]);
    }

    #[test]
    fn what_ended_stays_in_the_list_up_to_a_bound() {
        let mut alarms = Alarms::default();
        for n in 0..300 {
            let (tick, subject) = (Timestamp(Span::hours(n * 4).0), SmolStr::from(n.to_string()));
            let moment = Moment { rule: Rule::BurnRate, subject: &subject, tick, known_at: tick };
            alarms.fire(&moment, &finding(Severity::Ticket), &|| None);
            let later = Moment { tick: tick + HOLD, known_at: tick + HOLD, ..moment };
            alarms.calm(&later, HOLD, true);
            alarms.retire(tick + Span::hours(3), Span::hours(2));
        }
        assert_eq!(alarms.all().len(), KEPT);
    }
}
