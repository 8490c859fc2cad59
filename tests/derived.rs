//! The reason of a refusal, derived from policies and signals, and the what-if before a push, against the truth of a
//! simulated org that shares no code with the evaluator.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use authwatch::classify::{Reader, Tables};
use authwatch::event::{Kind, Org as OrgName, PostureCheck, PostureSource, Reason, SourceName, Span, Timestamp};
use authwatch::input::{CoreConfig, Input, OrgConfig, PolicyOrigin};
use authwatch::policy::ask::{Facts, Question, answer};
use authwatch::policy::whatif::{Proposal, Verdict};
use authwatch::policy::{Agreement, Evaluation, parse};
use authwatch::sim::plan::{Cause, FlowResult};
use authwatch::sim::push::policies_at;
use authwatch::sim::{Awkward, Cohort, Flow, Log, Org, Plan, Scenario, Timeline};
use authwatch::watch::Watch;
use serde_json::Value;

const ACME: &str = "acme";
const SEATS: u32 = 1_500;

/// What the core is told of policies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Policies {
    /// A file that holds from the beginning; changes that pass roll it forward.
    File,
    /// The API: read again half a minute after each change.
    Api,
    /// Nothing.
    None,
}

/// One run.
#[derive(Clone, Copy, Debug)]
struct Case {
    scenario: Scenario,
    policies: Policies,
    /// Whether the members of the pilot group are known.
    members: bool,
    /// What is taken out of every event.
    without: &'static [&'static str],
}

/// How the readings of a run compare with the truth.
#[derive(Default, Debug)]
struct Outcome {
    /// Refusals for a reason that the device's signals show.
    shown: u64,
    /// …of which the reading is the truth.
    right: u64,
    /// Readings that name a check or a reason that is not the truth.
    wrong: Vec<String>,
    /// Refusals in all.
    refusals: u64,
    /// Answers whose rule is not the one that our policies give.
    disagree: u64,
}

#[test]
fn with_policies_and_signals_the_reason_is_the_truth() {
    for (scenario, policies) in [
        (Scenario::QuietWeek, Policies::File),
        (Scenario::Rollback, Policies::File),
        (Scenario::Rollback, Policies::Api),
        (Scenario::BadPushApp, Policies::File),
        (Scenario::BadPushPilot, Policies::Api),
    ] {
        let case = Case { scenario, policies, members: true, without: &[] };
        let outcome = run(case);
        println!("{case:?}: {} of {} right, {} refusals", outcome.right, outcome.shown, outcome.refusals);
        assert_eq!(outcome.wrong, Vec::<String>::new(), "{case:?}");
        assert!(outcome.shown >= 30, "{case:?}: too few refusals to tell: {}", outcome.shown);
        assert!(outcome.shown * 100 >= outcome.refusals * 99, "{case:?}: {} of {}", outcome.shown, outcome.refusals);
        assert!(outcome.right * 100 >= outcome.shown * 99, "{case:?}: {} of {}", outcome.right, outcome.shown);
        assert_eq!(outcome.disagree, 0, "{case:?}");
    }
}

#[test]
fn without_the_members_of_a_group_no_reason_is_wrong_and_most_are_found() {
    for scenario in [Scenario::BadPushPilot, Scenario::Rollback] {
        let case = Case { scenario, policies: Policies::File, members: false, without: &[] };
        let outcome = run(case);
        println!("{case:?}: {} of {} right", outcome.right, outcome.shown);
        assert_eq!(outcome.wrong, Vec::<String>::new(), "{case:?}");
        assert!(outcome.right * 100 >= outcome.shown * 60, "{case:?}: {} of {}", outcome.right, outcome.shown);
    }
}

