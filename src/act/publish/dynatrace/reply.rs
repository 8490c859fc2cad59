//! What Dynatrace says of the lines and events that it got. Pure.
//!
//! A count of lines that cannot be, and a line number beyond what was sent, are taken for what they are: nothing is
//! indexed that is not there.

use serde::Deserialize;

use super::super::queue::Batch;
use super::super::{Pushed, cut};

/// Refused lines of one answer that are named.
const NAMED: usize = 3;

/// Characters of one reason.
const REASON: usize = 120;

/// The answer about lines.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    lines_ok: usize,
    #[serde(default)]
    lines_invalid: usize,
    error: Option<Details>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    #[serde(default)]
    message: String,
    invalid_lines: Option<Vec<Line>>,
}

#[derive(Deserialize)]
struct Line {
    line: u64,
    #[serde(default)]
    error: String,
}

/// How many lines were taken, and what is wrong with the others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Taken {
    ok: usize,
    refused: usize,
    details: String,
}

/// Reads an answer; `None` where it does not say how many lines were taken.
pub(super) fn read(body: &[u8], batch: &Batch) -> Option<Taken> {
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let sent = batch.items.len();
    let named = answer.error.as_ref().and_then(|error| error.invalid_lines.as_ref()).map_or(0, Vec::len);
    let ok = answer.lines_ok.min(sent);
    let refused = answer.lines_invalid.max(named).min(sent - ok);
    let details = answer.error.map_or_else(String::new, |error| error.text(batch));
    Some(Taken { ok, refused, details })
}

impl Details {
    /// The first lines with what is wrong with them; else the message.
    fn text(self, batch: &Batch) -> String {
        let named = |line: &Line| {
            // Lines are counted from 1.
            let at = usize::try_from(line.line).ok().and_then(|line| line.checked_sub(1));
            let name = at.and_then(|at| batch.items.get(at)).map_or("a line", |item| item.name.as_str());
            format!("{name}: {}", cut(&line.error, REASON))
        };
        let lines: Vec<String> = self.invalid_lines.iter().flatten().take(NAMED).map(named).collect();
        if lines.is_empty() { cut(&self.message, REASON) } else { lines.join("; ") }
    }
}

impl Taken {
    /// What it means for a push: it is done with, whatever was refused.
    pub(super) fn pushed(self, who: &str) -> Pushed {
        let Self { ok, refused, details } = self;
        let trouble = format!("{who} took {ok} of {} lines: {details}", ok + refused);
        Pushed::Taken { refused, trouble: (refused > 0).then_some(trouble) }
    }
}

/// The status of an event that was not taken although the request was.
pub(super) fn refused_event(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        event_ingest_results: Vec<Result>,
    }
    #[derive(Deserialize)]
    struct Result {
        status: String,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let results = answer.event_ingest_results;
    if results.iter().any(|result| result.status == "OK") {
        return None;
    }
    results.into_iter().next().map(|result| cut(&result.status, REASON))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::item::{Item, Value as ItemValue};
    use super::*;
    use crate::event::Timestamp;

    fn batch() -> Batch {
        let item = |name: &str| Item { name: name.to_owned(), tags: vec![], value: ItemValue::Gauge(1.0) };
        Batch { at: Timestamp(0), seconds: 60, items: ["a", "b", "c"].map(item).into() }
    }

    #[track_caller]
    fn check(body: &Value, ok: usize, refused: usize, details: &str) {
        let taken = read(body.to_string().as_bytes(), &batch()).expect("an answer");
        assert_eq!(taken, Taken { ok, refused, details: details.to_owned() }, "{body}");
    }

    #[test]
    fn trap_a_line_number_beyond_what_was_sent_is_no_index() {
        let with = |line: u64| {
            let error = json!({ "code": 400, "message": "1 invalid lines", "invalidLines": [{ "line": line, "error": "bad" }] });
            json!({ "linesOk": 2, "linesInvalid": 1, "error": error })
        };
        check(&with(2), 2, 1, "b: bad");
        check(&with(0), 2, 1, "a line: bad");
        check(&with(4), 2, 1, "a line: bad");
        check(&with(u64::MAX), 2, 1, "a line: bad");
    }

    #[test]
    fn the_counts_are_taken_as_far_as_they_can_be_true() {
        check(&json!({ "linesOk": 3, "linesInvalid": 0, "error": null, "warnings": null }), 3, 0, "");
        check(&json!({ "linesOk": 999, "linesInvalid": 999 }), 3, 0, "");
        check(&json!({ "linesOk": 0, "linesInvalid": 3, "error": { "message": "all bad" } }), 0, 3, "all bad");
        check(&json!({ "linesOk": 1, "error": { "invalidLines": null } }), 1, 0, "");
        for body in ["", "{}", "[1]", "<html>", "{\"linesOk\":-1}", "{\"error\":{\"code\":400}}"] {
            assert_eq!(read(body.as_bytes(), &batch()), None, "{body}");
        }
    }

    #[test]
    fn an_event_is_refused_where_no_entity_took_it() {
        let of = |statuses: &[&str]| {
            let results: Vec<Value> = statuses.iter().map(|status| json!({ "status": status })).collect();
            refused_event(json!({ "reportCount": 1, "eventIngestResults": results }).to_string().as_bytes())
        };
        assert_eq!(of(&["OK"]), None);
        assert_eq!(of(&["INVALID_ENTITY_TYPE", "OK"]), None);
        assert_eq!(of(&["INVALID_TIMESTAMPS"]).as_deref(), Some("INVALID_TIMESTAMPS"));
        assert_eq!(of(&[]), None);
        assert_eq!(refused_event(b""), None);
    }
}
