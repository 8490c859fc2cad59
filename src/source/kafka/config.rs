//! The `kafka:` section of the configuration.
//!
//! It refuses what the source itself decides (offsets, group membership, formats) under `properties`, a password in
//! clear text over the network, and a reject topic that would be read again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use rdkafka::ClientConfig;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IntoDeserializer as _, Visitor};

use crate::duration;
use crate::event::Span;
use crate::secret::SecretRef;

/// How far back `start` may reach.
const FURTHEST: Span = Span::hours(24 * 365);

/// One set of topics to read.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Brokers to begin with, each `host:port`; required. The others of the cluster are learnt from them.
    #[serde(deserialize_with = "brokers")]
    pub brokers: Vec<String>,
    /// The topics, by name; required. Patterns are refused.
    #[serde(deserialize_with = "topics")]
    pub topics: Vec<String>,
    /// The consumer group; required. It decides which process reads, and shows the position to lag tools.
    #[serde(deserialize_with = "name")]
    pub group: String,
    /// What the records are; `okta` by default.
    #[serde(default)]
    pub format: Format,
    /// Where a topic without a stored position begins; `24h` by default. A partition that is added to a topic that is
    /// read already begins at its first record, whatever this says.
    #[serde(default)]
    pub start: Start,
    /// Encryption and authentication; `plaintext` by default.
    #[serde(default)]
    pub security: Security,
    /// Where records that could not become an event are copied to; nowhere by default.
    #[serde(default, deserialize_with = "optional_name")]
    pub reject_topic: Option<String>,
    /// Settings of librdkafka by their own names, of the list [`PROPERTIES`].
    #[serde(default, deserialize_with = "properties")]
    pub properties: BTreeMap<String, String>,
    /// The org's label where it is not the one at the top of the configuration.
    #[serde(default)]
    pub org: Option<String>,
}

/// What the records of the topics are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(try_from = "WrittenFormat")]
pub enum Format {
    /// Okta System Log events, bare or in any wrapper that `decode` knows.
    #[default]
    Okta,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenFormat {
    Okta,
    Entra,
}

impl TryFrom<WrittenFormat> for Format {
    type Error = &'static str;

    fn try_from(written: WrittenFormat) -> Result<Self, Self::Error> {
        match written {
            WrittenFormat::Okta => Ok(Self::Okta),
            WrittenFormat::Entra => Err("the format `entra` is not built yet (use `okta`)"),
        }
    }
}

/// Where a topic without a stored position begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// At the first record that is kept.
    Earliest,
    /// At what comes from now on.
    Latest,
    /// At the group's committed offset; at the first record where there is none.
    Committed,
    /// At the first record with a time of at most this long ago, by the broker's record times.
    Ago(Span),
}

impl Default for Start {
    fn default() -> Self {
        Self::Ago(Span::hours(24))
    }
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            "committed" => Ok(Self::Committed),
            other if other.starts_with(|first: char| first.is_ascii_digit()) => {
                duration::bounded(other.into_deserializer(), Span(0), FURTHEST).map(Self::Ago)
            }
            other => {
                let why = format!("`{other}` is no start (write `earliest`, `latest`, `committed` or a duration)");
                Err(D::Error::custom(why))
            }
        }
    }
}

/// Encryption and authentication.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(try_from = "WrittenSecurity")]
pub struct Security {
    /// What is spoken.
    pub protocol: Protocol,
    /// The certificates that may sign a broker's; those of the machine by default.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate and its key, where the brokers ask for one.
    pub client: Option<ClientCertificate>,
    /// User and password; required with `sasl_…`.
    pub sasl: Option<Sasl>,
}

/// How to speak to the brokers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Neither encryption nor authentication.
    #[default]
    Plaintext,
    /// TLS.
    Ssl,
    /// A password without TLS.
    SaslPlaintext,
    /// A password over TLS.
    SaslSsl,
}

impl Protocol {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Ssl => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslSsl => "sasl_ssl",
        }
    }

    pub(super) const fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    const fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

/// A client certificate, PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientCertificate {
    /// The certificate, with its chain.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
    /// The key's password.
    pub key_password: Option<SecretRef>,
}

