//! What a change event changed.
//!
//! Source: the fact sheet's section 5.1 (change events) and the details that Okta's catalog lists for them. Details are
//! kept of policies and device assurance only: those of people, apps and providers can hold what nobody here may keep.

use smol_str::SmolStr;

use super::evidence::{Ground, Source};
use super::subject::{CLASSIC_POLICY, is_person, is_rule};
use super::{kept, subject};
use crate::decode::okta::{ChangeDetails, LogEvent, Target};
use crate::event::{Change, Kind, Person};

const GROUP: &str = "UserGroup";

/// Part of the types of events that change one rule of a policy.
const OF_RULE: &str = ".rule.";

/// Bytes kept of what holds from now on; longer ones are dropped, since a part of JSON says nothing.
const TO_BYTES: usize = 16 << 10;

/// What changed: the rule of a rule's change, the group of a membership's, else the first target that is no person; else
/// the person, without the name.
pub(super) fn read(kind: Kind, event_type: &str, event: &LogEvent<'_>) -> (Option<Box<Change>>, Ground<'static>) {
    let Some(details) = details(kind) else { return (None, Ground::NOTHING) };
    let Some(target) = target(kind, event_type, event) else { return (None, Ground::NOTHING) };
    let name = target.display_name.named().filter(|_| !is_person(target));
    let change = Change {
        target_type: kept(target.kind.named().unwrap_or_default()),
        target_id: kept(target.id.named().unwrap_or_default()),
        target_name: kept(name.unwrap_or_default()),
        policy: policy(target, event).map(kept),
        person: if kind == Kind::MembershipChange { member(event) } else { None },
        to: if details { to(target) } else { None },
    };
    (Some(Box::new(change)), Ground::from(Source::ChangedTarget))
}

fn target<'e, 'a>(kind: Kind, event_type: &str, event: &'e LogEvent<'a>) -> Option<&'e Target<'a>> {
    let chosen = if event_type.contains(OF_RULE) {
        event.target.iter().find(|target| is_rule(target))
    } else if kind == Kind::MembershipChange {
        event.first_target(GROUP)
    } else {
        None
    };
    let thing = || event.target.iter().find(|target| !is_person(target));
    chosen.or_else(thing).or(event.target.first())
}

/// The policy that a rule belongs to: the rule says so, or the policy stands beside it.
fn policy<'e>(target: &'e Target<'_>, event: &'e LogEvent<'_>) -> Option<&'e str> {
    let beside = || event.first_target(CLASSIC_POLICY).filter(|_| is_rule(target))?.id.named();
    target.detail.policy_id.named().or_else(beside)
}

fn member(event: &LogEvent<'_>) -> Option<Person> {
    event.first_target(subject::USER)?.id.named().map(|id| Person::new(kept(id)))
}

fn to(target: &Target<'_>) -> Option<SmolStr> {
    let details = target.change_details.json()?;
    let to = ChangeDetails::read(&details).to.json()?;
    if !to.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let compact = compact(&to);
    (compact.len() <= TO_BYTES).then(|| SmolStr::new(compact))
}

/// JSON without the space between its parts; numbers and order stay as written.
fn compact(json: &str) -> String {
    let (mut in_text, mut escaped) = (false, false);
    let keep = |letter: &char| {
        let is_space = !in_text && letter.is_ascii_whitespace();
        in_text = match letter {
            '"' if !escaped => !in_text,
            _ => in_text,
        };
        escaped = in_text && *letter == '\\' && !escaped;
        !is_space
    };
    json.chars().filter(keep).collect()
}

/// Whether events of a kind change something, and if so, whether its details are kept.
fn details(kind: Kind) -> Option<bool> {
    match kind {
        Kind::PolicyChange | Kind::AssuranceChange => Some(true),
        Kind::AuthenticatorChange | Kind::IntegrationChange | Kind::MembershipChange | Kind::AdminChange => Some(false),
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
        | Kind::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_json_loses_space_between_parts_and_nothing_within_texts() {
        for (json, expect) in [
            ("{ \"a\" : [ 1 , 2.50 ] ,\n\t\"b\": null }", r#"{"a":[1,2.50],"b":null}"#),
            (r#"{ "a b": "c \" d" , "e": "\\" , "f" : "g h" }"#, r#"{"a b":"c \" d","e":"\\","f":"g h"}"#),
            ("[]", "[]"),
            ("[ \"é  \" ]", "[\"é  \"]"),
        ] {
            assert_eq!(compact(json), expect, "{json}");
        }
    }
}