#[test]
fn without_signals_or_policies_no_reason_is_wrong() {
    const ALL: &[&str] = &["device", "UDDevice"];
    const SOME: &[&str] = &["os_version", "osVersion", "device_integrator", "deviceIntegrator"];
    for (policies, without) in [(Policies::File, ALL), (Policies::File, SOME), (Policies::None, &[][..])] {
        let case = Case { scenario: Scenario::Rollback, policies, members: true, without };
        let outcome = run(case);
        println!("{case:?}: {} of {} right, {} refusals", outcome.right, outcome.shown, outcome.refusals);
        assert!(outcome.refusals > 100, "{case:?}");
        assert_eq!(outcome.wrong, Vec::<String>::new(), "{case:?}");
    }
}

/// What the truth says of one device around a push.
#[derive(Default)]
struct Around {
    /// Its last flow before the push was a bad moment, so what was last seen of it is not what it is.
    was_bad: bool,
    /// It signed in after the push as it usually is.
    let_in: bool,
    /// The push refused it.
    refused: bool,
}

#[test]
fn a_what_if_before_a_push_names_the_devices_that_the_push_refuses() {
    let org = Arc::new(Org::new(9, SEATS));
    let start = Timestamp::parse("2026-03-02T00:00:00Z").expect("a time");
    let (push_at, until) = (start + Span::hours(3 * 24 + 8), start + Span::hours(4 * 24));
    let timeline = Scenario::BadPushEveryone.timeline(&org, push_at);
    let case = Case { scenario: Scenario::BadPushEveryone, policies: Policies::File, members: true, without: &[] };
    let mut watch = core(&org, case, &timeline, start);
    let reader = Reader::new(OrgName::new(ACME), Arc::new(Tables::embedded()));
    for entry in Log::new(org.clone(), timeline.clone(), start, push_at, Awkward::NONE) {
        reader.read_record(entry.json.as_bytes(), &mut |read| {
            watch.handle(&Input::Event { source: source(), event: Box::new(read.expect("an event")) });
        });
    }
    let rows = what_if(&org, &watch, &timeline, push_at);

    let mut truth: BTreeMap<u32, Around> = BTreeMap::new();
    for flow in Plan::new(org.clone(), timeline, start, until) {
        let (Some(device), true) = (flow.device, org.apps[usize::from(flow.app)].gated) else { continue };
        let around = truth.entry(device).or_default();
        let is_bad_moment = matches!(flow.result, FlowResult::Denied(_)) && flow.cause != Cause::Push(0);
        if flow.decided_at < push_at {
            around.was_bad = is_bad_moment;
        } else {
            around.refused |= flow.cause == Cause::Push(0) && matches!(flow.result, FlowResult::Denied(_));
            around.let_in |= matches!(flow.result, FlowResult::Success | FlowResult::MistypedThenSuccess);
        }
    }
    let (mut hits, mut false_alarms, mut misses, mut excluded, mut all) = (0_u32, 0_u32, 0_u32, 0_u32, 0_u32);
    for (device, around) in truth.iter().filter(|(_, around)| around.refused || around.let_in) {
        all += 1;
        let verdict = rows.get(org.devices[*device as usize].id.as_str()).filter(|_| !around.was_bad);
        match (verdict, around.refused) {
            (Some(Verdict::Refuse), true) => hits += 1,
            (Some(Verdict::Refuse), false) => false_alarms += 1,
            (Some(Verdict::Pass), true) => misses += 1,
            (Some(Verdict::Pass), false) => {}
            (Some(Verdict::Unknown) | None, _) => excluded += 1,
        }
    }
    println!("{all} devices: {hits} rightly named, {false_alarms} wrongly, {misses} missed, {excluded} left out");
    assert!(hits >= 100, "too few to tell: {hits}");
    assert!(f64::from(hits) >= 0.98 * f64::from(hits + false_alarms), "precision: {hits} and {false_alarms}");
    assert!(f64::from(hits) >= 0.98 * f64::from(hits + misses), "recall: {hits} and {misses}");
    assert!(excluded * 4 < all, "{excluded} of {all} left out");
}

