//! The command line: one file per command.

mod exit;

pub use exit::{Exit, Failure, Outcome};
