//! Datadog: our metrics as series, and incidents as alert events.
//!
//! API: `POST /api/v2/series` on `api.<site>` and `POST /api/v2/events` on `event-management-intake.<site>`, both with
//! `DD-API-KEY`. The rules, and why:
//!
//! - A count is what was added in its interval, never the sum since the beginning; see [`super`] for how it is never
//!   sent twice.
//! - A body is gzip, at most 500 KB packed and 5 MiB plain. Larger ones, and a 413, are halved and sent again.
//! - Nothing older than an hour is taken, events not older than 18 hours: an older event goes without its time.
//! - An alert event is known by its aggregation key, which is the incident's: a repetition makes no second alert, and
//!   the end closes the first.
//!
//! 429, refused credentials and a way that cannot be reached are tried again; 400 is not; 408, 5xx and silence may have
//! been taken, so counts are not repeated and events, which are known by their key, are. Refuses nothing else of its
//! own. No person is in a tag or an event. Condition: `publish/<name>` for metrics, `sink/<name>` for events.

mod config;
mod event;
mod series;

use reqwest::header;
use url::Url;

pub use config::{Config, ConfigError};
pub(super) use series::{BUCKET_TAG, items};

use super::change::Marker;
use super::queue::Batch;
use super::{Publisher, Pushed, page, refused, too_large};
use crate::act::ledger::Ledger;
use crate::act::retry::{Failure, Reason};
use crate::act::wire::{self, Reply};
use crate::act::{Done, Told};
use crate::action::{IncidentAction, IncidentStep};
use crate::clock;
use crate::secret::{Secret, Secrets};
use crate::store::LedgerEntry;

/// The header of the key.
const API_KEY: &str = "DD-API-KEY";

/// The most bytes of a body before it is packed.
const PLAIN: usize = 5 << 20;

/// The most bytes of a packed body.
const PACKED: usize = 512_000;

/// Points of one request: far below both limits, so that a reply comes soon.
pub(super) const POINTS: usize = 2_000;

/// One Datadog organisation.
#[derive(Debug)]
pub struct Datadog {
    config: Config,
    http: reqwest::Client,
    secrets: Secrets,
}

impl Datadog {
    /// For the configured site. Nothing is sent and no secret is read.
    ///
    /// # Errors
    /// Where the HTTP client cannot be made.
    pub fn new(config: &Config, secrets: Secrets) -> Result<Self, reqwest::Error> {
        let http = crate::http::client(config.timeout)?;
        Ok(Self { config: config.clone(), http, secrets })
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// What pushes the metrics.
    pub(in crate::act) fn publisher(self) -> Publisher {
        Publisher::to_datadog(self)
    }

    /// Sends the points of one request.
    pub(super) async fn push(&self, batch: &Batch) -> Pushed {
        let body = series::body(batch, &self.config.tags);
        let packed = match series::gzip(&body) {
            Ok(packed) => packed,
            Err(error) => return Failure::give_up(Reason::Invalid, format!("cannot pack the metrics: {error}")).into(),
        };
        if body.len() > PLAIN || packed.len() > PACKED {
            return too_large("one point alone is larger than Datadog takes".to_owned()).into();
        }
        let pushed = self.post(&self.config.series_url, packed, true).await;
        pushed.map_or_else(Pushed::from, |()| Pushed::Taken { refused: 0, trouble: None })
    }

    /// Sends the marker of a change.
    pub(super) async fn mark(&self, marker: &Marker) -> Result<(), Failure> {
        let body = event::change(marker, &self.config.tags);
        self.post(&self.config.events_url, body.to_string().into_bytes(), false).await
    }

    /// Carries out one action; harmless when repeated, by the key of the alert.
    pub(in crate::act) async fn tell(&mut self, action: &IncidentAction, ledger: &Ledger) -> Result<Done, Failure> {
        let entry = ledger.get(&action.incident.key).await?.unwrap_or_default();
        if entry.revision >= action.revision {
            return Ok(Done { entry, result: Told::Unchanged });
        }
        let told = LedgerEntry { revision: action.revision, title: action.incident.title.clone(), ..entry.clone() };
        if entry.revision == 0 && action.step == IncidentStep::Resolve {
            return Ok(Done { entry: told, result: Told::NothingToResolve });
        }
        let body = event::alert(action, &self.config.tags, clock::now());
        self.post(&self.config.events_url, body.to_string().into_bytes(), false).await?;
        Ok(Done { entry: told, result: Told::Sent })
    }

    /// Reads the key: there is nothing to ask without telling something.
    pub(in crate::act) async fn probe(&self) -> Result<(), Failure> {
        self.key().await.map(|_| ())
    }

    async fn post(&self, url: &Url, body: Vec<u8>, is_packed: bool) -> Result<(), Failure> {
        let who = format!("Datadog {}", wire::host(url));
        let key = self.key().await?;
        let mut value = header::HeaderValue::from_str(key.expose())
            .map_err(|_| Failure::fix(Reason::Secret, "the secret of `api_key` cannot stand in a header"))?;
        value.set_sensitive(true);
        let mut request = self.http.post(url.clone()).header(API_KEY, value);
        request = request.header(header::CONTENT_TYPE, "application/json");
        if is_packed {
            request = request.header(header::CONTENT_ENCODING, "gzip");
        }
        let sent = wire::send(&self.config.name, &who, request.body(body), |reply| judge(&who, reply)).await;
        if sent.as_ref().is_err_and(|failure| matches!(failure.reason, Reason::Unauthorized | Reason::Forbidden)) {
            self.secrets.refused(&self.config.api_key, &key);
        }
        sent
    }

    async fn key(&self) -> Result<Secret, Failure> {
        wire::read_secret(&self.config.api_key, "Datadog", &self.secrets).await
    }
}

/// 202 means that it was taken. Without `Retry-After`, a 429 says in a header of Datadog's own when it may be again.
fn judge(who: &str, reply: Reply) -> Result<(), Failure> {
    if !reply.status.is_success() {
        let failure = refused(&reply, who);
        let wait = failure.wait.or(reply.reset.filter(|_| failure.reason == Reason::RateLimited));
        return Err(failure.after(wait));
    }
    if reply.is_page { Err(page(who)) } else { Ok(()) }
}
