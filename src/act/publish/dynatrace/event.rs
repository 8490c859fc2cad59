//! Incidents as events of Dynatrace's events API v2, changes of policies as deployments. Pure.
//!
//! The event that opens a problem carries no time, so that each repetition holds the problem open from then on, and is
//! the same to the last byte as long as it is made from the same action.

use serde_json::{Value, json};

use super::super::change::Marker;
use super::super::cut;
use super::Config;
use crate::action::{IncidentAction, IncidentStep, Severity};

/// Whether authwatch writes this property.
pub(super) fn is_ours(name: &str) -> bool {
    PROPERTIES.contains(&name) || ["kind", "count"].contains(&name)
}

/// Properties of an incident.
const PROPERTIES: [&str; 9] = ["org", "incident", "rule", "severity", "step", "people", "onset", "description", "note"];

/// Characters of the title and of a property.
const TITLE: usize = 500;
const PROPERTY: usize = 4_000;

/// The event that opens a problem, or holds it open.
pub(super) fn problem(action: &IncidentAction, config: &Config) -> Value {
    let minutes = (config.problem_timeout.0 / 60_000).max(1);
    let mut event = event(action, config);
    event["eventType"] = json!("CUSTOM_ALERT");
    event["title"] = json!(cut(&action.incident.title, TITLE));
    event["timeout"] = json!(minutes);
    event
}

/// An annotation beside the problem.
pub(super) fn annotation(action: &IncidentAction, config: &Config) -> Value {
    let what = match action.step {
        IncidentStep::Resolve => "Over",
        IncidentStep::Open | IncidentStep::Update | IncidentStep::Reopen => "Update",
    };
    let mut event = event(action, config);
    event["eventType"] = json!("CUSTOM_INFO");
    event["title"] = json!(cut(&format!("{what}: {}", action.incident.title), TITLE));
    event["startTime"] = json!(action.at.0);
    event
}

fn event(action: &IncidentAction, config: &Config) -> Value {
    let incident = &action.incident;
    let severity = match incident.severity {
        Severity::Page => "page",
        Severity::Ticket => "ticket",
    };
    let (people, onset) = (incident.people.to_string(), incident.onset.to_string());
    let values = [
        incident.org.as_str(),
        incident.key.as_str(),
        incident.rule.as_str(),
        severity,
        action.step.as_str(),
        &people,
        &onset,
        &action.description,
        &action.note,
    ];
    let ours: Vec<_> = PROPERTIES.into_iter().zip(values).collect();
    select(json!({ "properties": properties(&ours, config) }), config)
}

/// The deployment event of a marker.
pub(super) fn deployment(marker: &Marker, config: &Config) -> Value {
    let Marker { org, kind, count, until, .. } = marker;
    let (count, text, title) = (count.to_string(), marker.text(), marker.title());
    let ours = [
        ("org", org.as_str()),
        ("kind", kind),
        ("count", &count),
        ("description", &text),
        ("dt.event.deployment.name", &title),
    ];
    let mut event = json!({ "properties": properties(&ours, config) });
    event["eventType"] = json!("CUSTOM_DEPLOYMENT");
    event["title"] = json!(cut(&title, TITLE));
    event["startTime"] = json!(until.0);
    select(event, config)
}

fn properties(ours: &[(&str, &str)], config: &Config) -> serde_json::Map<String, Value> {
    let ours = ours.iter().copied().filter(|(_, value)| !value.is_empty());
    let more = config.dimensions.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    ours.chain(more).map(|(name, value)| (name.to_owned(), json!(cut(value, PROPERTY)))).collect()
}

fn select(mut event: Value, config: &Config) -> Value {
    if let Some(selector) = &config.entity_selector {
        event["entitySelector"] = json!(selector);
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::queue::testing::action;

    fn config(selector: Option<&str>) -> Config {
        let mut json = json!({ "url": "https://abc.live.dynatrace.com", "token": { "env": "T" } });
        json["dimensions"] = json!({ "env": "prod" });
        if let Some(selector) = selector {
            json["entity_selector"] = json!(selector);
        }
        serde_json::from_value(json).expect("valid")
    }

    #[test]
    fn trap_a_problem_is_held_open_by_the_same_event_so_it_carries_no_time() {
        let event = problem(&action("aw-1", 1, IncidentStep::Open), &config(None));
        assert_eq!((&event["eventType"], &event["timeout"]), (&json!("CUSTOM_ALERT"), &json!(15)));
        assert_eq!((event.get("startTime"), event.get("endTime"), event.get("entitySelector")), (None, None, None));
        assert_eq!(event["properties"]["incident"], "aw-1");
        assert_eq!(event["properties"]["env"], "prod");
    }

    #[test]
    fn an_annotation_says_which_step_and_when() {
        let mut over = action("aw-1", 3, IncidentStep::Resolve);
        over.description = "x".repeat(9_000);
        let event = annotation(&over, &config(Some("type(SERVICE),tag(okta)")));
        assert_eq!((&event["eventType"], &event["startTime"]), (&json!("CUSTOM_INFO"), &json!(over.at.0)));
        assert_eq!(event["entitySelector"], "type(SERVICE),tag(okta)");
        assert!(event["title"].as_str().is_some_and(|title| title.starts_with("Over: ")), "{event}");
        let text = event["properties"]["description"].as_str().map(|text| text.chars().count());
        assert_eq!(text, Some(PROPERTY));
    }
}