/// The verdict on each device, were the policies after the push in force.
fn what_if(org: &Org, watch: &Watch, timeline: &Timeline, push_at: Timestamp) -> BTreeMap<String, Verdict> {
    let document = org.policies(&policies_at(&timeline.pushes, push_at));
    let mut proposal = Proposal::default();
    proposal.assure(&document["device_assurances"]).expect("a proposal");
    let view = watch.orgs().next().expect("an org");
    let facts = Facts { fleet: view.fleet(), policies: view.policies(), groups: view.groups(), cohort_of: &|_| None };
    let question = Question { proposal, list: usize::MAX, ..Question::default() };
    let answer = answer(facts, &question);
    let devices = answer.whatif.expect("an answer").devices;
    devices.into_iter().map(|row| (row.device.to_string(), row.verdict)).collect()
}

fn run(case: Case) -> Outcome {
    let org = Arc::new(Org::new(7, SEATS));
    let start = Timestamp::parse("2026-03-03T00:00:00Z").expect("a time");
    let until = start + Span::hours(20);
    let timeline = case.scenario.timeline(&org, start + case.scenario.usual_offset());
    let truth = truth(&org, &timeline, start, until);
    let mut watch = core(&org, case, &timeline, start);
    let reader = Reader::new(OrgName::new(ACME), Arc::new(Tables::embedded()));
    let mut readings = BTreeMap::new();
    let mut collected = start;
    let mut reading_due: Option<(Timestamp, Timestamp)> = None;
    for entry in Log::new(org.clone(), timeline.clone(), start, until, Awkward::NONE) {
        reader.read_record(strip(&entry.json, case.without).as_bytes(), &mut |read| {
            let event = read.expect("an event");
            let published = event.published.expect("a time");
            if let Some((due, since)) = reading_due.filter(|(due, _)| *due <= published) {
                watch.handle(&policies(&org, &timeline, since, Some(since), PolicyOrigin::Api));
                reading_due = reading_due.filter(|(other, _)| *other != due);
            }
            if matches!(event.kind, Kind::PolicyChange | Kind::AssuranceChange) && case.policies == Policies::Api {
                reading_due = Some((published + Span::seconds(30), published));
            }
            watch.handle(&Input::Event { source: source(), event: Box::new(event) });
            if published - collected > Span::minutes(20) {
                collect(&watch, collected - Span::minutes(15), &mut readings);
                collected = published;
            }
        });
    }
    watch.finish();
    collect(&watch, collected - Span::minutes(15), &mut readings);
    compare(&truth, &readings, &watch)
}

/// The refused flows by the `uuid` of their `DENY`.
fn truth(org: &Arc<Org>, timeline: &Timeline, start: Timestamp, until: Timestamp) -> BTreeMap<String, Flow> {
    let denied = Plan::new(org.clone(), timeline.clone(), start, until)
        .filter(|flow| matches!(flow.result, FlowResult::Denied(_)));
    denied
        .flat_map(|flow| {
            let events = authwatch::sim::render::render(org, &flow).into_iter();
            events.filter(|event| event.event_type == "policy.evaluate_sign_on").filter_map(move |event| {
                let json: Value = serde_json::from_str(&event.json).expect("json");
                (json["outcome"]["result"] == "DENY").then(|| (json["uuid"].as_str().unwrap_or("").to_owned(), flow))
            })
        })
        .collect()
}

