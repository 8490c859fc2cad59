//! The rows of `incident`: fields, journal, history, and the state machine that refuses.

use std::collections::BTreeMap;

use super::query::Fields;
use crate::event::{Span, Timestamp};
use crate::sim::chance;

/// The most rows a server keeps; a POST beyond is refused with 500.
pub const MAX_ROWS: usize = 100_000;

/// The columns of `incident` that exist here.
pub(super) const COLUMNS: [&str; 34] = [
    "sys_id",
    "number",
    "short_description",
    "description",
    "state",
    "impact",
    "urgency",
    "priority",
    "assignment_group",
    "assigned_to",
    "caller_id",
    "category",
    "subcategory",
    "cmdb_ci",
    "business_service",
    "contact_type",
    "correlation_id",
    "correlation_display",
    "caused_by",
    "rfc",
    "close_code",
    "close_notes",
    "hold_reason",
    "opened_at",
    "resolved_at",
    "closed_at",
    "active",
    "sys_created_on",
    "sys_created_by",
    "sys_updated_on",
    "sys_updated_by",
    "sys_mod_count",
    "work_notes",
    "comments",
];
pub(super) const REFERENCES: [&str; 7] =
    ["assignment_group", "assigned_to", "caller_id", "cmdb_ci", "business_service", "caused_by", "rfc"];
const JOURNALS: [&str; 2] = ["work_notes", "comments"];
const COMPUTED: [&str; 11] = [
    "sys_id",
    "number",
    "priority",
    "opened_at",
    "resolved_at",
    "closed_at",
    "active",
    "sys_created_on",
    "sys_created_by",
    "sys_updated_on",
    "sys_updated_by",
];

/// One entry of a journal field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// `work_notes` or `comments`.
    pub field: String,
    /// What.
    pub text: String,
}

/// One change of one field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldChange {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Which field.
    pub field: String,
    /// Its value before; empty when the row was created.
    pub from: String,
    /// Its value after.
    pub to: String,
}

/// One incident as an inspector sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Every field, as strings; journals are empty here.
    pub fields: BTreeMap<String, String>,
    /// The journal, oldest first.
    pub notes: Vec<Note>,
    /// Every change, oldest first.
    pub history: Vec<FieldChange>,
    /// Reads see it from then on.
    pub visible_at: Timestamp,
}

impl Row {
    /// A field's value; empty where the field is not set.
    pub fn get(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", String::as_str)
    }

    fn set(&mut self, at: Timestamp, by: &str, field: &str, value: &str) {
        let from = self.get(field).to_owned();
        if from != value {
            let (by, field, to) = (by.to_owned(), field.to_owned(), value.to_owned());
            self.history.push(FieldChange { at, by, field: field.clone(), from, to: to.clone() });
            self.fields.insert(field, to);
        }
    }
}

/// Why a write is refused: what the `detail` of the 403 says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    ClosedIsFinal,
    ResolutionMissing,
    CommentsMissing,
    UnknownState,
}

impl Refusal {
    pub(super) const fn detail(self) -> &'static str {
        match self {
            Self::ClosedIsFinal => "Business rule: a closed or canceled incident cannot change its state",
            Self::ResolutionMissing => {
                "Data Policy Exception: The following fields are mandatory: Resolution code, Resolution notes"
            }
            Self::CommentsMissing => {
                "Data Policy Exception: The following fields are mandatory: Additional comments (Customer visible)"
            }
            Self::UnknownState => "Business rule: the state is not a choice of incident",
        }
    }
}

/// All rows, by `sys_id`.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) rows: BTreeMap<String, Row>,
    created: u64,
    seed: u64,
}

