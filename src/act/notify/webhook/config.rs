//! The `webhook` section of `sinks:`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use thiserror::Error;
use url::Url;

use super::template::{self, Source, TemplateError};
use crate::act::Remark;
use crate::act::shadow::Mode;
use crate::act::wire;
use crate::action::IncidentAction;
use crate::duration;
use crate::secret::SecretRef;

/// The most headers of one's own.
const HEADERS: usize = 32;

/// The most bytes that `body_limit` can allow.
const BODY_LIMIT: usize = 4 << 20;

/// The largest template file.
const TEMPLATE: u64 = 256 << 10;

/// Headers that authwatch or HTTP itself writes.
const OURS: [&str; 7] = [
    "content-type",
    "content-length",
    "transfer-encoding",
    "host",
    "connection",
    "idempotency-key",
    "x-authwatch-timestamp",
];

/// One receiver. Only `url` is needed.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, try_from = "Raw")]
pub struct Config {
    /// The address; a secret reference where the address itself is one.
    pub url: Text,
    /// The name in the outbox, in metrics and in the condition `sink/<name>`; default `webhook`.
    pub name: String,
    /// Whether it tells or only records; default `live`.
    pub mode: Mode,
    /// The method; default `POST`.
    pub method: Method,
    /// More headers, each a text or a secret reference.
    pub headers: BTreeMap<String, Text>,
    /// The body; absent for the incident as JSON.
    pub template: Option<Source>,
    /// The type of the body; default `application/json`. The body must be valid JSON where it says so.
    pub content_type: String,
    /// The signature; absent for none.
    pub hmac: Option<Hmac>,
    /// Statuses that mean the receiver took it; default 200 to 299.
    pub accept: Accept,
    /// How long one request may take; default 15 s.
    pub timeout: Duration,
    /// The most bytes of a body; default 262144.
    pub body_limit: usize,
}

/// The section as written, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    url: Text,
    #[serde(default = "default_name")]
    name: String,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    method: Method,
    #[serde(default)]
    headers: BTreeMap<String, Text>,
    template: Option<Source>,
    #[serde(default = "default_content_type")]
    content_type: String,
    hmac: Option<Hmac>,
    #[serde(default)]
    accept: Accept,
    #[serde(default = "default_timeout", deserialize_with = "duration::deserialize_std")]
    timeout: Duration,
    #[serde(default = "default_body_limit")]
    body_limit: usize,
}

fn default_name() -> String {
    "webhook".to_owned()
}

fn default_content_type() -> String {
    "application/json".to_owned()
}

const fn default_timeout() -> Duration {
    Duration::from_secs(15)
}

const fn default_body_limit() -> usize {
    256 << 10
}

/// A text, or a reference to a secret one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Text {
    /// As written.
    Plain(String),
    /// By reference.
    Secret(SecretRef),
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyText;
        impl<'de> Visitor<'de> for AnyText {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or a secret reference (`{env: NAME}`)")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text::Plain(text.to_owned()))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Text, E> {
                Ok(Text::Plain(number.to_string()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Text, A::Error> {
                SecretRef::deserialize(de::value::MapAccessDeserializer::new(map)).map(Text::Secret)
            }
        }
        deserializer.deserialize_any(AnyText)
    }
}

/// The method.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// `POST`.
    #[default]
    Post,
    /// `PUT`.
    Put,
}

impl Method {
    /// As the client wants it.
    pub(super) fn as_http(self) -> reqwest::Method {
        match self {
            Self::Post => reqwest::Method::POST,
            Self::Put => reqwest::Method::PUT,
        }
    }
}

/// How requests are signed.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hmac {
    /// The key that the receiver has too.
    pub key: SecretRef,
    /// The header with the signature; default `X-Authwatch-Signature`.
    #[serde(default = "default_header")]
    pub header: String,
    /// The algorithm; `sha256`.
    #[serde(default)]
    pub algorithm: Algorithm,
}

fn default_header() -> String {
    "X-Authwatch-Signature".to_owned()
}

/// The algorithm of a signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// HMAC-SHA-256.
    #[default]
    Sha256,
}

/// Statuses that mean that the receiver took it: single ones, and spans written `200..299`, both ends included.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "Vec<Text>")]
pub struct Accept(Vec<(u16, u16)>);

impl Default for Accept {
    fn default() -> Self {
        Self(vec![(200, 299)])
    }
}

impl Accept {
    /// Whether a status is one of them.
    pub fn holds(&self, status: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&status))
    }
}

impl TryFrom<Vec<Text>> for Accept {
    type Error = ConfigError;

