//! `authwatch explain`: what each record of a log means, and why a record is no event.
//!
//! One line per event and per reject, in the order of the records: NDJSON for scripts, or a sentence for people and,
//! below a policy's answer, what was required and what the device said. It fetches nothing and keeps nothing. `--redact`
//! writes the records themselves in their place, as such that can be shown to others ([`super::redact`]). `--unknown`
//! lists the event types that the tables do not list. `--url` waits for a decision of a running daemon.

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

pub use line::Explain;
pub use text::text;
pub use wait::{Expectation, WaitArgs};

use self::flows::{Flows, LOOK_AHEAD};
use self::unknown::Unknown;
use super::redact::Redactor;
use super::{Exit, Failure, Outcome};
use crate::app::{parts, policies};
use crate::classify::Reader;
use crate::config::{Config, Environment};
use crate::event::{self, AuthEvent, Network};
use crate::input::{Policies, Releases};
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
    /// The org's label, rules, policies and proxies from this configuration instead of the defaults.
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

/// What a configuration says beside the rules: what answers are read with.
#[derive(Clone, Debug, Default)]
pub struct Ground {
    /// The policies in force when the records begin.
    pub policies: Option<Arc<Policies>>,
    /// The vendors' releases.
    pub releases: Releases,
    /// Networks whose hops are not the client's.
    pub proxies: Vec<Network>,
}

impl Ground {
    fn of(config: &Config) -> Result<Self, Failure> {
        let (policies, org) = policies::of_own_org(config).map_err(Failure::invalid)?;
        Ok(Self { policies, releases: org.releases, proxies: config.proxies.clone() })
    }
}

