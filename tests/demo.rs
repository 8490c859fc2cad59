//! The demo's ticket against the truth of its simulated org, and the status page while it happens.
//!
//! The demo runs in this process, over HTTP as always: a bad push, people refused, a rollback. The org's truth shares
//! no code with what judges it.

#![expect(clippy::expect_used, clippy::panic, unreachable_pub, reason = "helpers of tests fail as tests do")]

#[expect(dead_code, reason = "the demo runs in this process")]
#[path = "daemon/process.rs"]
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use authwatch::action::Incident;
use authwatch::app::demo::{self, Demo, Options};
use authwatch::event::{Span, Timestamp};
use authwatch::sim::plan::{Cause, FlowResult, Plan};
use authwatch::sim::servicenow::Row;
use authwatch::sim::{Org, Scenario};
use authwatch::telemetry::exposition::{self, Handle};
use process::until;
use serde_json::Value;

/// How many times faster than real time, once the history is read.
const SPEED: f64 = 240.0;

/// One recorder for the process, as there can be.
static METRICS: LazyLock<Arc<Handle>> = LazyLock::new(|| Arc::new(exposition::install().expect("the only one")));

async fn start(scenario: Scenario, seed: u64, seats: u32) -> Demo {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let options = Options { scenario, seed, seats, speed: 1.0, listen };
    demo::start(options, Arc::clone(&METRICS)).await.expect("it starts")
}

async fn get(demo: &Demo, path: &str) -> reqwest::Response {
    let url = format!("http://{}{path}", demo.daemon.address);
    reqwest::get(url).await.expect("a reply")
}

async fn text(demo: &Demo, path: &str) -> String {
    get(demo, path).await.text().await.expect("a body")
}

async fn until_page(demo: &Demo, sentence: &str) {
    let look = async || {
        let page = text(demo, "/").await;
        if page.contains(sentence) { Ok(()) } else { Err(page) }
    };
    until(&format!("the page says `{sentence}`"), look).await;
}

/// The only ticket, once it is in one of `states`.
async fn until_ticket(demo: &Demo, states: &[&str]) -> Row {
    let look = async || match demo.servers.servicenow.created().as_slice() {
        [row] if states.contains(&row.get("state")) => Ok(row.clone()),
        rows => Err(format!(
            "at {}: {:?}",
            demo.servers.clock.now(),
            rows.iter().map(|row| &row.fields).collect::<Vec<_>>()
        )),
    };
    until(&format!("one ticket in state {states:?}"), look).await
}

/// Everything that the log shows now is judged.
async fn until_caught_up(demo: &Demo) {
    let look = async || {
        let status: Value = serde_json::from_str(&text(demo, "/api/v1/status").await).expect("json");
        let until = status["data_until"].as_str().and_then(Timestamp::parse).expect("a time");
        let now = demo.servers.clock.now();
        if now - until <= Span::minutes(1) { Ok(()) } else { Err(format!("judged to {until}, the log is at {now}")) }
    };
    until("everything is judged", look).await;
}

/// The people whom the push refused, by app, from the plan of the flows.
fn refused_by_app(demo: &Demo, seed: u64, seats: u32) -> BTreeMap<&'static str, BTreeSet<u32>> {
    let org = Arc::new(Org::new(seed, seats));
    let timeline = Scenario::Rollback.timeline(&org, demo.moment);
    let (from, to) = (demo.moment - Span::hours(1), demo.moment + Span::hours(1));
    let mut refused: BTreeMap<_, BTreeSet<u32>> = BTreeMap::new();
    for flow in Plan::new(Arc::clone(&org), timeline, from, to) {
        if matches!((flow.result, flow.cause), (FlowResult::Denied(_), Cause::Push(_))) {
            refused.entry(org.apps[usize::from(flow.app)].name).or_default().insert(flow.person);
        }
    }
    refused
}

/// The number of people that a text of the ticket names.
fn people_in(description: &str) -> u64 {
    let (_, rest) = description.split_once("Who: ").expect("the text says who");
    rest.split(' ').next().expect("a word").parse().expect("a number")
}

