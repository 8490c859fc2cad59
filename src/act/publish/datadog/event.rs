//! Incidents as alert events of Datadog's events API v2, changes of policies as change events. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::change::Marker;
use super::super::cut;
use super::series::tag;
use crate::action::{IncidentAction, IncidentStep, Severity};
use crate::event::{Span, Timestamp};

/// Tags that authwatch writes on events.
pub(super) const TAGS: [&str; 4] = ["org", "incident", "rule", "severity"];

/// Characters of the title and of the message.
const TITLE: usize = 500;
const MESSAGE: usize = 4_000;

/// The oldest time that is sent; Datadog takes none older than 18 hours.
const OLDEST: Span = Span::hours(17);

/// The alert after a step. Its key is the incident's, so that every step is about one alert.
pub(super) fn alert(action: &IncidentAction, more: &BTreeMap<String, String>, now: Timestamp) -> Value {
    let incident = &action.incident;
    let severity = match incident.severity {
        Severity::Page => "page",
        Severity::Ticket => "ticket",
    };
    let (status, priority) = match (action.step, incident.severity) {
        (IncidentStep::Resolve, _) => ("ok", "5"),
        (_, Severity::Page) => ("error", "1"),
        (_, Severity::Ticket) => ("warn", "3"),
    };
    let values = [incident.org.as_str(), incident.key.as_str(), incident.rule.as_str(), severity];
    let ours = TAGS.into_iter().zip(values).map(|(name, value)| tag(name, value));
    let tags: Vec<String> = ours.chain(more.iter().map(|(name, value)| tag(name, value))).collect();
    let note = if action.note.is_empty() { String::new() } else { format!("{}\n\n", action.note) };
    let mut attributes = json!({
        "title": cut(&incident.title, TITLE),
        "message": cut(&format!("{note}{}", action.description), MESSAGE),
        "category": "alert",
        "integration_id": "custom-events",
        "aggregation_key": incident.key,
        "tags": tags,
        "attributes": {
            "status": status,
            "priority": priority,
            "custom": {
                "step": action.step.as_str(),
                "revision": action.revision,
                "people": incident.people,
                "onset": incident.onset.to_string(),
            },
        },
    });
    // Without one it is the time of arrival.
    if action.at <= now && now - action.at <= OLDEST {
        attributes["timestamp"] = json!(action.at.to_string());
    }
    json!({ "data": { "type": "event", "attributes": attributes } })
}

/// The change event of a marker.
pub(super) fn change(marker: &Marker, more: &BTreeMap<String, String>) -> Value {
    let Marker { org, kind, until, .. } = marker;
    let ours = [tag("org", org), tag("kind", kind)].into_iter();
    let tags: Vec<String> = ours.chain(more.iter().map(|(name, value)| tag(name, value))).collect();
    let attributes = json!({
        "title": cut(&marker.title(), TITLE),
        "message": cut(&marker.text(), MESSAGE),
        "category": "change",
        "integration_id": "custom-events",
        "timestamp": until.to_string(),
        "tags": tags,
        "attributes": {
            "changed_resource": { "name": format!("{org} {kind}"), "type": "configuration" },
            "change_metadata": { "count": marker.count },
        },
    });
    json!({ "data": { "type": "event", "attributes": attributes } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::queue::testing::action;

    fn attributes(action: &IncidentAction, now: Timestamp) -> Value {
        alert(action, &[("env".to_owned(), "prod".to_owned())].into(), now)["data"]["attributes"].clone()
    }

    #[test]
    fn every_step_is_about_the_alert_of_the_incident() {
        let now = Timestamp(60_000);
        for (step, status, priority) in [
            (IncidentStep::Open, "error", "1"),
            (IncidentStep::Update, "error", "1"),
            (IncidentStep::Resolve, "ok", "5"),
            (IncidentStep::Reopen, "error", "1"),
        ] {
            let event = attributes(&action("aw-1", 2, step), now);
            assert_eq!(event["aggregation_key"], "aw-1");
            assert_eq!((&event["category"], &event["attributes"]["status"]), (&json!("alert"), &json!(status)));
            assert_eq!(event["attributes"]["priority"], priority);
            assert_eq!(
                event["tags"],
                json!(["org:acme", "incident:aw-1", "rule:deny_spike", "severity:page", "env:prod"])
            );
        }
    }

    #[test]
    fn trap_an_event_older_than_18_hours_is_refused_so_it_goes_without_its_time() {
        let old = action("aw-1", 1, IncidentStep::Open);
        for (now, has_time) in [(Span::hours(17), true), (Span::hours(18), false), (Span::hours(-1), false)] {
            let event = attributes(&old, old.at + now);
            assert_eq!(event.get("timestamp").is_some(), has_time, "{now:?}");
        }
    }

    #[test]
    fn texts_are_cut_to_what_is_taken() {
        let mut long = action("aw-1", 1, IncidentStep::Open);
        (long.incident.title, long.description) = ("ä".repeat(900), "ö".repeat(9_000));
        let event = attributes(&long, long.at);
        let length = |key: &str| event[key].as_str().map_or(0, |text| text.chars().count());
        assert_eq!((length("title"), length("message")), (TITLE, MESSAGE));
    }
}
