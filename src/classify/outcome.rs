//! How it ended, and why not.

use super::evidence::{Ground, Source};
use super::tables::{Row, Tables};
use crate::decode::okta::LogEvent;
use crate::event::{Outcome, Reason};

/// Our reading of the outcome: the event type's where it has one, else Okta's word. A word that is not listed is
/// `unknown`.
pub(super) fn read<'t>(tables: &'t Tables, row: Row<'t>, event: &LogEvent<'_>) -> (Outcome, Ground<'t>) {
    if let Some(outcome) = row.outcome {
        return (outcome, row.ground);
    }
    let Some(word) = event.outcome.result.get().map(str::trim) else { return (Outcome::Unknown, Ground::NOTHING) };
    tables.outcomes.at(Source::Result, word).unwrap_or((Outcome::Unknown, Ground::from(Source::Result)))
}

/// Why it did not work. What the person answered counts first, then what the policy found, then Okta's text and code
/// where they are listed, then what the event type implies.
pub(super) fn reason<'t>(
    tables: &'t Tables,
    row: Row<'t>,
    event: &LogEvent<'_>,
    outcome: Outcome,
) -> (Reason, Ground<'t>) {
    if is_fine(outcome) {
        return (Reason::None, Ground::NOTHING);
    }
    let text = event.outcome.reason.get().map(str::trim).filter(|text| !text.is_empty());
    let implied = row.reason.filter(|_| outcome != Outcome::Unknown);
    let found = answered(tables, event)
        .or_else(|| evaluated(tables, event))
        .or_else(|| text.and_then(|text| listed(tables, text)))
        .or_else(|| tables.reasons.at(Source::LoginResult, event.debug_context.debug_data.login_result.get()?))
        .or_else(|| Some((implied?, row.ground)));
    match (found, outcome, text) {
        (Some(found), _, _) => found,
        (None, Outcome::RateLimited, _) => (Reason::RateLimited, Source::Outcome.into()),
        (None, _, Some(_)) => (Reason::Other, Source::ReasonText.into()),
        (None, _, None) => (Reason::None, Ground::NOTHING),
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

fn answered<'t>(tables: &'t Tables, event: &LogEvent<'_>) -> Option<(Reason, Ground<'t>)> {
    let data = &event.debug_context.debug_data;
    let push = data.push_response.get().and_then(|word| tables.push_responses.at(Source::PushResponse, word));
    push.or_else(|| tables.number_responses.at(Source::NumberResponse, data.number_response.get()?))
}

fn evaluated<'t>(tables: &'t Tables, event: &LogEvent<'_>) -> Option<(Reason, Ground<'t>)> {
    let mut words = event.target.iter().filter_map(|target| target.detail.sign_on_evaluation.get());
    words.find_map(|word| tables.sign_on_evaluations.at(Source::SignOnEvaluation, word))
}

fn listed<'t>(tables: &'t Tables, text: &str) -> Option<(Reason, Ground<'t>)> {
    let exact = tables.reasons.exact(text).map(|(word, reason)| (reason, Ground::word(Source::ReasonText, word)));
    exact.or_else(|| {
        let (prefix, row) = tables.reason_prefixes.iter().find(|(prefix, _)| text.starts_with(prefix.as_str()))?;
        Some((row.is, Ground::word(Source::ReasonPrefix, prefix)))
    })
}
