//! What the web server shows: plain values that the pump publishes after each commit.
//!
//! Only committed counts: a number that is shown never goes back (invariant 10).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use smol_str::SmolStr;

use crate::action::{Incident, WouldHaveTold};
use crate::adoption::Funnel;
use crate::event::{Check, Org, Outcome, Platform, PostureCheck, PostureSource, Reason, Reject, SourceName, Timestamp};
use crate::judge::alarm::Alarm;
use crate::judge::burn::Standing;

/// Everything that was last committed.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct View {
    /// `/api/v1/status`.
    pub status: Status,
    /// `/api/v1/incidents`, the newest first: open ones, and those that resolved lately.
    pub incidents: Vec<Incident>,
    /// What sinks in shadow mode would have told of these incidents, by key.
    pub would_have_told: BTreeMap<SmolStr, Vec<WouldHaveTold>>,
    /// `/api/v1/series`, in key order.
    pub series: Vec<SeriesRow>,
    /// `/api/v1/adoption`.
    pub adoption: Arc<BTreeMap<Org, Funnel>>,
    /// `/api/v1/decisions`, the oldest first.
    pub decisions: Vec<DecisionRow>,
    /// `/api/v1/slos`: how every objective stands.
    pub slos: Vec<Standing>,
    /// Its alarms, and those of blind sources, the oldest first.
    pub alarms: Vec<AlarmRow>,
}

/// An alarm of the burn or the blind judge.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct AlarmRow {
    /// The org.
    pub org: Org,
    /// The alarm.
    #[serde(flatten)]
    pub alarm: Alarm,
}

/// What a sign-on policy decided, and why. It names no person.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct DecisionRow {
    /// The org.
    pub org: String,
    /// When.
    pub at: Timestamp,
    /// The event's `uuid`.
    pub uuid: String,
    /// `allow` or `deny`.
    pub outcome: Outcome,
    /// The cohort.
    pub cohort: Option<String>,
    /// The platform.
    pub platform: Platform,
    /// The app's name, else its id.
    pub app: Option<String>,
    /// The rule that Okta named.
    pub rule: Option<String>,
    /// The rule that would have granted.
    pub would_grant: Option<String>,
    /// Why it was refused.
    pub reason: Option<Reason>,
    /// What the reading rests on.
    pub source: PostureSource,
    /// The checks that a refusal counts under.
    pub culprits: Vec<PostureCheck>,
    /// Every check with its numbers.
    pub checks: Vec<Check>,
}

impl View {
    /// What sinks in shadow mode would have told of an incident.
    pub(crate) fn told(&self, key: &str) -> &[WouldHaveTold] {
        self.would_have_told.get(key).map(Vec::as_slice).unwrap_or_default()
    }
}

/// `/api/v1/status` (design, section 8). Counts are since the state was created; they survive restarts.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Status {
    /// Distinct events accepted.
    pub events: u64,
    /// Records that were seen before.
    pub duplicates: u64,
    /// Events that came after the watermark had passed them; part of `events`.
    pub late: u64,
    /// Records that could not become an event, by reason.
    pub rejected: BTreeMap<Reject, u64>,
    /// Every source, in the order of the configuration.
    pub sources: Vec<SourceStatus>,
    /// Incidents that are not resolved.
    pub incidents_open: u64,
    /// The version of this binary.
    pub version: &'static str,
    /// Every org that has a source.
    pub orgs: Vec<Org>,
    /// The oldest watermark of all orgs: all data up to here is counted. `None` until a source has spoken.
    pub data_until: Option<Timestamp>,
    /// When this process had restored its state, host clock; `None` until then.
    pub started: Option<Timestamp>,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            events: 0,
            duplicates: 0,
            late: 0,
            rejected: BTreeMap::new(),
            sources: Vec::new(),
            incidents_open: 0,
            version: env!("CARGO_PKG_VERSION"),
            orgs: Vec::new(),
            data_until: None,
            started: None,
        }
    }
}

/// How far one source has been read.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SourceStatus {
    /// Its name (`okta:acme`).
    pub name: SourceName,
    /// How far its watermark is behind its server's clock; `None` until it has spoken.
    pub lag_seconds: Option<f64>,
    /// Whether it delivers.
    pub ready: bool,
}

/// One series over one window. A part of the key that is `None` is over all values.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct SeriesRow {
    /// The org.
    pub org: String,
    /// The app.
    pub app: Option<String>,
    /// The policy rule.
    pub rule: Option<String>,
    /// The platform.
    pub platform: Option<String>,
    /// The cohort.
    pub cohort: Option<String>,
    /// The credential.
    pub credential: Option<String>,
    /// The window's length (`5m`, `1h`).
    pub window: String,
    /// Attempts with a verdict.
    pub attempts: u64,
    /// Attempts that succeeded.
    pub succeeded: u64,
    /// Attempts that a policy denied.
    pub denied: u64,
    /// `succeeded` of `attempts`; `None` without attempts, never 1 (invariant 4).
    pub success_ratio: Option<f64>,
    /// `denied` of `attempts`; `None` without attempts.
    pub denied_ratio: Option<f64>,
    /// Distinct people whose attempt a policy denied; `None` where the series is not judged.
    pub refused_people: Option<u64>,
}

impl SeriesRow {
    /// Whether this is an org as a whole.
    pub(crate) fn is_whole_org(&self) -> bool {
        [&self.app, &self.rule, &self.platform, &self.cohort, &self.credential].iter().all(|part| part.is_none())
    }
}
