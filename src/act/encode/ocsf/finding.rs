//! Detection Finding (2004): a step of an incident, or a threat that Okta reports.

use serde_json::{Map, Value, json};

use super::super::super::forward::Forwarded;
use super::super::record::{Record, put};
use super::{Activity, Class, actor, endpoint, finish, user};
use crate::action::{IncidentAction, IncidentStep};
use crate::event::AuthEvent;

/// A step of an incident. Reopening is an update: the schema has no word of its own for it.
pub(super) fn of_incident(forwarded: &Forwarded, action: &IncidentAction) -> Map<String, Value> {
    let incident = &action.incident;
    let (activity, status_id, status) = match action.step {
        IncidentStep::Open => (Activity::new(1, "Create"), 1, "New"),
        IncidentStep::Update | IncidentStep::Reopen => (Activity::new(2, "Update"), 2, "In Progress"),
        IncidentStep::Resolve => (Activity::new(3, "Close"), 4, "Resolved"),
    };
    let mut out = Map::new();
    put(&mut out, "status_id", Some(status_id));
    put(&mut out, "status", Some(status));
    put(&mut out, "status_detail", Some(action.note.as_str()).filter(|note| !note.is_empty()));
    put(&mut out, "message", Some(incident.title.as_str()));
    put(&mut out, "is_alert", Some(matches!(action.step, IncidentStep::Open | IncidentStep::Reopen)));
    put(&mut out, "start_time", Some(incident.onset.0));
    put(&mut out, "end_time", incident.resolved_at.map(|at| at.0));
    let analytic = json!({ "uid": incident.rule, "name": incident.rule, "type_id": 3, "type": "Statistical" });
    put(
        &mut out,
        "finding_info",
        Some(json!({
            "uid": incident.key, "title": incident.title, "desc": action.description, "analytic": analytic,
            "created_time": incident.opened_at.0, "first_seen_time": incident.onset.0, "modified_time": action.at.0,
            "data_sources": ["Okta System Log"],
        })),
    );
    let evidence = json!({
        "step": action.step, "revision": action.revision, "people": incident.people, "series": incident.series,
        "checks": incident.checks, "suspects": incident.suspects, "evidence": incident.evidence,
        "severity": incident.severity, "rule": incident.rule,
    });
    put(&mut out, "evidences", Some(json!([{ "data": evidence }])));
    let apps = incident.evidence.top_apps.iter();
    let apps: Vec<Value> = apps.map(|(name, _)| json!({ "name": name, "type": "Application" })).collect();
    put(&mut out, "resources", (!apps.is_empty()).then_some(apps));
    let mut metadata = Map::new();
    let product = json!({ "vendor_name": "authwatch", "name": "authwatch", "version": env!("CARGO_PKG_VERSION") });
    put(&mut metadata, "product", Some(product));
    put(&mut metadata, "event_code", Some(format!("incident.{}", action.step.as_str())));
    put(&mut metadata, "correlation_uid", Some(incident.key.as_str()));
    finish(&mut out, forwarded, Class::Finding, &activity, metadata);
    out
}

/// A threat that Okta reports. The class has no place for who and from where but its evidence.
pub(super) fn of_threat(forwarded: &Forwarded, event: &AuthEvent, record: &Record) -> Map<String, Value> {
    let mut out = Map::new();
    put(&mut out, "status_id", Some(1));
    put(&mut out, "status", Some("New"));
    put(&mut out, "status_code", Some(event.okta_outcome.as_str()).filter(|code| !code.is_empty()));
    put(&mut out, "is_alert", Some(true));
    let title = record.text(&["displayMessage"]).unwrap_or(event.event_type.as_str());
    let analytic = json!({ "uid": event.event_type, "name": event.event_type, "type_id": 0, "type": "Unknown" });
    let info = json!({ "uid": forwarded.id, "title": title, "analytic": analytic });
    put(&mut out, "finding_info", Some(info));
    let mut evidence = Map::new();
    put(&mut evidence, "src_endpoint", endpoint(record));
    put(&mut evidence, "actor", actor(record));
    put(&mut evidence, "user", user(record.user()));
    put(&mut evidence, "data", record.at(&["debugContext", "debugData"]).cloned());
    put(&mut out, "evidences", (!evidence.is_empty()).then(|| json!([evidence])));
    out
}
