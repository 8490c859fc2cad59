//! What to do next of what waits: in order per incident, one job at a time, with updates that nobody has seen yet
//! folded into one. Pure.
//!
//! An opening always comes before its resolution. Steps that change the state of a ticket are never folded into one
//! another, so an incident that opened, resolved and reopened while a sink was away goes through all three.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::action::{Action, IncidentAction, IncidentStep};

/// Notes of folded updates that are kept, the newest ones.
const NOTES: usize = 8;

/// The next job of one incident.
#[derive(Clone, PartialEq, Debug)]
pub struct Job {
    /// The outbox rows that it carries out.
    pub sequences: Vec<u64>,
    /// The action, with the newest text of the folded rows.
    pub action: IncidentAction,
}

impl Job {
    /// The incident.
    pub fn key(&self) -> &SmolStr {
        &self.action.incident.key
    }
}

/// The first job of each incident, in outbox order.
pub fn jobs(rows: Vec<(u64, Action)>) -> Vec<Job> {
    let mut by_key: BTreeMap<SmolStr, Vec<(u64, IncidentAction)>> = BTreeMap::new();
    for (sequence, Action::Incident(action)) in rows {
        by_key.entry(action.incident.key.clone()).or_default().push((sequence, *action));
    }
    let mut jobs: Vec<Job> = by_key.into_values().filter_map(first).collect();
    jobs.sort_by_key(|job| job.sequences.first().copied());
    jobs
}

fn first(rows: Vec<(u64, IncidentAction)>) -> Option<Job> {
    let mut rows = rows.into_iter().peekable();
    let (sequence, mut action) = rows.next()?;
    let mut sequences = vec![sequence];
    let mut notes = vec![std::mem::take(&mut action.note)];
    let takes_updates = match action.step {
        IncidentStep::Open | IncidentStep::Update | IncidentStep::Reopen => true,
        IncidentStep::Resolve => false,
    };
    while let Some((sequence, update)) = rows.next_if(|(_, next)| takes_updates && next.step == IncidentStep::Update) {
        sequences.push(sequence);
        notes.push(update.note.clone());
        action = IncidentAction { step: action.step, ..update };
    }
    notes.retain(|note| !note.is_empty());
    action.note = notes[notes.len().saturating_sub(NOTES)..].join("\n");
    Some(Job { sequences, action })
}

#[cfg(test)]
pub(super) mod testing {
    //! An action for unit tests of this room.

    use super::{IncidentAction, IncidentStep};
    use crate::action::{Evidence, Incident, Severity};
    use crate::event::{Org, Timestamp};

    /// An action with a text and a note that name its revision.
    pub(in crate::act) fn action(key: &str, revision: u32, step: IncidentStep) -> IncidentAction {
        let at = Timestamp(0);
        let incident = Incident {
            key: key.into(),
            org: Org::new("acme"),
            rule: "deny_spike".into(),
            severity: Severity::Page,
            onset: at,
            opened_at: at,
            resolved_at: None,
            title: String::new(),
            people: u64::from(revision),
            series: vec![],
            checks: vec![],
            notified: true,
            suspects: vec![],
            evidence: Evidence::default(),
        };
        let (description, note) = (format!("text {revision}"), format!("note {revision}"));
        IncidentAction { step, at, revision, incident, description, note }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use IncidentStep::{Open, Reopen, Resolve, Update};

    fn action(key: &str, revision: u32, step: IncidentStep) -> Action {
        Action::Incident(Box::new(testing::action(key, revision, step)))
    }

    /// Rows as (key, step); the sequence and the revision are the place in the list.
    #[track_caller]
    fn check(rows: &[(&str, IncidentStep)], expect: &[(&str, IncidentStep, &[u64], &str)]) {
        let rows = (1..).zip(rows).map(|(n, (key, step))| (u64::from(n), action(key, n, *step))).collect();
        let got = jobs(rows);
        let got: Vec<_> = got
            .iter()
            .map(|job| (job.key().as_str(), job.action.step, job.sequences.as_slice(), job.action.note.as_str()))
            .collect();
        assert_eq!(got, expect);
    }

    #[test]
    fn updates_fold_into_what_precedes_them_and_state_changes_do_not() {
        check(&[], &[]);
        check(&[("a", Open), ("a", Update), ("a", Update)], &[("a", Open, &[1, 2, 3], "note 1\nnote 2\nnote 3")]);
        check(&[("a", Open), ("a", Update), ("a", Resolve), ("a", Update)], &[("a", Open, &[1, 2], "note 1\nnote 2")]);
        check(&[("a", Resolve), ("a", Update)], &[("a", Resolve, &[1], "note 1")]);
        check(&[("a", Resolve), ("a", Reopen), ("a", Update)], &[("a", Resolve, &[1], "note 1")]);
        check(&[("a", Reopen), ("a", Update), ("a", Resolve)], &[("a", Reopen, &[1, 2], "note 1\nnote 2")]);
        check(&[("a", Update), ("a", Open)], &[("a", Update, &[1], "note 1")]);
    }

    #[test]
    fn each_incident_has_its_own_first_job_in_outbox_order() {
        check(
            &[("z", Open), ("a", Open), ("z", Update), ("a", Resolve)],
            &[("z", Open, &[1, 3], "note 1\nnote 3"), ("a", Open, &[2], "note 2")],
        );
    }

    #[test]
    fn a_folded_job_has_the_newest_text_revision_and_at_most_eight_notes() {
        let rows = (1..=20).map(|n| (u64::from(n), action("a", n, if n == 1 { Open } else { Update }))).collect();
        let job = jobs(rows).remove(0);
        assert_eq!(
            (job.action.revision, job.action.description.as_str(), job.action.incident.people),
            (20, "text 20", 20)
        );
        assert_eq!(job.action.note.lines().count(), NOTES);
        assert!(job.action.note.ends_with("note 20"));
        assert_eq!(job.sequences.len(), 20);
    }
}
