//! One line of the Common Event Format (version 0).
//!
//! Header: `\` and `|` are escaped. Extension: `\`, `=` and line breaks are; `|` is not, and `=` is not in the header
//! (the fact sheet's section 6.3). Signature ids are our own words and never change with Okta's texts: `<kind>.<outcome>`
//! of an event, `incident.<step>` of a finding. Values are cut to the lengths that the format allows for their keys.

use std::net::IpAddr;

use super::super::forward::{Forwarded, What};
use super::record::Record;
use super::{Level, reading, record_of, shorten, time};
use crate::action::IncidentAction;
use crate::event::{AuthEvent, Check, CheckVerdict, Posture, Reason};

/// The longest header field, in characters.
const HEADER: usize = 512;

/// The longest value of a key that no shorter bound is known for, in characters.
const VALUE: usize = 1_023;

/// Shorter and longer bounds of single keys, in characters.
const BOUNDS: [(&str, usize); 9] = [
    ("act", 63),
    ("outcome", 63),
    ("deviceExternalId", 255),
    ("destinationServiceName", 1_023),
    ("cs1", 4_000),
    ("cs2", 4_000),
    ("cs3", 4_000),
    ("cs4", 4_000),
    ("cs6", 4_000),
];

/// One line, without an end.
pub fn encode(forwarded: &Forwarded) -> String {
    bounded(forwarded, usize::MAX).0
}

/// One line of at most `limit` bytes where its header fits: keys are left out from the last. Whether any was.
pub fn bounded(forwarded: &Forwarded, limit: usize) -> (String, bool) {
    let (signature, name, fields) = match &forwarded.what {
        What::Event { event, posture, raw } => {
            let record = record_of(event, raw.as_deref());
            let name = record.text(&["displayMessage"]).unwrap_or(event.event_type.as_str()).to_owned();
            let signature = format!("{}.{}", event.kind, event.outcome);
            (signature, name, of_event(forwarded, event, posture.as_ref(), &record))
        }
        What::Finding(action) => {
            let signature = format!("incident.{}", action.step.as_str());
            (signature, action.incident.title.clone(), of_finding(forwarded, action))
        }
    };
    let severity = match Level::of(forwarded) {
        Level::Info => 1,
        Level::Low => 3,
        Level::Medium => 5,
        Level::High => 8,
    };
    let mut out = format!(
        "CEF:0|authwatch|authwatch|{}|{}|{}|{severity}|",
        header(env!("CARGO_PKG_VERSION")),
        header(&signature),
        header(&name)
    );
    let mut is_short = false;
    let mut is_first = true;
    for group in fields.0 {
        let text: Vec<String> = group.iter().map(|(key, value)| format!("{key}={}", extension(key, value))).collect();
        let text = text.join(" ");
        if out.len() + text.len() + usize::from(!is_first) > limit {
            is_short = true;
            continue;
        }
        if !is_first {
            out.push(' ');
        }
        out.push_str(&text);
        is_first = false;
    }
    (out, is_short)
}

