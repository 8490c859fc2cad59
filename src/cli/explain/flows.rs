//! What the policies in force make of the answers in a file of records: the same reading as the daemon's.
//!
//! The device often stands on a neighbour of the same flow, before or after the answer, so answers are read once some
//! records after them are known ([`LOOK_AHEAD`]). Policies come from the configuration's file and follow the changes
//! that pass in the records. Bounded: flows beyond [`FLOWS`] are forgotten, the oldest first.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::event::{AuthEvent, DeviceSignals, Flow, Kind, Outcome, Part, Person, Platform, Timestamp};
use crate::input::{Policies, PolicyOrigin, Releases};
use crate::policy::{self, Evaluation, Groups, Held, Ledger, Query};

/// Records that are known before an answer is read.
pub(super) const LOOK_AHEAD: usize = 200;
/// Flows remembered at a time.
const FLOWS: usize = 10_000;

type Key = (Option<Person>, Flow);

/// What the events of one flow showed.
#[derive(Default)]
struct Seen {
    device: Option<Arc<DeviceSignals>>,
    platform: Option<Platform>,
    phishing_resistant: Option<bool>,
}

/// The flows of the records so far, and the policies.
#[derive(Default)]
pub(super) struct Flows {
    ledger: Ledger,
    groups: Groups,
    releases: Releases,
    seen: BTreeMap<Key, Seen>,
    order: VecDeque<Key>,
}

impl Flows {
    /// Flows under policies that hold from the beginning.
    pub(super) fn new(policies: Option<Arc<Policies>>, releases: Releases) -> Self {
        let mut flows = Self { releases, ..Self::default() };
        if let Some(policies) = policies {
            flows.ledger.read(Timestamp::MIN, PolicyOrigin::File, policies);
        }
        flows
    }

    /// Takes note of an event, before any answer that it may explain is read.
    pub(super) fn note(&mut self, event: &AuthEvent) {
        if let (Some(change), Some(published)) = (&event.change, event.published)
            && matches!(event.kind, Kind::PolicyChange | Kind::AssuranceChange)
        {
            self.ledger.change(published, change, &event.event_type);
        }
        let Some(flow) = &event.flow else { return };
        if event.device.is_none() && event.phishing_resistant.is_none() {
            return;
        }
        let key = (event.person.clone(), flow.clone());
        if !self.seen.contains_key(&key) {
            self.order.push_back(key.clone());
            if self.order.len() > FLOWS
                && let Some(oldest) = self.order.pop_front()
            {
                self.seen.remove(&oldest);
            }
        }
        let seen = self.seen.entry(key).or_default();
        if let Some(device) = &event.device {
            let device = seen.device.as_ref().map_or_else(|| (**device).clone(), |known| device.or(known));
            seen.device = Some(Arc::new(device));
            seen.platform = Some(event.platform).filter(|platform| *platform != Platform::Unknown).or(seen.platform);
        }
        if seen.phishing_resistant != Some(true) {
            seen.phishing_resistant = event.phishing_resistant.or(seen.phishing_resistant);
        }
    }

    /// Whether an event is a policy's answer, whose reading its neighbours may complete.
    pub(super) fn is_answer(event: &AuthEvent) -> bool {
        event.part == Part::SignIn
            && matches!(event.kind, Kind::PolicyEvaluation | Kind::AccessDenied)
            && matches!(event.outcome, Outcome::Allow | Outcome::Success | Outcome::Deny)
    }

    /// What the policies in force make of an event; `None` where it is no answer, or a grant and no policy is known.
    pub(super) fn evaluate(&self, event: &AuthEvent) -> Option<Evaluation> {
        let granted = event.outcome != Outcome::Deny;
        if !Self::is_answer(event) || (granted && self.ledger.is_empty()) {
            return None;
        }
        let at = event.published.unwrap_or(Timestamp::MIN);
        let policies = match self.ledger.at(at) {
            Held::Version(policies) => Some(policies),
            Held::Pending | Held::Unknown | Held::None => None,
        };
        let seen = event.flow.as_ref().and_then(|flow| self.seen.get(&(event.person.clone(), flow.clone())));
        let device = seen.and_then(|seen| seen.device.as_deref()).or(event.device.as_deref());
        let query = Query {
            at,
            person: event.person.as_ref(),
            groups: &self.groups,
            platform: seen.and_then(|seen| seen.platform).unwrap_or(event.platform),
            device,
            rule: event.rule.as_ref(),
            risk: event.context.risk,
            granted,
            phishing_resistant: seen.and_then(|seen| seen.phishing_resistant),
            releases: Some(&self.releases),
        };
        Some(policy::evaluate(policies, &query))
    }
}
