//! Splunk's HTTP Event Collector: batches of concatenated JSON, with indexer acknowledgement where the token has it.
//!
//! API: `POST /services/collector/event`, `POST /services/collector/ack`, `GET /services/collector/health`. The rules,
//! and why:
//!
//! - Splunk knows no duplicates. So every record carries its stable id in the indexed field `aw_id`, and a search
//!   says `dedup aw_id`.
//! - Success is 200 **and** code 0 in the body: a proxy's sign-in page is 200 too.
//! - Without acknowledgement, 200 means that the record is in the receiver's memory. With it (`ack`), nothing counts as
//!   taken before the indexer says that it is stored, and what it does not say in time is sent again.
//! - A refused batch names the first bad event. Whether those before it were stored is not documented, so they are sent
//!   again by themselves; a single event that is refused is given up.
//! - What is wrong with the token, the index, the channel or the address would bury every record. It is no record's
//!   fault: it waits for a person.
//!
//! Fails as [`Failure`] says: codes 6, 12, 13, 15 and 413 are the records', codes 8, 9 and 18 to 20, 429, 5xx and a
//! broken connection pass, the rest needs a person. Metrics: requests of the sink.

mod config;
mod reply;

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder};
use serde_json::{Map, Value, json};
use url::Url;

pub use config::{Config, ConfigError};
use reply::{Refused, Said};

use super::super::retry::{Class, Failure, Reason};
use super::super::wire;
use super::{Forwarded, What};
use crate::clock;
use crate::event::Timestamp;
use crate::secret::Secrets;

/// The header that names our channel; a token with acknowledgement refuses requests without.
const CHANNEL: HeaderName = HeaderName::from_static("x-splunk-request-channel");

/// The sink for one collector.
pub struct Splunk {
    config: Config,
    http: reqwest::Client,
    secrets: Secrets,
    who: String,
    channel: String,
    /// Of the last batch: how many events were sent, which one was named as bad, and whether it was accepted.
    tried: usize,
    blamed: Option<usize>,
    accepted: bool,
    /// The token has no acknowledgement although it is asked for.
    unacknowledged: bool,
}

impl std::fmt::Debug for Splunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Splunk").field("name", &self.config.name).finish_non_exhaustive()
    }
}

impl Splunk {
    /// A sink for the configured collector. Nothing is sent and no secret is read.
    ///
    /// # Errors
    /// Where the HTTP client cannot be made.
    pub fn new(config: &Config, secrets: Secrets) -> Result<Self, reqwest::Error> {
        Ok(Self {
            http: crate::http::client(config.timeout)?,
            secrets,
            who: format!("splunk {}", wire::host(&config.url)),
            channel: channel(rand::random()),
            tried: 0,
            blamed: None,
            accepted: false,
            unacknowledged: false,
            config: config.clone(),
        })
    }

    /// Sends the first of a batch that fit one request, and says how many those were.
    pub(crate) async fn send(&mut self, batch: &[&Forwarded]) -> Result<usize, Failure> {
        (self.blamed, self.accepted) = (None, false);
        let (body, taken) = self.body(batch);
        self.tried = taken;
        let body = if self.config.gzip { compressed(&body)? } else { body };
        let mut request =
            self.request(Method::POST, "event").await?.header(CONTENT_TYPE, "application/json").body(body);
        if self.config.gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        let (who, mut blamed) = (self.who.clone(), None);
        let sent = wire::send(&self.config.name, &who, request, |answer| {
            reply::judge(&who, answer).map_err(|Refused { failure, event }| {
                blamed = event;
                failure
            })
        });
        let said = sent.await;
        self.blamed = blamed;
        let Said { ack_id } = said.inspect_err(|failure| self.doubt_token(failure))?;
        self.unacknowledged = self.config.ack && ack_id.is_none();
        if let Some(id) = ack_id.filter(|_| self.config.ack) {
            self.accepted = true;
            self.acknowledged(id).await?;
        }
        Ok(taken)
    }

    /// Asks for the collector's health; a token that it knows to be wrong is named where it checks it here.
    pub(crate) async fn probe(&mut self) -> Result<(), Failure> {
        let request = self.request(Method::GET, "health").await?;
        let who = self.who.clone();
        let health = wire::send(&self.config.name, &who, request, |answer| reply::health(&who, answer)).await;
        health.inspect_err(|failure| self.doubt_token(failure))
    }

    /// Whether the token may write, asked with a batch of nothing: the collector's health says nothing of it.
    pub(crate) async fn check_token(&self) -> Result<(), Failure> {
        let request = self.request(Method::POST, "event").await?.header(CONTENT_TYPE, "application/json").body("");
        let asked = wire::send(&self.config.name, &self.who, request, |answer| reply::token(&self.who, answer));
        asked.await.inspect_err(|failure| self.doubt_token(failure))
    }

    /// Whether the last batch that failed had been accepted, and only its acknowledgement is missing.
    pub(crate) fn may_have_it(&self) -> bool {
        self.accepted
    }

    /// How many events of the last batch were sent.
    pub(crate) fn tried(&self) -> usize {
        self.tried
    }

    /// The event that the collector named as the bad one.
    pub(crate) fn blamed(&self) -> Option<usize> {
        self.blamed
    }

