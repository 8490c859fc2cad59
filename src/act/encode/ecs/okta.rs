//! The object `okta` of the integration: the record's members under its names.

use serde_json::{Map, Value, json};

use super::super::record::{Named, Record, filled, put};
use crate::event::AuthEvent;

/// Details of a target that the integration keeps.
const DETAILS: [&str; 2] = ["methodTypeUsed", "methodUsedVerifiedProperties"];

/// Details of the request that have a field of their own, and its name there.
const OWN_FIELDS: [(&str, &str); 12] = [
    ("deviceFingerprint", "device_fingerprint"),
    ("dtHash", "dt_hash"),
    ("requestId", "request_id"),
    ("requestUri", "request_uri"),
    ("threatSuspected", "threat_suspected"),
    ("url", "url"),
    ("factor", "factor"),
    ("authnRequestId", "authnRequestId"),
    ("grantType", "grant_type"),
    ("grantedScopes", "granted_scopes"),
    ("requestedScopes", "requested_scopes"),
    ("promptingPolicyTypes", "promptingPolicyTypes"),
];

pub(super) fn fields(event: &AuthEvent, record: &Record) -> Value {
    let mut okta = Map::new();
    put(&mut okta, "uuid", Some(event.uuid.as_str()).filter(|uuid| !uuid.is_empty()));
    put(&mut okta, "event_type", Some(event.event_type.as_str()));
    for (name, own) in [("displayMessage", "display_message"), ("severity", "severity"), ("version", "version")] {
        put(&mut okta, own, record.text(&[name]));
    }
    put(&mut okta, "actor", filled(named(record.actor())));
    put(&mut okta, "client", filled(client(record)));
    put(&mut okta, "outcome", filled(texts(record, &["outcome"], &[("result", "result"), ("reason", "reason")])));
    let targets: Vec<Value> = record.targets().map(target).collect();
    put(&mut okta, "target", (!targets.is_empty()).then_some(targets));
    let mut transaction = texts(record, &["transaction"], &[("id", "id"), ("type", "type")]);
    let token = record.text(&["transaction", "detail", "requestApiTokenId"]);
    put(&mut transaction, "detail", token.map(|id| json!({ "request_api_token_id": id })));
    put(&mut okta, "transaction", filled(transaction));
    put(&mut okta, "authentication_context", filled(authentication(record)));
    put(&mut okta, "security_context", filled(security(record)));
    put(&mut okta, "device", filled(device(record)));
    put(&mut okta, "request", hops(record).map(|hops| json!({ "ip_chain": hops })));
    put(&mut okta, "debug_context", filled(debug(record)).map(|data| json!({ "debug_data": data })));
    Value::Object(okta)
}

/// The texts of an object that say something, each under a name of its own.
fn texts(record: &Record, path: &[&str], names: &[(&str, &str)]) -> Map<String, Value> {
    let mut out = Map::new();
    for (name, own) in names {
        let path: Vec<&str> = path.iter().copied().chain([*name]).collect();
        put(&mut out, own, record.text(&path));
    }
    out
}

/// Rules ask whether an id is `unknown`, so that word stays here.
fn named(object: Named<'_>) -> Map<String, Value> {
    let names = [("id", "id"), ("type", "type"), ("alternateId", "alternate_id"), ("displayName", "display_name")];
    let mut out = Map::new();
    for (name, own) in names {
        let text = object.value().and_then(Value::as_object).and_then(|map| super::super::record::member(map, name));
        put(&mut out, own, text.and_then(Value::as_str).filter(|text| !text.is_empty()));
    }
    out
}

fn target(object: Named<'_>) -> Value {
    let mut out = named(object);
    let mut details = Map::new();
    for name in DETAILS {
        put(&mut details, name, object.detail(name));
    }
    put(&mut out, "detailEntry", filled(details));
    let change = object.value().and_then(|value| value.get("changeDetails")).filter(|change| change.is_object());
    put(&mut out, "changeDetails", change.cloned());
    Value::Object(out)
}

fn client(record: &Record) -> Map<String, Value> {
    let mut client = texts(record, &["client"], &[("id", "id"), ("zone", "zone")]);
    // A rule asks for `Unknown`.
    let device = record.at(&["client", "device"]).and_then(Value::as_str).filter(|device| !device.is_empty());
    put(&mut client, "device", device);
    put(&mut client, "ip", record.address().map(|ip| ip.to_string()));
    let names = [("rawUserAgent", "raw_user_agent"), ("os", "os"), ("browser", "browser")];
    put(&mut client, "user_agent", filled(texts(record, &["client", "userAgent"], &names)));
    client
}

fn authentication(record: &Record) -> Map<String, Value> {
    let names = [
        ("authenticationProvider", "authentication_provider"),
        ("credentialProvider", "credential_provider"),
        ("credentialType", "credential_type"),
        ("externalSessionId", "external_session_id"),
        ("rootSessionId", "root_session_id"),
        ("interface", "interface"),
    ];
    let mut out = texts(record, &["authenticationContext"], &names);
    let step = record.at(&["authenticationContext", "authenticationStep"]).filter(|step| step.is_i64()).cloned();
    put(&mut out, "authentication_step", step);
    let issuer = texts(record, &["authenticationContext", "issuer"], &[("id", "id"), ("type", "type")]);
    put(&mut out, "issuer", filled(issuer));
    out
}

