//! What one event says about the attempt it belongs to.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::Verdict;
use crate::event::{
    App, AuthEvent, Credential, EventId, Flow, Kind, Outcome, Person, Platform, PolicyRule, Reason, Timestamp,
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

impl Signal {
    /// The signal of an event, or `None` where it is no part of a sign-in.
    pub fn of(event: &AuthEvent) -> Option<Self> {
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
        // Re-evaluation after sign-in (`policy.auth_reevaluate.*`) is of this kind and no part of an attempt.
        if event.event_type != "policy.evaluate_sign_on" {
            return None;
        }
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
    /// With what.
    pub credential: Credential,
    /// Whether that was phishing-resistant; `None` where nothing says so.
    pub phishing_resistant: Option<bool>,
    /// On what.
    pub platform: Platform,
    /// The device's OS version as sent.
    pub os_version: Option<SmolStr>,
    /// Into what.
    pub app: Option<App>,
    /// The rule that the evaluation named.
    pub rule: Option<PolicyRule>,
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
            credential: event.credential,
            phishing_resistant: event.phishing_resistant,
            platform: event.platform,
            os_version: event.device.as_ref().and_then(|device| device.os_version.clone()),
            app: event.app.clone(),
            rule: event.rule.clone(),
        })
    }
}
