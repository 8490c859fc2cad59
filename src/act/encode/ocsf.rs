//! Classes of the Open Cybersecurity Schema Framework, version 1.8.0: Authentication (3002) for sign-ins and answers of
//! policies, Entity Management (3004) for changes, Detection Finding (2004) for steps of incidents and for threats that
//! Okta reports, Base Event (0) for what none of them is about.
//!
//! Source: the fact sheet's section 6.5 and the schema at its release of 1.8.0. `metadata.uid` is the stable id.
//! There is no class for a changed policy; Entity Management with the entity's type Policy is the nearest. Times are
//! milliseconds. What the schema has no place for is under `unmapped`.

mod change;
mod finding;
mod sign_in;

use serde_json::{Map, Value, json};

use super::super::forward::{Forwarded, What};
use super::record::{Record, filled, put};
use super::{Level, reading, record_of, time};
use crate::event::{AuthEvent, Kind, Outcome, Platform, Posture};

/// The version of the schema.
pub const VERSION: &str = "1.8.0";

/// What a short form leaves out, in this order of what goes first; `metadata.is_truncated` says so.
pub(in crate::act) const DROPPED: [&str; 12] = [
    "/unmapped/debugData",
    "/unmapped/target",
    "/evidences/0/data/description",
    "/evidences/0/data/evidence",
    "/finding_info/desc",
    "/resources",
    "/http_request",
    "/device",
    "/unmapped/authwatch/posture",
    "/src_endpoint",
    "/evidences",
    "/unmapped",
];

/// A class, with the number of its category.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    Base,
    Finding,
    Authentication,
    EntityManagement,
}

impl Class {
    const fn of(kind: Kind) -> Self {
        match kind {
            Kind::PolicyEvaluation
            | Kind::Authentication
            | Kind::Verification
            | Kind::Session
            | Kind::Sso
            | Kind::AccessDenied => Self::Authentication,
            Kind::Enrollment
            | Kind::PolicyChange
            | Kind::AssuranceChange
            | Kind::AuthenticatorChange
            | Kind::IntegrationChange
            | Kind::MembershipChange
            | Kind::AdminChange
            | Kind::Device => Self::EntityManagement,
            Kind::Threat => Self::Finding,
            Kind::RateLimit | Kind::Delivery | Kind::Other => Self::Base,
        }
    }

    const fn uid(self) -> u32 {
        match self {
            Self::Base => 0,
            Self::Finding => 2_004,
            Self::Authentication => 3_002,
            Self::EntityManagement => 3_004,
        }
    }

    const fn category(self) -> u32 {
        self.uid() / 1_000
    }

    const fn caption(self) -> &'static str {
        match self {
            Self::Base => "Base Event",
            Self::Finding => "Detection Finding",
            Self::Authentication => "Authentication",
            Self::EntityManagement => "Entity Management",
        }
    }
}

/// What was done; `Other` says it in the source's words.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Activity {
    id: u32,
    name: String,
}

impl Activity {
    fn new(id: u32, name: &str) -> Self {
        Self { id, name: name.to_owned() }
    }

    fn other(name: &str) -> Self {
        Self::new(99, name)
    }
}

/// One record as JSON.
pub fn encode(forwarded: &Forwarded) -> Value {
    let out = match &forwarded.what {
        What::Event { event, posture, raw } => {
            of_event(forwarded, event, posture.as_ref(), &record_of(event, raw.as_deref()))
        }
        What::Finding(action) => finding::of_incident(forwarded, action),
    };
    Value::Object(out)
}

/// Says of a short form that it is one. `whole` is the length of the whole in bytes.
pub(in crate::act) fn mark_short(value: &mut Value, whole: usize) {
    if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
        metadata.insert("is_truncated".to_owned(), json!(true));
        metadata.insert("untruncated_size".to_owned(), json!(whole.div_ceil(1_024)));
    }
}

