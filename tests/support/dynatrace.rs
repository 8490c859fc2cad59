//! A stand-in for a Dynatrace environment: lines are taken one by one, whatever the status says of the others, every
//! count is added, and the same event that opens a problem holds it open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::server::{Seen, Server};

/// The token that it takes.
pub const TOKEN: &str = "dt0c01.EXAMPLE.0123456789";

#[derive(Default)]
struct State {
    lines: Vec<Line>,
    problems: BTreeMap<String, usize>,
    annotations: Vec<Value>,
    deployments: Vec<Value>,
    refused: BTreeSet<String>,
    missing: BTreeSet<String>,
    token: Option<String>,
    most: Option<usize>,
    numbered: Option<u64>,
    event_status: Option<String>,
}

/// A line that was taken.
#[derive(Clone, PartialEq, Debug)]
pub struct Line {
    pub key: String,
    pub dimensions: BTreeMap<String, String>,
    pub payload: String,
    pub at: i64,
}

#[derive(Clone)]
pub struct Dynatrace {
    pub server: Server,
    state: Arc<Mutex<State>>,
}

impl Dynatrace {
    pub async fn start() -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let kept = Arc::clone(&state);
        let act = move |seen: &Seen| {
            let (status, body) = take(seen, &mut kept.lock().expect("not poisoned"));
            (status, "application/json; charset=utf-8", body.to_string())
        };
        Self { server: Server::start(Box::new(act)).await, state }
    }

    fn with<T>(&self, read: impl FnOnce(&mut State) -> T) -> T {
        read(&mut self.state.lock().expect("not poisoned"))
    }

    /// From now on lines of this key are invalid.
    pub fn refuse(&self, key: &str) {
        self.with(|state| state.refused.insert(key.to_owned()));
    }

    /// From now on an invalid line is said to be this one.
    pub fn number_lines(&self, number: u64) {
        self.with(|state| state.numbered = Some(number));
    }

    /// Takes a scope from the token, or gives it back.
    pub fn scope(&self, scope: &str, has: bool) {
        self.with(|state| if has { state.missing.remove(scope) } else { state.missing.insert(scope.to_owned()) });
    }

    /// From now on only this token is taken.
    pub fn take_token(&self, token: &str) {
        self.with(|state| state.token = Some(token.to_owned()));
    }

    /// From now on a request with more lines is too large.
    pub fn take_at_most(&self, lines: usize) {
        self.with(|state| state.most = Some(lines));
    }

    /// From now on events are answered with this status.
    pub fn answer_events(&self, status: &str) {
        self.with(|state| state.event_status = Some(status.to_owned()));
    }

    /// The lines of one key that were taken.
    pub fn of(&self, key: &str) -> Vec<Line> {
        self.with(|state| state.lines.iter().filter(|line| line.key == key).cloned().collect())
    }

    /// How many lines were taken.
    pub fn taken(&self) -> usize {
        self.with(|state| state.lines.len())
    }

    /// The sum of a count.
    pub fn sum(&self, key: &str) -> f64 {
        let delta = |line: Line| line.payload.strip_prefix("count,delta=").expect("a count").parse::<f64>();
        self.of(key).into_iter().map(|line| delta(line).expect("a number")).sum()
    }

    /// The events that open a problem, each with how often the very same was sent.
    pub fn problems(&self) -> Vec<(Value, usize)> {
        self.with(|state| {
            let problem = |(body, times): (&String, &usize)| (serde_json::from_str(body).expect("JSON"), *times);
            state.problems.iter().map(problem).collect()
        })
    }

    pub fn annotations(&self) -> Vec<Value> {
        self.with(|state| state.annotations.clone())
    }

    pub fn deployments(&self) -> Vec<Value> {
        self.with(|state| state.deployments.clone())
    }

    /// Everything that was sent, whether taken or not.
    pub fn bodies(&self) -> String {
        self.server.seen().iter().map(|seen| String::from_utf8_lossy(&seen.body).into_owned() + "\n").collect()
    }
}

