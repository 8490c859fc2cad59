//! The `dynatrace` section of `sinks:`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;
use url::Url;

use crate::act::Remark;
use crate::act::publish::{Limits, Settings, interval, is_ours, timeout};
use crate::act::shadow::Mode;
use crate::act::wire;
use crate::duration;
use crate::event::Span;
use crate::secret::SecretRef;

/// The most dimensions of one's own; a line takes 50.
const DIMENSIONS: usize = 20;

/// How many repetitions may fail before a problem ends by itself.
const REPEATS: i64 = 3;

/// One Dynatrace environment. Only `url` and `token` are needed.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, try_from = "Raw")]
pub struct Config {
    /// The environment, such as `https://abc12345.live.dynatrace.com`, or that of an ActiveGate with `/e/<environment>`.
    pub url: Url,
    /// The access token.
    pub token: SecretRef,
    /// The name in the outbox, in metrics and in conditions; default `dynatrace`.
    pub name: String,
    /// Whether events are told or only recorded; default `live`. Metrics are pushed in both.
    pub mode: Mode,
    /// Whether metrics are pushed; default `true`.
    pub metrics: bool,
    /// Whether incidents are told and changes of policies are marked as events; default `true`.
    pub events: bool,
    /// How often metrics are pushed; default 60 s.
    pub interval: Duration,
    /// More dimensions on every line, and properties on every event.
    pub dimensions: BTreeMap<String, String>,
    /// Which entities events are attached to; absent for the environment.
    pub entity_selector: Option<String>,
    /// How long a problem stays open that is not held open; default 15 min.
    pub problem_timeout: Span,
    /// How much is held and sent.
    pub limits: Limits,
    /// How long one request may take; default 10 s.
    pub timeout: Duration,
}

/// The section as written, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    url: Url,
    token: SecretRef,
    #[serde(default = "default_name")]
    name: String,
    #[serde(default)]
    mode: Mode,
    #[serde(default = "yes")]
    metrics: bool,
    #[serde(default = "yes")]
    events: bool,
    #[serde(default = "default_interval", deserialize_with = "interval")]
    interval: Duration,
    #[serde(default)]
    dimensions: BTreeMap<String, String>,
    entity_selector: Option<String>,
    #[serde(default = "default_problem_timeout", deserialize_with = "problem_timeout")]
    problem_timeout: Span,
    #[serde(default)]
    limits: Limits,
    #[serde(default = "default_timeout", deserialize_with = "timeout")]
    timeout: Duration,
}

fn default_name() -> String {
    "dynatrace".to_owned()
}

const fn yes() -> bool {
    true
}

const fn default_interval() -> Duration {
    Duration::from_secs(60)
}

const fn default_problem_timeout() -> Span {
    Span::minutes(15)
}

const fn default_timeout() -> Duration {
    Duration::from_secs(10)
}

/// Dynatrace counts it in minutes and caps it at six hours.
fn problem_timeout<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    duration::bounded(deserializer, Span::minutes(3), Span::hours(6))
}

/// What is wrong with the section, beyond its shape.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// An address that cannot be one.
    #[error("`url` {}, and without query", wire::NoAddress)]
    Url,
    /// The address of the new user interface, which takes no metrics.
    #[error("`url` is the address of the apps; the API's is `https://<environment>.live.dynatrace.com`")]
    Apps,
    /// A name that does not fit a label.
    #[error("`name` must be letters, digits, `-` and `_`")]
    Name,
    /// Nothing to do.
    #[error("`metrics` and `events` are both off, so there is nothing to send (leave the sink out)")]
    Nothing,
    /// A dimension that Dynatrace would refuse.
    #[error(
        "`dimensions` has `{0}`: a name is lower-case letters, digits, `_`, `-`, `.` and `:`, a letter first, not beginning with `dt.`, and a value is not empty"
    )]
    Dimension(String),
    /// A dimension that authwatch writes itself.
    #[error("`dimensions` may not set `{0}` (authwatch writes it)")]
    Ours(String),
    /// More dimensions than fit beside ours.
    #[error("`dimensions` has more than {DIMENSIONS} dimensions")]
    Dimensions,
    /// A selector that selects nothing.
    #[error("`entity_selector` must not be empty (leave it out for the environment)")]
    Selector,
    /// Bounds that are none.
    #[error("{0}")]
    Limits(String),
}

impl TryFrom<Raw> for Config {
    type Error = ConfigError;

