//! `run`: the daemon.

use super::ConfigFile;

/// Arguments of `run`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
    /// Read everything that the sources have, carry out what follows from it, and end.
    #[arg(long)]
    pub once: bool,
}
