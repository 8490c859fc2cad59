//! Webhook: one request per step of an incident, in the receiver's own shape.
//!
//! API: `POST` or `PUT` to one address. The body is a template's, or the incident as the API shows it with `step`,
//! `revision`, `at`, `description` and `note`. The rules, and why:
//!
//! - A request that got no answer may have been acted on, and is sent again. So every request carries
//!   `Idempotency-Key: <incident>-<revision>`: a receiver that has seen it does nothing. The incident's `key` names the
//!   incident: create or update by it, as updates that wait are folded into one request.
//! - A signature covers the time and that key beside the body, so that a recorded request cannot be played again;
//!   receivers verify it as `docs/integrations/webhook.md` says.
//! - Any answer with an accepted status counts as taken, whatever its body: receivers differ too much in it.
//!
//! Fails as [`Failure`] says: 400 and other refusals are given up, 401, 403, 404, 410 and redirects need a person,
//! 408, 429, 5xx and broken connections are tried again. Refuses bodies beyond `body_limit`. The address may be a
//! secret and is never shown beyond its host. Metrics: requests, actions and retries; condition `sink/<name>`.

mod config;
mod sign;
mod template;

use reqwest::header::{self, HeaderName, HeaderValue};
use url::Url;

pub use config::{Accept, Algorithm, Config, ConfigError, Hmac, Method, Text};
pub use template::{Source, TemplateError};

use super::super::ledger::Ledger;
use super::super::retry::{Class, Failure, Reason};
use super::super::wire;
use super::super::{Done, Told};
use crate::action::{IncidentAction, IncidentStep};
use crate::clock;
use crate::secret::{Secret, SecretRef, Secrets};
use crate::store::LedgerEntry;

/// The header by which a receiver knows a repeated request.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The header with the time that a signature covers.
const TIMESTAMP: HeaderName = HeaderName::from_static("x-authwatch-timestamp");

/// The sink for one receiver.
pub struct Webhook {
    config: Config,
    http: reqwest::Client,
    secrets: Secrets,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("name", &self.config.name).finish_non_exhaustive()
    }
}

impl Webhook {
    /// A sink for the configured receiver. Nothing is sent and no secret is read.
    ///
    /// # Errors
    /// Where the HTTP client cannot be made.
    pub fn new(config: &Config, secrets: Secrets) -> Result<Self, reqwest::Error> {
        let http = crate::http::client(config.timeout)?;
        Ok(Self { config: config.clone(), http, secrets })
    }

    /// Carries out one action. A repeat carries the same idempotency key.
    pub(crate) async fn tell(&mut self, action: &IncidentAction, ledger: &Ledger) -> Result<Done, Failure> {
        let entry = ledger.get(&action.incident.key).await?.unwrap_or_default();
        if entry.revision >= action.revision {
            return Ok(Done { entry, result: Told::Unchanged });
        }
        let told = LedgerEntry { revision: action.revision, title: action.incident.title.clone(), ..entry.clone() };
        let is_new = entry.revision == 0;
        if is_new && action.step == IncidentStep::Resolve {
            return Ok(Done { entry: told, result: Told::NothingToResolve });
        }
        // Whose opening was given up is told of with its next step.
        let step = if is_new { IncidentStep::Open } else { action.step };
        self.send(&IncidentAction { step, ..action.clone() }).await?;
        Ok(Done { entry: told, result: Told::Sent })
    }

    /// Reads the secrets: there is nothing to ask a receiver without telling it something.
    pub(crate) async fn probe(&self) -> Result<(), Failure> {
        self.address().await?;
        self.headers().await?;
        self.key().await.map(|_| ())
    }

    async fn send(&self, action: &IncidentAction) -> Result<(), Failure> {
        let url = self.address().await?;
        let who = format!("webhook {}", wire::host(&url));
        let refused = |why: String| Failure::give_up(Reason::Invalid, why);
        let body = self.config.body(action).map_err(|error| refused(format!("`template` of {who}: {error}")))?;
        if body.len() > self.config.body_limit {
            let (length, limit) = (body.len(), self.config.body_limit);
            return Err(refused(format!("the body for {who} has {length} bytes, `body_limit` is {limit}")));
        }
        let once = format!("{}-{}", action.incident.key, action.revision);
        let mut request = self.http.request(self.config.method.as_http(), url).headers(self.headers().await?);
        request = request.header(header::CONTENT_TYPE, &self.config.content_type).header(IDEMPOTENCY_KEY, &once);
        if let Some((hmac, key)) = self.key().await? {
            let now = clock::now().0.div_euclid(1_000);
            let signature = sign::signature(key.expose().as_bytes(), now, &once, body.as_bytes());
            request = request.header(TIMESTAMP, now).header(hmac.header.as_str(), signature);
        }
        let accept = &self.config.accept;
        let sent = wire::send(&self.config.name, &who, request.body(body), |reply| {
            if accept.holds(reply.status.as_u16()) { Ok(()) } else { Err(reply.without_words().refused(&who)) }
        });
        let sent = sent.await;
        // Any of them may be what was refused, the address too.
        if sent.as_ref().is_err_and(|failure| failure.class == Class::FixConfiguration) {
            self.config.clone().secrets().into_iter().for_each(|secret| self.secrets.doubt(secret));
        }
        sent
    }

    async fn address(&self) -> Result<Url, Failure> {
        let text = match &self.config.url {
            Text::Plain(text) => Secret::new(text.as_str()),
            Text::Secret(secret) => self.read(secret).await?,
        };
        let url: Option<Url> = text.expose().parse().ok();
        let url = url.filter(|url| wire::check_address(url).is_ok());
        url.ok_or_else(|| Failure::fix(Reason::Secret, format!("the secret of `url` {}", wire::NoAddress)))
    }

    async fn headers(&self) -> Result<header::HeaderMap, Failure> {
        let mut headers = header::HeaderMap::new();
        for (name, value) in &self.config.headers {
            let (text, is_secret) = match value {
                Text::Plain(text) => (Secret::new(text.as_str()), false),
                Text::Secret(secret) => (self.read(secret).await?, true),
            };
            let unfit = || Failure::fix(Reason::Secret, format!("the secret of header `{name}` cannot stand in one"));
            let mut value = HeaderValue::from_str(text.expose()).map_err(|_| unfit())?;
            value.set_sensitive(is_secret);
            headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit())?, value);
        }
        Ok(headers)
    }

    async fn key(&self) -> Result<Option<(&Hmac, Secret)>, Failure> {
        let Some(hmac) = &self.config.hmac else { return Ok(None) };
        Ok(Some((hmac, self.read(&hmac.key).await?)))
    }

    async fn read(&self, secret: &SecretRef) -> Result<Secret, Failure> {
        wire::read_secret(secret, "the webhook", &self.secrets).await
    }
}
