//! Two orgs in one process: each has its own label, cursor, cohorts and trouble, and what befalls one is not seen in the
//! other. The real binary against two simulated Oktas.

#![expect(
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    dead_code,
    reason = "helpers of tests fail as tests do, and are shared with tests that use more of them"
)]

#[path = "daemon/process.rs"]
mod process;

use authwatch::event::Span;
use authwatch::sim::{Handles, OktaConfig, Scenario};
use process::{Daemon, Home, metric, start, until, world};
use serde_json::Value;

/// A configuration that reads both, each with a token of its own.
fn configuration(first: &Handles, second: &Handles, home: &Home) -> String {
    let file = |name: &str| home.dir.path().join(name);
    format!(
        "org: acme
state_dir: state
listen: 127.0.0.1:0
shutdown_grace: 5s
cohorts:
  pilot: {{ groups: [00gpilot] }}
sources:
  - okta: {{ url: {}, auth: {{ ssws: {{ file: {:?} }} }}, start: 8h, poll_interval: 100ms, look_back: 0s }}
  - okta: {{ url: {}, auth: {{ ssws: {{ file: {:?} }} }}, start: 8h, poll_interval: 100ms, look_back: 0s, org: beta }}
sinks:
  - servicenow:
      url: {}
      auth: {{ basic: {{ user: {{ env: SN_USER }}, password: {{ env: SN_PASSWORD }} }} }}
orgs:
  beta: {{ cohorts: {{ everybody: {{ users: [00u1] }} }} }}
",
        first.okta_url,
        file("token-acme"),
        second.okta_url,
        file("token-beta"),
        first.servicenow_url
    )
}

fn write_token(home: &Home, org: &str, token: &str) {
    std::fs::write(home.dir.path().join(format!("token-{org}")), token).expect("a token");
}

async fn page(daemon: &Daemon) -> String {
    daemon.response("/metrics").await.text().await.expect("a body")
}

async fn events_of(daemon: &Daemon, org: &str) -> u64 {
    metric(&page(daemon).await, "authwatch_events_total", &[&format!("org=\"{org}\"")])
}

/// Waits until everything that a server shows is counted for its org, and nothing more.
async fn until_counted(daemon: &Daemon, org: &str, world: &Handles) {
    let shown = world.okta.committed().expect("a log") as u64;
    let label = format!("org=\"{org}\"");
    until(&format!("{shown} records of {org}"), async || {
        let text = page(daemon).await;
        let names = ["authwatch_events_total", "authwatch_duplicates_total", "authwatch_rejected_records_total"];
        let counted: u64 = names.iter().map(|name| metric(&text, name, &[&label])).sum();
        if counted == shown { Ok(()) } else { Err(format!("{counted}\n{}", daemon.log().join("\n"))) }
    })
    .await;
}

async fn until_both(daemon: &Daemon, first: &Handles, second: &Handles) {
    until_counted(daemon, "acme", first).await;
    until_counted(daemon, "beta", second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_org_has_its_own_counts_cursor_and_trouble() {
    let now = start() + Span::hours(1);
    let (first, second) = (world(Scenario::QuietWeek, 150, now).await, world(Scenario::QuietWeek, 60, now).await);
    let home = Home::of(&first, "");
    home.configure(&configuration(&first, &second, &home));
    let good = OktaConfig::default().token;
    write_token(&home, "acme", &good);
    write_token(&home, "beta", &good);
    let daemon = home.daemon().await;
    until_both(&daemon, &first, &second).await;
    let status: Value = daemon.until_status("both named", |status| !status["orgs"].is_null()).await;
    assert_eq!(status["orgs"], serde_json::json!(["acme", "beta"]), "{status}");

    // The token of one is revoked: the other goes on, and the trouble has the name of its source.
    second.okta.revoke_token();
    let before = events_of(&daemon, "beta").await;
    first.clock.advance(Span::hours(1));
    second.clock.advance(Span::hours(1));
    until_counted(&daemon, "acme", &first).await;
    let ready = daemon.response("/readyz").await.text().await.expect("a body");
    assert!(ready.contains("source/okta:beta"), "{ready}");
    assert_eq!(events_of(&daemon, "beta").await, before, "nothing of beta is counted under another name");

    // A restart in the middle of it loses no place of either.
    let (ended, log) = daemon.stop().await;
    assert_eq!(ended.code(), Some(0), "{log:#?}");
    second.okta.set_token("another");
    write_token(&home, "beta", "another");
    let daemon = home.daemon().await;
    until_both(&daemon, &first, &second).await;
    assert!(events_of(&daemon, "beta").await > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lockout_of_one_org_is_no_incident_of_the_other() {
    let over = process::end() + Span::hours(1);
    let (first, second) =
        (world(Scenario::QuietWeek, 300, over).await, world(Scenario::BadPushEveryone, 300, over).await);
    let home = Home::of(&first, "");
    home.configure(&configuration(&first, &second, &home));
    let good = OktaConfig::default().token;
    write_token(&home, "acme", &good);
    write_token(&home, "beta", &good);
    let daemon = home.daemon().await;
    until_both(&daemon, &first, &second).await;
    let all = daemon.json("/api/v1/incidents").await;
    let incidents = all["incidents"].as_array().expect("a list");
    assert!(!incidents.is_empty(), "{all}");
    assert!(incidents.iter().all(|incident| incident["org"] == "beta"), "{all}");
}
