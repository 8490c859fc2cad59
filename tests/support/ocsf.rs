//! A validator of OCSF: a document against the facts in `tests/forward/ocsf-1.8.json`.
//!
//! A type is written as `[list] scalar` or `[list] object name`, then ` !` where it is required, then ` = ` and the
//! numbers that are allowed.

use std::sync::LazyLock;

use serde_json::{Map, Value};

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/forward/ocsf-1.8.json");
    serde_json::from_str(&std::fs::read_to_string(path).expect("the schema")).expect("JSON")
});

/// What is wrong with a document; empty where it is valid.
pub fn findings(document: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    let Some(uid) = document["class_uid"].as_u64() else { return vec!["no class_uid".to_owned()] };
    let Some(class) = SCHEMA["classes"].get(uid.to_string()) else { return vec![format!("class {uid}")] };
    let Some(map) = document.as_object() else { return vec!["no object".to_owned()] };
    let mut attributes = class["attributes"].as_object().expect("attributes").clone();
    let profiles = document["metadata"]["profiles"].as_array().cloned().unwrap_or_default();
    for profile in &profiles {
        let name = profile.as_str().unwrap_or_default();
        match SCHEMA["profiles"].get(name).and_then(Value::as_object) {
            Some(more) => attributes.extend(more.clone()),
            None => findings.push(format!("profile {name}")),
        }
    }
    check("", map, &attributes, &class["at_least_one"], &mut findings);
    if document["category_uid"] != class["category"] {
        findings.push("category_uid is not the class's".to_owned());
    }
    if document["class_name"] != class["name"] {
        findings.push("class_name is not the class's".to_owned());
    }
    let type_uid = document["activity_id"].as_u64().map(|activity| uid * 100 + activity);
    if document["type_uid"].as_u64() != type_uid {
        findings.push("type_uid is not class_uid * 100 + activity_id".to_owned());
    }
    if document["metadata"]["version"] != SCHEMA["version"] {
        findings.push("metadata.version".to_owned());
    }
    // Whoever says Other has to say what.
    for (id, word) in [("activity_id", "activity_name"), ("status_id", "status")] {
        if document[id] == 99 && !document[word].is_string() {
            findings.push(format!("{id} is 99 without {word}"));
        }
    }
    findings
}

fn check(
    path: &str,
    map: &Map<String, Value>,
    attributes: &Map<String, Value>,
    one_of: &Value,
    findings: &mut Vec<String>,
) {
    for (name, value) in map {
        let Some(kind) = attributes.get(name).and_then(Value::as_str) else {
            findings.push(format!("{path}/{name} is no attribute"));
            continue;
        };
        of_kind(&format!("{path}/{name}"), value, kind, findings);
    }
    for (name, kind) in attributes {
        if kind.as_str().is_some_and(|kind| kind.contains(" !")) && !map.contains_key(name) {
            findings.push(format!("{path}/{name} is required"));
        }
    }
    if let Some(one_of) = one_of.as_array()
        && !one_of.iter().any(|name| name.as_str().is_some_and(|name| map.contains_key(name)))
    {
        findings.push(format!("{path} has none of {one_of:?}"));
    }
}

fn of_kind(path: &str, value: &Value, kind: &str, findings: &mut Vec<String>) {
    let (kind, allowed) = kind.split_once(" = ").map_or((kind, None), |(kind, allowed)| (kind, Some(allowed)));
    let kind = kind.trim_end_matches(" !");
    if let Some(inner) = kind.strip_prefix("list ") {
        match value.as_array() {
            Some(list) => list.iter().for_each(|value| of_kind(path, value, inner, findings)),
            None => findings.push(format!("{path} is no list")),
        }
        return;
    }
    if let Some(name) = kind.strip_prefix("object ") {
        match (SCHEMA["objects"].get(name), value.as_object()) {
            (Some(object), Some(map)) => {
                let attributes = object["attributes"].as_object().expect("attributes");
                check(path, map, attributes, &object["at_least_one"], findings);
            }
            (None, _) => findings.push(format!("{path}: {name} is not in the facts")),
            (_, None) => findings.push(format!("{path} is no object")),
        }
        return;
    }
    let fits = match kind {
        "json" => true,
        "string" => value.as_str().is_some_and(|text| !text.is_empty()),
        "boolean" => value.is_boolean(),
        "float" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        // Milliseconds: seconds would be a time in January 1970.
        "timestamp" => value.as_i64().is_some_and(|at| at > 1_000_000_000_000),
        "ip" => value.as_str().is_some_and(|text| text.parse::<std::net::IpAddr>().is_ok()),
        other => panic!("{other} is no type"),
    };
    if !fits {
        findings.push(format!("{path} is no {kind}: {value}"));
    }
    if let Some(allowed) = allowed
        && value.is_u64()
        && !allowed.split(' ').any(|allowed| allowed.parse().ok() == value.as_u64())
    {
        findings.push(format!("{path} may not be {value}"));
    }
}
