//! One line of `explain --json`: the fields of the contract, in its order.

use serde::Serialize;

use crate::event::{AuthEvent, Credential, Kind, Outcome, Platform, Posture, Reason, Reject, Timestamp};
use crate::policy::Evaluation;

/// One line of `explain --json`. Of a reject only `org` and `reject` say something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Explain {
    /// As written.
    pub uuid: Option<String>,
    /// The org's label.
    pub org: String,
    /// When it happened; null where the record does not say.
    pub published: Option<Timestamp>,
    /// Okta's `eventType`.
    pub event_type: Option<String>,
    /// What it is about.
    pub kind: Option<Kind>,
    /// With what the person signed in.
    pub credential: Option<Credential>,
    /// Whether that was phishing-resistant.
    pub phishing_resistant: Option<bool>,
    /// Our reading.
    pub outcome: Option<Outcome>,
    /// Okta's word.
    pub okta_outcome: Option<String>,
    /// Why not.
    pub reason: Option<Reason>,
    /// What the device's state has to do with it.
    pub posture: Posture,
    /// The device's platform.
    pub platform: Option<Platform>,
    /// The app's id, else its name.
    pub app: Option<String>,
    /// The rule's id, else its name.
    pub rule: Option<String>,
    /// The flow.
    pub attempt: Option<String>,
    /// Why the record is no event.
    pub reject: Option<Reject>,
}

impl Explain {
    pub(super) fn event(event: &AuthEvent) -> Self {
        let written = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self {
            uuid: written(&event.uuid),
            org: event.org.as_str().to_owned(),
            published: event.published,
            event_type: Some(event.event_type.to_string()),
            kind: Some(event.kind),
            credential: Some(event.credential),
            phishing_resistant: event.phishing_resistant,
            outcome: Some(event.outcome),
            okta_outcome: written(&event.okta_outcome),
            reason: Some(event.reason),
            posture: Posture::NONE,
            platform: Some(event.platform),
            app: event.app.as_ref().and_then(|app| written(&app.id).or_else(|| written(&app.name))),
            rule: event.rule.as_ref().and_then(|rule| written(&rule.id).or_else(|| written(&rule.name))),
            attempt: event.flow.as_ref().map(|flow| flow.as_str().to_owned()),
            reject: None,
        }
    }

    pub(super) fn reject(org: &str, reject: Reject) -> Self {
        Self {
            uuid: None,
            org: org.to_owned(),
            published: None,
            event_type: None,
            kind: None,
            credential: None,
            phishing_resistant: None,
            outcome: None,
            okta_outcome: None,
            reason: None,
            posture: Posture::NONE,
            platform: None,
            app: None,
            rule: None,
            attempt: None,
            reject: Some(reject),
        }
    }

    /// Says what the policies in force make of it.
    pub(super) fn evaluated(&mut self, evaluation: &Evaluation) {
        self.posture = Posture::from(evaluation);
        self.reason = evaluation.reason.or(self.reason);
    }
}
