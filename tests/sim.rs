//! The simulated org from outside: its files against its truth, and both servers over HTTP.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use authwatch::cli::{Exit, simulate};
use authwatch::event::{Span, Timestamp};
use authwatch::sim::{
    Awkward, Clock, Entry, Handles, Log, OktaConfig, OktaFault, Org, Scenario, ServeConfig, ServiceNowConfig,
    ServiceNowFault, serve,
};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::value::RawValue;
use serde_json::{Value, json};

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).expect("a time")
}

fn start() -> Timestamp {
    time("2026-03-02T12:00:00.000Z")
}

fn args(scenario: Scenario, seed: u64, out: &Path) -> simulate::Args {
    simulate::Args {
        scenario,
        days: 1,
        seats: 250,
        seed,
        start: time("2026-03-02T00:00:00.000Z"),
        out: Some(out.into()),
        serve: None,
        speed: 1.0,
        bad: 0.001,
    }
}

/// The org, timeline and log of the servers' tests: 200 people, a bad push 90 minutes in.
fn log(org: &Arc<Org>) -> Log {
    let until = start() + Span::hours(5);
    Log::of_scenario(Arc::clone(org), Scenario::Rollback, push_at(), start(), until, Awkward::default())
}

fn push_at() -> Timestamp {
    start() + Span::minutes(90)
}

async fn world(okta: OktaConfig, servicenow: ServiceNowConfig) -> Handles {
    let org = Arc::new(Org::new(4, 200));
    let until = start() + Span::hours(5);
    let clock = Clock::new(start() + Span::hours(1), 0.0);
    let config = ServeConfig::of_scenario(org, Scenario::Rollback, push_at(), start(), until, clock);
    serve(ServeConfig { okta, servicenow, ..config }).await.expect("the servers start")
}

async fn quick_world() -> Handles {
    let okta = OktaConfig { rate_limit: 100_000, slow: Duration::from_millis(300), ..OktaConfig::default() };
    let servicenow = ServiceNowConfig { slow: Duration::from_millis(300), ..ServiceNowConfig::default() };
    world(okta, servicenow).await
}