fn security(record: &Record) -> Map<String, Value> {
    let mut out = texts(record, &["securityContext"], &[("isp", "isp"), ("domain", "domain")]);
    put(&mut out, "is_proxy", record.flag(&["securityContext", "isProxy"]));
    let mut system = Map::new();
    let number = record.at(&["securityContext", "asNumber"]).filter(|number| number.is_number()).cloned();
    put(&mut system, "number", number);
    put(&mut system, "organization", record.text(&["securityContext", "asOrg"]).map(|name| json!({ "name": name })));
    put(&mut out, "as", filled(system));
    out
}

fn device(record: &Record) -> Map<String, Value> {
    let names = [
        ("id", "id"),
        ("name", "name"),
        ("os_platform", "os_platform"),
        ("os_version", "os_version"),
        ("disk_encryption_type", "disk_encryption_type"),
        ("screen_lock_type", "screen_lock_type"),
    ];
    let mut out = Map::new();
    for (name, own) in names {
        // `NONE` is an answer here.
        let text = record.at(&["device", name]).and_then(Value::as_str).filter(|text| !text.is_empty());
        put(&mut out, own, text);
    }
    for name in ["managed", "registered", "jailbreak", "secure_hardware_present"] {
        put(&mut out, name, record.flag(&["device", name]));
    }
    put(&mut out, "device_integrator", record.at(&["device", "device_integrator"]).and_then(parsed));
    out
}

fn hops(record: &Record) -> Option<Vec<Value>> {
    let chain = record.at(&["request", "ipChain"]).or_else(|| record.at(&["client", "ipChain"]))?.as_array()?;
    let hops = chain.iter().filter_map(Value::as_object).map(|hop| {
        let name = |name: &str| match name {
            "geographicalContext" => "geographical_context".to_owned(),
            "postalCode" => "postal_code".to_owned(),
            other => other.to_owned(),
        };
        let renamed = hop.iter().map(|(own, value)| {
            let value = match value {
                Value::Object(map) => map.iter().map(|(own, value)| (name(own), value.clone())).collect(),
                other => other.clone(),
            };
            (name(own), value)
        });
        Value::Object(renamed.collect())
    });
    let hops: Vec<Value> = hops.collect();
    (!hops.is_empty()).then_some(hops)
}

fn debug(record: &Record) -> Map<String, Value> {
    let mut out = Map::new();
    let Some(data) = record.at(&["debugContext", "debugData"]).and_then(Value::as_object) else { return out };
    for (name, own) in OWN_FIELDS {
        // A rule asks for `-`.
        let text = super::super::record::member(data, name).and_then(Value::as_str).filter(|text| !text.is_empty());
        put(&mut out, own, text);
    }
    let more = data.get("logOnlySecurityData").and_then(parsed).unwrap_or_default();
    let own_risk = data.get("risk").and_then(map_of);
    let level = |risk: &Value| risk.get("level").and_then(Value::as_str).map(str::to_owned);
    let reasons = |risk: &Value| {
        let reasons = risk.get("reasons").and_then(Value::as_str).filter(|text| !text.is_empty())?;
        Some(reasons.split(',').map(|reason| Value::from(reason.trim())).collect::<Vec<_>>())
    };
    let risks = [more.get("risk"), own_risk.as_ref()];
    put(&mut out, "risk_level", risks.iter().flatten().find_map(|risk| level(risk)));
    put(&mut out, "risk_reasons", risks.iter().flatten().find_map(|risk| reasons(risk)));
    put(&mut out, "risk", own_risk);
    let behaviors = data.get("behaviors").and_then(map_of);
    if let Some(Value::Object(behaviors)) = &behaviors {
        let positive: Vec<&String> =
            behaviors.iter().filter(|(_, value)| *value == "POSITIVE").map(|(name, _)| name).collect();
        put(&mut out, "risk_behaviors", (!positive.is_empty()).then(|| json!(positive)));
        let plain = behaviors.iter().map(|(name, value)| (name.replace([' ', '-'], "_"), value.clone()));
        put(&mut out, "behaviors", Some(Value::Object(plain.collect())));
    }
    put(&mut out, "flattened", Some(Value::Object(data.clone())));
    out
}

/// JSON in a text, or as it is; an object only.
fn parsed(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) => serde_json::from_str(text).ok().filter(Value::is_object),
        Value::Object(_) => Some(value.clone()),
        _ => None,
    }
}

/// A map that Okta writes as text, `{reasons=A, B, level=HIGH}`: a part without `=` belongs to the value before it.
fn map_of(value: &Value) -> Option<Value> {
    let text = match value {
        Value::Object(_) => return Some(value.clone()),
        Value::String(text) => text.strip_prefix('{')?.strip_suffix('}')?,
        _ => return None,
    };
    let mut pairs: Vec<(String, String)> = Vec::new();
    for part in text.split(", ") {
        match (part.split_once('='), pairs.last_mut()) {
            (Some((name, value)), _) => pairs.push((name.trim().to_owned(), value.trim().to_owned())),
            (None, Some((_, last))) => {
                last.push_str(", ");
                last.push_str(part.trim());
            }
            (None, None) => {}
        }
    }
    (!pairs.is_empty()).then(|| pairs.into_iter().map(|(name, value)| (name, Value::from(value))).collect())
}
