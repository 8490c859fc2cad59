//! People stay private (invariant 8): a day of events in which every name, address, token and mistyped password is a
//! canary. None of them is in the metrics, the log, the ticket or the API.

#![expect(clippy::expect_used, clippy::panic, unreachable_pub, dead_code, reason = "helpers of tests fail as tests do")]

#[path = "daemon/process.rs"]
mod process;
mod support {
    //! Stand-ins for systems that are told.
    pub mod datadog;
    pub mod dynatrace;
    pub mod server;
}

use std::fmt::Write as _;
use std::sync::Arc;

use authwatch::event::{Span, Timestamp};
use authwatch::sim::{Awkward, Log, Org, Scenario};
use process::{Home, records, run, until, world};
use serde_json::{Value, json};
use support::datadog::{API_KEY, Datadog};
use support::dynatrace::{Dynatrace, TOKEN};

/// In every canary.
const MARK: &str = "canary";
/// The network of every canary address, as no simulated org has it.
const NETWORK: &str = "100.64.77.";

/// Members whose value is a person's, a device's or a secret, wherever they stand.
const PRIVATE: [&str; 16] = [
    "alternateId",
    "displayName",
    "serialNumber",
    "udid",
    "name",
    "url",
    "phoneNumber",
    "subject",
    "nameId",
    "requestOrigin",
    "deviceFingerprint",
    "dtHash",
    "city",
    "binaryPath",
    "rawUserAgent",
    "postalCode",
];

/// The log of a day with a bad push; what identifies anybody is a canary.
fn day() -> (String, u64) {
    let org = Arc::new(Org::new(11, 300));
    let start = Timestamp::parse("2026-03-03T00:00:00Z").expect("a time");
    let timeline = Scenario::BadPushEveryone.timeline(&org, start + Span::hours(14));
    let (mut text, mut count) = (String::new(), 0);
    for entry in Log::new(org, timeline, start, start + Span::hours(24), Awkward::NONE) {
        let mut event: Value = serde_json::from_str(&entry.json).expect("json");
        let is_person = |target: &Value| matches!(target["type"].as_str(), Some("User" | "AppUser" | "UDDevice"));
        seed(&mut event["actor"], count);
        seed(&mut event["client"], count);
        seed(&mut event["device"], count);
        seed(&mut event["debugContext"], count);
        seed(&mut event["authenticationContext"], count);
        seed(&mut event["request"], count);
        let targets = event["target"].as_array_mut().into_iter().flatten();
        targets.filter(|target| is_person(target)).for_each(|target| seed(target, count));
        if event["eventType"] == "user.session.start" && event["outcome"]["result"] == "FAILURE" {
            event["actor"]["alternateId"] = json!(format!("{MARK}-Passw0rd-{count}"));
            event["outcome"]["reason"] = json!("VERIFICATION_ERROR");
        }
        event["debugContext"]["debugData"]["url"] =
            json!(format!("/login/token/redirect?stateToken=02.{MARK}-{count}"));
        event["debugContext"]["debugData"]["note"] = json!(format!("{MARK} {NETWORK}9 {MARK}@example.com"));
        writeln!(text, "{event}").expect("a string takes everything");
        count += 1;
    }
    // Records that are rejected must not be quoted either.
    writeln!(text, "{{\"actor\":{{\"alternateId\":\"{MARK}@example.com\"}}}}").expect("a string takes everything");
    writeln!(text, "{{\"eventType\":\"user.session.start\", {MARK}").expect("a string takes everything");
    (text, count + 2)
}

fn seed(value: &mut Value, number: u64) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if matches!(name.as_str(), "ip" | "ipAddress") => {
                        *text = format!("{NETWORK}{}", number % 250);
                    }
                    Value::String(text) if PRIVATE.contains(&name.as_str()) => {
                        *text = format!("{MARK}-{name}-{number}")
                    }
                    _ => seed(value, number),
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| seed(element, number)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[track_caller]
fn is_clean(what: &str, text: &str) {
    assert!(!text.is_empty(), "{what} is empty: nothing was looked at");
    let low = text.to_ascii_lowercase();
    for canary in [MARK, NETWORK] {
        if let Some(place) = low.find(canary) {
            let from = low.floor_char_boundary(place.saturating_sub(200));
            panic!("{what} holds a canary: …{}", &low[from..low.ceil_char_boundary(place + 60)]);
        }
    }
}