    fn try_from(texts: Vec<Text>) -> Result<Self, ConfigError> {
        let span = |text: &Text| {
            let Text::Plain(text) = text else { return None };
            let (first, last) = text.split_once("..").unwrap_or((text, text));
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (200 <= first && first <= last && last <= 599).then_some((first, last))
        };
        let spans: Option<Vec<_>> = texts.iter().map(span).collect();
        spans.filter(|spans| !spans.is_empty() && spans.len() <= 16).map(Self).ok_or(ConfigError::Accept)
    }
}

/// What is wrong with the section, beyond its shape.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// An address that cannot be one.
    #[error("`url` {}", wire::NoAddress)]
    Url,
    /// A name that does not fit a label.
    #[error("`name` must be letters, digits, `-` and `_`")]
    Name,
    /// A header that cannot be one.
    #[error("`headers` has `{0}`, whose name or value cannot stand in a header")]
    Header(String),
    /// A header that authwatch writes itself.
    #[error("`headers` may not set `{0}` (authwatch writes it; `content_type` has a key of its own)")]
    Ours(String),
    /// More headers than a receiver takes.
    #[error("`headers` has more than {HEADERS} headers")]
    Headers,
    /// A content type that cannot be one.
    #[error("`content_type` must be a type such as `application/json`")]
    ContentType,
    /// Statuses that are none.
    #[error("`accept` is a list of statuses and spans of them, from 200 to 599 (as `[200..299]`)")]
    Accept,
    /// No time at all.
    #[error("`timeout` must be longer than nothing")]
    Timeout,
    /// No room, or too much.
    #[error("`body_limit` must be 1024 to {BODY_LIMIT} bytes")]
    BodyLimit,
}

impl TryFrom<Raw> for Config {
    type Error = ConfigError;

    fn try_from(raw: Raw) -> Result<Self, ConfigError> {
        if let Text::Plain(text) = &raw.url {
            let url: Url = text.parse().map_err(|_| ConfigError::Url)?;
            wire::check_address(&url).map_err(|_| ConfigError::Url)?;
        }
        if !wire::is_name(&raw.name) {
            return Err(ConfigError::Name);
        }
        check_headers(&raw)?;
        if HeaderValue::from_str(&raw.content_type).is_err() || !raw.content_type.contains('/') {
            return Err(ConfigError::ContentType);
        }
        if raw.timeout.is_zero() {
            return Err(ConfigError::Timeout);
        }
        if !(1_024..=BODY_LIMIT).contains(&raw.body_limit) {
            return Err(ConfigError::BodyLimit);
        }
        Ok(Self {
            url: raw.url,
            name: raw.name,
            mode: raw.mode,
            method: raw.method,
            headers: raw.headers,
            template: raw.template,
            content_type: raw.content_type,
            hmac: raw.hmac,
            accept: raw.accept,
            timeout: raw.timeout,
            body_limit: raw.body_limit,
        })
    }
}

fn check_headers(raw: &Raw) -> Result<(), ConfigError> {
    if raw.headers.len() > HEADERS {
        return Err(ConfigError::Headers);
    }
    let signature = raw.hmac.as_ref().map(|hmac| &hmac.header);
    for (name, value) in raw.headers.iter().map(|(name, value)| (name, Some(value))).chain(signature.map(|n| (n, None)))
    {
        let is_value = match value {
            Some(Text::Plain(text)) => HeaderValue::from_str(text).is_ok(),
            Some(Text::Secret(_)) | None => true,
        };
        if HeaderName::from_bytes(name.as_bytes()).is_err() || !is_value {
            return Err(ConfigError::Header(name.clone()));
        }
        let is_signature = value.is_some() && signature.is_some_and(|other| other.eq_ignore_ascii_case(name));
        if is_signature || OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name)) {
            return Err(ConfigError::Ours(name.clone()));
        }
    }
    Ok(())
}

impl Config {
    /// The secrets that a request needs.
    pub(crate) fn secrets(&mut self) -> Vec<&mut SecretRef> {
        let texts = self.headers.values_mut().chain([&mut self.url]);
        let secrets = texts.filter_map(|text| match text {
            Text::Secret(secret) => Some(secret),
            Text::Plain(_) => None,
        });
        secrets.chain(self.hmac.as_mut().map(|hmac| &mut hmac.key)).collect()
    }

    /// Reads the template's file and renders a made-up incident with it.
    pub(crate) fn load(&mut self, base: &Path) -> Result<(), Remark> {
        let is_json = self.is_json();
        let Some(source) = &mut self.template else { return Ok(()) };
        let name = match source {
            Source::File(path, text) => {
                *path = base.join(&*path);
                *text = Some(read(path).map_err(|error| remark(&error.to_string()))?);
                format!("`{}` ", path.display())
            }
            Source::Inline(_) => String::new(),
        };
        source.check(is_json).map_err(|error| remark(&format!("{name}{error}")))
    }

