//! Finding our row: look up, refuse what is not ours, and reduce doubles to the oldest.

use serde_json::json;

use super::row::Row;
use super::{REMEMBERED, Servicenow};
use crate::act::retry::{Failure, Reason};
use crate::store::LedgerEntry;

/// More rows than this for one key can only be an answer to another question.
const TOTAL: u64 = 100;

/// What a look-up found.
#[derive(Debug)]
pub(super) struct Found {
    /// Our rows, oldest first.
    pub(super) ours: Vec<Row>,
    /// Whether the answer was to our question, so that an absence means something.
    pub(super) trusted: bool,
}

/// The one row of an incident.
#[derive(Debug)]
pub(super) struct Located {
    /// It, where there is one.
    pub(super) row: Option<Row>,
    /// The ledger did not know it.
    pub(super) adopted: bool,
    /// The ledger knows one that is there no longer, or no longer ours.
    pub(super) gone: bool,
    /// See [`Found::trusted`].
    pub(super) trusted: bool,
}

impl Servicenow {
    /// Our rows for a correlation id. Rows that are not ours are counted and dropped.
    pub(super) async fn lookup(&mut self, correlation: &str) -> Result<Found, Failure> {
        let page = self.client.find(correlation).await?;
        let returned = page.rows.len() + page.unreadable;
        let mut ours: Vec<Row> = page.rows.into_iter().filter(|row| row.is_ours(correlation)).collect();
        ours.sort_by(|a, b| (&a.created, &a.sys_id).cmp(&(&b.created, &b.sys_id)));
        let foreign = returned - ours.len();
        let implausible = page.total.is_some_and(|total| total > TOTAL);
        let trusted = foreign == 0 && !implausible;
        if trusted {
            self.troubles.remove("lookup");
        } else {
            self.mismatches(foreign);
            let total = page.total.unwrap_or(returned as u64);
            let detail = "look-ups return incidents that are not ours; they are left alone (may the user read \
                          `correlation_id` and `correlation_display`?)";
            let news = self.troubles.insert("lookup", detail.to_owned()).is_none();
            if news {
                tracing::error!(sink = self.config.name, foreign, total, "{detail}");
            }
        }
        Ok(Found { ours, trusted })
    }

    /// The row of an incident: the one the ledger knows, else the one that is ours by key. Where several are open, the
    /// oldest is kept and the others are closed as doubles.
    pub(super) async fn locate(&mut self, entry: &LedgerEntry, correlation: &str) -> Result<Located, Failure> {
        let Found { ours, trusted } = self.lookup(correlation).await?;
        let open: Vec<&Row> = ours.iter().filter(|row| !self.is_over(&row.state)).collect();
        let located = |row: Option<Row>, gone| {
            let adopted = row.as_ref().is_some_and(|row| entry.remote_id.as_ref() != Some(&row.sys_id));
            Located { row, adopted, gone, trusted }
        };
        if let [kept, doubles @ ..] = open.as_slice()
            && !doubles.is_empty()
        {
            let (kept, doubles) = ((*kept).clone(), doubles.iter().map(|row| (*row).clone()).collect::<Vec<_>>());
            for double in doubles {
                self.close_double(&double, &kept).await?;
            }
            return Ok(located(Some(kept), false));
        }
        self.troubles.remove("double");
        let Some(known) = &entry.remote_id else {
            // The newest where all are over: it is the one that a person saw last.
            let row = open.first().copied().or(ours.last()).cloned();
            return Ok(located(row, false));
        };
        if let Some(row) = ours.iter().find(|row| row.sys_id == *known) {
            return Ok(located(Some(row.clone()), false));
        }
        match self.client.row(known).await? {
            Some(row) if row.is_ours(correlation) => Ok(located(Some(row), false)),
            Some(_) => {
                self.mismatches(1);
                tracing::warn!(
                    sink = self.config.name,
                    incident = correlation,
                    "our row carries another correlation id"
                );
                Ok(located(None, true))
            }
            None => Ok(located(None, true)),
        }
    }

    /// Whether a state is past work: resolved, closed or canceled.
    pub(super) fn is_over(&self, state: &str) -> bool {
        let states = &self.config.states;
        let over = [&states.resolved, &states.closed, &states.canceled, &self.config.resolve.state];
        over.iter().any(|over| over.as_str() == state)
    }

    /// Whether a state cannot be left again: closed or canceled.
    pub(super) fn is_final(&self, state: &str) -> bool {
        let states = &self.config.states;
        [&states.closed, &states.canceled].iter().any(|over| over.as_str() == state)
    }

    /// Closes a double, or only notes it where a person has taken it up.
    async fn close_double(&mut self, double: &Row, kept: &Row) -> Result<(), Failure> {
        if self.noted.contains(&double.sys_id) {
            return Ok(());
        }
        let note = format!("This is a double of {}, opened by authwatch for the same cause.", kept.number);
        let states = &self.config.states;
        let untouched = double.state == states.new.as_str();
        let canceled = json!({ "work_notes": note, "state": states.canceled.as_str() });
        let resolved = json!({
            "work_notes": note,
            "state": states.resolved.as_str(),
            "close_code": "Duplicate",
            "close_notes": note,
        });
        let mut bodies = if untouched { vec![canceled, resolved] } else { vec![] };
        bodies.push(json!({ "work_notes": note }));
        for body in bodies {
            match self.client.change(&double.sys_id, &body).await {
                Ok(()) => {
                    // Where it stays open, the note must not be repeated with every later action.
                    if self.noted.len() >= REMEMBERED {
                        self.noted.clear();
                    }
                    self.noted.insert(double.sys_id.clone());
                    tracing::warn!(
                        sink = self.config.name,
                        double = double.number,
                        kept = kept.number,
                        "double ticket"
                    );
                    return Ok(());
                }
                Err(failed) => match failed.failure.reason {
                    Reason::Forbidden | Reason::Invalid | Reason::NotFound => {}
                    _ => return Err(failed.failure),
                },
            }
        }
        let detail = format!("{} is a double of {} and may not be closed by us", double.number, kept.number);
        self.troubles.insert("double", detail);
        Ok(())
    }
}
