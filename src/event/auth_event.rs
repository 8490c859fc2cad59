//! The event itself.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{
    Credential, DeviceSignals, EventId, Flow, Kind, Org, Outcome, Part, Person, Platform, Reason, Risk, Timestamp,
};

/// An app as the log names it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct App {
    /// Okta's id (`0oa…`), empty where the event has none.
    pub id: SmolStr,
    /// The label that people know it by.
    pub name: SmolStr,
}

/// The rule that a policy evaluation names. On a posture refusal this is the catch-all, not the rule that failed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct PolicyRule {
    /// Okta's id: `rul…` is a rule of an app's policy, `0pr…` of the global session policy.
    pub id: SmolStr,
    /// The rule's name.
    pub name: SmolStr,
    /// The id of the policy it belongs to, where the event says so.
    pub policy: Option<SmolStr>,
    /// That policy's name, likewise.
    pub policy_name: Option<SmolStr>,
}

/// What a change event changed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Change {
    /// The type of the first target (`PolicyRule`, `DeviceAssurancePolicy`, …).
    pub target_type: SmolStr,
    /// Okta's id of the first target.
    pub target_id: SmolStr,
    /// The name of the first target.
    pub target_name: SmolStr,
    /// The policy that a changed rule belongs to.
    pub policy: Option<SmolStr>,
    /// Whom a membership change is about; `target_…` are then the group or the app.
    pub person: Option<Person>,
    /// What holds from now on: `changeDetails.to` of the same target as compact JSON, an object or a list. Only of policy
    /// and assurance changes, since other details can hold personal data, and only up to the limit on its size.
    pub to: Option<SmolStr>,
}

/// What an event says of the request beyond device and credential: what rules can ask for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Context {
    /// The network zone that Okta matched, by name.
    pub zone: Option<SmolStr>,
    /// Okta's risk level.
    pub risk: Option<Risk>,
}

/// One record of a sign-in log, decoded and classified.
///
/// Absent is `None`, never a default that reads as evidence. No name, address or token is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AuthEvent {
    /// The org it belongs to.
    pub org: Org,
    /// What makes it the same record when it comes again.
    pub id: EventId,
    /// `uuid` as written; empty where the record has none.
    pub uuid: SmolStr,
    /// When it happened, by the sender's clock; of a record without a time that can be read, when its envelope was sent.
    /// `None` where neither says: such an event counts, but has no place in the order of events, so nothing is judged
    /// by it.
    pub published: Option<Timestamp>,
    /// Okta's `eventType`.
    pub event_type: SmolStr,
    /// What it is about.
    pub kind: Kind,
    /// Whether it can be a step of a sign-in at all.
    pub part: Part,
    /// With what the person signed in.
    pub credential: Credential,
    /// Whether that was phishing-resistant; `None` where nothing says so.
    pub phishing_resistant: Option<bool>,
    /// Our reading.
    pub outcome: Outcome,
    /// Okta's word, as written; empty where absent.
    pub okta_outcome: SmolStr,
    /// Why not.
    pub reason: Reason,
    /// Who.
    pub person: Option<Person>,
    /// The authentication flow it belongs to.
    pub flow: Option<Flow>,
    /// The app.
    pub app: Option<App>,
    /// The app-policy rule, else the global one.
    pub rule: Option<PolicyRule>,
    /// The device's platform.
    pub platform: Platform,
    /// The device's signals, where the event has a device.
    pub device: Option<Arc<DeviceSignals>>,
    /// What else rules can ask for.
    pub context: Context,
    /// What changed, on change events.
    pub change: Option<Box<Change>>,
}
