//! The `syslog` section of `sinks:`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use super::super::{Topics, usual};
use crate::act::{Remark, wire};
use crate::duration;
use crate::secret::SecretRef;

/// The port of syslog over TLS (RFC 5425).
const TLS_PORT: u16 = 6_514;

/// What every receiver must take in (RFC 5425), and the most that is allowed here.
const MESSAGE: (usize, usize) = (2_048, 1 << 20);

/// The most bytes of one batch.
const BATCH: usize = 16 << 20;

/// One receiver. Only `address` is needed.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, try_from = "Raw")]
pub struct Config {
    /// The receiver's host.
    pub host: String,
    /// Its port; default 6514 over TLS.
    pub port: u16,
    /// The name in the queue, in metrics and in the condition `sink/<name>`; default `syslog`.
    pub name: String,
    /// What is forwarded; default denies, policy changes and detections.
    pub forward: Topics,
    /// Over what; default `tls`.
    pub transport: Transport,
    /// Certificates; default those that the system trusts.
    pub tls: Tls,
    /// How messages are told apart; default `octet_counting`.
    pub framing: Framing,
    /// The shape of a message; default `cef`.
    pub payload: Payload,
    /// How sure a record must be before it counts as taken; default `stream`.
    pub confirm: Confirm,
    /// The facility's number; default `authpriv`, 10.
    pub facility: u8,
    /// HOSTNAME; default the org of the record.
    pub hostname: Option<String>,
    /// APP-NAME; default `authwatch`.
    pub app_name: String,
    /// SD-ID of the element with the record's id; default `authwatch@32473`, whose number is that of examples.
    pub structured_data_id: String,
    /// Whether JSON begins with a byte order mark; default no.
    pub bom: bool,
    /// The most bytes of one message; default 8000.
    pub max_bytes: usize,
    /// Bytes of one batch; default 1,000,000. One message that is larger goes alone.
    pub batch_bytes: usize,
    /// How long connecting, and how long the receiver may take nothing; default 15 s.
    pub timeout: Duration,
}

/// Over what messages go. UDP loses messages without a trace and is not offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TLS (RFC 5425).
    #[default]
    Tls,
    /// TCP in the clear (RFC 6587).
    Tcp,
}

/// How messages are told apart (RFC 6587). The receiver must be set to the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// The length before each message.
    #[default]
    OctetCounting,
    /// A line feed after each message.
    Newline,
}

/// The shape of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// Common Event Format.
    #[default]
    Cef,
    /// The record as it came, with our reading.
    Raw,
    /// The fields of Elastic's Okta integration.
    Ecs,
    /// The Open Cybersecurity Schema Framework.
    Ocsf,
}

/// How sure a record must be before it counts as taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirm {
    /// Written. What a broken connection may have lost is kept in memory and sent again.
    #[default]
    Stream,
    /// The receiver read it: each batch has a connection of its own, which both sides close.
    Close,
    /// The same, and over TLS the receiver has to say TLS's goodbye, which nobody can forge.
    Goodbye,
}

/// Certificates.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificates (PEM) that are trusted instead of those of the system.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its chain (PEM).
    pub certificate_file: Option<PathBuf>,
    /// The key of our certificate (PEM).
    pub key: Option<SecretRef>,
    /// The name that the receiver's certificate must have; default the host.
    pub server_name: Option<String>,
}

/// The section as written, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    address: String,
    #[serde(default = "default_name")]
    name: String,
    #[serde(default = "usual")]
    forward: Topics,
    #[serde(default)]
    transport: Transport,
    #[serde(default)]
    tls: Tls,
    #[serde(default)]
    framing: Framing,
    #[serde(default)]
    payload: Payload,
    #[serde(default)]
    confirm: Confirm,
    #[serde(default = "default_facility")]
    facility: String,
    hostname: Option<String>,
    #[serde(default = "default_app_name")]
    app_name: String,
    #[serde(default = "default_sd_id")]
    structured_data_id: String,
    #[serde(default)]
    bom: bool,
    #[serde(default = "default_max_bytes")]
    max_bytes: usize,
    #[serde(default = "default_batch_bytes")]
    batch_bytes: usize,
    #[serde(default = "default_timeout", deserialize_with = "duration::deserialize_std")]
    timeout: Duration,
}

fn default_name() -> String {
    "syslog".to_owned()
}

fn default_facility() -> String {
    "authpriv".to_owned()
}

fn default_app_name() -> String {
    "authwatch".to_owned()
}