/// A daemon that reads the day and tells everything to everybody.
fn configure(home: &Home, [servicenow, datadog, dynatrace]: [&str; 3]) {
    home.configure(&format!(
        "org: acme
state_dir: state
listen: 127.0.0.1:0
log: {{ level: trace }}
sources:
  - file: {{ paths: [day.ndjson] }}
sinks:
  - servicenow:
      url: {}
      auth: {{ basic: {{ user: {{ env: SN_USER }}, password: {{ env: SN_PASSWORD }} }} }}
  - datadog: {{ url: {:?}, api_key: {{ file: key }}, interval: 1s, limits: {{ series: 15000, waiting: 20 }} }}
  - dynatrace: {{ url: {:?}, token: {{ file: token }}, interval: 1s, limits: {{ series: 15000, waiting: 20 }} }}
",
        servicenow,
        datadog,
        format!("{dynatrace}/e/env"),
    ));
}

#[track_caller]
fn pushes_are_clean(datadog: &Datadog, dynatrace: &Dynatrace) {
    for (what, bodies) in [("Datadog", datadog.bodies()), ("Dynatrace", dynatrace.bodies())] {
        for part in ["authwatch.events.count", "authwatch.denied_checks.count", "deny_spike"] {
            assert!(bodies.contains(part), "{part} went to {what}");
        }
        is_clean(what, &bodies);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_canary_leaves_by_metrics_pushes_log_ticket_or_api() {
    let (day, count) = day();
    assert!(day.contains(MARK) && day.contains(NETWORK), "the day is seeded");
    let world = world(Scenario::QuietWeek, 10, process::start()).await;
    let (datadog, dynatrace) = (Datadog::start().await, Dynatrace::start().await);
    let home = Home::of(&world, "");
    std::fs::write(home.dir.path().join("key"), API_KEY).expect("written");
    std::fs::write(home.dir.path().join("token"), TOKEN).expect("written");
    std::fs::write(home.dir.path().join("day.ndjson"), &day).expect("written");
    configure(&home, [&world.servicenow_url, &datadog.server.url, &dynatrace.server.url]);
    let daemon = home.daemon().await;
    daemon.until_status("the day is counted", |status| records(status) == count).await;
    let ticket = until("a ticket", async || {
        let rows = world.servicenow.created();
        if rows.is_empty() { Err(daemon.log().join("\n")) } else { Ok(format!("{rows:?}")) }
    })
    .await;
    is_clean("the ticket", &ticket);
    until("an alert and a problem", async || {
        let is_told = !datadog.alerts().is_empty() && !dynatrace.problems().is_empty();
        is_told.then_some(()).ok_or_else(|| daemon.log().join("\n"))
    })
    .await;
    let metrics = daemon.get("/metrics").await.1;
    assert!(metrics.contains("authwatch_events_total"), "{metrics}");
    is_clean("the metrics", &metrics);
    for path in [
        "/",
        "/api/v1/status",
        "/api/v1/incidents",
        "/api/v1/series",
        "/api/v1/decisions",
        "/api/v1/adoption",
        "/api/v1/whatif",
        "/readyz?verbose",
    ] {
        let (status, body) = daemon.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        is_clean(path, &body);
    }
    let (_, log) = daemon.stop().await;
    is_clean("the log", &log.join("\n"));
    assert!(!log.join("\n").contains(API_KEY) && !log.join("\n").contains(TOKEN), "no secret is logged");
    pushes_are_clean(&datadog, &dynatrace);
    is_clean("`state show`", &home.run(&["state", "show", "--json"]).stdout);
    let file = home.dir.path().join("day.ndjson");
    let file = file.to_str().expect("text");
    for words in [
        &["replay", "--json", file][..],
        &["explain", "--json", file],
        &["explain", "--unknown", file],
        &["explain", "--redact", file],
        &["whatif", "--json", file],
    ] {
        let ran = run(words, "");
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        is_clean(&words[..2].join(" "), &format!("{}{}.", ran.stdout, ran.stderr));
    }
}
