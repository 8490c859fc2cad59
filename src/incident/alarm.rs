//! An alarm of the burn or the blind judge as an incident, with its words.
//!
//! Such an incident names no people, checks or suspects: a budget is used up by many causes, and a blind source has none
//! that the log could show. The numbers are those of the verdict. It refuses nothing and keeps nothing; which steps are
//! told is [`Alarms::tell`](crate::judge::alarm::Alarms::tell)'s.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use smol_str::{SmolStr, format_smolstr};

use super::narrative::{clock, stamp};
use crate::action::{Evidence, Incident, IncidentAction, IncidentStep};
use crate::event::{Org, Timestamp};
use crate::input::Slo;
use crate::judge::alarm::{Alarm, Telling, Why};
use crate::judge::{blind, burn};

/// What a blind source means, for the ticket.
const BLIND_TRIAGE: &str = "the conditions source/… on /readyz say whether the source refuses, limits or does not answer. \
     A source that answers and brings too little is short of events itself: compare with the provider's own log page.";
/// When it means nothing.
const BLIND_FALSE: &str = "a shutdown of the whole company, or an outage of its network, is quiet for real.";

/// The action that tells a step of an alarm; `slo` is its objective, where it is of one.
pub fn action(org: &Org, telling: &Telling, slo: Option<&Slo>) -> IncidentAction {
    let Telling { step, at, revision, alarm } = telling;
    let incident = incident(org, alarm, slo);
    let description = description(&incident, alarm, slo);
    let note = match step {
        IncidentStep::Open => format!("Opened: {}", numbers(alarm)),
        IncidentStep::Update => format!("Worse: {}", numbers(alarm)),
        IncidentStep::Resolve => match alarm.why {
            Why::Burn(_) => {
                "Over: no pair of windows has fired for 15 minutes, and sign-ins were seen to go well.".into()
            }
            Why::Blind(_) => "Over: the source has told what happens for 10 minutes.".into(),
        },
        IncidentStep::Reopen => format!("It came back: {}", numbers(alarm)),
    };
    IncidentAction { step: *step, at: *at, revision: *revision, incident, description, note }
}

/// An alarm as an incident, for lists.
pub fn incident(org: &Org, alarm: &Alarm, slo: Option<&Slo>) -> Incident {
    Incident {
        key: key(org, alarm),
        org: org.clone(),
        rule: alarm.rule.as_str().into(),
        severity: alarm.severity,
        onset: alarm.onset,
        opened_at: alarm.opened_at,
        resolved_at: alarm.resolved_at,
        title: title(alarm, slo),
        people: 0,
        series: vec![match alarm.why {
            Why::Burn(_) => format!("slo={}", alarm.subject),
            Why::Blind(_) => format!("source={}", alarm.subject),
        }],
        checks: Vec::new(),
        notified: true,
        suspects: Vec::new(),
        evidence: evidence(alarm),
    }
}

/// The score is the burn rate and the threshold its factor; of a blind source, what was measured against what was due.
fn evidence(alarm: &Alarm) -> Evidence {
    match alarm.why {
        Why::Burn(burn::Verdict { long, factor, .. }) => Evidence {
            attempts: f64::from(long.good) + f64::from(long.bad),
            window_minutes: long.seconds / 60,
            score: long.burn.unwrap_or(0.0),
            threshold: factor,
            ..Evidence::default()
        },
        Why::Blind(blind::Verdict { measured, expected, .. }) => {
            Evidence { score: measured, threshold: expected, ..Evidence::default() }
        }
    }
}

fn title(alarm: &Alarm, slo: Option<&Slo>) -> String {
    match alarm.why {
        Why::Burn(verdict) => {
            let name = slo.map_or(alarm.subject.as_str(), |slo| slo.title.as_str());
            let burn = verdict.long.burn.unwrap_or(0.0);
            format!("Error budget of \"{name}\" is used {burn:.1} times too fast since {} UTC", clock(alarm.onset))
        }
        Why::Blind(_) => {
            format!("Source {} does not tell what happens since {} UTC", alarm.subject, clock(alarm.onset))
        }
    }
}

fn description(incident: &Incident, alarm: &Alarm, slo: Option<&Slo>) -> String {
    let mut text = String::new();
    let state = alarm.resolved_at.map_or("Going on.".to_owned(), |at| format!("Over at {} UTC.", stamp(at)));
    let _ = writeln!(text, "What: {}, in org {}. {state}", incident.title, incident.org);
    let _ = writeln!(text, "Why this opened: {}", numbers(alarm));
    let (triage, false_positives) = match slo {
        Some(slo) => (slo.triage.as_str(), slo.false_positives.as_str()),
        None => (BLIND_TRIAGE, BLIND_FALSE),
    };
    if let Some(slo) = slo {
        let _ = writeln!(text, "Objective: {} % over {} days. {}", slo.target * 100.0, slo.days, slo.description);
    } else {
        let _ = writeln!(text, "While it lasts no success rate of this org can be told: they are unknown, not 100 %.");
    }
    let _ = writeln!(text, "First step: {triage}");
    let _ = writeln!(text, "It means nothing where: {false_positives}");
    let _ = write!(text, "Incident {} ({}), opened {} UTC.", incident.key, incident.rule, stamp(alarm.opened_at));
    text
}

