//! Shadow mode: a sink goes through outbox and ledger and sends nothing, says what it would have told, and tells what
//! is still open as soon as it goes live.

#![expect(clippy::expect_used, clippy::panic, unreachable_pub, reason = "helpers of tests may fail a test")]
#![expect(dead_code, reason = "the helpers of several tests, not all of which are of use here")]

#[path = "common/incident.rs"]
mod incident;
#[path = "daemon/process.rs"]
mod process;
mod support {
    //! What the tests of sinks share.
    pub(crate) use super::incident;
    pub mod alertmanager;
    pub mod bench;
    pub mod server;
    pub mod webhook;
}

use authwatch::action::IncidentStep;
use authwatch::event::Span;
use authwatch::sim::Scenario;
use serde_json::{Value, json};
use support::alertmanager::{Alertmanager, ends};
use support::bench::{Bench, KEY, action, action_of, time};
use support::webhook::Receiver;

use IncidentStep::{Open, Reopen, Resolve, Update};

fn mode(bench: &mut Bench, mode: &str) {
    let section = bench.config.as_object_mut().expect("an object").values_mut().next().expect("a section");
    section["mode"] = json!(mode);
}

async fn webhook() -> (Receiver, Bench) {
    let receiver = Receiver::start().await;
    let mut bench = Bench::new(json!({ "webhook": { "url": receiver.server.url } }));
    mode(&mut bench, "shadow");
    (receiver, bench)
}

fn told(receiver: &Receiver) -> Vec<(String, String, Value)> {
    let of = |body: Value| {
        let text = |name: &str| body[name].as_str().expect("text").to_owned();
        (text("key"), text("step"), body["revision"].clone())
    };
    receiver.acted().iter().map(|seen| of(seen.json())).collect()
}

#[tokio::test]
async fn nothing_is_sent_and_everything_is_recorded() {
    let receiver = Receiver::start().await;
    let url = &receiver.server.url;
    let basic = json!({ "basic": { "user": { "env": "U" }, "password": { "env": "P" } } });
    for config in [
        json!({ "webhook": { "url": url } }),
        json!({ "alertmanager": { "url": url } }),
        json!({ "servicenow": { "url": url, "auth": basic } }),
    ] {
        let mut bench = Bench::new(config);
        mode(&mut bench, "shadow");
        bench.secret("U", "user");
        bench.secret("P", "secret");
        bench.tell(&[action(1, Open), action(2, Update)]).await;
        bench.tell(&[action(3, Update)]).await;
        bench.tell(&[action(4, Update), action(5, Resolve)]).await;
        let entry = bench.ledger(KEY);
        assert_eq!(entry.shadowed, [Open, Update, Resolve], "{}", bench.name());
        assert_eq!((entry.revision, entry.last), (0, None), "nobody was told, and it is over");
        assert_eq!(bench.result("open", "shadowed"), 1.0);
        assert_eq!(bench.result("resolve", "shadowed"), 1.0);
    }
    let sent: Vec<_> = receiver.server.seen().into_iter().filter(|seen| seen.method != "GET").collect();
    assert!(sent.is_empty(), "{sent:#?}");
}

#[tokio::test]
async fn going_live_opens_what_is_open_afresh_and_leaves_what_is_over() {
    let (receiver, mut bench) = webhook().await;
    bench.tell(&[action(1, Open), action_of("aw-over", 1, Open)]).await;
    bench.tell(&[action(2, Update), action_of("aw-over", 2, Resolve)]).await;
    assert_eq!(told(&receiver), []);
    mode(&mut bench, "live");
    let running = bench.start();
    bench.until("told", || !receiver.acted().is_empty()).await;
    bench.until("recorded", || bench.ledger(KEY).revision == 2).await;
    bench.stop(running).await;
    assert_eq!(told(&receiver), [(KEY.to_owned(), "open".to_owned(), json!(2))], "whole, with its newest text");
    assert!(bench.ledger(KEY).shadowed.is_empty() && bench.ledger(KEY).last.is_none());
    // It goes on from there, and no start opens it again.
    bench.tell(&[action(3, Resolve)]).await;
    bench.tell(&[]).await;
    assert_eq!(told(&receiver).len(), 2);
    assert_eq!(told(&receiver)[1].1, "resolve");
}

#[tokio::test]
async fn what_waits_in_the_outbox_when_a_sink_goes_live_makes_no_half_ticket() {
    let (receiver, mut bench) = webhook().await;
    bench.tell(&[action(1, Open), action_of("aw-over", 1, Open)]).await;
    mode(&mut bench, "live");
    bench.tell(&[action(2, Update), action_of("aw-over", 2, Resolve)]).await;
    assert_eq!(told(&receiver), [(KEY.to_owned(), "open".to_owned(), json!(2))]);
    assert_eq!(bench.result("resolve", "nothing_to_resolve"), 1.0, "not opened only to be resolved");
}