    fn try_from(raw: Raw) -> Result<Self, ConfigError> {
        if wire::check_address(&raw.url).is_err() || raw.url.query().is_some() {
            return Err(ConfigError::Url);
        }
        if raw.url.host_str().is_some_and(|host| host.ends_with(".apps.dynatrace.com")) {
            return Err(ConfigError::Apps);
        }
        if !wire::is_name(&raw.name) {
            return Err(ConfigError::Name);
        }
        if !raw.metrics && !raw.events {
            return Err(ConfigError::Nothing);
        }
        if raw.dimensions.len() > DIMENSIONS {
            return Err(ConfigError::Dimensions);
        }
        let is_bad = |(name, value): &(&String, &String)| !is_dimension(name) || value.trim().is_empty();
        if let Some((name, _)) = raw.dimensions.iter().find(is_bad) {
            return Err(ConfigError::Dimension(name.clone()));
        }
        let ours = |name: &&String| is_ours(name) || super::event::is_ours(name);
        if let Some(name) = raw.dimensions.keys().find(ours) {
            return Err(ConfigError::Ours(name.clone()));
        }
        if raw.entity_selector.as_ref().is_some_and(|selector| selector.trim().is_empty()) {
            return Err(ConfigError::Selector);
        }
        raw.limits.check().map_err(ConfigError::Limits)?;
        Ok(Self {
            url: raw.url,
            token: raw.token,
            name: raw.name,
            mode: raw.mode,
            metrics: raw.metrics,
            events: raw.events,
            interval: raw.interval,
            dimensions: raw.dimensions,
            entity_selector: raw.entity_selector,
            problem_timeout: raw.problem_timeout,
            limits: raw.limits,
            timeout: raw.timeout,
        })
    }
}

/// Whether Dynatrace takes it for a dimension's name.
fn is_dimension(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.:".contains(&byte);
    name.len() <= 100
        && !name.starts_with("dt.")
        && name.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
        && name.bytes().all(fits)
}

impl Config {
    /// The secret that every request needs.
    pub(crate) fn secrets(&mut self) -> Vec<&mut SecretRef> {
        vec![&mut self.token]
    }

    /// The token in the clear.
    pub(crate) fn warning(&self) -> Option<Remark> {
        wire::in_the_clear(&self.url).map(|remark| Remark { key: "url", ..remark })
    }

    /// How metrics are pushed.
    pub(in crate::act::publish) fn settings(&self) -> Settings {
        let (interval, limits, metrics) = (self.interval, self.limits, self.metrics);
        Settings { interval, limits, metrics, marks: self.events && self.mode == Mode::Live }
    }

    /// Whether there is anything to do every interval.
    pub(in crate::act) fn publishes(&self) -> bool {
        self.settings().metrics || self.settings().marks
    }

    /// How long after it was told last an opening is repeated.
    pub(super) fn refresh(&self) -> Span {
        Span(self.problem_timeout.0 / REPEATS)
    }

    /// How often is looked at what has to be repeated: often enough that none is late by much.
    pub(super) fn look(&self) -> Duration {
        duration::to_std(Span((self.refresh().0 / 4).clamp(1_000, 60_000)))
    }

    /// The address of an API.
    pub(super) fn endpoint(&self, path: &str) -> Url {
        let mut endpoint = self.url.clone();
        endpoint.set_path(&format!("{}/api/v2/{path}", self.url.path().trim_end_matches('/')));
        endpoint
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(key: &str, value: Value) -> Result<Config, String> {
        let mut json = json!({ "url": "https://abc.live.dynatrace.com", "token": { "env": "DT_TOKEN" } });
        json[key] = value;
        serde_json::from_value(json).map_err(|error| error.to_string())
    }

    #[test]
    fn an_environment_and_a_token_are_enough() {
        let config = parse("name", json!("dynatrace")).expect("valid");
        assert!(config.metrics && config.events && config.problem_timeout >= Span(config.refresh().0 * REPEATS));
        assert_eq!(config.endpoint("metrics/ingest").as_str(), "https://abc.live.dynatrace.com/api/v2/metrics/ingest");
        let gate = parse("url", json!("https://gate.example.com:9999/e/abc/")).expect("valid");
        assert_eq!(gate.endpoint("events/ingest").as_str(), "https://gate.example.com:9999/e/abc/api/v2/events/ingest");
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_name() {
        for (key, value, expect) in [
            ("url", json!("ftp://x.example"), "`url` must be an http or https address"),
            ("url", json!("https://x.example?a=1"), "without query"),
            ("url", json!("https://abc.apps.dynatrace.com"), "`url` is the address of the apps"),
            ("name", json!(""), "`name` must be"),
            ("mode", json!("dry"), "unknown variant `dry`"),
            ("interval", json!("500ms"), "out of range"),
            ("problem_timeout", json!("1m"), "out of range"),
            ("problem_timeout", json!("7h"), "out of range"),
            ("dimensions", json!({ "Env": "prod" }), "`dimensions` has `Env`"),
            ("dimensions", json!({ "dt.entity.host": "x" }), "not beginning with `dt.`"),
            ("dimensions", json!({ "env": "" }), "`dimensions` has `env`"),
            ("dimensions", json!({ "app": "x" }), "may not set `app`"),
            ("dimensions", json!({ "incident": "x" }), "may not set `incident`"),
            ("entity_selector", json!(" "), "`entity_selector` must not be empty"),
            ("limits", json!({ "waiting": 0 }), "`waiting` 1 to"),
            ("tokn", json!("x"), "unknown field `tokn`"),
        ] {
            let error = parse(key, value.clone()).expect_err(key);
            assert!(error.contains(expect), "{key}: {value}: {error}");
        }
        let mut none = json!({ "url": "https://abc.live.dynatrace.com", "token": { "env": "T" } });
        (none["metrics"], none["events"]) = (json!(false), json!(false));
        let error = serde_json::from_value::<Config>(none).expect_err("nothing to do").to_string();
        assert!(error.contains("there is nothing to send"), "{error}");
    }
}
