//! A stand-in for Alertmanager, after its documented API: an alert is its set of labels, a request with an invalid one
//! answers 400 and stores the others, an alert without a later end is over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use authwatch::event::Timestamp;
use serde_json::{Value, json};

use super::server::{Seen, Server};

/// The alerts by their labels.
type Alerts = BTreeMap<String, Value>;

#[derive(Clone)]
pub struct Alertmanager {
    pub server: Server,
    alerts: Arc<Mutex<Alerts>>,
}

impl Alertmanager {
    pub async fn start() -> Self {
        let alerts: Arc<Mutex<Alerts>> = Arc::default();
        let stored = Arc::clone(&alerts);
        let server = Server::start(Box::new(move |seen| take(seen, &mut stored.lock().expect("not poisoned")))).await;
        Self { server, alerts }
    }

    /// Every alert ever, whether over or not.
    pub fn alerts(&self) -> Vec<Value> {
        self.alerts.lock().expect("not poisoned").values().cloned().collect()
    }

    /// The requests that tell something.
    pub fn told(&self) -> Vec<Seen> {
        self.server.seen().into_iter().filter(|seen| seen.method != "GET").collect()
    }

    /// The only alert.
    #[track_caller]
    pub fn alert(&self) -> Value {
        let alerts = self.alerts();
        assert_eq!(alerts.len(), 1, "{alerts:#?}");
        alerts[0].clone()
    }
}

/// When an alert is over.
#[track_caller]
pub fn ends(alert: &Value) -> Timestamp {
    serde_json::from_value(alert["endsAt"].clone()).expect("a time")
}

fn take(seen: &Seen, alerts: &mut Alerts) -> (u16, &'static str, String) {
    match (seen.method.as_str(), seen.path.as_str()) {
        ("GET", "/api/v2/status") => (200, "application/json", json!({ "cluster": { "status": "ready" } }).to_string()),
        ("POST", "/api/v2/alerts") => {
            let posted = seen.json();
            let mut refused = None;
            for alert in posted.as_array().expect("an array") {
                match flaw(alert) {
                    None => drop(alerts.insert(alert["labels"].to_string(), alert.clone())),
                    Some(flaw) => refused = Some(flaw),
                }
            }
            match refused {
                None => (200, "application/json", String::new()),
                Some(flaw) => (400, "application/json", json!(flaw).to_string()),
            }
        }
        (method, path) => panic!("{method} {path}"),
    }
}

/// Why an alert is not taken.
fn flaw(alert: &Value) -> Option<String> {
    let labels = alert["labels"].as_object().expect("labels");
    let fits = |name: &String| {
        let rest = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        name.bytes().all(rest) && !name.as_bytes()[0].is_ascii_digit()
    };
    if let Some(name) = labels.keys().find(|name| !fits(name)) {
        return Some(format!("invalid label set: invalid name {name:?}"));
    }
    if labels.values().all(|value| value == "") {
        return Some("at least one label pair required".to_owned());
    }
    // What it does not know it does not take.
    let known = ["labels", "annotations", "startsAt", "endsAt", "generatorURL"];
    if let Some(key) = alert.as_object().expect("an alert").keys().find(|key| !known.contains(&key.as_str())) {
        return Some(format!("unknown field {key}"));
    }
    let (starts, ends): (String, String) =
        (alert["startsAt"].as_str()?.to_owned(), alert["endsAt"].as_str()?.to_owned());
    (ends < starts).then(|| "start time must be before end time".to_owned())
}
