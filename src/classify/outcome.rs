//! How it ended, and why not.

use super::tables::{Tables, TypeRow};
use crate::decode::okta::LogEvent;
use crate::event::{Outcome, Reason};

/// Our reading of the outcome: the event type's where it has one, else Okta's word. A word that is not listed is
/// `unknown`.
pub(super) fn read(tables: &Tables, row: &TypeRow, event: &LogEvent<'_>) -> Outcome {
    row.outcome.unwrap_or_else(|| {
        let word = event.outcome.result.get();
        word.and_then(|word| tables.outcomes.get(word.trim())).unwrap_or(Outcome::Unknown)
    })
}

/// Why it did not work. What the person answered counts first, then what the policy found, then Okta's text where it is
/// listed, then what the event type implies.
pub(super) fn reason(tables: &Tables, row: &TypeRow, event: &LogEvent<'_>, outcome: Outcome) -> Reason {
    if is_fine(outcome) {
        return Reason::None;
    }
    let text = event.outcome.reason.get().map(str::trim).filter(|text| !text.is_empty());
    let found = answered(tables, event)
        .or_else(|| evaluated(tables, event))
        .or_else(|| text.and_then(|text| listed(tables, text)))
        .or(row.reason.filter(|_| outcome != Outcome::Unknown));
    match (found, outcome, text) {
        (Some(reason), _, _) => reason,
        (None, Outcome::RateLimited, _) => Reason::RateLimited,
        (None, _, Some(_)) => Reason::Other,
        (None, _, None) => Reason::None,
    }
}

/// Whether nothing went wrong, so that a text beside it gives no reason.
fn is_fine(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Success
        | Outcome::Allow
        | Outcome::Challenge
        | Outcome::Skipped
        | Outcome::Deferred
        | Outcome::Scheduled => true,
        Outcome::Failure
        | Outcome::Deny
        | Outcome::Abandoned
        | Outcome::Unanswered
        | Outcome::RateLimited
        | Outcome::Unknown => false,
    }
}

fn answered(tables: &Tables, event: &LogEvent<'_>) -> Option<Reason> {
    let data = &event.debug_context.debug_data;
    let push = data.push_response.get().and_then(|word| tables.push_responses.get(word));
    push.or_else(|| data.number_response.get().and_then(|word| tables.number_responses.get(word)))
}

fn evaluated(tables: &Tables, event: &LogEvent<'_>) -> Option<Reason> {
    event
        .target
        .iter()
        .filter_map(|target| target.detail.sign_on_evaluation.get())
        .find_map(|word| tables.sign_on_evaluations.get(word))
}

fn listed(tables: &Tables, text: &str) -> Option<Reason> {
    tables.reasons.exact(text).or_else(|| {
        let prefix = tables.reason_prefixes.iter().find(|(prefix, _)| text.starts_with(prefix.as_str()));
        prefix.map(|(_, reason)| *reason)
    })
}
