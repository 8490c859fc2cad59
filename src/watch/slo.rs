//! Objectives and blindness of one org: feeds the burn and the blind judge, and keeps their alarms.
//!
//! Attempts and events are counted when they are folded, in the order of event time, and taken back where a later event
//! of their flow says otherwise; a late one counts at its own time, and no past tick is judged again. A person who fails
//! again within the hour counts once: five hundred tries of one person are one person's trouble. Blindness is judged by the
//! source's clock whenever it speaks, and when the shell says that it does not.

mod objective;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::action::{IncidentStep, Severity};
use crate::attempt::{Decision, Entry, Signal, Standing, Step, Verdict};
use crate::event::{Org, SourceName, Span, Timestamp};
use crate::input::{Indicator, Slo};
use crate::judge::alarm::{Alarm, Alarms, Finding, Moment, Rule, Why};
use crate::judge::blind::{self, Sense, Sign};
use crate::judge::burn;
use objective::{Objective, Sight};

/// A burn alarm is over when no pair fired for this long.
const HOLD: Span = Span::minutes(15);

/// What an alarm became at a look: what is to be told, once somebody tells it.
#[derive(Clone, PartialEq, Debug)]
pub struct AlarmStep {
    /// What happened to it.
    pub step: IncidentStep,
    /// The alarm after it.
    pub alarm: Alarm,
}

/// All objectives, sources and alarms of one org.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Slos {
    /// In the order of the configuration.
    objectives: Vec<(SmolStr, Objective)>,
    senses: BTreeMap<SourceName, Sense>,
    alarms: Alarms,
}

impl Slos {
    /// Takes a configuration. What measures the same as before keeps its counts, whatever its target is now.
    pub(super) fn configure(&mut self, slos: &[Slo], sources: &BTreeSet<SourceName>, now: Timestamp) {
        let mut before: BTreeMap<SmolStr, Objective> = std::mem::take(&mut self.objectives).into_iter().collect();
        let carried = |slo: &Slo, before: &mut BTreeMap<SmolStr, Objective>| {
            let same = before.remove(&slo.name).filter(|objective| objective.measures(&slo.indicator));
            (slo.name.clone(), same.unwrap_or_else(|| Objective::new(&slo.indicator)))
        };
        self.objectives = slos.iter().map(|slo| carried(slo, &mut before)).collect();
        self.senses.retain(|name, _| sources.contains(name));
        self.alarms.keep(now, &|rule, subject| match rule {
            Rule::BurnRate => slos.iter().any(|slo| slo.name == *subject),
            Rule::SourceBlind => sources.iter().any(|source| source.as_str() == subject),
        });
    }

    /// An event of a source was accepted.
    pub(super) fn event(&mut self, source: &SourceName, published: Timestamp) {
        if let Some(sense) = self.senses.get_mut(source) {
            sense.event(published);
        }
    }

    /// A step of a sign-in was folded.
    pub(super) fn step(&mut self, step: &Step, slos: &[Slo]) {
        let Signal::Terminal(verdict) = step.signal else { return };
        let person = step.person.as_ref().map(crate::event::Person::hash64);
        for (slo, (_, objective)) in slos.iter().zip(&mut self.objectives) {
            if let Indicator::Events { scope, bad } = &slo.indicator
                && let Some(is_bad) = Sight::of_step(step).counts(scope, *bad, verdict)
            {
                objective.count(step.published, (is_bad, person), 1);
            }
        }
    }

    /// An attempt's standing changed.
    pub(super) fn decided(&mut self, decision: &Decision, slos: &[Slo]) {
        for (slo, (_, objective)) in slos.iter().zip(&mut self.objectives) {
            for (standing, by) in [(&decision.before, -1), (&decision.after, 1)] {
                if let Some(standing) = standing
                    && let Some(is_bad) = ended(&slo.indicator, standing)
                {
                    let person = standing.person.as_ref().map(crate::event::Person::hash64);
                    objective.count(standing.at, (is_bad, person), by);
                }
            }
        }
    }

    /// A source spoke, by its server's clock, and has told everything up to its watermark.
    pub(super) fn spoke(
        &mut self,
        source: &SourceName,
        (now, watermark): (Timestamp, Timestamp),
        slos: &[Slo],
        reopen: Span,
    ) -> Option<AlarmStep> {
        let subject = SmolStr::new(source.as_str());
        let blind_since = self.alarms.open(Rule::SourceBlind, &subject).map(|alarm| alarm.onset);
        self.senses.entry(source.clone()).or_default().spoke(now, watermark, blind_since);
        self.look(source, slos, reopen)
    }

    /// A source has been silent.
    pub(super) fn unheard(
        &mut self,
        source: &SourceName,
        silent: Span,
        slos: &[Slo],
        reopen: Span,
    ) -> Option<AlarmStep> {
        self.senses.get_mut(source)?.silent(silent);
        self.look(source, slos, reopen)
    }