fn of_event(
    forwarded: &Forwarded,
    event: &AuthEvent,
    posture: Option<&Posture>,
    record: &Record,
) -> Map<String, Value> {
    let class = Class::of(event.kind);
    let mut profiles = Vec::new();
    let mut out = match class {
        Class::Authentication => sign_in::fields(event, record, &mut profiles),
        Class::EntityManagement => change::fields(event, record),
        Class::Finding => finding::of_threat(forwarded, event, record),
        Class::Base => Map::new(),
    };
    let activity = match class {
        Class::Authentication => sign_in::activity(event),
        Class::EntityManagement => change::activity(&event.event_type),
        Class::Finding => Activity::new(1, "Create"),
        Class::Base => Activity::other(&event.event_type),
    };
    if class != Class::Finding {
        status(&mut out, event);
    }
    if matches!(class, Class::Authentication | Class::EntityManagement) {
        put(&mut out, "src_endpoint", endpoint(record));
        put(&mut out, "http_request", http_request(record));
        put(&mut out, "actor", actor(record));
        if let Some(device) = device(event, posture, record) {
            profiles.push("host");
            put(&mut out, "device", Some(device));
        }
    }
    put(&mut out, "message", record.text(&["displayMessage"]));
    let reason = reading::reason(event, posture);
    let detail =
        record.text(&["outcome", "reason"]).or((reason != crate::event::Reason::None).then_some(reason.as_str()));
    put(&mut out, "status_detail", detail);
    let mut metadata = Map::new();
    put(&mut metadata, "product", Some(json!({ "vendor_name": "Okta", "name": "Okta System Log" })));
    put(&mut metadata, "event_code", Some(event.event_type.as_str()));
    put(&mut metadata, "original_event_uid", Some(event.uuid.as_str()).filter(|uuid| !uuid.is_empty()));
    put(&mut metadata, "original_time", record.text(&["published"]));
    put(&mut metadata, "correlation_uid", event.flow.as_ref().map(|flow| flow.as_str()));
    put(&mut metadata, "profiles", (!profiles.is_empty()).then(|| json!(profiles)));
    finish(&mut out, forwarded, class, &activity, metadata);
    let mut unmapped = Map::new();
    put(&mut unmapped, "authwatch", Some(reading::reading(forwarded)));
    put(&mut unmapped, "target", record.at(&["target"]).filter(|targets| targets.is_array()).cloned());
    put(&mut unmapped, "debugData", record.at(&["debugContext", "debugData"]).cloned());
    put(&mut unmapped, "transaction", record.at(&["transaction"]).filter(|value| value.is_object()).cloned());
    put(&mut out, "unmapped", filled(unmapped));
    out
}

/// What every class has.
fn finish(
    out: &mut Map<String, Value>,
    forwarded: &Forwarded,
    class: Class,
    activity: &Activity,
    more: Map<String, Value>,
) {
    let (severity_id, severity) = match Level::of(forwarded) {
        Level::Info => (1, "Informational"),
        Level::Low => (2, "Low"),
        Level::Medium => (3, "Medium"),
        Level::High => (4, "High"),
    };
    let mut metadata = more;
    put(&mut metadata, "version", Some(VERSION));
    put(&mut metadata, "uid", Some(forwarded.id.as_str()));
    put(&mut metadata, "tenant_uid", Some(forwarded.org.as_str()));
    put(&mut metadata, "log_name", Some(forwarded.source.as_str()));
    put(&mut metadata, "processed_time", Some(forwarded.received.0));
    put(out, "metadata", Some(Value::Object(metadata)));
    put(out, "time", Some(time(forwarded).0));
    put(out, "category_uid", Some(class.category()));
    put(out, "class_uid", Some(class.uid()));
    put(out, "class_name", Some(class.caption()));
    put(out, "activity_id", Some(activity.id));
    put(out, "activity_name", Some(activity.name.as_str()));
    put(out, "type_uid", Some(class.uid() * 100 + activity.id));
    put(out, "severity_id", Some(severity_id));
    put(out, "severity", Some(severity));
}

/// How it ended, by our reading; Okta's word beside it.
fn status(out: &mut Map<String, Value>, event: &AuthEvent) {
    let (id, word) = match event.outcome {
        Outcome::Success | Outcome::Allow => (1, "Success"),
        Outcome::Failure | Outcome::Deny | Outcome::RateLimited => (2, "Failure"),
        Outcome::Unknown => (0, "Unknown"),
        other => (99, other.as_str()),
    };
    put(out, "status_id", Some(id));
    put(out, "status", Some(word));
    put(out, "status_code", Some(event.okta_outcome.as_str()).filter(|code| !code.is_empty()));
}