/// User and password.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sasl {
    /// How the password is shown to be known.
    pub mechanism: Mechanism,
    /// The user.
    pub user: String,
    /// The password.
    pub password: SecretRef,
}

/// A SASL mechanism.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
pub enum Mechanism {
    /// The password itself is sent.
    #[serde(rename = "PLAIN")]
    Plain,
    /// Challenge and response with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// Challenge and response with SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl Mechanism {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSecurity {
    #[serde(default)]
    protocol: Protocol,
    #[serde(default)]
    ca_file: Option<PathBuf>,
    #[serde(default)]
    cert_file: Option<PathBuf>,
    #[serde(default)]
    key_file: Option<PathBuf>,
    #[serde(default)]
    key_password: Option<SecretRef>,
    #[serde(default)]
    sasl: Option<Sasl>,
}

impl TryFrom<WrittenSecurity> for Security {
    type Error = String;

    fn try_from(written: WrittenSecurity) -> Result<Self, Self::Error> {
        let WrittenSecurity { protocol, ca_file, cert_file, key_file, key_password, sasl } = written;
        let name = protocol.as_str();
        if !protocol.has_tls() && (ca_file.is_some() || cert_file.is_some() || key_file.is_some()) {
            return Err(format!("certificates have no use with `protocol: {name}` (use `ssl` or `sasl_ssl`)"));
        }
        if protocol.has_sasl() != sasl.is_some() {
            let what = if protocol.has_sasl() { "needs" } else { "has no use for" };
            return Err(format!("`protocol: {name}` {what} a `sasl` section"));
        }
        let client = match (cert_file, key_file) {
            (Some(cert_file), Some(key_file)) => Some(ClientCertificate { cert_file, key_file, key_password }),
            (None, None) if key_password.is_none() => None,
            _ => return Err("`cert_file` and `key_file` go together".to_owned()),
        };
        Ok(Self { protocol, ca_file, client, sasl })
    }
}

/// The settings of librdkafka that `properties` may change: how it connects, how much it fetches, how long it waits.
/// Everything that decides what is read, by whom, or what is trusted is this source's own.
pub const PROPERTIES: [&str; 27] = [
    "broker.address.family",
    "broker.address.ttl",
    "check.crcs",
    "client.dns.lookup",
    "client.rack",
    "connections.max.idle.ms",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.wait.max.ms",
    "heartbeat.interval.ms",
    "isolation.level",
    "max.poll.interval.ms",
    "message.max.bytes",
    "metadata.max.age.ms",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "session.timeout.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.timeout.ms",
    "ssl.cipher.suites",
    "topic.metadata.refresh.interval.ms",
];

