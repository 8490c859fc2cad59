//! `replay`: the core over recorded events, on the events' own clock, or over a journal, on the daemon's inputs.
//!
//! A bare event file lacks the other inputs of the core; `inputs_missing` names them. A journal (`state export`) has
//! them all, and gives the digest of the run that wrote it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::Value;

use super::{Exit, Failure, Outcome, Output};
use crate::action::WouldHaveTold;
use crate::adoption::{Numbers, Stages};
use crate::app::parts;
use crate::app::policies::{self, FilePolicies};
use crate::app::report::{AlarmReported, Report, Reported, Steps};
use crate::classify::Reader;
use crate::clock;
use crate::config::{Config, Environment};
use crate::event::{Org, Reject, SourceName};
use crate::input::{CoreConfig, Input, OrgConfig};
use crate::judge::burn::{Budget, Standing};
use crate::source::file::{Body, Records, plausible};
use crate::store::JournalFile;
use crate::watch::Watch;

/// The org of a replay without a configuration.
const ORG: &str = "local";

/// Arguments of `replay`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Recorded events: NDJSON or one JSON array, plain, gzip or zstd; or one journal. `-` is stdin.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Judge, cohorts, rules and policies (from a file) from this configuration instead of the defaults.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
    /// Compare with an earlier `replay --json`: exit 1 where anything but `wall_ms` differs.
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// A JSON document that the report must contain (objects by key, lists element by element): exit 1 where it does
    /// not.
    #[arg(long, value_name = "FILE")]
    pub expect: Option<PathBuf>,
}

/// Replays and reports.
///
/// # Errors
/// Where a file cannot be read or the configuration is invalid.
pub fn run(args: &Args, environment: &Environment) -> Outcome {
    let began = clock::monotonic();
    let config = args.config.as_deref().map(|path| Config::load(path, environment)).transpose();
    let config = config.map_err(Failure::invalid)?;
    let sinks = config.as_ref().map(parts::sink_names).transpose().map_err(Failure::invalid)?.unwrap_or_default();
    let mut steps = Steps::default();
    let (watch, missing) = match args.files.as_slice() {
        [file] if JournalFile::is(file) => (replay_journal(file, &mut steps)?, Vec::new()),
        files => replay_events(files, config.as_ref(), &mut steps)?,
    };
    let wall_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut report = Report::of(&watch, wall_ms, missing);
    report.would_have_told(&sinks, &steps);
    let mut output = Output::stdout();
    if args.json {
        output.json(&report)?;
    } else {
        text(&report, &mut output)?;
    }
    output.finish()?;
    // Through the text, as the other document: reading a number may round its last digit.
    let report: Value = serde_json::from_str(&serde_json::to_string(&report)?)?;
    let mut differences = Vec::new();
    if let Some(other) = &args.compare {
        let other = read_json(other)?;
        equal(&report, &other, "", &mut differences);
        equal(&other, &report, "", &mut differences);
        differences.retain(|difference| !difference.starts_with(".wall_ms"));
    }
    if let Some(expected) = &args.expect {
        equal(&read_json(expected)?, &report, "", &mut differences);
    }
    // The digest says it all, so it is never among those that are left out.
    differences.sort_by_key(|difference| (!difference.starts_with(".digest"), difference.clone()));
    differences.dedup();
    differences.iter().take(20).for_each(|difference| eprintln!("differs: {difference}"));
    Ok(if differences.is_empty() { Exit::Good } else { Exit::Negative })
}

/// The inputs of a daemon that a file of events does not bring; policies can come from the configuration.
fn missing_inputs(policies: &FilePolicies) -> Vec<String> {
    let all = ["progress", "policy_snapshot", "cohort_membership", "change_marker", "silence"];
    let missing = all.into_iter().filter(|input| policies.is_empty() || *input != "policy_snapshot");
    missing.map(str::to_owned).collect()
}

fn replay_journal(path: &Path, steps: &mut Steps) -> Result<Watch, Failure> {
    let journal = JournalFile::open(path)?;
    let mut watch = match &journal.base {
        Some(base) => Watch::restore(base)?,
        None => Watch::new(),
    };
    for inputs in journal {
        inputs?.iter().for_each(|input| watch.handle(input));
        steps.drain(&mut watch);
    }
    watch.finish();
    Ok(watch)
}

