//! Both servers on one address of this machine, over one clock.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::clock::Clock;
use super::log::{Awkward, Log};
use super::okta::{Okta, OktaConfig};
use super::org::Org;
use super::scenario::{Scenario, Timeline};
use super::servicenow::{ServiceNow, ServiceNowConfig};
use super::wire::{CuttableListener, Wire};
use crate::event::Timestamp;

/// What to serve.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// The org.
    pub org: Arc<Org>,
    /// What happens, at absolute simulated times.
    pub timeline: Timeline,
    /// The scenario that the timeline came from, for the truth.
    pub scenario: Option<Scenario>,
    /// The log's first instant; earlier than the clock's start for a backlog.
    pub start: Timestamp,
    /// No flow starts later.
    pub until: Timestamp,
    /// The simulated clock.
    pub clock: Clock,
    /// How awkward the log is.
    pub awkward: Awkward,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The simulated Okta.
    pub okta: OktaConfig,
    /// The simulated ServiceNow.
    pub servicenow: ServiceNowConfig,
}

impl ServeConfig {
    /// A scenario that happens at `moment`, on a free port of this machine, with the usual tokens and no faults.
    pub fn of_scenario(
        org: Arc<Org>,
        scenario: Scenario,
        moment: Timestamp,
        start: Timestamp,
        until: Timestamp,
        clock: Clock,
    ) -> Self {
        Self {
            timeline: scenario.timeline(&org, moment),
            org,
            scenario: Some(scenario),
            start,
            until,
            clock,
            awkward: Awkward::default(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            okta: OktaConfig::default(),
            servicenow: ServiceNowConfig::default(),
        }
    }
}

/// Why the servers did not start.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The address is taken or not ours.
    #[error("cannot listen on `{address}` (choose another address, or port 0 for a free one)")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The backlog could not be made.
    #[error("cannot prepare the simulated log")]
    Backlog(#[source] io::Error),
}

/// The running servers. Dropping it stops them at once.
pub struct Handles {
    /// Where Okta answers (`http://127.0.0.1:PORT`).
    pub okta_url: String,
    /// Where ServiceNow answers; the same address.
    pub servicenow_url: String,
    /// Okta: faults, token, truth.
    pub okta: Okta,
    /// ServiceNow: rows, faults, human actions.
    pub servicenow: ServiceNow,
    /// The simulated clock.
    pub clock: Clock,
    stop: watch::Sender<bool>,
    task: JoinHandle<io::Result<()>>,
}

/// Starts both servers; the backlog up to the clock's time is there when this returns.
///
/// # Errors
/// Where the address cannot be had or the backlog cannot be made.
pub async fn serve(config: ServeConfig) -> Result<Handles, ServeError> {
    let ServeConfig { org, timeline, scenario, start, until, clock, awkward, listen, okta, servicenow } = config;
    let failed = |source| ServeError::Listen { address: listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let pushes = timeline.pushes.clone();
    let log = Log::new(org, timeline, start, until, awkward).named(scenario);
    let okta = Okta::new(okta, log, pushes, clock.clone(), address);
    let backlog = okta.clone();
    let made = tokio::task::spawn_blocking(move || backlog.committed()).await;
    made.map_err(io::Error::other).and_then(|made| made).map_err(ServeError::Backlog)?;
    let servicenow = ServiceNow::new(servicenow, clock.clone(), address);
    let router = okta.router().merge(servicenow.router());
    let (stop, mut stopped) = watch::channel(false);
    let service = router.into_make_service_with_connect_info::<Wire>();
    let server = axum::serve(CuttableListener(listener), service).with_graceful_shutdown(async move {
        // An error means that the handles are gone, which stops the server as well.
        let _ = stopped.wait_for(|stop| *stop).await;
    });
    let task = tokio::spawn(server.into_future());
    let url = format!("http://{address}");
    Ok(Handles { okta_url: url.clone(), servicenow_url: url, okta, servicenow, clock, stop, task })
}

impl Handles {
    /// Stops both servers; replies under way have one second to finish.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        // Whether the task ended in time or not, dropping the handles aborts it.
        let _ = tokio::time::timeout(Duration::from_secs(1), &mut self.task).await;
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        self.task.abort();
    }
}
