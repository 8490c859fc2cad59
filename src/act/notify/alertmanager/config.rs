//! The `alertmanager` section of `sinks:`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;
use url::Url;

use super::TIMEOUT;
use super::alert::OURS;
use crate::act::Remark;
use crate::act::shadow::Mode;
use crate::act::wire::{self, Auth};
use crate::duration;
use crate::secret::SecretRef;

/// The most Alertmanagers of one cluster.
const URLS: usize = 16;

/// The most labels of one's own.
const LABELS: usize = 32;

/// How many repetitions may fail before an alert ends by itself.
const REPEATS: u32 = 3;

/// One cluster of Alertmanagers. Only an address is needed.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, try_from = "Raw")]
pub struct Config {
    /// Every replica's own address, never a load balancer's; a path before `/api` is kept.
    pub urls: Vec<Url>,
    /// The name in the outbox, in metrics and in the condition `sink/<name>`; default `alertmanager`.
    pub name: String,
    /// Whether it tells or only records; default `live`.
    pub mode: Mode,
    /// How to sign in; absent for none.
    pub auth: Option<Auth>,
    /// Where the alert's source link leads, such as this daemon's page.
    pub generator_url: Option<Url>,
    /// The label `alertname`; default `AuthwatchIncident`.
    pub alertname: String,
    /// The label `severity` by severity; default `critical` for page and `warning` for ticket.
    pub severity: Severities,
    /// More labels. Changing them makes other alerts of those that are open; the old ones expire.
    pub labels: BTreeMap<String, String>,
    /// How often an open alert is repeated; default 1 min.
    pub resend_interval: Duration,
    /// How long an alert lives that is not repeated; default 15 min, at least three repetitions. An outage of ours or
    /// of the way between that is shorter does not end it.
    pub expire_after: Duration,
    /// How long one request may take; default 10 s.
    pub timeout: Duration,
}

/// What the label `severity` says.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Severities {
    /// A person should look now.
    pub page: String,
    /// A person should look today.
    pub ticket: String,
}

impl Default for Severities {
    fn default() -> Self {
        Self { page: "critical".to_owned(), ticket: "warning".to_owned() }
    }
}

/// The section as written, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    url: Option<Url>,
    #[serde(default)]
    urls: Vec<Url>,
    #[serde(default = "default_name")]
    name: String,
    #[serde(default)]
    mode: Mode,
    auth: Option<Auth>,
    generator_url: Option<Url>,
    #[serde(default = "default_alertname")]
    alertname: String,
    #[serde(default)]
    severity: Severities,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default = "default_resend", deserialize_with = "duration::deserialize_std")]
    resend_interval: Duration,
    #[serde(default = "default_expire", deserialize_with = "duration::deserialize_std")]
    expire_after: Duration,
    #[serde(default = "default_timeout", deserialize_with = "duration::deserialize_std")]
    timeout: Duration,
}

fn default_name() -> String {
    "alertmanager".to_owned()
}

fn default_alertname() -> String {
    "AuthwatchIncident".to_owned()
}

const fn default_resend() -> Duration {
    Duration::from_secs(60)
}

const fn default_expire() -> Duration {
    Duration::from_secs(900)
}

const fn default_timeout() -> Duration {
    TIMEOUT
}

impl Config {
    /// The secrets that signing in needs.
    pub(crate) fn secrets(&mut self) -> Vec<&mut SecretRef> {
        self.auth.as_mut().map(Auth::secrets).unwrap_or_default()
    }

    /// Credentials in the clear.
    pub(crate) fn warning(&self) -> Option<Remark> {
        self.auth.as_ref().and_then(|_| self.urls.iter().find_map(wire::in_the_clear))
    }
}

/// What is wrong with the section, beyond its shape.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// No address, or both ways to write one, or too many.
    #[error("`url` names one Alertmanager, or `urls` names 1 to {URLS} of one cluster")]
    Urls,
    /// An address that cannot be one.
    #[error("`url` must be an http or https address without user, query or fragment")]
    Url,
    /// A name that does not fit a label.
    #[error("`name` must be letters, digits, `-` and `_`")]
    Name,
    /// A label that Alertmanager would refuse.
    #[error("`labels` has `{0}`, which is no label name (letters, digits and `_`, no digit first)")]
    Label(String),
    /// A label that authwatch writes itself.
    #[error("`labels` may not set `{0}` (authwatch writes it)")]
    Ours(String),
    /// A label without a value, which is dropped on the other side.
    #[error("a label's value must not be empty: `{0}`")]
    Empty(String),
    /// More labels than anybody routes by.
    #[error("`labels` has more than {LABELS} labels")]
    Labels,
    /// Times that would let an alert end while it is repeated.
    #[error("`expire_after` must be at least {REPEATS} times `resend_interval`, and that at least 1s")]
    Times,
    /// No time at all.
    #[error("`timeout` must be longer than nothing and shorter than `expire_after`")]
    Timeout,
}