/// What files of events are replayed under.
struct Ground {
    source: SourceName,
    reader: Reader,
    core: CoreConfig,
    policies: FilePolicies,
}

impl Ground {
    fn new(config: Option<&Config>) -> Result<Self, Failure> {
        let org = config.map_or_else(|| Org::new(ORG), |config| config.org.clone());
        let source = SourceName::new(format!("file:{org}"));
        let sources = [(org.clone(), [source.clone()].into())].into();
        let rules = config.and_then(|config| config.rules.as_deref());
        let tables = Arc::new(parts::tables(rules).map_err(Failure::invalid)?);
        let mut core = match config {
            Some(config) => config.core(&sources),
            None => {
                let sources = [source.clone()].into();
                let orgs = [(org.clone(), OrgConfig { sources, ..OrgConfig::default() })].into();
                CoreConfig { orgs, ..CoreConfig::default() }
            }
        };
        core.slos = parts::slos(rules).map_err(Failure::invalid)?;
        let policies = config.map(|config| policies::read(config, &mut core)).transpose().map_err(Failure::invalid)?;
        Ok(Self { source, reader: Reader::new(org, tables), core, policies: policies.unwrap_or_default() })
    }
}

fn replay_events(
    files: &[PathBuf],
    config: Option<&Config>,
    steps: &mut Steps,
) -> Result<(Watch, Vec<String>), Failure> {
    let Ground { source, reader, core, policies } = Ground::new(config)?;
    let mut watch = Watch::new();
    for input in policies::inputs(&CoreConfig::default(), &core, &policies) {
        watch.handle(&input);
    }
    let mut records = Records::open(files)?.with_progress();
    let now = clock::now();
    while let Some(record) = records.next()? {
        let mut fold = |read: Result<_, Reject>| {
            let source = source.clone();
            watch.handle(&match read.and_then(|event| plausible(event, now)) {
                Ok(event) => Input::Event { source, event: Box::new(event) },
                Err(reason) => Input::Reject { source, reason },
            });
            steps.drain(&mut watch);
        };
        match record.body {
            Body::Whole(bytes) => reader.read_record(bytes, &mut fold),
            Body::TooLarge => fold(Err(Reject::TooLarge)),
        }
    }
    watch.handle(&Input::Progress { source, now: None, caught_up: true });
    steps.drain(&mut watch);
    watch.finish();
    Ok((watch, missing_inputs(&policies)))
}

fn read_json(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("`{}` is no JSON document", path.display()))
}

/// Notes where `actual` does not contain `expected`.
fn equal(expected: &Value, actual: &Value, at: &str, differences: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            for (key, value) in expected {
                equal(value, actual.get(key).unwrap_or(&Value::Null), &format!("{at}.{key}"), differences);
            }
        }
        (Value::Array(expected), Value::Array(actual)) if expected.len() == actual.len() => {
            for (n, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                equal(expected, actual, &format!("{at}[{n}]"), differences);
            }
        }
        (Value::Array(expected), Value::Array(actual)) => {
            differences.push(format!("{at}: {} and {} elements", expected.len(), actual.len()));
        }
        (expected, actual) if expected == actual => {}
        (expected, actual) => differences.push(format!("{at}: {expected} and {actual}")),
    }
}

