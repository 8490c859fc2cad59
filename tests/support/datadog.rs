//! A stand-in for Datadog's intake: it keeps what it takes, adds every count that it is sent, and refuses what the real
//! one would. Points that are too old or too new are dropped without a word, as there.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::{Arc, Mutex};

use authwatch::clock;
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::server::{Seen, Server};

/// The key that it takes.
pub const API_KEY: &str = "0123456789abcdef0123456789abcdef";

/// One point as it was sent.
#[derive(Clone, PartialEq, Debug)]
pub struct Sent {
    pub metric: String,
    pub tags: Vec<String>,
    pub kind: u64,
    pub interval: Option<u64>,
    pub at: i64,
    pub value: f64,
}

#[derive(Default)]
struct State {
    points: Vec<Sent>,
    dropped: usize,
    events: Vec<Value>,
    key: Option<String>,
    most: Option<usize>,
    sizes: Vec<usize>,
}

#[derive(Clone)]
pub struct Datadog {
    pub server: Server,
    state: Arc<Mutex<State>>,
}

impl Datadog {
    pub async fn start() -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let kept = Arc::clone(&state);
        let act = move |seen: &Seen| {
            let (status, error) = take(seen, &mut kept.lock().expect("not poisoned"));
            let body = json!({ "errors": error.into_iter().collect::<Vec<_>>() });
            (status, "application/json", body.to_string())
        };
        Self { server: Server::start(Box::new(act)).await, state }
    }

    /// From now on only this key is taken.
    pub fn take_key(&self, key: &str) {
        self.state.lock().expect("not poisoned").key = Some(key.to_owned());
    }

    /// From now on a request with more series is too large.
    pub fn take_at_most(&self, series: usize) {
        self.state.lock().expect("not poisoned").most = Some(series);
    }

    /// Every point that was taken.
    pub fn points(&self) -> Vec<Sent> {
        self.state.lock().expect("not poisoned").points.clone()
    }

    /// The points of one metric.
    pub fn of(&self, metric: &str) -> Vec<Sent> {
        self.points().into_iter().filter(|point| point.metric == metric).collect()
    }

    /// The sum of every point of one metric: what a dashboard would show for a count.
    pub fn sum(&self, metric: &str) -> f64 {
        self.of(metric).iter().map(|point| point.value).sum()
    }

    /// Points that were too old or too new.
    pub fn dropped(&self) -> usize {
        self.state.lock().expect("not poisoned").dropped
    }

    /// How many series each request had that was taken.
    pub fn sizes(&self) -> Vec<usize> {
        self.state.lock().expect("not poisoned").sizes.clone()
    }

    /// The attributes of every event that was taken.
    pub fn events(&self) -> Vec<Value> {
        self.state.lock().expect("not poisoned").events.clone()
    }

    /// The alerts by their key, each with its last status: events of one key are one alert.
    pub fn alerts(&self) -> BTreeMap<String, String> {
        let alerts = self.events().into_iter().filter(|event| event["category"] == "alert");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        alerts.map(|event| (text(&event["aggregation_key"]), text(&event["attributes"]["status"]))).collect()
    }

    /// Everything that was sent, whether taken or not, unpacked.
    pub fn bodies(&self) -> String {
        self.server.seen().iter().map(|seen| String::from_utf8_lossy(&unpacked(seen)).into_owned() + "\n").collect()
    }
}

fn unpacked(seen: &Seen) -> Vec<u8> {
    if seen.header("content-encoding") != "gzip" {
        return seen.body.clone();
    }
    let mut plain = Vec::new();
    GzDecoder::new(&seen.body[..]).read_to_end(&mut plain).expect("gzip");
    plain
}

fn take(seen: &Seen, state: &mut State) -> (u16, Option<String>) {
    if seen.header("dd-api-key") != state.key.as_deref().unwrap_or(API_KEY) {
        return (403, Some("Forbidden".to_owned()));
    }
    let plain = unpacked(seen);
    if seen.body.len() > 512_000 || plain.len() > 5_242_880 {
        return (413, Some("Payload too large".to_owned()));
    }
    let body: Value = serde_json::from_slice(&plain).expect("JSON");
    let refused = match (seen.method.as_str(), seen.path.as_str()) {
        ("POST", "/api/v2/series") => {
            assert_eq!(seen.header("content-encoding"), "gzip");
            let series = body["series"].as_array().expect("series");
            if state.most.is_some_and(|most| series.len() > most) {
                return (413, Some("Payload too large".to_owned()));
            }
            series.iter().find_map(flaw).or_else(|| {
                state.sizes.push(series.len());
                series.iter().for_each(|series| keep(series, state));
                None
            })
        }
        ("POST", "/api/v2/events") => {
            let event = &body["data"]["attributes"];
            assert_eq!(body["data"]["type"], "event");
            flaw_of_event(event).or_else(|| {
                state.events.push(event.clone());
                None
            })
        }
        (method, path) => panic!("{method} {path}"),
    };
    (if refused.is_some() { 400 } else { 202 }, refused)
}

fn keep(series: &Value, state: &mut State) {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    for point in series["points"].as_array().expect("points") {
        let at = point["timestamp"].as_i64().expect("seconds");
        let age = clock::now().0 / 1_000 - at;
        if !(-600..=3_600).contains(&age) {
            state.dropped += 1;
            continue;
        }
        state.points.push(Sent {
            metric: text(&series["metric"]),
            tags: series["tags"].as_array().expect("tags").iter().map(text).collect(),
            kind: series["type"].as_u64().expect("a type"),
            interval: series["interval"].as_u64(),
            at,
            value: point["value"].as_f64().expect("a number"),
        });
    }
}

/// Why a series is not taken, or would not come out as it was sent.
fn flaw(series: &Value) -> Option<String> {
    let name = series["metric"].as_str()?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
    if name.len() > 200 || !name.bytes().all(fits) || !name.as_bytes()[0].is_ascii_alphabetic() {
        return Some(format!("invalid metric name {name}"));
    }
    let tags = series["tags"].as_array()?.iter().map(|tag| tag.as_str().expect("text"));
    for tag in tags {
        if tag.chars().count() > 200 || tag != tag.to_lowercase() || tag.ends_with(':') || tag.contains([' ', ',', '|'])
        {
            return Some(format!("tag {tag} would be rewritten"));
        }
    }
    let (is_count, interval) = (series["type"] == 1, series.get("interval").and_then(Value::as_u64));
    (is_count != interval.is_some_and(|interval| interval > 0)).then(|| "interval belongs to counts".to_owned())
}

fn flaw_of_event(event: &Value) -> Option<String> {
    let length = |key: &str| event[key].as_str().map_or(0, |text| text.chars().count());
    for (key, least, most) in [("title", 1, 500), ("message", 0, 4_000), ("aggregation_key", 0, 100)] {
        if !(least..=most).contains(&length(key)) {
            return Some(format!("{key} has {} characters", length(key)));
        }
    }
    let attributes = &event["attributes"];
    match event["category"].as_str() {
        Some("alert") if ["ok", "warn", "error"].map(Value::from).contains(&attributes["status"]) => {}
        Some("change") if attributes["changed_resource"]["type"] == "configuration" => {}
        _ => return Some("invalid category or attributes".to_owned()),
    }
    let at = event["timestamp"].as_str().and_then(authwatch::event::Timestamp::parse)?;
    (clock::now() - at > authwatch::event::Span::hours(18)).then(|| "timestamp is older than 18 hours".to_owned())
}
