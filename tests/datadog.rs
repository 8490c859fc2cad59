//! Datadog against a stand-in: counts add up to what was counted, whatever happens on the way, and incidents are alerts.

#![expect(clippy::expect_used, clippy::panic, unreachable_pub, reason = "helpers of tests may fail a test")]
#![expect(dead_code, reason = "the helpers of several tests, not all of which are of use here")]

#[path = "common/incident.rs"]
mod incident;
#[path = "daemon/process.rs"]
mod process;
mod support {
    //! What the tests of sinks share.
    pub(crate) use super::incident;
    pub mod bench;
    pub mod datadog;
    pub mod examples;
    pub mod pusher;
    pub mod server;
}

use std::time::Duration;

use authwatch::action::IncidentStep;
use authwatch::event::Span;
use authwatch::sim::Scenario;
use serde_json::{Value, json};
use support::bench::{Bench, KEY, action, action_of};
use support::datadog::{API_KEY, Datadog};
use support::pusher::{Pusher, changes, metrics};
use support::server::Fault;

use IncidentStep::{Open, Reopen, Resolve, Update};

const RECORDS: &str = "authwatch.source_records.count";
const SERIES: &str = "authwatch.series";

fn config(datadog: &Datadog, more: Value) -> Value {
    let mut config = json!({
        "url": datadog.server.url, "api_key": { "env": "DD_API_KEY" }, "interval": "1s", "timeout": "2s",
        "tags": { "env": "test" },
    });
    for (key, value) in more.as_object().expect("an object") {
        config[key] = value.clone();
    }
    json!({ "datadog": config })
}

/// A publisher whose metrics begin at 1,000 records.
async fn pusher(more: Value) -> (Datadog, Pusher) {
    let datadog = Datadog::start().await;
    let pusher = Pusher::new(config(&datadog, more));
    pusher.secret("DD_API_KEY", API_KEY);
    pusher.set(metrics(1_000, 3.0));
    (datadog, pusher)
}

async fn bench(more: Value) -> (Datadog, Bench) {
    let datadog = Datadog::start().await;
    let bench = Bench::new(config(&datadog, more));
    bench.secret("DD_API_KEY", API_KEY);
    (datadog, bench)
}

#[tokio::test]
async fn counters_are_counts_since_the_last_push_and_gauges_are_gauges() {
    let (datadog, pusher) = pusher(json!({})).await;
    let running = pusher.start();
    pusher.set(metrics(1_005, 4.0));
    pusher.until("pushed", || datadog.sum(RECORDS) == 5.0).await;
    pusher.stop(running).await;
    let count = datadog.of(RECORDS).remove(0);
    assert_eq!(
        (count.kind, count.interval, count.tags),
        (1, Some(1), vec!["source:okta:acme".into(), "env:test".into()])
    );
    let gauge = datadog.of(SERIES).remove(0);
    assert_eq!((gauge.kind, gauge.interval, gauge.value), (3, None, 4.0));
    assert!(datadog.of("authwatch.event_success_ratio").is_empty(), "no number is no value");
    assert!(pusher.condition("publish/datadog").ok);
    assert_eq!(datadog.dropped(), 0);
}

#[tokio::test]
async fn trap_a_restart_sends_no_count_again_and_loses_none() {
    let (datadog, pusher) = pusher(json!({})).await;
    let mut total = 1_000;
    for _ in 0..3 {
        let running = pusher.start();
        total += 7;
        pusher.set(metrics(total, 1.0));
        pusher.until("pushed", || datadog.sum(RECORDS) >= (total - 1_000) as f64).await;
        total += 2;
        pusher.set(metrics(total, 1.0));
        // What was added since the last push is sent at the stop.
        pusher.stop(running).await;
        assert_eq!(datadog.sum(RECORDS), (total - 1_000) as f64);
    }
    // A kill loses what was not pushed, and sends nothing twice.
    let running = pusher.start();
    pusher.set(metrics(total + 100, 1.0));
    pusher.kill(running).await;
    let running = pusher.start();
    pusher.set(metrics(total + 103, 1.0));
    pusher.stop(running).await;
    assert_eq!(datadog.sum(RECORDS), (total - 1_000 + 3) as f64);
}

