//! `authwatch explain`: what each record of a log means, and why a record is no event.
//!
//! One line per event and per reject, in the order of the records: NDJSON for scripts, or a sentence for people. It
//! fetches nothing and keeps nothing. `--redact` takes out what could identify an app, a rule or a flow, so that the
//! output can be shown to others; people are in no line anyway. `--unknown` lists the event types that the tables do
//! not list.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use super::{Exit, Failure, Outcome};
use crate::app::parts;
use crate::classify::Reader;
use crate::config::{Config, Environment};
use crate::event::{
    self, AuthEvent, Credential, Kind, Platform, PostureCheck, PostureSource, Reason, Reject, Timestamp,
};

use crate::source::file::{Body, Records};

/// Event types kept by `--unknown`; more are counted together.
const UNKNOWN_TYPES: usize = 10_000;

/// Arguments of `explain`.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct ExplainArgs {
    /// Files of records (NDJSON or JSON arrays); `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The org's label and the rules from this configuration instead of the defaults.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
    /// Take out ids and names of apps, rules and flows.
    #[arg(long)]
    pub redact: bool,
    /// Only list the event types that the tables do not list, with their counts.
    #[arg(long)]
    pub unknown: bool,
}

/// What to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mode {
    /// NDJSON in place of text.
    pub json: bool,
    /// Without ids and names.
    pub redact: bool,
    /// Unlisted event types in place of records.
    pub unknown: bool,
}

impl From<&ExplainArgs> for Mode {
    fn from(args: &ExplainArgs) -> Self {
        Self { json: args.json, redact: args.redact, unknown: args.unknown }
    }
}

/// One line of `explain --json`. Of a reject only `org` and `reject` say something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Explain {
    /// As written.
    pub uuid: Option<String>,
    /// The org's label.
    pub org: String,
    /// When it happened.
    pub published: Option<Timestamp>,
    /// Okta's `eventType`.
    pub event_type: Option<String>,
    /// What it is about.
    pub kind: Option<Kind>,
    /// With what the person signed in.
    pub credential: Option<Credential>,
    /// Whether that was phishing-resistant.
    pub phishing_resistant: Option<bool>,
    /// Our reading.
    pub outcome: Option<event::Outcome>,
    /// Okta's word.
    pub okta_outcome: Option<String>,
    /// Why not.
    pub reason: Option<Reason>,
    /// What the device's state has to do with it.
    pub posture: Posture,
    /// The device's platform.
    pub platform: Option<Platform>,
    /// The app's id, else its name.
    pub app: Option<String>,
    /// The rule's id, else its name.
    pub rule: Option<String>,
    /// The flow.
    pub attempt: Option<String>,
    /// Why the record is no event.
    pub reject: Option<Reject>,
}

/// The posture part of a line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Posture {
    /// What it rests on; `none` where no policy was evaluated.
    pub source: PostureSource,
    /// The policy evaluated.
    pub policy: Option<String>,
    /// Checks that fail.
    pub fail: Vec<PostureCheck>,
    /// Checks that cannot be told.
    pub unknown: Vec<PostureCheck>,
    /// Every check with its numbers.
    pub checks: Vec<Check>,
}

/// One posture check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Check {
    /// Which.
    pub check: PostureCheck,
    /// What of it, for example `minimum`.
    pub detail: String,
    /// What the policy asks for.
    pub required: String,
    /// What the device said.
    pub actual: Option<String>,
    /// `pass`, `fail` or `unknown`.
    pub result: String,
}

impl Posture {
    const NONE: Self =
        Self { source: PostureSource::None, policy: None, fail: Vec::new(), unknown: Vec::new(), checks: Vec::new() };
}

impl Explain {
    fn event(event: AuthEvent) -> Self {
        let written = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self {
            uuid: written(&event.uuid),
            org: event.org.as_str().to_owned(),
            published: Some(event.published),
            event_type: Some(event.event_type.to_string()),
            kind: Some(event.kind),
            credential: Some(event.credential),
            phishing_resistant: event.phishing_resistant,
            outcome: Some(event.outcome),
            okta_outcome: written(&event.okta_outcome),
            reason: Some(event.reason),
            posture: Posture::NONE,
            platform: Some(event.platform),
            app: event.app.and_then(|app| written(&app.id).or_else(|| written(&app.name))),
            rule: event.rule.and_then(|rule| written(&rule.id).or_else(|| written(&rule.name))),
            attempt: event.flow.map(|flow| flow.as_str().to_owned()),
            reject: None,
        }
    }

    fn reject(org: &str, reject: Reject) -> Self {
        Self {
            uuid: None,
            org: org.to_owned(),
            published: None,
            event_type: None,
            kind: None,
            credential: None,
            phishing_resistant: None,
            outcome: None,
            okta_outcome: None,
            reason: None,
            posture: Posture::NONE,
            platform: None,
            app: None,
            rule: None,
            attempt: None,
            reject: Some(reject),
        }
    }

    /// Takes out what identifies: ids become a hash that still tells them apart, names are dropped.
    fn redact(&mut self) {
        for (label, slot) in [("app", &mut self.app), ("rule", &mut self.rule), ("attempt", &mut self.attempt)] {
            if let Some(text) = slot.take() {
                *slot = Some(redacted(label, &text));
            }
        }
    }
}

/// A hash of a random id cannot be turned back; one of a name could be guessed, so a name leaves only its place.
fn redacted(label: &str, text: &str) -> String {
    const ID_LENGTHS: std::ops::RangeInclusive<usize> = 18..=64;
    let is_id = ID_LENGTHS.contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_@".contains(&byte))
        && text.bytes().any(|byte| byte.is_ascii_digit());
    if is_id { format!("{label}-{:016x}", xxh3_64(text.as_bytes())) } else { label.to_owned() }
}