/// Writes what every record means.
///
/// # Errors
/// The records cannot be read, or the output cannot be written.
pub fn write(
    reader: &Reader,
    ground: Ground,
    records: &mut dyn FnMut() -> anyhow::Result<Option<Vec<u8>>>,
    mode: Mode,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    if mode.unknown {
        return write_unknown(reader, records, mode, out);
    }
    let mut flows = Flows::new(ground.policies, ground.releases);
    let mut waiting: VecDeque<Read> = VecDeque::new();
    while let Some(record) = records()? {
        reader.explain_record(&record, &ground.proxies, &mut |read| {
            let read = read.map(|explained| {
                flows.note(&explained.event);
                let notes =
                    if mode.json { String::new() } else { text::evidence(&explained.evidence, explained.address) };
                (explained.event, notes)
            });
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

/// One record as read: the event, and what its readings rest on, for people.
type Read = Result<(AuthEvent, String), event::Reject>;

fn is_open(read: &Read) -> bool {
    read.as_ref().is_ok_and(|(event, _)| Flows::is_answer(event))
}

fn write_one(reader: &Reader, flows: &Flows, read: &Read, mode: Mode, out: &mut dyn Write) -> anyhow::Result<()> {
    let (event, notes) = match read {
        Ok((event, notes)) => (event, notes),
        Err(reject) => return write_line(&Explain::reject(reader.org.as_str(), *reject), mode, out),
    };
    let mut line = Explain::event(event);
    let evaluation = flows.evaluate(event);
    if let Some(evaluation) = &evaluation {
        line.evaluated(evaluation);
    }
    write_line(&line, mode, out)?;
    if mode.json {
        return Ok(());
    }
    out.write_all(notes.as_bytes())?;
    if let Some(evaluation) = evaluation {
        let rule = event.rule.as_ref().map(|rule| rule.name.as_str());
        out.write_all(text::posture(&evaluation, rule).as_bytes())?;
    }
    Ok(())
}

fn write_line(line: &Explain, mode: Mode, out: &mut dyn Write) -> anyhow::Result<()> {
    if mode.json {
        serde_json::to_writer(&mut *out, line)?;
        return Ok(out.write_all(b"\n")?);
    }
    Ok(writeln!(out, "{}", text(line))?)
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
    if let (Some(url), Some(expect)) = (&args.wait.url, &args.wait.expect) {
        return super::runtime()?.block_on(wait::wait(url, expect, &args.wait));
    }
    let config = args.config.as_deref().map(|path| Config::load(path, environment));
    let config = config.transpose().map_err(Failure::invalid)?;
    let org = config.as_ref().map_or_else(|| event::Org::new("local"), |config| config.org.clone());
    let rules = config.as_ref().and_then(|config| config.rules.as_deref());
    let tables = parts::tables(rules).map_err(Failure::invalid)?;
    let ground = config.as_ref().map(Ground::of).transpose()?.unwrap_or_default();
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
        write(&Reader::new(org, tables), ground, &mut records, Mode::from(args), &mut out)
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
        write(&reader(), Ground::default(), &mut next, mode, &mut out).expect("written");
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
                r#""posture":{"source":"signals","policy":null,"fail":[],"unknown":[],"checks":[]},"platform":"macos","#,
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
        let text = written(&records, Mode::default());
        let sentences: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).collect();
        assert_eq!(
            sentences,
            [
                "2026-03-02T09:00:00.000Z  policy.evaluate_sign_on  policy_evaluation deny, because of policy_denied, with \
                 fastpass, phishing-resistant, on macos, app 0oa1qw2er3ty4ui5op6a, rule Catch-all Rule, attempt \
                 req1qw2er3ty4ui5op6as7df",
                "rejected: no_event_type",
                "2026-03-02T09:00:00.000Z  application.policy.sign_on.deny_access  access_denied deny (Okta wrote SUCCESS), \
                 because of policy_denied",
            ]
        );
        assert!(text.contains("credential: debugData.factor = SIGNED_NONCE"), "{text}");
    }

    #[test]
    fn a_refusal_is_explained_check_by_check_with_the_device_of_a_later_neighbour() {
        let document = br#"{"policies":[{"id":"rst1qw2er3ty4ui5op6a","type":"ACCESS_POLICY","status":"ACTIVE","name":"Payroll sign-in"}],
            "rules":{"rst1qw2er3ty4ui5op6a":[
              {"id":"rul1qw2er3ty4ui5op6a","name":"Healthy desktop","priority":1,"status":"ACTIVE","system":false,
               "conditions":{"device":{"registered":true,"assurance":{"include":["dae1qw2er3ty4ui5op6a"]}}},
               "actions":{"appSignOn":{"access":"ALLOW"}}},
              {"id":"rul9qw2er3ty4ui5op6a","name":"Catch-all Rule","priority":99,"status":"ACTIVE","system":true,
               "actions":{"appSignOn":{"access":"DENY"}}}]},
            "device_assurances":[{"id":"dae1qw2er3ty4ui5op6a","name":"Mac","platform":"MACOS",
               "osVersion":{"minimum":"14.6.0"},"diskEncryptionType":{"include":["ALL_INTERNAL_VOLUMES"]}}]}"#;
        let policies = Some(Arc::new(crate::policy::parse::parse(document).expect("policies")));
        let event = |kind: &str, rest: &str| {
            format!(
                r#"{{"published":"2026-03-02T09:00:00Z","eventType":"{kind}","actor":{{"type":"User","id":"00u1qw2er3ty4ui5op6a"}},
                "debugContext":{{"debugData":{{"authnRequestId":"flow1"}}}},{rest}}}"#
            )
        };
        let deny = event(
            "policy.evaluate_sign_on",
            r#""outcome":{"result":"DENY"},"target":[{"id":"rul9qw2er3ty4ui5op6a","type":"Rule","displayName":"Catch-all Rule",
               "detailEntry":{"policyId":"rst1qw2er3ty4ui5op6a"}}]"#,
        );
        let neighbour = event(
            "user.authentication.auth_via_mfa",
            r#""outcome":{"result":"SUCCESS"},"device":{"id":"guo1qw2er3ty4ui5op6a","os_platform":"OSX","os_version":"14.5.0",
               "registered":true,"disk_encryption_type":"ALL_INTERNAL_VOLUMES"}"#,
        );
        let ground = Ground { policies, ..Ground::default() };
        let both = |mode: Mode| {
            let records = [deny.clone(), neighbour.clone()];
            let mut records = records.iter();
            let mut out = Vec::new();
            let mut next = || Ok(records.next().map(|record| record.as_bytes().to_vec()));
            write(&reader(), ground.clone(), &mut next, mode, &mut out).expect("written");
            String::from_utf8(out).expect("text")
        };
        let json = both(Mode { json: true, ..Mode::default() });
        let first = json.lines().next().expect("a line");
        for part in [
            r#""reason":"device_posture""#,
            r#""source":"derived","policy":"Payroll sign-in","fail":["os_version"],"unknown":[]"#,
            r#"{"check":"os_version","detail":"minimum","required":"14.6.0","actual":"14.5.0","result":"fail"}"#,
        ] {
            assert!(first.contains(part), "{part} in {first}");
        }
        let text = both(Mode::default());
        assert!(
            text.contains("matched rule: Catch-all Rule; the rule that would have granted: Healthy desktop"),
            "{text}"
        );
        assert!(
            text.contains("    os_version (minimum)       14.6.0                14.5.0                no\n"),
            "{text}"
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
        let failed =
            write(&reader(), Ground::default(), &mut || anyhow::bail!("the disk is gone"), Mode::default(), &mut out);
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
