//! Which approved changes were planned for the time at which an incident began: read once, when its ticket is opened.
//!
//! `GET /api/now/v2/table/change_request` on the planned window (`start_date`, `end_date`, in GMT) and on the states
//! that come after approval. A dropped condition returns every row, so each row is checked again; one that does not
//! fit makes the whole answer worth nothing. A failure here, or an answer that takes too long, costs the ticket one
//! sentence and no time beyond [`LIMIT_TIME`].

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::Servicenow;
use super::config::{ConfigError, StateCode};
use super::row;
use crate::event::Timestamp;

/// The longest time that a ticket waits for this.
const LIMIT_TIME: Duration = Duration::from_secs(3);

/// Changes that are listed; a window that covers more says little.
const LISTED: usize = 10;

/// The columns that are read.
const FIELDS: &str = "sys_id,number,state,short_description,start_date,end_date,cmdb_ci,category";

/// Which change requests count, beside their window. Everything is optional.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Changes {
    /// `sys_id` of the configuration item.
    pub cmdb_ci: Option<String>,
    /// The category's value.
    pub category: Option<String>,
    /// Words that the short description contains, in any case.
    pub short_description: Option<String>,
    /// States in which a change is approved; default -2 Scheduled, -1 Implement, 0 Review, 3 Closed. Change models may
    /// define others.
    pub states: Vec<StateCode>,
    /// Whether the ticket names the change as its cause (`caused_by`) where exactly one fits; default no. Only where the
    /// conditions above leave nothing but changes to sign-in.
    pub caused_by: bool,
}

/// What was planned for the onset of an incident.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Planned {
    /// A sentence for the ticket.
    pub(super) sentence: String,
    /// `sys_id` of the one change that is to be named as the cause.
    pub(super) cause: Option<String>,
}

impl Default for Changes {
    fn default() -> Self {
        let states = ["-2", "-1", "0", "3"].map(StateCode::new).into();
        Self { cmdb_ci: None, category: None, short_description: None, states, caused_by: false }
    }
}

impl Changes {
    /// Refuses values that would change the query.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let texts = [&self.cmdb_ci, &self.category, &self.short_description].into_iter().flatten();
        let mut values = texts.map(String::as_str).chain(self.states.iter().map(StateCode::as_str));
        let is_bad = |value: &str| value.is_empty() || value.contains('^') || value.starts_with("javascript:");
        if self.states.is_empty() || values.any(is_bad) || self.states.iter().any(|state| state.as_str().contains(','))
        {
            return Err(ConfigError::Changes);
        }
        Ok(())
    }

    /// The query for the changes whose planned window covers `at`.
    fn query(&self, at: &str) -> String {
        let states: Vec<&str> = self.states.iter().map(StateCode::as_str).collect();
        let mut query = format!("stateIN{}^start_date<={at}^end_date>={at}", states.join(","));
        for (condition, value) in [
            ("cmdb_ci=", &self.cmdb_ci),
            ("category=", &self.category),
            ("short_descriptionLIKE", &self.short_description),
        ] {
            if let Some(value) = value {
                query.push_str(&format!("^{condition}{value}"));
            }
        }
        query + "^ORDERBYstart_date"
    }

    /// Whether a row is what was asked for.
    fn holds(&self, change: &Change, at: &str) -> bool {
        let equal = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
        let contains = |wanted: &String| change.short_description.to_lowercase().contains(&wanted.to_lowercase());
        let is_time = |text: &str| text.len() == 19 && text.is_ascii();
        self.states.iter().any(|state| state.as_str() == change.state)
            && is_time(&change.start)
            && is_time(&change.end)
            // Of one form, so their order is that of the times.
            && change.start.as_str() <= at
            && at <= change.end.as_str()
            && equal(&self.cmdb_ci, &change.cmdb_ci)
            && equal(&self.category, &change.category)
            && self.short_description.as_ref().is_none_or(contains)
    }
}