#[tokio::test]
async fn a_ticket_from_before_the_shadow_gets_what_it_missed() {
    let (receiver, mut bench) = webhook().await;
    mode(&mut bench, "live");
    bench.tell(&[action(1, Open), action_of("aw-b", 1, Open)]).await;
    mode(&mut bench, "shadow");
    bench.tell(&[action(2, Resolve), action(3, Reopen), action_of("aw-b", 2, Resolve)]).await;
    bench.tell(&[action(4, Update)]).await;
    assert_eq!(told(&receiver).len(), 2);
    mode(&mut bench, "live");
    let running = bench.start();
    bench.until("told", || bench.ledger(KEY).revision == 4 && bench.ledger("aw-b").revision == 2).await;
    bench.stop(running).await;
    let missed = told(&receiver).split_off(2);
    assert_eq!(missed, [(KEY.into(), "update".into(), json!(4)), ("aw-b".into(), "resolve".into(), json!(2))]);
}

#[tokio::test]
async fn an_alert_is_not_held_up_in_shadow_and_fires_when_its_sink_goes_live() {
    let alertmanager = Alertmanager::start().await;
    let section = json!({ "url": alertmanager.server.url, "resend_interval": "1s", "expire_after": "1h" });
    let mut bench = Bench::new(json!({ "alertmanager": section }));
    mode(&mut bench, "shadow");
    bench.tell(&[action(1, Open)]).await;
    let running = bench.start();
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    bench.stop(running).await;
    assert_eq!(alertmanager.told().len(), 0);
    mode(&mut bench, "live");
    let running = bench.start();
    bench.until("fires", || !alertmanager.alerts().is_empty()).await;
    bench.until("is repeated", || alertmanager.told().len() >= 2).await;
    bench.stop(running).await;
    assert!(ends(&alertmanager.alert()) > time(1_000));
}

#[tokio::test]
async fn going_live_survives_a_crash_before_it_told() {
    let (receiver, mut bench) = webhook().await;
    bench.tell(&[action(1, Open)]).await;
    mode(&mut bench, "live");
    receiver.server.script([support::server::Fault::DoneThenSilence]);
    let running = bench.start();
    bench.until("under way", || receiver.server.seen().len() == 1).await;
    bench.kill(running).await;
    let running = bench.start();
    bench.until("recorded", || bench.ledger(KEY).revision == 1).await;
    bench.stop(running).await;
    assert_eq!((receiver.server.seen().len(), receiver.acted().len()), (2, 1), "one key, one effect");
}

/// A configuration with a live `ServiceNow` and a webhook in shadow mode.
fn with_shadow(home: &process::Home) -> String {
    let shadow = "sinks:\n  - webhook: { name: pager, mode: shadow, url: \"http://127.0.0.1:9/x\" }\n";
    home.usual("").replace("sinks:\n", shadow)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_and_a_replay_say_what_would_have_been_told() {
    let world = process::world(Scenario::BadPushEveryone, 400, process::push_at() - Span::minutes(5)).await;
    let home = process::Home::of(&world, "");
    home.configure(&with_shadow(&home));
    let daemon = home.daemon().await;
    daemon.until_caught_up(&world).await;
    world.clock.advance(Span::minutes(30));
    daemon.until_status("an incident opens", |status| status["incidents_open"] == 1).await;
    let body =
        daemon.until("/api/v1/incidents", "the shadow is shown", |_, body| body.contains("would_have_told")).await;
    let incidents: Value = serde_json::from_str(&body).expect("JSON");
    let row = &incidents["incidents"][0];
    assert_eq!(row["would_have_told"].as_array().map(Vec::len), Some(1), "{row:#}");
    assert_eq!(row["would_have_told"][0]["sink"], "pager");
    assert_eq!(row["would_have_told"][0]["steps"][0], "open");
    let (ended, log) = daemon.stop().await;
    assert_eq!(ended.code(), Some(0), "{log:#?}");
    assert_eq!(world.servicenow.created().len(), 1, "the live one told it");

    let export = home.dir.path().join("journal");
    let export = export.to_str().expect("a path");
    assert_eq!(home.run(&["state", "export", export]).code, 0);
    let config = home.config();
    let config = config.to_str().expect("a path");
    let report = process::run(&["replay", export, "--json", "--config", config], "").json();
    let would = &report["incidents"][0]["would_have_told"];
    let sinks: Vec<&Value> = would.as_array().expect("a list").iter().map(|told| &told["sink"]).collect();
    assert_eq!(sinks, ["pager", "servicenow"], "a replay tells nobody, so all of them");
    assert_eq!(would[0]["steps"][0], "open");
    let text = process::run(&["replay", export, "--config", config], "").stdout;
    assert!(text.contains("  would have told pager: open"), "{text}");
    let bare = process::run(&["replay", export, "--json"], "").json();
    assert_eq!(bare["incidents"][0].get("would_have_told"), None);
}
