//! `check`: a live preflight. Asks every system of the configuration whether it would let the daemon work, one line for
//! each permission, with what is missing and who can grant it.
//!
//! It asks with the daemon's own credentials and code, changes nothing (`--write` adds one test row in ServiceNow), and
//! needs no daemon and no lock, so it runs beside one. Results go to stdout; exit 1 where anything failed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use smol_str::SmolStr;

use super::{ConfigFile, Exit, Failure, Outcome, Output, runtime};
use crate::app::parts::{self, Parts};
use crate::config::{Config, Environment};
use crate::event::Org;
use crate::secret::vault::Vault;
use crate::secret::{Lookup, SecretRef, Secrets};
use crate::source;
use crate::telemetry::preflight::{Finding, Findings, Verdict};

/// Arguments of `check`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// Also try what writes: one test row in ServiceNow, which is noted and resolved.
    #[arg(long)]
    write: bool,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    findings: &'a [Finding],
}

/// Asks and reports.
///
/// # Errors
/// Where the configuration is invalid.
pub fn run(args: &Args, environment: &Environment) -> Outcome {
    let config = Config::load(&args.config.path, environment).map_err(Failure::invalid)?;
    let parts = Parts::of(&config).map_err(Failure::invalid)?;
    let lookup: Lookup = {
        let environment = environment.clone();
        Arc::new(move |name| environment.lookup(name))
    };
    let findings = runtime()?.block_on(ask(&config, &parts, lookup, args.write))?;
    let ok = findings.iter().all(|finding| finding.result != Verdict::Failed);
    let mut output = Output::stdout();
    if args.json {
        output.json(&Report { ok, findings: &findings })?;
    } else {
        show(&findings, &mut output)?;
    }
    output.finish()?;
    Ok(if ok { Exit::Good } else { Exit::Negative })
}

/// Everything, part by part in the order of the configuration: what answers slowly holds up only the lines after it.
async fn ask(config: &Config, parts: &Parts, lookup: Lookup, write: bool) -> Result<Vec<Finding>, Failure> {
    let mut findings = vec![state_dir(&config.state_dir)];
    let vault = config.vault.as_ref().map(|vault| Vault::new(vault, lookup.clone(), None)).transpose()?;
    if let Some(vault) = &vault {
        findings.extend(vault.check().await);
    }
    let secrets = Secrets::new(lookup, vault);
    findings.extend(read_secrets(parts, &secrets).await);
    let groups = parts::groups(&parts.core, &parts.policies);
    for source in &parts.sources {
        findings.extend(ask_source(source, &groups, &secrets).await);
    }
    for sink in &parts.sinks {
        let (name, mut built) = sink.build(secrets.clone())?;
        findings.extend(built.check(&name, write).await);
    }
    for forward in &parts.forwards {
        findings.extend(forward.build(secrets.clone())?.check().await);
    }
    Ok(findings)
}

async fn ask_source(
    part: &parts::SourcePart,
    groups: &BTreeMap<Org, BTreeSet<SmolStr>>,
    secrets: &Secrets,
) -> Vec<Finding> {
    match &part.config {
        source::Config::Okta(config) => {
            let none = BTreeSet::new();
            let groups = groups.get(&part.org).filter(|_| part.reads_groups).unwrap_or(&none);
            source::okta::check(config, &part.name, groups, secrets).await
        }
        source::Config::Kafka(config) => source::kafka::check(config, &part.name, secrets).await,
        source::Config::File(config) => {
            let mut findings = Findings::of(part.name.as_str());
            for path in config.paths.iter().filter(|path| path.as_os_str() != "-") {
                let opened = std::fs::File::open(path).map(|_| "readable".to_owned());
                findings.judge(format!("file {}", path.display()), opened);
            }
            findings.into_vec()
        }
    }
}

/// Reads every secret once; the references are shown, their values never.
async fn read_secrets(parts: &Parts, secrets: &Secrets) -> Vec<Finding> {
    let mut seen: BTreeSet<&SecretRef> = BTreeSet::new();
    let mut found = Vec::new();
    for (part, reference) in parts.secrets() {
        if seen.insert(reference) {
            let mut findings = Findings::of(part);
            let read = secrets.current(reference).await.map(|_| "readable".to_owned());
            findings.judge(format!("secret: {reference}"), read);
            found.extend(findings.into_vec());
        }
    }
    found
}

/// Whether the state can be written: the folder, or the nearest one above it that is there.
fn state_dir(path: &Path) -> Finding {
    let there = path.ancestors().find(|path| path.is_dir()).unwrap_or(path);
    let detail = match tempfile_in(there) {
        Ok(()) if there == path => Ok("writable".to_owned()),
        Ok(()) => Ok(format!("will be made in `{}`", there.display())),
        Err(error) => Err(format!("{error} (give the daemon's user write access to `{}`)", there.display())),
    };
    let mut findings = Findings::of("state_dir");
    findings.judge(path.display().to_string(), detail);
    findings.into_vec().remove(0)
}

fn tempfile_in(folder: &Path) -> std::io::Result<()> {
    let path = folder.join(format!(".authwatch-check-{}", std::process::id()));
    std::fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)
}

fn show(findings: &[Finding], output: &mut Output<impl std::io::Write>) -> std::io::Result<()> {
    let width = findings.iter().map(|finding| finding.part.chars().count()).max().unwrap_or_default();
    for Finding { part, check, result, detail } in findings {
        output.line(format_args!("{:8} {part:width$}  {check}: {detail}", result.as_str()))?;
    }
    let count = |verdict| findings.iter().filter(|finding| finding.result == verdict).count();
    output.line(format_args!(
        "\n{} ok, {} warnings, {} failed, {} skipped",
        count(Verdict::Ok),
        count(Verdict::Warning),
        count(Verdict::Failed),
        count(Verdict::Skipped)
    ))
}
