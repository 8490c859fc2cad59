//! Flows, pushes and background as Okta System Log events: the exact JSON that `GET /api/v1/logs` would send.
//!
//! Shapes follow the fact sheet's sections 4 to 6 and real public events. An event is 2 to 3.5 kB
//! with realistic `debugData`. Ids are derived from the flow's number, so rendering is a pure function.

mod background;
mod change;
mod scene;
mod sign_in;

pub(crate) use background::hour as background_hour;
pub(crate) use change::{change_ids, push as push_events};
pub(crate) use sign_in::flow as flow_events;

use crate::event::Timestamp;

/// One event of the log.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// Its `published`.
    pub published: Timestamp,
    /// Its `eventType`.
    pub event_type: &'static str,
    /// Whether it may be committed late: never a refusal, a failure or a change.
    pub may_be_late: bool,
    /// Its JSON.
    pub json: String,
}

/// The events of one sign-in flow, in order of `published`.
pub fn render(org: &super::Org, flow: &super::Flow) -> Vec<Event> {
    flow_events(org, flow)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;

    use super::*;
    use crate::event::Span;
    use crate::sim::plan::{FlowResult, Plan};
    use crate::sim::push::Check;
    use crate::sim::{Flow, Org, Scenario};

    fn flows() -> (Arc<Org>, Vec<Flow>) {
        let org = Arc::new(Org::new(1, 1_500));
        let start = Timestamp::parse("2026-03-02T12:00:00.000Z").expect("a time");
        let timeline = Scenario::Rollback.timeline(&org, start + Span::hours(2));
        let plan = Plan::new(Arc::clone(&org), timeline, start, start + Span::hours(5));
        (org, plan.collect())
    }

    fn events(org: &Org, flow: &Flow) -> Vec<Value> {
        let events = render(org, flow);
        assert!(events.is_sorted_by_key(|event| event.published), "{flow:?}");
        events.iter().map(|event| serde_json::from_str(&event.json).expect("json")).collect()
    }

    #[test]
    fn a_posture_refusal_names_the_catch_all_after_the_factor_succeeded() {
        let (org, flows) = flows();
        let refused: Vec<&Flow> =
            flows.iter().filter(|flow| flow.result == FlowResult::Denied(Check::OsVersion)).collect();
        assert!(refused.len() > 100);
        for flow in refused {
            let events = events(&org, flow);
            let deny = events.iter().find(|event| event["outcome"]["result"] == "DENY").expect("a DENY");
            assert_eq!(deny["published"], flow.decided_at.to_string());
            assert_eq!(deny["actor"]["id"], org.people[flow.person as usize].id.as_str());
            let targets = deny["target"].as_array().expect("targets");
            let rule = targets.iter().find(|target| target["detailEntry"]["policyId"].is_string()).expect("a rule");
            assert_eq!(rule["displayName"], "Catch-all Rule");
            assert!(targets.iter().any(|target| target["type"] == "UDDevice"));
            let device = &org.devices[flow.device.expect("a device") as usize];
            assert_eq!(deny["device"]["os_platform"], device.platform.event_word());
            let factor = events.iter().find(|event| event["eventType"] == "user.authentication.auth_via_mfa");
            assert_eq!(factor.expect("a factor")["outcome"]["result"], "SUCCESS");
            assert!(!events.iter().any(|event| event["eventType"] == "user.authentication.verify"));
        }
    }

    #[test]
    fn every_flow_shares_one_authn_request_and_ends_at_its_decision() {
        let (org, flows) = flows();
        for flow in flows.iter().take(3_000) {
            let events = events(&org, flow);
            let id = &events[0]["debugContext"]["debugData"]["authnRequestId"];
            assert!(events.iter().all(|event| &event["debugContext"]["debugData"]["authnRequestId"] == id));
            assert_eq!(events[0]["published"], flow.at.to_string());
            let at = |event: &&Value| event["published"] == flow.decided_at.to_string();
            let kind = match flow.result {
                FlowResult::Success | FlowResult::MistypedThenSuccess => "user.authentication.verify",
                FlowResult::Denied(_) => "policy.evaluate_sign_on",
                FlowResult::Failed | FlowResult::PushDenied | FlowResult::Abandoned | FlowResult::PhishingDeclined => {
                    "user.authentication.auth_via_mfa"
                }
                FlowResult::Locked => "user.account.lock",
            };
            assert!(events.iter().filter(at).any(|event| event["eventType"] == kind), "{flow:?}");
        }
    }

    #[test]
    fn events_are_as_big_as_real_ones() {
        let (org, flows) = flows();
        let sizes: Vec<usize> =
            flows.iter().take(500).flat_map(|flow| render(&org, flow)).map(|event| event.json.len()).collect();
        let mean = sizes.iter().sum::<usize>() / sizes.len();
        assert!((2_000..3_500).contains(&mean), "{mean}");
    }
}
