//! The daemon: build the parts, spawn them with names, wait, drain.
//!
//! ```text
//! source tasks ─ Batch ─▶ pump (fold, commit) ─▶ metrics and view ─▶ web
//!                              └─ outbox ─▶ one worker per sink
//! ```
//!
//! Only this module joins the edges. Sources and sinks may be unreachable for as long as they like: the daemon starts,
//! says so in `/readyz`, and keeps trying.

mod ask;
pub mod demo;
pub mod parts;
pub mod policies;
mod publish;
mod pump;
mod reload;
pub mod report;
pub mod signals;
mod spawn;
mod unheard;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::act;
use crate::clock;
use crate::config::{Config, Environment};
use crate::secret::vault::{SetupError, Vault};
use crate::secret::{Lookup, Secret, SecretError, Secrets};
use crate::source;
use crate::store::{Store, StoreError};
use crate::telemetry::condition::Conditions;
use crate::telemetry::exposition::Handle;
use crate::telemetry::metric::Metric;
use crate::web::{self, Access, View};
use parts::{Parts, PartsError};
use publish::Publisher;
use pump::{Message, Pump};
pub use pump::{PumpError, Recovered, recover};
use reload::Started;
use spawn::{SharedTables, Spawner, WantedGroups};

/// Batches that may wait for the pump, over all sources: what is in memory is a few pages.
const INBOX: usize = 4;
/// How often metrics are kept up while nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);
/// How long replies under way may take at the end; idle connections of scrapers would hold it up for ever.
const WEB_GRACE: Duration = Duration::from_secs(2);

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is invalid.
    #[error(transparent)]
    Parts(#[from] PartsError),
    /// The web token cannot be had.
    #[error("`http.token` cannot be read")]
    Token(#[from] SecretError),
    /// The vault cannot be set up.
    #[error(transparent)]
    Vault(#[from] SetupError),
    /// The state cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state cannot be recovered.
    #[error(transparent)]
    Pump(#[from] PumpError),
    /// An HTTP client cannot be made.
    #[error("cannot make an HTTP client")]
    Client(#[from] reqwest::Error),
    /// A sink cannot be made.
    #[error(transparent)]
    Sink(#[from] act::BuildError),
    /// The address cannot be bound.
    #[error("cannot listen on {address} (is another authwatch running?)")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A file source cannot be opened.
    #[error(transparent)]
    File(#[from] source::file::FileError),
    /// A task of the start itself failed.
    #[error("the start was interrupted")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// What a daemon is started with.
pub struct Setup {
    /// The configuration.
    pub config: Config,
    /// Where it came from, for reloads.
    pub path: Option<PathBuf>,
    /// The environment, for secrets and reloads.
    pub environment: Environment,
    /// Stop when every source has delivered what it has.
    pub once: bool,
    /// The recorder's handle.
    pub metrics: Arc<Handle>,
}

/// A daemon that runs.
pub struct Running {
    /// Where the web server listens.
    pub address: SocketAddr,
    /// What was last committed.
    pub view: watch::Receiver<Arc<View>>,
    /// Readiness, by name.
    pub conditions: Conditions,
    /// The state, for the ledger.
    pub store: Arc<Store>,
    started: Started,
    config: Config,
    path: Option<PathBuf>,
    environment: Environment,
    tables: SharedTables,
    groups: WantedGroups,
    inbox: mpsc::Sender<Message>,
    stop_sources: watch::Sender<bool>,
    stop_sinks: watch::Sender<bool>,
    stop_web: watch::Sender<bool>,
    sinks: Vec<String>,
    pump: JoinHandle<Result<(), PumpError>>,
    sources: Vec<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
    web: JoinHandle<()>,
}

/// Starts a daemon.
///
/// # Errors
/// Where the configuration is invalid, the address is taken, or the state cannot be used; unreachable systems are no
/// error.
pub async fn start(setup: Setup) -> Result<Running, StartError> {
    let Setup { config, path, environment, once, metrics } = setup;
    let parts = Parts::of(&config)?;
    for warning in config.warnings.iter().chain(&parts.warnings) {
        tracing::warn!("{warning}");
    }
    let lookup = lookup(&environment);
    let conditions = Conditions::default();
    let secrets = secrets(&config, lookup, &conditions)?;
    let token = web_token(&config, &secrets).await?;
    let restored = conditions.declare("state", true, "the state is being restored");
    let (mut publisher, view) = Publisher::new(conditions.clone());
    let (stop_web, stopped_web) = watch::channel(false);
    tokio::spawn(publisher.keep_readiness(stopped_web.clone()));
    let (inbox, messages) = mpsc::channel(INBOX);
    let access = (config.listen, token.as_ref());
    let asker = ask::asker(inbox.downgrade());
    let (address, web) = serve_web(access, view.clone(), &conditions, metrics, asker, stopped_web).await?;
    tracing::info!(%address, "listening");

    let (store, Recovered { watch, positions, refolded }) = restore(config.state_dir.clone()).await?;
    let wake = Arc::new(Notify::new());
    let built: Vec<(String, act::Sink)> =
        parts.sinks.iter().map(|sink| sink.build(secrets.clone())).collect::<Result<_, _>>()?;
    let shadows = parts.sinks.iter().filter(|sink| sink.mode() == act::shadow::Mode::Shadow);
    publisher.show_shadows(store.clone(), shadows.map(|sink| sink.name().to_owned()).collect());
    let sinks: Vec<String> = built.iter().map(|(name, _)| name.clone()).collect();
    let configuration = (&parts.core, &parts.policies);
    let pump =
        Pump::new(store.clone(), (watch, refolded), configuration, sinks.clone(), wake.clone(), publisher, restored)?;

    let (stop_sources, stopped_sources) = watch::channel(false);
    let (stop_sinks, stopped_sinks) = watch::channel(false);
    let started = Started::new(&config, &parts);
    let tables: SharedTables = Arc::new(RwLock::new(Arc::new(parts.tables)));
    let groups = spawn::wanted(parts::groups(&parts.core, &parts.policies));
    let spawner = Spawner {
        tables: &tables,
        secrets: &secrets,
        conditions: &conditions,
        inbox: &inbox,
        groups: &groups,
        stop: &stopped_sources,
        once,
    };
    let sources = spawner.spawn_all(parts.sources, &positions)?;
    let workers = act::spawn(built, store.clone(), &conditions, wake, stopped_sinks);
    let pump = tokio::spawn(pump.run(messages));
    Ok(Running {
        address,
        view,
        conditions,
        store,
        started,
        config,
        path,
        environment,
        tables,
        groups,
        inbox,
        stop_sources,
        stop_sinks,
        stop_web,
        sinks,
        pump,
        sources,
        workers,
        web,
    })
}

/// Opens the state and rebuilds the core from it.
async fn restore(state_dir: PathBuf) -> Result<(Arc<Store>, Recovered), StartError> {
    tokio::task::spawn_blocking(move || {
        let store = Store::open(&state_dir)?;
        let recovered = pump::recover(&store)?;
        Ok((Arc::new(store), recovered))
    })
    .await?
}

impl Running {
    /// Waits until every source has delivered what it has (`run --once`).
    ///
    /// # Errors
    /// Where the pump fails first.
    pub async fn sources_done(&mut self) -> Result<(), PumpError> {
        for source in &mut self.sources {
            tokio::select! {
                ended = source => if let Err(error) = ended {
                    tracing::error!(%error, "a source ended abnormally");
                },
                pump = &mut self.pump => return pump.unwrap_or(Err(PumpError::Ended)).and(Err(PumpError::Ended)),
            }
        }
        self.sources.clear();
        Ok(())
    }

    /// Waits until the pump ends on its own, which it does only on a failure.
    pub async fn pump_failed(&mut self) -> PumpError {
        match (&mut self.pump).await {
            Ok(Err(error)) => error,
            // The inbox is held by `self`, so the pump has no other reason to end.
            Ok(Ok(())) | Err(_) => PumpError::Ended,
        }
    }

    /// Stops in order: sources, the pump with a last snapshot, sinks, the web server. With `drain_sinks` the sinks may
    /// empty the outbox first. All of it ends within the grace, but for the last commit, which is never cut short.
    /// Gives how many actions still wait for their sink; the next start goes on with them.
    ///
    /// # Errors
    /// Where the pump failed.
    pub async fn stop(self, drain_sinks: bool) -> Result<u64, PumpError> {
        let within = |length| Instant::from_std(clock::monotonic() + length);
        let deadline = within(self.config.shutdown_grace);
        self.stop_sources.send_replace(true);
        for source in self.sources {
            let _ = tokio::time::timeout_at(deadline, source).await;
        }
        drop(self.inbox);
        let ended = self.pump.await.unwrap_or(Err(PumpError::Ended));
        let waiting = || self.sinks.iter().map(|sink| self.store.count(sink).unwrap_or(0)).sum::<u64>();
        if drain_sinks {
            let emptied = async {
                while waiting() > 0 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            let _ = tokio::time::timeout_at(deadline, emptied).await;
        }
        self.stop_sinks.send_replace(true);
        for worker in self.workers {
            let _ = tokio::time::timeout_at(deadline, worker).await;
        }
        self.stop_web.send_replace(true);
        let _ = tokio::time::timeout_at(deadline.min(within(WEB_GRACE)), self.web).await;
        ended.map(|()| waiting())
    }
}

fn lookup(environment: &Environment) -> Lookup {
    let environment = environment.clone();
    Arc::new(move |name| environment.lookup(name))
}

fn secrets(config: &Config, lookup: Lookup, conditions: &Conditions) -> Result<Secrets, SetupError> {
    let connect = |vault| {
        let condition = conditions.declare("vault", false, "not asked yet");
        Vault::new(vault, lookup.clone(), Some(condition))
    };
    let vault = config.vault.as_ref().map(connect).transpose()?;
    Ok(Secrets::new(lookup, vault))
}

async fn web_token(config: &Config, secrets: &Secrets) -> Result<Option<Secret>, SecretError> {
    let Some(token) = &config.http.token else { return Ok(None) };
    secrets.current(token).await.map(Some)
}

async fn serve_web(
    (listen, token): (SocketAddr, Option<&Secret>),
    view: watch::Receiver<Arc<View>>,
    conditions: &Conditions,
    metrics: Arc<Handle>,
    asker: web::Asker,
    mut stop: watch::Receiver<bool>,
) -> Result<(SocketAddr, JoinHandle<()>), StartError> {
    let failed = |source| StartError::Listen { address: listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let upkeep = metrics.clone();
    let exposed = conditions.clone();
    let mut stop_upkeep = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = stop_upkeep.changed() => break,
                () = tokio::time::sleep(UPKEEP) => upkeep.run_upkeep(),
            }
        }
    });
    let render = move || {
        for (name, status) in exposed.read() {
            Metric::ConditionOk.gauge(&[&name]).set(f64::from(u8::from(status.ok)));
        }
        metrics.render()
    };
    let shared = web::Shared { view, conditions: conditions.clone(), metrics: Arc::new(render), asker };
    let access = Access::new(address, token);
    let stopped = async move {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let task = tokio::spawn(async move { web::serve(listener, shared, access, stopped).await });
    Ok((address, task))
}
