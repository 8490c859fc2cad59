//! An incident row as we read it, and the texts as we write them. Pure.

use serde_json::{Map, Value, json};

use super::Config;
use super::changes::Planned;
use crate::action::{IncidentAction, Severity};

/// The constant in `correlation_display` that makes a row ours.
pub(super) const OURS: &str = "authwatch";

/// The columns that we read.
pub(super) const FIELDS: &str = "sys_id,number,state,priority,correlation_id,correlation_display,sys_created_on,\
                                 assigned_to,assignment_group,description";

/// The base system's length of `description`, in characters; `close_notes` has the same and longer notes are no help
/// to anybody. Longer texts would be cut by the instance, and the marker with them.
const TEXT: usize = 4_000;

/// The base system's length of `short_description`, in characters.
const TITLE: usize = 160;

/// The marker's words, before the revision.
const MARKER: &str = "authwatch revision ";

/// One row of `incident`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Row {
    pub(super) sys_id: String,
    pub(super) number: String,
    pub(super) state: String,
    pub(super) priority: String,
    pub(super) correlation_id: String,
    pub(super) correlation_display: String,
    pub(super) created: String,
    pub(super) assigned_to: String,
    pub(super) assignment_group: String,
    pub(super) description: String,
}

impl Row {
    /// Reads a row; `None` where it is no object or has no `sys_id`.
    pub(super) fn read(value: &Value) -> Option<Self> {
        let row = value.as_object()?;
        let text = |column: &str| row.get(column).map(text).unwrap_or_default();
        let sys_id = text("sys_id");
        // It becomes part of an address.
        let is_id = !sys_id.is_empty() && sys_id.len() <= 64 && sys_id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_id.then(|| Self {
            sys_id,
            number: text("number"),
            state: text("state"),
            priority: text("priority"),
            correlation_id: text("correlation_id"),
            correlation_display: text("correlation_display"),
            created: text("sys_created_on"),
            assigned_to: text("assigned_to"),
            assignment_group: text("assignment_group"),
            description: text("description"),
        })
    }

    /// Whether the row is the one asked for. The query alone does not say so: see the module's second rule.
    pub(super) fn is_ours(&self, correlation: &str) -> bool {
        self.correlation_id == correlation && self.correlation_display == OURS
    }

    /// The newest revision that the description has.
    pub(super) fn revision(&self) -> u32 {
        let marked = self.description.lines().rev().find_map(|line| line.trim().strip_prefix(MARKER)?.parse().ok());
        marked.unwrap_or(0)
    }

    /// Who has it.
    pub(super) fn owner(&self) -> (String, String) {
        (self.assigned_to.clone(), self.assignment_group.clone())
    }
}

/// A column's value: text, or a reference, or a reference with its display value.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Object(reference) => reference.get("value").and_then(Value::as_str).unwrap_or_default().to_owned(),
        Value::Null | Value::Bool(_) | Value::Array(_) => String::new(),
    }
}

/// The first `limit` characters, with an ellipsis where something was cut.
fn cut(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars().take(limit.saturating_sub(1)).chain(['…']).collect()
}

/// The description with the marker at its end, within the column's length.
pub(super) fn description(action: &IncidentAction, previous: Option<&str>) -> String {
    let follows = previous.map(|number| format!("\n\nFollows {number}.")).unwrap_or_default();
    let tail = format!("{follows}\n\n{MARKER}{}", action.revision);
    let room = TEXT.saturating_sub(tail.chars().count());
    format!("{}{tail}", cut(action.description.trim_end(), room))
}

/// The title within the column's length, on one line.
pub(super) fn title(action: &IncidentAction) -> String {
    cut(&action.incident.title.replace(['\n', '\r'], " "), TITLE)
}

/// A note within a sensible length.
pub(super) fn note(text: &str) -> String {
    cut(text, TEXT)
}

/// The body that creates a row; `changes` is a sentence more for its first note, and perhaps the cause.
pub(super) fn create(
    config: &Config,
    action: &IncidentAction,
    correlation: &str,
    previous: Option<&str>,
    changes: Option<&Planned>,
) -> Value {
    let opened = match previous {
        Some(number) => format!("Opened by authwatch. Follows {number}, which is closed. {}", action.note),
        None => format!("Opened by authwatch. {}", action.note),
    };
    let said = changes.map(|planned| planned.sentence.as_str()).unwrap_or_default();
    let opened = [opened.trim_end(), said].join("\n");
    let texts = [title(action), description(action, previous), note(opened.trim_end())];
    let mut body = body(config, action.incident.severity, correlation, texts);
    if let Some(cause) = changes.and_then(|planned| planned.cause.as_ref()) {
        body["caused_by"] = json!(cause);
    }
    body
}

