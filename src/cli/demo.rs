//! `demo`: a simulated org and a real daemon on one machine, with nothing to configure.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Exit, Failure, Outcome, log_level, no_color};
use crate::action::Incident;
use crate::app::demo::{self, Demo, Options};
use crate::app::signals::{Asked, Signals};
use crate::config::Environment;
use crate::event::{Span, Timestamp};
use crate::sim::Scenario;
use crate::telemetry::{exposition, log};
use crate::web::View;

/// One line on stdout. A reader that has gone away (`| head`) does not end the demo.
macro_rules! say {
    ($($text:tt)*) => {{
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

/// The sink's name in the demo's configuration.
const SINK: &str = "servicenow";
/// How often the summary is printed, in simulated time.
const SUMMARY_EVERY: Span = Span::minutes(5);
/// How often the daemon is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// With `--exit-after-resolve`: give up when nothing has resolved after this long in the simulated org.
const PATIENCE: Span = Span::hours(6);

/// Arguments of `demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What happens in the simulated org.
    #[arg(long, value_name = "NAME", default_value_t = Scenario::Rollback)]
    pub scenario: Scenario,
    /// How many times faster than real time.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub speed: u32,
    /// Where the web server listens.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9464")]
    pub listen: SocketAddr,
    /// The simulated org's seed.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The simulated org's people.
    #[arg(long, value_name = "N", default_value_t = 3_500, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    pub seats: u32,
    /// End once the incident has resolved and its ticket says so.
    #[arg(long)]
    pub exit_after_resolve: bool,
}

/// Runs the demo until it is stopped, or until the incident has resolved.
///
/// # Errors
/// Where it cannot start.
pub fn run(args: &Args, environment: &Environment) -> Outcome {
    let level = log_level(&log::Level::new("warn")?, environment)?;
    log::init(log::Format::Text, &level, no_color(environment))?;
    super::runtime()?.block_on(show(args))
}

async fn show(args: &Args) -> Outcome {
    let mut signals = Signals::register()?;
    let options = Options {
        scenario: args.scenario,
        seed: args.seed,
        seats: args.seats,
        speed: f64::from(args.speed),
        listen: args.listen,
    };
    say!("simulating an org of {} people, at {} times real time …", args.seats, args.speed);
    let demo = demo::start(options, Arc::new(exposition::install()?)).await?;
    say!("page     http://{}/", demo.daemon.address);
    say!("metrics  http://{}/metrics", demo.daemon.address);
    say!("status   http://{}/api/v1/status", demo.daemon.address);
    say!("okta     {} (simulated)   servicenow the same", demo.servers.okta_url);
    say!("{} happens at {} UTC, simulated time\n", args.scenario, clock(demo.moment));
    let ended = tokio::select! {
        ended = watch(&demo, args.exit_after_resolve) => ended,
        () = until_stopped(&mut signals) => Ok(Exit::Good),
    };
    demo.stop().await?;
    ended
}

async fn until_stopped(signals: &mut Signals) {
    while signals.next().await != Asked::Stop {}
}

/// Prints what changes, and a summary now and then.
async fn watch(demo: &Demo, exit_after_resolve: bool) -> Outcome {
    let mut shown: BTreeMap<String, Shown> = BTreeMap::new();
    let mut next_summary = demo.servers.clock.now();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let view = demo.daemon.view.borrow().clone();
        let now = demo.servers.clock.now();
        if now >= next_summary {
            next_summary = now + SUMMARY_EVERY;
            say!("{}", summary(&view, now));
        }
        for incident in &view.incidents {
            let before = shown.entry(incident.key.to_string()).or_default();
            announce(demo, incident, before);
            if exit_after_resolve && before.resolved {
                return Ok(Exit::Good);
            }
        }
        if exit_after_resolve && now - demo.moment > PATIENCE {
            let error = anyhow::anyhow!("no incident has resolved {} h after the push", PATIENCE.0 / Span::hours(1).0);
            return Err(Failure { exit: Exit::Negative, error });
        }
    }
}

/// What was printed of an incident.
#[derive(Default)]
struct Shown {
    opened: bool,
    resolved: bool,
}

/// Prints an incident once its ticket has a number, and again once the ticket is resolved.
fn announce(demo: &Demo, incident: &Incident, shown: &mut Shown) {
    let entry = demo.daemon.store.ledger(SINK, &incident.key).ok().flatten();
    let Some(number) = entry.and_then(|entry| entry.number) else { return };
    if !shown.opened {
        shown.opened = true;
        say!("\n  OPENED   {number}  {}", incident.title);
        say!("           onset {} UTC, opened {} UTC", clock(incident.onset), clock(incident.opened_at));
        for (label, values) in [
            ("apps", &incident.evidence.top_apps),
            ("platforms", &incident.evidence.top_platforms),
            ("os versions", &incident.evidence.top_os_versions),
        ] {
            let list: Vec<String> = values.iter().map(|(value, people)| format!("{value} ({people})")).collect();
            say!("           {label}: {}", list.join(", "));
        }
        say!("");
    }
    let rows = demo.servers.servicenow.rows();
    let is_ours = |row: &&crate::sim::servicenow::Row| row.get("number") == number;
    let is_resolved = rows.iter().find(is_ours).is_some_and(|row| row.get("state") == "6");
    if let (false, true, Some(at)) = (shown.resolved, is_resolved, incident.resolved_at) {
        shown.resolved = true;
        say!("\n  RESOLVED {number}  {} people were refused", incident.people);
        say!(
            "           onset {} UTC, opened {} UTC, resolved {} UTC\n",
            clock(incident.onset),
            clock(incident.opened_at),
            clock(at)
        );
    }
}

fn summary(view: &View, now: Timestamp) -> String {
    let is_org = |row: &&crate::web::SeriesRow| row.is_whole_org() && row.window == "5m";
    let row = view.series.iter().find(is_org);
    let ratio = row.and_then(|row| row.success_ratio);
    let success = ratio.map_or_else(|| "    –".to_owned(), |ratio| format!("{:5.1}", ratio * 100.0));
    let refused = row.and_then(|row| row.refused_people).unwrap_or(0);
    format!(
        "{} UTC  {:>7} events  success {success} %  refused in 5 min {refused:>4} people  open incidents {}",
        clock(now),
        view.status.events,
        view.status.incidents_open
    )
}

fn clock(at: Timestamp) -> String {
    at.to_utc().format("%H:%M:%S").to_string()
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
        for (speed, expect) in [("1", Some(1)), ("1000", Some(1_000)), ("0", None), ("1001", None), ("fast", None)] {
            let line = Line::try_parse_from(["demo", "--speed", speed]).ok();
            assert_eq!(line.map(|line| line.args.speed), expect, "{speed}");
        }
    }
}