async fn a_bad_push_and_its_rollback(seed: u64, seats: u32) {
    let demo = start(Scenario::Rollback, seed, seats).await;
    until_page(&demo, "Sign-in is healthy: no group of people is refused more than usual").await;
    demo.servers.clock.set_speed(SPEED);
    let opened = until_ticket(&demo, &["1", "2"]).await;
    until_page(&demo, "Sign-in is degraded: ").await;
    let row = until_ticket(&demo, &["6"]).await;
    assert_eq!(row.get("sys_id"), opened.get("sys_id"));
    until_page(&demo, "Sign-in is healthy again: ").await;

    let incidents: Value = serde_json::from_str(&text(&demo, "/api/v1/incidents").await).expect("json");
    let incidents: Vec<Incident> = serde_json::from_value(incidents["incidents"].clone()).expect("incidents");
    let [incident] = incidents.as_slice() else { panic!("{incidents:#?}") };
    assert_eq!(row.get("correlation_id"), incident.key);

    let truth = demo.servers.okta.truth();
    let push = &truth.pushes[0];
    let refused = push.people_refused.len() as u64;
    assert!(refused > 30, "the push must matter: {refused}");
    // Within the hour some are refused for old laptops of their own.
    let bounds = refused..=refused + refused / 10 + 5;
    let told = people_in(row.get("description"));
    for (what, people) in [("the incident", incident.people), ("the ticket", told)] {
        assert!(bounds.contains(&people), "{what}: {people}, truth {bounds:?}");
    }
    let first = push.first_refused_at.expect("a first refusal");
    let off = (incident.onset - first).as_seconds();
    assert!(off.abs() <= 120.0, "onset {}, first refused {first}", incident.onset);
    assert!(incident.opened_at > first && incident.resolved_at > push.rollback_at, "{incident:#?}");

    let apps: BTreeSet<&str> = push.apps.iter().map(|app| app.name).collect();
    let top = &incident.evidence.top_apps;
    assert!(!top.is_empty() && top.iter().all(|(app, _)| apps.contains(app.as_str())), "{top:?}, truth {apps:?}");
    let mut by_app: Vec<(usize, &str)> =
        refused_by_app(&demo, seed, seats).into_iter().map(|(app, people)| (people.len(), app)).collect();
    by_app.sort_unstable();
    let (&(second, _), &(most, app)) = (&by_app[by_app.len() - 2], &by_app[by_app.len() - 1]);
    // With the innocent refusals of that hour, a lead of less than a fifth is not clear.
    if most * 5 > second * 6 {
        assert_eq!(top[0].0, app, "{top:?}, truth {by_app:?}");
    }

    // Nothing more happens: no second ticket, and nobody is told again.
    demo.servers.clock.set_speed(0.0);
    demo.servers.clock.advance(Span::hours(2));
    until_caught_up(&demo).await;
    let rows = demo.servers.servicenow.created();
    assert_eq!((rows.len(), rows[0].get("state")), (1, "6"));
    demo.stop().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ticket_of_a_bad_push_agrees_with_the_truth() {
    a_bad_push_and_its_rollback(1, 1_200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ticket_of_a_bad_push_agrees_with_the_truth_of_another_org() {
    a_bad_push_and_its_rollback(7, 2_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_loads_nothing_from_elsewhere_and_names_no_person() {
    let demo = start(Scenario::BadPushEveryone, 3, 600).await;
    until_page(&demo, "Sign-in is healthy: ").await;
    demo.servers.clock.set_speed(SPEED);
    until_page(&demo, "Sign-in is degraded: ").await;
    let response = get(&demo, "/").await;
    let header = |name: &str| response.headers().get(name).map_or("", |value| value.to_str().expect("text")).to_owned();
    assert!(header("content-type").starts_with("text/html"), "{response:?}");
    let policy = header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    let page = response.text().await.expect("a body");
    assert!(page.contains("people refused since ") && page.contains("<h2>Incidents</h2>"), "{page}");
    for elsewhere in ["src=\"http", "href=\"http", "src=\"//", "<style"] {
        assert!(!page.contains(elsewhere), "{elsewhere} in {page}");
    }
    let truth = demo.servers.okta.truth();
    let everybody =
        [&page, &text(&demo, "/api/v1/incidents").await, &text(&demo, "/metrics").await].map(String::clone).concat();
    for person in &truth.pushes[0].people_refused {
        assert!(!everybody.contains(person), "{person}");
    }
    for asset in ["/page.css", "/page.js"] {
        assert_eq!(get(&demo, asset).await.status(), 200, "{asset}");
    }
    demo.stop().await.expect("it stops");
}