    /// An acknowledgement that never comes.
    pub(crate) fn trouble(&self) -> Option<String> {
        let text = "the token has no indexer acknowledgement, so what is sent counts as stored (give it one, or set \
                    `ack: false`)";
        self.unacknowledged.then(|| format!("{}: {text}", self.who))
    }

    /// Asks until the indexer says that the batch is stored. A question that fails is asked again in its turn: what
    /// counts is whether the answer comes in time.
    async fn acknowledged(&self, id: u64) -> Result<(), Failure> {
        let deadline = clock::monotonic() + self.config.ack_timeout;
        let mut last = format!("{} did not acknowledge in time", self.who);
        loop {
            tokio::time::sleep(self.config.ack_interval).await;
            match self.is_stored(id).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(failure) if failure.class == Class::FixConfiguration => return Err(failure),
                Err(failure) => last = format!("{} did not acknowledge in time: {}", self.who, failure.detail),
            }
            if clock::monotonic() >= deadline {
                return Err(Failure::retry(Reason::Timeout, last));
            }
        }
    }

    async fn is_stored(&self, id: u64) -> Result<bool, Failure> {
        let body = json!({ "acks": [id] }).to_string();
        let request = self.request(Method::POST, "ack").await?.header(CONTENT_TYPE, "application/json").body(body);
        let stored = wire::send(&self.config.name, &self.who, request, |answer| reply::acks(&self.who, answer, id));
        stored.await.inspect_err(|failure| self.doubt_token(failure))
    }

    async fn request(&self, method: Method, what: &str) -> Result<RequestBuilder, Failure> {
        let token = wire::read_secret(&self.config.token, &self.who, &self.secrets).await?;
        let unfit = |_| Failure::fix(Reason::Secret, "the secret of `token` cannot stand in a header");
        let mut value = HeaderValue::from_str(&format!("Splunk {}", token.expose())).map_err(unfit)?;
        value.set_sensitive(true);
        let request = self.http.request(method, self.endpoint(what)).header(AUTHORIZATION, value);
        Ok(if self.config.ack { request.header(CHANNEL, &self.channel) } else { request })
    }

    fn endpoint(&self, what: &str) -> Url {
        let mut url = self.config.url.clone();
        url.set_path(&format!("{}/services/collector/{what}", self.config.url.path().trim_end_matches('/')));
        url
    }

    fn doubt_token(&self, failure: &Failure) {
        if matches!(failure.reason, Reason::Unauthorized | Reason::Forbidden) {
            self.secrets.doubt(&self.config.token);
        }
    }

    /// The first events of a batch that fit, one after the other, and how many they are: at least one.
    fn body(&self, batch: &[&Forwarded]) -> (Vec<u8>, usize) {
        let (mut body, mut taken) = (Vec::new(), 0);
        for forwarded in batch {
            let event = self.event(forwarded).to_string();
            if taken > 0 && body.len() + event.len() > self.config.batch_bytes {
                break;
            }
            body.extend(event.as_bytes());
            body.push(b'\n');
            taken += 1;
        }
        (body, taken)
    }

    /// One event in its envelope.
    fn event(&self, forwarded: &Forwarded) -> Value {
        let Config { index, source, sourcetype, host, .. } = &self.config;
        let kind = match forwarded.what {
            What::Event { .. } => self.config.shape.as_str(),
            What::Finding(_) => "finding",
        };
        let text = |own: &Option<String>, usual: &str| own.clone().unwrap_or_else(|| usual.to_owned());
        let mut envelope = Map::new();
        envelope.insert("time".to_owned(), seconds(forwarded.published().unwrap_or(forwarded.received)));
        envelope.insert("host".to_owned(), text(host, forwarded.org.as_str()).into());
        envelope.insert("source".to_owned(), text(source, forwarded.source.as_str()).into());
        envelope.insert("sourcetype".to_owned(), text(sourcetype, &format!("authwatch:{kind}")).into());
        if let Some(index) = index {
            envelope.insert("index".to_owned(), index.as_str().into());
        }
        envelope.insert("event".to_owned(), self.config.shape.encode(forwarded));
        let own = [("aw_id", forwarded.id.as_str()), ("aw_org", forwarded.org.as_str())];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value)));
        let more = self.config.fields.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
        envelope.insert("fields".to_owned(), Value::Object(own.chain(more).collect()));
        Value::Object(envelope)
    }
}

/// Epoch seconds with a fraction, as the collector wants a time.
fn seconds(at: Timestamp) -> Value {
    Value::from(at.0 as f64 / 1_000.0)
}

fn compressed(body: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let packed = encoder.write_all(body).and_then(|()| encoder.finish());
    packed.map_err(|error| Failure::retry(Reason::Invalid, format!("a batch cannot be compressed ({error})")))
}

/// A channel is a UUID of our own choosing; a new one with each start, since acknowledgements do not outlive it.
fn channel(bits: u128) -> String {
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_a_random_uuid() {
        assert_eq!(channel(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(channel(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn a_time_is_seconds_with_its_milliseconds() {
        assert_eq!(seconds(Timestamp(1_787_480_000_123)).to_string(), "1787480000.123");
        assert_eq!(seconds(Timestamp(1_787_480_000_000)).to_string(), "1787480000.0");
    }
}