#[tokio::test]
async fn trap_a_count_that_may_have_arrived_is_never_sent_again() {
    for fault in [
        Fault::DoneThen(500),
        Fault::DoneThen(502),
        Fault::DoneThen(503),
        Fault::DoneThen(408),
        Fault::ResetAfter,
        Fault::DoneThenSilence,
    ] {
        let (datadog, pusher) = pusher(json!({})).await;
        datadog.server.script([fault]);
        let running = pusher.start();
        pusher.set(metrics(1_005, 3.0));
        pusher.until("unknown", || pusher.points("unknown") == 1.0).await;
        let detail = pusher.condition("publish/datadog").detail;
        assert!(detail.contains("Datadog 127.0.0.1"), "{fault:?}: {detail}");
        pusher.set(metrics(1_009, 3.0));
        pusher.until("again well", || datadog.sum(RECORDS) >= 9.0).await;
        pusher.stop(running).await;
        assert_eq!(datadog.sum(RECORDS), 9.0, "{fault:?}");
        // The gauge of the first push was repeated with its own time.
        let gauges = datadog.of(SERIES);
        assert_eq!(gauges[0], gauges[1], "{fault:?}");
    }
}

#[tokio::test]
async fn what_was_certainly_not_taken_is_sent_later_whole() {
    for (fault, reason, names) in [
        (Fault::Refuse(429, Some(1)), "rate_limited", "429"),
        (Fault::RefuseWith(429, "X-RateLimit-Reset: 1"), "rate_limited", "429"),
        (Fault::Refuse(401, None), "unauthorized", "check the credentials"),
        (Fault::Refuse(403, None), "forbidden", "allowed"),
        (Fault::Refuse(404, None), "not_found", "404"),
        (Fault::Refuse(302, None), "redirected", "302"),
    ] {
        let (datadog, pusher) = pusher(json!({})).await;
        datadog.server.script([fault]);
        let running = pusher.start();
        pusher.set(metrics(1_005, 3.0));
        pusher.until("named", || pusher.condition("publish/datadog").detail.contains(names)).await;
        pusher.until("taken", || datadog.sum(RECORDS) == 5.0).await;
        pusher.until("well", || pusher.condition("publish/datadog").ok).await;
        pusher.stop(running).await;
        assert_eq!((datadog.sum(RECORDS), pusher.points("unknown")), (5.0, 0.0), "{fault:?}");
        assert_eq!(pusher.metric("authwatch_sink_retries_total{", &[reason]), 1.0, "{fault:?}");
    }
}

#[tokio::test]
async fn a_rate_limit_is_obeyed_in_both_of_its_spellings() {
    for fault in [Fault::Refuse(429, Some(3)), Fault::RefuseWith(429, "X-RateLimit-Reset: 3")] {
        let (datadog, pusher) = pusher(json!({})).await;
        datadog.server.script([fault]);
        let running = pusher.start();
        pusher.set(metrics(1_005, 3.0));
        pusher.until("taken", || datadog.sum(RECORDS) == 5.0).await;
        let seen = datadog.server.seen();
        assert!(seen[1].at - seen[0].at >= Duration::from_secs(3), "{fault:?}");
        pusher.stop(running).await;
    }
}

#[tokio::test]
async fn what_is_refused_for_good_or_by_a_page_is_not_sent_again() {
    let (datadog, pusher) = pusher(json!({})).await;
    datadog.server.script([Fault::Refuse(400, None)]);
    let running = pusher.start();
    pusher.set(metrics(1_005, 3.0));
    pusher.until("refused", || pusher.points("refused") == 2.0).await;
    pusher.until("the next is taken", || !datadog.of(SERIES).is_empty()).await;
    pusher.stop(running).await;
    assert_eq!(datadog.sum(RECORDS), 0.0);

    let (datadog, pusher) = self::pusher(json!({})).await;
    datadog.server.script([Fault::Page]);
    let running = pusher.start();
    pusher.set(metrics(1_005, 3.0));
    pusher.until("named", || pusher.condition("publish/datadog").detail.contains("a page instead of data")).await;
    pusher.until("the gauge is repeated", || !datadog.of(SERIES).is_empty()).await;
    pusher.stop(running).await;
    assert_eq!((datadog.sum(RECORDS), pusher.points("unknown")), (0.0, 1.0));
}

