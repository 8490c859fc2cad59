//! What each step of an incident means for a row, and when a person's hand on it changes that.

use serde_json::{Map, Value, json};

use super::lookup::Located;
use super::row::{self, Row};
use super::{GENERATIONS, Servicenow};
use crate::act::ledger::Ledger;
use crate::act::retry::{Failure, Reason};
use crate::act::{Done, Told};
use crate::action::{IncidentAction, IncidentStep};
use crate::store::LedgerEntry;

impl Servicenow {
    /// Carries out one step, given what the ledger says.
    pub(super) async fn change(
        &mut self,
        action: &IncidentAction,
        mut entry: LedgerEntry,
        ledger: &Ledger,
    ) -> Result<Done, Failure> {
        if entry.revision >= action.revision {
            return Ok(Done { entry, result: Told::Unchanged });
        }
        loop {
            let correlation = entry.remote_key.clone().unwrap_or_else(|| action.incident.key.to_string());
            let Located { row, adopted, gone, trusted } = self.locate(&entry, &correlation).await?;
            let reopens = action.step == IncidentStep::Reopen;
            let Some(row) = row else {
                if gone && reopens {
                    let number = entry.number.clone();
                    entry = follow(entry, action, number)?;
                    continue;
                }
                if gone {
                    // Someone deleted it or took it from us; a second ticket would be an answer nobody asked for.
                    tracing::warn!(
                        sink = self.config.name,
                        incident = correlation,
                        "our ticket is gone; nothing is told"
                    );
                    return Ok(Done { entry: LedgerEntry { human: true, ..entry }, result: Told::Gone });
                }
                if action.step == IncidentStep::Resolve {
                    return Ok(Done { entry, result: Told::NothingToResolve });
                }
                return self.create(action, entry, trusted, ledger).await;
            };
            // The revision is checked first: after a crash, a closed row may be the very one that was written.
            if reopens && self.is_final(&row.state) && row.revision() < action.revision {
                entry = follow(entry, action, Some(row.number))?;
                continue;
            }
            self.settling.remove(&correlation);
            return self.write(action, entry, &row, adopted).await;
        }
    }

    /// Writes one step to the row that it belongs to.
    async fn write(
        &mut self,
        action: &IncidentAction,
        entry: LedgerEntry,
        row: &Row,
        adopted: bool,
    ) -> Result<Done, Failure> {
        let entry = if adopted { self.adopt(entry, row, action) } else { entry };
        if row.revision() >= action.revision {
            return Ok(self.already(action, entry, row, adopted));
        }
        let touched = entry.remote_state.as_ref().is_some_and(|state| *state != row.state)
            || entry.remote_owner.as_ref().is_some_and(|owner| *owner != row.owner());
        if entry.human || touched {
            return self.note_only(action, LedgerEntry { human: true, ..entry }, row).await;
        }
        match action.step {
            IncidentStep::Open | IncidentStep::Update => self.update(action, entry, row, adopted).await,
            IncidentStep::Resolve if self.is_over(&row.state) => self.note_only(action, entry, row).await,
            IncidentStep::Resolve => self.resolve(action, entry, row).await,
            IncidentStep::Reopen if !self.is_over(&row.state) => self.update(action, entry, row, adopted).await,
            IncidentStep::Reopen if self.config.reopen => self.reopen(action, entry, row).await,
            IncidentStep::Reopen => self.note_only(action, entry, row).await,
        }
    }

    /// Takes up a row that the ledger did not know: what it shows is the base line. With an intent on record the row is
    /// the one we created; without one, our state was lost and an assignee counts as a person.
    fn adopt(&self, entry: LedgerEntry, row: &Row, action: &IncidentAction) -> LedgerEntry {
        let created_by_us = entry.post_intent.is_some() || entry.remote_id.is_some();
        let taken = row.state != self.config.states.new.as_str() || (!created_by_us && !row.assigned_to.is_empty());
        let mut adopted = LedgerEntry { human: taken, ..self.own(entry, row, action) };
        // The next update writes both, whatever the row shows.
        adopted.severity = None;
        adopted.title = String::new();
        adopted
    }

    /// The row has this revision: a crash came between the writing and the recording. Only the base line is in doubt.
    fn already(&self, action: &IncidentAction, entry: LedgerEntry, row: &Row, adopted: bool) -> Done {
        let target = self.target(action.step, entry.remote_state.as_deref());
        let as_left = entry.remote_state.as_ref() == Some(&row.state);
        let as_written = target.as_ref() == Some(&row.state);
        let result = match action.step {
            _ if adopted => Told::Adopted,
            IncidentStep::Open | IncidentStep::Update => Told::Unchanged,
            IncidentStep::Resolve if as_written => Told::Resolved,
            IncidentStep::Resolve => Told::ResolveRefused,
            IncidentStep::Reopen => Told::Reopened,
        };
        // An adopted row is past New because this very step was written to it, or because of a person.
        let human = if adopted { entry.human && !as_written } else { entry.human || !(as_left || as_written) };
        let remote_state = if human { entry.remote_state.clone() } else { Some(row.state.clone()) };
        let (title, severity) = (row::title(action), Some(action.incident.severity));
        Done { entry: LedgerEntry { human, remote_state, title, severity, ..entry }, result }
    }

    /// The state that a step writes, if it writes one.
    fn target(&self, step: IncidentStep, left: Option<&str>) -> Option<String> {
        match step {
            IncidentStep::Open | IncidentStep::Update => None,
            IncidentStep::Resolve => Some(self.config.resolve.state.as_str().to_owned()),
            IncidentStep::Reopen => {
                let was_over = left.is_none_or(|state| self.is_over(state));
                was_over.then(|| self.config.states.in_progress.as_str().to_owned())
            }
        }
    }