/// Reads `changes: true`, `changes: false` or `changes: {…}`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Changes>, D::Error> {
    struct Wanted;
    impl<'de> Visitor<'de> for Wanted {
        type Value = Option<Changes>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("`true`, `false` or a mapping")
        }
        fn visit_bool<E: de::Error>(self, wanted: bool) -> Result<Self::Value, E> {
            Ok(wanted.then(Changes::default))
        }
        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            Changes::deserialize(de::value::MapAccessDeserializer::new(map)).map(Some)
        }
    }
    deserializer.deserialize_any(Wanted)
}

/// A change request as we read it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Change {
    sys_id: String,
    number: String,
    state: String,
    short_description: String,
    start: String,
    end: String,
    cmdb_ci: String,
    category: String,
}

impl Change {
    /// `None` where it is no object or its number is none.
    fn read(value: &Value) -> Option<Self> {
        let row = value.as_object()?;
        let text = |column: &str| row.get(column).map(row::text).unwrap_or_default();
        let number = text("number");
        let is_number =
            !number.is_empty() && number.len() <= 40 && number.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_number.then(|| Self {
            sys_id: text("sys_id"),
            number,
            state: text("state"),
            short_description: text("short_description"),
            start: text("start_date"),
            end: text("end_date"),
            cmdb_ci: text("cmdb_ci"),
            category: text("category"),
        })
    }
}

impl Servicenow {
    /// The changes that were planned for `onset`; `None` where it is not configured.
    pub(super) async fn changes_at(&mut self, onset: Timestamp) -> Option<Planned> {
        let wanted = self.config.changes.clone()?;
        let at = onset.to_utc().format("%Y-%m-%d %H:%M:%S").to_string();
        let query = wanted.query(&at);
        let asked = self.client.list("change_request", &query, FIELDS, LISTED + 1);
        let told = match tokio::time::timeout(LIMIT_TIME, asked).await {
            Ok(Ok(rows)) => planned(&wanted, &at, &rows),
            Ok(Err(failed)) => Err(failed.failure.detail),
            Err(_) => Err("change requests were not read in time".to_owned()),
        };
        let (known, cause) = match told {
            Ok(known) => {
                self.troubles.remove("changes");
                known
            }
            Err(why) => {
                if why == FOREIGN {
                    self.mismatches(1);
                }
                tracing::warn!(sink = self.config.name, why, "a ticket cannot say which changes were planned");
                self.troubles.insert("changes", format!("change requests cannot be read: {why}"));
                ("not known (change requests could not be read)".to_owned(), None)
            }
        };
        Some(Planned { sentence: format!("Changes in an approved window at onset: {known}"), cause })
    }
}

/// The reason where a row is not what was asked for.
const FOREIGN: &str = "look-ups return changes that were not asked for (may the user read the columns of \
                       `change_request`?)";

