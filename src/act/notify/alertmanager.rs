//! Alertmanager: one alert per incident, in every Alertmanager of a cluster, held up while the incident is open.
//!
//! API: `POST /api/v2/alerts` and, once at start, `GET /api/v2/status`. The rules, and why:
//!
//! - An alert *is* its set of labels. So the labels are those that do not change while an incident lives; what changes
//!   is in the annotations. The severity may rise: the alert with the old one is ended in the same request.
//! - An alert that nobody repeats ends by itself. So an open one is sent with an end well ahead
//!   ([`Config::expire_after`]) and again every [`Config::resend_interval`], also after a restart: the ledger keeps it.
//!   An end is repeated for five minutes, for Alertmanagers that were away.
//! - Replicas do not hand alerts to one another. So each gets every request; one that accepts is enough, and the others
//!   are named in the condition.
//! - A request with one invalid alert answers 400 and still stores the valid ones. So labels are checked when the
//!   configuration is read, and a 400 is never sent again.
//!
//! Telling is harmless when repeated: the same labels are the same alert. Fails as [`Failure`] says: 400 is given up,
//! 401, 403, 404 and redirects need a person, the rest is tried again. No person is in a label. Metrics: requests,
//! actions and retries of the sink; condition `sink/<name>`.

mod alert;
mod config;

use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use url::Url;

pub use config::{Config, ConfigError};

use super::super::ledger::Ledger;
use super::super::retry::{Class, Failure, Reason};
use super::super::wire::{self, Reply};
use super::super::{Done, Kept, Told};
use crate::action::{IncidentAction, IncidentStep};
use crate::clock;
use crate::event::{Span, Timestamp};
use crate::secret::Secrets;
use crate::store::{DeadLetter, LedgerEntry};

/// How long one request may take unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long an end is repeated.
const ENDED_FOR: Span = Span::minutes(5);

/// Alerts in one request.
const BATCH: usize = 100;

/// The sink for one cluster.
#[derive(Debug)]
pub struct Alertmanager {
    config: Config,
    http: reqwest::Client,
    secrets: Secrets,
    /// What is wrong with some of the Alertmanagers although another one accepts.
    absent: Option<String>,
    /// What is wrong with a repetition that was refused for good.
    refused: Option<String>,
}

impl Alertmanager {
    /// A sink for the configured cluster. Nothing is sent and no secret is read.
    ///
    /// # Errors
    /// Where the HTTP client cannot be made.
    pub fn new(config: &Config, secrets: Secrets) -> Result<Self, reqwest::Error> {
        let http = crate::http::client(config.timeout)?;
        Ok(Self { config: config.clone(), http, secrets, absent: None, refused: None })
    }

    /// Carries out one action; harmless when repeated.
    pub(crate) async fn tell(&mut self, action: &IncidentAction, ledger: &Ledger) -> Result<Done, Failure> {
        let entry = ledger.get(&action.incident.key).await?.unwrap_or_default();
        if entry.revision >= action.revision {
            return Ok(Done { entry, result: Told::Unchanged });
        }
        let result = match action.step {
            IncidentStep::Resolve if entry.revision == 0 => Told::NothingToResolve,
            _ if entry.revision == 0 => Told::Created,
            IncidentStep::Open | IncidentStep::Update => Told::Updated,
            IncidentStep::Resolve => Told::Resolved,
            IncidentStep::Reopen => Told::Reopened,
        };
        let severity = Some(action.incident.severity);
        if result == Told::NothingToResolve {
            let entry = LedgerEntry { revision: action.revision, last: None, ..entry };
            return Ok(Done { entry, result });
        }
        let now = clock::now();
        let mut alerts = vec![alert::alert(&self.config, action, now)];
        if let Some(before) = entry.severity.filter(|before| Some(*before) != severity) {
            alerts.push(alert::ended_at(&self.config, action, before));
        }
        self.post(&Value::Array(alerts)).await?;
        let entry = LedgerEntry {
            revision: action.revision,
            severity,
            title: action.incident.title.clone(),
            last: Some(Box::new(action.clone())),
            told_at: Some(now),
            ..entry
        };
        Ok(Done { entry, result })
    }

