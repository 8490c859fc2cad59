//! `authwatch explain`: what each record of a log means, and why a record is no event.
//!
//! One line per event and per reject, in the order of the records: NDJSON for scripts, or a sentence for people. It
//! fetches nothing and keeps nothing. `--redact` writes the records themselves in their place, as such that can be shown
//! to others ([`redact`]). `--unknown` lists the event types that the tables do not list.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::redact::Redactor;
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
    /// Write the records themselves, one JSON a line, so that they can be shown to others: same shapes and relations,
    /// stand-ins for every id, name and address, nothing that is not known to tell of nobody. What `explain` says of
    /// them stays the same. Records that are no JSON are left out and counted on stderr; stand-ins differ from run to
    /// run.
    #[arg(long, conflicts_with = "unknown")]
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
    /// Unlisted event types in place of records.
    pub unknown: bool,
}

impl From<&ExplainArgs> for Mode {
    fn from(args: &ExplainArgs) -> Self {
        Self { json: args.json, unknown: args.unknown }
    }
}

/// One line of `explain --json`. Of a reject only `org` and `reject` say something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Explain {
    /// As written.
    pub uuid: Option<String>,
    /// The org's label.
    pub org: String,
    /// When it happened; null where the record does not say.
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
            published: event.published,
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
        for line in lines(reader, &record) {
            if mode.unknown {
                unknown.count(reader, &line);
                continue;
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

/// Writes every record redacted, one a line. Returns how many were left out because they are no JSON.
///
/// # Errors
/// As [`write()`].
pub fn write_redacted(
    redactor: &mut Redactor,
    records: &mut dyn FnMut() -> anyhow::Result<Option<Vec<u8>>>,
    out: &mut dyn Write,
) -> anyhow::Result<u64> {
    let mut dropped = 0;
    while let Some(record) = records()? {
        let Some(redacted) = redactor.record(&record) else {
            dropped += 1;
            continue;
        };
        serde_json::to_writer(&mut *out, &redacted)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(dropped)
}

/// Runs the command over the records of its files, in order.
///
/// # Errors
/// As [`write()`], and where the configuration or a file is invalid.
pub fn run(args: &ExplainArgs, environment: &Environment) -> Outcome {
    let config = args.config.as_deref().map(|path| Config::load(path, environment));
    let config = config.transpose().map_err(Failure::invalid)?;
    let org = config.as_ref().map_or_else(|| event::Org::new("local"), |config| config.org.clone());
    let rules = config.as_ref().and_then(|config| config.rules.as_deref());
    let tables = parts::tables(rules).map_err(Failure::invalid)?;
    let tables = Arc::new(tables);
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
    let written = if args.redact {
        let dropped = write_redacted(&mut Redactor::new(tables, rand::random()), &mut records, &mut out);
        dropped.map(|dropped| {
            if dropped > 0 {
                eprintln!("left out: {dropped} records that are no JSON, or longer than 1 MiB");
            }
        })
    } else {
        write(&Reader::new(org, tables), &mut records, Mode::from(args), &mut out)
    };
    match written {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clap::Parser;

    use super::*;
    use crate::classify::Tables;
    use crate::event::Org;

    const DENY: &str = r#"{"uuid":"u1","published":"2026-03-02T09:00:00Z","eventType":"policy.evaluate_sign_on",
        "outcome":{"result":"DENY"},"device":{"os_platform":"OSX"},
        "debugContext":{"debugData":{"authnRequestId":"req1qw2er3ty4ui5op6as7df","factor":"SIGNED_NONCE"}},
        "target":[{"id":"0oa1qw2er3ty4ui5op6a","type":"AppInstance","displayName":"Payroll"},
                  {"type":"Rule","displayName":"Catch-all Rule"}]}"#;

    fn reader() -> Reader {
        Reader::new(Org::new("acme"), Arc::new(Tables::embedded()))
    }

    fn written(records: &[&str], mode: Mode) -> String {
        let mut records = records.iter();
        let mut out = Vec::new();
        let mut next = || Ok(records.next().map(|record| record.as_bytes().to_vec()));
        write(&reader(), &mut next, mode, &mut out).expect("written");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn json_has_the_fields_of_the_contract_in_their_order() {
        let json = Mode { json: true, ..Mode::default() };
        assert_eq!(
            written(&[DENY], json),
            concat!(
                r#"{"uuid":"u1","org":"acme","published":"2026-03-02T09:00:00.000Z","event_type":"policy.evaluate_sign_on","#,
                r#""kind":"policy_evaluation","credential":"fastpass","phishing_resistant":true,"outcome":"deny","#,
                r#""okta_outcome":"DENY","reason":"policy_denied","#,
                r#""posture":{"source":"none","policy":null,"fail":[],"unknown":[],"checks":[]},"platform":"macos","#,
                r#""app":"0oa1qw2er3ty4ui5op6a","rule":"Catch-all Rule","attempt":"req1qw2er3ty4ui5op6as7df","reject":null}"#,
                "\n"
            )
        );
    }

    #[test]
    fn an_event_without_a_time_says_so() {
        let undated = DENY.replace("2026-03-02T09:00:00Z", "redacted");
        let json = Mode { json: true, ..Mode::default() };
        let line = written(&[&undated], json);
        assert!(line.starts_with(r#"{"uuid":"u1","org":"acme","published":null,"event_type":"policy.eval"#), "{line}");
        assert!(line.ends_with("\"reject\":null}\n"), "{line}");
        let text = written(&[&undated], Mode::default());
        assert!(text.starts_with("-  policy.evaluate_sign_on  policy_evaluation deny"), "{text}");
    }

    #[test]
    fn a_reject_has_the_same_fields_and_says_only_why() {
        let json = Mode { json: true, ..Mode::default() };
        assert_eq!(
            written(&["{}"], json),
            concat!(
                r#"{"uuid":null,"org":"acme","published":null,"event_type":null,"kind":null,"credential":null,"#,
                r#""phishing_resistant":null,"outcome":null,"okta_outcome":null,"reason":null,"#,
                r#""posture":{"source":"none","policy":null,"fail":[],"unknown":[],"checks":[]},"platform":null,"#,
                r#""app":null,"rule":null,"attempt":null,"reject":"no_event_type"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn text_is_a_sentence_for_people() {
        let records = [
            DENY,
            "{}",
            r#"{"published":"2026-03-02T09:00:00Z","eventType":"application.policy.sign_on.deny_access","outcome":{"result":"SUCCESS"}}"#,
        ];
        assert_eq!(
            written(&records, Mode::default()),
            "2026-03-02T09:00:00.000Z  policy.evaluate_sign_on  policy_evaluation deny, because of policy_denied, with \
             fastpass, phishing-resistant, on macos, app 0oa1qw2er3ty4ui5op6a, rule Catch-all Rule, attempt \
             req1qw2er3ty4ui5op6as7df\n\
             rejected: no_event_type\n\
             2026-03-02T09:00:00.000Z  application.policy.sign_on.deny_access  access_denied deny (Okta wrote SUCCESS), \
             because of policy_denied\n"
        );
    }

    #[test]
    fn redaction_writes_records_and_counts_what_is_none() {
        let mut redactor = Redactor::new(Arc::new(Tables::embedded()), [7; 32]);
        let mut records = [DENY, "{", "[]"].into_iter();
        let mut out = Vec::new();
        let mut next = || Ok(records.next().map(|record| record.as_bytes().to_vec()));
        assert_eq!(write_redacted(&mut redactor, &mut next, &mut out).expect("written"), 1);
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text.lines().count(), 2, "{text}");
        let first = text.lines().next().unwrap_or_default();
        let (before, after) = (lines(&reader(), DENY.as_bytes()), lines(&reader(), first.as_bytes()));
        assert_eq!((after[0].reason, after[0].credential), (before[0].reason, before[0].credential));
        for secret in ["0oa1qw2er3ty4ui5op6a", "req1qw2er3ty4ui5op6as7df", "Payroll"] {
            assert!(!text.contains(secret), "{text}");
        }
    }

    #[test]
    fn unknown_types_are_counted_and_listed_ones_are_not() {
        let event = |kind: &str| format!(r#"{{"published":"2026-03-02T09:00:00Z","eventType":"{kind}"}}"#);
        let (rare, often) = (event("a.rare.type"), event("b.type"));
        let records = [DENY, &rare, &often, "{}", &often, &event("app.oauth2.token.revoke")];
        let unknown = Mode { unknown: true, ..Mode::default() };
        assert_eq!(written(&records, unknown), "       2  b.type\n       1  a.rare.type\n");
        let json = Mode { json: true, ..unknown };
        assert_eq!(
            written(&records, json),
            "{\"event_type\":\"b.type\",\"count\":2}\n{\"event_type\":\"a.rare.type\",\"count\":1}\n"
        );
    }

    #[test]
    fn more_unknown_types_than_the_limit_are_counted_together() {
        let reader = reader();
        let mut unknown = Unknown::default();
        for number in 0..UNKNOWN_TYPES + 3 {
            let record = format!(r#"{{"published":"2026-03-02T09:00:00Z","eventType":"x.{number}"}}"#);
            lines(&reader, record.as_bytes()).iter().for_each(|line| unknown.count(&reader, line));
        }
        assert_eq!((unknown.counts.len(), unknown.more), (UNKNOWN_TYPES, 3));
    }

    #[test]
    fn one_line_a_record_in_order_and_a_failing_source_stops() {
        let record = format!("[{DENY},{{}}]");
        let found = lines(&reader(), record.as_bytes());
        assert_eq!(found.iter().map(|line| line.reject).collect::<Vec<_>>(), [None, Some(Reject::NoEventType)]);
        let mut out = Vec::new();
        let failed = write(&reader(), &mut || anyhow::bail!("the disk is gone"), Mode::default(), &mut out);
        assert_eq!(failed.expect_err("an error").to_string(), "the disk is gone");
    }

    #[test]
    fn the_arguments_are_those_of_the_contract() {
        #[derive(Parser)]
        struct Cli {
            #[command(flatten)]
            args: ExplainArgs,
        }
        let cli = Cli::try_parse_from(["explain", "-", "a.ndjson", "--json", "--redact"]).expect("arguments");
        assert_eq!(cli.args.files, [PathBuf::from("-"), PathBuf::from("a.ndjson")]);
        assert_eq!(Mode::from(&cli.args), Mode { json: true, unknown: false });
        assert!(cli.args.redact);
        assert!(Cli::try_parse_from(["explain", "--json"]).is_err(), "a file is required");
        assert!(Cli::try_parse_from(["explain", "-", "--redact", "--unknown"]).is_err(), "one or the other");
    }
}
