//! One daemon's side of a sink: state, metrics, and a worker that can be started, stopped and killed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use authwatch::act::{self, Sink};
use authwatch::action::{Action, Incident, IncidentAction, IncidentStep};
use authwatch::event::Timestamp;
use authwatch::secret::Lookup;
use authwatch::store::{Commit, LedgerEntry, Store};
use authwatch::telemetry::condition::{Conditions, Status};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::incident::incident;

pub const KEY: &str = "aw-0123456789abcdef0123456789abcdef";

pub struct Bench {
    dir: tempfile::TempDir,
    store: Option<Arc<Store>>,
    conditions: Conditions,
    wake: Arc<Notify>,
    secrets: Arc<Mutex<BTreeMap<String, String>>>,
    /// The entry of `sinks:`.
    pub config: Value,
    metrics: PrometheusHandle,
    _recorder: metrics::LocalRecorderGuard<'static>,
}

pub struct Running {
    worker: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Bench {
    /// A bench for one entry of `sinks:`, as `{"webhook": {…}}`.
    pub fn new(config: Value) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Some(Arc::new(Store::open(dir.path()).expect("opens")));
        // One per test, for as long as the process lives: the guard wants a static recorder.
        let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        let metrics = recorder.handle();
        Self {
            dir,
            store,
            conditions: Conditions::default(),
            wake: Arc::new(Notify::new()),
            secrets: Arc::default(),
            config,
            metrics,
            _recorder: metrics::set_default_local_recorder(recorder),
        }
    }

    pub fn secret(&self, name: &str, value: &str) {
        self.secrets.lock().expect("not poisoned").insert(name.to_owned(), value.to_owned());
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().expect("open")
    }

    fn sink(&self) -> (String, Sink) {
        let secrets = Arc::clone(&self.secrets);
        let env: Lookup = Arc::new(move |name| secrets.lock().expect("not poisoned").get(name).cloned());
        let mut config: act::Config = serde_json::from_value(self.config.clone()).expect("a configuration");
        config.load(self.dir.path()).expect("loads");
        config.build(env).expect("builds")
    }

    pub fn name(&self) -> String {
        let config: act::Config = serde_json::from_value(self.config.clone()).expect("a configuration");
        config.name().to_owned()
    }

    pub fn commit(&self, actions: &[IncidentAction]) {
        let name = self.name();
        let rows = actions.iter().map(|action| (name.clone(), Action::Incident(Box::new(action.clone()))));
        self.store().commit(&Commit { outbox: rows.collect(), ..Commit::default() }).expect("commits");
        self.wake.notify_waiters();
    }

    pub fn start(&self) -> Running {
        let (stop, stopped) = watch::channel(false);
        let store = Arc::clone(self.store.as_ref().expect("open"));
        let mut workers = act::spawn(vec![self.sink()], store, &self.conditions, Arc::clone(&self.wake), stopped);
        Running { worker: workers.remove(0), stop }
    }

    /// Waits for something, and says what was the matter if it never comes.
    pub async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..3_000 {
            if holds() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never: {what}; {:?}", self.condition());
    }

    pub async fn stop(&self, running: Running) {
        running.stop.send(true).expect("runs");
        running.worker.await.expect("ends");
    }

    pub fn waiting(&self) -> u64 {
        self.store().count(&self.name()).expect("counts")
    }

    /// Everything committed is told or given up.
    pub async fn drained(&self) {
        self.until("an empty outbox", || self.waiting() == 0).await;
    }

    /// Commits, tells and stops.
    pub async fn tell(&self, actions: &[IncidentAction]) {
        self.commit(actions);
        let running = self.start();
        self.drained().await;
        self.stop(running).await;
    }

    /// Ends the worker where it stands, as a killed process would, and opens the state again.
    pub async fn kill(&mut self, running: Running) {
        running.worker.abort();
        let _ = running.worker.await;
        let store = self.store.take().expect("open");
        self.until("the last reference", || Arc::strong_count(&store) == 1).await;
        drop(store);
        self.store = Some(Arc::new(Store::open(self.dir.path()).expect("opens")));
    }

    fn condition(&self) -> Option<Status> {
        self.conditions.read().get(&format!("sink/{}", self.name())).cloned()
    }

    pub fn is_well(&self) -> bool {
        self.condition().is_some_and(|status| status.ok)
    }

    /// What the condition says is wrong.
    pub fn detail(&self) -> String {
        self.condition().map(|status| status.detail).unwrap_or_default()
    }

    pub fn ledger(&self, key: &str) -> LedgerEntry {
        self.store().ledger(&self.name(), key).expect("reads").expect("an entry")
    }

    /// The reasons and details of the dead letters.
    pub fn dead_letters(&self) -> Vec<(String, String)> {
        let letters = self.store().dead_letters(&self.name()).expect("reads");
        letters.into_iter().map(|(_, letter)| (letter.reason, letter.detail)).collect()
    }

    /// The sum of the series with these labels; 0 where there is none.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.metrics.render();
        let is_it = |line: &&str| line.starts_with(name) && labels.iter().all(|label| line.contains(label));
        text.lines().filter(is_it).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    pub fn result(&self, step: &str, result: &str) -> f64 {
        let labels = [&*format!("step=\"{step}\""), &*format!("result=\"{result}\"")];
        self.metric("authwatch_sink_actions_total{", &labels)
    }

    pub fn retries(&self, reason: &str) -> f64 {
        self.metric("authwatch_sink_retries_total{", &[&*format!("reason=\"{reason}\"")])
    }
}

/// The time of a revision.
pub fn time(revision: u32) -> Timestamp {
    Timestamp(1_772_445_600_000 + i64::from(revision) * 60_000)
}

pub fn action_of(key: &str, revision: u32, step: IncidentStep) -> IncidentAction {
    let at = time(revision);
    let resolved_at = (step == IncidentStep::Resolve).then_some(at);
    let incident = Incident { resolved_at, ..incident(key, time(0), "Sign-in refused to 12 people", 12) };
    let (description, note) = (format!("What fails, text {revision}"), format!("note {revision}"));
    IncidentAction { step, at, revision, incident, description, note }
}

pub fn action(revision: u32, step: IncidentStep) -> IncidentAction {
    action_of(KEY, revision, step)
}