/// Where the request came from.
fn endpoint(record: &Record) -> Option<Value> {
    let mut endpoint = Map::new();
    put(&mut endpoint, "ip", record.address().map(|ip| ip.to_string()));
    put(&mut endpoint, "domain", record.text(&["securityContext", "domain"]).filter(|domain| *domain != "."));
    if endpoint.is_empty() {
        return None;
    }
    let text = |name: &str| record.text(&["client", "geographicalContext", name]);
    let mut place = Map::new();
    put(&mut place, "city", text("city"));
    put(&mut place, "region", text("state"));
    put(&mut place, "postal_code", text("postalCode"));
    if !place.is_empty() {
        // `country` is a code of two letters there, and a name here.
        put(&mut place, "desc", text("country"));
        let degree = |name: &str, most: f64| {
            let degree = record.at(&["client", "geographicalContext", "geolocation", name])?.as_f64()?;
            (degree.abs() <= most).then_some(degree)
        };
        if let Some((lat, long)) = degree("lat", 90.0).zip(degree("lon", 180.0)) {
            put(&mut place, "lat", Some(lat));
            put(&mut place, "long", Some(long));
        }
    }
    put(&mut endpoint, "location", filled(place));
    let mut system = Map::new();
    put(&mut system, "number", record.at(&["securityContext", "asNumber"]).filter(|n| n.is_u64()).cloned());
    put(&mut system, "name", record.text(&["securityContext", "asOrg"]));
    put(&mut endpoint, "autonomous_system", filled(system));
    put(&mut endpoint, "isp", record.text(&["securityContext", "isp"]));
    filled(endpoint)
}

fn http_request(record: &Record) -> Option<Value> {
    let mut request = Map::new();
    put(&mut request, "user_agent", record.text(&["client", "userAgent", "rawUserAgent"]));
    put(&mut request, "uid", record.debug("requestId"));
    let path = record.debug("requestUri").or_else(|| record.debug("url"));
    put(&mut request, "url", path.map(|path| json!({ "path": path })));
    filled(request)
}

/// Who acted.
fn actor(record: &Record) -> Option<Value> {
    let mut actor = Map::new();
    put(&mut actor, "user", user(record.actor()));
    put(&mut actor, "session", session(record));
    filled(actor)
}

fn session(record: &Record) -> Option<Value> {
    let mut session = Map::new();
    put(&mut session, "uid", record.text(&["authenticationContext", "externalSessionId"]));
    put(&mut session, "uid_alt", record.text(&["authenticationContext", "rootSessionId"]));
    let issuer = record.text(&["authenticationContext", "issuer", "id"]);
    put(&mut session, "issuer", issuer);
    filled(session)
}

/// A person or a principal; `None` where neither id nor login is known.
fn user(named: super::record::Named<'_>) -> Option<Value> {
    let (id, login) = (named.text("id"), named.text("alternateId"));
    if id.is_none() && login.is_none() {
        return None;
    }
    let mut user = Map::new();
    put(&mut user, "uid", id);
    put(&mut user, "name", login);
    put(&mut user, "email_addr", login.filter(|login| login.contains('@')));
    put(&mut user, "full_name", named.text("displayName"));
    let kind = named.text("type").unwrap_or_default();
    let (type_id, word) = match kind {
        "User" | "AppUser" => (1, "User"),
        "SystemPrincipal" => (3, "System"),
        "PublicClientApp" | "PublicClientAppEntity" => (4, "Service"),
        "" => (0, "Unknown"),
        other => (99, other),
    };
    put(&mut user, "type_id", Some(type_id));
    put(&mut user, "type", Some(word));
    filled(user)
}

/// The device, where the event has one.
fn device(event: &AuthEvent, posture: Option<&Posture>, record: &Record) -> Option<Value> {
    let signals = event.device.as_deref()?;
    let (system, system_id, type_id) = match event.platform {
        Platform::Windows => ("Windows", 100, 2),
        Platform::Macos => ("macOS", 300, 2),
        Platform::Linux => ("Linux", 200, 2),
        Platform::Ios => ("iOS", 301, 5),
        Platform::Android => ("Android", 201, 5),
        Platform::Chromeos => ("ChromeOS", 99, 3),
        Platform::Other => ("Other", 99, 0),
        Platform::Unknown => ("Unknown", 0, 0),
    };
    let mut device = Map::new();
    put(&mut device, "type_id", Some(type_id));
    put(&mut device, "uid", signals.id.as_deref());
    let name = record.text(&["device", "name"]).or_else(|| record.target("UDDevice").text("displayName"));
    put(&mut device, "name", name);
    if signals.id.is_none() && name.is_none() {
        // The schema wants one of them.
        return None;
    }
    put(&mut device, "is_managed", signals.managed);
    put(&mut device, "is_compliant", posture.and_then(is_compliant));
    let mut os = json!({ "name": system, "type_id": system_id });
    if let (Value::Object(os), Some(version)) = (&mut os, &signals.os_version) {
        os.insert("version".to_owned(), json!(version));
    }
    put(&mut device, "os", Some(os));
    filled(device)
}

/// Whether the checks that were made all came out one way; a check that cannot be told is neither.
fn is_compliant(posture: &Posture) -> Option<bool> {
    if !posture.fail.is_empty() {
        return Some(false);
    }
    (posture.unknown.is_empty() && !posture.checks.is_empty()).then_some(true)
}
