//! `state`: what is stored, moved, reset or forgotten. The daemon must not run: one process owns a state.

mod dead_letters;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::{ConfigFile, Exit, Failure, Outcome, Output};
use crate::act;
use crate::app::parts::Parts;
use crate::app::{self, Recovered, policies};
use crate::config::{Config, Environment};
use crate::event::{Person, Reject, SourceName, Timestamp};
use crate::input::CoreConfig;
use crate::store::Store;

/// Arguments of `state`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done with the state.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// Show positions, counts and what is waiting.
    Show(Show),
    /// Write the state to a file.
    Export(Move),
    /// Read the state from a file that `export` wrote.
    Import(Move),
    /// Forget everything and begin anew.
    Reset(Reset),
    /// Forget one person.
    Forget(Forget),
    /// What sinks gave up: list it, or put it back.
    DeadLetters(dead_letters::Args),
}

/// Arguments of `state show`.
#[derive(Clone, Debug, clap::Args)]
pub struct Show {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `state export` and `state import`.
#[derive(Clone, Debug, clap::Args)]
pub struct Move {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
    /// The file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Arguments of `state reset`.
#[derive(Clone, Debug, clap::Args)]
pub struct Reset {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
    /// Yes, forget everything.
    #[arg(long, required = true)]
    pub yes: bool,
}

/// Arguments of `state forget`.
#[derive(Clone, Debug, clap::Args)]
pub struct Forget {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
    /// Okta's id of the person (`00u…`).
    #[arg(value_name = "PERSON")]
    pub person: String,
}

#[derive(Serialize)]
struct Shown {
    file: String,
    events: u64,
    duplicates: u64,
    late: u64,
    rejected: BTreeMap<Reject, u64>,
    incidents_open: u64,
    journal: u64,
    digest: String,
    sources: Vec<ShownSource>,
    sinks: Vec<ShownSink>,
}

#[derive(Serialize)]
struct ShownSource {
    name: String,
    watermark_of_org: Option<Timestamp>,
}

#[derive(Serialize)]
struct ShownSink {
    name: String,
    waiting: u64,
    dead_letters: usize,
    tickets: Vec<ShownTicket>,
}

#[derive(Serialize)]
struct ShownTicket {
    incident: String,
    number: Option<String>,
    revision: u32,
}

/// Runs the command.
///
/// # Errors
/// Where the state is in use, cannot be read or cannot be written.
pub fn run(args: &Args, environment: &Environment) -> Outcome {
    match &args.action {
        Action::Show(args) => show(args, environment),
        Action::Export(args) => {
            let store = existing(&config(&args.config, environment)?)?;
            store.export(&args.file)?;
            eprintln!("exported to `{}`", args.file.display());
            Ok(Exit::Good)
        }
        Action::Import(args) => {
            Store::import(&config(&args.config, environment)?.state_dir, &args.file)?;
            eprintln!("imported from `{}`", args.file.display());
            Ok(Exit::Good)
        }
        Action::Reset(args) => {
            Store::reset(&config(&args.config, environment)?.state_dir)?;
            eprintln!("the state is gone; the next start begins at the cold-start window");
            Ok(Exit::Good)
        }
        Action::Forget(args) => forget(args, environment),
        Action::DeadLetters(args) => dead_letters::run(args, environment),
    }
}

fn config(file: &ConfigFile, environment: &Environment) -> Result<Config, Failure> {
    Config::load(&file.path, environment).map_err(Failure::invalid)
}

/// The state that is there: looking at one does not begin one.
fn existing(config: &Config) -> Result<Store, Failure> {
    let dir = &config.state_dir;
    if !dir.join("state.redb").exists() {
        let dir = dir.display();
        return Err(Failure::could_not_run(anyhow::anyhow!(
            "there is no state in `{dir}` (it begins with the first `authwatch run`)"
        )));
    }
    Ok(Store::open(dir)?)
}

fn show(args: &Show, environment: &Environment) -> Outcome {
    let config = config(&args.config, environment)?;
    let parts = Parts::of(&config).map_err(Failure::invalid)?;
    let store = existing(&config)?;
    let Recovered { watch, positions, .. } = app::recover(&store)?;
    let mut shown = Shown {
        file: store.path().display().to_string(),
        events: 0,
        duplicates: 0,
        late: 0,
        rejected: BTreeMap::new(),
        incidents_open: 0,
        journal: store.journal_last()?,
        digest: watch.digest().hex(),
        sources: Vec::new(),
        sinks: Vec::new(),
    };
    for org in watch.orgs() {
        let counts = org.counts();
        shown.events += counts.events_total();
        shown.duplicates += counts.duplicates;
        shown.late += counts.late;
        counts.rejected.iter().for_each(|(reason, n)| *shown.rejected.entry(*reason).or_default() += n);
        shown.incidents_open += org.open_incidents().count() as u64;
    }
    let watermark = watch.orgs().map(|org| org.watermark()).min().filter(|at| *at > Timestamp::MIN);
    let source = |name: &SourceName| ShownSource { name: name.to_string(), watermark_of_org: watermark };
    shown.sources = positions.keys().map(source).collect();
    for name in parts.sinks.iter().map(act::Config::name) {
        let tickets = store.ledger_all(name)?.into_iter();
        shown.sinks.push(ShownSink {
            name: name.to_owned(),
            waiting: store.count(name)?,
            dead_letters: store.dead_letters(name)?.len(),
            tickets: tickets
                .map(|(incident, entry)| ShownTicket { incident, number: entry.number, revision: entry.revision })
                .collect(),
        });
    }
    for name in parts.forwards.iter().map(act::forward::Config::name) {
        shown.sinks.push(ShownSink {
            name: name.to_owned(),
            waiting: store.forward_waiting(name)?,
            dead_letters: store.dead_forwards(name)?.len(),
            tickets: Vec::new(),
        });
    }
    let mut output = Output::stdout();
    if args.json {
        output.json(&shown)?;
    } else {
        text(&shown, &mut output)?;
    }
    output.finish()?;
    Ok(Exit::Good)
}

fn text(shown: &Shown, output: &mut Output<impl std::io::Write>) -> std::io::Result<()> {
    output.line(format_args!("state        {}", shown.file))?;
    output
        .line(format_args!("events       {} ({} duplicates, {} late)", shown.events, shown.duplicates, shown.late))?;
    for (reason, n) in &shown.rejected {
        output.line(format_args!("rejected     {n} {reason}"))?;
    }
    output.line(format_args!("open         {} incidents", shown.incidents_open))?;
    for source in &shown.sources {
        let until =
            source.watermark_of_org.map_or_else(|| "nothing judged yet".to_owned(), |at| format!("judged to {at}"));
        output.line(format_args!("source       {}: {until}", source.name))?;
    }
    for sink in &shown.sinks {
        output.line(format_args!(
            "sink         {}: {} waiting, {} dead letters",
            sink.name, sink.waiting, sink.dead_letters
        ))?;
        for ticket in &sink.tickets {
            let number = ticket.number.as_deref().unwrap_or("no number yet");
            output.line(format_args!("ticket       {number} for {}, revision {}", ticket.incident, ticket.revision))?;
        }
    }
    output.line(format_args!("digest       {}", shown.digest))
}

/// Folds everything, forgets the person, and stores the result as the only snapshot: the journal that named the person
/// goes with it. The configuration is taken anew, so that a person who was taken out of a cohort is in no stored one.
fn forget(args: &Forget, environment: &Environment) -> Outcome {
    let config = config(&args.config, environment)?;
    let parts = Parts::of(&config).map_err(Failure::invalid)?;
    let person = Person::new(&args.person);
    let mut store = existing(&config)?;
    let mut watch = app::recover(&store)?.watch;
    let named = names(&parts.core, &person);
    for input in policies::inputs(&watch.config().clone(), &parts.core, &parts.policies) {
        watch.handle(&input);
    }
    watch.forget(&person);
    let undelivered = store.forget_forwards(&person)?;
    store.write_snapshot(store.journal_last()?, &watch.snapshot()?)?;
    store.purge_journal()?;
    eprintln!("forgotten; counters, incidents and tickets keep their numbers and name nobody");
    if undelivered > 0 {
        eprintln!("{undelivered} records about this person were still to be forwarded, and are gone");
    }
    if named {
        eprintln!(
            "warning: the configuration still names this person in `cohorts` or `break_glass`, so the state does too \
             (take the person out, then forget again)"
        );
    }
    Ok(Exit::Good)
}

/// Whether a cohort or the list of break-glass people holds the person.
fn names(config: &CoreConfig, person: &Person) -> bool {
    config
        .orgs
        .values()
        .any(|org| org.break_glass.contains(person) || org.cohorts.iter().any(|cohort| cohort.users.contains(person)))
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
    fn nothing_is_reset_without_a_yes() {
        assert!(Line::try_parse_from(["state", "reset"]).is_err());
        let line = Line::try_parse_from(["state", "reset", "--yes", "--config", "a.yaml"]).expect("parses");
        let Action::Reset(reset) = line.args.action else { panic!("reset") };
        assert_eq!((reset.yes, reset.config.path), (true, PathBuf::from("a.yaml")));
    }
}
