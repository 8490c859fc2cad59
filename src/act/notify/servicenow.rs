//! ServiceNow: one incident row per incident, created, updated, resolved and reopened through the Table API v2.
//!
//! API: `GET`, `POST` and `PATCH /api/now/v2/table/incident` with user and password, an OAuth token or an API key; with
//! `changes` also `GET /api/now/v2/table/change_request`. The user needs `itil`, or `sn_incident_read` and
//! `sn_incident_write` (and `sn_change_read`). The rules, and why:
//!
//! - The table has no unique index and a `POST` has no idempotency key. So a row is looked up before it is created, an
//!   intent is durable before the `POST`, and after an answer that does not say what happened we look again and again
//!   ([`Config::settle`]) before we create once more. Rows that turn out double are reduced to the oldest.
//! - A condition on a field that does not exist is dropped from the query, which then returns *every* row. So each
//!   returned row must carry our `correlation_id` and `correlation_display`; any other is refused, counted and never
//!   written to, and an absence in such an answer proves nothing.
//! - The description ends in a marker line with the revision. A row whose marker is at or past the revision has it
//!   already, so a repeat after a crash changes nothing. Notes on a row that a person has carry no marker and are
//!   delivered at least once.
//! - Once a person changed state, assignee or group, only work notes follow.
//!
//! Fails as [`Failure`] says: 400 is given up; 401, 403, 404 and redirects need a person; 429, 5xx, a hibernating
//! instance (an HTML page) and a broken connection are tried again. Refuses to write `priority`, which the instance
//! computes. Metrics: requests, actions, retries and look-up mismatches of the sink; condition `sink/<name>`.

mod auth;
mod change;
mod changes;
mod check;
mod client;
mod config;
mod create;
mod lookup;
mod row;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

pub use auth::{Auth, Oauth};
pub use changes::Changes;
pub use config::{Config, ConfigError, Impact, Level, Resolve, Settle, SeverityMap, StateCode, States};

use super::super::Done;
use super::super::ledger::Ledger;
use super::super::retry::{Failure, Reason};
use crate::action::IncidentAction;
use crate::secret::Secrets;
use crate::telemetry::metric::Metric;
use client::Client;

/// Creates whose outcome is unknown, and double rows already noted, that are remembered; beyond it they start over.
const REMEMBERED: usize = 1_000;

/// How many tickets in a row may have been closed before we stop following up with new ones.
const GENERATIONS: u32 = 100;

/// The sink for one instance.
#[derive(Debug)]
pub struct Servicenow {
    config: Config,
    client: Client,
    /// Reads since a create whose outcome is unknown, by correlation id.
    settling: BTreeMap<String, Settling>,
    /// Double rows that a person has and that carry our note.
    noted: BTreeSet<String>,
    /// What is wrong although actions are carried out, by what it concerns.
    troubles: BTreeMap<&'static str, String>,
}

/// The empty reads since a create whose outcome is unknown.
#[derive(Clone, Copy, Debug)]
struct Settling {
    reads: u32,
    first: Instant,
}

impl Servicenow {
    /// A sink for the configured instance. Nothing is sent and no secret is read.
    ///
    /// # Errors
    /// Where the HTTP client cannot be made.
    pub fn new(config: &Config, secrets: Secrets) -> Result<Self, reqwest::Error> {
        Ok(Self {
            config: config.clone(),
            client: Client::new(config, secrets)?,
            settling: BTreeMap::new(),
            noted: BTreeSet::new(),
            troubles: BTreeMap::new(),
        })
    }

    /// Carries out one action; harmless when repeated.
    pub(crate) async fn tell(&mut self, action: &IncidentAction, ledger: &Ledger) -> Result<Done, Failure> {
        let key = action.incident.key.as_str();
        // A caret would end the condition in an encoded query and begin another.
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte)) {
            return Err(Failure::give_up(Reason::Invalid, "an incident key that cannot be looked up safely"));
        }
        let entry = ledger.get(key).await?.unwrap_or_default();
        let mut done = self.change(action, entry, ledger).await?;
        done.entry.revision = done.entry.revision.max(action.revision);
        Ok(done)
    }

    /// Asks for a row that cannot exist: shows whether we may read, and whether conditions are honoured.
    pub(crate) async fn probe(&mut self) -> Result<(), Failure> {
        self.lookup("aw-probe").await.map(|_| ())
    }

    /// What is wrong although actions are carried out.
    pub(crate) fn trouble(&self) -> Option<String> {
        let all: Vec<&str> = self.troubles.values().map(String::as_str).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    fn mismatches(&self, rows: usize) {
        Metric::SinkLookupMismatches.counter(&[&self.config.name]).increment(rows as u64);
    }
}