fn default_sd_id() -> String {
    "authwatch@32473".to_owned()
}

/// What receivers should take in is 8192 (RFC 5425); rsyslog's default, written `8k`, is 8096, and it cuts without a mark.
const fn default_max_bytes() -> usize {
    8_000
}

const fn default_batch_bytes() -> usize {
    1_000_000
}

const fn default_timeout() -> Duration {
    Duration::from_secs(15)
}

/// The facilities of RFC 5424, by their usual names, from 0.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

/// What is wrong with the section, beyond its shape.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// An address that cannot be one.
    #[error("`address` must be `host:port` (over TLS the port may be left out: 6514)")]
    Address,
    /// A name that does not fit a label.
    #[error("`name` must be letters, digits, `-` and `_`")]
    Name,
    /// A facility that there is none of.
    #[error("`facility` must be one of {}", FACILITIES.join(", "))]
    Facility,
    /// A header field that no message can carry.
    #[error("`{0}` must be 1 to {1} printable ASCII characters without blanks{2}")]
    Field(&'static str, usize, &'static str),
    /// A byte order mark before CEF.
    #[error("`bom` is for JSON: receivers of CEF take it for a part of the text")]
    Bom,
    /// A bound that cannot work.
    #[error("`{0}` must be {1} to {2}")]
    Bound(&'static str, usize, usize),
    /// No time at all.
    #[error("`timeout` must be longer than 0")]
    Timeout,
    /// A certificate without its key, or the other way round.
    #[error("`tls.certificate_file` and `tls.key` belong together")]
    Certificate,
    /// Certificates where there is no TLS.
    #[error("`tls` is of no use over `transport: tcp`")]
    NoTls,
}

impl TryFrom<Raw> for Config {
    type Error = ConfigError;

    fn try_from(raw: Raw) -> Result<Self, ConfigError> {
        let (host, port) = address(&raw.address).ok_or(ConfigError::Address)?;
        let port = port.or((raw.transport == Transport::Tls).then_some(TLS_PORT)).ok_or(ConfigError::Address)?;
        if !wire::is_name(&raw.name) {
            return Err(ConfigError::Name);
        }
        let facility = FACILITIES.iter().position(|name| *name == raw.facility).ok_or(ConfigError::Facility)?;
        field("app_name", &raw.app_name, 48, "")?;
        if let Some(hostname) = &raw.hostname {
            field("hostname", hostname, 255, "")?;
        }
        field("structured_data_id", &raw.structured_data_id, 32, ", `=`, `]` and `\"`")?;
        if raw.bom && raw.payload == Payload::Cef {
            return Err(ConfigError::Bom);
        }
        bound("max_bytes", raw.max_bytes, MESSAGE)?;
        bound("batch_bytes", raw.batch_bytes, (1, BATCH))?;
        if raw.timeout.is_zero() {
            return Err(ConfigError::Timeout);
        }
        if raw.tls.certificate_file.is_some() != raw.tls.key.is_some() {
            return Err(ConfigError::Certificate);
        }
        if raw.transport == Transport::Tcp && raw.tls != Tls::default() {
            return Err(ConfigError::NoTls);
        }
        Ok(Self {
            host,
            port,
            name: raw.name,
            forward: raw.forward,
            transport: raw.transport,
            tls: raw.tls,
            framing: raw.framing,
            payload: raw.payload,
            confirm: raw.confirm,
            facility: u8::try_from(facility).map_err(|_| ConfigError::Facility)?,
            hostname: raw.hostname,
            app_name: raw.app_name,
            structured_data_id: raw.structured_data_id,
            bom: raw.bom,
            max_bytes: raw.max_bytes,
            batch_bytes: raw.batch_bytes,
            timeout: raw.timeout,
        })
    }
}

/// A host, or an address of IPv6 in brackets, and a port.
fn address(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':')?)),
        None if text.matches(':').count() > 1 => (text, None),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map(str::parse::<u16>).transpose().ok()?;
    let is_host = !host.is_empty()
        && (host.parse::<IpAddr>().is_ok()
            || host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')));
    (is_host && port != Some(0)).then(|| (host.to_owned(), port))
}

fn field(name: &'static str, text: &str, most: usize, beyond: &'static str) -> Result<(), ConfigError> {
    let fits = |c: char| c.is_ascii_graphic() && (beyond.is_empty() || !matches!(c, '=' | ']' | '"'));
    let is_good = !text.is_empty() && text.len() <= most && text.chars().all(fits);
    if is_good { Ok(()) } else { Err(ConfigError::Field(name, most, beyond)) }
}