    /// Repeats what is open, and for a while what has ended.
    pub(crate) async fn keep_alive(&mut self, ledger: &Ledger) -> Result<Kept, Failure> {
        let read = |store: &crate::store::Store, sink: &str| Ok((store.ledger_all(sink)?, store.dead_letters(sink)?));
        let (entries, dead) = ledger.blocking(read).await?;
        let now = clock::now();
        let mut alerts = Vec::new();
        for (key, entry) in entries {
            // What was only recorded in shadow mode is told by the worker, as an action.
            let Some(last) = entry.last.as_deref().filter(|_| entry.shadowed.is_empty()) else { continue };
            if is_past(last, &entry, &dead, now) {
                ledger.put(&key, &LedgerEntry { last: None, ..entry }).await?;
            } else {
                alerts.push(alert::alert(&self.config, last, now));
            }
        }
        for batch in alerts.chunks(BATCH) {
            match self.post(&Value::Array(batch.to_vec())).await {
                Ok(()) => self.refused = None,
                Err(failure) if failure.class == Class::GiveUp => self.refused = Some(failure.detail),
                Err(failure) => return Err(failure),
            }
        }
        Ok(Kept { every: self.config.resend_interval, sent: !alerts.is_empty() })
    }

    /// Asks every Alertmanager for its status; one that answers is enough.
    pub(crate) async fn probe(&mut self) -> Result<(), Failure> {
        self.ask_all("status", None).await
    }

    /// What is wrong although actions are carried out.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.refused.clone().or_else(|| self.absent.clone())
    }

    async fn post(&mut self, alerts: &Value) -> Result<(), Failure> {
        self.ask_all("alerts", Some(alerts)).await
    }

    /// Sends one request to all at once. It went well where one accepts; else the failure that lets most hope.
    async fn ask_all(&mut self, path: &str, body: Option<&Value>) -> Result<(), Failure> {
        let mut asked = JoinSet::new();
        for url in &self.config.urls {
            let who = format!("Alertmanager {}", wire::host(url));
            let request = match body {
                Some(body) => self.http.post(endpoint(url, path)).json(body),
                None => self.http.get(endpoint(url, path)),
            };
            let request = match &self.config.auth {
                Some(auth) => auth.sign(request, &who, &self.secrets).await?,
                None => request,
            };
            let sink = self.config.name.clone();
            asked.spawn(async move { wire::send(&sink, &who, request, |reply| judge(&who, &reply)).await });
        }
        let mut failures = Vec::new();
        while let Some(ended) = asked.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => failures.push(failure),
                Err(_) => failures.push(Failure::retry(Reason::ConnectionLost, "a request ended early")),
            }
        }
        if let Some(auth) = &self.config.auth
            && failures.iter().any(|failure| failure.reason == Reason::Unauthorized)
        {
            auth.refused(&self.secrets);
        }
        failures.sort_by(|a, b| (rank(a.class), &a.detail).cmp(&(rank(b.class), &b.detail)));
        let all = self.config.urls.len();
        if failures.len() < all {
            let details: Vec<&str> = failures.iter().map(|failure| failure.detail.as_str()).collect();
            let absent =
                format!("{} of {all} Alertmanagers do not take alerts: {}", failures.len(), details.join("; "));
            self.absent = (!failures.is_empty()).then_some(absent);
            return Ok(());
        }
        self.absent = None;
        match failures.into_iter().next() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }
}

/// Failures that may pass by themselves come first: a 400 of one says nothing about one that did not answer.
fn rank(class: Class) -> u8 {
    match class {
        Class::Retry => 0,
        Class::FixConfiguration => 1,
        Class::GiveUp => 2,
    }
}

/// Whether an alert need not be repeated: its end was repeated long enough, or its end could never be told.
fn is_past(last: &IncidentAction, entry: &LedgerEntry, dead: &[(u64, DeadLetter)], now: Timestamp) -> bool {
    if last.step == IncidentStep::Resolve {
        return entry.told_at.is_none_or(|told| now - told > ENDED_FOR);
    }
    dead.iter().any(|(_, letter)| {
        let crate::action::Action::Incident(action) = &letter.action;
        action.incident.key == last.incident.key
            && action.step == IncidentStep::Resolve
            && action.revision > entry.revision
    })
}

fn endpoint(url: &Url, path: &str) -> Url {
    let mut endpoint = url.clone();
    endpoint.set_path(&format!("{}/api/v2/{path}", url.path().trim_end_matches('/')));
    endpoint
}

/// Only 200 means that it was taken; a page comes from something in between, and a broken answer proves nothing.
fn judge(who: &str, reply: &Reply) -> Result<(), Failure> {
    if !reply.status.is_success() {
        return Err(reply.refused(&who));
    }
    if reply.is_page {
        let detail = format!("{who} answers with a page instead of data (a proxy's sign-in? Check `url` and `auth`)");
        return Err(Failure::fix(Reason::BadBody, detail));
    }
    match reply.body {
        Ok(_) => Ok(()),
        Err(_) => Err(Failure::retry(Reason::ConnectionLost, format!("the connection to {who} broke"))),
    }
}
