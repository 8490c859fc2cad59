//! `authwatch whatif`: whom a change of device assurance would refuse, by what the log shows of every device; without a
//! change, what the fleet is like and how tight a version floor may be.
//!
//! It reads event files, keeps nothing and asks nobody. What the log has not shown is `unknown`, with its share. The
//! newest event is the present.

mod csv;
mod text;

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use serde::Serialize;

use super::{Exit, Failure, Outcome, Output};
use crate::app::{parts, policies};
use crate::classify::Reader;
use crate::clock;
use crate::config::{self, Config, Environment};
use crate::event::{AuthEvent, Org, Reject};
use crate::input::{OrgConfig, Policies};
use crate::policy::Groups;
use crate::policy::ask::{Answer, Budget, Facts, Question, answer};
use crate::policy::fleet::Fleet;
use crate::policy::parse;
use crate::policy::whatif::Proposal;
use crate::source::file::{Body, Records, plausible};

/// The org without a configuration.
const ORG: &str = "local";
/// Bytes of a file of policies.
const MAX_BYTES: u64 = 32 << 20;

/// Arguments of `whatif`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Recorded events: NDJSON or one JSON array, plain, gzip or zstd; `-` is stdin.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Cohorts, rules and policies (from a file) from this configuration.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Proposed device assurance policies: one of Okta's JSON objects, or an array of them. May be given again.
    #[arg(long, value_name = "FILE")]
    pub assurance: Vec<PathBuf>,
    /// One proposed value, for example `macos.osVersion=14.6.0`. May be given again.
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// The policies in force instead of the configuration's, to compare with: {"policies":[…],"rules":{…},"device_assurances":[…]}.
    #[arg(long, value_name = "FILE")]
    pub policies: Option<PathBuf>,
    /// Write the devices to this file as CSV, those refused first.
    #[arg(long, value_name = "FILE")]
    pub devices: Option<PathBuf>,
    /// The share of devices that a version floor may refuse.
    #[arg(long, value_name = "PERCENT", default_value = "1%", value_parser = budget)]
    pub budget: Budget,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// The document of `whatif --json`.
#[derive(Serialize)]
struct Report {
    org: Org,
    /// Records that became no event.
    rejected: u64,
    #[serde(flatten)]
    answer: Answer,
}

fn budget(text: &str) -> Result<Budget, String> {
    text.parse::<Budget>().map_err(|error| error.to_string())
}

/// Asks and reports.
///
/// # Errors
/// Where a file cannot be read, or the proposal, the policies or the configuration are invalid.
pub fn run(args: &Args, environment: &Environment) -> Outcome {
    let proposal = proposal(args)?;
    if args.devices.is_some() && proposal.is_empty() {
        return Err(Failure::usage("--devices lists whom a proposal would refuse: add --assurance or --set"));
    }
    let config = args.config.as_deref().map(|path| Config::load(path, environment));
    let config = config.transpose().map_err(Failure::invalid)?;
    let org = config.as_ref().map_or_else(|| Org::new(ORG), |config| config.org.clone());
    let rules = config.as_ref().and_then(|config| config.rules.as_deref());
    let reader = Reader::new(org.clone(), Arc::new(parts::tables(rules).map_err(Failure::invalid)?));
    let (known, own) = match &config {
        Some(config) => policies::of_own_org(config).map_err(Failure::invalid)?,
        None => (None, OrgConfig::default()),
    };
    let policies = match &args.policies {
        Some(path) => Some(Arc::new(policies_of(path)?)),
        None => known,
    };
    let (fleet, rejected) = fleet(&args.files, &reader)?;
    let groups = Groups::default();
    let facts = Facts {
        fleet: &fleet,
        policies: policies.as_deref(),
        groups: &groups,
        cohort_of: &|person| groups.cohort_of(&own.cohorts, person),
    };
    let list = if args.devices.is_some() { usize::MAX } else { 0 };
    let answer = answer(facts, &Question { proposal, budget: args.budget, list });
    if let Some(path) = &args.devices {
        write_devices(path, &answer).with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    let report = Report { org, rejected, answer };
    let mut output = Output::stdout();
    if args.json {
        output.json(&report)?;
    } else {
        for line in text::lines(&report.answer, report.rejected) {
            output.line(line)?;
        }
    }
    output.finish()?;
    Ok(Exit::Good)
}

fn proposal(args: &Args) -> Result<Proposal, Failure> {
    let mut proposal = Proposal::default();
    for path in &args.assurance {
        let text = config::read_file(path, MAX_BYTES).map_err(config::ConfigError::from).map_err(Failure::invalid)?;
        let json = serde_json::from_str(&text).with_context(|| format!("`{}` is no JSON", path.display()));
        let place = || format!("`{}`", path.display());
        let added = json.and_then(|json| proposal.assure(&json).with_context(place));
        added.map_err(Failure::invalid)?;
    }
    for set in &args.set {
        proposal.set(set).map_err(|error| Failure::usage(format_args!("--set: {error}")))?;
    }
    Ok(proposal)
}

fn policies_of(path: &Path) -> Result<Policies, Failure> {
    let text = config::read_file(path, MAX_BYTES).map_err(config::ConfigError::from).map_err(Failure::invalid)?;
    let parsed = parse::parse(text.as_bytes()).with_context(|| format!("`{}`", path.display()));
    parsed.map_err(Failure::invalid)
}

/// The devices of the files, and how many records became no event.
fn fleet(files: &[PathBuf], reader: &Reader) -> Result<(Fleet, u64), Failure> {
    let mut fleet = Fleet::default();
    let mut rejected = 0;
    let mut records = Records::open(files)?.with_progress();
    let now = clock::now();
    while let Some(record) = records.next()? {
        let mut each = |read: Result<AuthEvent, Reject>| match read.and_then(|event| plausible(event, now)) {
            Ok(event) => fleet.saw_event(&event),
            Err(_) => rejected += 1,
        };
        match record.body {
            Body::Whole(bytes) => reader.read_record(bytes, &mut each),
            Body::TooLarge => each(Err(Reject::TooLarge)),
        }
    }
    Ok((fleet, rejected))
}

fn write_devices(path: &Path, answer: &Answer) -> std::io::Result<()> {
    csv::write(&mut BufWriter::new(File::create(path)?), answer)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn the_flags_of_the_contract_are_understood() {
        let line = ["whatif", "a.ndjson", "-", "--assurance", "p.json", "--set", "macos.osVersion=14.6.0", "--set"];
        let rest = ["ios.jailbreak=false", "--devices", "out.csv", "--budget", "2.5%", "--json"];
        let args = Line::try_parse_from(line.into_iter().chain(rest)).expect("parses").args;
        assert_eq!((args.files.len(), args.set.len(), args.json), (2, 2, true));
        assert_eq!(args.budget, Budget::percent(2.5).expect("a budget"));
        let refused = Line::try_parse_from(["whatif", "a", "--budget", "all"]).expect_err("no share").to_string();
        assert!(refused.contains("no share of devices"), "{refused}");
    }
}