impl Config {
    /// What no key alone can show to be wrong.
    ///
    /// # Errors
    /// A sentence that says what, and what to do.
    pub fn check(&self) -> Result<(), String> {
        if let Some(topic) = self.reject_topic.as_ref().filter(|topic| self.topics.contains(topic)) {
            return Err(format!("`reject_topic` is one of `topics`: `{topic}` would be read again and again"));
        }
        let plain = self.security.sasl.as_ref().is_some_and(|sasl| sasl.mechanism == Mechanism::Plain);
        let remote = self.brokers.iter().find(|broker| !is_loopback(broker));
        match remote {
            Some(broker) if plain && self.security.protocol == Protocol::SaslPlaintext => Err(format!(
                "`PLAIN` would send the password to `{broker}` in clear text (use `sasl_ssl`, or a `SCRAM` mechanism)"
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// The secrets that it needs.
    pub fn secrets(&mut self) -> Vec<&mut SecretRef> {
        let sasl = self.security.sasl.as_mut().map(|sasl| &mut sasl.password);
        let key = self.security.client.as_mut().and_then(|client| client.key_password.as_mut());
        sasl.into_iter().chain(key).collect()
    }

    /// The files that it needs.
    pub fn files(&mut self) -> Vec<&mut PathBuf> {
        let security = &mut self.security;
        let client = security.client.iter_mut().flat_map(|client| [&mut client.cert_file, &mut client.key_file]);
        security.ca_file.iter_mut().chain(client).collect()
    }
}

/// Whether a `host:port` is this very machine.
fn is_loopback(broker: &str) -> bool {
    let host = broker.rsplit_once(':').map_or(broker, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn brokers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let brokers = Vec::<String>::deserialize(deserializer)?;
    if brokers.is_empty() {
        return Err(D::Error::custom("no broker is named (write `brokers: [\"host:9092\"]`)"));
    }
    for broker in &brokers {
        let port = broker.rsplit_once(':').filter(|(host, _)| !host.is_empty() && !host.contains(['/', ',', ' ', '@']));
        if port.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
            return Err(D::Error::custom(format!("`{broker}` is no broker (write `host:port`)")));
        }
    }
    Ok(brokers)
}

fn topics<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let topics = Vec::<String>::deserialize(deserializer)?;
    if topics.is_empty() {
        return Err(D::Error::custom("no topic is named"));
    }
    let mut seen = BTreeSet::new();
    for topic in &topics {
        check_name(topic).map_err(D::Error::custom)?;
        if !seen.insert(topic) {
            return Err(D::Error::custom(format!("the topic `{topic}` is named twice")));
        }
    }
    Ok(topics)
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    check_name(&name).map_err(D::Error::custom)?;
    Ok(name)
}

fn optional_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    name(deserializer).map(Some)
}

/// Kafka's rule for topics; groups are held to the same.
fn check_name(name: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > 249 || !name.bytes().all(allowed) {
        return Err(format!("`{name}` is no name in Kafka (1 to 249 of letters, digits, `-`, `_` and `.`)"));
    }
    Ok(())
}

/// A value as librdkafka takes it: text, whatever it is in YAML.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number, `true` or `false`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }

            fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

fn properties<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let written = BTreeMap::<String, Text>::deserialize(deserializer)?;
    let properties: BTreeMap<_, _> = written.into_iter().map(|(key, Text(value))| (key, value)).collect();
    for (key, value) in &properties {
        if !PROPERTIES.contains(&key.as_str()) {
            let list = PROPERTIES.join("`, `");
            return Err(D::Error::custom(format!("`{key}` is not one of the properties that may be set: `{list}`")));
        }
        let mut alone = ClientConfig::new();
        alone.set(key, value);
        alone.create_native_config().map_err(|_| D::Error::custom(format!("`{value}` is no value of `{key}`")))?;
    }
    Ok(properties)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::secret::Secrets;
    use crate::source::kafka::client::Passwords;

    fn read(extra: &str) -> Result<Config, String> {
        let json = format!(r#"{{"brokers": ["k1:9092"], "topics": ["okta"], "group": "authwatch"{extra}}}"#);
        let config: Config = serde_json::from_str(&json).map_err(|error| error.to_string())?;
        config.check()?;
        Ok(config)
    }

    #[track_caller]
    fn refuses(extra: &str, message: &str) {
        let error = read(extra).expect_err(extra);
        assert!(error.contains(message), "{extra}: {error}");
    }

    #[test]
    fn the_shortest_section_has_the_documented_defaults() {
        let config = read("").expect("valid");
        assert_eq!((config.format, config.start), (Format::Okta, Start::Ago(Span::hours(24))));
        assert_eq!(config.security, Security::default());
        assert_eq!((config.reject_topic, config.org), (None, None));
    }

    #[test]
    fn where_a_topic_begins_is_a_word_or_a_duration() {
        for (text, start) in [
            ("earliest", Start::Earliest),
            ("latest", Start::Latest),
            ("committed", Start::Committed),
            ("7d", Start::Ago(Span::hours(168))),
        ] {
            assert_eq!(read(&format!(r#", "start": "{text}""#)).expect(text).start, start);
        }
        refuses(r#", "start": "newest""#, "`newest` is no start (write `earliest`");
        refuses(r#", "start": "400d""#, "out of range");
    }

    #[tokio::test]
    async fn security_is_whole_or_refused() {
        let sasl = r#""sasl": {"mechanism": "SCRAM-SHA-512", "user": "aw", "password": {"env": "P"}}"#;
        let full = format!(
            r#", "security": {{"protocol": "sasl_ssl", "ca_file": "ca.pem", "cert_file": "c.pem", "key_file": "k.pem",
                "key_password": {{"env": "K"}}, {sasl}}}"#
        );
        let mut config = read(&full).expect("valid");
        assert_eq!((config.secrets().len(), config.files().len()), (2, 3));
        let secrets: Secrets = Arc::new(|name: &str| Some(format!("secret-{name}"))).into();
        let passwords = config.passwords(&secrets).await.expect("passwords");
        let client = config.consumer("aw-1", &passwords);
        for (key, value) in [
            ("security.protocol", "sasl_ssl"),
            ("ssl.ca.location", "ca.pem"),
            ("ssl.key.password", "secret-K"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.password", "secret-P"),
            ("group.instance.id", "aw-1"),
        ] {
            assert_eq!(client.get(key), Some(value), "{key}");
        }
        let security = |text: &str| format!(r#", "security": {{{text}}}"#);
        refuses(&security(r#""protocol": "sasl_ssl""#), "`protocol: sasl_ssl` needs a `sasl` section");
        refuses(&security(sasl), "`protocol: plaintext` has no use for a `sasl` section");
        refuses(&security(r#""ca_file": "ca.pem""#), "certificates have no use with `protocol: plaintext`");
        refuses(&security(r#""protocol": "ssl", "key_file": "k""#), "`cert_file` and `key_file` go together");
        refuses(&security(r#""protocol": "tls""#), "unknown variant `tls`");
    }

    #[test]
    fn a_password_never_goes_out_in_clear_text() {
        let with = |mechanism: &str| {
            let sasl = format!(r#"{{"mechanism": "{mechanism}", "user": "aw", "password": {{"env": "P"}}}}"#);
            format!(r#", "security": {{"protocol": "sasl_plaintext", "sasl": {sasl}}}"#)
        };
        refuses(&with("PLAIN"), "`PLAIN` would send the password to `k1:9092` in clear text");
        assert!(read(&with("SCRAM-SHA-256")).is_ok());
        let local = read(&with("SCRAM-SHA-256")).map(|config| Config { brokers: vec!["[::1]:9092".into()], ..config });
        let mut local = local.expect("valid");
        local.security.sasl.as_mut().expect("sasl").mechanism = Mechanism::Plain;
        assert_eq!(local.check(), Ok(()));
    }

    #[test]
    fn properties_are_of_the_list_and_valid() {
        let config = read(r#", "properties": {"fetch.min.bytes": 7, "client.rack": "a"}"#).expect("valid");
        let client = config.consumer("m", &Passwords::default());
        assert_eq!((client.get("fetch.min.bytes"), client.get("client.rack")), (Some("7"), Some("a")));
        refuses(r#", "properties": {"group.id": "x"}"#, "`group.id` is not one of the properties that may be set");
        refuses(r#", "properties": {"fetch.min.bytes": "many"}"#, "`many` is no value of `fetch.min.bytes`");
    }

    #[test]
    fn names_and_brokers_are_held_to_kafkas_rules() {
        for (json, message) in [
            (r#"{"brokers": [], "topics": ["t"], "group": "g"}"#, "no broker is named"),
            (r#"{"brokers": ["k1"], "topics": ["t"], "group": "g"}"#, "`k1` is no broker (write `host:port`)"),
            (r#"{"brokers": ["k1:99999"], "topics": ["t"], "group": "g"}"#, "is no broker"),
            (r#"{"brokers": ["http://k1:1"], "topics": ["t"], "group": "g"}"#, "is no broker"),
            (r#"{"brokers": ["k1:1"], "topics": [], "group": "g"}"#, "no topic is named"),
            (r#"{"brokers": ["k1:1"], "topics": ["^a"], "group": "g"}"#, "`^a` is no name in Kafka"),
            (r#"{"brokers": ["k1:1"], "topics": ["a", "a"], "group": "g"}"#, "`a` is named twice"),
            (r#"{"brokers": ["k1:1"], "topics": ["a"]}"#, "missing field `group`"),
        ] {
            let error = serde_json::from_str::<Config>(json).expect_err(json).to_string();
            assert!(error.contains(message), "{json}: {error}");
        }
        refuses(r#", "format": "entra""#, "the format `entra` is not built yet (use `okta`)");
        refuses(r#", "reject_topic": "okta""#, "`reject_topic` is one of `topics`");
    }
}
