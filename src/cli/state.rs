//! `state`: what is stored, moved, reset or forgotten. The daemon must not run: one process owns a state.

use std::path::PathBuf;

use clap::Subcommand;

use super::ConfigFile;

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
    /// The file; `-` is stdout or stdin.
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
