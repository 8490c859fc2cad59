//! The words of a ticket. They name no person, and they say what is known, by whom, and no more.

use std::fmt::Write as _;

use crate::action::{Incident, IncidentStep};
use crate::event::{Check, PostureCheck, Timestamp};

/// One line for a list: how many, since when, where.
pub(super) fn title(incident: &Incident) -> String {
    let people = people(incident.people);
    let since = clock(incident.onset);
    match leading(&incident.evidence.top_apps, incident.people) {
        Some(app) => format!("{people} refused at sign-in to {app} since {since} UTC"),
        None => format!("{people} refused at sign-in since {since} UTC"),
    }
}

/// The whole text.
pub(super) fn description(incident: &Incident, recovering: bool) -> String {
    let evidence = &incident.evidence;
    let mut text = String::new();
    let state = match (incident.resolved_at, recovering) {
        (Some(at), _) => format!("Over at {} UTC.", stamp(at)),
        (None, true) => "Recovering: refusals are as usual again.".to_owned(),
        (None, false) => "Going on.".to_owned(),
    };
    let _ = writeln!(text, "What: a sign-on policy refuses people at sign-in in org {}. {state}", incident.org);
    let _ = writeln!(text, "Who: {} since {} UTC.", people(incident.people), stamp(incident.onset));
    for (label, values) in [
        ("Apps", &evidence.top_apps),
        ("Rules named by the refusals", &evidence.top_rules),
        ("Platforms", &evidence.top_platforms),
        ("OS versions", &evidence.top_os_versions),
        ("Cohorts", &evidence.top_cohorts),
    ] {
        if !values.is_empty() {
            let list: Vec<String> = values.iter().map(|(value, people)| format!("{value} ({people})")).collect();
            let _ = writeln!(text, "{label}, with people: {}", list.join(", "));
        }
    }
    let _ = writeln!(
        text,
        "Why this opened: {} people refused in {} min, where {:.1} are usual for {:.0} attempts (score {:.1}, limit {:.1}).",
        evidence.people,
        evidence.window_minutes,
        evidence.expected,
        evidence.attempts,
        evidence.score,
        evidence.threshold,
    );
    checks(&mut text, incident);
    let _ = writeln!(
        text,
        "First step: look at policy and rule changes shortly before {} UTC; a rule that no longer matches leaves people \
         to the catch-all rule, which is the one the log names.",
        clock(incident.onset),
    );
    let _ = write!(text, "Incident {} ({}), opened {} UTC.", incident.key, incident.rule, stamp(incident.opened_at));
    text
}

/// Which checks the devices failed: required beside actual.
fn checks(text: &mut String, incident: &Incident) {
    let top = &incident.evidence.top_checks;
    if top.iter().all(|(check, _)| check == PostureCheck::Unattributed.as_str()) {
        let _ = writeln!(text, "Check: not attributed; the evidence names no device check.");
        return;
    }
    let list: Vec<String> = top.iter().map(|(check, people)| format!("{check} ({people})")).collect();
    let _ = writeln!(text, "Checks that fail, with people: {}", list.join(", "));
    for check in &incident.checks {
        let what = if check.detail.is_empty() { String::new() } else { format!(" ({})", check.detail) };
        let required = if check.required.is_empty() { "not known" } else { &check.required };
        let actual = actual(check);
        let _ = writeln!(text, "  {}{what}: required {required}, most of them have {actual}", check.check);
    }
}

fn actual(check: &Check) -> &str {
    check.actual.as_deref().unwrap_or("not known")
}

/// What is said where an incident ends because it is another's.
pub(super) fn merged(elder: &str) -> String {
    format!("The same cause as incident {elder}, which is the elder: what follows is told there.")
}

/// What changed with this step. `last` is the last refusal that counts.
pub(super) fn note(
    incident: &Incident,
    step: IncidentStep,
    (recovering, newly_named): (bool, bool),
    people_before: Option<u64>,
    last: Option<Timestamp>,
) -> String {
    let now = people(incident.people);
    match step {
        IncidentStep::Open => format!("authwatch opened this: {now} refused since {} UTC.", clock(incident.onset)),
        IncidentStep::Reopen => format!("Refusals are back: {now} refused since {} UTC.", clock(incident.onset)),
        IncidentStep::Update if recovering => {
            format!("Recovering: refusals are as usual again. {now} were refused in all.")
        }
        IncidentStep::Update if newly_named => {
            let named = incident.checks.first().map_or_else(String::new, |check| {
                format!(" {}: required {}, most of them have {}.", check.check, check.required, actual(check))
            });
            format!("The failing check is known now.{named} {now} refused so far.")
        }
        IncidentStep::Update => match people_before {
            Some(before) if before != incident.people => format!("{now} refused so far, {before} when last told."),
            _ => format!("{now} refused so far."),
        },
        IncidentStep::Resolve => {
            let end = last.map_or_else(String::new, |at| format!(" to {}", clock(at)));
            format!("Sign-in is as usual again: {now} were refused from {}{end} UTC.", clock(incident.onset))
        }
    }
}

fn people(count: u64) -> String {
    if count == 1 { "1 person".to_owned() } else { format!("{count} people") }
}

/// The value that nearly all people share, if there is one.
fn leading(values: &[(String, u64)], people: u64) -> Option<&str> {
    let (value, count) = values.first()?;
    (*count * 10 >= people * 8).then_some(value.as_str())
}

pub(super) fn clock(at: Timestamp) -> String {
    at.to_utc().format("%H:%M").to_string()
}

pub(super) fn stamp(at: Timestamp) -> String {
    at.to_utc().format("%Y-%m-%d %H:%M:%S").to_string()
}