fn okta(world: &Handles, path: &str) -> RequestBuilder {
    let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", world.okta_url) };
    Client::new().get(url).header("authorization", "SSWS sim-okta-token")
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

fn links(response: &Response) -> BTreeMap<String, String> {
    let lines = response.headers().get_all("link").iter().map(|line| line.to_str().expect("text"));
    lines
        .map(|line| {
            let (url, rel) = line.split_once(">; rel=").expect("a link");
            (rel.trim_matches('"').to_owned(), url.trim_start_matches('<').to_owned())
        })
        .collect()
}

#[tokio::test]
async fn the_same_seed_writes_the_same_bytes_and_another_seed_does_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut written = Vec::new();
    for (name, seed) in [("a", 1), ("b", 1), ("c", 2)] {
        let out = dir.path().join(name);
        assert_eq!(simulate::run(&args(Scenario::Rollback, seed, &out)).await.expect("it runs"), Exit::Good);
        let read = |file: &str| fs::read(out.join(file)).expect("written");
        written.push([read("events.ndjson"), read("policies.json"), read("truth.json")]);
    }
    assert_eq!(written[0], written[1]);
    for (one, other) in written[0].iter().zip(&written[2]) {
        assert_ne!(one, other);
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let out = file.path().join("below a file");
    let failure = simulate::run(&args(Scenario::QuietWeek, 1, &out)).await.expect_err("it cannot run");
    assert_eq!(failure.exit, Exit::CouldNotRun);
    assert!(failure.error.to_string().contains("below a file"), "{}", failure.error);
}

fn version(text: &str) -> Vec<u32> {
    text.split('.').map(|part| part.parse().expect("a number")).collect()
}

/// A refusal whose device is older than the floors of the bad push, read from the event alone.
fn by_old_device(event: &Value) -> bool {
    let floor = match event["device"]["os_platform"].as_str() {
        Some("OSX") => [15, 1, 0, 0].as_slice(),
        Some("WINDOWS") => [10, 0, 22631, 4391].as_slice(),
        _ => return false,
    };
    version(event["device"]["os_version"].as_str().expect("a version")).as_slice() < floor
        && event["target"].as_array().expect("targets").iter().any(|target| target["displayName"] == "Catch-all Rule")
}

#[tokio::test]
async fn the_truth_agrees_with_a_naive_reading_of_the_events() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut args = args(Scenario::Rollback, 7, dir.path());
    args.seats = 800;
    simulate::run(&args).await.expect("it runs");
    let truth: Value =
        serde_json::from_slice(&fs::read(dir.path().join("truth.json")).expect("written")).expect("json");
    let push = &truth["pushes"][0];
    let (at, rollback) = (push["at"].as_str().expect("a time"), push["rollback_at"].as_str().expect("a time"));

    let (mut seen, mut verified, mut denied, mut changes) = (BTreeSet::new(), 0, 0, Vec::new());
    let mut refused: BTreeMap<String, String> = BTreeMap::new();
    let text = fs::read_to_string(dir.path().join("events.ndjson")).expect("written");
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).expect("json");
        let (Some(uuid), Some(kind)) = (event["uuid"].as_str(), event["eventType"].as_str()) else { continue };
        if event["published"] == "redacted" || !seen.insert(uuid.to_owned()) {
            continue;
        }
        let published = event["published"].as_str().expect("a time");
        verified += u64::from(kind == "user.authentication.verify");
        if kind == "policy.evaluate_sign_on" && event["outcome"]["result"] == "DENY" {
            denied += 1;
            if (at..rollback).contains(&published) && by_old_device(&event) {
                let person = event["actor"]["id"].as_str().expect("an id").to_owned();
                let first = refused.entry(person).or_insert_with(|| published.to_owned());
                *first = first.clone().min(published.to_owned());
            }
        }
        if kind == "device.assurance.policy.update" {
            changes.push((published.to_owned(), uuid.to_owned()));
        }
    }
    assert_eq!(text.lines().count() as u64, truth["records"].as_u64().expect("a count"));
    assert_eq!(seen.len() as u64, truth["events"].as_u64().expect("a count"));
    assert_eq!(denied, truth["attempts"]["denied"].as_u64().expect("a count"));
    assert_eq!(verified, truth["attempts"]["success"].as_u64().expect("a count"));

    // A person whose device had a bad moment of its own while the push was in force looks refused by it.
    let by_truth: BTreeMap<String, String> = serde_json::from_value(push["refused_at"].clone()).expect("a map");
    assert!(by_truth.len() > 50, "{}", by_truth.len());
    let extra = refused.keys().filter(|person| !by_truth.contains_key(*person)).count();
    assert!(extra <= 2, "{extra}");
    for (person, first) in &by_truth {
        assert_eq!(refused.get(person), Some(first), "{person}");
    }
    let mut ordered: Vec<_> = by_truth.iter().map(|(person, at)| (at, person)).collect();
    ordered.sort();
    assert_eq!(json!(ordered.iter().map(|(_, person)| person).collect::<Vec<_>>()), push["people_refused"]);
    assert_eq!(json!(ordered[0].0), push["first_refused_at"]);

    changes.sort();
    assert_eq!(changes.len(), 8, "four policies there and back");
    let made: BTreeSet<&str> = changes[..4].iter().map(|(_, uuid)| uuid.as_str()).collect();
    assert!(changes[0].0 == at && changes[4].0 == rollback);
    let told: BTreeSet<&str> =
        push["change_uuids"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(made, told);
    assert_eq!(push["change_uuid"], push["change_uuids"][0]);
    assert!(changes[..4].iter().all(|(published, _)| published == at), "{changes:?}");
    assert_eq!((push["check"].as_str(), &push["platforms"]), (Some("os_version"), &json!(["macos", "windows"])));
}

