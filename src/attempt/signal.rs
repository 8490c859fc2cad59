//! What one event says about the attempt it belongs to.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::Verdict;
use crate::event::{
    App, AuthEvent, Credential, DeviceSignals, EventId, Flow, Kind, Outcome, Part, Person, Platform, PolicyRule,
    Reason, Risk, Timestamp,
};

/// An event's part in its attempt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Signal {
    /// Belongs to an attempt that is under way, and makes none.
    Touch,
    /// Begins or carries on an attempt: a factor succeeded.
    Progress,
    /// More was asked for.
    Challenge,
    /// A policy let it pass, or an app was reached: decides only where nothing stronger does.
    Granted,
    /// Decides.
    Terminal(Verdict),
}

/// What an event shows of how its attempt came about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Trace {
    /// Nothing.
    None,
    /// A credential was used.
    Credential,
    /// A session began.
    SessionStart,
}

impl Trace {
    fn of(event: &AuthEvent) -> Self {
        match event.kind {
            Kind::Session if event.event_type == "user.session.start" => Self::SessionStart,
            Kind::Authentication | Kind::Verification => Self::Credential,
            _ => Self::None,
        }
    }
}

impl Signal {
    /// The signal of an event, or `None` where it is no part of a sign-in.
    pub fn of(event: &AuthEvent) -> Option<Self> {
        // What happens to a session later, such as its re-evaluation, is of the same kinds and no part of an attempt.
        if event.part != Part::SignIn {
            return None;
        }
        match event.kind {
            Kind::PolicyEvaluation => Self::of_policy(event),
            Kind::Authentication => Self::of_factor(event),
            Kind::Verification => match event.outcome {
                Outcome::Success => Some(Self::Terminal(Verdict::Success)),
                _ => Self::of_factor(event),
            },
            Kind::AccessDenied => match event.outcome {
                Outcome::Deny if event.reason != Reason::NotAssigned => Some(Self::Terminal(Verdict::Denied)),
                Outcome::Deny | Outcome::Failure => Some(Self::Terminal(Verdict::Failed)),
                _ => Some(Self::Touch),
            },
            Kind::Session => match event.outcome {
                _ if event.reason == Reason::PhishingDeclined => Some(Self::Terminal(Verdict::PhishDeclined)),
                Outcome::Failure => Some(Self::Terminal(Verdict::Failed)),
                _ => Some(Self::Touch),
            },
            Kind::Sso => match event.outcome {
                Outcome::Success => Some(Self::Granted),
                Outcome::Failure => Some(Self::Terminal(Verdict::Failed)),
                _ => Some(Self::Touch),
            },
            Kind::Delivery => Some(Self::Touch),
            Kind::Enrollment
            | Kind::PolicyChange
            | Kind::AssuranceChange
            | Kind::AuthenticatorChange
            | Kind::IntegrationChange
            | Kind::MembershipChange
            | Kind::AdminChange
            | Kind::Device
            | Kind::Threat
            | Kind::RateLimit
            | Kind::Other => None,
        }
    }

    /// Whether what the event names worked, so that it is part of how the person signed in.
    pub(super) const fn worked(self) -> bool {
        match self {
            Self::Progress | Self::Granted | Self::Terminal(Verdict::Success) => true,
            Self::Touch
            | Self::Challenge
            | Self::Terminal(Verdict::Denied | Verdict::Failed | Verdict::Abandoned | Verdict::PhishDeclined) => false,
        }
    }

    fn of_policy(event: &AuthEvent) -> Option<Self> {
        match event.outcome {
            Outcome::Deny => Some(Self::Terminal(Verdict::Denied)),
            Outcome::Failure => Some(Self::Terminal(Verdict::Failed)),
            Outcome::Allow | Outcome::Success => Some(Self::Granted),
            Outcome::Challenge => Some(Self::Challenge),
            _ => Some(Self::Touch),
        }
    }

    fn of_factor(event: &AuthEvent) -> Option<Self> {
        if event.reason == Reason::PhishingDeclined {
            return Some(Self::Terminal(Verdict::PhishDeclined));
        }
        match event.outcome {
            Outcome::Success | Outcome::Allow => Some(Self::Progress),
            Outcome::Failure | Outcome::Deny | Outcome::RateLimited => Some(Self::Terminal(Verdict::Failed)),
            Outcome::Challenge => Some(Self::Challenge),
            Outcome::Abandoned => Some(Self::Terminal(Verdict::Abandoned)),
            Outcome::Skipped | Outcome::Unanswered | Outcome::Deferred | Outcome::Scheduled | Outcome::Unknown => {
                Some(Self::Touch)
            }
        }
    }
}

/// The compact part of an event that its attempt needs, kept until the watermark has passed it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// When.
    pub published: Timestamp,
    /// Breaks ties of time, so that the order of arrival decides nothing.
    pub id: EventId,
    /// What it says.
    pub signal: Signal,
    /// Who.
    pub person: Option<Person>,
    /// The flow.
    pub flow: Flow,
    /// How the attempt came about.
    pub trace: Trace,
    /// With what.
    pub credential: Credential,
    /// Whether that was phishing-resistant; `None` where nothing says so.
    pub phishing_resistant: Option<bool>,
    /// Why not.
    pub reason: Reason,
    /// On what.
    pub platform: Platform,
    /// The device's signals.
    pub device: Option<Arc<DeviceSignals>>,
    /// Into what.
    pub app: Option<App>,
    /// The rule that the evaluation named.
    pub rule: Option<PolicyRule>,
    /// What else a policy was evaluated upon.
    pub circumstances: Option<Box<Circumstances>>,
}

/// What a policy was evaluated upon besides person and device.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Circumstances {
    /// The event's `uuid`, so that a person finds it.
    pub uuid: SmolStr,
    /// Whether this is an app's own word (`deny_access`), which repeats what an evaluation said.
    pub repeats: bool,
    /// Whether the policy let it pass.
    pub granted: bool,
    /// Okta's risk level.
    pub risk: Option<Risk>,
}

impl Step {
    /// The step of an event; `None` where it is no part of a sign-in, has no flow to belong to, or no time.
    pub fn of(event: &AuthEvent) -> Option<Self> {
        let signal = Signal::of(event)?;
        Some(Self {
            published: event.published?,
            id: event.id,
            signal,
            person: event.person.clone(),
            flow: event.flow.clone()?,
            trace: Trace::of(event),
            credential: event.credential,
            phishing_resistant: event.phishing_resistant,
            reason: event.reason,
            platform: event.platform,
            device: event.device.clone(),
            app: event.app.clone(),
            rule: event.rule.clone(),
            circumstances: is_evaluation(event).then(|| {
                Box::new(Circumstances {
                    uuid: event.uuid.clone(),
                    repeats: event.kind == Kind::AccessDenied,
                    granted: event.outcome != Outcome::Deny,
                    risk: event.context.risk,
                })
            }),
        })
    }
}

/// Whether a policy answered: these are compared with the policies in force.
fn is_evaluation(event: &AuthEvent) -> bool {
    matches!(event.kind, Kind::PolicyEvaluation | Kind::AccessDenied)
        && matches!(event.outcome, Outcome::Allow | Outcome::Success | Outcome::Deny)
}
