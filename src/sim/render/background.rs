//! What a log holds besides sign-ins: token grants, sessions that end, group moves, devices, and administrators at
//! their ordinary work, among it changes of rules that refuse nobody.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson};
use serde_json::{Value, json};

use super::Event;
use super::change::change_event;
use crate::event::{Span, Timestamp};
use crate::sim::chance;
use crate::sim::org::{OFFICES, Org};
use crate::sim::policies::{Rule, policy_name};
use crate::sim::rhythm;

/// One kind of background: how often in a week (for 3,500 seats), and what it writes.
struct Habit {
    event_type: &'static str,
    message: &'static str,
    a_week: f64,
    /// Whether machines do it round the clock.
    machine: bool,
}

const HABITS: [Habit; 12] = [
    habit("app.oauth2.token.grant.access_token", "OAuth2 access token is granted", 8_000.0, true),
    habit("user.session.end", "User logout from Okta", 9_000.0, false),
    habit("group.user_membership.add", "Add user to group membership", 240.0, false),
    habit("group.user_membership.remove", "Remove user from group membership", 160.0, false),
    habit("device.enrollment.create", "Enroll new device", 90.0, false),
    habit("device.user.add", "Add device to user", 90.0, false),
    habit("user.mfa.factor.activate", "Enroll a factor for the user", 120.0, false),
    habit("application.lifecycle.update", "Update application", 8.0, false),
    habit("zone.update", "Update a network zone", 2.0, false),
    habit("policy.rule.update", "Update policy rule", 5.0, false),
    habit("user.account.privilege.grant", "Grant user privilege", 1.0, false),
    habit("system.api_token.create", "Create API token", 0.5, false),
];

const fn habit(event_type: &'static str, message: &'static str, a_week: f64, machine: bool) -> Habit {
    Habit { event_type, message, a_week, machine }
}

/// The background of the hour that starts at `hour`, in order of `published`.
pub(crate) fn hour(org: &Org, hour: Timestamp) -> Vec<Event> {
    let index = hour.index(Span::hours(1)) as u64;
    let mut rng = chance::rng(org.seed, "background", index);
    let scale = org.people.len() as f64 / 3_500.0;
    let offices = OFFICES.iter().zip(0..).map(|(office, n)| office.share * rhythm::share_of_week(org.seed, n, hour));
    let busy: f64 = offices.sum();
    let mut events = Vec::new();
    for (number, habit) in (0_u64..).zip(&HABITS) {
        let mean = habit.a_week * scale * if habit.machine { 1.0 / 168.0 } else { busy };
        let count = Poisson::new(mean).map_or(0.0, |poisson| poisson.sample(&mut rng)) as u64;
        for n in 0..count {
            let at = hour + Span(rng.random_range(0..Span::hours(1).0));
            let id = chance::hash128(org.seed, habit.event_type, index, number << 32 | n);
            let json = event(org, &mut rng, habit, at, id).to_string();
            events.push(Event { published: at, event_type: habit.event_type, may_be_late: habit.a_week > 50.0, json });
        }
    }
    events.sort_by_key(|event| event.published);
    events
}

fn event(org: &Org, rng: &mut ChaCha8Rng, habit: &Habit, at: Timestamp, id: u128) -> Value {
    let person = &org.people[rng.random_range(0..org.people.len())];
    let user = json!({"id": person.id, "type": "User", "alternateId": person.login, "displayName": person.name,
                      "detailEntry": null});
    let transaction = chance::token(rng, 26);
    let target = target(org, rng, habit, person.devices.first().map_or(0, |device| *device as usize), &user);
    let mut event = change_event(org, &chance::uuid(id), at, habit.event_type, habit.message, &transaction, target);
    match habit.event_type {
        "user.session.end" | "device.user.add" | "device.enrollment.create" | "user.mfa.factor.activate" => {
            event["actor"] = user;
        }
        "group.user_membership.add" | "group.user_membership.remove" => {
            if let Some(targets) = event["target"].as_array_mut() {
                targets.insert(0, user);
            }
        }
        _ => {}
    }
    event
}

fn target(org: &Org, rng: &mut ChaCha8Rng, habit: &Habit, device: usize, user: &Value) -> Value {
    let app = rng.random_range(0..org.apps.len());
    let named = |id: &str, kind: &str, name: &str| json!({"id": id, "type": kind, "alternateId": "unknown", "displayName": name, "detailEntry": null});
    match habit.event_type {
        "device.enrollment.create" | "device.user.add" => {
            let device = &org.devices[device];
            let mut target = named(&device.id, "UDDevice", device.name);
            target["detailEntry"] = json!({
                "deviceStatus": "CREATED", "managed": device.managed.to_string(), "oktaDeviceId": device.id,
                "osPlatform": device.platform.policy_word(), "osVersion": device.os_version.to_string(),
                "serialNumber": device.serial, "tpmPresent": "false"});
            target
        }
        "group.user_membership.add" | "group.user_membership.remove" => {
            let id = format!("00g{}", &org.apps[app].id[3..]);
            named(&id, "UserGroup", &format!("{} users", org.apps[app].name))
        }
        "application.lifecycle.update" => named(&org.apps[app].id, "AppInstance", org.apps[app].name),
        "zone.update" => named(&org.policy_ids.zone, "NetworkZone", "Blocked networks"),
        "policy.rule.update" => {
            let rule = if org.apps[app].gated { Rule::StaffDesktop } else { Rule::CatchAll };
            let mut target = named(&org.policy_ids.rules[app][rule.priority()], "PolicyRule", rule.name());
            target["detailEntry"] = json!({"policyType": "Access_Policy", "policyId": org.policy_ids.policies[app],
                                           "policyName": policy_name(&org.apps[app])});
            target["changeDetails"] = json!({"from": {"description": "v1"}, "to": {"description": "v2"}});
            target
        }
        "app.oauth2.token.grant.access_token" => named(&org.apps[app].id, "access_token", "Access Token"),
        _ => user.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_background_is_ordered_and_the_same_each_time() {
        let org = Org::new(1, 3_500);
        let at = Timestamp::parse("2026-03-02T14:00:00.000Z").expect("a time");
        let events = hour(&org, at);
        assert_eq!(events, hour(&org, at));
        assert!(events.len() > 100, "{}", events.len());
        assert!(events.is_sorted_by_key(|event| event.published));
        assert!(events.iter().all(|event| event.published.floor(Span::hours(1)) == at));
    }
}
