//! `state dead-letters`: what sinks gave up for good, incidents and forwarded records alike.
//!
//! `list` shows sink, what it is, when and why, and no person. `replay` puts all of a sink back into its queue, for the
//! next start; what is refused again is a dead letter again.

use clap::Subcommand;
use serde::Serialize;
use smol_str::SmolStr;

use super::super::{ConfigFile, Exit, Failure, Outcome, Output};
use super::{config, existing};
use crate::act;
use crate::action::Action as Told;
use crate::app::parts::Parts;
use crate::config::Environment;
use crate::event::Timestamp;
use crate::store::Store;

/// Arguments of `state dead-letters`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done with dead letters.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// Show what was given up, and why.
    List(Which),
    /// Put it back, to be tried again at the next start.
    Replay(Which),
}

/// Which dead letters.
#[derive(Clone, Debug, clap::Args)]
pub struct Which {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
    /// Those of one sink; all by default.
    #[arg(long, value_name = "NAME")]
    pub sink: Option<String>,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// One dead letter.
#[derive(Serialize)]
struct Shown {
    sink: String,
    /// `incident` or `record`.
    what: &'static str,
    /// The incident's key, or the record's stable id.
    id: SmolStr,
    /// The step of the incident.
    step: Option<&'static str>,
    at: Timestamp,
    reason: String,
    detail: String,
}

#[derive(Serialize)]
struct Listed {
    dead_letters: Vec<Shown>,
}

#[derive(Serialize)]
struct AllReplayed {
    replayed: Vec<Replayed>,
}

#[derive(Serialize)]
struct Replayed {
    sink: String,
    incidents: u64,
    records: u64,
}

/// Runs the command.
pub(super) fn run(args: &Args, environment: &Environment) -> Outcome {
    match &args.action {
        Action::List(which) => list(which, environment),
        Action::Replay(which) => replay(which, environment),
    }
}

/// The state, and the sinks that are meant. A name without dead letters is a mistake: it may be misspelt.
fn sinks(which: &Which, environment: &Environment) -> Result<(Store, Vec<String>), Failure> {
    let store = existing(&config(&which.config, environment)?)?;
    let have = store.sinks_with_dead_letters()?;
    match &which.sink {
        None => Ok((store, have)),
        Some(name) if have.contains(name) => Ok((store, vec![name.clone()])),
        Some(name) => {
            let have =
                if have.is_empty() { "nobody has any".to_owned() } else { format!("these have: {}", have.join(", ")) };
            Err(Failure::could_not_run(anyhow::anyhow!("sink `{name}` has no dead letters ({have})")))
        }
    }
}

fn list(which: &Which, environment: &Environment) -> Outcome {
    let (store, sinks) = sinks(which, environment)?;
    let mut letters = Vec::new();
    for sink in sinks {
        for (_, letter) in store.dead_letters(&sink)? {
            let Told::Incident(action) = letter.action;
            letters.push(Shown {
                sink: sink.clone(),
                what: "incident",
                id: action.incident.key.clone(),
                step: Some(action.step.as_str()),
                at: letter.at,
                reason: letter.reason,
                detail: letter.detail,
            });
        }
        for (_, letter) in store.dead_forwards(&sink)? {
            letters.push(Shown {
                sink: sink.clone(),
                what: "record",
                id: letter.forwarded.id,
                step: None,
                at: letter.at,
                reason: letter.reason,
                detail: letter.detail,
            });
        }
    }
    let mut output = Output::stdout();
    if which.json {
        output.json(&Listed { dead_letters: letters })?;
    } else {
        for Shown { sink, what, id, step, at, reason, detail } in &letters {
            let step = step.map(|step| format!(" {step}")).unwrap_or_default();
            output.line(format_args!("{sink}  {at}  {what} {id}{step}  {reason}: {detail}"))?;
        }
        if letters.is_empty() {
            output.line("no dead letters")?;
        }
    }
    output.finish()?;
    Ok(Exit::Good)
}

fn replay(which: &Which, environment: &Environment) -> Outcome {
    let parts = Parts::of(&config(&which.config, environment)?).map_err(Failure::invalid)?;
    let forwards = parts.forwards.iter().map(act::forward::Config::name);
    let configured: Vec<&str> = parts.sinks.iter().map(act::Config::name).chain(forwards).collect();
    let (store, sinks) = sinks(which, environment)?;
    let mut replayed = Vec::new();
    for sink in sinks {
        if !configured.contains(&sink.as_str()) {
            eprintln!("warning: no sink `{sink}` is configured; its dead letters stay where they are");
            continue;
        }
        let (incidents, records) = (store.replay_dead_letters(&sink)?, store.replay_dead_forwards(&sink)?);
        replayed.push(Replayed { sink, incidents, records });
    }
    let mut output = Output::stdout();
    if which.json {
        output.json(&AllReplayed { replayed })?;
    } else {
        for Replayed { sink, incidents, records } in &replayed {
            output
                .line(format_args!("{sink}: {incidents} incident steps and {records} records will be tried again"))?;
        }
        if replayed.is_empty() {
            output.line("nothing to try again")?;
        }
    }
    output.finish()?;
    Ok(Exit::Good)
}
