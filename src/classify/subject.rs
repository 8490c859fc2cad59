//! Who, in which flow, to which app, by which rule, and what changed.

use super::kept;
use crate::decode::okta::{LogEvent, Target};
use crate::event::{App, Change, Flow, Kind, Person, PolicyRule};

const USER: &str = "User";
const APP_USER: &str = "AppUser";
const APP: &str = "AppInstance";
const RULE: &str = "Rule";
const CLASSIC_RULE: &str = "PolicyRule";
const CLASSIC_POLICY: &str = "PolicyEntity";

/// Rules of an app's policy; `0pr…` belongs to the global session policy.
const APP_RULE_ID: &str = "rul";

/// The person: the actor's id where a user acted, else the User target's. Never `alternateId`, which can hold a password.
pub(super) fn person(event: &LogEvent<'_>) -> Option<Person> {
    let actor = &event.actor;
    let id = if actor.kind.get().is_some_and(|kind| kind.eq_ignore_ascii_case(USER)) {
        actor.id.named()
    } else {
        event.first_target(USER)?.id.named()
    };
    id.map(|id| Person::new(kept(id)))
}

/// The flow: `authnRequestId`, else the transaction.
pub(super) fn flow(event: &LogEvent<'_>) -> Option<Flow> {
    let id = event.debug_context.debug_data.authn_request_id.named().or(event.transaction.id.named());
    id.map(|id| Flow::new(kept(id)))
}

/// The first app among the targets.
pub(super) fn app(event: &LogEvent<'_>) -> Option<App> {
    let target = event.first_target(APP)?;
    let (id, name) = (target.id.named(), target.display_name.named());
    if id.is_none() && name.is_none() {
        return None;
    }
    Some(App { id: kept(id.unwrap_or_default()), name: kept(name.unwrap_or_default()) })
}

/// The rule: an app policy's before a global one, the first of each.
pub(super) fn rule(event: &LogEvent<'_>) -> Option<PolicyRule> {
    let mut rules = event.target.iter().filter(|target| target.is(RULE) || target.is(CLASSIC_RULE));
    let first = rules.next()?;
    let rule = if is_app_rule(first) { first } else { rules.find(|rule| is_app_rule(rule)).unwrap_or(first) };
    let (id, name) = (rule.id.named(), rule.display_name.named());
    if id.is_none() && name.is_none() {
        return None;
    }
    let policy = rule.detail.policy_id.named().or_else(|| event.first_target(CLASSIC_POLICY)?.id.named());
    Some(PolicyRule {
        id: kept(id.unwrap_or_default()),
        name: kept(name.unwrap_or_default()),
        policy: policy.map(kept),
        policy_name: rule.detail.policy_name.named().map(kept),
    })
}

fn is_app_rule(target: &Target<'_>) -> bool {
    target.detail.policy_id.named().is_some() || target.id.named().is_some_and(|id| id.starts_with(APP_RULE_ID))
}

/// What a change event changed: the first target that is no person, else the person without the name.
pub(super) fn change(kind: Kind, event: &LogEvent<'_>) -> Option<Box<Change>> {
    if !is_change(kind) {
        return None;
    }
    let thing = event.target.iter().find(|target| !is_person(target));
    let target = thing.or(event.target.first())?;
    let name = target.display_name.named().filter(|_| !is_person(target));
    Some(Box::new(Change {
        target_type: kept(target.kind.named().unwrap_or_default()),
        target_id: kept(target.id.named().unwrap_or_default()),
        target_name: kept(name.unwrap_or_default()),
        policy: target.detail.policy_id.named().map(kept),
        person: None,
        to: None,
    }))
}

fn is_person(target: &Target<'_>) -> bool {
    target.is(USER) || target.is(APP_USER)
}

fn is_change(kind: Kind) -> bool {
    match kind {
        Kind::PolicyChange
        | Kind::AssuranceChange
        | Kind::AuthenticatorChange
        | Kind::IntegrationChange
        | Kind::MembershipChange
        | Kind::AdminChange => true,
        Kind::PolicyEvaluation
        | Kind::Authentication
        | Kind::Verification
        | Kind::Session
        | Kind::Sso
        | Kind::AccessDenied
        | Kind::Enrollment
        | Kind::Device
        | Kind::Threat
        | Kind::RateLimit
        | Kind::Delivery
        | Kind::Other => false,
    }
}