impl Table {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// Creates a row; unknown and computed fields are ignored, as ServiceNow does.
    pub(super) fn create(
        &mut self,
        at: Timestamp,
        by: &str,
        body: &Fields,
        visible_after: Span,
    ) -> Result<String, Refusal> {
        let number = self.created + 1;
        let sys_id = format!("{:032x}", chance::hash128(self.seed, "incident", number, 0));
        let (fields, visible_at) = (BTreeMap::new(), at + visible_after);
        let mut row = Row { fields, notes: Vec::new(), history: Vec::new(), visible_at };
        let stamp = stamp(at);
        let fixed = [
            ("sys_id", sys_id.as_str()),
            ("number", &format!("INC{:07}", 10_000 + number)),
            ("state", "1"),
            ("impact", "3"),
            ("urgency", "3"),
            ("active", "true"),
            ("opened_at", &stamp),
            ("sys_created_on", &stamp),
            ("sys_created_by", by),
            ("sys_mod_count", "0"),
        ];
        row.fields.extend(fixed.map(|(field, value)| (field.into(), value.into())));
        write(&mut row, at, by, body)?;
        row.fields.insert("sys_mod_count".into(), "0".into());
        self.created = number;
        self.rows.insert(sys_id.clone(), row);
        Ok(sys_id)
    }

    /// Changes a row, or refuses and changes nothing. `None`: there is no such row.
    pub(super) fn update(
        &mut self,
        at: Timestamp,
        by: &str,
        sys_id: &str,
        body: &Fields,
    ) -> Option<Result<Row, Refusal>> {
        let row = self.rows.get_mut(sys_id)?;
        let mut changed = row.clone();
        Some(write(&mut changed, at, by, body).map(|()| {
            *row = changed;
            row.clone()
        }))
    }
}

fn write(row: &mut Row, at: Timestamp, by: &str, body: &Fields) -> Result<(), Refusal> {
    transition(row, body)?;
    let before = row.get("state").to_owned();
    for (field, value) in body {
        let journal = JOURNALS.contains(&field.as_str());
        if journal && !value.is_empty() {
            let (by, field, text) = (by.to_owned(), field.clone(), value.clone());
            row.notes.push(Note { at, by, field, text });
        } else if !journal && COLUMNS.contains(&field.as_str()) && !COMPUTED.contains(&field.as_str()) {
            row.set(at, by, field, value);
        }
    }
    let (state, stamp) = (row.get("state").to_owned(), stamp(at));
    if state != before {
        let (resolved, closed) = (matches!(state.as_str(), "6" | "7"), matches!(state.as_str(), "7" | "8"));
        if !resolved {
            row.set(at, by, "resolved_at", "");
        } else if before != "6" {
            row.set(at, by, "resolved_at", &stamp);
        }
        row.set(at, by, "closed_at", if closed { &stamp } else { "" });
        row.set(at, by, "active", if closed { "false" } else { "true" });
    }
    let priority = priority(row.get("impact"), row.get("urgency"));
    row.set(at, by, "priority", priority);
    row.fields.insert("sys_updated_on".into(), stamp);
    row.fields.insert("sys_updated_by".into(), by.into());
    let count: u64 = row.get("sys_mod_count").parse().unwrap_or(0);
    row.fields.insert("sys_mod_count".into(), (count + 1).to_string());
    Ok(())
}

/// Source: the sinks fact sheet's section 1.1: Closed is final, resolving needs a code and notes, On Hold with reason 1
/// (awaiting caller) needs comments.
fn transition(row: &Row, body: &Fields) -> Result<(), Refusal> {
    let after = |field: &str| body.get(field).map_or_else(|| row.get(field), String::as_str);
    let (from, to) = (row.get("state"), after("state"));
    if from != to && matches!(from, "7" | "8") {
        return Err(Refusal::ClosedIsFinal);
    }
    match to {
        "6" | "7" if from != to && (after("close_code").is_empty() || after("close_notes").is_empty()) => {
            Err(Refusal::ResolutionMissing)
        }
        "3" if from != to && after("hold_reason") == "1" && body.get("comments").is_none_or(String::is_empty) => {
            Err(Refusal::CommentsMissing)
        }
        "1" | "2" | "3" | "6" | "7" | "8" => Ok(()),
        _ => Err(Refusal::UnknownState),
    }
}

