//! The command line: one file per command.

mod exit;
pub mod explain;

pub use exit::{Exit, Failure, Outcome};
