//! `validate`: reads everything that `run` would read, binds and connects nothing.
//!
//! Warnings and errors go to stderr, the summary to stdout. With `--json`, one document on stdout holds all of it. A
//! secret or a file that is not there yet is a warning: the configuration may be checked on another machine than the one
//! it is for. No value of a secret is shown.

use std::path::Path;

use serde::Serialize;

use super::{ConfigFile, Exit, Failure, Outcome, Output};
use crate::act;
use crate::app::parts::{Parts, PartsError};
use crate::config::{Config, Environment, Warning};
use crate::yaml::Origin;

/// Arguments of `validate`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    valid: bool,
    config: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Finding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Summary<'a>>,
    warnings: Vec<Finding>,
}

/// A problem with its place: in a file, or in a variable.
#[derive(Serialize)]
struct Finding {
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    variable: Option<String>,
    message: String,
}

#[derive(Serialize)]
struct Summary<'a> {
    org: &'a str,
    state_dir: String,
    listen: String,
    /// The folder; `None` for the rules inside the binary.
    rules: Option<String>,
    sources: Vec<&'a str>,
    sinks: Vec<&'a str>,
    cohorts: Vec<CohortSize<'a>>,
    break_glass: usize,
    break_glass_groups: usize,
    /// What the files of policies hold.
    policies: Vec<PoliciesSize<'a>>,
    token: bool,
}

#[derive(Serialize)]
struct CohortSize<'a> {
    name: &'a str,
    people: usize,
    groups: usize,
}

#[derive(Serialize)]
struct PoliciesSize<'a> {
    org: &'a str,
    policies: usize,
    rules: usize,
    device_assurances: usize,
}

/// A configuration with its parts and all warnings.
struct Checked {
    config: Config,
    parts: Parts,
    warnings: Vec<Warning>,
}

/// Checks the configuration and reports.
///
/// # Errors
/// Where it is invalid.
pub fn run(args: &Args, environment: &Environment) -> Outcome {
    let path = args.config.path.display().to_string();
    let checked = check(&args.config.path, environment);
    if args.json {
        return report(path, &checked);
    }
    let checked = checked.map_err(Failure::invalid)?;
    for warning in &checked.warnings {
        eprintln!("warning: {warning}");
    }
    let mut output = Output::stdout();
    output.line(format_args!("{path}: valid"))?;
    show(&summary(&checked), &mut output)?;
    output.finish()?;
    Ok(Exit::Good)
}

fn show(summary: &Summary<'_>, output: &mut Output<impl std::io::Write>) -> std::io::Result<()> {
    output.line(format_args!("org          {}", summary.org))?;
    output.line(format_args!("state        {}", summary.state_dir))?;
    let with_token = if summary.token { " (with a token)" } else { "" };
    output.line(format_args!("listen       {}{with_token}", summary.listen))?;
    output.line(format_args!("rules        {}", summary.rules.as_deref().unwrap_or("inside the binary")))?;
    output.line(format_args!("sources      {}", list(&summary.sources)))?;
    output.line(format_args!("sinks        {}", list(&summary.sinks)))?;
    for PoliciesSize { org, policies, rules, device_assurances } in &summary.policies {
        output.line(format_args!(
            "policies     {org}: {policies} policies, {rules} rules, {device_assurances} device assurance policies"
        ))?;
    }
    for CohortSize { name, people, groups } in &summary.cohorts {
        output.line(format_args!("cohort       {name}: {}", size(*people, *groups)))?;
    }
    output.line(format_args!("break glass  {}", size(summary.break_glass, summary.break_glass_groups)))
}

fn size(people: usize, groups: usize) -> String {
    match groups {
        0 => format!("{people} people"),
        1 => format!("{people} people and those of 1 group"),
        groups => format!("{people} people and those of {groups} groups"),
    }
}

fn check(path: &Path, environment: &Environment) -> Result<Checked, PartsError> {
    let config = Config::load(path, environment)?;
    let mut parts = Parts::of(&config)?;
    let mut warnings = config.warnings.clone();
    warnings.append(&mut parts.warnings);
    warnings.extend(parts.missing(&|name| environment.lookup(name)));
    Ok(Checked { config, parts, warnings })
}

fn report(config: String, checked: &Result<Checked, PartsError>) -> Outcome {
    let (exit, report) = match checked {
        Ok(checked) => {
            let warnings = checked.warnings.iter();
            let warnings = warnings.map(|warning| finding(warning.origin.as_ref(), warning.text.clone())).collect();
            (Exit::Good, Report { valid: true, config, error: None, summary: Some(summary(checked)), warnings })
        }
        Err(error) => {
            let (origin, problem) = error.parts();
            let error = Some(finding(origin, message(problem)));
            (Exit::Invalid, Report { valid: false, config, error, summary: None, warnings: Vec::new() })
        }
    };
    let mut output = Output::stdout();
    output.json(&report)?;
    output.finish()?;
    Ok(exit)
}

fn message(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn finding(origin: Option<&Origin>, message: String) -> Finding {
    let none = Finding { file: None, line: None, column: None, variable: None, message };
    match origin {
        Some(Origin::File { path, line, column }) => {
            Finding { file: Some(path.display().to_string()), line: Some(*line), column: Some(*column), ..none }
        }
        Some(Origin::Variable(name)) => Finding { variable: Some(name.to_string()), ..none },
        None => none,
    }
}

fn summary(Checked { config, parts, .. }: &Checked) -> Summary<'_> {
    let cohorts = config.people.cohorts.iter();
    let sinks = parts.sinks.iter().map(act::Config::name);
    let policies = parts.policies.iter().map(|(org, read)| PoliciesSize {
        org: org.as_str(),
        policies: read.policies.len(),
        rules: read.policies.values().map(|policy| policy.rules.len()).sum(),
        device_assurances: read.assurances.len(),
    });
    Summary {
        org: config.org.as_str(),
        state_dir: config.state_dir.display().to_string(),
        listen: config.listen.to_string(),
        rules: config.rules.as_ref().map(|rules| rules.display().to_string()),
        sources: parts.sources.iter().map(|source| source.name.as_str()).collect(),
        sinks: sinks.chain(parts.forwards.iter().map(act::forward::Config::name)).collect(),
        cohorts: cohorts
            .map(|cohort| CohortSize { name: &cohort.name, people: cohort.users.len(), groups: cohort.groups.len() })
            .collect(),
        break_glass: config.people.break_glass.users.len(),
        break_glass_groups: config.people.break_glass.groups.len(),
        policies: policies.collect(),
        token: config.http.token.is_some(),
    }
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "–".to_owned() } else { names.join(", ") }
}