fn core(org: &Arc<Org>, case: Case, timeline: &Timeline, start: Timestamp) -> Watch {
    let mut watch = Watch::new();
    let config = OrgConfig { sources: [source()].into(), ..OrgConfig::default() };
    let config = CoreConfig { orgs: [(OrgName::new(ACME), config)].into(), ..CoreConfig::default() };
    watch.handle(&Input::Configure(Box::new(config)));
    let origin = match case.policies {
        Policies::File => Some(PolicyOrigin::File),
        Policies::Api => Some(PolicyOrigin::Api),
        Policies::None => None,
    };
    if let Some(origin) = origin {
        watch.handle(&policies(org, timeline, start, Some(Timestamp::MIN), origin));
    }
    if case.members {
        let people = org.members(Cohort::Pilot).map(authwatch::event::Person::new).collect();
        let group = org.groups[Cohort::Pilot.as_str()].as_str().into();
        watch.handle(&Input::Members { org: OrgName::new(ACME), group, people });
    }
    watch
}

fn policies(org: &Org, timeline: &Timeline, at: Timestamp, since: Option<Timestamp>, origin: PolicyOrigin) -> Input {
    let document = org.policies(&policies_at(&timeline.pushes, at)).to_string();
    let policies = Arc::new(parse::parse(document.as_bytes()).expect("policies"));
    Input::Policies { org: OrgName::new(ACME), since, origin, policies }
}

fn source() -> SourceName {
    SourceName::new("okta:acme")
}

/// An event without some members, wherever they stand, or without targets of a type.
fn strip(json: &str, without: &[&str]) -> String {
    if without.is_empty() {
        return json.to_owned();
    }
    let mut event: Value = serde_json::from_str(json).expect("json");
    take_out(&mut event, without);
    event.to_string()
}

fn take_out(value: &mut Value, without: &[&str]) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !without.contains(&name.as_str()));
            members.values_mut().for_each(|value| take_out(value, without));
        }
        Value::Array(elements) => {
            elements.retain(|element| !element["type"].as_str().is_some_and(|kind| without.contains(&kind)));
            elements.iter_mut().for_each(|element| take_out(element, without));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn collect(watch: &Watch, since: Timestamp, readings: &mut BTreeMap<String, Arc<Evaluation>>) {
    for org in watch.orgs() {
        readings
            .extend(org.decisions(false, since).map(|decision| (decision.uuid.to_string(), decision.posture.clone())));
    }
}

fn compare(truth: &BTreeMap<String, Flow>, readings: &BTreeMap<String, Arc<Evaluation>>, watch: &Watch) -> Outcome {
    let counts = watch.orgs().next().expect("an org").postures();
    let disagree = counts.agreement.get(&Agreement::Disagree).copied().unwrap_or(0);
    let mut outcome = Outcome { refusals: truth.len() as u64, disagree, ..Outcome::default() };
    for (uuid, flow) in truth {
        let FlowResult::Denied(check) = flow.result else { continue };
        let reading = readings.get(uuid).unwrap_or_else(|| panic!("no reading of {uuid} {flow:?}"));
        let failing: Vec<&str> = reading.failing().into_iter().map(PostureCheck::as_str).collect();
        let word = check.as_str();
        let by_rule = match reading.reason {
            Some(Reason::NetworkZone) => Some("network_zone"),
            Some(Reason::Risk) => Some("risk"),
            Some(_) | None => None,
        };
        let is_right = if let Some(reason) = by_rule {
            reason == word
        } else if word == "no_device_context" {
            failing.is_empty() && reading.unknown() == [PostureCheck::NoDeviceContext]
        } else {
            failing == [word]
        };
        // A device in a bad moment can be below a floor that was just raised as well: then both are true.
        let both = flow.cause != Cause::Push(0) && failing.len() == 2 && failing.contains(&word);
        let both = both && (failing.contains(&"os_version") || failing.contains(&"not_managed"));
        let is_shown = reading.source == PostureSource::Derived;
        outcome.shown += u64::from(is_shown);
        outcome.right += u64::from(is_shown && (is_right || both));
        let says_something = !failing.is_empty() || by_rule.is_some();
        if says_something && !is_right && !both {
            outcome.wrong.push(format!("{word} read as {failing:?} {by_rule:?}: {flow:?} {:?}", reading.checks));
            outcome.wrong.truncate(5);
        }
    }
    outcome
}