fn bound(name: &'static str, value: usize, (least, most): (usize, usize)) -> Result<(), ConfigError> {
    if (least..=most).contains(&value) { Ok(()) } else { Err(ConfigError::Bound(name, least, most)) }
}

impl Config {
    /// The secrets that a connection needs.
    pub fn secrets(&mut self) -> Vec<&mut SecretRef> {
        self.tls.key.iter_mut().collect()
    }

    /// The files of certificates.
    pub fn files(&mut self) -> Vec<&mut PathBuf> {
        self.tls.ca_file.iter_mut().chain(&mut self.tls.certificate_file).collect()
    }

    /// What works and is worth a warning.
    pub fn warning(&self) -> Option<Remark> {
        let is_here = self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|host| host.is_loopback());
        let (key, text) = match (self.transport, self.framing) {
            (Transport::Tcp, _) if !is_here => (
                "transport",
                "names and addresses of people go in the clear, where everybody on the way can read them (use tls)",
            ),
            (Transport::Tls, Framing::Newline) => (
                "framing",
                "over TLS the standard allows octet counting only (RFC 5425); is the receiver set to newlines?",
            ),
            _ => return None,
        };
        Some(Remark { key, text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(key: &str, value: Value) -> Result<Config, String> {
        let mut json = json!({ "address": "siem.example.com:6514" });
        json[key] = value;
        serde_json::from_value(json).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_is_enough() {
        let config = parse("address", json!("siem.example.com")).expect("valid");
        assert_eq!((config.port, config.facility, config.max_bytes), (6_514, 10, 8_000));
        assert_eq!((config.transport, config.payload), (Transport::Tls, Payload::Cef));
        assert_eq!(config.warning(), None);
        for (text, host, port) in [
            ("[2001:db8::1]:601", "2001:db8::1", 601),
            ("2001:db8::1", "2001:db8::1", 6_514),
            ("192.0.2.1:1", "192.0.2.1", 1),
        ] {
            let config = parse("address", json!(text)).expect(text);
            assert_eq!((config.host.as_str(), config.port), (host, port), "{text}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_name() {
        for (key, value, expect) in [
            ("address", json!("a b:1"), "`address` must be"),
            ("address", json!("siem:0"), "`address` must be"),
            ("address", json!("siem:x"), "`address` must be"),
            ("address", json!("https://siem"), "`address` must be"),
            ("name", json!(""), "`name` must be"),
            ("transport", json!("udp"), "unknown variant `udp`"),
            ("facility", json!("local8"), "`facility` must be one of kern,"),
            ("hostname", json!("a b"), "`hostname` must be"),
            ("app_name", json!("x".repeat(49)), "`app_name` must be 1 to 48"),
            ("structured_data_id", json!("a=b"), "`structured_data_id` must be"),
            ("bom", json!(true), "`bom` is for JSON"),
            ("max_bytes", json!(480), "`max_bytes` must be 2048 to"),
            ("batch_bytes", json!(0), "`batch_bytes` must be"),
            ("timeout", json!("0s"), "`timeout` must be longer"),
            ("tls", json!({ "key": { "env": "K" } }), "belong together"),
            ("framming", json!("x"), "unknown field `framming`"),
        ] {
            let error = parse(key, value.clone()).expect_err(key);
            assert!(error.contains(expect), "{key}: {value}: {error}");
        }
        let tcp = json!({ "address": "siem:601", "transport": "tcp", "tls": { "ca_file": "x" } });
        let error = serde_json::from_value::<Config>(tcp).expect_err("no TLS").to_string();
        assert!(error.contains("of no use over"), "{error}");
        assert!(serde_json::from_value::<Config>(json!({ "address": "siem", "transport": "tcp" })).is_err(), "no port");
    }

    #[test]
    fn what_goes_in_the_clear_is_warned_of_beyond_this_machine() {
        for (value, key) in [
            (json!({ "address": "192.0.2.1:601", "transport": "tcp" }), Some("transport")),
            (json!({ "address": "127.0.0.1:601", "transport": "tcp" }), None),
            (json!({ "address": "siem.example.com", "framing": "newline" }), Some("framing")),
        ] {
            let config: Config = serde_json::from_value(value).expect("valid");
            assert_eq!(config.warning().map(|remark| remark.key), key, "{config:?}");
        }
    }
}
