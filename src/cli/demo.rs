//! `demo`: a simulated org and a real daemon on one machine, with nothing to configure.

use std::net::SocketAddr;

/// Arguments of `demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What happens in the simulated org.
    #[arg(long, value_name = "NAME", default_value = "bad-push")]
    pub scenario: String,
    /// How many times faster than real time.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub speed: u32,
    /// Where the web server listens.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9464")]
    pub listen: SocketAddr,
    /// End once the incident has resolved.
    #[arg(long)]
    pub exit_after_resolve: bool,
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
    fn speed_has_bounds() {
        for (speed, expect) in [("1", Some(1)), ("10000", Some(10_000)), ("0", None), ("10001", None), ("fast", None)] {
            let line = Line::try_parse_from(["demo", "--speed", speed]).ok();
            assert_eq!(line.map(|line| line.args.speed), expect, "{speed}");
        }
    }
}