/// The numbers that made it, in a sentence.
fn numbers(alarm: &Alarm) -> String {
    match alarm.why {
        Why::Burn(burn::Verdict { factor, floor, long, short, .. }) => {
            let window = |reading: &burn::Reading| {
                let all = u64::from(reading.good) + u64::from(reading.bad);
                let burn = reading.burn.unwrap_or(0.0);
                format!("{} bad of {all} in {} min (burn {burn:.1})", reading.bad, reading.seconds / 60)
            };
            format!("{} and {}, limit {factor:.2}, at least {floor} bad.", window(&long), window(&short))
        }
        Why::Blind(blind::Verdict { sign, since, measured, expected }) => {
            let since = stamp(since);
            match sign {
                blind::Sign::NoData => {
                    format!(
                        "it has said nothing for {measured:.0} s (limit {expected:.0} s), last heard of {since} UTC."
                    )
                }
                blind::Sign::Lag => {
                    format!(
                        "it is {measured:.0} s behind its own clock (limit {expected:.0} s), told up to {since} UTC."
                    )
                }
                blind::Sign::Gap => {
                    format!("no event since {since} UTC, where the quietest day brings at least {expected:.0}.")
                }
                blind::Sign::Volume => {
                    format!("{measured:.0} events since {since} UTC, where the quietest day brings {expected:.0}.")
                }
            }
        }
    }
}

/// The incident's id: fixed at opening from org, judge, subject and opening look, as for every judge.
fn key(org: &Org, alarm: &Alarm) -> SmolStr {
    let Alarm { rule, subject, tick: Timestamp(tick), .. } = alarm;
    let mut hash = Sha256::new();
    for part in [org.as_str(), rule.as_str(), subject, &tick.to_string()] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let hex: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format_smolstr!("aw-{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Severity;
    use crate::event::Span;
    use crate::judge::alarm::{Alarms, Finding, Moment, Rule};

    const AT: Timestamp = Timestamp(1_772_460_000_000);

    fn tell(rule: Rule, subject: &str, why: Why) -> IncidentAction {
        let (mut alarms, subject) = (Alarms::default(), SmolStr::from(subject));
        let moment = Moment { rule, subject: &subject, tick: AT, known_at: AT + Span::seconds(20) };
        alarms.fire(&moment, &Finding { severity: Severity::Page, onset: AT - Span::minutes(5), why }, &|| None);
        let telling = alarms.tell(AT + Span::seconds(20), false).pop().expect("a step");
        let slo = Slo {
            name: "sign-in-success".into(),
            title: "Sign-in succeeds".into(),
            description: "Attempts end well.".into(),
            target: 0.98,
            days: 28,
            indicator: crate::input::Indicator::Lag { within: Span(1) },
            alerts: crate::input::Alerts::Page,
            min_bad: 10,
            triage: "look".into(),
            false_positives: "never".into(),
        };
        action(&Org::new("acme"), &telling, (rule == Rule::BurnRate).then_some(&slo))
    }

    #[test]
    fn a_burn_ticket_says_what_burns_by_which_numbers_and_what_to_do() {
        let long = burn::Reading { seconds: 3_600, good: 700, bad: 300, burn: Some(15.0) };
        let short = burn::Reading { seconds: 300, good: 40, bad: 60, burn: Some(30.0) };
        let verdict = burn::Verdict { severity: Severity::Page, factor: 13.44, floor: 10, long, short };
        let action = tell(Rule::BurnRate, "sign-in-success", Why::Burn(verdict));
        assert_eq!((action.step, action.revision), (IncidentStep::Open, 1));
        assert_eq!(action.incident.rule, "burn_rate");
        assert!(action.incident.key.starts_with("aw-") && action.incident.key.len() == 35, "{}", action.incident.key);
        assert_eq!(
            action.incident.title,
            "Error budget of \"Sign-in succeeds\" is used 15.0 times too fast since 13:55 UTC"
        );
        assert_eq!(
            action.note,
            "Opened: 300 bad of 1000 in 60 min (burn 15.0) and 60 bad of 100 in 5 min (burn 30.0), limit 13.44, at least 10 bad."
        );
        for part in
            ["in org acme. Going on.", "Objective: 98 % over 28 days.", "First step: look", "nothing where: never"]
        {
            assert!(action.description.contains(part), "{part}: {}", action.description);
        }
    }

    #[test]
    fn a_blind_ticket_says_what_is_not_known() {
        for (sign, expect) in [
            (
                blind::Sign::NoData,
                "Opened: it has said nothing for 400 s (limit 300 s), last heard of 2026-03-02 14:00:00 UTC.",
            ),
            (
                blind::Sign::Lag,
                "Opened: it is 400 s behind its own clock (limit 300 s), told up to 2026-03-02 14:00:00 UTC.",
            ),
            (
                blind::Sign::Gap,
                "Opened: no event since 2026-03-02 14:00:00 UTC, where the quietest day brings at least 300.",
            ),
            (
                blind::Sign::Volume,
                "Opened: 400 events since 2026-03-02 14:00:00 UTC, where the quietest day brings 300.",
            ),
        ] {
            let verdict = blind::Verdict { sign, since: AT, measured: 400.0, expected: 300.0 };
            let action = tell(Rule::SourceBlind, "okta:acme", Why::Blind(verdict));
            assert_eq!(action.note, expect);
            assert_eq!(action.incident.series, ["source=okta:acme"]);
            assert!(action.description.contains("unknown, not 100 %"), "{}", action.description);
        }
    }
}