#[tokio::test]
async fn one_app_and_the_pilot_are_pushes_of_their_own_scope() {
    for (scenario, check, apps) in
        [(Scenario::BadPushApp, "not_managed", 1), (Scenario::BadPushPilot, "os_version", 10)]
    {
        let org = Arc::new(Org::new(3, 600));
        let mut log =
            Log::of_scenario(Arc::clone(&org), scenario, push_at(), start(), start() + Span::hours(6), Awkward::NONE);
        let refused: BTreeSet<String> = log
            .by_ref()
            .map(|entry| serde_json::from_str::<Value>(&entry.json).expect("json"))
            .filter(|event| event["outcome"]["result"] == "DENY")
            .map(|event| event["actor"]["id"].as_str().expect("an id").to_owned())
            .collect();
        let truth = log.truth();
        let push = &truth.pushes[0];
        assert_eq!((push.check, push.apps.len(), push.rollback_at), (check, apps, None), "{scenario}");
        assert!(push.people_refused.len() > 10, "{scenario}: {}", push.people_refused.len());
        assert!(push.people_refused.iter().all(|person| refused.contains(person)), "{scenario}");
        let pilot: BTreeSet<&str> = truth.cohorts["pilot"].iter().map(String::as_str).collect();
        let in_pilot = push.people_refused.iter().filter(|person| pilot.contains(person.as_str())).count();
        assert_eq!(in_pilot == push.people_refused.len(), scenario == Scenario::BadPushPilot, "{scenario}");
    }
}

/// Follows `next` from `url` until an empty page; returns the elements and the last `next`.
async fn drain(world: &Handles, url: &str) -> (Vec<String>, String) {
    let (mut elements, mut url) = (Vec::new(), url.to_owned());
    loop {
        let response = okta(world, &url).send().await.expect("a reply");
        assert_eq!(response.status(), 200, "{url}");
        url = links(&response)["next"].clone();
        let page: Vec<Box<RawValue>> = response.json().await.expect("an array");
        if page.is_empty() {
            return (elements, url);
        }
        elements.extend(page.into_iter().map(|element| element.get().to_owned()));
    }
}

fn expected(until: Timestamp) -> Vec<String> {
    let org = Arc::new(Org::new(4, 200));
    log(&org).take_while(|entry| entry.commit <= until).map(|entry| entry.json).collect()
}

#[tokio::test]
async fn cursors_deliver_every_element_once_in_commit_order_whatever_the_page() {
    let world = quick_world().await;
    for limit in [37, 512, 1_000] {
        let now = world.clock.now();
        let first = format!("/api/v1/logs?since={}&sortOrder=ASCENDING&limit={limit}", start());
        let (mut elements, next) = drain(&world, &first).await;
        assert_eq!(elements, expected(now), "limit {limit}");
        world.clock.advance(Span::minutes(25));
        let (more, _) = drain(&world, &next).await;
        assert!(more.len() > 50, "{}", more.len());
        elements.extend(more);
        assert_eq!(elements, expected(world.clock.now()), "limit {limit}");
    }
    assert_eq!(world.okta.committed().expect("packed"), expected(world.clock.now()).len());
}

#[tokio::test]
async fn pages_have_their_links_their_limit_and_an_inclusive_since() {
    let world = quick_world().await;
    let response = okta(&world, &format!("/api/v1/logs?since={}&limit=5", start())).send().await.expect("a reply");
    let next = links(&response)["next"].clone();
    assert_eq!(response.headers().get_all("link").iter().count(), 2);
    assert!(next.contains("limit=5") && !next.contains("since="), "{next}");
    assert!(links(&response)["self"].contains("since="));
    assert_eq!(header(&response, "date"), "Mon, 02 Mar 2026 13:00:00 GMT");

    let org = Arc::new(Org::new(4, 200));
    let fifth: Entry = log(&org).nth(4).expect("an element");
    let ask = |since: Timestamp| format!("/api/v1/logs?since={since}&limit=1");
    let page = async |url: String| {
        okta(&world, &url).send().await.expect("a reply").json::<Vec<Value>>().await.expect("an array")
    };
    let expect: Value = serde_json::from_str(&fifth.json).expect("json");
    assert_eq!(page(ask(fifth.commit)).await, [expect]);

    let late = world.clock.now() + Span::hours(1);
    let response = okta(&world, &ask(late)).send().await.expect("a reply");
    let next = links(&response)["next"].clone();
    assert_eq!(response.json::<Vec<Value>>().await.expect("an array"), Vec::<Value>::new());
    assert!(next.contains("after="), "an empty page has a next");
    assert_eq!(page("/api/v1/logs".into()).await.len(), 100, "the default limit");
    assert_eq!(page("/api/v1/logs?limit=0".into()).await.len(), 0);
}

