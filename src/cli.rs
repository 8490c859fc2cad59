//! The command line: one file per command.
//!
//! Results go to stdout, everything else to stderr. Exit codes are in [`Exit`].

pub mod check;
pub mod demo;
mod exit;
pub mod explain;
mod output;
pub mod redact;
pub mod replay;
pub mod run;
pub mod simulate;
pub mod state;
pub mod validate;
pub mod version;
pub mod whatif;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::Environment;
use crate::telemetry::log::Level;

pub use exit::{Exit, Failure, Outcome};
pub use output::Output;

/// The watchdog of a company's sign-in: Okta System Log in, one true incident out.
#[derive(Debug, Parser)]
#[command(name = "authwatch", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon.
    Run(run::Args),
    /// Show it all on a simulated org: a bad push, an incident, a rollback.
    Demo(demo::Args),
    /// Run recorded events through the core and report.
    Replay(replay::Args),
    /// Say what each record of a log means.
    Explain(explain::ExplainArgs),
    /// Say whom a change of device assurance would refuse, or what the fleet is like.
    Whatif(whatif::Args),
    /// Check a configuration without binding or connecting anything.
    Validate(validate::Args),
    /// Ask every system whether it would let the daemon work, and say who can grant what is missing.
    Check(check::Args),
    /// Make or serve a simulated org's log.
    Simulate(simulate::Args),
    /// Look at the stored state, move it, reset it, or forget a person.
    State(state::Args),
    /// Say which version this is.
    Version(version::Args),
}

impl Command {
    /// Carries the command out.
    ///
    /// # Errors
    /// With the exit code and what to do.
    pub fn run(self) -> Outcome {
        let environment = Environment::of_process();
        match self {
            Self::Run(args) => run::run(&args, &environment),
            Self::Demo(args) => demo::run(&args, &environment),
            Self::Replay(args) => replay::run(&args, &environment),
            Self::Explain(args) => explain::run(&args, &environment),
            Self::Whatif(args) => whatif::run(&args, &environment),
            Self::Validate(args) => validate::run(&args, &environment),
            Self::Check(args) => check::run(&args, &environment),
            Self::Simulate(args) => runtime()?.block_on(simulate::run(&args)),
            Self::State(args) => state::run(&args, &environment),
            Self::Version(args) => version::run(&args),
        }
    }
}

/// The runtime of a command that needs one.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Where the configuration is.
#[derive(Clone, Debug, clap::Args)]
pub struct ConfigFile {
    /// Configuration file.
    #[arg(long = "config", value_name = "FILE", default_value = "/etc/authwatch/authwatch.yaml")]
    pub path: PathBuf,
}

/// What is logged: as the variable `RUST_LOG` says, else as configured.
fn log_level(configured: &Level, environment: &Environment) -> Result<Level, Failure> {
    configured.or_variable(environment.get("RUST_LOG")).map_err(Failure::invalid)
}

/// Whether colours are unwanted (`NO_COLOR`, set to anything but nothing).
pub fn no_color(environment: &Environment) -> bool {
    environment.get("NO_COLOR").is_some_and(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_wrong_command_line_ends_with_the_usage_code() {
        for line in [&["authwatch", "rnu"][..], &["authwatch", "validate", "--confg", "x"], &["authwatch"]] {
            let error = Cli::try_parse_from(line).expect_err("usage");
            assert_eq!(error.exit_code(), Exit::Usage as i32, "{line:?}");
        }
        assert_eq!(Cli::try_parse_from(["authwatch", "--version"]).expect_err("version").exit_code(), 0);
    }

    #[test]
    fn no_color_counts_when_it_is_not_empty() {
        for (value, expect) in [(Some("1"), true), (Some("0"), true), (Some(""), false), (None, false)] {
            let environment: Environment = value.map(|value| ("NO_COLOR", value)).into_iter().collect();
            assert_eq!(no_color(&environment), expect, "{value:?}");
        }
    }
}
