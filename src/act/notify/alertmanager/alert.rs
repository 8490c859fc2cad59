//! An incident as an alert: labels that stay, annotations that change. Pure.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::Config;
use crate::action::{IncidentAction, IncidentStep, Severity};
use crate::event::{Span, Timestamp};

/// Characters of one annotation; notifications cut at far less.
const TEXT: usize = 8_000;

/// Labels that authwatch writes.
pub(super) const OURS: [&str; 5] = ["alertname", "org", "incident", "rule", "severity"];

/// The alert of an incident after a step. An open one ends [`Config::expire_after`] from now unless it is repeated.
pub(super) fn alert(config: &Config, action: &IncidentAction, now: Timestamp) -> Value {
    let onset = action.incident.onset;
    let ends = match action.step {
        // An end before the start is refused.
        IncidentStep::Resolve => action.incident.resolved_at.unwrap_or(action.at).max(onset),
        IncidentStep::Open | IncidentStep::Update | IncidentStep::Reopen => now + span(config),
    };
    build(config, action, action.incident.severity, ends)
}

/// The alert under the severity that it had before this step, at its end.
pub(super) fn ended_at(config: &Config, action: &IncidentAction, before: Severity) -> Value {
    build(config, action, before, action.at.max(action.incident.onset))
}

fn span(config: &Config) -> Span {
    Span(i64::try_from(config.expire_after.as_millis()).unwrap_or(i64::MAX / 4))
}

fn build(config: &Config, action: &IncidentAction, severity: Severity, ends: Timestamp) -> Value {
    let incident = &action.incident;
    let mut labels: Map<String, Value> = Map::new();
    for (name, value) in &config.labels {
        labels.insert(name.clone(), json!(value));
    }
    let severity = match severity {
        Severity::Page => &config.severity.page,
        Severity::Ticket => &config.severity.ticket,
    };
    let alertname = config.alertname.as_str();
    let values = [alertname, incident.org.as_str(), incident.key.as_str(), incident.rule.as_str(), severity.as_str()];
    for (name, value) in OURS.into_iter().zip(values) {
        labels.insert(name.to_owned(), json!(value));
    }
    let mut annotations = json!({
        "title": cut(&incident.title),
        "description": cut(&action.description),
        "people": incident.people.to_string(),
    });
    // Empty ones are dropped on the other side; we need not send them.
    let checks = checks(action);
    if !checks.is_empty() {
        annotations["checks"] = json!(cut(&checks));
    }
    let mut alert = json!({
        "labels": labels,
        "annotations": annotations,
        "startsAt": incident.onset.to_string(),
        "endsAt": ends.to_string(),
    });
    if let Some(url) = &config.generator_url {
        alert["generatorURL"] = json!(url.as_str());
    }
    alert
}

/// The failing checks in one line: `os_version (minimum): required 14.6.0, actual 14.5.0`.
fn checks(action: &IncidentAction) -> String {
    let mut text = String::new();
    for check in &action.incident.checks {
        let separator = if text.is_empty() { "" } else { "; " };
        let what = if check.detail.is_empty() { String::new() } else { format!(" ({})", check.detail) };
        let required = if check.required.is_empty() { "not known" } else { &check.required };
        let actual = check.actual.as_deref().unwrap_or("not known");
        let _ = write!(text, "{separator}{}{what}: required {required}, actual {actual}", check.check);
    }
    text
}

/// At most [`TEXT`] characters, with an ellipsis where something was cut.
fn cut(text: &str) -> String {
    if text.chars().count() <= TEXT {
        return text.to_owned();
    }
    text.chars().take(TEXT - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::queue::testing::action;
    use crate::event::{Check, CheckVerdict, PostureCheck};

    fn config() -> Config {
        serde_json::from_value(json!({ "url": "http://a.example:9093", "labels": { "team": "iam" } })).expect("valid")
    }

    #[test]
    fn what_changes_is_no_label() {
        let now = Timestamp(1_772_445_600_000);
        let mut later = action("aw-1", 9, IncidentStep::Update);
        later.incident.title = "more".to_owned();
        later.incident.onset = Timestamp(5_000);
        later.incident.checks.push(Check {
            check: PostureCheck::OsVersion,
            detail: "minimum".into(),
            required: "14.6.0".into(),
            actual: Some("14.5.0".into()),
            result: CheckVerdict::Fail,
        });
        let first = alert(&config(), &action("aw-1", 1, IncidentStep::Open), now);
        let later = alert(&config(), &later, now + Span::minutes(1));
        assert_eq!(first["labels"], later["labels"]);
        assert_eq!(
            first["labels"],
            json!({
                "alertname": "AuthwatchIncident", "org": "acme", "incident": "aw-1", "rule": "deny_spike",
                "severity": "critical", "team": "iam",
            })
        );
        assert_eq!(later["annotations"]["checks"], "os_version (minimum): required 14.6.0, actual 14.5.0");
        assert_eq!(first["annotations"].get("checks"), None, "empty is absent");
        assert_eq!(first["endsAt"], "2026-03-02T10:15:00.000Z");
    }

    #[test]
    fn an_end_is_never_before_the_start() {
        let mut over = action("aw-1", 2, IncidentStep::Resolve);
        over.incident.onset = Timestamp(9_000);
        over.incident.resolved_at = Some(Timestamp(4_000));
        let alert = alert(&config(), &over, Timestamp(60_000));
        assert_eq!(alert["startsAt"], alert["endsAt"]);
    }

    #[test]
    fn a_long_text_is_cut() {
        let mut long = action("aw-1", 1, IncidentStep::Open);
        long.description = "ä".repeat(20_000);
        let alert = alert(&config(), &long, Timestamp(0));
        let text = alert["annotations"]["description"].as_str().expect("text").to_owned();
        assert_eq!(text.chars().count(), TEXT);
        assert!(text.ends_with('…'));
    }
}
