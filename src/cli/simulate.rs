//! `authwatch simulate`: a simulated org as files, or as Okta and ServiceNow over HTTP.
//!
//! Files: `events.ndjson` (the System Log, one element a line, in commit order), `policies.json` (the policies before
//! any push) and `truth.json`. The same arguments give the same bytes. A day of 3,500 seats is about 0.5 GB.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{Exit, Failure, Outcome};
use crate::event::{Span, Timestamp};
use crate::sim::policies::PolicyState;
use crate::sim::{Awkward, Clock, Handles, Log, Org, Scenario, ServeConfig, serve};

/// How long before the scenario happens a served clock starts: long enough to start a daemon by hand.
const LEAD: Span = Span::minutes(15);

/// Simulate an org: its sign-ins, its policies, a bad push, and the truth about it.
#[derive(Clone, PartialEq, Debug, clap::Args)]
pub struct Args {
    /// What happens: bad-push-everyone, bad-push-app, bad-push-pilot, rollback, quiet-week, one-person-500, monday-surge
    #[arg(long, default_value = "rollback")]
    pub scenario: Scenario,
    /// How many days the log covers
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=366))]
    pub days: u32,
    /// How many people the org has
    #[arg(long, default_value_t = 3_500, value_parser = clap::value_parser!(u32).range(4..=100_000))]
    pub seats: u32,
    /// The seed: the same seed gives the same bytes
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// When the log starts, RFC 3339; the default is a Monday
    #[arg(long, default_value = "2026-03-02T00:00:00Z", value_parser = time)]
    pub start: Timestamp,
    /// Write events.ndjson, policies.json and truth.json into this directory
    #[arg(long, value_name = "DIR", required_unless_present = "serve", conflicts_with = "serve")]
    pub out: Option<PathBuf>,
    /// Serve Okta (/api/v1) and ServiceNow (/api/now) on this address until interrupted
    #[arg(long, value_name = "ADDR")]
    pub serve: Option<SocketAddr>,
    /// How many simulated seconds pass in a real one, with --serve
    #[arg(long, default_value_t = 1.0, value_parser = speed, conflicts_with = "out")]
    pub speed: f64,
    /// The share of log elements that are no event at all, between 0 and 1
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub bad: f64,
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| format!("`{text}` is no RFC 3339 time (write 2026-03-02T00:00:00Z)"))
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse::<f64>().ok().filter(|speed| speed.is_finite() && *speed > 0.0 && *speed <= 100_000.0);
    speed.ok_or_else(|| format!("`{text}` is no speed (a number above 0, at most 100000)"))
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("`{text}` is no share (a number between 0 and 1)"))
}

/// Runs the command; with `--serve` until ctrl-c.
///
/// # Errors
/// Where a file cannot be written or the address cannot be had.
pub async fn run(args: &Args) -> Outcome {
    match (&args.out, args.serve) {
        (Some(out), _) => write(args, out).map_err(Failure::could_not_run)?,
        (None, Some(address)) => listen(args, address).await?,
        (None, None) => return Err(Failure::usage("one of `--out` and `--serve` is needed")),
    }
    Ok(Exit::Good)
}

impl Args {
    fn until(&self) -> Timestamp {
        self.start + Span::hours(24 * i64::from(self.days))
    }

    fn moment(&self) -> Timestamp {
        self.start + self.scenario.usual_offset()
    }

    fn awkward(&self) -> Awkward {
        Awkward { bad: self.bad, ..Awkward::default() }
    }
}

fn write(args: &Args, out: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(out).with_context(|| format!("cannot create directory `{}`", out.display()))?;
    let org = Arc::new(Org::new(args.seed, args.seats));
    write_json(&out.join("policies.json"), &org.policies(&PolicyState::base()))?;
    let mut log = Log::of_scenario(org, args.scenario, args.moment(), args.start, args.until(), args.awkward());
    let path = out.join("events.ndjson");
    write_events(&path, &mut log, args).with_context(|| format!("cannot write `{}`", path.display()))?;
    write_json(&out.join("truth.json"), &log.truth())
}

fn write_events(path: &Path, log: &mut Log, args: &Args) -> io::Result<()> {
    let bar = ProgressBar::new(u64::from(args.days) * 24).with_style(
        ProgressStyle::with_template("simulating {bar:30} hour {pos} of {len}, {msg}, {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let mut file = BufWriter::new(File::create(path)?);
    let mut written = 0_u64;
    for entry in log {
        file.write_all(entry.json.as_bytes())?;
        file.write_all(b"\n")?;
        written += 1;
        if written.is_multiple_of(1_000) {
            let hours = (entry.commit - args.start).0 / Span::hours(1).0;
            bar.set_position(hours.max(0).unsigned_abs());
            bar.set_message(format!("{written} elements"));
        }
    }
    bar.finish_and_clear();
    file.flush()
}

fn write_json(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let write = || -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        serde_json::to_writer_pretty(&mut file, value)?;
        file.write_all(b"\n")?;
        file.flush()
    };
    write().with_context(|| format!("cannot write `{}`", path.display()))
}

async fn listen(args: &Args, address: SocketAddr) -> anyhow::Result<()> {
    let org = Arc::new(Org::new(args.seed, args.seats));
    let clock = Clock::new(args.moment() - LEAD, args.speed);
    let config = ServeConfig::of_scenario(org, args.scenario, args.moment(), args.start, args.until(), clock);
    let token = config.okta.token.clone();
    let (user, password) = (config.servicenow.user.clone(), config.servicenow.password.clone());
    let handles = serve(ServeConfig { awkward: args.awkward(), listen: address, ..config }).await?;
    let Handles { okta_url, servicenow_url, clock, .. } = &handles;
    println!("okta        {okta_url}   token {token}");
    println!("servicenow  {servicenow_url}   user {user}, password {password}");
    println!(
        "simulated time {} at {} times the speed; `{}` at {}",
        clock.now(),
        args.speed,
        args.scenario,
        args.moment()
    );
    tokio::signal::ctrl_c().await.context("cannot wait for ctrl-c")?;
    handles.shutdown().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(words: &[&str]) -> Result<Args, clap::Error> {
        Cli::try_parse_from([&["simulate"], words].concat()).map(|cli| cli.args)
    }

    #[test]
    fn files_or_servers_but_not_both_and_not_neither() {
        let args = parse(&["--scenario", "bad-push-app", "--days", "2", "--out", "x"]).expect("valid");
        assert_eq!((args.scenario, args.days, args.seats), (Scenario::BadPushApp, 2, 3_500));
        assert!(parse(&["--serve", "127.0.0.1:0", "--speed", "60"]).is_ok());
        for wrong in [
            &[][..],
            &["--out", "x", "--serve", "127.0.0.1:0"],
            &["--out", "x", "--speed", "2"],
            &["--out", "x", "--scenario", "worst"],
            &["--out", "x", "--days", "0"],
            &["--out", "x", "--start", "monday"],
            &["--serve", "127.0.0.1:0", "--speed", "-1"],
            &["--out", "x", "--bad", "1.5"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