    /// Judges a source, and counts the minutes of its clock.
    fn look(&mut self, source: &SourceName, slos: &[Slo], reopen: Span) -> Option<AlarmStep> {
        let subject = SmolStr::new(source.as_str());
        let sense = self.senses.get(source)?;
        let now = sense.now()?;
        let was = self.alarms.open(Rule::SourceBlind, &subject).map(|alarm| match alarm.why {
            Why::Blind(verdict) => verdict.sign,
            Why::Burn(_) => Sign::NoData,
        });
        let verdict = sense.judge(was);
        let moment = Moment { rule: Rule::SourceBlind, subject: &subject, tick: now, known_at: now };
        let step = match verdict {
            Some(verdict) => {
                let severity = match verdict.sign {
                    Sign::NoData | Sign::Lag => Severity::Page,
                    Sign::Gap | Sign::Volume => Severity::Ticket,
                };
                let finding = Finding { severity, onset: verdict.since, why: Why::Blind(verdict) };
                self.alarms.fire(&moment, &finding, &|| None)
            }
            None => self.alarms.calm(&moment, blind::CALM, true),
        };
        let lag = self.senses.values().filter_map(Sense::lag).max();
        if let Some(lag) = lag {
            for (slo, (_, objective)) in slos.iter().zip(&mut self.objectives) {
                if let Indicator::Lag { within } = slo.indicator {
                    objective.minute(now, lag, within);
                }
            }
        }
        self.alarms.retire(now, reopen);
        self.told(step, Rule::SourceBlind, &subject)
    }

    /// Judges every objective of which something bad was counted since the last tick, or whose alarm is open. `spike` is
    /// the spike incident that is open, which has told of the same cause.
    pub(super) fn tick(
        &mut self,
        (tick, known_at): (Timestamp, Timestamp),
        slos: &[Slo],
        spike: &dyn Fn() -> Option<SmolStr>,
        reopen: Span,
    ) -> Vec<AlarmStep> {
        let mut steps = Vec::new();
        for (slo, (name, objective)) in slos.iter().zip(&mut self.objectives) {
            let open = self.alarms.open(Rule::BurnRate, name).map(|alarm| alarm.why);
            if !objective.take_touched() && open.is_none() {
                continue;
            }
            objective.forget_before(tick);
            let moment = Moment { rule: Rule::BurnRate, subject: name, tick, known_at };
            let step = match burn::firing(slo, objective.counts(), tick) {
                Some(verdict) => {
                    let onset = tick - Span::seconds(i64::from(verdict.short.seconds));
                    let finding = Finding { severity: verdict.severity, onset, why: Why::Burn(verdict) };
                    self.alarms.fire(&moment, &finding, spike)
                }
                None => {
                    let factor = match open {
                        Some(Why::Burn(verdict)) => verdict.factor,
                        Some(Why::Blind(_)) | None => 1.0,
                    };
                    // Nothing counted is not recovery (invariant 4).
                    let lately = burn::rate(objective.counts().sum(tick, HOLD), slo.allowed());
                    self.alarms.calm(&moment, HOLD, lately.is_some_and(|lately| lately <= factor))
                }
            };
            steps.extend(step.and_then(|step| {
                let alarm = self.alarms.get(Rule::BurnRate, name)?.clone();
                Some(AlarmStep { step, alarm })
            }));
        }
        if !steps.is_empty() {
            self.alarms.retire(tick, reopen);
        }
        steps
    }

    /// Whether the next tick matters.
    pub(super) fn need_ticks(&self) -> bool {
        self.alarms.any_open(Rule::BurnRate) || self.objectives.iter().any(|(_, objective)| objective.is_touched())
    }

    /// Forgets a person.
    pub(super) fn forget(&mut self, person: u64) {
        self.objectives.iter_mut().for_each(|(_, objective)| objective.forget(person));
    }

    /// Whether any source of the org is blind: no SLI can be told then.
    pub(super) fn is_blind(&self) -> bool {
        self.alarms.any_open(Rule::SourceBlind)
    }

    /// Every alarm known, oldest first.
    pub(super) fn alarms(&self) -> Vec<&Alarm> {
        self.alarms.all()
    }

    /// How every objective stands.
    pub(super) fn standings(&self, org: &Org, slos: &[Slo], now: Timestamp) -> Vec<burn::Standing> {
        let of = |(slo, (name, objective)): (&Slo, &(SmolStr, Objective))| {
            let alarm = self.alarms.open(Rule::BurnRate, name);
            // Minutes of the source's clock are known however blind it is.
            let is_blind = self.is_blind() && !matches!(slo.indicator, Indicator::Lag { .. });
            burn::Standing::of(org, slo, (objective.counts(), objective.totals()), (alarm, is_blind), now)
        };
        slos.iter().zip(&self.objectives).map(of).collect()
    }

    fn told(&self, step: Option<IncidentStep>, rule: Rule, subject: &SmolStr) -> Option<AlarmStep> {
        Some(AlarmStep { step: step?, alarm: self.alarms.get(rule, subject)?.clone() })
    }
}

/// Whether an attempt that stands so is bad for an indicator; `None` where it does not count.
fn ended(indicator: &Indicator, standing: &Standing) -> Option<bool> {
    match indicator {
        Indicator::Attempts { scope, bad } => Sight::of_standing(standing).counts(scope, *bad, standing.verdict),
        Indicator::Duration { scope, within } => {
            let asked = standing.verdict == Verdict::Success && standing.entry != Entry::Session;
            let fits = asked && Sight::of_standing(standing).is_in(scope);
            fits.then(|| standing.at - standing.began > *within)
        }
        Indicator::Events { .. } | Indicator::Lag { .. } => None,
    }
}