fn priority(impact: &str, urgency: &str) -> &'static str {
    match (impact, urgency) {
        ("1", "1") => "1",
        ("1", "2") | ("2", "1") => "2",
        ("1", "3") | ("2", "2") | ("3", "1") => "3",
        ("2", "3") | ("3", "2") => "4",
        _ => "5",
    }
}

/// A time as ServiceNow writes it: GMT, whole seconds.
pub(super) fn stamp(at: Timestamp) -> String {
    at.to_utc().format("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn table() -> (Table, String) {
        let mut table = Table::new(1);
        let body = fields(&[("impact", "1"), ("urgency", "2"), ("priority", "5"), ("nonsense", "x")]);
        let id = table.create(Timestamp(0), "sim", &body, Span(0)).expect("created");
        (table, id)
    }

    #[track_caller]
    fn refused(from: &[(&str, &str)], body: &[(&str, &str)], expect: Refusal) {
        let (mut table, id) = table();
        table.update(Timestamp(1), "sim", &id, &fields(from)).expect("a row").expect("allowed");
        let before = table.rows[&id].clone();
        let after = table.update(Timestamp(2), "sim", &id, &fields(body)).expect("a row");
        assert_eq!(after, Err(expect), "{from:?} then {body:?}");
        assert_eq!(table.rows[&id], before, "a refused write changes nothing");
    }

    #[test]
    fn a_new_row_computes_what_it_computes_and_ignores_what_it_does_not_know() {
        let (table, id) = table();
        let row = &table.rows[&id];
        assert_eq!((row.get("number"), row.get("state"), row.get("priority")), ("INC0010001", "1", "2"));
        assert_eq!((row.get("nonsense"), row.get("sys_created_on")), ("", "1970-01-01 00:00:00"));
    }

    #[test]
    fn the_state_machine_refuses() {
        let closed = [("state", "7"), ("close_code", "Duplicate"), ("close_notes", "done")];
        refused(&closed, &[("state", "2")], Refusal::ClosedIsFinal);
        refused(&[("state", "8")], &[("state", "1")], Refusal::ClosedIsFinal);
        refused(&[], &[("state", "6"), ("close_code", "Duplicate")], Refusal::ResolutionMissing);
        refused(&[], &[("state", "6")], Refusal::ResolutionMissing);
        refused(&[], &[("state", "3"), ("hold_reason", "1")], Refusal::CommentsMissing);
        refused(&[], &[("state", "4")], Refusal::UnknownState);
    }

    #[test]
    fn resolving_and_reopening_move_the_times() {
        let (mut table, id) = table();
        let resolve = fields(&[("state", "6"), ("close_code", "Resolved by change"), ("close_notes", "rolled back")]);
        let row = table.update(Timestamp(60_000), "sim", &id, &resolve).expect("a row").expect("allowed");
        assert_eq!((row.get("resolved_at"), row.get("active")), ("1970-01-01 00:01:00", "true"));
        let again = fields(&[("state", "2"), ("work_notes", "again")]);
        let row = table.update(Timestamp(90_000), "sim", &id, &again).expect("a row").expect("allowed");
        assert_eq!((row.get("resolved_at"), row.get("work_notes")), ("", ""));
        assert_eq!(row.get("sys_mod_count"), "2");
        assert_eq!(row.notes.iter().map(|note| note.text.as_str()).collect::<Vec<_>>(), ["again"]);
        let note = fields(&[("work_notes", "once more")]);
        let row = table.update(Timestamp(95_000), "sim", &id, &note).expect("a row").expect("allowed");
        assert_eq!(row.notes.len(), 2);
        assert!(table.update(Timestamp(0), "sim", "no such row", &note).is_none());
    }
}