    /// Secrets in the clear.
    pub(crate) fn warning(&self) -> Option<Remark> {
        let Text::Plain(url) = &self.url else { return None };
        let has_secret = self.headers.values().any(|value| matches!(value, Text::Secret(_)));
        let remark = url.parse().ok().as_ref().and_then(wire::in_the_clear).filter(|_| has_secret)?;
        Some(Remark { key: "headers", ..remark })
    }

    /// The body for an action.
    pub(super) fn body(&self, action: &IncidentAction) -> Result<String, TemplateError> {
        match &self.template {
            Some(template) => template.render(action, self.is_json()),
            None => Ok(template::fields(action).to_string()),
        }
    }

    /// Whether the content type says JSON: `application/json`, `application/vnd.x+json`.
    fn is_json(&self) -> bool {
        let kind = self.content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        kind.ends_with("/json") || kind.ends_with("+json")
    }
}

fn remark(text: &str) -> Remark {
    Remark { key: "template", text: format!("the template cannot work: {text}") }
}

fn read(path: &Path) -> Result<String, TemplateError> {
    use std::io::Read as _;
    let unreadable = |source| TemplateError::Unreadable { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    file.take(TEMPLATE + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > TEMPLATE {
        return Err(unreadable(std::io::Error::other(format!("it is larger than {TEMPLATE} bytes"))));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(key: &str, value: Value) -> Result<Config, String> {
        let mut json = json!({ "url": "https://hook.example/x?y=1" });
        json[key] = value;
        serde_json::from_value(json).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_is_enough() {
        let config = parse("method", json!("PUT")).expect("valid");
        assert_eq!((config.method, config.content_type.as_str()), (Method::Put, "application/json"));
        assert!(config.accept.holds(204) && !config.accept.holds(302));
        let mut config = parse("headers", json!({ "X-Key": { "env": "K" }, "X-Team": "iam" })).expect("valid");
        assert_eq!(config.secrets(), [&SecretRef::Env("K".into())]);
        let accept = parse("accept", json!([200, "409", "300..399"])).expect("valid").accept;
        assert_eq!([200, 201, 302, 409, 500].map(|status| accept.holds(status)), [true, false, true, true, false]);
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_name() {
        for (key, value, expect) in [
            ("url", json!("ftp://x"), "`url` must be an http or https address"),
            ("url", json!("https://u:p@x.example"), "without user"),
            ("name", json!(""), "`name` must be"),
            ("method", json!("GET"), "unknown variant `GET`"),
            ("headers", json!({ "a b": "x" }), "`headers` has `a b`"),
            ("headers", json!({ "X-A": "x\ny" }), "`headers` has `X-A`"),
            ("headers", json!({ "Content-Type": "x" }), "may not set `Content-Type`"),
            ("headers", json!({ "X-A": { "vault_path": "x" } }), "unknown variant"),
            ("content_type", json!("json"), "`content_type` must be"),
            ("accept", json!([]), "`accept` is a list of statuses"),
            ("accept", json!(["299..200"]), "`accept` is a list of statuses"),
            ("accept", json!([100]), "`accept` is a list of statuses"),
            ("hmac", json!({ "key": { "env": "K" }, "algorithm": "md5" }), "unknown variant `md5`"),
            ("hmac", json!({ "key": { "env": "K" }, "header": "Host" }), "may not set `Host`"),
            ("timeout", json!("0s"), "`timeout` must be longer"),
            ("body_limit", json!(10), "`body_limit` must be"),
            ("templat", json!("x"), "unknown field `templat`"),
        ] {
            let error = parse(key, value.clone()).expect_err(key);
            assert!(error.contains(expect), "{key}: {value}: {error}");
        }
    }

    #[test]
    fn a_template_file_is_read_from_its_base_and_named_where_it_fails() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("body.j2"), "{\n  \"text\": {{ titel }}\n}\n").expect("writes");
        let mut config = parse("template", json!({ "file": "body.j2" })).expect("valid");
        let remark = config.load(dir.path()).expect_err("a field that is none");
        assert_eq!(remark.key, "template");
        assert!(remark.text.contains("body.j2` line 2: undefined value"), "{}", remark.text);
        let mut config = parse("template", json!({ "file": "absent.j2" })).expect("valid");
        assert!(config.load(dir.path()).expect_err("no file").text.contains("absent.j2"));
    }
}
