//! Our readings beside those of others: what authors recorded for public events, where these are at hand; the tests say
//! so and pass where they are not.
//!
//! Where we differ on purpose, `tests/expectations/exceptions.json` names the record, both readings and why. A
//! difference that is not named fails, and so does a name that is not needed any more.

#![expect(clippy::expect_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use authwatch::classify::{Reader, Tables};
use authwatch::event::{AuthEvent, Org, Outcome, Reason};
use serde::Deserialize;
use serde_json::Value;

/// How much of what Elastic recorded we must read alike.
const ELASTIC_AGREEMENT: f64 = 0.98;

fn folder() -> Option<&'static Path> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/okta-events/dev"));
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no real events at {}", folder.display());
    None
}

/// One difference on purpose.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    /// Whose reading: `elastic`, `result` (Okta's own word) or `panther`.
    author: String,
    /// `file:line`.
    record: String,
    says: String,
    ours: String,
    why: String,
}

fn exceptions(author: &str) -> Vec<Exception> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/expectations/exceptions.json"));
    let mut all: Vec<Exception> = serde_json::from_str(&text.expect("the list")).expect("exceptions");
    assert!(all.iter().all(|exception| exception.why.len() > 20), "every exception says why");
    all.retain(|exception| exception.author == author);
    all
}

/// Readings of one author beside ours.
struct Comparison {
    exceptions: Vec<(Exception, bool)>,
    compared: usize,
    agreed: usize,
    unnamed: Vec<String>,
}

impl Comparison {
    fn with(author: &str) -> Self {
        let exceptions = exceptions(author).into_iter().map(|exception| (exception, false)).collect();
        Self { exceptions, compared: 0, agreed: 0, unnamed: Vec::new() }
    }

    fn compare(&mut self, record: &str, says: &str, ours: &str) {
        self.compared += 1;
        if says == ours {
            self.agreed += 1;
            return;
        }
        let named = self
            .exceptions
            .iter_mut()
            .find(|(exception, _)| exception.record == record && exception.says == says && exception.ours == ours);
        match named {
            Some((_, is_used)) => *is_used = true,
            None => self.unnamed.push(format!("{record}: they say {says}, we say {ours}")),
        }
    }

    /// Every difference is named, and every name is needed.
    #[track_caller]
    fn settle(self, at_least: usize) {
        assert_eq!(self.unnamed, Vec::<String>::new(), "differences that no exception names");
        let stale: Vec<_> = self.exceptions.iter().filter(|(_, is_used)| !is_used).collect();
        assert!(stale.is_empty(), "exceptions that do not apply any more: {stale:?}");
        assert!(self.compared >= at_least, "only {} compared", self.compared);
    }
}

/// The event of one line of a file.
fn events(folder: &Path, name: &str) -> BTreeMap<String, (Value, AuthEvent)> {
    let reader = Reader::new(Org::new("acme"), Arc::new(Tables::embedded()));
    let text = std::fs::read_to_string(folder.join(format!("{name}.ndjson"))).expect("a file");
    let mut all = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        reader.read_record(line.as_bytes(), &mut |read| {
            let record: Value = serde_json::from_str(line).expect("json");
            all.insert(format!("{name}:{}", index + 1), (record, read.expect("an event")));
        });
    }
    all
}

/// What the author of a file recorded: `file:line` and the expectation.
fn recorded(folder: &Path, name: &str) -> Vec<(String, Value)> {
    let text = std::fs::read_to_string(folder.join(format!("{name}.expected.ndjson"))).expect("expectations");
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("json"));
    rows.map(|row| (format!("{name}:{}", row["line"]), row["expected"].clone())).collect()
}

/// Our outcome in the three words that Elastic has.
fn in_three_words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success | Outcome::Allow => "success",
        Outcome::Failure | Outcome::Deny | Outcome::RateLimited => "failure",
        Outcome::Challenge
        | Outcome::Skipped
        | Outcome::Abandoned
        | Outcome::Unanswered
        | Outcome::Deferred
        | Outcome::Scheduled
        | Outcome::Unknown => "unknown",
    }
}

/// Okta's word in the same three.
fn word_in_three(word: Option<&str>) -> &'static str {
    match word {
        Some("SUCCESS" | "ALLOW") => "success",
        Some("FAILURE" | "DENY") => "failure",
        _ => "unknown",
    }
}

#[test]
fn outcomes_and_risks_agree_with_elastic() {
    let Some(folder) = folder() else { return };
    let events = events(folder, "elastic-integrations");
    let mut outcomes = Comparison::with("elastic");
    let mut risks = 0;
    for (record, expected) in recorded(folder, "elastic-integrations") {
        let event = &events[&record].1;
        if let Some(outcome) = expected["event"]["outcome"].as_str() {
            outcomes.compare(&record, outcome, in_three_words(event.outcome));
        } else if let Some(word) = expected["okta"]["outcome"]["result"].as_str() {
            outcomes.compare(&record, word_in_three(Some(word)), in_three_words(event.outcome));
        }
        if let Some(level) = expected["okta"]["debug_context"]["debug_data"]["risk_level"].as_str() {
            let ours = event.context.risk.expect("a risk").as_str();
            assert!(level.eq_ignore_ascii_case(ours), "{record}: they say {level}, we say {ours}");
            risks += 1;
        }
    }
    let (agreed, compared) = (outcomes.agreed, outcomes.compared);
    let share = f64::from(u32::try_from(agreed).expect("few")) / f64::from(u32::try_from(compared).expect("few"));
    assert!(share >= ELASTIC_AGREEMENT, "{agreed} of {compared}");
    outcomes.settle(12);
    assert!(risks >= 3, "{risks}");
}

#[test]
fn every_departure_from_oktas_own_word_is_named() {
    let Some(folder) = folder() else { return };
    let mut words = Comparison::with("result");
    let files = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").file_name());
    let names = files.filter_map(|file| Some(file.to_str()?.strip_suffix(".ndjson")?.to_owned()));
    for name in names.filter(|name| !name.ends_with(".expected")) {
        for (record, (text, event)) in events(folder, &name) {
            // A hook's event is inside its body; what it wrote is in the event itself.
            let word = text["outcome"]["result"].as_str().or(Some(event.okta_outcome.as_str()));
            words.compare(&record, word_in_three(word), in_three_words(event.outcome));
        }
    }
    words.settle(120);
}

#[test]
fn what_panther_alerts_on_as_phishing_or_denied_is_read_as_that() {
    let Some(folder) = folder() else { return };
    let events = events(folder, "panther-rules");
    let mut alerts = Comparison::with("panther");
    let (mut phishing, mut denied) = (0, 0);
    for (record, expected) in recorded(folder, "panther-rules") {
        if expected["rule_matches"] != true {
            continue;
        }
        let (text, event) = &events[&record];
        if text["outcome"]["reason"].as_str().is_some_and(|reason| reason.contains("phishing")) {
            alerts.compare(&record, Reason::PhishingDeclined.as_str(), event.reason.as_str());
            phishing += 1;
        }
        if text["outcome"]["result"] == "DENY" {
            alerts.compare(&record, Outcome::Deny.as_str(), event.outcome.as_str());
            denied += 1;
        }
    }
    assert_eq!((phishing, denied), (2, 3));
    alerts.settle(5);
}