#[tokio::test]
async fn a_query_with_an_end_is_by_published_and_its_last_page_has_no_next() {
    let world = quick_world().await;
    let until = start() + Span::hours(1);
    let mut path = format!("/api/v1/logs?since={}&until={until}&limit=50", start());
    let mut seen: Vec<String> = Vec::new();
    loop {
        let response = okta(&world, &path).send().await.expect("a reply");
        assert_eq!(response.status(), 200, "{path}");
        let next = links(&response).get("next").cloned();
        let page: Vec<Value> = response.json().await.expect("an array");
        seen.extend(page.iter().map(|event| event["published"].as_str().expect("a time").to_owned()));
        let Some(next) = next else { break };
        assert_eq!(page.len(), 50, "only the last page is short");
        path = next.split_once("/api/").map(|(_, rest)| format!("/api/{rest}")).expect("an address of ours");
    }
    assert!(seen.len() > 50 && seen.is_sorted(), "{} in order", seen.len());
    assert!(seen.iter().all(|at| Timestamp::parse(at).is_some_and(|at| (start()..=until).contains(&at))));
}

#[tokio::test]
async fn wrong_questions_get_oktas_errors() {
    let world = quick_world().await;
    let since = start();
    for (path, status, code) in [
        ("/api/v1/logs?limit=1001".into(), 400, "E0000053"),
        ("/api/v1/logs?limit=x".into(), 400, "E0000053"),
        ("/api/v1/logs?since=yesterday".into(), 400, "E0000001"),
        ("/api/v1/logs?since=2025-01-01T00:00:00.000Z".into(), 400, "E0000053"),
        (format!("/api/v1/logs?since={since}&after=0_0"), 400, "E0000053"),
        (format!("/api/v1/logs?since={since}&until=yesterday"), 400, "E0000001"),
        ("/api/v1/logs?filter=x".into(), 400, "E0000053"),
        ("/api/v1/logs?sortOrder=DESCENDING".into(), 400, "E0000053"),
        ("/api/v1/logs?after=nonsense".into(), 400, "E0000031"),
        ("/api/v1/logs?after=1_1".into(), 400, "E0000031"),
        ("/api/v1/logs?after=0_99999999".into(), 400, "E0000031"),
        ("/api/v1/policies".into(), 400, "E0000001"),
        ("/api/v1/policies/rstnone/rules".into(), 404, "E0000007"),
    ] {
        let response = okta(&world, &path).send().await.expect("a reply");
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(response.json::<Value>().await.expect("json")["errorCode"], code, "{path}");
    }
}

#[tokio::test]
async fn a_wrong_or_revoked_token_is_refused_until_a_new_one_is_set() {
    let world = quick_world().await;
    let status = |token: &'static str| {
        let url = format!("{}/api/v1/logs", world.okta_url);
        async move { Client::new().get(url).header("authorization", token).send().await.expect("a reply") }
    };
    let refused = status("SSWS wrong").await;
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.json::<Value>().await.expect("json")["errorCode"], "E0000011");
    assert_eq!(status("Bearer sim-okta-token").await.status(), 401);
    assert_eq!(status("SSWS sim-okta-token").await.status(), 200);
    world.okta.revoke_token();
    assert_eq!(status("SSWS sim-okta-token").await.status(), 401);
    world.okta.set_token("new");
    assert_eq!(status("SSWS new").await.status(), 200);
}