/// What one record means: a line for each event in it, and for each reject.
pub fn lines(reader: &Reader, record: &[u8]) -> Vec<Explain> {
    let mut lines = Vec::new();
    reader.read_record(record, &mut |read| {
        lines.push(match read {
            Ok(event) => Explain::event(event),
            Err(reject) => Explain::reject(reader.org.as_str(), reject),
        });
    });
    lines
}

/// A line for people.
pub fn text(line: &Explain) -> String {
    if let Some(reject) = line.reject {
        return format!("rejected: {reject}");
    }
    let word = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let mut out = format!(
        "{}  {}  {} {}",
        line.published.map_or_else(|| "-".to_owned(), |time| time.to_string()),
        word(line.event_type.as_deref()),
        word(line.kind.map(Kind::as_str)),
        word(line.outcome.map(event::Outcome::as_str)),
    );
    if line.okta_outcome.as_deref().is_some_and(|okta| !same_word(okta, line.outcome)) {
        out.push_str(&format!(" (Okta wrote {})", word(line.okta_outcome.as_deref())));
    }
    let resistant = match line.phishing_resistant {
        Some(true) => Some("phishing-resistant".to_owned()),
        Some(false) => Some("phishable".to_owned()),
        None => None,
    };
    let parts = [
        line.reason.filter(|reason| *reason != Reason::None).map(|reason| format!("because of {reason}")),
        line.credential.filter(|one| *one != Credential::None).map(|credential| format!("with {credential}")),
        resistant,
        line.platform.filter(|one| *one != Platform::Unknown).map(|platform| format!("on {platform}")),
        line.app.as_ref().map(|app| format!("app {app}")),
        line.rule.as_ref().map(|rule| format!("rule {rule}")),
        line.attempt.as_ref().map(|flow| format!("attempt {flow}")),
    ];
    for part in parts.into_iter().flatten() {
        out.push_str(", ");
        out.push_str(&part);
    }
    out
}

fn same_word(okta: &str, outcome: Option<event::Outcome>) -> bool {
    outcome.is_some_and(|outcome| {
        okta.eq_ignore_ascii_case(outcome.as_str())
            || (outcome == event::Outcome::RateLimited && okta.eq_ignore_ascii_case("RATE_LIMIT"))
    })
}

/// Writes what every record means.
///
/// # Errors
/// The records cannot be read, or the output cannot be written.
pub fn write(
    reader: &Reader,
    records: &mut dyn FnMut() -> anyhow::Result<Option<Vec<u8>>>,
    mode: Mode,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut unknown = Unknown::default();
    while let Some(record) = records()? {
        for mut line in lines(reader, &record) {
            if mode.unknown {
                unknown.count(reader, &line);
                continue;
            }
            if mode.redact {
                line.redact();
            }
            if mode.json {
                serde_json::to_writer(&mut *out, &line)?;
                out.write_all(b"\n")?;
            } else {
                writeln!(out, "{}", text(&line))?;
            }
        }
    }
    if mode.unknown {
        unknown.write(mode, out)?;
    }
    Ok(out.flush()?)
}

/// Runs the command over the records of its files, in order.
///
/// # Errors
/// As [`write`], and where the configuration or a file is invalid.
pub fn run(args: &ExplainArgs, environment: &Environment) -> Outcome {
    let config = args.config.as_deref().map(|path| Config::load(path, environment));
    let config = config.transpose().map_err(Failure::invalid)?;
    let org = config.as_ref().map_or_else(|| event::Org::new("local"), |config| config.org.clone());
    let rules = config.as_ref().and_then(|config| config.rules.as_deref());
    let tables = parts::tables(rules).map_err(Failure::invalid)?;
    let reader = Reader::new(org, Arc::new(tables));
    let mut files = Records::open(&args.files)?;
    let mut records = || {
        let record = files.next()?;
        Ok(record.map(|record| match record.body {
            Body::Whole(bytes) => bytes.to_vec(),
            // Longer than any record may be: rejected for its size, as it would be in whole.
            Body::TooLarge => vec![b' '; crate::decode::RECORD_BYTES + 1],
        }))
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match write(&reader, &mut records, Mode::from(args), &mut out) {
        Err(error) if is_closed_pipe(&error) => Ok(Exit::Good),
        written => {
            written?;
            Ok(Exit::Good)
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The event types that the tables do not list.
#[derive(Default)]
struct Unknown {
    counts: BTreeMap<String, u64>,
    more: u64,
}

#[derive(Serialize)]
struct UnknownLine<'a> {
    event_type: Option<&'a str>,
    count: u64,
}

impl Unknown {
    fn count(&mut self, reader: &Reader, line: &Explain) {
        let Some(event_type) = line.event_type.as_deref().filter(|name| !reader.tables.lists(name)) else { return };
        if let Some(count) = self.counts.get_mut(event_type) {
            *count += 1;
        } else if self.counts.len() < UNKNOWN_TYPES {
            self.counts.insert(event_type.to_owned(), 1);
        } else {
            self.more += 1;
        }
    }

    fn write(&self, mode: Mode, out: &mut dyn Write) -> anyhow::Result<()> {
        let mut rows: Vec<_> = self.counts.iter().map(|(name, count)| (Some(name.as_str()), *count)).collect();
        rows.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        if self.more > 0 {
            rows.push((None, self.more));
        }
        for (event_type, count) in rows {
            if mode.json {
                serde_json::to_writer(&mut *out, &UnknownLine { event_type, count })?;
                out.write_all(b"\n")?;
            } else {
                writeln!(out, "{count:>8}  {}", event_type.unwrap_or("(further types)"))?;
            }
        }
        Ok(())
    }
}
