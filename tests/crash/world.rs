//! One simulated org with its Okta and ServiceNow, and what a daemon needs to watch it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use authwatch::clock::monotonic;
use authwatch::event::{Span, Timestamp};
use authwatch::sim::{
    self, Awkward, Cohort, FaultPlan, Handles, OktaConfig, OktaFault, Org, Scenario, ServeConfig, ServiceNowConfig,
    ServiceNowFault,
};
use authwatch::store::Store;
use tempfile::TempDir;
use tokio::time::sleep;

/// What happens, happens on this Tuesday, in working hours.
pub(crate) const MOMENT: Timestamp = Timestamp(1_772_496_000_000 + Span::hours(14).0);
/// The log before the clock starts.
const HISTORY: Span = Span::hours(3);
/// Events a page: small, so that a short absence leaves more than one full page.
pub(crate) const PAGE: usize = 40;
/// The real length of a window of the simulated Okta's rate limit.
const WINDOW: Duration = Duration::from_secs(60);
/// Refusals for the rate limit begin and end this long before the end of a window, which they ask to wait for.
const BEFORE_RESET: Duration = Duration::from_millis(3_000);
const AT_RESET: Duration = Duration::from_millis(200);

/// What is served.
#[derive(Clone, Copy)]
pub(crate) struct Setting {
    /// The seed of the org, of its log and of the faults.
    pub(crate) seed: u64,
    /// The org's people.
    pub(crate) seats: u32,
    /// Where the clock starts; there is a history before it.
    pub(crate) begin: Timestamp,
    /// How much faster than real time it runs.
    pub(crate) speed: f64,
    /// No sign-in begins later.
    pub(crate) until: Timestamp,
}

/// A simulated org that is being served, and a state directory for the daemon that watches it.
pub(crate) struct World {
    pub(crate) servers: Handles,
    pub(crate) setting: Setting,
    dir: TempDir,
    limited: tokio::task::JoinHandle<()>,
}

impl World {
    /// Serves the org. The same setting gives the same log and the same faults by chance.
    pub(crate) async fn new(setting: Setting) -> Self {
        let Setting { seed, seats, begin, speed, until } = setting;
        let org = Arc::new(Org::new(seed, seats));
        let clock = sim::Clock::new(begin, speed);
        let start = begin - HISTORY;
        let served = ServeConfig {
            awkward: Awkward { repeats: 0.02, late: 0.005, odd: 0.002, bad: 0.003 },
            okta: okta(seed),
            servicenow: servicenow(seed),
            ..ServeConfig::of_scenario(org, Scenario::Rollback, MOMENT, start, until, clock)
        };
        let started = monotonic();
        let servers = sim::serve(served).await.expect("the servers start");
        // The first create of a ticket is written, and its reply is lost.
        for fault in [
            ServiceNowFault::TooManyBare,
            ServiceNowFault::ServerError,
            ServiceNowFault::ResetBefore,
            ServiceNowFault::ResetAfterCommit,
        ] {
            servers.servicenow.faults().queue(fault);
        }
        let limited = tokio::spawn(limit_rate(servers.okta.clone(), started, okta(seed).faults.chances));
        let world = Self { servers, setting, dir: tempfile::tempdir().expect("a directory"), limited };
        std::fs::write(world.config(), world.configuration()).expect("a file can be written");
        world
    }

