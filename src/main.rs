//! The binary: parse, dispatch, exit code.

use std::process::ExitCode;

use authwatch::cli::Cli;
use clap::Parser as _;

fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("error: {:#}", failure.error);
            failure.exit.into()
        }
    }
}