/// Keys with their values, the most important first. A key and its label stand or fall together.
#[derive(Debug, Default)]
struct Fields(Vec<Vec<(&'static str, String)>>);

impl Fields {
    fn put(&mut self, key: &'static str, value: Option<impl Into<String>>) {
        if let Some(value) = value.map(Into::into).filter(|value| !value.is_empty()) {
            self.0.push(vec![(key, value)]);
        }
    }

    fn labelled(&mut self, keys: (&'static str, &'static str), label: &str, value: Option<impl Into<String>>) {
        if let Some(value) = value.map(Into::into).filter(|value| !value.is_empty()) {
            self.0.push(vec![(keys.1, label.to_owned()), (keys.0, value)]);
        }
    }
}

fn of_event(forwarded: &Forwarded, event: &AuthEvent, posture: Option<&Posture>, record: &Record) -> Fields {
    let mut fields = Fields::default();
    let id = if event.uuid.is_empty() { forwarded.id.as_str() } else { event.uuid.as_str() };
    fields.put("rt", Some(time(forwarded).0.to_string()));
    fields.put("externalId", Some(id));
    fields.put("cat", Some(event.event_type.as_str()));
    fields.put("act", Some(event.okta_outcome.as_str()));
    fields.put("outcome", Some(event.outcome.as_str()));
    let reason = reading::reason(event, posture);
    fields.put("reason", (reason != Reason::None).then_some(reason.as_str()));
    match record.address() {
        Some(IpAddr::V4(address)) => fields.put("src", Some(address.to_string())),
        // `src` is for IPv4 only.
        Some(IpAddr::V6(address)) => {
            fields.labelled(("c6a2", "c6a2Label"), "Source IPv6 Address", Some(address.to_string()));
        }
        None => {}
    }
    let (actor, user) = (record.actor(), record.target("User"));
    let person = event.person.as_ref().map(|person| person.as_str());
    fields.put("suser", actor.text("alternateId"));
    fields.put("suid", actor.text("id").or(person));
    fields.put("duser", user.text("alternateId"));
    fields.put("duid", user.text("id"));
    let app = event.app.as_ref();
    fields.put("destinationServiceName", app.map(|app| app.name.as_str()));
    fields.labelled(("cs1", "cs1Label"), "app", app.map(|app| app.id.as_str()));
    let rule = event.rule.as_ref();
    fields.labelled(("cs2", "cs2Label"), "rule", rule.map(|rule| named(&rule.name, &rule.id)));
    let policy = rule.and_then(|rule| rule.policy_name.as_deref().or(rule.policy.as_deref()));
    fields.labelled(("cs3", "cs3Label"), "policy", policy);
    fields.labelled(("cs4", "cs4Label"), "checks", posture.map(|posture| checks(&posture.checks)));
    fields.labelled(("cs5", "cs5Label"), "credential", Some(event.credential.as_str()));
    fields.labelled(("cs6", "cs6Label"), "attempt", event.flow.as_ref().map(|flow| flow.as_str()));
    fields.put("deviceExternalId", event.device.as_deref().and_then(|device| device.id.as_deref()));
    fields.labelled(("flexString1", "flexString1Label"), "org", Some(event.org.as_str()));
    fields.labelled(("flexString2", "flexString2Label"), "platform", Some(event.platform.as_str()));
    fields.put("msg", record.text(&["outcome", "reason"]));
    fields.put("request", record.debug("requestUri"));
    fields.put("requestClientApplication", record.text(&["client", "userAgent", "rawUserAgent"]));
    fields
}

fn of_finding(forwarded: &Forwarded, action: &IncidentAction) -> Fields {
    let incident = &action.incident;
    let mut fields = Fields::default();
    fields.put("rt", Some(time(forwarded).0.to_string()));
    fields.put("externalId", Some(incident.key.as_str()));
    fields.put("cat", Some("incident"));
    fields.put("act", Some(action.step.as_str()));
    fields.put("start", Some(incident.onset.0.to_string()));
    fields.put("end", incident.resolved_at.map(|at| at.0.to_string()));
    fields.labelled(("cn1", "cn1Label"), "people", Some(incident.people.to_string()));
    fields.labelled(("cn2", "cn2Label"), "revision", Some(action.revision.to_string()));
    fields.labelled(("cs1", "cs1Label"), "series", Some(incident.series.join(", ")));
    fields.labelled(("cs2", "cs2Label"), "judge", Some(incident.rule.as_str()));
    let suspect = incident.suspects.first().map(|suspect| format!("{} {}", suspect.event_type, suspect.target));
    fields.labelled(("cs3", "cs3Label"), "prime suspect", suspect);
    fields.labelled(("cs4", "cs4Label"), "checks", Some(checks(&incident.checks)));
    fields.labelled(("flexString1", "flexString1Label"), "org", Some(incident.org.as_str()));
    fields.put("msg", Some(action.note.as_str()));
    fields
}

fn named(name: &str, id: &str) -> String {
    if name.is_empty() { id.to_owned() } else { name.to_owned() }
}

/// The checks that did not pass: `os_version minimum: required 14.6.0, actual 14.5.0, fail`.
fn checks(checks: &[Check]) -> String {
    let of = |check: &Check| {
        let actual = check.actual.as_deref().unwrap_or("not known");
        let Check { check, detail, required, result, .. } = check;
        format!("{check} {detail}: required {required}, actual {actual}, {}", result.as_str())
    };
    let open: Vec<String> = checks.iter().filter(|check| check.result != CheckVerdict::Pass).map(of).collect();
    open.join("; ")
}

/// A header field: one line, bounded, escaped.
fn header(text: &str) -> String {
    let mut text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    shorten::cut(&mut text, HEADER);
    text.replace('\\', "\\\\").replace('|', "\\|")
}

/// A value of the extension: bounded, escaped. Other control characters become spaces.
fn extension(key: &str, text: &str) -> String {
    let mut text: String =
        text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\r') { ' ' } else { c }).collect();
    let bound = BOUNDS.iter().find(|(own, _)| *own == key).map_or(VALUE, |(_, bound)| *bound);
    shorten::cut(&mut text, bound);
    text.replace('\\', "\\\\").replace('=', "\\=").replace('\n', "\\n").replace('\r', "\\r")
}

#[cfg(test)]
mod tests;