#[tokio::test]
async fn the_rate_limit_counts_per_bucket_and_says_when_it_ends() {
    let world = world(OktaConfig { rate_limit: 2, ..OktaConfig::default() }, ServiceNowConfig::default()).await;
    let date = world.clock.now().0 / 1_000;
    let mut seen = Vec::new();
    // The window is 60 real seconds: should it turn in the middle, the third request of a window still comes.
    for _ in 0..5 {
        let response = okta(&world, "/api/v1/logs?limit=1").send().await.expect("a reply");
        let reset: i64 = header(&response, "x-rate-limit-reset").parse().expect("a number");
        assert!((1..=60).contains(&(reset - date)), "{reset} after {date}");
        assert_eq!(header(&response, "x-rate-limit-limit"), "2");
        seen.push((response.status().as_u16(), header(&response, "x-rate-limit-remaining").to_owned()));
    }
    let refused = seen.iter().filter(|(status, remaining)| *status == 429 && remaining == "0").count();
    assert!((1..=3).contains(&refused), "{seen:?}");
    assert_eq!(seen[0], (200, "1".into()));
    assert_eq!(okta(&world, "/api/v1/device-assurances").send().await.expect("a reply").status(), 200);
}

#[tokio::test]
async fn every_okta_fault_can_be_seen_and_the_next_request_is_well() {
    let world = quick_world().await;
    let ask = || okta(&world, "/api/v1/logs?limit=50").send();
    let strike = |fault| {
        world.okta.faults().queue(fault);
        ask()
    };
    let reply = strike(OktaFault::TooManyRequests).await.expect("a reply");
    assert_eq!((reply.status().as_u16(), header(&reply, "x-rate-limit-remaining")), (429, "0"));
    assert_eq!(reply.json::<Value>().await.expect("json")["errorCode"], "E0000047");
    let reply = strike(OktaFault::TooManyWithRemaining).await.expect("a reply");
    assert_eq!(reply.status(), 429);
    assert_ne!(header(&reply, "x-rate-limit-remaining"), "0");
    let reply = strike(OktaFault::ServerError).await.expect("a reply");
    assert_eq!(reply.status(), 500);
    assert_eq!(reply.json::<Value>().await.expect("json")["errorCode"], "E0000053");
    let reply = strike(OktaFault::BadGateway).await.expect("a reply");
    assert_eq!((reply.status().as_u16(), header(&reply, "x-rate-limit-limit")), (502, ""));
    assert!(reply.text().await.expect("text").starts_with("<html>"));
    assert!(strike(OktaFault::ResetBefore).await.is_err(), "no reply at all");
    match strike(OktaFault::ResetMidBody).await {
        Ok(reply) => assert!(reply.bytes().await.is_err(), "the body breaks off"),
        Err(error) => assert!(!error.is_timeout(), "{error}"),
    }
    let body = strike(OktaFault::Truncated).await.expect("a reply").bytes().await.expect("a whole body");
    assert!(serde_json::from_slice::<Value>(&body).is_err(), "half of the JSON");
    let reply = strike(OktaFault::Slow).await.expect("a reply");
    assert_eq!(reply.status(), 200);

    world.okta.faults().queue(OktaFault::CursorExpired);
    let whole = ask().await.expect("a reply");
    assert_eq!(whole.status(), 200, "without a cursor nothing expires");
    let next = links(&whole)["next"].clone();
    let expired = okta(&world, &next).send().await.expect("a reply");
    assert_eq!(expired.status(), 400);
    assert_eq!(okta(&world, &next).send().await.expect("a reply").status(), 200);
    assert_eq!(world.okta.faults().struck().len(), 9);
}

