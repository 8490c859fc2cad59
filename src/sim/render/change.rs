//! The events that a push and its rollback write: one per assurance policy or rule that an apply touches, all at the
//! push's instant, so that nobody is refused before the change that refuses.

use serde_json::{Value, json};

use super::Event;
use crate::event::Timestamp;
use crate::sim::fleet::Version;
use crate::sim::org::{App, Org};
use crate::sim::policies::{Rule, Tier, assurance_name, policy_name};
use crate::sim::push::{Change, Push};
use crate::sim::{chance, truth};

/// One thing that an apply touches.
enum Touched<'a> {
    Assurance(Tier, Version),
    Rule(&'a App, usize, Rule),
}

fn touched<'a>(org: &'a Org, change: &Change) -> Vec<Touched<'a>> {
    match change {
        Change::Floor { tiers, floors } => {
            tiers.iter().flat_map(|tier| floors.iter().map(|floor| Touched::Assurance(*tier, *floor))).collect()
        }
        Change::RequireManaged { app } => [Rule::StaffDesktop, Rule::StaffOther, Rule::PilotDesktop, Rule::PilotOther]
            .map(|rule| Touched::Rule(&org.apps[usize::from(*app)], usize::from(*app), rule))
            .into(),
    }
}

fn uuid(org: &Org, number: usize, part: usize, rollback: bool) -> String {
    let domain = if rollback { "rollback" } else { "push" };
    chance::uuid(chance::hash128(org.seed, domain, number as u64, part as u64))
}

/// What push number `number` touches, for the truth: the first is the one that scripts look for.
pub(crate) fn change_ids(org: &Org, number: usize, push: &Push) -> Vec<truth::Touched> {
    let things = touched(org, &push.change);
    things
        .iter()
        .enumerate()
        .map(|(part, thing)| {
            let (event_type, policy, rule, platform) = match thing {
                Touched::Assurance(tier, floor) => {
                    let platform = floor.platform();
                    ("device.assurance.policy.update", assurance_name(*tier, platform), None, Some(platform.as_str()))
                }
                Touched::Rule(app, _, rule) => ("policy.rule.update", policy_name(app), Some(rule.name()), None),
            };
            truth::Touched { uuid: uuid(org, number, part, false), event_type, policy, rule, platform }
        })
        .collect()
}

/// The change events of a push, or of its rollback.
pub(crate) fn push(org: &Org, number: usize, push: &Push, rollback: bool) -> Vec<Event> {
    let Some(at) = (if rollback { push.rollback_at } else { Some(push.at) }) else { return Vec::new() };
    let transaction = format!("{:026x}", chance::hash128(org.seed, "apply", number as u64, u64::from(rollback)));
    let things = touched(org, &push.change);
    (0..)
        .zip(&things)
        .map(|(part, thing)| {
            let id = uuid(org, number, part, rollback);
            let (event_type, message, target) = describe(org, thing, rollback);
            let json = change_event(org, &id, at, event_type, message, &transaction, target).to_string();
            Event { published: at, event_type, may_be_late: false, json }
        })
        .collect()
}

fn describe(org: &Org, thing: &Touched<'_>, rollback: bool) -> (&'static str, &'static str, Value) {
    let (old, new, event_type, message, mut target) = match thing {
        Touched::Assurance(tier, floor) => {
            let platform = floor.platform();
            let name = assurance_name(*tier, platform);
            let minimum = |version: Version| json!({"osVersion": {"minimum": version.to_string()}});
            let target = json!({"id": org.policy_ids.assurances[&(*tier, platform)], "type": "DeviceAssurancePolicy",
                "alternateId": name, "displayName": name,
                "detailEntry": {"policyName": name, "policyPlatform": platform.policy_word()}});
            let (old, new) = (minimum(platform.base_floor()), minimum(*floor));
            (old, new, "device.assurance.policy.update", "Update device assurance policy", target)
        }
        Touched::Rule(app, index, rule) => {
            let ids = &org.policy_ids;
            let target = json!({"id": ids.rules[*index][rule.priority()], "type": "PolicyRule",
                "alternateId": "unknown", "displayName": rule.name(),
                "detailEntry": {"policyType": "Access_Policy", "policyId": ids.policies[*index],
                                "policyName": policy_name(app), "policyRulePriority": rule.priority().to_string()}});
            let device = |managed: Value| json!({"conditions": {"device": {"registered": true, "managed": managed}}});
            let (old, new) = (device(Value::Null), device(json!(true)));
            (old, new, "policy.rule.update", "Update policy rule", target)
        }
    };
    let (from, to) = if rollback { (new, old) } else { (old, new) };
    target["changeDetails"] = json!({"from": from, "to": to});
    (event_type, message, target)
}

/// An administrative event by the service app that applies policies as code.
pub(super) fn change_event(
    org: &Org,
    uuid: &str,
    published: Timestamp,
    event_type: &str,
    message: &str,
    transaction: &str,
    target: Value,
) -> Value {
    let actor = &org.groups["pilot"];
    let details = target["changeDetails"].clone();
    json!({
        "uuid": uuid, "published": published.to_string(), "eventType": event_type, "version": "0", "severity": "INFO",
        "legacyEventType": null, "displayMessage": message,
        "actor": {"id": format!("0oa{}", &actor[3..]), "type": "PublicClientApp",
                  "alternateId": format!("0oa{}", &actor[3..]), "displayName": "policies as code", "detailEntry": null},
        "client": {"userAgent": {"rawUserAgent": "okta-terraform/4.11.1 okta-sdk-golang/5.0.2", "os": "Linux",
                                 "browser": "UNKNOWN"},
                   "zone": "null", "device": "Unknown", "id": null, "ipAddress": "192.0.2.10",
                   "geographicalContext": null},
        "device": null, "outcome": {"result": "SUCCESS", "reason": null}, "target": [target],
        "transaction": {"type": "WEB", "id": transaction, "detail": {}},
        "debugContext": {"debugData": {"requestId": transaction, "requestUri": "/api/v1/policies",
                                       "url": "/api/v1/policies?", "threatSuspected": "false",
                                       "changes": details.to_string()}},
        "authenticationContext": {"authenticationProvider": null, "credentialProvider": null, "credentialType": null,
                                  "issuer": null, "interface": null, "authenticationStep": 0,
                                  "externalSessionId": format!("trs{}", &transaction[..17])},
        "securityContext": {"asNumber": 64_500, "asOrg": "example networks", "isp": "example networks",
                            "domain": "example.net", "isProxy": false},
        "request": {"ipChain": [{"ip": "192.0.2.10", "geographicalContext": null, "version": "V4", "source": null}]},
    })
}