impl TryFrom<Raw> for Config {
    type Error = ConfigError;

    fn try_from(raw: Raw) -> Result<Self, ConfigError> {
        let urls = match (raw.url, raw.urls) {
            (Some(url), urls) if urls.is_empty() => vec![url],
            (None, urls) if (1..=URLS).contains(&urls.len()) => urls,
            (Some(_) | None, _) => return Err(ConfigError::Urls),
        };
        if urls.iter().any(|url| wire::check_address(url).is_err() || url.query().is_some()) {
            return Err(ConfigError::Url);
        }
        if !wire::is_name(&raw.name) {
            return Err(ConfigError::Name);
        }
        if raw.labels.len() > LABELS {
            return Err(ConfigError::Labels);
        }
        if let Some(name) = raw.labels.keys().find(|name| !is_label(name)) {
            return Err(ConfigError::Label(name.clone()));
        }
        if let Some(name) = raw.labels.keys().find(|name| OURS.contains(&name.as_str())) {
            return Err(ConfigError::Ours(name.clone()));
        }
        let own = [("alertname", &raw.alertname), ("severity", &raw.severity.page), ("severity", &raw.severity.ticket)];
        let labels = raw.labels.iter().map(|(name, value)| (name.as_str(), value));
        if let Some((name, _)) = own.into_iter().chain(labels).find(|(_, value)| value.is_empty()) {
            return Err(ConfigError::Empty(name.to_owned()));
        }
        let repeats = raw.resend_interval.saturating_mul(REPEATS);
        if raw.resend_interval < Duration::from_secs(1) || raw.expire_after < repeats {
            return Err(ConfigError::Times);
        }
        if raw.timeout.is_zero() || raw.timeout >= raw.expire_after {
            return Err(ConfigError::Timeout);
        }
        Ok(Self {
            urls,
            name: raw.name,
            mode: raw.mode,
            auth: raw.auth,
            generator_url: raw.generator_url,
            alertname: raw.alertname,
            severity: raw.severity,
            labels: raw.labels,
            resend_interval: raw.resend_interval,
            expire_after: raw.expire_after,
            timeout: raw.timeout,
        })
    }
}

/// Whether Alertmanager takes it for a label's name in every release.
fn is_label(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().next().is_some_and(|first| !first.is_ascii_digit()) && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(key: &str, value: Value) -> Result<Config, String> {
        let mut json = json!({ "url": "http://am.example:9093" });
        json[key] = value;
        serde_json::from_value(json).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_is_enough_and_a_cluster_has_several() {
        let config = parse("labels", json!({})).expect("valid");
        assert_eq!((config.name.as_str(), config.mode, config.urls.len()), ("alertmanager", Mode::Live, 1));
        assert!(config.expire_after >= config.resend_interval * REPEATS);
        let cluster: Config =
            serde_json::from_value(json!({ "urls": ["http://a.example:9093", "http://b.example:9093/am"] }))
                .expect("valid");
        assert_eq!(cluster.urls.len(), 2);
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_name() {
        for (key, value, expect) in [
            ("urls", json!(["http://b.example"]), "`url` names one Alertmanager, or `urls`"),
            ("url", json!(null), "`url` names one Alertmanager, or `urls`"),
            ("url", json!("http://a.example?x=1"), "`url` must be an http or https address"),
            ("url", json!("http://user@a.example"), "without user"),
            ("name", json!("a b"), "`name` must be"),
            ("labels", json!({ "my-team": "x" }), "`labels` has `my-team`, which is no label name"),
            ("labels", json!({ "1st": "x" }), "no label name"),
            ("labels", json!({ "severity": "x" }), "may not set `severity`"),
            ("labels", json!({ "team": "" }), "must not be empty: `team`"),
            ("alertname", json!(""), "must not be empty: `alertname`"),
            ("expire_after", json!("2m"), "`expire_after` must be at least 3 times"),
            ("resend_interval", json!("100ms"), "at least 1s"),
            ("timeout", json!("0s"), "`timeout` must be longer"),
            ("mode", json!("dry"), "unknown variant `dry`"),
            ("auth", json!({ "token": {} }), "unknown variant `token`"),
            ("lables", json!({}), "unknown field `lables`"),
        ] {
            let error = parse(key, value.clone()).expect_err(key);
            assert!(error.contains(expect), "{key}: {value}: {error}");
        }
    }

    #[test]
    fn a_token_in_the_clear_is_warned_of() {
        let config = parse("auth", json!({ "bearer": { "env": "T" } })).expect("valid");
        assert_eq!(config.warning().map(|remark| remark.key), Some("auth"));
        assert_eq!(parse("labels", json!({})).expect("valid").warning(), None, "there are no credentials");
    }
}
