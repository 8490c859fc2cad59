//! Entity Management (3004): who changed what.

use serde_json::{Map, Value};

use super::super::record::{Named, Record, put};
use super::{Activity, user};
use crate::event::{AuthEvent, Kind};

pub(super) fn fields(event: &AuthEvent, record: &Record) -> Map<String, Value> {
    let mut out = Map::new();
    put(&mut out, "entity", Some(entity(event, record)));
    out
}

/// What was changed: the first target, as the kind of event sees it.
fn entity(event: &AuthEvent, record: &Record) -> Value {
    let first = record.targets().next().unwrap_or_default();
    let change = event.change.as_deref();
    let own = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let kind = own(first.text("type")).or_else(|| own(change.map(|change| change.target_type.as_str())));
    let uid = own(first.text("id")).or_else(|| own(change.map(|change| change.target_id.as_str())));
    let name = own(first.text("displayName")).or_else(|| own(change.map(|change| change.target_name.as_str())));
    let kind = kind.unwrap_or_default();
    let (type_id, word) = type_of(event.kind, &kind);
    let mut entity = Map::new();
    put(&mut entity, "type_id", Some(type_id));
    put(&mut entity, "type", Some(word));
    // The schema wants at least one of the two.
    let name = name.or_else(|| uid.is_none().then(|| event.event_type.to_string()));
    put(&mut entity, "uid", uid.clone());
    put(&mut entity, "name", name.clone());
    match type_id {
        5 => {
            let holder = change.and_then(|change| change.policy.as_deref());
            let policy_name = record.target("PolicyEntity").text("displayName");
            let mut policy = Map::new();
            put(&mut policy, "uid", holder.map(str::to_owned).or(uid));
            put(
                &mut policy,
                "name",
                policy_name.map(str::to_owned).or_else(|| holder.is_none().then_some(name).flatten()),
            );
            put(&mut policy, "type", Some(kind));
            put(&mut entity, "policy", Some(Value::Object(policy)));
        }
        2 => put(&mut entity, "user", user(person(record).unwrap_or(first))),
        3 => put(&mut entity, "group", group(first)),
        _ => {}
    }
    let to = first.value().and_then(|target| target.get("changeDetails")).filter(|details| details.is_object());
    put(&mut entity, "data", to.cloned());
    Value::Object(entity)
}

fn person(record: &Record) -> Option<Named<'_>> {
    Some(record.target("User")).filter(|user| user.value().is_some())
}

fn group(named: Named<'_>) -> Option<Value> {
    let mut group = Map::new();
    put(&mut group, "uid", named.text("id"));
    put(&mut group, "name", named.text("displayName"));
    (!group.is_empty()).then_some(Value::Object(group))
}

/// The type of an entity: a word of the schema, or the source's own.
fn type_of(kind: Kind, target: &str) -> (u32, String) {
    let lower = target.to_ascii_lowercase();
    let known = match kind {
        Kind::PolicyChange | Kind::AssuranceChange => Some((5, "Policy")),
        _ if lower.contains("zone") => Some((7, "Network Zone")),
        _ if lower == "user" || lower == "appuser" => Some((2, "User")),
        _ if lower == "usergroup" => Some((3, "Group")),
        _ if lower == "uddevice" || lower == "device" => Some((1, "Device")),
        _ if lower == "org" => Some((4, "Organization")),
        _ => None,
    };
    match known {
        Some((id, word)) => (id, word.to_owned()),
        None if target.is_empty() => (0, "Unknown".to_owned()),
        None => (99, target.to_owned()),
    }
}

/// What was done, from the last word of the event type.
pub(super) fn activity(event_type: &str) -> Activity {
    let (id, name) = match event_type.rsplit('.').next().unwrap_or_default() {
        "create" | "add" | "grant" | "assign" => (1, "Create"),
        "read" | "view" => (2, "Read"),
        "update" | "change" | "reset" | "reset_all" => (3, "Update"),
        "delete" | "remove" | "revoke" | "unassign" => (4, "Delete"),
        "enroll" => (6, "Enroll"),
        "unenroll" => (7, "Unenroll"),
        "enable" => (8, "Enable"),
        "disable" => (9, "Disable"),
        "activate" => (10, "Activate"),
        "deactivate" => (11, "Deactivate"),
        "suspend" => (12, "Suspend"),
        "unsuspend" | "resume" => (13, "Resume"),
        _ => return Activity::other(event_type),
    };
    Activity::new(id, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_of_an_event_type_is_the_activity() {
        for (event_type, id) in [
            ("policy.lifecycle.create", 1),
            ("policy.rule.add", 1),
            ("application.policy.sign_on.update", 3),
            ("application.policy.sign_on.rule.delete", 4),
            ("policy.rule.deactivate", 11),
            ("zone.activate", 10),
            ("user.mfa.factor.reset_all", 3),
            ("device.enrollment.create", 1),
            ("network_zone.rule.disabled", 99),
        ] {
            assert_eq!(activity(event_type).id, id, "{event_type}");
        }
        assert_eq!(activity("a.b"), Activity { id: 99, name: "a.b".to_owned() });
        assert_eq!(type_of(Kind::IntegrationChange, "NetworkZone"), (7, "Network Zone".to_owned()));
    }
}
