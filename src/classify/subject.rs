//! Who, in which flow, to which app and by which rule.

use super::evidence::{Ground, Source};
use super::kept;
use crate::decode::okta::{LogEvent, Target};
use crate::event::{App, Flow, Person, PolicyRule};

pub(super) const USER: &str = "User";
pub(super) const CLASSIC_POLICY: &str = "PolicyEntity";
const APP_USER: &str = "AppUser";
const APP: &str = "AppInstance";
const RULE: &str = "Rule";
const CLASSIC_RULE: &str = "PolicyRule";

/// Rules of an app's policy; `0pr…` belongs to the global session policy.
const APP_RULE_ID: &str = "rul";

/// The person: the actor's id where a user acted, else the User target's. Never `alternateId`, which can hold a password.
pub(super) fn person(event: &LogEvent<'_>) -> (Option<Person>, Ground<'static>) {
    let actor = &event.actor;
    let (id, source) = if actor.kind.get().is_some_and(|kind| kind.eq_ignore_ascii_case(USER)) {
        (actor.id.named(), Source::Actor)
    } else {
        (event.first_target(USER).and_then(|target| target.id.named()), Source::UserTarget)
    };
    (id.map(|id| Person::new(kept(id))), Ground::of(id.is_some(), source))
}

/// The flow: `authnRequestId`, else the transaction.
pub(super) fn flow(event: &LogEvent<'_>) -> (Option<Flow>, Ground<'static>) {
    let request = event.debug_context.debug_data.authn_request_id.named();
    let found = request.map(|id| (id, Source::AuthnRequest));
    match found.or_else(|| Some((event.transaction.id.named()?, Source::Transaction))) {
        Some((id, source)) => (Some(Flow::new(kept(id))), source.into()),
        None => (None, Ground::NOTHING),
    }
}

/// The first app among the targets.
pub(super) fn app(event: &LogEvent<'_>) -> (Option<App>, Ground<'static>) {
    let app = event.first_target(APP).and_then(|target| {
        let (id, name) = (target.id.named(), target.display_name.named());
        let is_named = id.is_some() || name.is_some();
        is_named.then(|| App { id: kept(id.unwrap_or_default()), name: kept(name.unwrap_or_default()) })
    });
    let ground = Ground::of(app.is_some(), Source::AppTarget);
    (app, ground)
}

/// The rule: an app policy's before a global one, the first of each.
pub(super) fn rule(event: &LogEvent<'_>) -> (Option<PolicyRule>, Ground<'static>) {
    let rule = chosen_rule(event);
    let ground = Ground::of(rule.is_some(), Source::RuleTarget);
    (rule, ground)
}

fn chosen_rule(event: &LogEvent<'_>) -> Option<PolicyRule> {
    let mut rules = event.target.iter().filter(|target| is_rule(target));
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

/// Whether a target is a rule of a policy.
pub(super) fn is_rule(target: &Target<'_>) -> bool {
    target.is(RULE) || target.is(CLASSIC_RULE)
}

fn is_app_rule(target: &Target<'_>) -> bool {
    target.detail.policy_id.named().is_some() || target.id.named().is_some_and(|id| id.starts_with(APP_RULE_ID))
}

/// Whether a target is a person, or a person's account in an app.
pub(super) fn is_person(target: &Target<'_>) -> bool {
    target.is(USER) || target.is(APP_USER)
}
