//! `replay`: the core over recorded events, on the events' own clock.

use std::path::PathBuf;

/// Arguments of `replay`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Files of events, read in this order; `-` is stdin.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Configuration file; defaults hold without one.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
    /// The JSON of an earlier replay; ends with 1 where the incidents differ.
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// The incidents that must come out; ends with 1 where they do not.
    #[arg(long, value_name = "FILE")]
    pub expect: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: super::Args,
    }

    #[test]
    fn stdin_and_flags_after_files_are_understood_and_no_file_is_not() {
        let line = Line::try_parse_from(["replay", "a.ndjson", "-", "--json", "--compare", "b.json"]).expect("parses");
        assert_eq!(line.args.files, ["a.ndjson", "-"].map(std::path::PathBuf::from));
        assert!(line.args.json && line.args.compare.is_some() && line.args.expect.is_none());
        assert!(Line::try_parse_from(["replay", "--json"]).is_err());
    }
}
