//! The `splunk` section of `sinks:`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;
use url::Url;

use super::super::{Shape, Topics, usual};
use crate::act::Remark;
use crate::act::wire;
use crate::duration;
use crate::secret::SecretRef;

/// The most fields of one's own.
const FIELDS: usize = 32;

/// The most records of one request.
const EVENTS: usize = 10_000;

/// The largest body of one request, before it is packed.
const BYTES: usize = 64 << 20;

/// What stands at the end of an address that was copied from elsewhere; it is ours to write.
const ENDPOINTS: [&str; 2] = ["/services/collector/event", "/services/collector"];

/// One collector. Only an address and a token are needed.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, try_from = "Raw")]
pub struct Config {
    /// The collector's address; a path before `/services` is kept.
    pub url: Url,
    /// The token.
    pub token: SecretRef,
    /// The name in the queue, in metrics and in the condition `sink/<name>`; default `splunk`.
    pub name: String,
    /// What is forwarded; default denies, policy changes and detections.
    pub forward: Topics,
    /// How a record looks; default `raw`.
    pub shape: Shape,
    /// The index; absent for the token's own.
    pub index: Option<String>,
    /// The source; default the name of the source that the record came from.
    pub source: Option<String>,
    /// The source type; default `authwatch:` and the shape, or `authwatch:finding`.
    pub sourcetype: Option<String>,
    /// The host; default the org.
    pub host: Option<String>,
    /// More indexed fields.
    pub fields: BTreeMap<String, String>,
    /// Whether nothing counts as taken before the indexer says that it is stored; default no.
    pub ack: bool,
    /// How often that is asked; default 5 s.
    pub ack_interval: Duration,
    /// After how long without an acknowledgement a batch is sent again; default 5 min.
    pub ack_timeout: Duration,
    /// Records of one request; default 1,000.
    pub batch_events: usize,
    /// Bytes of one request before it is packed; default 1,000,000. One record that is larger goes alone.
    pub batch_bytes: usize,
    /// Whether bodies are packed; default yes.
    pub gzip: bool,
    /// How long one request may take; default 30 s.
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
    #[serde(default = "usual")]
    forward: Topics,
    #[serde(default)]
    shape: Shape,
    index: Option<String>,
    source: Option<String>,
    sourcetype: Option<String>,
    host: Option<String>,
    #[serde(default)]
    fields: BTreeMap<String, String>,
    #[serde(default)]
    ack: bool,
    #[serde(default = "default_ack_interval", deserialize_with = "duration::deserialize_std")]
    ack_interval: Duration,
    #[serde(default = "default_ack_timeout", deserialize_with = "duration::deserialize_std")]
    ack_timeout: Duration,
    #[serde(default = "default_events")]
    batch_events: usize,
    #[serde(default = "default_bytes")]
    batch_bytes: usize,
    #[serde(default = "default_gzip")]
    gzip: bool,
    #[serde(default = "default_timeout", deserialize_with = "duration::deserialize_std")]
    timeout: Duration,
}

fn default_name() -> String {
    "splunk".to_owned()
}

const fn default_ack_interval() -> Duration {
    Duration::from_secs(5)
}

const fn default_ack_timeout() -> Duration {
    Duration::from_secs(300)
}

const fn default_events() -> usize {
    1_000
}

const fn default_bytes() -> usize {
    1_000_000
}

const fn default_gzip() -> bool {
    true
}

const fn default_timeout() -> Duration {
    Duration::from_secs(30)
}

impl Config {
    /// The token.
    pub(crate) fn secrets(&mut self) -> Vec<&mut SecretRef> {
        vec![&mut self.token]
    }

    /// A token in the clear.
    pub(crate) fn warning(&self) -> Option<Remark> {
        wire::in_the_clear(&self.url).map(|remark| Remark { key: "url", ..remark })
    }
}

/// What is wrong with the section, beyond its shape.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// An address that cannot be one.
    #[error(
        "`url` must be an http or https address without user, query or fragment (as `https://hec.example.com:8088`)"
    )]
    Url,
    /// A name that does not fit a label.
    #[error("`name` must be letters, digits, `-` and `_`")]
    Name,
    /// A text that says nothing.
    #[error("`{0}` must not be empty (leave it out instead)")]
    Empty(&'static str),
    /// A field that cannot be one, or is ours.
    #[error("`fields` has `{0}` (a name is letters, digits and `_`, and none begins with `aw_`)")]
    Field(String),
    /// More fields than anybody searches by.
    #[error("`fields` has more than {FIELDS} fields")]
    Fields,
    /// Times that cannot work.
    #[error("`ack_timeout` must be longer than `ack_interval`, and that at least 100ms")]
    Ack,
    /// A batch of nothing, or too much.
    #[error("`batch_events` must be 1 to {EVENTS}, and `batch_bytes` 1024 to {BYTES}")]
    Batch,
    /// No time at all.
    #[error("`timeout` must be longer than nothing")]
    Timeout,
}

