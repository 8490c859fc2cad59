//! The command line: one file per command.

mod exit;
pub mod simulate;

pub use exit::{Exit, Failure, Outcome};
