//! One daemon's side of a metrics system: metrics that a test sets, and a publisher that can be started and stopped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use authwatch::act::{self, publish};
use authwatch::secret::Lookup;
use authwatch::telemetry::condition::{Conditions, Status};
use authwatch::telemetry::snapshot;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub struct Pusher {
    conditions: Conditions,
    secrets: Arc<Mutex<BTreeMap<String, String>>>,
    text: Arc<Mutex<String>>,
    /// The entry of `sinks:`.
    pub config: Value,
    metrics: PrometheusHandle,
    _recorder: metrics::LocalRecorderGuard<'static>,
}

pub struct Running {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Pusher {
    /// For one entry of `sinks:`, as `{"datadog": {…}}`.
    pub fn new(config: Value) -> Self {
        // One per test, for as long as the process lives: the guard wants a static recorder.
        let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        let metrics = recorder.handle();
        Self {
            conditions: Conditions::default(),
            secrets: Arc::default(),
            text: Arc::default(),
            config,
            metrics,
            _recorder: metrics::set_default_local_recorder(recorder),
        }
    }

    pub fn secret(&self, name: &str, value: &str) {
        self.secrets.lock().expect("not poisoned").insert(name.to_owned(), value.to_owned());
    }

    /// What `/metrics` says from now on.
    pub fn set(&self, text: impl Into<String>) {
        *self.text.lock().expect("not poisoned") = text.into();
    }

    pub fn start(&self) -> Running {
        let secrets = Arc::clone(&self.secrets);
        let env: Lookup = Arc::new(move |name| secrets.lock().expect("not poisoned").get(name).cloned());
        let config: act::Config = serde_json::from_value(self.config.clone()).expect("a configuration");
        let publisher = config.publisher(env).expect("builds").expect("publishes");
        let text = Arc::clone(&self.text);
        let read: publish::Read = Arc::new(move || snapshot::read(&text.lock().expect("not poisoned")));
        let (stop, stopped) = watch::channel(false);
        let mut tasks = publish::spawn(vec![publisher], &read, &self.conditions, &stopped);
        Running { task: tasks.remove(0), stop }
    }

    pub async fn stop(&self, running: Running) {
        running.stop.send(true).expect("runs");
        running.task.await.expect("ends");
    }

    /// Ends the task where it stands, as a killed process would.
    pub async fn kill(&self, running: Running) {
        running.task.abort();
        let _ = running.task.await;
    }

    /// Waits for something, and says what was the matter if it never comes.
    pub async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..3_000 {
            if holds() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never: {what}; {:?}\n{}", self.conditions.read(), self.metrics.render());
    }

    pub fn condition(&self, name: &str) -> Status {
        self.conditions.read().remove(name).unwrap_or_else(|| panic!("no condition {name}"))
    }

    /// Points with this result.
    pub fn points(&self, result: &str) -> f64 {
        self.metric("authwatch_published_points_total{", &[&*format!("result=\"{result}\"")])
    }

    /// Markers of changes with this result.
    pub fn marks(&self, result: &str) -> f64 {
        self.metric("authwatch_sink_actions_total{", &["step=\"change\"", &*format!("result=\"{result}\"")])
    }

    /// The sum of the series with these labels; 0 where there is none.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.metrics.render();
        let is_it = |line: &&str| line.starts_with(name) && labels.iter().all(|label| line.contains(label));
        text.lines().filter(is_it).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

/// A counter, a gauge and, unless it is no number, a second gauge.
pub fn metrics(records: u64, series: f64) -> String {
    format!(
        "authwatch_source_records_total{{source=\"okta:acme\"}} {records}\n\
         authwatch_series{{org=\"acme\"}} {series}\n\
         authwatch_event_success_ratio{{org=\"acme\",window=\"5m\"}} NaN\n"
    )
}

/// The counts of policy changes, and how far the log is behind.
pub fn changes(count: u64, delay: f64) -> String {
    format!(
        "authwatch_events_total{{org=\"acme\",kind=\"policy_change\",outcome=\"success\"}} {count}\n\
         authwatch_watermark_lag_seconds{{org=\"acme\"}} {delay}\n"
    )
}