#[tokio::test]
async fn the_policies_in_force_follow_the_push_and_its_rollback() {
    let world = quick_world().await;
    let floor = || async {
        let list: Vec<Value> =
            okta(&world, "/api/v1/device-assurances").send().await.expect("a reply").json().await.expect("a list");
        let staff = list.iter().find(|policy| policy["name"] == "Staff MACOS").expect("a policy");
        (staff["osVersion"]["minimum"].as_str().expect("a version").to_owned(), staff["lastUpdate"].clone())
    };
    assert_eq!(floor().await.0, "14.5.0");
    world.clock.advance(Span::minutes(31));
    assert_eq!(floor().await, ("15.1.0".into(), json!(push_at())));
    world.clock.advance(Span::minutes(30));
    assert_eq!(floor().await.0, "14.5.0");
    let policies: Vec<Value> = okta(&world, "/api/v1/policies?type=ACCESS_POLICY")
        .send()
        .await
        .expect("a reply")
        .json()
        .await
        .expect("a list");
    assert_eq!(policies.len(), 11);
    let path = format!("/api/v1/policies/{}/rules", policies[0]["id"].as_str().expect("an id"));
    let rules: Vec<Value> = okta(&world, &path).send().await.expect("a reply").json().await.expect("a list");
    assert_eq!(rules.last().expect("a rule")["name"], "Catch-all Rule");
}

fn servicenow(world: &Handles, method: Method, path: &str) -> RequestBuilder {
    let url = format!("{}/api/now/v2/table/{path}", world.servicenow_url);
    // `authwatch:sim-servicenow-password` in base64.
    let basic = "Basic YXV0aHdhdGNoOnNpbS1zZXJ2aWNlbm93LXBhc3N3b3Jk";
    Client::new().request(method, url).header("authorization", basic).header("accept", "application/json")
}

async fn post(world: &Handles, key: &str) -> reqwest::Result<Response> {
    let body = json!({"short_description": "sign-in fails", "impact": "1", "urgency": "2", "correlation_id": key,
                      "correlation_display": "authwatch", "assignment_group": "grp1", "work_notes": "opened"});
    servicenow(world, Method::POST, "incident").json(&body).send().await
}

async fn find(world: &Handles, query: &str) -> (Vec<Value>, String) {
    let url = format!("incident?sysparm_query={query}&sysparm_exclude_reference_link=true");
    let response = servicenow(world, Method::GET, &url).send().await.expect("a reply");
    assert_eq!(response.status(), 200, "{query}");
    let total = header(&response, "x-total-count").to_owned();
    let body: Value = response.json().await.expect("json");
    (body["result"].as_array().expect("a list").clone(), total)
}

#[tokio::test]
async fn an_incident_is_created_found_noted_resolved_and_reopened() {
    let world = quick_world().await;
    let created = post(&world, "aw-1").await.expect("a reply");
    assert_eq!(created.status(), 201);
    let location = header(&created, "location").to_owned();
    let row = created.json::<Value>().await.expect("json")["result"].clone();
    let id = row["sys_id"].as_str().expect("an id").to_owned();
    assert!(location.ends_with(&format!("/api/now/v2/table/incident/{id}")), "{location}");
    assert_eq!((&row["state"], &row["priority"], &row["work_notes"]), (&json!("1"), &json!("2"), &json!("")));
    assert_eq!(row["assignment_group"]["value"], "grp1");
    assert!(row["number"].as_str().is_some_and(|number| number.starts_with("INC")));

    let (found, total) = find(&world, "correlation_id=aw-1^correlation_display=authwatch^ORDERBYsys_created_on").await;
    assert_eq!((found.len(), total.as_str()), (1, "1"));
    assert_eq!(found[0]["assignment_group"], "grp1", "without the link");
    assert!(found[0].as_object().expect("a row").values().all(Value::is_string));
    assert_eq!(find(&world, "correlation_id=aw-2").await.0.len(), 0, "v2 answers an empty list");

    let path = format!("incident/{id}");
    let patch = |body: Value| servicenow(&world, Method::PATCH, &path).json(&body).send();
    assert_eq!(patch(json!({"work_notes": "worse"})).await.expect("a reply").status(), 200);
    let refused = patch(json!({"state": "6"})).await.expect("a reply");
    assert_eq!(refused.status(), 403);
    let refused: Value = refused.json().await.expect("json");
    assert_eq!(refused["status"], "failure");
    assert!(refused["error"]["detail"].as_str().expect("a text").contains("Resolution code"), "{refused}");
    let resolve = json!({"state": "6", "close_code": "Resolved by change", "close_notes": "rolled back"});
    assert_eq!(patch(resolve).await.expect("a reply").status(), 200);
    assert_eq!(patch(json!({"state": "2"})).await.expect("a reply").status(), 200);
    world.servicenow.close(&id).expect("closed");
    assert_eq!(patch(json!({"state": "2"})).await.expect("a reply").status(), 403);

    let rows = world.servicenow.created();
    assert_eq!(rows.len(), 1);
    let notes: Vec<&str> = rows[0].notes.iter().map(|note| note.text.as_str()).collect();
    assert_eq!(notes, ["opened", "worse"]);
    let states: Vec<(&str, &str)> = rows[0]
        .history
        .iter()
        .filter(|change| change.field == "state")
        .map(|change| (change.by.as_str(), change.to.as_str()))
        .collect();
    assert_eq!(states, [("authwatch", "6"), ("authwatch", "2"), ("desk.agent", "7")]);
}

