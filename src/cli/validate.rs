//! `validate`: reads everything that `run` would read, binds and connects nothing.
//!
//! Warnings and errors go to stderr, the summary to stdout. With `--json`, one document on stdout holds all of it.

use std::path::Path;

use serde::Serialize;

use super::{ConfigFile, Exit, Failure, Outcome, Output};
use crate::app::parts::{Parts, PartsError};
use crate::config::{Config, Environment, Integration, Origin, Warning};

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
    sources: Vec<&'static str>,
    sinks: Vec<&'static str>,
    cohorts: Vec<CohortSize<'a>>,
    break_glass: usize,
    token: bool,
}

#[derive(Serialize)]
struct CohortSize<'a> {
    name: &'a str,
    people: usize,
}

/// A configuration with the warnings of its parts.
type Checked = (Config, Vec<String>);

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
    let (config, warnings) = checked.map_err(Failure::invalid)?;
    for warning in config.warnings.iter().map(ToString::to_string).chain(warnings) {
        eprintln!("warning: {warning}");
    }
    let mut output = Output::stdout();
    output.line(format_args!("{path}: valid"))?;
    let Summary { org, state_dir, listen, sources, sinks, cohorts, break_glass, token } = summary(&config);
    output.line(format_args!("org          {org}"))?;
    output.line(format_args!("state        {state_dir}"))?;
    output.line(format_args!("listen       {listen}{}", if token { " (with a token)" } else { "" }))?;
    output.line(format_args!("sources      {}", list(&sources)))?;
    output.line(format_args!("sinks        {}", list(&sinks)))?;
    for CohortSize { name, people } in cohorts {
        output.line(format_args!("cohort       {name}: {people} people"))?;
    }
    output.line(format_args!("break glass  {break_glass} people"))?;
    output.finish()?;
    Ok(Exit::Good)
}

fn check(path: &Path, environment: &Environment) -> Result<Checked, PartsError> {
    let config = Config::load(path, environment)?;
    let Parts { warnings, .. } = Parts::of(&config)?;
    Ok((config, warnings))
}

fn report(config: String, checked: &Result<Checked, PartsError>) -> Outcome {
    let (exit, report) = match checked {
        Ok((checked, warnings)) => {
            let placed = checked.warnings.iter().map(|Warning { origin, text }| finding(Some(origin), text.clone()));
            let unplaced = warnings.iter().map(|text| finding(None, text.clone()));
            let (error, summary) = (None, Some(summary(checked)));
            (Exit::Good, Report { valid: true, config, error, summary, warnings: placed.chain(unplaced).collect() })
        }
        Err(error) => {
            let error = Some(problem(error));
            (Exit::Invalid, Report { valid: false, config, error, summary: None, warnings: Vec::new() })
        }
    };
    let mut output = Output::stdout();
    output.json(&report)?;
    output.finish()?;
    Ok(exit)
}

fn problem(error: &PartsError) -> Finding {
    match error {
        PartsError::Config(error) => finding(error.origin.as_ref(), message(&error.problem)),
        PartsError::Rules(_) | PartsError::Unreadable { .. } | PartsError::NoSource | PartsError::SameSink(_) => {
            finding(None, message(error))
        }
    }
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

fn summary(config: &Config) -> Summary<'_> {
    let kinds = |list: &[Integration]| list.iter().map(|integration| integration.kind).collect();
    let cohorts = config.people.cohorts.iter();
    Summary {
        org: config.org.as_str(),
        state_dir: config.state_dir.display().to_string(),
        listen: config.listen.to_string(),
        sources: kinds(&config.sources),
        sinks: kinds(&config.sinks),
        cohorts: cohorts.map(|cohort| CohortSize { name: &cohort.name, people: cohort.users.len() }).collect(),
        break_glass: config.people.break_glass.len(),
        token: config.http.token.is_some(),
    }
}

fn list(kinds: &[&str]) -> String {
    if kinds.is_empty() { "–".to_owned() } else { kinds.join(", ") }
}