/// The changes in words, and the one that is the cause by the owner's own conditions.
fn planned(wanted: &Changes, at: &str, rows: &[Value]) -> Result<(String, Option<String>), String> {
    let changes: Vec<Change> = rows.iter().filter_map(Change::read).collect();
    if changes.len() < rows.len() || !changes.iter().all(|change| wanted.holds(change, at)) {
        return Err(FOREIGN.to_owned());
    }
    if changes.is_empty() {
        return Ok(("none that authwatch may read".to_owned(), None));
    }
    let more = if changes.len() > LISTED { " and more" } else { "" };
    let of = |change: &Change| format!("{} ({} to {} UTC)", change.number, change.start, change.end);
    let list: Vec<String> = changes.iter().take(LISTED).map(of).collect();
    let is_id = |id: &str| !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let cause = match &changes[..] {
        [only] if wanted.caused_by && is_id(&only.sys_id) => Some(only.sys_id.clone()),
        _ => None,
    };
    Ok((format!("{}{more}", list.join(", ")), cause))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const AT: &str = "2026-03-02 10:01:00";

    fn change(number: &str) -> Value {
        json!({
            "number": number, "state": "-1", "short_description": "Okta policy push",
            "start_date": "2026-03-02 10:00:00", "end_date": "2026-03-02 11:00:00",
            "cmdb_ci": {"link": "x", "value": "ci1"}, "category": "software",
        })
    }

    fn wanted() -> Changes {
        serde_json::from_value(json!({ "cmdb_ci": "ci1", "category": "software", "short_description": "okta" }))
            .expect("valid")
    }

    fn sentence(wanted: &Changes, at: &str, rows: &[Value]) -> Result<String, String> {
        planned(wanted, at, rows).map(|(sentence, _)| sentence)
    }

    #[test]
    fn one_change_alone_is_named_as_the_cause_where_that_is_asked_for() {
        let with_id = |id: &str| {
            let mut change = change("CHG0030001");
            change["sys_id"] = json!(id);
            change
        };
        let asked = Changes { caused_by: true, ..wanted() };
        let cause = |wanted: &Changes, rows: &[Value]| planned(wanted, AT, rows).expect("fits").1;
        assert_eq!(cause(&asked, &[with_id("a1b2")]).as_deref(), Some("a1b2"));
        assert_eq!(cause(&wanted(), &[with_id("a1b2")]), None, "not asked for");
        assert_eq!(cause(&asked, &[with_id("a1b2"), with_id("c3d4")]), None, "which of two is not known");
        assert_eq!(cause(&asked, &[with_id("../x")]), None);
        assert_eq!(cause(&asked, &[]), None);
    }

    #[test]
    fn the_query_names_window_states_and_filter() {
        assert_eq!(
            wanted().query(AT),
            "stateIN-2,-1,0,3^start_date<=2026-03-02 10:01:00^end_date>=2026-03-02 10:01:00^cmdb_ci=ci1\
             ^category=software^short_descriptionLIKEokta^ORDERBYstart_date"
        );
    }

    #[test]
    fn a_row_that_does_not_fit_makes_the_answer_worthless() {
        let list = sentence(&wanted(), AT, &[change("CHG0030001"), change("CHG0030002")]).expect("fits");
        assert_eq!(
            list,
            "CHG0030001 (2026-03-02 10:00:00 to 2026-03-02 11:00:00 UTC), \
             CHG0030002 (2026-03-02 10:00:00 to 2026-03-02 11:00:00 UTC)"
        );
        for (column, value) in [
            ("state", json!("-5")),
            ("start_date", json!("2026-03-02 10:02:00")),
            ("end_date", json!("2026-03-02 10:00:59")),
            ("end_date", json!("")),
            ("cmdb_ci", json!("ci2")),
            ("category", json!("network")),
            ("short_description", json!("New printer")),
            ("number", json!("CHG 1; drop")),
        ] {
            let mut other = change("CHG0030002");
            other[column] = value.clone();
            let got = sentence(&wanted(), AT, &[change("CHG0030001"), other]);
            assert_eq!(got, Err(FOREIGN.to_owned()), "{column}: {value}");
        }
        assert_eq!(sentence(&wanted(), AT, &[]).as_deref(), Ok("none that authwatch may read"));
    }

    #[test]
    fn the_list_is_bounded() {
        let rows: Vec<Value> = (0..=LISTED).map(|n| change(&format!("CHG{n:07}"))).collect();
        let list = sentence(&wanted(), AT, &rows).expect("fits");
        assert!(list.ends_with(" and more") && list.matches("CHG").count() == LISTED, "{list}");
    }

    #[test]
    fn a_value_that_would_change_the_query_is_refused() {
        for bad in [json!({"category": "a^ORstate=1"}), json!({"states": []}), json!({"cmdb_ci": ""})] {
            let changes: Changes = serde_json::from_value(bad.clone()).expect("a shape");
            assert!(changes.check().is_err(), "{bad}");
        }
        assert!(wanted().check().is_ok());
    }
}
