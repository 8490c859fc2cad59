//! Dynatrace: our metrics as lines, incidents as problems and annotations.
//!
//! API: `POST /api/v2/metrics/ingest` (scope `metrics.ingest`) and `POST /api/v2/events/ingest` (scope `events.ingest`),
//! both with `Api-Token`. The rules, and why:
//!
//! - A 400 whose answer says `linesOk` has stored the other lines. So a 400 is never sent again, and only the lines that
//!   it names are counted as refused.
//! - At most 1,000 lines and 1 MB in one request; a 413 is halved.
//! - An event that opens a problem ends by itself unless the same is sent again. So the opening is kept in the ledger
//!   and repeated, exactly as it was, while the incident is open, also after a restart. What changes is told in
//!   annotations beside it, and the end is that nothing is repeated any more.
//! - An annotation has no key by which a repetition is known. So its outcome is settled before it is sent: where no
//!   clear answer comes, it is not sent again. The problem event may be.
//!
//! 429, refused credentials and a way that cannot be reached are tried again; 400 is not; 5xx and silence may have been
//! taken. No person is in a dimension or an event. Condition: `publish/<name>` for metrics, `sink/<name>` for events.

mod config;
mod event;
mod line;
mod reply;

use reqwest::header;
use serde_json::Value;
use url::Url;

pub use config::{Config, ConfigError};
pub(super) use line::items;

use super::change::Marker;
use super::queue::Batch;
use super::{Publisher, Pushed, page, refused, too_large};
use crate::act::ledger::Ledger;
use crate::act::retry::{Class, Failure, Reason};
use crate::act::wire::{self, Reply};
use crate::act::{Done, Kept, Told};
use crate::action::{IncidentAction, IncidentStep};
use crate::clock;
use crate::secret::{Secret, Secrets};
use crate::store::LedgerEntry;

/// The most bytes of a body.
const BODY: usize = 1_000_000;

/// The most lines of one request.
pub(super) const LINES: usize = 1_000;

/// One Dynatrace environment.
#[derive(Debug)]
pub struct Dynatrace {
    config: Config,
    http: reqwest::Client,
    secrets: Secrets,
}

