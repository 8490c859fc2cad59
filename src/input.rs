//! Everything that can reach the deterministic core, as one closed enum (invariant 1).
//!
//! `run` journals every input in arrival order; folding the same inputs in the same order gives the same actions,
//! byte for byte. No host clock and no sink's reply is among them.

mod policies;
mod slo;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use smol_str::SmolStr;

pub use policies::{
    Access, AccessPolicy, Assurance, Conditions, DeviceCondition, DynamicVersion, Grace, Network, OsRequirement,
    People, PlatformCondition, Policies, PolicyOrigin, Releases, Requirement, Rule, VersionKind, WindowsConstraint,
};

pub use slo::{Alerts, Endings, Indicator, Scope, Slo};

use crate::event::{AuthEvent, Org, Person, Reject, SourceName, Span, Timestamp};

/// One input of the core.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Input {
    /// The whole configuration of the core; the first input, and again when it changes.
    Configure(Box<CoreConfig>),
    /// A record became an event.
    Event {
        /// Where it came from.
        source: SourceName,
        /// The event.
        event: Box<AuthEvent>,
    },
    /// A record did not become an event.
    Reject {
        /// Where it came from.
        source: SourceName,
        /// Why.
        reason: Reject,
    },
    /// A source spoke: sent before the records of a page with the server's `Date`, and after them where the page was
    /// shorter than the limit.
    Progress {
        /// The source.
        source: SourceName,
        /// The server's `Date`; `None` where the source has no clock (a bare file), then the newest `published` is
        /// the clock.
        now: Option<Timestamp>,
        /// Everything that the source had is delivered: the watermark may follow `now`.
        caught_up: bool,
    },
    /// The policies of an org, whole, as read once.
    Policies {
        /// The org.
        org: Org,
        /// From when they hold: the `published` of the change event that caused the reading. `None` is from now on.
        since: Option<Timestamp>,
        /// Where they were read.
        origin: PolicyOrigin,
        /// What they say.
        policies: Arc<Policies>,
    },
    /// Everybody in a group, as read once; membership events keep it current.
    Members {
        /// The org.
        org: Org,
        /// Okta's id of the group (`00g…`).
        group: SmolStr,
        /// Its people.
        people: BTreeSet<Person>,
    },
    /// A source that is waited for has said nothing, not even that there is nothing new.
    Unheard {
        /// The source.
        source: SourceName,
        /// For how long, by the host's steady clock: since it last spoke, or since this process began to listen.
        silent: Span,
    },
}

/// The configuration of the core, whole: nothing else configures it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CoreConfig {
    /// Per org: its sources, cohorts and people outside the SLIs.
    pub orgs: BTreeMap<Org, OrgConfig>,
    /// How long a source may be late within its own order (L).
    pub lateness: Span,
    /// The judge's settings.
    pub judge: JudgeConfig,
    /// The incident life cycle's settings.
    pub incident: IncidentConfig,
    /// The bounds of the core's state.
    pub limits: Limits,
    /// The objectives that every org is held to, by name.
    pub slos: Vec<Slo>,
}

/// One org's part of the configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct OrgConfig {
    /// The sources whose watermarks make the org's.
    pub sources: BTreeSet<SourceName>,
    /// Cohorts in order; the first that holds a person wins.
    pub cohorts: Vec<Cohort>,
    /// People whose sign-ins are watched but left out of every SLI and judge.
    pub break_glass: BTreeSet<Person>,
    /// The Okta groups (`00g…`) whose people are left out too.
    pub break_glass_groups: BTreeSet<SmolStr>,
    /// The vendors' releases, for requirements that move with them.
    pub releases: Releases,
    /// Where its policies come from; `None` is from nowhere. What a file or Okta says is an input of its own.
    pub policies: Option<PolicySource>,
}

/// Where the policies of an org come from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum PolicySource {
    /// A source reads them from Okta.
    Api,
    /// A file with this hash: it is fed again when the hash changes.
    File(u64),
}

impl PolicySource {
    /// Whether what one said still holds under the other: a new file carries on from the old one.
    pub fn is_same_kind(self, other: Self) -> bool {
        matches!((self, other), (Self::Api, Self::Api) | (Self::File(_), Self::File(_)))
    }
}

/// A named slice of people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cohort {
    /// Its name.
    pub name: String,
    /// Its people, by id.
    pub users: BTreeSet<Person>,
    /// The Okta groups (`00g…`) whose people belong to it too.
    pub groups: BTreeSet<SmolStr>,
}

/// The DENY-spike judge's settings.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct JudgeConfig {
    /// The fewest distinct people that can open an incident.
    pub min_people: u32,
    /// The score (−log10 p − log10 series of the level) from which a series fires.
    pub threshold: f64,
    /// Added to the threshold until a day of history is known.
    pub first_day_penalty: f64,
    /// Over-dispersion φ of hourly counts.
    pub dispersion: f64,
    /// Refused share assumed before anything is learnt.
    pub prior_refused: f64,
}

/// The incident life cycle's settings.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct IncidentConfig {
    /// How long a series must be calm before its incident resolves.
    pub hold_down: Span,
    /// A relapse within this span after resolution reopens the incident.
    pub reopen_window: Span,
    /// The least time between two updates of one incident.
    pub update_interval: Span,
    /// Notifications are held while the watermark is further behind `now` than this.
    pub catch_up: Span,
}

/// The bounds of the core's state (invariant 7).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Series per org; the rest fold into `other`.
    pub series: u32,
    /// Open attempts per org; the oldest closes first.
    pub attempts: u32,
    /// Event ids remembered per org.
    pub dedupe: u32,
    /// Steps that wait for the watermark, per org; at the limit the oldest is judged early.
    pub waiting: u32,
}

impl Default for CoreConfig {
    fn default() -> Self {
        Self {
            orgs: BTreeMap::new(),
            lateness: Span::seconds(20),
            judge: JudgeConfig {
                min_people: 5,
                threshold: 7.5,
                first_day_penalty: 1.5,
                dispersion: 0.35,
                prior_refused: 0.01,
            },
            incident: IncidentConfig {
                hold_down: Span::minutes(30),
                reopen_window: Span::hours(2),
                update_interval: Span::minutes(5),
                catch_up: Span::minutes(15),
            },
            limits: Limits { series: 2_000, attempts: 100_000, dedupe: 4_000_000, waiting: 200_000 },
            slos: Vec::new(),
        }
    }
}