#[tokio::test]
async fn a_misnamed_field_returns_every_row() {
    let world = quick_world().await;
    post(&world, "aw-1").await.expect("a reply");
    let (found, total) = find(&world, "corelation_id=aw-1").await;
    assert_eq!((found.len(), total.as_str()), (4, "4"));
    assert!(found.iter().any(|row| row["correlation_display"] == "monitoring-bridge"));
    let url = "incident?correlation_id=aw-1&sysparm_fields=number,nonsense";
    let body: Value = servicenow(&world, Method::GET, url).send().await.expect("a reply").json().await.expect("json");
    assert_eq!(body["result"].as_array().map(Vec::len), Some(1));
    assert_eq!(body["result"][0].as_object().map(serde_json::Map::len), Some(1), "unknown fields are dropped");
}

#[tokio::test]
async fn requests_that_servicenow_refuses() {
    let world = quick_world().await;
    let url = format!("{}/api/now/v2/table/incident", world.servicenow_url);
    let anonymous = Client::new().get(url).send().await.expect("a reply");
    assert_eq!(anonymous.status(), 401);
    let no_type = servicenow(&world, Method::POST, "incident").body("{}").send().await.expect("a reply");
    assert_eq!(no_type.status(), 400);
    let json = |path: &str, method| servicenow(&world, method, path).header("content-type", "application/json");
    assert_eq!(json("incident", Method::POST).body("[").send().await.expect("a reply").status(), 400);
    assert_eq!(json("incident/none", Method::PATCH).body("{}").send().await.expect("a reply").status(), 404);
    assert_eq!(servicenow(&world, Method::GET, "incident/none").send().await.expect("a reply").status(), 404);
    assert_eq!(servicenow(&world, Method::GET, "secrets").send().await.expect("a reply").status(), 400);
    let choices = servicenow(&world, Method::GET, "sys_choice?sysparm_query=element=close_code&sysparm_limit=2");
    let choices: Value = choices.send().await.expect("a reply").json().await.expect("json");
    assert_eq!(choices["result"].as_array().map(Vec::len), Some(2));
    assert_eq!(world.servicenow.created().len(), 0);
}

#[tokio::test]
async fn an_ambiguous_post_leaves_a_row_that_shows_late() {
    let world = quick_world().await;
    world.servicenow.set_visible_after(Span::seconds(30));
    world.servicenow.faults().queue(ServiceNowFault::ResetAfterCommit);
    assert!(post(&world, "aw-1").await.is_err(), "no reply");
    assert_eq!(world.servicenow.created().len(), 1, "but a row");
    assert_eq!(find(&world, "correlation_id=aw-1").await.0.len(), 0);
    world.clock.advance(Span::seconds(30));
    assert_eq!(find(&world, "correlation_id=aw-1").await.0.len(), 1);
}

