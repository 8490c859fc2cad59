//! What several tests share: a simulated org's sign-in flows as events, without the cost of JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use authwatch::action::Action;
use authwatch::event::{
    App, AuthEvent, Context, Credential, EventId, Flow as FlowId, Kind, Org as OrgName, Outcome, Part, Person,
    Platform, PolicyRule, Reason, SourceName, Timestamp,
};
use authwatch::input::{Cohort, CoreConfig, Input, OrgConfig};
use authwatch::sim::plan::{Flow, FlowResult, Method, Plan};
use authwatch::sim::scenario::Timeline;
use authwatch::sim::{self, Org};
use authwatch::watch::Watch;

/// The core's configuration for a simulated org, with its cohorts.
pub(crate) fn config(org: &Org) -> CoreConfig {
    let cohort = |cohort: sim::Cohort| Cohort {
        name: cohort.as_str().to_owned(),
        users: org.members(cohort).map(Person::new).collect(),
        groups: BTreeSet::new(),
    };
    let sources: BTreeSet<SourceName> = [source()].into();
    let org = OrgConfig { sources, cohorts: sim::Cohort::ALL.map(cohort).into(), ..OrgConfig::default() };
    CoreConfig { orgs: [(OrgName::new("acme"), org)].into(), ..CoreConfig::default() }
}

/// Folds every flow of a span into a fresh core, each as its deciding event, and returns it with all its actions.
pub(crate) fn run(org: &Arc<Org>, timeline: Timeline, start: Timestamp, until: Timestamp) -> (Watch, Vec<Action>) {
    let mut watch = Watch::new();
    watch.handle(&Input::Configure(Box::new(config(org))));
    let mut actions = Vec::new();
    events(org, timeline, start, until, &mut |event| {
        watch.handle(&Input::Event { source: source(), event: Box::new(event) });
        actions.extend(std::iter::from_fn(|| watch.poll_action()));
    });
    (watch, actions)
}

/// Every flow of a span as its deciding event, in the order in which they are decided.
pub(crate) fn events(
    org: &Arc<Org>,
    timeline: Timeline,
    start: Timestamp,
    until: Timestamp,
    each: &mut dyn FnMut(AuthEvent),
) {
    let mut undecided: BTreeMap<(Timestamp, u64), Flow> = BTreeMap::new();
    for flow in Plan::new(Arc::clone(org), timeline, start, until) {
        while undecided.first_key_value().is_some_and(|((at, _), _)| *at < flow.at) {
            if let Some((_, due)) = undecided.pop_first() {
                each(event(org, &due));
            }
        }
        undecided.insert((flow.decided_at, flow.id), flow);
    }
    undecided.values().for_each(|flow| each(event(org, flow)));
}

/// The one source of the simulated org.
pub(crate) fn source() -> SourceName {
    SourceName::new("okta:acme")
}

fn event(org: &Org, flow: &Flow) -> AuthEvent {
    let person = &org.people[flow.person as usize];
    let app = &org.apps[usize::from(flow.app)];
    let name = OrgName::new("acme");
    let uuid = flow.id.to_string();
    let credential = match flow.method {
        Method::Fastpass => Credential::Fastpass,
        Method::Push => Credential::Push,
        Method::PasswordOtp => Credential::OktaTotp,
        Method::Webauthn => Credential::Webauthn,
    };
    let (event_type, kind, outcome, reason) = match flow.result {
        FlowResult::Success | FlowResult::MistypedThenSuccess => {
            ("user.authentication.verify", Kind::Verification, Outcome::Success, Reason::None)
        }
        FlowResult::Denied(_) => {
            ("policy.evaluate_sign_on", Kind::PolicyEvaluation, Outcome::Deny, Reason::PolicyDenied)
        }
        FlowResult::Failed | FlowResult::Locked | FlowResult::PushDenied => {
            ("user.authentication.auth_via_mfa", Kind::Authentication, Outcome::Failure, Reason::InvalidCredentials)
        }
        FlowResult::Abandoned => {
            ("user.authentication.auth_via_mfa", Kind::Authentication, Outcome::Abandoned, Reason::None)
        }
        FlowResult::PhishingDeclined => {
            ("user.authentication.auth_via_mfa", Kind::Authentication, Outcome::Failure, Reason::PhishingDeclined)
        }
    };
    let platform = flow.device.map_or(Platform::Unknown, |device| {
        let word = org.devices[device as usize].platform.as_str();
        let known = Platform::ALL.iter().find(|platform| platform.as_str() == word);
        *known.expect("the fleet's platforms are among ours")
    });
    AuthEvent {
        id: EventId::from_uuid(&name, &uuid, Some(flow.decided_at), event_type),
        org: name,
        published: Some(flow.decided_at),
        event_type: event_type.into(),
        kind,
        part: Part::SignIn,
        credential,
        phishing_resistant: None,
        outcome,
        okta_outcome: "".into(),
        reason,
        person: Some(Person::new(&person.id)),
        flow: Some(FlowId::new(&uuid)),
        uuid: uuid.into(),
        app: Some(App { id: (&app.id).into(), name: app.name.into() }),
        rule: (outcome == Outcome::Deny).then(|| PolicyRule {
            id: format!("rul{}", flow.app).into(),
            name: "Catch-all Rule".into(),
            policy: Some(app.name.into()),
            policy_name: None,
        }),
        platform,
        device: None,
        context: Context::default(),
        change: None,
    }
}
