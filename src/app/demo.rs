//! A daemon against a simulated org: the code of `run`, over HTTP on loopback, in one process.
//!
//! The simulated Okta and ServiceNow listen on a port of their own; the daemon is configured with their addresses and
//! tokens like any other, reads a morning of history first, and keeps its state in a folder that goes away with it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

use super::{Running, Setup};
use crate::config::{Config, Environment};
use crate::event::{Span, Timestamp};
use crate::sim::{self, Awkward, Cohort, Handles, OktaConfig, Org, Scenario, ServeConfig, ServiceNowConfig};
use crate::telemetry::exposition::Handle;

/// The history that the daemon reads first.
const HISTORY: Span = Span::hours(6);
/// From the clock's start to what happens.
const LEAD: Span = Span::minutes(15);
/// How long the simulated org goes on after it.
const AFTER: Span = Span::hours(24 * 7);
/// What happens, happens on this Tuesday, at the scenario's usual hour.
const DAY: Timestamp = Timestamp(1_772_496_000_000);

/// What to show.
#[derive(Clone, Debug)]
pub struct Options {
    /// What happens.
    pub scenario: Scenario,
    /// The seed of the org.
    pub seed: u64,
    /// Its people.
    pub seats: u32,
    /// How many times faster than real time.
    pub speed: f64,
    /// Where the daemon's web server listens.
    pub listen: SocketAddr,
}

/// A demo that runs.
pub struct Demo {
    /// The daemon.
    pub daemon: Running,
    /// The simulated org's servers.
    pub servers: Handles,
    /// When it happens.
    pub moment: Timestamp,
    state_dir: PathBuf,
}

/// Starts the simulated org and the daemon.
///
/// # Errors
/// Where an address is taken or the state cannot be written.
pub async fn start(options: Options, metrics: Arc<Handle>) -> anyhow::Result<Demo> {
    let Options { scenario, seed, seats, speed, listen } = options;
    let org = Arc::new(Org::new(seed, seats));
    let moment = DAY + scenario.usual_offset();
    let begin = moment - LEAD;
    let okta = OktaConfig { rate_limit: 6_000, ..OktaConfig::default() };
    let servicenow = ServiceNowConfig::default();
    let secrets = [
        ("OKTA_API_TOKEN", okta.token.clone()),
        ("SN_USER", servicenow.user.clone()),
        ("SN_PASSWORD", servicenow.password.clone()),
    ];
    let servers = sim::serve(ServeConfig {
        timeline: scenario.timeline(&org, moment),
        scenario: Some(scenario),
        start: begin - HISTORY - Span::hours(1),
        until: moment + AFTER,
        clock: sim::Clock::new(begin, speed),
        awkward: Awkward::default(),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        okta,
        servicenow,
        org: org.clone(),
    })
    .await?;
    let state_dir = std::env::temp_dir().join(format!("authwatch-demo-{}-{seed}", std::process::id()));
    let text = configuration(&servers, &org, &state_dir, listen);
    let environment: Environment = secrets.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let config = Config::parse(&text, Path::new("demo.yaml"), &environment)?;
    let daemon = super::start(Setup { config, path: None, environment, once: false, metrics }).await?;
    Ok(Demo { daemon, servers, moment, state_dir })
}

impl Demo {
    /// Stops everything and removes the state.
    ///
    /// # Errors
    /// Where the daemon failed or the state cannot be removed.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.daemon.stop(false).await?;
        self.servers.shutdown().await;
        let shown = self.state_dir.display();
        std::fs::remove_dir_all(&self.state_dir).with_context(|| format!("cannot remove `{shown}`"))
    }
}

/// The daemon's configuration, as a user would write it.
fn configuration(servers: &Handles, org: &Org, state_dir: &Path, listen: SocketAddr) -> String {
    format!(
        "org: acme
state_dir: {state_dir:?}
listen: {listen}
sources:
  - okta:
      url: {okta}
      auth: {{ ssws: {{ env: OKTA_API_TOKEN }} }}
      start: {hours}h
      poll_interval: 500ms
      policies: true
sinks:
  - servicenow:
      url: {servicenow}
      auth: {{ basic: {{ user: {{ env: SN_USER }}, password: {{ env: SN_PASSWORD }} }} }}
cohorts:
  pilot: {{ groups: [{pilot}] }}
  wave-1: {{ groups: [{wave}] }}
",
        okta = servers.okta_url,
        servicenow = servers.servicenow_url,
        hours = HISTORY.0 / Span::hours(1).0,
        pilot = org.groups[Cohort::Pilot.as_str()],
        wave = org.groups[Cohort::Wave1.as_str()],
    )
}
