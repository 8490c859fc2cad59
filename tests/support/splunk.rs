//! A stand-in for Splunk's HTTP Event Collector, after its documented answers: a batch is concatenated JSON, it is taken
//! up to the first bad event, an acknowledgement is said once, and a success says so in its body.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Read as _;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use super::server::{Seen, Server};

pub const TOKEN: &str = "11111111-2222-3333-4444-555555555555";

/// One request answered with a status and a code instead of well; nothing is stored.
pub type Refusal = (u16, u16);

#[derive(Default)]
pub struct State {
    /// Every event stored, in order, repeats too.
    pub events: Vec<Value>,
    /// Answers to the next batches.
    pub refusals: VecDeque<Refusal>,
    /// Ids of events that are invalid, with the code that says so.
    pub poison: BTreeMap<String, u16>,
    /// Bodies that are larger get 413.
    pub most_bytes: Option<usize>,
    /// Whether the token has indexer acknowledgement.
    pub acks: bool,
    /// Acknowledgements that never come: of the next batches.
    pub lost_acks: u32,
    /// How often an acknowledgement is `false` first.
    pub slow_acks: u32,
    pending: BTreeMap<u64, u32>,
    next_ack: u64,
    pub channels: BTreeSet<String>,
    pub batches: u32,
}

#[derive(Clone)]
pub struct Splunk {
    pub server: Server,
    state: Arc<Mutex<State>>,
}

impl Splunk {
    pub async fn start() -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let inner = Arc::clone(&state);
        let server = Server::start(Box::new(move |seen| answer(seen, &mut inner.lock().expect("not poisoned")))).await;
        Self { server, state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    /// The stable ids of what was stored, in order, repeats too.
    pub fn ids(&self) -> Vec<String> {
        self.state().events.iter().map(id).collect()
    }

    /// The batches that were asked to be stored.
    pub fn posts(&self) -> Vec<Seen> {
        self.server.seen().into_iter().filter(|seen| seen.path == "/services/collector/event").collect()
    }
}

fn id(event: &Value) -> String {
    event["fields"]["aw_id"].as_str().expect("an id").to_owned()
}

/// The events of a request.
pub fn events(seen: &Seen) -> Vec<Value> {
    let mut text = String::new();
    if seen.header("content-encoding") == "gzip" {
        flate2::read::GzDecoder::new(&*seen.body).read_to_string(&mut text).expect("gzip");
    } else {
        text = String::from_utf8(seen.body.clone()).expect("utf-8");
    }
    let events = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    events.map(|event| event.expect("JSON")).collect()
}

fn says(status: u16, code: u16) -> (u16, &'static str, String) {
    let text = match code {
        0 => "Success",
        6 => "Invalid data format",
        9 => "Server is busy",
        10 => "Data channel is missing",
        14 => "ACK is disabled",
        17 => "HEC is healthy",
        _ => "No",
    };
    (status, "application/json", json!({ "text": text, "code": code }).to_string())
}

fn answer(seen: &Seen, state: &mut State) -> (u16, &'static str, String) {
    let path = seen.path.as_str();
    if (seen.method.as_str(), path) == ("GET", "/services/collector/health") {
        return says(200, 17);
    }
    assert_eq!(seen.method, "POST", "{path}");
    match seen.header("authorization").strip_prefix("Splunk ") {
        None => return says(401, 2),
        Some(token) if token != TOKEN => return says(403, 4),
        Some(_) => {}
    }
    let channel = seen.header("x-splunk-request-channel").to_owned();
    match path {
        "/services/collector/event" => {
            state.batches += 1;
            if let Some((status, code)) = state.refusals.pop_front() {
                return says(status, code);
            }
            if state.acks && channel.is_empty() {
                return says(400, 10);
            }
            if state.most_bytes.is_some_and(|most| seen.body.len() > most) {
                return (413, "text/html", "<html>Request Entity Too Large</html>".to_owned());
            }
            state.channels.insert(channel);
            store(&events(seen), state)
        }
        "/services/collector/ack" => {
            if !state.acks {
                return says(400, 14);
            }
            let mut acks = serde_json::Map::new();
            for asked in seen.json()["acks"].as_array().expect("acks") {
                let number = asked.as_u64().expect("a number");
                let is_due = state.pending.get_mut(&number).is_some_and(|left| {
                    let is_due = *left == 0;
                    *left = left.saturating_sub(1);
                    is_due
                });
                if is_due {
                    // Said once, and forgotten.
                    state.pending.remove(&number);
                }
                acks.insert(number.to_string(), is_due.into());
            }
            (200, "application/json", json!({ "acks": acks }).to_string())
        }
        path => panic!("{path}"),
    }
}

fn store(events: &[Value], state: &mut State) -> (u16, &'static str, String) {
    if events.is_empty() {
        return says(400, 5);
    }
    for (number, event) in events.iter().enumerate() {
        let code = match flaw(event) {
            Some(code) => Some(code),
            None => state.poison.get(&id(event)).copied(),
        };
        if let Some(code) = code {
            let body = json!({ "text": "Invalid data format", "code": code, "invalid-event-number": number });
            return (400, "application/json", body.to_string());
        }
        state.events.push(event.clone());
    }
    if !state.acks {
        return says(200, 0);
    }
    let number = state.next_ack;
    state.next_ack += 1;
    if state.lost_acks > 0 {
        state.lost_acks -= 1;
    } else {
        state.pending.insert(number, state.slow_acks);
    }
    (200, "application/json", json!({ "text": "Success", "code": 0, "ackId": number }).to_string())
}

/// Why an event is not taken.
fn flaw(event: &Value) -> Option<u16> {
    let known = ["time", "host", "source", "sourcetype", "index", "event", "fields"];
    let envelope = event.as_object().expect("an object");
    assert!(envelope.keys().all(|key| known.contains(&key.as_str())), "{event}");
    if envelope.get("event").is_none() {
        return Some(12);
    }
    if event["event"] == "" || event["event"] == json!({}) {
        return Some(13);
    }
    let seconds = event["time"].as_f64().expect("a number");
    assert!((1.0e9..1.0e10).contains(&seconds), "seconds, not milliseconds: {seconds}");
    let flat = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
    event["fields"].as_object().is_some_and(|fields| !fields.values().all(flat)).then_some(15)
}