#[tokio::test]
async fn every_servicenow_fault_can_be_seen_and_none_but_one_writes() {
    let world = quick_world().await;
    let strike = |fault| {
        world.servicenow.faults().queue(fault);
        post(&world, "aw-1")
    };
    let reply = strike(ServiceNowFault::TooManyWithRetryAfter).await.expect("a reply");
    assert_eq!((reply.status().as_u16(), header(&reply, "retry-after")), (429, "2"));
    let reply = strike(ServiceNowFault::TooManyBare).await.expect("a reply");
    assert_eq!((reply.status().as_u16(), header(&reply, "retry-after")), (429, ""));
    assert_eq!(strike(ServiceNowFault::ServerError).await.expect("a reply").status(), 500);
    assert_eq!(strike(ServiceNowFault::Unavailable).await.expect("a reply").status(), 503);
    let page = strike(ServiceNowFault::Hibernating).await.expect("a reply");
    assert_eq!(page.status(), 200);
    assert!(header(&page, "content-type").starts_with("text/html"));
    assert!(strike(ServiceNowFault::ResetBefore).await.is_err());
    assert_eq!(world.servicenow.created().len(), 0, "nothing was written so far");
    assert_eq!(strike(ServiceNowFault::Slow).await.expect("a reply").status(), 201);
    world.servicenow.faults().queue(ServiceNowFault::ResetAfterCommit);
    assert_eq!(find(&world, "").await.0.len(), 4, "reads are spared");
    assert!(post(&world, "aw-1").await.is_err());
    assert_eq!(world.servicenow.created().len(), 2);
    assert_eq!(world.servicenow.faults().struck().len(), 8);
}

#[tokio::test]
async fn people_work_on_incidents_too() {
    let world = quick_world().await;
    post(&world, "aw-1").await.expect("a reply");
    let id = world.servicenow.created()[0].get("sys_id").to_owned();
    world.servicenow.assign(&id, "desk.lead").expect("assigned");
    world.servicenow.set_state(&id, "2").expect("in progress");
    world.servicenow.resolve(&id).expect("resolved");
    let row = &world.servicenow.created()[0];
    assert_eq!((row.get("assigned_to"), row.get("state"), row.get("sys_updated_by")), ("desk.lead", "6", "desk.agent"));
    world.servicenow.close(&id).expect("closed");
    let error = world.servicenow.set_state(&id, "1").expect_err("closed is final").to_string();
    assert!(error.contains(&id) && error.contains("closed"), "{error}");
    assert!(world.servicenow.assign("none", "x").is_err());
}

#[tokio::test]
async fn shutdown_frees_the_address() {
    let world = quick_world().await;
    let url = format!("{}/api/v1/logs", world.okta_url);
    assert_eq!(okta(&world, "/api/v1/logs").send().await.expect("a reply").status(), 200);
    world.shutdown().await;
    assert!(Client::new().get(url).send().await.is_err());
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let world = quick_world().await;
    let address = world.okta_url.trim_start_matches("http://").parse().expect("an address");
    let org = Arc::new(Org::new(4, 20));
    let until = start() + Span::hours(1);
    let clock = Clock::new(start(), 1.0);
    let config = ServeConfig::of_scenario(org, Scenario::QuietWeek, start(), start(), until, clock);
    let error = serve(ServeConfig { listen: address, ..config }).await.err().expect("the address is taken");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn the_log_and_the_incident_table_are_bounded() {
    let okta_config = OktaConfig { max_elements: 300, ..OktaConfig::default() };
    let world = world(okta_config, ServiceNowConfig { max_rows: 4, ..ServiceNowConfig::default() }).await;
    let (elements, _) = drain(&world, &format!("/api/v1/logs?since={}&limit=1000", start())).await;
    assert_eq!(elements, expected(world.clock.now())[..300]);
    assert!(world.okta.is_full());
    assert_eq!(post(&world, "aw-1").await.expect("a reply").status(), 201, "the fourth row");
    assert_eq!(post(&world, "aw-2").await.expect("a reply").status(), 500);
    assert_eq!(world.servicenow.rows().len(), 4);
}
