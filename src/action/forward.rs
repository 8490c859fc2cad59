//! What is handed on to a SIEM: which events and incident steps, under which id, with what beside them.
//!
//! A sink asks for [`Topics`]; an event has some of its own, read off its meaning and never off the sink. The id is the
//! same whenever the same event is met again, so that a receiver can drop repeats.

use serde::{Deserialize, Deserializer, Serialize};
use smol_str::{SmolStr, format_smolstr};
use thiserror::Error;

use super::IncidentAction;
use crate::event::{AuthEvent, EventId, Kind, Org, Outcome, Posture, Reason, SourceName, Timestamp};

/// An event that the core took for a distinct one: the only kind that is handed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// Another event had its `uuid`, with another time or type.
    pub shares_uuid: bool,
}

impl Accepted {
    /// The stable id of the event: the org and the `uuid`, or a hash of the content where it has none. Where two events
    /// share a `uuid`, what tells them apart follows.
    pub fn id(self, event: &AuthEvent) -> SmolStr {
        let (org, EventId(hash)) = (&event.org, event.id);
        match (event.uuid.as_str(), self.shares_uuid) {
            ("", _) => format_smolstr!("{org}:{hash:032x}"),
            (uuid, false) => format_smolstr!("{org}:{uuid}"),
            (uuid, true) => format_smolstr!("{org}:{uuid}:{hash:032x}"),
        }
    }
}

/// One thing to forward, as the queue holds it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Forwarded {
    /// Stable: the same thing has the same id however often it is sent.
    pub id: SmolStr,
    /// The org.
    pub org: Org,
    /// Where the event came from; for a finding, the word `authwatch`.
    pub source: SourceName,
    /// When we had it, host clock.
    pub received: Timestamp,
    /// What it is.
    pub what: What,
}

/// What is forwarded.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum What {
    /// An event of the log.
    Event {
        /// As we read it.
        event: Box<AuthEvent>,
        /// What the policies in force made of it when it came, from its own device signals; `None` where it is no
        /// refusal by a policy, or says nothing of a device.
        posture: Option<Posture>,
        /// The record as it came, JSON; `None` where it was larger than the bound.
        raw: Option<Box<str>>,
    },
    /// A step of an incident.
    Finding(Box<IncidentAction>),
}

impl Forwarded {
    /// A step of an incident.
    pub fn finding(action: &IncidentAction, received: Timestamp) -> Self {
        let incident = &action.incident;
        Self {
            id: format_smolstr!("{}:{}:{}", incident.org, incident.key, action.revision),
            org: incident.org.clone(),
            source: SourceName::new("authwatch"),
            received,
            what: What::Finding(Box::new(action.clone())),
        }
    }

    /// When it happened, by the log; `None` where the record does not say.
    pub fn published(&self) -> Option<Timestamp> {
        match &self.what {
            What::Event { event, .. } => event.published,
            What::Finding(action) => Some(action.at),
        }
    }
}

/// A set of topics: what a sink asks for, or what an event is about. Beside the words below, every [`Kind`] is a topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Topics(u32);

/// The words that are no kind of event.
const WORDS: [(&str, Topics); 4] = [
    ("denies", Topics::DENIES),
    ("policy_changes", Topics::POLICY_CHANGES),
    ("detections", Topics::DETECTIONS),
    ("all", Topics::ALL),
];

/// Factors taken from a person: what a SIEM's rules look for beside the changes of policies.
const FACTOR_CHANGES: [&str; 2] = ["user.mfa.factor.deactivate", "user.mfa.factor.reset_all"];

impl Topics {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Refusals: either reading says deny, or FastPass declined a phishing attempt.
    pub const DENIES: Self = Self(1 << 31);
    /// Changes of policies, device assurance, authenticators, integrations and administrators' rights, and factors that
    /// were taken away.
    pub const POLICY_CHANGES: Self = Self(1 << 30);
    /// Steps of incidents.
    pub const DETECTIONS: Self = Self(1 << 29);
    /// Everything.
    pub const ALL: Self = Self(u32::MAX);

    /// What an event is about.
    pub fn of(event: &AuthEvent) -> Self {
        let mut topics = Self::of_kind(event.kind);
        let is_denied = event.outcome == Outcome::Deny || event.okta_outcome.eq_ignore_ascii_case("DENY");
        if is_denied || event.reason == Reason::PhishingDeclined {
            topics = topics.or(Self::DENIES);
        }
        let is_change = matches!(
            event.kind,
            Kind::PolicyChange
                | Kind::AssuranceChange
                | Kind::AuthenticatorChange
                | Kind::IntegrationChange
                | Kind::AdminChange
        );
        if is_change || FACTOR_CHANGES.contains(&event.event_type.as_str()) {
            topics = topics.or(Self::POLICY_CHANGES);
        }
        topics
    }