/// The body that creates a row for a test, filled as that of an incident would be.
pub(super) fn test(config: &Config, correlation: &str) -> Value {
    let title = "authwatch check: a test that resolves itself, please ignore".to_owned();
    let description = "Written by `authwatch check --write` to try out its rights. Nothing is wrong.".to_owned();
    body(config, Severity::Ticket, correlation, [title, description, "Opened by authwatch check.".to_owned()])
}

/// Every column of a new row: as configured, and ours.
fn body(config: &Config, severity: Severity, correlation: &str, [title, description, note]: [String; 3]) -> Value {
    let impact = config.severity.of(severity);
    let mut body = Map::new();
    for (column, value) in &config.fields {
        body.insert(column.clone(), json!(value));
    }
    let optional = [
        ("assignment_group", &config.assignment_group),
        ("caller_id", &config.caller_id),
        ("category", &config.category),
        ("subcategory", &config.subcategory),
        ("cmdb_ci", &config.cmdb_ci),
        ("business_service", &config.business_service),
    ];
    for (column, value) in optional {
        if let Some(value) = value {
            body.insert(column.to_owned(), json!(value));
        }
    }
    let ours = [
        ("short_description", title),
        ("description", description),
        ("impact", impact.impact.to_string()),
        ("urgency", impact.urgency.to_string()),
        ("contact_type", config.contact_type.clone()),
        ("correlation_id", correlation.to_owned()),
        ("correlation_display", OURS.to_owned()),
        ("work_notes", note),
    ];
    for (column, value) in ours {
        body.insert(column.to_owned(), json!(value));
    }
    Value::Object(body)
}

/// The resolution notes from the template.
pub(super) fn close_notes(config: &Config, action: &IncidentAction) -> String {
    let incident = &action.incident;
    let resolved_at = incident.resolved_at.unwrap_or(action.at).to_string();
    // Filled in one pass, so that braces in a title are left alone.
    let mut parts = config.resolve.close_notes.split('{');
    let mut notes = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('}').unwrap_or((part, ""));
        match name {
            "note" => notes.push_str(&action.note),
            "title" => notes.push_str(&incident.title),
            "people" => notes.push_str(&incident.people.to_string()),
            "resolved_at" => notes.push_str(&resolved_at),
            _ => notes.push_str(name),
        }
        notes.push_str(rest);
    }
    // The column must not be empty when a row is resolved.
    cut(if notes.trim().is_empty() { "Recovered." } else { notes.trim() }, TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_come_in_three_shapes_and_empty() {
        for (value, expect) in [
            (json!("abc"), "abc"),
            (json!(""), ""),
            (json!({"link": "https://x/abc", "value": "abc"}), "abc"),
            (json!({"display_value": "Team", "value": "abc"}), "abc"),
            (json!(3), "3"),
            (json!(null), ""),
        ] {
            assert_eq!(text(&value), expect, "{value}");
        }
    }

    #[test]
    fn a_row_needs_an_id_that_can_stand_in_an_address() {
        assert!(Row::read(&json!({"sys_id": "a1b2"})).is_some());
        for bad in [json!({}), json!({"sys_id": ""}), json!({"sys_id": "../user"}), json!("a1b2"), json!(null)] {
            assert_eq!(Row::read(&bad), None, "{bad}");
        }
    }

    #[test]
    fn the_last_marker_line_counts() {
        let revision = |text: &str| Row { description: text.to_owned(), ..Row::default() }.revision();
        assert_eq!(revision("text\n\nauthwatch revision 12"), 12);
        assert_eq!(revision("authwatch revision 3\r\nmore\r\nauthwatch revision 4\r\n"), 4);
        assert_eq!(revision("says authwatch revision 9"), 0);
        assert_eq!(revision("authwatch revision x"), 0);
        assert_eq!(revision(""), 0);
    }

    #[test]
    fn a_cut_text_says_so_and_counts_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
    }
}
