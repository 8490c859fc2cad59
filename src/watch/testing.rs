//! Events for the core's tests, built by hand.

use smol_str::SmolStr;

use crate::event::{
    App, AuthEvent, Context, Credential, EventId, Flow, Kind, Org, Outcome, Part, Person, Platform, PolicyRule, Reason,
    Timestamp,
};

/// An event that is part of no sign-in.
pub(super) fn event(uuid: &str, published: i64) -> AuthEvent {
    let (org, published, event_type) = (Org::new("acme"), Some(Timestamp(published)), "system.test");
    AuthEvent {
        id: EventId::from_uuid(&org, uuid, published, event_type),
        org,
        uuid: SmolStr::new(uuid),
        published,
        event_type: SmolStr::new(event_type),
        kind: Kind::Other,
        part: Part::SignIn,
        credential: Credential::None,
        phishing_resistant: None,
        outcome: Outcome::Success,
        okta_outcome: SmolStr::new("SUCCESS"),
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

/// The same record without a time.
pub(super) fn undated(mut event: AuthEvent) -> AuthEvent {
    event.id = EventId::from_uuid(&event.org, &event.uuid, None, &event.event_type);
    event.published = None;
    event
}

/// The end of a flow of `person`: a completed sign-in, or a refusal by the app's policy.
pub(super) fn sign_in(person: u32, published: i64, refused: bool) -> AuthEvent {
    let mut event = event(&format!("{person}-{published}-{refused}"), published);
    event.person = Some(Person::new(format!("00u{person}")));
    event.flow = Some(Flow::new(format!("flow-{person}-{published}")));
    event.app = Some(App { id: "0oasales".into(), name: "Salesforce".into() });
    event.platform = if person.is_multiple_of(2) { Platform::Macos } else { Platform::Windows };
    if refused {
        event.event_type = "policy.evaluate_sign_on".into();
        event.kind = Kind::PolicyEvaluation;
        event.outcome = Outcome::Deny;
        event.reason = Reason::PolicyDenied;
        event.rule =
            Some(PolicyRule { id: "rul1".into(), name: "Catch-all Rule".into(), policy: None, policy_name: None });
    } else {
        event.event_type = "user.authentication.verify".into();
        event.kind = Kind::Verification;
        event.credential = Credential::Fastpass;
    }
    event
}