    const fn of_kind(kind: Kind) -> Self {
        Self(1 << kind as u32)
    }

    /// Whether the two have a topic in common.
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// All that any of them has.
    pub fn any(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().fold(Self::NONE, Self::or)
    }

    /// As a number, to be stored.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// From [`Topics::bits`].
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    fn word(word: &str) -> Option<Self> {
        let known = WORDS.iter().find(|(known, _)| *known == word).map(|(_, topics)| *topics);
        known.or_else(|| Kind::ALL.iter().find(|kind| kind.as_str() == word).map(|kind| Self::of_kind(*kind)))
    }

    /// The topics that a list of words names.
    ///
    /// # Errors
    /// Where a word is none, or there is none.
    pub fn of_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownTopic> {
        let mut topics = Self::NONE;
        for word in words {
            topics = topics.or(Self::word(word).ok_or_else(|| UnknownTopic(word.to_owned()))?);
        }
        if topics == Self::NONE { Err(UnknownTopic(String::new())) } else { Ok(topics) }
    }
}

impl<'de> Deserialize<'de> for Topics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = Vec::<String>::deserialize(deserializer)?;
        Self::of_words(words.iter().map(String::as_str)).map_err(serde::de::Error::custom)
    }
}

/// A word that names nothing to forward.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error(
    "`{0}` is nothing to forward (name at least one of `denies`, `policy_changes`, `detections`, `all`, or a kind of event \
     such as `threat`)"
)]
pub struct UnknownTopic(String);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Context, Credential, Part, Platform};

    fn event(kind: Kind, outcome: Outcome) -> AuthEvent {
        AuthEvent {
            org: Org::new("acme"),
            id: EventId(0xab),
            uuid: "u-1".into(),
            published: None,
            event_type: "a.b".into(),
            kind,
            part: Part::Aside,
            credential: Credential::None,
            phishing_resistant: None,
            outcome,
            okta_outcome: "SUCCESS".into(),
            reason: Reason::None,
            person: None,
            flow: None,
            app: None,
            rule: None,
            platform: Platform::Unknown,
            device: None,
            context: Context::default(),
            change: None,
        }
    }

    #[track_caller]
    fn check(words: &[&str], event: &AuthEvent, expect: bool) {
        let wanted = Topics::of_words(words.iter().copied()).expect("topics");
        assert_eq!(wanted.meets(Topics::of(event)), expect, "{words:?}: {event:?}");
    }

    #[test]
    fn either_readings_deny_is_one_and_so_is_a_declined_phish() {
        let sign_in = |outcome| event(Kind::PolicyEvaluation, outcome);
        check(&["denies"], &sign_in(Outcome::Deny), true);
        check(&["denies"], &AuthEvent { okta_outcome: "deny".into(), ..sign_in(Outcome::Failure) }, true);
        check(&["denies"], &AuthEvent { reason: Reason::PhishingDeclined, ..sign_in(Outcome::Failure) }, true);
        check(&["denies"], &sign_in(Outcome::Failure), false);
        check(&["policy_changes"], &sign_in(Outcome::Deny), false);
        check(&["all"], &sign_in(Outcome::Success), true);
        check(&["detections"], &sign_in(Outcome::Deny), false);
    }

    #[test]
    fn every_change_of_what_holds_is_one_and_a_membership_is_none() {
        for kind in Kind::ALL {
            let expect = kind.as_str().ends_with("_change") && *kind != Kind::MembershipChange;
            check(&["policy_changes"], &event(*kind, Outcome::Success), expect);
            check(&[kind.as_str()], &event(*kind, Outcome::Success), true);
            assert!((*kind as u32) < 29, "a kind takes the bit of a word");
        }
        let reset = event(Kind::Enrollment, Outcome::Success);
        check(&["policy_changes"], &AuthEvent { event_type: FACTOR_CHANGES[1].into(), ..reset.clone() }, true);
        check(&["denies", "threat"], &reset, false);
    }

    #[test]
    fn a_list_is_checked_word_by_word() {
        for (list, word) in [(r#"["denies","denys"]"#, "`denys` is nothing"), ("[]", "`` is nothing")] {
            let error = serde_json::from_str::<Topics>(list).expect_err(list).to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn the_id_names_the_org_and_tells_apart_what_shares_a_uuid() {
        let [alone, shares] = [false, true].map(|shares_uuid| Accepted { shares_uuid });
        let event = event(Kind::Other, Outcome::Success);
        assert_eq!(alone.id(&event), "acme:u-1");
        assert_eq!(shares.id(&event), "acme:u-1:000000000000000000000000000000ab");
        assert_eq!(alone.id(&AuthEvent { uuid: "".into(), ..event }), "acme:000000000000000000000000000000ab");
    }
}
