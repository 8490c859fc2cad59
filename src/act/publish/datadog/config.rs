//! The `datadog` section of `sinks:`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;
use url::Url;

use crate::act::Remark;
use crate::act::publish::{Limits, Settings, interval, is_ours, timeout};
use crate::act::shadow::Mode;
use crate::act::wire;
use crate::secret::SecretRef;

/// The most tags of one's own.
const TAGS: usize = 20;

/// One Datadog organisation. Only `api_key` is needed.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, try_from = "Raw")]
pub struct Config {
    /// The site, such as `datadoghq.eu`; default `datadoghq.com`.
    pub site: String,
    /// One address for everything instead of the site's own, for a proxy between.
    pub url: Option<Url>,
    /// The API key.
    pub api_key: SecretRef,
    /// The name in the outbox, in metrics and in conditions; default `datadog`.
    pub name: String,
    /// Whether events are told or only recorded; default `live`. Metrics are pushed in both.
    pub mode: Mode,
    /// Whether metrics are pushed; default `true`.
    pub metrics: bool,
    /// Whether incidents are told and changes of policies are marked as events; default `true`.
    pub events: bool,
    /// How often metrics are pushed; default 60 s.
    pub interval: Duration,
    /// More tags, on every series and event.
    pub tags: BTreeMap<String, String>,
    /// How much is held and sent.
    pub limits: Limits,
    /// How long one request may take; default 10 s.
    pub timeout: Duration,
    /// Where series go.
    pub(super) series_url: Url,
    /// Where events go.
    pub(super) events_url: Url,
}

/// The section as written, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default = "default_site")]
    site: String,
    url: Option<Url>,
    api_key: SecretRef,
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
    tags: BTreeMap<String, String>,
    #[serde(default)]
    limits: Limits,
    #[serde(default = "default_timeout", deserialize_with = "timeout")]
    timeout: Duration,
}

fn default_site() -> String {
    "datadoghq.com".to_owned()
}

fn default_name() -> String {
    "datadog".to_owned()
}

const fn yes() -> bool {
    true
}

const fn default_interval() -> Duration {
    Duration::from_secs(60)
}

const fn default_timeout() -> Duration {
    Duration::from_secs(10)
}

/// What is wrong with the section, beyond its shape.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A site that cannot be one.
    #[error("`site` must be a host name such as `datadoghq.eu` (without `https://` and `api.`)")]
    Site,
    /// An address that cannot be one.
    #[error("`url` {}, and without query", wire::NoAddress)]
    Url,
    /// A name that does not fit a label.
    #[error("`name` must be letters, digits, `-` and `_`")]
    Name,
    /// Nothing to do.
    #[error("`metrics` and `events` are both off, so there is nothing to send (leave the sink out)")]
    Nothing,
    /// A tag that Datadog would rewrite.
    #[error(
        "`tags` has `{0}`: a name is lower-case letters, digits, `_`, `-`, `.` and `/`, a letter first, and a value is not empty"
    )]
    Tag(String),
    /// A tag that authwatch writes itself.
    #[error("`tags` may not set `{0}` (authwatch writes it)")]
    Ours(String),
    /// More tags than anybody looks for.
    #[error("`tags` has more than {TAGS} tags")]
    Tags,
    /// Bounds that are none.
    #[error("{0}")]
    Limits(String),
}

impl TryFrom<Raw> for Config {
    type Error = ConfigError;

    fn try_from(raw: Raw) -> Result<Self, ConfigError> {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        if raw.site.starts_with("api.") || !raw.site.contains('.') || !raw.site.bytes().all(is_part) {
            return Err(ConfigError::Site);
        }
        if raw.url.as_ref().is_some_and(|url| wire::check_address(url).is_err() || url.query().is_some()) {
            return Err(ConfigError::Url);
        }
        if !wire::is_name(&raw.name) {
            return Err(ConfigError::Name);
        }
        if !raw.metrics && !raw.events {
            return Err(ConfigError::Nothing);
        }
        if raw.tags.len() > TAGS {
            return Err(ConfigError::Tags);
        }
        if let Some((name, _)) = raw.tags.iter().find(|(name, value)| !is_tag(name) || value.trim().is_empty()) {
            return Err(ConfigError::Tag(name.clone()));
        }
        let ours = |name: &&String| is_ours(name) || super::event::TAGS.contains(&name.as_str());
        if let Some(name) = raw.tags.keys().find(ours) {
            return Err(ConfigError::Ours(name.clone()));
        }
        raw.limits.check().map_err(ConfigError::Limits)?;
        let at = |host: &str, path: &str| {
            endpoint(&format!("https://{host}.{}", raw.site), raw.url.as_ref(), path).ok_or(ConfigError::Site)
        };
        Ok(Self {
            series_url: at("api", "/api/v2/series")?,
            events_url: at("event-management-intake", "/api/v2/events")?,
            site: raw.site,
            url: raw.url,
            api_key: raw.api_key,
            name: raw.name,
            mode: raw.mode,
            metrics: raw.metrics,
            events: raw.events,
            interval: raw.interval,
            tags: raw.tags,
            limits: raw.limits,
            timeout: raw.timeout,
        })
    }
}

