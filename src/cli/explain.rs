//! `authwatch explain`: what each record of a log means, and why a record is no event.
//!
//! One line per event and per reject, in the order of the records: NDJSON for scripts, or a sentence for people and,
//! below a policy's answer, what was required and what the device said. It fetches nothing and keeps nothing. `--redact` takes out what could identify an app, a rule or a flow, so that the
//! output can be shown to others; people are in no line anyway. `--unknown` lists the event types that the tables do
//! not list.

mod flows;
mod line;
mod text;
mod unknown;
mod wait;

use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

pub use line::{Explain, Posture};
pub use text::text;
pub use wait::{Expectation, WaitArgs};

use self::flows::{Flows, LOOK_AHEAD};
use self::unknown::Unknown;
use super::{Exit, Failure, Outcome};
use crate::app::parts;
use crate::classify::Reader;
use crate::config::{Config, Environment};
use crate::event::{self, AuthEvent};
use crate::input::Policies;
use crate::source::file::{Body, Records};

/// Arguments of `explain`.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct ExplainArgs {
    /// Files of records (NDJSON or JSON arrays); `-` is standard input.
    #[arg(required_unless_present = "url", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// A running daemon instead of files.
    #[command(flatten)]
    pub wait: WaitArgs,
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

/// What one record means: a line for each event in it, and for each reject.
pub fn lines(reader: &Reader, record: &[u8]) -> Vec<Explain> {
    let mut lines = Vec::new();
    reader.read_record(record, &mut |read| {
        lines.push(match read {
            Ok(event) => Explain::event(&event),
            Err(reject) => Explain::reject(reader.org.as_str(), reject),
        });
    });
    lines
}

/// Writes what every record means.
///
/// # Errors
/// The records cannot be read, or the output cannot be written.
pub fn write(
    reader: &Reader,
    policies: Option<Arc<Policies>>,
    records: &mut dyn FnMut() -> anyhow::Result<Option<Vec<u8>>>,
    mode: Mode,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    if mode.unknown {
        return write_unknown(reader, records, mode, out);
    }
    let mut flows = Flows::new(policies);
    let mut waiting: VecDeque<Read> = VecDeque::new();
    while let Some(record) = records()? {
        reader.read_record(&record, &mut |read| {
            if let Ok(event) = &read {
                flows.note(event);
            }
            waiting.push_back(read);
        });
        // Only what may still be explained by a neighbour holds up what comes after it.
        while waiting.len() > LOOK_AHEAD || waiting.front().is_some_and(|read| !is_open(read)) {
            let Some(read) = waiting.pop_front() else { break };
            write_one(reader, &flows, &read, mode, out)?;
        }
    }
    for read in &waiting {
        write_one(reader, &flows, read, mode, out)?;
    }
    Ok(out.flush()?)
}

/// One record as read.
type Read = Result<AuthEvent, event::Reject>;

fn is_open(read: &Read) -> bool {
    read.as_ref().is_ok_and(Flows::is_answer)
}

fn write_one(reader: &Reader, flows: &Flows, read: &Read, mode: Mode, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut line = match read {
        Ok(event) => Explain::event(event),
        Err(reject) => Explain::reject(reader.org.as_str(), *reject),
    };
    let evaluation = read.as_ref().ok().and_then(|event| flows.evaluate(event));
    if let Some(evaluation) = &evaluation {
        line.evaluated(evaluation);
    }
    if mode.redact {
        line.redact();
    }
    if mode.json {
        serde_json::to_writer(&mut *out, &line)?;
        return Ok(out.write_all(b"\n")?);
    }
    writeln!(out, "{}", text(&line))?;
    if let Some(evaluation) = evaluation.filter(|_| !mode.redact) {
        let rule = read.as_ref().ok().and_then(|event| event.rule.as_ref()).map(|rule| rule.name.as_str());
        out.write_all(text::posture(&evaluation, rule).as_bytes())?;
    }
    Ok(())
}

fn write_unknown(
    reader: &Reader,
    records: &mut dyn FnMut() -> anyhow::Result<Option<Vec<u8>>>,
    mode: Mode,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut unknown = Unknown::default();
    while let Some(record) = records()? {
        lines(reader, &record).iter().for_each(|line| unknown.count(reader, line));
    }
    unknown.write(mode, out)?;
    Ok(out.flush()?)
}

/// Runs the command over the records of its files, in order.
///
/// # Errors
/// As [`write()`], and where the configuration or a file is invalid.
pub fn run(args: &ExplainArgs, environment: &Environment) -> Outcome {
    if let (Some(url), Some(expect)) = (&args.wait.url, &args.wait.expect) {
        return super::runtime()?.block_on(wait::wait(url, expect, &args.wait));
    }
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
    match write(&reader, None, &mut records, Mode::from(args), &mut out) {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clap::Parser;

    use super::unknown::UNKNOWN_TYPES;
    use super::*;
    use crate::classify::Tables;
    use crate::event::{Org, Reject};

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
        write(&reader(), None, &mut next, mode, &mut out).expect("written");
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
    fn redaction_hashes_ids_and_drops_names() {
        let mode = Mode { json: true, redact: true, ..Mode::default() };
        let first = written(&[DENY], mode);
        for secret in ["0oa1qw2er3ty4ui5op6a", "req1qw2er3ty4ui5op6as7df", "Catch-all", "Payroll"] {
            assert!(!first.contains(secret), "{first}");
        }
        assert!(first.contains(r#""app":"app-"#) && first.contains(r#""rule":"rule","attempt":"attempt-"#), "{first}");
        assert_eq!(first, written(&[DENY], mode), "the same id has the same hash");
        assert_ne!(first, written(&[&DENY.replace("0oa1", "0oa2")], mode), "another id has another");
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
        let failed = write(&reader(), None, &mut || anyhow::bail!("the disk is gone"), Mode::default(), &mut out);
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
        assert_eq!(Mode::from(&cli.args), Mode { json: true, redact: true, unknown: false });
        assert!(Cli::try_parse_from(["explain", "--json"]).is_err(), "a file is required");
    }
}