impl TryFrom<Raw> for Config {
    type Error = ConfigError;

    fn try_from(mut raw: Raw) -> Result<Self, ConfigError> {
        if wire::check_address(&raw.url).is_err() || raw.url.query().is_some() {
            return Err(ConfigError::Url);
        }
        let path = raw.url.path().trim_end_matches('/');
        let prefix = ENDPOINTS.iter().find_map(|end| path.strip_suffix(end)).map(str::to_owned);
        if let Some(prefix) = prefix {
            raw.url.set_path(&prefix);
        }
        if !wire::is_name(&raw.name) {
            return Err(ConfigError::Name);
        }
        let texts =
            [("index", &raw.index), ("source", &raw.source), ("sourcetype", &raw.sourcetype), ("host", &raw.host)];
        if let Some((key, _)) = texts.into_iter().find(|(_, text)| text.as_deref() == Some("")) {
            return Err(ConfigError::Empty(key));
        }
        if raw.fields.len() > FIELDS {
            return Err(ConfigError::Fields);
        }
        if let Some(name) = raw.fields.keys().find(|name| !is_field(name)) {
            return Err(ConfigError::Field(name.clone()));
        }
        if raw.ack_interval < Duration::from_millis(100) || raw.ack_timeout <= raw.ack_interval {
            return Err(ConfigError::Ack);
        }
        if !(1..=EVENTS).contains(&raw.batch_events) || !(1_024..=BYTES).contains(&raw.batch_bytes) {
            return Err(ConfigError::Batch);
        }
        if raw.timeout.is_zero() {
            return Err(ConfigError::Timeout);
        }
        let Raw { url, token, name, forward, shape, index, source, sourcetype, host, .. } = raw;
        let Raw { fields, ack, ack_interval, ack_timeout, batch_events, batch_bytes, gzip, timeout, .. } = raw;
        Ok(Self {
            url,
            token,
            name,
            forward,
            shape,
            index,
            source,
            sourcetype,
            host,
            fields,
            ack,
            ack_interval,
            ack_timeout,
            batch_events,
            batch_bytes,
            gzip,
            timeout,
        })
    }
}

fn is_field(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && name.bytes().all(fits) && !name.starts_with("aw_")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(key: &str, value: Value) -> Result<Config, String> {
        let mut json = json!({ "url": "https://hec.example:8088", "token": { "env": "T" } });
        json[key] = value;
        serde_json::from_value(json).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_and_a_token_are_enough() {
        let mut config = parse("fields", json!({})).expect("valid");
        assert_eq!((config.name.as_str(), config.ack, config.gzip), ("splunk", false, true));
        assert_eq!(config.forward, Topics::of_words(["denies", "policy_changes", "detections"]).expect("topics"));
        assert_eq!(config.secrets(), [&SecretRef::Env("T".into())]);
        assert_eq!(config.warning(), None);
    }

    #[test]
    fn an_address_may_be_copied_with_its_endpoint() {
        for (url, path) in [
            ("https://hec.example:8088/services/collector/event", "/"),
            ("https://hec.example:8088/services/collector/", "/"),
            ("https://proxy.example/splunk/services/collector", "/splunk"),
            ("https://proxy.example/splunk", "/splunk"),
        ] {
            assert_eq!(parse("url", json!(url)).expect(url).url.path(), path, "{url}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_name() {
        for (key, value, expect) in [
            ("url", json!("ftp://x"), "`url` must be an http or https address"),
            ("url", json!("https://x.example?token=y"), "without user, query"),
            ("name", json!("a b"), "`name` must be"),
            ("forward", json!(["denys"]), "`denys` is nothing to forward"),
            ("forward", json!([]), "is nothing to forward"),
            ("shape", json!("leef"), "unknown variant `leef`"),
            ("index", json!(""), "`index` must not be empty"),
            ("fields", json!({ "a.b": "x" }), "`fields` has `a.b`"),
            ("fields", json!({ "aw_id": "x" }), "`fields` has `aw_id`"),
            ("ack_interval", json!("1ms"), "`ack_timeout` must be longer"),
            ("ack_timeout", json!("5s"), "`ack_timeout` must be longer"),
            ("batch_events", json!(0), "`batch_events` must be"),
            ("batch_bytes", json!(1), "`batch_events` must be"),
            ("timeout", json!("0s"), "`timeout` must be"),
            ("tokn", json!("x"), "unknown field `tokn`"),
        ] {
            let error = parse(key, value.clone()).expect_err(key);
            assert!(error.contains(expect), "{key}: {value}: {error}");
        }
    }

    #[test]
    fn a_token_in_the_clear_is_warned_of() {
        let config = parse("url", json!("http://hec.example:8088")).expect("valid");
        assert_eq!(config.warning().map(|remark| remark.key), Some("url"));
    }
}