/// Whether Datadog takes it for a tag's name as it is.
fn is_tag(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-./".contains(&byte);
    name.len() <= 100 && name.bytes().next().is_some_and(|first| first.is_ascii_lowercase()) && name.bytes().all(fits)
}

fn endpoint(own: &str, url: Option<&Url>, path: &str) -> Option<Url> {
    let mut endpoint = url.cloned().or_else(|| own.parse().ok())?;
    endpoint.set_path(&format!("{}{path}", endpoint.path().trim_end_matches('/')));
    Some(endpoint)
}

impl Config {
    /// The secret that every request needs.
    pub(crate) fn secrets(&mut self) -> Vec<&mut SecretRef> {
        vec![&mut self.api_key]
    }

    /// The key in the clear.
    pub(crate) fn warning(&self) -> Option<Remark> {
        let remark = self.url.as_ref().and_then(wire::in_the_clear)?;
        Some(Remark { key: "url", ..remark })
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
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(key: &str, value: Value) -> Result<Config, String> {
        let mut json = json!({ "api_key": { "env": "DD_API_KEY" } });
        json[key] = value;
        serde_json::from_value(json).map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_is_enough_and_the_site_gives_the_addresses() {
        let config = parse("site", json!("us3.datadoghq.com")).expect("valid");
        assert!(config.metrics && config.events && config.interval == Duration::from_secs(60));
        assert_eq!(
            [config.series_url.as_str(), config.events_url.as_str()],
            [
                "https://api.us3.datadoghq.com/api/v2/series",
                "https://event-management-intake.us3.datadoghq.com/api/v2/events"
            ]
        );
        let config = parse("url", json!("https://proxy.example.com/dd/")).expect("valid");
        assert_eq!(config.series_url.as_str(), "https://proxy.example.com/dd/api/v2/series");
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_name() {
        for (key, value, expect) in [
            ("site", json!("https://app.datadoghq.com"), "`site` must be a host name"),
            ("site", json!("api.datadoghq.com"), "`site` must be a host name"),
            ("site", json!("eu"), "`site` must be a host name"),
            ("url", json!("ftp://x.example"), "`url` must be an http or https address"),
            ("url", json!("https://x.example?a=1"), "without query"),
            ("name", json!("a b"), "`name` must be"),
            ("mode", json!("dry"), "unknown variant `dry`"),
            ("interval", json!("500ms"), "out of range"),
            ("interval", json!("1h"), "out of range"),
            ("timeout", json!("0s"), "out of range"),
            ("tags", json!({ "Env": "prod" }), "`tags` has `Env`"),
            ("tags", json!({ "env": " " }), "`tags` has `env`"),
            ("tags", json!({ "org": "x" }), "may not set `org`"),
            ("tags", json!({ "incident": "x" }), "may not set `incident`"),
            ("limits", json!({ "series": 0 }), "`limits` are `series` 1 to"),
            ("limits", json!({ "series": 20_000 }), "`series` times `waiting`"),
            ("limits", json!({ "rows": 1 }), "unknown field `rows`"),
            ("api_key", json!("abc"), "unknown variant `abc`"),
            ("app_key", json!({ "env": "A" }), "unknown field `app_key`"),
        ] {
            let error = parse(key, value.clone()).expect_err(key);
            assert!(error.contains(expect), "{key}: {value}: {error}");
        }
        let none = json!({ "api_key": { "env": "A" }, "metrics": false, "events": false });
        let error = serde_json::from_value::<Config>(none).expect_err("nothing to do").to_string();
        assert!(error.contains("there is nothing to send"), "{error}");
    }

    #[test]
    fn a_key_in_the_clear_is_warned_of() {
        let config = parse("url", json!("http://proxy.example.com")).expect("valid");
        assert_eq!(config.warning().map(|remark| remark.key), Some("url"));
        assert_eq!(parse("site", json!("datadoghq.eu")).expect("valid").warning(), None);
    }
}