#[tokio::test]
async fn trap_a_413_is_split_until_it_fits() {
    let (datadog, pusher) = pusher(json!({})).await;
    datadog.take_at_most(3);
    let many = |n: u64| {
        (0..10).map(|i| format!("authwatch_source_records_total{{source=\"s{i}\"}} {n}\n")).collect::<String>()
    };
    pusher.set(many(5));
    let running = pusher.start();
    pusher.set(many(6));
    pusher.until("all are taken", || datadog.sum(RECORDS) == 10.0).await;
    pusher.stop(running).await;
    assert_eq!(datadog.sum(RECORDS), 10.0);
    assert!(datadog.sizes().iter().all(|size| *size <= 3), "{:?}", datadog.sizes());
    // Too large even alone: given up, and said.
    datadog.take_at_most(0);
    let running = pusher.start();
    pusher.set(many(7));
    pusher.until("given up", || pusher.points("refused") == 10.0).await;
    assert!(pusher.condition("publish/datadog").detail.contains("413 to a single point"));
    pusher.stop(running).await;
}

#[tokio::test]
async fn a_system_that_is_away_costs_the_oldest_pushes_only() {
    let (_datadog, gone) = pusher(json!({ "url": "http://127.0.0.1:9", "limits": { "waiting": 2 } })).await;
    let running = gone.start();
    let mut records = 0;
    while gone.points("no_room") < 3.0 {
        records += 1;
        gone.set(format!("authwatch_source_records_total{{source=\"a\"}} {records}\n"));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(gone.condition("publish/datadog").detail.contains("cannot be reached"));
    gone.stop(running).await;
    assert!((1.0..=2.0).contains(&gone.points("unsent")), "{}: no more than two waited", gone.points("unsent"));
}

#[tokio::test]
async fn series_are_capped_and_those_left_out_are_counted() {
    let (datadog, pusher) = pusher(json!({ "limits": { "series": 2 } })).await;
    let text = |n: u64| {
        format!(
            "authwatch_attempt_success_ratio{{org=\"acme\",app=\"HR\",window=\"5m\"}} 0.5\n\
             authwatch_duplicates_total{{org=\"acme\"}} {n}\n\
             authwatch_store_commits_total {n}\n"
        )
    };
    pusher.set(text(1));
    let running = pusher.start();
    pusher.set(text(3));
    pusher.until("pushed", || datadog.sum("authwatch.duplicates.count") == 2.0).await;
    pusher.stop(running).await;
    assert_eq!(datadog.sum("authwatch.store_commits.count"), 2.0);
    assert!(datadog.of("authwatch.attempt_success_ratio").is_empty(), "the one with the most labels");
    assert!(pusher.metric("authwatch_sink_series_dropped_total{", &["sink=\"datadog\""]) >= 1.0);
}

#[tokio::test]
async fn trap_apps_that_datadog_spells_alike_are_added_up() {
    let (datadog, pusher) = pusher(json!({})).await;
    let text = |n: u64| {
        format!(
            "authwatch_grants_total{{org=\"acme\",app=\"HR Portal\",assurance=\"pass\"}} {n}\n\
             authwatch_grants_total{{org=\"acme\",app=\"hr portal\",assurance=\"pass\"}} {n}\n"
        )
    };
    pusher.set(text(10));
    let running = pusher.start();
    pusher.set(text(13));
    pusher.until("pushed", || datadog.sum("authwatch.grants.count") > 0.0).await;
    pusher.stop(running).await;
    let grants = datadog.of("authwatch.grants.count");
    assert_eq!(grants.iter().map(|sent| sent.value).collect::<Vec<_>>(), [6.0], "one point: of two it would keep one");
    assert!(grants[0].tags.contains(&"app:hr_portal".to_owned()), "{grants:?}");
}

#[tokio::test]
async fn a_new_key_is_in_use_at_once() {
    let (datadog, mut pusher) = pusher(json!({})).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    std::fs::write(&file, API_KEY).expect("writes");
    pusher.config = config(&datadog, json!({ "api_key": { "file": file } }));
    datadog.take_key("fedcba9876543210fedcba9876543210");
    let running = pusher.start();
    pusher.set(metrics(1_005, 3.0));
    pusher.until("refused", || pusher.condition("publish/datadog").detail.contains("403")).await;
    std::fs::write(&file, "fedcba9876543210fedcba9876543210").expect("writes");
    pusher.until("taken", || datadog.sum(RECORDS) == 5.0).await;
    pusher.stop(running).await;
    for seen in datadog.server.seen() {
        assert!(!seen.path.contains("0123456789"), "a key is in no address");
    }
}

#[tokio::test]
async fn a_stop_in_mid_flight_ends_in_time_and_counts_what_it_cut_off() {
    let (datadog, pusher) = pusher(json!({ "timeout": "2m" })).await;
    datadog.server.script([Fault::DoneThenSilence]);
    let running = pusher.start();
    pusher.set(metrics(1_005, 3.0));
    pusher.until("under way", || datadog.sum(RECORDS) == 5.0).await;
    let within = authwatch::act::publish::FLUSH + Duration::from_secs(3);
    tokio::time::timeout(within, pusher.stop(running)).await.expect("within the flush");
    assert_eq!(pusher.points("unknown"), 2.0);
    let running = pusher.start();
    pusher.stop(running).await;
    assert_eq!(datadog.sum(RECORDS), 5.0, "never sent again");
}

#[tokio::test]
async fn a_policy_change_is_marked_once_where_the_log_is_read_in_time() {
    let (datadog, pusher) = pusher(json!({})).await;
    pusher.set(changes(4, 20.0));
    let running = pusher.start();
    pusher.set(changes(6, 20.0));
    pusher.until("marked", || !datadog.events().is_empty()).await;
    // Without a clear answer it is not marked again: it may stand there.
    datadog.server.script([Fault::DoneThen(500), Fault::DoneThen(500)]);
    pusher.set(changes(7, 20.0));
    pusher.until("unknown", || pusher.marks("unknown") == 1.0).await;
    pusher
        .until("read late", || {
            pusher.set(changes(9, 4_000.0));
            pusher.marks("left_out") == 1.0
        })
        .await;
    pusher.stop(running).await;
    let events = datadog.events();
    assert_eq!(events.len(), 2, "{events:#?}");
    assert_eq!(events[0]["category"], "change");
    assert_eq!(events[0]["title"], "2 of policy change in acme");
    assert_eq!(events[0]["tags"], json!(["org:acme", "kind:policy_change", "env:test"]));
    assert_eq!(
        events[0]["attributes"]["changed_resource"],
        json!({ "name": "acme policy_change", "type": "configuration" })
    );

    // In shadow mode nothing is marked, and metrics are pushed.
    let (datadog, pusher) = self::pusher(json!({ "mode": "shadow" })).await;
    pusher.set(changes(4, 20.0));
    let running = pusher.start();
    pusher.set(changes(6, 20.0));
    pusher.until("pushed", || datadog.sum("authwatch.events.count") == 2.0).await;
    pusher.stop(running).await;
    assert_eq!(datadog.events(), Vec::<Value>::new());
}

#[tokio::test]
async fn an_incident_is_one_alert_from_its_opening_to_its_end() {
    let (datadog, bench) = bench(json!({})).await;
    for action in [action(1, Open), action(2, Update), action_of("aw-b", 1, Open), action(3, Resolve)] {
        bench.tell(&[action]).await;
    }
    assert_eq!(datadog.alerts(), [(KEY.to_owned(), "ok".to_owned()), ("aw-b".into(), "error".into())].into());
    bench.tell(&[action(4, Reopen)]).await;
    assert_eq!(datadog.alerts()[KEY], "error");
    let first = datadog.events().remove(0);
    assert_eq!(first["title"], "Sign-in refused to 12 people");
    assert_eq!(first["message"], "note 1\n\nWhat fails, text 1");
    let tags = json!(["org:acme", format!("incident:{KEY}"), "rule:deny_spike", "severity:page", "env:test"]);
    assert_eq!(first["tags"], tags);
    assert!(bench.is_well(), "{}", bench.detail());
    // Nothing is told twice, and nothing opens only to be resolved.
    bench.tell(&[action(4, Reopen), action_of("aw-c", 2, Resolve)]).await;
    assert_eq!(datadog.events().len(), 5);
}

#[tokio::test]
async fn every_documented_error_of_an_event_has_its_class() {
    for (fault, reason) in [
        (Fault::Refuse(429, Some(1)), "rate_limited"),
        (Fault::RefuseWith(429, "X-RateLimit-Reset: 1"), "rate_limited"),
        (Fault::Refuse(408, None), "timeout"),
        (Fault::DoneThen(500), "server_error"),
        (Fault::Refuse(503, None), "server_error"),
        (Fault::ResetBefore, "connection_lost"),
        (Fault::ResetAfter, "connection_lost"),
        (Fault::DoneThenSilence, "timeout"),
        (Fault::Page, "bad_body"),
        (Fault::Refuse(401, None), "unauthorized"),
        (Fault::Refuse(403, None), "forbidden"),
    ] {
        let (datadog, bench) = bench(json!({ "timeout": "500ms" })).await;
        datadog.server.script([fault]);
        bench.tell(&[action(1, Open)]).await;
        assert_eq!(bench.retries(reason), 1.0, "{fault:?}");
        assert_eq!(datadog.alerts().len(), 1, "{fault:?}: one alert, however often it was told");
    }
    for status in [400, 413] {
        let (datadog, bench) = bench(json!({})).await;
        datadog.server.script([Fault::Refuse(status, None)]);
        bench.tell(&[action(1, Open), action_of("aw-b", 1, Open)]).await;
        assert_eq!((datadog.alerts().len(), bench.dead_letters().len()), (1, 1), "{status}");
        assert_eq!(datadog.server.seen().len(), 2, "{status}: never sent again");
    }
}

#[tokio::test]
async fn shadow_tells_nothing_and_metrics_alone_have_no_outbox() {
    let (datadog, bench) = bench(json!({ "mode": "shadow" })).await;
    bench.tell(&[action(1, Open)]).await;
    assert_eq!((datadog.server.seen().len(), bench.ledger(KEY).shadowed), (0, vec![Open]));
    let of = |more: Value| -> authwatch::act::Config {
        serde_json::from_value(config(&datadog, more)).expect("a configuration")
    };
    assert!(of(json!({})).tells() && !of(json!({ "events": false })).tells());
    let has_publisher = |more: Value| {
        let env: authwatch::secret::Lookup = std::sync::Arc::new(|_| None);
        of(more).publisher(env).expect("builds").is_some()
    };
    assert!(has_publisher(json!({ "events": false })) && has_publisher(json!({ "metrics": false })));
    assert!(!has_publisher(json!({ "metrics": false, "mode": "shadow" })));
}

/// The daemon's own wiring: the base line is taken after the committed counts are restored, and the last push after
/// the last commit.
#[tokio::test(flavor = "multi_thread")]
async fn trap_the_events_of_a_log_arrive_once_over_two_lives_of_a_daemon() {
    let datadog = Datadog::start().await;
    let world = process::world(Scenario::QuietWeek, 60, process::start() + Span::minutes(60)).await;
    let home = process::Home::of(&world, "");
    let key = home.dir.path().join("key");
    std::fs::write(&key, API_KEY).expect("writes");
    let section =
        format!("  - datadog: {{ url: {:?}, api_key: {{ file: {key:?} }}, interval: 1s }}\n", datadog.server.url);
    home.configure(&home.usual(&section));
    let events = |status: &Value| process::number(&status["events"]) as f64;
    let sum = || datadog.sum("authwatch.events.count");

    let daemon = home.daemon().await;
    let first = daemon.until_caught_up(&world).await;
    let (ended, log) = daemon.stop().await;
    assert_eq!(ended.code(), Some(0), "{log:#?}");
    assert!(events(&first) > 0.0);
    assert_eq!(sum(), events(&first), "all of the first life");

    world.clock.advance(Span::minutes(30));
    let daemon = home.daemon().await;
    let second = daemon.until_caught_up(&world).await;
    assert!(daemon.get("/readyz?verbose").await.1.contains("publish/datadog"));
    let (ended, log) = daemon.stop().await;
    assert_eq!(ended.code(), Some(0), "{log:#?}");
    assert!(events(&second) > events(&first));
    assert_eq!(sum(), events(&second), "only what the second life added");
    let bodies = datadog.bodies();
    assert!(bodies.contains("authwatch.attempts.count") && bodies.contains("authwatch.condition_ok"), "{bodies}");
}

#[test]
fn the_pages_examples_are_valid() {
    support::examples::check("datadog");
}