fn text(report: &Report, output: &mut Output<impl std::io::Write>) -> std::io::Result<()> {
    output.line(format_args!(
        "{} events, {} duplicates, {} late, {} rejected, in {:.1} s",
        report.events,
        report.duplicates,
        report.late,
        report.rejected.values().sum::<u64>(),
        report.wall_ms as f64 / 1_000.0
    ))?;
    for (reason, n) in &report.rejected {
        output.line(format_args!("  rejected   {n:>9}  {reason}"))?;
    }
    for (verdict, n) in &report.attempts {
        output.line(format_args!("  attempts   {n:>9}  {}", verdict.as_str()))?;
    }
    if report.incidents.is_empty() {
        output.line("no incident")?;
    }
    for Reported { incident, would_have_told } in &report.incidents {
        let end = incident.resolved_at.map_or_else(|| "still open".to_owned(), |at| format!("resolved {at}"));
        output.line(format_args!("incident {}: {}", incident.key, incident.title))?;
        output.line(format_args!("  onset {}, opened {}, {end}", incident.onset, incident.opened_at))?;
        for WouldHaveTold { sink, steps } in would_have_told {
            let steps: Vec<&str> = steps.iter().map(|step| step.as_str()).collect();
            output.line(format_args!("  would have told {sink}: {}", steps.join(", ")))?;
        }
    }
    report.slos.iter().try_for_each(|standing| objective(standing, output))?;
    for AlarmReported { org, alarm } in &report.alarms {
        let end = alarm.resolved_at.map_or_else(|| "still open".to_owned(), |at| format!("over {at}"));
        let (rule, subject) = (alarm.rule.as_str(), &alarm.subject);
        output.line(format_args!(
            "alarm {rule} of {org}, {subject}: since {}, opened {}, {end}",
            alarm.onset, alarm.opened_at
        ))?;
    }
    for (org, funnel) in report.adoption.iter().filter(|(_, funnel)| funnel.all.numbers.seen > 0) {
        output.line(format_args!("adoption of {org}, people seen in 90 days:"))?;
        stages("all", &funnel.all, funnel.window_days, output)?;
        for (cohort, of_cohort) in &funnel.cohorts {
            stages(cohort, of_cohort, funnel.window_days, output)?;
        }
    }
    output.line(format_args!("digest {}", report.digest))
}

/// One line of an objective.
fn objective(standing: &Standing, output: &mut Output<impl std::io::Write>) -> std::io::Result<()> {
    let Standing { org, name, target, period_days, budget, .. } = standing;
    let target = target * 100.0;
    match budget {
        Some(Budget { good, bad, sli, remaining, .. }) => output.line(format_args!(
            "objective of {org}: {name} {:.3} % of {target:.2} % over {period_days} days ({bad} bad of {}), {:.0} % of the budget left",
            sli * 100.0,
            u64::from(*good) + u64::from(*bad),
            remaining * 100.0
        )),
        None => output.line(format_args!("objective of {org}: {name} unknown of {target:.2} %")),
    }
}

/// One line of the adoption funnel, and one for what people fall back to.
fn stages(name: &str, stages: &Stages, days: u8, output: &mut Output<impl std::io::Write>) -> std::io::Result<()> {
    let Numbers { seen, fastpass, resistant_last, resistant_only } = stages.numbers;
    output.line(format_args!(
        "  {name}: {seen}, {fastpass} with FastPass, {resistant_last} phishing-resistant at the last sign-in, \
         {resistant_only} at every one in {days} days"
    ))?;
    if stages.fallback_people == 0 {
        return Ok(());
    }
    let to: Vec<_> = stages.fallback.iter().map(|(credential, n)| format!("{credential} {n}")).collect();
    output.line(format_args!("  {name}: {} fall back ({})", stages.fallback_people, to.join(", ")))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn stdin_and_flags_after_files_are_understood_and_no_file_is_not() {
        let line = Line::try_parse_from(["replay", "a.ndjson", "-", "--json", "--compare", "b.json"]).expect("parses");
        assert_eq!(line.args.files, ["a.ndjson", "-"].map(PathBuf::from));
        assert!(line.args.json && line.args.compare.is_some() && line.args.expect.is_none());
        assert!(Line::try_parse_from(["replay", "--json"]).is_err());
    }

    #[track_caller]
    fn check(expected: Value, actual: Value, differences: &[&str]) {
        let mut found = Vec::new();
        equal(&expected, &actual, "", &mut found);
        assert_eq!(found, differences);
    }

    #[test]
    fn an_expectation_is_met_by_what_contains_it() {
        check(json!({"events": 3}), json!({"events": 3, "late": 0}), &[]);
        check(json!({"events": 3}), json!({"events": 4}), &[".events: 3 and 4"]);
        check(json!({"incidents": []}), json!({"incidents": [1]}), &[".incidents: 0 and 1 elements"]);
        check(
            json!({"incidents": [{"people": 5}]}),
            json!({"incidents": [{"people": 6, "key": "x"}]}),
            &[".incidents[0].people: 5 and 6"],
        );
        check(json!({"rejected": {"future": 1}}), json!({"rejected": {}}), &[".rejected.future: 1 and null"]);
    }
}
