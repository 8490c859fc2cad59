//! The fields of Elastic's Okta integration, so that rules written for it match, and our reading under `authwatch`.
//!
//! Source: the fact sheet's section 6.4; the fields that public detection rules for `okta.system` ask for. Allowed values
//! of `event.category` and `event.type` are those of ECS 8.11. One thing differs on purpose: the integration puts
//! `interface` over `authentication_provider`; here both stand.
//!
//! `event.outcome` of a DENY is `failure`, as that of a wrong password: a rule that means refusals has to ask for
//! `okta.outcome.result`, or for `authwatch.outcome`, which is ours.

mod okta;

use serde_json::{Map, Value, json};

use super::super::forward::{Forwarded, What};
use super::record::{Named, Record, filled, put};
use super::{Level, reading, record_of, time};
use crate::action::{IncidentAction, IncidentStep};
use crate::event::{AuthEvent, Kind};

/// The version of ECS whose values are used.
pub const VERSION: &str = "8.11.0";

/// What a short form leaves out, in this order of what goes first.
pub(in crate::act) const DROPPED: [&str; 12] = [
    "/okta/debug_context/debug_data/flattened",
    "/okta/request",
    "/okta/debug_context",
    "/okta/target",
    "/okta/device",
    "/okta/authentication_context",
    "/okta/security_context",
    "/okta/client",
    "/user_agent",
    "/okta/actor",
    "/authwatch/finding/evidence",
    "/authwatch/finding/description",
];

/// One record as JSON.
pub fn encode(forwarded: &Forwarded) -> Value {
    let mut out = match &forwarded.what {
        What::Event { event, raw, .. } => of_event(forwarded, event, &record_of(event, raw.as_deref())),
        What::Finding(action) => of_finding(action),
    };
    out.insert("@timestamp".to_owned(), json!(time(forwarded)));
    out.insert("ecs".to_owned(), json!({ "version": VERSION }));
    out.insert("authwatch".to_owned(), reading::reading(forwarded));
    Value::Object(out)
}

fn of_event(forwarded: &Forwarded, event: &AuthEvent, record: &Record) -> Map<String, Value> {
    let mut out = Map::new();
    let dataset = "okta.system";
    put(&mut out, "data_stream", Some(json!({ "type": "logs", "dataset": dataset, "namespace": "default" })));
    let id = if event.uuid.is_empty() { &forwarded.id } else { &event.uuid };
    let (category, types) = categories(event);
    let mut own = Map::new();
    put(&mut own, "kind", Some("event"));
    put(&mut own, "module", Some("okta"));
    put(&mut own, "dataset", Some(dataset));
    put(&mut own, "id", Some(id.as_str()));
    put(&mut own, "action", Some(event.event_type.as_str()));
    put(&mut own, "outcome", Some(outcome(&event.okta_outcome)));
    put(&mut own, "category", (!category.is_empty()).then(|| json!(category)));
    put(&mut own, "type", (!types.is_empty()).then(|| json!(types)));
    put(&mut own, "severity", Some(Level::of(forwarded) as u8));
    put(&mut own, "ingested", Some(json!(forwarded.received)));
    put(&mut out, "event", Some(Value::Object(own)));
    put(&mut out, "message", record.text(&["displayMessage"]));

    let (actor, ip) = (record.actor(), record.address().map(|ip| ip.to_string()));
    let user = user(actor);
    let geo = geo(record);
    let number = record.at(&["securityContext", "asNumber"]).filter(|number| number.is_number()).cloned();
    let mut place = Map::new();
    put(&mut place, "ip", ip.clone());
    put(&mut place, "user", filled(user.clone()));
    put(&mut place, "geo", filled(geo));
    put(&mut place, "domain", record.text(&["securityContext", "domain"]));
    let mut system = Map::new();
    put(&mut system, "number", number);
    put(&mut system, "organization", record.text(&["securityContext", "asOrg"]).map(|name| json!({ "name": name })));
    put(&mut place, "as", filled(system));
    put(&mut out, "client", filled(place.clone()));
    put(&mut out, "source", filled(place));

    let agent = record.text(&["client", "userAgent", "rawUserAgent"]);
    let mut agent_fields = Map::new();
    put(&mut agent_fields, "original", agent);
    put(&mut agent_fields, "os", record.text(&["client", "userAgent", "os"]).map(|name| json!({ "name": name })));
    put(&mut out, "user_agent", filled(agent_fields));

    let mut people: Vec<&str> = Vec::new();
    let (target, group) = (record.target("User"), record.target("UserGroup"));
    let mut with_target = user;
    let mut about = Map::new();
    put(&mut about, "full_name", target.text("displayName"));
    put(&mut about, "id", target.text("id"));
    put(&mut about, "email", target.text("alternateId").filter(|text| text.contains('@')));
    let mut of_group = Map::new();
    put(&mut of_group, "name", group.text("displayName"));
    put(&mut of_group, "id", group.text("id"));
    put(&mut about, "group", filled(of_group));
    put(&mut with_target, "target", filled(about));
    let login = with_target.get("name").and_then(Value::as_str);
    for name in [actor.text("displayName"), target.text("displayName"), login].into_iter().flatten() {
        if !people.contains(&name) {
            people.push(name);
        }
    }
    let mut related = Map::new();
    put(&mut related, "user", (!people.is_empty()).then(|| json!(people)));
    put(&mut related, "ip", ip.map(|ip| json!([ip])));
    put(&mut out, "related", filled(related));
    put(&mut out, "user", filled(with_target));
    put(&mut out, "okta", Some(okta::fields(event, record)));
    out
}