fn take(seen: &Seen, state: &mut State) -> (u16, Value) {
    let error = |code: u16, message: &str| (code, json!({ "error": { "code": code, "message": message } }));
    if seen.header("authorization") != format!("Api-Token {}", state.token.as_deref().unwrap_or(TOKEN)) {
        return error(401, "Token Authentication failed");
    }
    let scope = match seen.path.as_str() {
        "/e/env/api/v2/metrics/ingest" => "metrics.ingest",
        "/e/env/api/v2/events/ingest" => "events.ingest",
        path => panic!("{} {path}", seen.method),
    };
    if state.missing.contains(scope) {
        return error(403, &format!("Token is missing required scope. Use one of: {scope}"));
    }
    let text = String::from_utf8(seen.body.clone()).expect("text");
    if scope == "events.ingest" {
        return take_event(&text, state);
    }
    assert_eq!(seen.header("content-type"), "text/plain; charset=utf-8");
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() > state.most.unwrap_or(1_000) || text.len() > 1_000_000 {
        return error(413, "payload too large");
    }
    let mut invalid = Vec::new();
    for (number, text) in (1_u64..).zip(&lines) {
        match parse(text).filter(|line| !state.refused.contains(&line.key)) {
            Some(line) => state.lines.push(line),
            None => invalid.push(json!({ "line": state.numbered.unwrap_or(number), "error": "invalid line" })),
        }
    }
    let ok = lines.len() - invalid.len();
    if invalid.is_empty() {
        return (202, json!({ "linesOk": ok, "linesInvalid": 0, "error": null, "warnings": null }));
    }
    let message = format!("{} invalid lines", invalid.len());
    let error = json!({ "code": 400, "message": message, "invalidLines": invalid });
    (400, json!({ "linesOk": ok, "linesInvalid": lines.len() - ok, "error": error }))
}

fn take_event(text: &str, state: &mut State) -> (u16, Value) {
    let event: Value = serde_json::from_str(text).expect("JSON");
    let length = |value: &Value| value.as_str().map_or(0, |text| text.chars().count());
    let properties = event["properties"].as_object().expect("properties");
    let fits = |(key, value): (&String, &Value)| {
        let may = !key.starts_with("dt.") || key.starts_with("dt.event.");
        may && key.len() <= 100 && length(value) <= 4_096
    };
    if length(&event["title"]) == 0 || properties.len() > 100 || !properties.iter().all(fits) {
        return (400, json!({ "error": { "code": 400, "message": "invalid event" } }));
    }
    let status = state.event_status.clone().unwrap_or_else(|| "OK".to_owned());
    if status == "OK" {
        match event["eventType"].as_str() {
            Some("CUSTOM_ALERT") => *state.problems.entry(text.to_owned()).or_default() += 1,
            Some("CUSTOM_INFO") => state.annotations.push(event),
            Some("CUSTOM_DEPLOYMENT") => state.deployments.push(event),
            other => panic!("{other:?}"),
        }
    }
    (201, json!({ "reportCount": 1, "eventIngestResults": [{ "correlationId": "0", "status": status }] }))
}

/// A line as the protocol has it: key, dimensions, payload, time; `None` where anything is wrong with it.
fn parse(text: &str) -> Option<Line> {
    let end = text.find([',', ' '])?;
    let (key, mut rest) = text.split_at(end);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !(3..=255).contains(&key.len()) || !key.bytes().all(fits) || key.starts_with("dt.") {
        return None;
    }
    let mut dimensions = BTreeMap::new();
    while let Some(dimension) = rest.strip_prefix(',') {
        let (name, quoted) = dimension.split_once("=\"")?;
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.:".contains(&byte);
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(chars.next().filter(|(_, c)| matches!(c, '"' | '\\'))?.1),
                (_, c) => value.push(c),
            }
        };
        let is_new = dimensions.insert(name.to_owned(), value.clone()).is_none();
        if !is_new || value.is_empty() || value.chars().count() > 255 || !name.bytes().all(fits) {
            return None;
        }
        rest = &quoted[end + 1..];
    }
    let (payload, at) = rest.strip_prefix(' ')?.split_once(' ')?;
    let at = at.parse().ok()?;
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    let parts = |text: &str| text.split(',').map(|part| part.split_once('=').and_then(|(_, n)| number(n))).collect();
    match payload.split_once(',')? {
        ("count", delta) => number(delta.strip_prefix("delta=")?).map(drop)?,
        ("gauge", value) if !value.contains('=') => number(value).map(drop)?,
        ("gauge", summary) => {
            let parts: Option<Vec<f64>> = parts(summary);
            let [min, max, sum, count] = parts?.try_into().ok()?;
            let mean = sum / count;
            (count > 0.0 && min <= mean + 1e-6 && mean <= max + 1e-6).then_some(())?;
        }
        _ => return None,
    }
    Some(Line { key: key.to_owned(), dimensions, payload: payload.to_owned(), at })
}
