//! `version`: which build this is.

use serde::Serialize;

use super::{Exit, Outcome, Output};

/// Arguments of `version`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

/// Prints the version.
///
/// # Errors
/// Where stdout cannot be written.
pub fn run(args: &Args) -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    let mut output = Output::stdout();
    if args.json { output.json(&Version { version }) } else { output.line(format_args!("authwatch {version}")) }?;
    output.finish()?;
    Ok(Exit::Good)
}