    /// The daemon's configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("authwatch.yaml")
    }

    /// The secrets that it names.
    pub(crate) fn secrets(&self) -> Vec<(&'static str, String)> {
        let (okta, servicenow) = (OktaConfig::default(), ServiceNowConfig::default());
        vec![("OKTA_API_TOKEN", okta.token), ("SN_USER", servicenow.user), ("SN_PASSWORD", servicenow.password)]
    }

    /// The simulated time.
    pub(crate) fn now(&self) -> Timestamp {
        self.servers.clock.now()
    }

    /// Lets the log run to its end: everything that was ever to be committed is, late and repeated events too.
    pub(crate) fn end_log(&self) {
        self.servers.clock.advance(self.setting.until + Span::minutes(10) - self.now());
    }

    /// How many elements the log shows.
    pub(crate) fn shown(&self) -> usize {
        self.servers.okta.committed().expect("an element can be packed")
    }

    /// The state that a dead daemon has left.
    pub(crate) fn state(&self) -> Store {
        Store::open(&self.dir.path().join("state")).expect("the state opens")
    }

    fn configuration(&self) -> String {
        let org = Org::new(self.setting.seed, self.setting.seats);
        let people = |cohort: Cohort| org.members(cohort).collect::<Vec<_>>().join(", ");
        format!(
            "org: acme
state_dir: {state_dir:?}
listen: 127.0.0.1:0
sources:
  - okta:
      url: {okta}
      auth: {{ ssws: {{ env: OKTA_API_TOKEN }} }}
      start: {hours}h
      poll_interval: 150ms
      limit: {PAGE}
      rate_share: 1
sinks:
  - servicenow:
      url: {servicenow}
      auth: {{ basic: {{ user: {{ env: SN_USER }}, password: {{ env: SN_PASSWORD }} }} }}
      settle: {{ reads: 4, spread: 4s }}
cohorts:
  pilot: {{ users: [{pilot}] }}
  wave-1: {{ users: [{wave}] }}
incidents: {{ hold_down: 10m, catch_up: 1h }}
",
            state_dir = self.dir.path().join("state"),
            okta = self.servers.okta_url,
            servicenow = self.servers.servicenow_url,
            hours = HISTORY.0 / Span::hours(1).0 + 1,
            pilot = people(Cohort::Pilot),
            wave = people(Cohort::Wave1),
        )
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.limited.abort();
    }
}

fn okta(seed: u64) -> OktaConfig {
    let chances = vec![
        (OktaFault::ServerError, 0.006),
        (OktaFault::BadGateway, 0.006),
        (OktaFault::ResetBefore, 0.006),
        (OktaFault::ResetMidBody, 0.006),
        (OktaFault::Truncated, 0.006),
        (OktaFault::Slow, 0.006),
    ];
    OktaConfig {
        rate_limit: 60_000,
        slow: Duration::from_millis(500),
        faults: FaultPlan { seed, chances },
        ..OktaConfig::default()
    }
}

fn servicenow(seed: u64) -> ServiceNowConfig {
    let chances = vec![
        (ServiceNowFault::TooManyWithRetryAfter, 0.04),
        (ServiceNowFault::TooManyBare, 0.04),
        (ServiceNowFault::ServerError, 0.04),
        (ServiceNowFault::Unavailable, 0.04),
        (ServiceNowFault::ResetBefore, 0.04),
        (ServiceNowFault::ResetAfterCommit, 0.08),
        (ServiceNowFault::Hibernating, 0.02),
        (ServiceNowFault::Slow, 0.04),
    ];
    ServiceNowConfig {
        seed,
        slow: Duration::from_millis(500),
        retry_after: 1,
        // Rows show in reads a second or so after their creation, far sooner than `settle` gives up on them.
        visible_after: Span::seconds(75),
        faults: FaultPlan { seed, chances },
        ..ServiceNowConfig::default()
    }
}

/// Lets requests be refused for the rate limit near the end of each of its windows: such a 429 asks to wait for that
/// end, which at any other time is far away in simulated time.
async fn limit_rate(okta: sim::Okta, started: Instant, usual: Vec<(OktaFault, f64)>) {
    let refused = [(OktaFault::TooManyRequests, 0.1), (OktaFault::TooManyWithRemaining, 0.1)];
    let near_the_end: Vec<_> = usual.iter().copied().chain(refused).collect();
    let mut reset = started;
    loop {
        reset += WINDOW;
        sleep((reset - BEFORE_RESET).saturating_duration_since(monotonic())).await;
        okta.faults().set_chances(near_the_end.clone());
        sleep((reset - AT_RESET).saturating_duration_since(monotonic())).await;
        okta.faults().set_chances(usual.clone());
    }
}
