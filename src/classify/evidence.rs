//! What each reading of an event rests on, for a person who asks (`authwatch explain`).
//!
//! A reader gives its evidence with its reading, in one value, so that the two cannot drift apart. Evidence names a
//! place in the event and, where a table decided, the table's own word: never a text of the event, which could hold what
//! nobody here may keep.

use core::net::IpAddr;
use std::fmt;

use crate::event::{AuthEvent, vocabulary};

vocabulary! {
    /// A place in an event that a reading can rest on.
    Source {
        /// Nothing: the reading is absent, `none` or `unknown`.
        Nothing => "nothing",
        /// The event type.
        EventType => "eventType",
        /// The event type by how it begins.
        EventPrefix => "eventType, by how it begins",
        /// The record's own time.
        Published => "published",
        /// The time of its envelope.
        Envelope => "time of the envelope",
        /// Okta's word for the outcome.
        Result => "outcome.result",
        /// Okta's code or text.
        ReasonText => "outcome.reason",
        /// The same by how it begins.
        ReasonPrefix => "outcome.reason, by how it begins",
        /// The outcome that was read.
        Outcome => "the outcome",
        /// What the person answered a push.
        PushResponse => "debugData.pushOnlyResponseType",
        /// What the person answered a number challenge.
        NumberResponse => "debugData.pushWithNumberChallengeResponseType",
        /// What the policy found for the app.
        SignOnEvaluation => "signOnModeEvaluationResult of a target",
        /// The sign-in's own code.
        LoginResult => "debugData.loginResult",
        /// What was verified.
        VerifiedMethod => "methodTypeUsed of a target AuthenticatorMethod",
        /// The factor.
        Factor => "debugData.factor",
        /// The enrolment used.
        EnrolledMethod => "methodTypeUsed of a target AuthenticatorEnrollment",
        /// The enrolment's name.
        EnrollmentName => "displayName of a target AuthenticatorEnrollment",
        /// The session's methods, which can be hours old.
        SessionMethods => "debugData.authMethod*Type",
        /// Whose credential.
        CredentialProvider => "authenticationContext.credentialProvider",
        /// Its type.
        CredentialType => "authenticationContext.credentialType",
        /// Who authenticated.
        AuthenticationProvider => "authenticationContext.authenticationProvider",
        /// X.509 details.
        Certificate => "certificate details of a target",
        /// What the verified method has.
        VerifiedProperties => "methodUsedVerifiedProperties of a target",
        /// The credential that was read.
        Credential => "the credential",
        /// Who acted.
        Actor => "actor",
        /// Whom it is about.
        UserTarget => "target User",
        /// The flow.
        AuthnRequest => "debugData.authnRequestId",
        /// The request.
        Transaction => "transaction.id",
        /// The app.
        AppTarget => "target AppInstance",
        /// The rule.
        RuleTarget => "target Rule or PolicyRule",
        /// The device block.
        Device => "device",
        /// The device among the targets.
        DeviceTarget => "target UDDevice",
        /// Both of them.
        DeviceAndTarget => "device and target UDDevice",
        /// The device's system.
        DevicePlatform => "device.os_platform",
        /// The device's system, of a target.
        TargetPlatform => "osPlatform of a target",
        /// Okta's reading of the user agent.
        AgentSystem => "client.userAgent.os",
        /// The user agent as sent.
        AgentText => "client.userAgent.rawUserAgent",
        /// The network zone.
        Zone => "client.zone",
        /// The request's risk.
        SecurityContextRisk => "securityContext.risk.level",
        /// The same, as text.
        DebugRisk => "debugData.risk",
        /// The same, as JSON.
        LogOnlySecurityData => "debugData.logOnlySecurityData",
        /// What changed.
        ChangedTarget => "the target that changed",
    }
}

/// What one reading rests on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ground<'t> {
    /// Where in the event.
    pub source: Source,
    /// The word of the tables that stood there, where a table decided.
    pub listed: Option<&'t str>,
}

impl<'t> Ground<'t> {
    /// There was nothing to read.
    pub(super) const NOTHING: Self = Self { source: Source::Nothing, listed: None };

    /// A listed word at a place.
    pub(super) const fn word(source: Source, listed: &'t str) -> Self {
        Self { source, listed: Some(listed) }
    }

    /// The place, where there was something to read.
    pub(super) const fn of(is_there: bool, source: Source) -> Self {
        if is_there { Self { source, listed: None } } else { Self::NOTHING }
    }
}

impl From<Source> for Ground<'_> {
    fn from(source: Source) -> Self {
        Self { source, listed: None }
    }
}

impl fmt::Display for Ground<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.listed {
            Some(word) => write!(f, "{} = {word}", self.source),
            None => write!(f, "{}", self.source),
        }
    }
}

/// What each reading of one event rests on; the members are named as those of [`AuthEvent`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Evidence<'t> {
    pub(super) published: Ground<'t>,
    pub(super) kind: Ground<'t>,
    pub(super) credential: Ground<'t>,
    pub(super) phishing_resistant: Ground<'t>,
    pub(super) outcome: Ground<'t>,
    pub(super) reason: Ground<'t>,
    pub(super) person: Ground<'t>,
    pub(super) flow: Ground<'t>,
    pub(super) app: Ground<'t>,
    pub(super) rule: Ground<'t>,
    pub(super) platform: Ground<'t>,
    pub(super) device: Ground<'t>,
    pub(super) zone: Ground<'t>,
    pub(super) risk: Ground<'t>,
    pub(super) change: Ground<'t>,
}

impl<'t> Evidence<'t> {
    /// The readings in the order of [`AuthEvent`], by name.
    pub fn all(&self) -> [(&'static str, Ground<'t>); 15] {
        [
            ("published", self.published),
            ("kind", self.kind),
            ("credential", self.credential),
            ("phishing_resistant", self.phishing_resistant),
            ("outcome", self.outcome),
            ("reason", self.reason),
            ("person", self.person),
            ("flow", self.flow),
            ("app", self.app),
            ("rule", self.rule),
            ("platform", self.platform),
            ("device", self.device),
            ("zone", self.zone),
            ("risk", self.risk),
            ("change", self.change),
        ]
    }

    /// The readings that rest on something, by name.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, Ground<'t>)> {
        self.all().into_iter().filter(|(_, ground)| ground.source != Source::Nothing)
    }
}

/// One record's event with all that a person may want to know of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explained<'t> {
    /// The event.
    pub event: AuthEvent,
    /// What its readings rest on.
    pub evidence: Evidence<'t>,
    /// Where the request came from, past the proxies; in no event, and for the eyes of the person who asked.
    pub address: Option<IpAddr>,
}