/// Who acted. The name is what stands before the `@` of the login.
fn user(actor: Named<'_>) -> Map<String, Value> {
    let login = actor.text("alternateId");
    let mut user = Map::new();
    put(&mut user, "id", actor.text("id"));
    put(&mut user, "full_name", actor.text("displayName"));
    put(&mut user, "name", login.map(|login| login.split_once('@').map_or(login, |(name, _)| name)));
    put(&mut user, "email", login.filter(|login| login.contains('@')));
    user
}

fn geo(record: &Record) -> Map<String, Value> {
    let text = |name: &str| record.text(&["client", "geographicalContext", name]);
    let mut geo = Map::new();
    put(&mut geo, "city_name", text("city"));
    put(&mut geo, "region_name", text("state"));
    put(&mut geo, "country_name", text("country"));
    let degree = |name: &str, most: f64| {
        let degree = record.at(&["client", "geographicalContext", "geolocation", name])?.as_f64()?;
        (degree.abs() <= most).then_some(degree)
    };
    // A place that is none would refuse the whole document.
    let location = degree("lat", 90.0).zip(degree("lon", 180.0));
    put(&mut geo, "location", location.map(|(lat, lon)| json!({ "lat": lat, "lon": lon })));
    geo
}

/// `event.outcome` from Okta's word, as the integration reads it.
fn outcome(okta: &str) -> &'static str {
    let is = |words: [&str; 2]| words.iter().any(|word| okta.eq_ignore_ascii_case(word));
    if is(["SUCCESS", "ALLOW"]) {
        "success"
    } else if is(["FAILURE", "DENY"]) {
        "failure"
    } else {
        "unknown"
    }
}

/// `event.category` and `event.type`, within what ECS allows.
fn categories(event: &AuthEvent) -> (Vec<&'static str>, Vec<&'static str>) {
    let kind = event.event_type.as_str();
    match event.kind {
        Kind::Session => match kind {
            "user.session.start" => (vec!["authentication", "session"], vec!["start", "info"]),
            "user.session.end" => (vec!["authentication", "session"], vec!["end", "info"]),
            _ => (vec!["session"], vec!["info"]),
        },
        Kind::PolicyEvaluation | Kind::Authentication | Kind::Verification | Kind::Sso | Kind::AccessDenied => {
            (vec!["authentication"], vec!["info"])
        }
        Kind::MembershipChange => (vec!["iam"], vec!["group", "change"]),
        Kind::Enrollment => (vec!["iam"], vec!["user", verb(kind)]),
        Kind::AdminChange => (vec!["iam"], vec!["admin", verb(kind)]),
        Kind::PolicyChange | Kind::AssuranceChange | Kind::AuthenticatorChange | Kind::IntegrationChange => {
            (vec!["configuration"], vec![verb(kind)])
        }
        Kind::Device => (vec!["iam"], vec![verb(kind)]),
        Kind::Threat => (vec!["threat"], vec!["indicator"]),
        Kind::RateLimit => (vec!["network"], vec!["info"]),
        Kind::Delivery | Kind::Other => (Vec::new(), Vec::new()),
    }
}

/// What kind of change the last word of an event type means.
fn verb(event_type: &str) -> &'static str {
    match event_type.rsplit('.').next().unwrap_or_default() {
        "create" | "add" => "creation",
        "delete" | "remove" => "deletion",
        _ => "change",
    }
}

fn of_finding(action: &IncidentAction) -> Map<String, Value> {
    let incident = &action.incident;
    let mut out = Map::new();
    let types = match action.step {
        IncidentStep::Open | IncidentStep::Reopen => ["start", "info"],
        IncidentStep::Update => ["info", "change"],
        IncidentStep::Resolve => ["end", "info"],
    };
    let dataset = "authwatch.incident";
    put(&mut out, "data_stream", Some(json!({ "type": "logs", "dataset": dataset, "namespace": "default" })));
    let id = format!("{}-{}", incident.key, action.revision);
    // `change` is no type of this category.
    let types: Vec<&str> = types.into_iter().filter(|kind| *kind != "change").collect();
    put(
        &mut out,
        "event",
        Some(json!({
            "kind": "alert", "module": "authwatch", "dataset": dataset, "id": id,
            "action": format!("incident.{}", action.step.as_str()),
            "category": ["authentication"], "type": types, "outcome": "unknown",
            "severity": Level::of_finding(action) as u8, "start": incident.onset, "end": incident.resolved_at,
            "reason": action.note,
        })),
    );
    put(&mut out, "message", Some(incident.title.as_str()));
    put(&mut out, "rule", Some(json!({ "name": incident.rule, "id": incident.rule, "uuid": incident.key })));
    out
}

#[cfg(test)]
mod tests;