    /// What every full write carries: the text with its marker, and what changed beside it.
    fn text(&self, action: &IncidentAction, entry: &LedgerEntry) -> Map<String, Value> {
        let mut body = Map::new();
        body.insert("description".into(), json!(row::description(action, entry.previous.as_deref())));
        let title = row::title(action);
        if title != entry.title {
            body.insert("short_description".into(), json!(title));
        }
        if entry.severity != Some(action.incident.severity) {
            let impact = self.config.severity.of(action.incident.severity);
            body.insert("impact".into(), json!(impact.impact.to_string()));
            body.insert("urgency".into(), json!(impact.urgency.to_string()));
        }
        if !action.note.is_empty() {
            body.insert("work_notes".into(), json!(row::note(&action.note)));
        }
        body
    }

    async fn update(
        &mut self,
        action: &IncidentAction,
        entry: LedgerEntry,
        row: &Row,
        adopted: bool,
    ) -> Result<Done, Failure> {
        let body = self.text(action, &entry);
        self.client.change(&row.sys_id, &Value::Object(body)).await?;
        Ok(Done { entry: written(entry, action), result: if adopted { Told::Adopted } else { Told::Updated } })
    }

    async fn resolve(&mut self, action: &IncidentAction, entry: LedgerEntry, row: &Row) -> Result<Done, Failure> {
        let state = self.config.resolve.state.as_str().to_owned();
        let mut body = self.text(action, &entry);
        body.insert("state".into(), json!(state));
        body.insert("close_code".into(), json!(self.config.resolve.close_code));
        body.insert("close_notes".into(), json!(row::close_notes(&self.config, action)));
        match self.client.change(&row.sys_id, &Value::Object(body)).await {
            Ok(()) => {
                self.troubles.remove("resolve");
                let entry = LedgerEntry { remote_state: Some(state), ..written(entry, action) };
                Ok(Done { entry, result: Told::Resolved })
            }
            Err(failed) if matches!(failed.failure.reason, Reason::Forbidden | Reason::Invalid) => {
                self.leave_open(action, entry, row, &failed.failure).await
            }
            Err(failed) => Err(failed.failure),
        }
    }

    /// The instance does not let us resolve: says in the ticket that it is over, and leaves it open for a person.
    async fn leave_open(
        &mut self,
        action: &IncidentAction,
        entry: LedgerEntry,
        row: &Row,
        failure: &Failure,
    ) -> Result<Done, Failure> {
        let mut body = self.text(action, &entry);
        let note = format!("Over, says authwatch, which may not resolve this incident itself. {}", action.note);
        body.insert("work_notes".into(), json!(row::note(note.trim_end())));
        self.client.change(&row.sys_id, &Value::Object(body)).await?;
        let detail = format!(
            "{} is over but stays open: {} (check `resolve.state` and `resolve.close_code`)",
            row.number, failure.detail
        );
        self.troubles.insert("resolve", detail);
        Ok(Done { entry: written(entry, action), result: Told::ResolveRefused })
    }

    async fn reopen(&mut self, action: &IncidentAction, entry: LedgerEntry, row: &Row) -> Result<Done, Failure> {
        let state = self.config.states.in_progress.as_str().to_owned();
        let mut body = self.text(action, &entry);
        body.insert("state".into(), json!(state));
        self.client.change(&row.sys_id, &Value::Object(body)).await?;
        let entry = LedgerEntry { remote_state: Some(state), ..written(entry, action) };
        Ok(Done { entry, result: Told::Reopened })
    }

    /// A person has the ticket, or it stays as it is by configuration: a work note and nothing else.
    async fn note_only(&mut self, action: &IncidentAction, entry: LedgerEntry, row: &Row) -> Result<Done, Failure> {
        let note = match (action.note.is_empty(), action.step) {
            (false, _) => row::note(&action.note),
            (true, IncidentStep::Update) => return Ok(Done { entry, result: Told::Unchanged }),
            (true, IncidentStep::Open) => "authwatch sees this incident.".to_owned(),
            (true, IncidentStep::Resolve) => "Over, says authwatch.".to_owned(),
            (true, IncidentStep::Reopen) => "It came back, says authwatch.".to_owned(),
        };
        match self.client.change(&row.sys_id, &json!({ "work_notes": note })).await {
            Ok(()) => Ok(Done { entry, result: Told::Noted }),
            // A closed row usually takes no notes, and nobody waits for one there.
            Err(failed) if failed.failure.reason == Reason::Forbidden && self.is_over(&row.state) => {
                tracing::warn!(sink = self.config.name, number = row.number, "the closed ticket takes no notes");
                Ok(Done { entry, result: Told::NoteRefused })
            }
            Err(failed) => Err(failed.failure),
        }
    }
}

/// The entry after a full write.
fn written(entry: LedgerEntry, action: &IncidentAction) -> LedgerEntry {
    LedgerEntry { title: row::title(action), severity: Some(action.incident.severity), ..entry }
}

/// The entry for a ticket that follows a closed one. Nothing is created here: the look-up comes first again.
fn follow(entry: LedgerEntry, action: &IncidentAction, previous: Option<String>) -> Result<LedgerEntry, Failure> {
    let generation = entry.generation.max(1) + 1;
    if generation > GENERATIONS {
        let detail = format!("an incident was closed {GENERATIONS} times and came back; no further ticket is opened");
        return Err(Failure::give_up(Reason::Invalid, detail));
    }
    Ok(LedgerEntry {
        revision: entry.revision,
        generation,
        remote_key: Some(format!("{}-{generation}", action.incident.key)),
        previous,
        ..LedgerEntry::default()
    })
}
