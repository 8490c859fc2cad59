//! The deterministic core: joins the pure stages behind [`Watch::handle`] and [`Watch::poll_action`].
//!
//! The same inputs in the same order give the same actions, byte for byte (invariant 1). The core reads no clock, does
//! no I/O, logs nothing and hears of no sink's reply; the shell around it journals every input before it acts. Counters
//! and the roll-ups by second take an event when it arrives; attempts, and so everything that is judged, take it in
//! the order of event time once the watermark has passed it, so that arrival order within L changes nothing.

mod clock;
mod counts;
mod dedupe;
mod digest;
mod org;
mod posture;
mod series;
mod setting;
mod slo;
#[cfg(test)]
mod testing;
mod view;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use counts::{Counts, Limit, Meaning};
pub use digest::Digest;
pub use posture::{PolicyDecision, PostureCounts};
pub use series::Series;
pub use slo::AlarmStep;
pub use view::{OrgView, SeriesView};

use crate::action::{Action, IncidentAction};
use crate::event::{Org, Person, SourceName};
use crate::input::{CoreConfig, Input, OrgConfig};
use crate::policy::fleet::Fleet;
use org::OrgWatch;
use setting::Setting;

/// The version of the snapshot's encoding; another one is refused, never guessed at.
const SNAPSHOT_VERSION: u32 = 4;

/// Why a snapshot cannot be used.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// Written by another version of authwatch.
    #[error(
        "the snapshot has version {found}, this authwatch reads {SNAPSHOT_VERSION} (use the version that wrote it)"
    )]
    Version {
        /// What it says.
        found: u32,
    },
    /// Not a snapshot, or damaged.
    #[error("the snapshot is damaged")]
    Damaged(#[from] postcard::Error),
}

/// The core: every org's state, and the actions that wait to be taken over by the shell.
#[derive(Clone, Serialize, Deserialize)]
pub struct Watch {
    config: CoreConfig,
    orgs: BTreeMap<Org, OrgWatch>,
    digest: Digest,
    actions: VecDeque<Action>,
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

impl Watch {
    /// A core that has heard nothing yet; its first input is [`Input::Configure`].
    pub fn new() -> Self {
        Self {
            config: CoreConfig::default(),
            orgs: BTreeMap::new(),
            digest: Digest::default(),
            actions: VecDeque::new(),
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> &CoreConfig {
        &self.config
    }

    /// Takes one input.
    pub fn handle(&mut self, input: &Input) {
        let mut out = Vec::new();
        match input {
            Input::Configure(config) => self.configure(config),
            Input::Event { source, event } => {
                if let Some((org, setting)) = org_of(&mut self.orgs, &self.config, source, Some(&event.org)) {
                    org.event(source, event, setting, &mut out);
                }
            }
            Input::Reject { source, reason } => {
                if let Some((org, _)) = org_of(&mut self.orgs, &self.config, source, None) {
                    org.reject(*reason);
                }
            }
            Input::Progress { source, now, caught_up } => {
                if let Some((org, setting)) = org_of(&mut self.orgs, &self.config, source, None) {
                    org.progress(source, *now, *caught_up, setting, &mut out);
                }
            }
            Input::Policies { org, since, origin, policies } => {
                if let Some((org, setting)) = named(&mut self.orgs, &self.config, org) {
                    org.policies(*since, *origin, policies, setting);
                }
            }
            Input::Members { org, group, people } => {
                if let Some((org, _)) = named(&mut self.orgs, &self.config, org) {
                    org.members(group, people);
                }
            }
            Input::Unheard { source, silent } => {
                if let Some((org, setting)) = org_of(&mut self.orgs, &self.config, source, None) {
                    org.unheard(source, *silent, setting);
                }
            }
        }
        self.enqueue(out);
    }

    /// The next action, in the order in which they were decided.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Nothing more will come: attempts under way come to rest and are counted. For the end of a replay.
    pub fn finish(&mut self) {
        let gone = OrgConfig::default();
        for (name, watch) in &mut self.orgs {
            let org = self.config.orgs.get(name).unwrap_or(&gone);
            watch.finish(Setting { core: &self.config, org });
        }
    }

    /// Forgets everything that is kept of a person; counters stay, they name nobody.
    pub fn forget(&mut self, person: &Person) {
        self.orgs.values_mut().for_each(|org| org.forget(person));
    }

    /// The hash of every incident action so far, by event time, then key.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// What can be said of each configured org.
    pub fn orgs(&self) -> impl Iterator<Item = OrgView<'_>> {
        self.orgs.iter().filter_map(|(name, org)| {
            let setting = Setting { core: &self.config, org: self.config.orgs.get(name)? };
            Some(OrgView::new(name, org, setting))
        })
    }

    /// What the devices of an org last said; `None` where the org is not configured.
    pub fn fleet(&self, org: &Org) -> Option<&Fleet> {
        self.config.orgs.get(org)?;
        self.orgs.get(org).map(|org| &org.fleet)
    }

    /// The whole state as bytes.
    ///
    /// # Errors
    /// Where the state cannot be encoded, which is a bug.
    pub fn snapshot(&self) -> Result<Vec<u8>, SnapshotError> {
        Ok(postcard::to_stdvec(&(SNAPSHOT_VERSION, self))?)
    }

    /// The state from [`Watch::snapshot`]'s bytes.
    ///
    /// # Errors
    /// Where the bytes are damaged or of another version.
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let (found, rest): (u32, _) = postcard::take_from_bytes(bytes)?;
        if found != SNAPSHOT_VERSION {
            return Err(SnapshotError::Version { found });
        }
        Ok(postcard::from_bytes(rest)?)
    }

    fn configure(&mut self, config: &CoreConfig) {
        let before = std::mem::replace(&mut self.config, config.clone());
        for (name, org) in &self.config.orgs {
            let watch = self.orgs.entry(name.clone()).or_insert_with(|| OrgWatch::new(name.clone()));
            let source = before.orgs.get(name).and_then(|org| org.policies);
            watch.configure(Setting { core: &self.config, org }, source);
        }
    }

    fn enqueue(&mut self, mut told: Vec<IncidentAction>) {
        told.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| a.incident.key.cmp(&b.incident.key)));
        for action in told {
            self.digest.add(&action);
            self.actions.push_back(Action::Incident(Box::new(action)));
        }
    }
}

/// The org that an input belongs to: the event's own, else the one that the source feeds. Inputs of an org that is not
/// configured are dropped; the shell's sources are made from the same configuration, so there are none.
fn org_of<'a>(
    orgs: &'a mut BTreeMap<Org, OrgWatch>,
    config: &'a CoreConfig,
    source: &SourceName,
    org: Option<&Org>,
) -> Option<(&'a mut OrgWatch, Setting<'a>)> {
    let name = match org {
        Some(org) => org,
        None => config.orgs.iter().find(|(_, org)| org.sources.contains(source)).map(|(name, _)| name)?,
    };
    named(orgs, config, name)
}

/// The org of that name, where it is configured.
fn named<'a>(
    orgs: &'a mut BTreeMap<Org, OrgWatch>,
    config: &'a CoreConfig,
    name: &Org,
) -> Option<(&'a mut OrgWatch, Setting<'a>)> {
    let setting = Setting { core: config, org: config.orgs.get(name)? };
    Some((orgs.get_mut(name)?, setting))
}

#[cfg(test)]
#[path = "watch/tests.rs"]
mod tests;
