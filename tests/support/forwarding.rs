//! One daemon's side of a sink that is forwarded to: a queue, metrics, and a worker that can be started, stopped and
//! killed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use authwatch::act::forward::{self, Forwarder};
use authwatch::action::{Forwarded, Topics, What};
use authwatch::event::{
    AuthEvent, Context, Credential, EventId, Kind, Org, Outcome, Part, Person, Platform, Reason, SourceName, Timestamp,
};
use authwatch::secret::Lookup;
use authwatch::store::{Commit, Store};
use authwatch::telemetry::condition::{Conditions, Status};
use authwatch::telemetry::preflight::Verdict;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

pub struct Forwarding {
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

impl Forwarding {
    /// For one entry of `sinks:`, as `{"splunk": {…}}`, with a bound on the queue. The sink has its place from here on.
    pub fn with_queue(config: Value, bytes: u64) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path()).expect("opens").with_queue_bytes(bytes);
        // One per test, for as long as the process lives: the guard wants a static recorder.
        let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        let metrics = recorder.handle();
        let bench = Self {
            dir,
            store: Some(Arc::new(store)),
            conditions: Conditions::default(),
            wake: Arc::new(Notify::new()),
            secrets: Arc::default(),
            config,
            metrics,
            _recorder: metrics::set_default_local_recorder(recorder),
        };
        bench.place();
        bench
    }

    fn place(&self) {
        let config = self.parsed();
        self.store().set_forward_sinks(&[(config.name().to_owned(), config.topics())]).expect("a place");
    }

    fn parsed(&self) -> forward::Config {
        serde_json::from_value(self.config.clone()).expect("a configuration")
    }

    pub fn name(&self) -> String {
        self.parsed().name().to_owned()
    }

    pub fn secret(&self, name: &str, value: &str) {
        self.secrets.lock().expect("not poisoned").insert(name.to_owned(), value.to_owned());
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().expect("open")
    }

    /// Queues things, each with what it is about.
    pub fn commit(&self, things: &[Forwarded]) {
        let about = |thing: &Forwarded| match &thing.what {
            What::Event { event, .. } => Topics::of(event),
            What::Finding(_) => Topics::DETECTIONS,
        };
        let forwards = things.iter().map(|thing| (about(thing), thing.clone())).collect();
        self.store().commit(&Commit { forwards, ..Commit::default() }).expect("commits");
        self.wake.notify_waiters();
    }

    fn sink(&self) -> Forwarder {
        let secrets = Arc::clone(&self.secrets);
        let env: Lookup = Arc::new(move |name| secrets.lock().expect("not poisoned").get(name).cloned());
        self.parsed().build(env).expect("builds")
    }

    /// What `check` finds, by what was asked: whether it works, and the detail.
    pub async fn check(&self) -> BTreeMap<String, (Verdict, String)> {
        let findings = self.sink().check().await;
        findings.into_iter().map(|finding| (finding.check, (finding.result, finding.detail))).collect()
    }

    pub fn start(&self) -> Running {
        let (stop, stopped) = watch::channel(false);
        let sink = self.sink();
        let store = self.store.as_ref().expect("open");
        let mut workers = forward::spawn(vec![sink], store, &self.conditions, &self.wake, &stopped);
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
        self.store().forward_waiting(&self.name()).expect("counts")
    }

    /// Everything queued is taken or given up.
    pub async fn drained(&self) {
        self.until("an empty queue", || self.waiting() == 0).await;
    }

    /// Queues, forwards and stops.
    pub async fn forward(&self, things: &[Forwarded]) {
        self.commit(things);
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
        self.place();
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

    /// The ids and details of the dead letters.
    pub fn dead_letters(&self) -> Vec<(String, String)> {
        let letters = self.store().dead_forwards(&self.name()).expect("reads");
        letters.into_iter().map(|(_, letter)| (letter.forwarded.id.to_string(), letter.detail)).collect()
    }

    /// The sum of the series with these labels; 0 where there is none.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.metrics.render();
        let is_it = |line: &&str| line.starts_with(name) && labels.iter().all(|label| line.contains(label));
        text.lines().filter(is_it).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    pub fn records(&self, result: &str) -> f64 {
        self.metric("authwatch_forward_records_total{", &[&*format!("result=\"{result}\"")])
    }

    pub fn retries(&self, reason: &str) -> f64 {
        self.metric("authwatch_sink_retries_total{", &[&*format!("reason=\"{reason}\"")])
    }
}

/// The time of the n-th record.
pub fn time(n: u32) -> Timestamp {
    Timestamp(1_772_445_600_123 + i64::from(n) * 1_000)
}

/// A refusal, as the log wrote it.
pub fn denied(n: u32) -> Forwarded {
    let raw = json!({
        "uuid": format!("u-{n}"),
        "published": time(n),
        "eventType": "policy.evaluate_sign_on",
        "actor": { "id": "00uada", "type": "User", "alternateId": "ada@example.com", "displayName": "Ada Example" },
        "outcome": { "result": "DENY", "reason": "Sign-on policy evaluation resulted in DENY" },
        "debugContext": { "debugData": { "url": "/idp/idx/identify?stateToken=canary-token", "requestUri": "/idp/idx/identify" } },
    });
    record(n, Kind::PolicyEvaluation, Outcome::Deny, Some(raw.to_string().into()))
}

/// A record of some kind.
pub fn record(n: u32, kind: Kind, outcome: Outcome, raw: Option<Box<str>>) -> Forwarded {
    let org = Org::new("acme");
    let event = AuthEvent {
        org: org.clone(),
        id: EventId(u128::MAX - u128::from(n)),
        uuid: format!("u-{n}").into(),
        published: Some(time(n)),
        event_type: "policy.evaluate_sign_on".into(),
        kind,
        part: Part::SignIn,
        credential: Credential::Fastpass,
        phishing_resistant: Some(true),
        outcome,
        okta_outcome: "DENY".into(),
        reason: Reason::PolicyDenied,
        person: Some(Person::new("00uada")),
        flow: None,
        app: None,
        rule: None,
        platform: Platform::Macos,
        device: None,
        context: Context::default(),
        change: None,
    };
    let (id, source) = (format!("acme:u-{n}").into(), SourceName::new("okta:acme"));
    let what = What::Event { event: Box::new(event), posture: None, raw };
    Forwarded { id, org, source, received: time(n), what }
}