impl Dynatrace {
    /// For the configured environment. Nothing is sent and no secret is read.
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
        Publisher::to_dynatrace(self)
    }

    /// Sends the points of one request.
    pub(super) async fn push(&self, batch: &Batch) -> Pushed {
        let body = line::body(batch, &self.config.dimensions);
        if body.len() > BODY {
            return too_large("one line alone is larger than Dynatrace takes".to_owned()).into();
        }
        let url = self.config.endpoint("metrics/ingest");
        let judged = |who: &str, reply: Reply| judge_lines(who, reply, batch);
        let pushed = self.post(&url, "metrics.ingest", "text/plain; charset=utf-8", body.into_bytes(), judged).await;
        pushed.unwrap_or_else(Pushed::from)
    }

    /// Sends the marker of a change.
    pub(super) async fn mark(&self, marker: &Marker) -> Result<(), Failure> {
        self.event(&event::deployment(marker, &self.config)).await
    }

    /// Carries out one action.
    pub(in crate::act) async fn tell(&mut self, action: &IncidentAction, ledger: &Ledger) -> Result<Done, Failure> {
        let key = &action.incident.key;
        let entry = ledger.get(key).await?.unwrap_or_default();
        if entry.revision >= action.revision {
            return Ok(Done { entry, result: Told::Unchanged });
        }
        let told = LedgerEntry { revision: action.revision, title: action.incident.title.clone(), ..entry.clone() };
        if entry.revision == 0 && action.step == IncidentStep::Resolve {
            return Ok(Done { entry: LedgerEntry { last: None, ..told }, result: Told::NothingToResolve });
        }
        // Whose opening was given up is told of with its next step.
        let opens = entry.revision == 0 || matches!(action.step, IncidentStep::Open | IncidentStep::Reopen);
        if opens {
            self.event(&event::problem(action, &self.config)).await?;
            let told = LedgerEntry { last: Some(Box::new(action.clone())), told_at: Some(clock::now()), ..told };
            return Ok(Done { entry: told, result: Told::Sent });
        }
        let last = entry.last.clone().filter(|_| action.step != IncidentStep::Resolve);
        let told = LedgerEntry { last, ..told };
        ledger.put(key, &told).await?;
        match self.event(&event::annotation(action, &self.config)).await {
            Err(failure) if !is_unclear(&failure) => {
                // Certainly not taken: as if it had not been tried.
                ledger.put(key, &entry).await?;
                Err(failure)
            }
            Err(failure) => {
                let (sink, incident) = (&self.config.name, key.as_str());
                tracing::warn!(
                    sink,
                    incident,
                    detail = failure.detail,
                    "an annotation may be missing; it is not sent again"
                );
                Ok(Done { entry: told, result: Told::Sent })
            }
            Ok(()) => Ok(Done { entry: told, result: Told::Sent }),
        }
    }

    /// Repeats the openings of what is open, as they were.
    pub(in crate::act) async fn keep_alive(&mut self, ledger: &Ledger) -> Result<Kept, Failure> {
        let entries = ledger.blocking(|store, sink| store.ledger_all(sink)).await?;
        let now = clock::now();
        let mut sent = false;
        for (key, entry) in entries {
            // What was only recorded in shadow mode is told by the worker, as an action.
            let Some(last) = entry.last.as_deref().filter(|_| entry.shadowed.is_empty()) else { continue };
            let is_due = entry.told_at.is_none_or(|told| now - told >= self.config.refresh());
            if !is_due {
                continue;
            }
            match self.event(&event::problem(last, &self.config)).await {
                Ok(()) => {
                    sent = true;
                    ledger.put(&key, &LedgerEntry { told_at: Some(now), ..entry.clone() }).await?;
                }
                // What is refused for good would be refused again for ever.
                Err(failure) if failure.class == Class::GiveUp => {
                    let (sink, incident) = (&self.config.name, key.as_str());
                    tracing::error!(sink, incident, detail = failure.detail, "a problem cannot be held open");
                    ledger.put(&key, &LedgerEntry { last: None, ..entry.clone() }).await?;
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(Kept { every: self.config.look(), sent })
    }

    /// Reads the token: there is nothing to ask without telling something.
    pub(in crate::act) async fn probe(&self) -> Result<(), Failure> {
        self.token().await.map(|_| ())
    }

    async fn event(&self, event: &Value) -> Result<(), Failure> {
        let url = self.config.endpoint("events/ingest");
        self.post(&url, "events.ingest", "application/json", event.to_string().into_bytes(), judge_event).await
    }

    async fn post<T>(
        &self,
        url: &Url,
        scope: &str,
        kind: &str,
        body: Vec<u8>,
        judge: impl FnOnce(&str, Reply) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let who = format!("Dynatrace {}", wire::host(url));
        let token = self.token().await?;
        let mut value = header::HeaderValue::from_str(&format!("Api-Token {}", token.expose()))
            .map_err(|_| Failure::fix(Reason::Secret, "the secret of `token` cannot stand in a header"))?;
        value.set_sensitive(true);
        let request = self.http.post(url.clone()).header(header::AUTHORIZATION, value);
        let request = request.header(header::CONTENT_TYPE, kind).body(body);
        let sent = wire::send(&self.config.name, &who, request, |reply| judge(&who, reply)).await;
        sent.map_err(|failure| {
            if !matches!(failure.reason, Reason::Unauthorized | Reason::Forbidden) {
                return failure;
            }
            self.secrets.refused(&self.config.token, &token);
            Failure { detail: format!("{}; the token needs the scope `{scope}`", failure.detail), ..failure }
        })
    }

    async fn token(&self) -> Result<Secret, Failure> {
        wire::read_secret(&self.config.token, "Dynatrace", &self.secrets).await
    }
}

/// Whether a request may have been taken although it failed.
fn is_unclear(failure: &Failure) -> bool {
    matches!(failure.reason, Reason::Timeout | Reason::ConnectionLost | Reason::ServerError | Reason::BadBody)
}

fn judge_lines(who: &str, reply: Reply, batch: &Batch) -> Result<Pushed, Failure> {
    let body = reply.body.as_deref().unwrap_or_default();
    let status = reply.status.as_u16();
    if status == 400 || (reply.status.is_success() && !reply.is_page) {
        return match reply::read(body, batch) {
            Some(taken) => Ok(taken.pushed(who)),
            None if status == 400 => Err(refused(&reply, who)),
            None => Ok(Pushed::Taken { refused: 0, trouble: None }),
        };
    }
    Err(if reply.status.is_success() { page(who) } else { refused(&reply, who) })
}

fn judge_event(who: &str, reply: Reply) -> Result<(), Failure> {
    if !reply.status.is_success() {
        return Err(refused(&reply, who));
    }
    if reply.is_page {
        return Err(page(who));
    }
    match reply::refused_event(reply.body.as_deref().unwrap_or_default()) {
        Some(status) => Err(Failure::give_up(Reason::Invalid, format!("{who} did not take the event: {status}"))),
        None => Ok(()),
    }
}
