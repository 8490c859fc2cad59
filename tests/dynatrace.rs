//! Dynatrace against a stand-in that takes lines one by one: counts add up to what was counted, whatever it answers,
//! and an incident is one problem that is held open.

#![expect(clippy::expect_used, clippy::panic, unreachable_pub, reason = "helpers of tests may fail a test")]
#![expect(dead_code, reason = "the helpers of several tests, not all of which are of use here")]

#[path = "common/incident.rs"]
mod incident;
mod support {
    //! What the tests of sinks share.
    pub(crate) use super::incident;
    pub mod bench;
    pub mod dynatrace;
    pub mod examples;
    pub mod pusher;
    pub mod server;
}

use std::time::Duration;

use authwatch::action::IncidentStep;
use authwatch::clock;
use authwatch::event::Span;
use authwatch::store::LedgerEntry;
use serde_json::{Value, json};
use support::bench::{Bench, KEY, action, action_of, time};
use support::dynatrace::{Dynatrace, TOKEN};
use support::pusher::{Pusher, changes, metrics};
use support::server::Fault;

use IncidentStep::{Open, Reopen, Resolve, Update};

const RECORDS: &str = "authwatch.source_records.count";
const SERIES: &str = "authwatch.series";

fn config(dynatrace: &Dynatrace, more: Value) -> Value {
    let mut config = json!({
        "url": format!("{}/e/env", dynatrace.server.url), "token": { "env": "DT_TOKEN" }, "interval": "1s",
        "timeout": "2s", "dimensions": { "env": "test" },
    });
    for (key, value) in more.as_object().expect("an object") {
        config[key] = value.clone();
    }
    json!({ "dynatrace": config })
}

/// A publisher whose metrics begin at 1,000 records.
async fn pusher(more: Value) -> (Dynatrace, Pusher) {
    let dynatrace = Dynatrace::start().await;
    let pusher = Pusher::new(config(&dynatrace, more));
    pusher.secret("DT_TOKEN", TOKEN);
    pusher.set(metrics(1_000, 3.0));
    (dynatrace, pusher)
}

async fn bench(more: Value) -> (Dynatrace, Bench) {
    let dynatrace = Dynatrace::start().await;
    let bench = Bench::new(config(&dynatrace, more));
    bench.secret("DT_TOKEN", TOKEN);
    (dynatrace, bench)
}

#[tokio::test]
async fn counters_are_deltas_gauges_are_gauges_and_a_histogram_is_a_summary() {
    let (dynatrace, pusher) = pusher(json!({})).await;
    let histogram = |n: u64, sum: f64| {
        let name = "authwatch_store_commit_duration_seconds";
        format!(
            "{name}_bucket{{le=\"0.01\"}} 0\n{name}_bucket{{le=\"0.1\"}} {n}\n{name}_bucket{{le=\"+Inf\"}} {n}\n{name}_sum {sum}\n{name}_count {n}\n"
        )
    };
    pusher.set(metrics(1_000, 3.0) + &histogram(2, 0.1));
    let running = pusher.start();
    pusher.set(metrics(1_005, 4.5) + &histogram(4, 0.2));
    pusher.until("pushed", || dynatrace.sum(RECORDS) == 5.0).await;
    pusher.stop(running).await;
    let line = dynatrace.of(RECORDS).remove(0);
    let dimensions = [("source".to_owned(), "okta:acme".to_owned()), ("env".into(), "test".into())];
    assert_eq!((line.payload.as_str(), line.dimensions), ("count,delta=5", dimensions.into()));
    assert!((clock::now().0 - line.at).abs() < 60_000, "{}", line.at);
    assert_eq!(dynatrace.of(SERIES)[0].payload, "gauge,4.5");
    let summary = dynatrace.of("authwatch.store_commit_duration_seconds").remove(0);
    assert_eq!(summary.payload, "gauge,min=0.01,max=0.1,sum=0.1,count=2");
    assert!(dynatrace.of("authwatch.event_success_ratio").is_empty(), "no number is no line");
    assert_eq!(pusher.points("refused"), 0.0);
}

#[tokio::test]
async fn trap_a_400_with_lines_ok_is_partial_acceptance_and_is_never_replayed() {
    let (dynatrace, pusher) = pusher(json!({})).await;
    dynatrace.refuse(SERIES);
    let running = pusher.start();
    pusher.set(metrics(1_005, 3.0));
    pusher.until("named", || pusher.condition("publish/dynatrace").detail.contains("took 1 of 2 lines")).await;
    let detail = pusher.condition("publish/dynatrace").detail;
    assert!(detail.ends_with("authwatch.series: invalid line"), "{detail}");
    pusher.set(metrics(1_007, 3.0));
    pusher.until("the next push", || dynatrace.sum(RECORDS) >= 7.0).await;
    pusher.stop(running).await;
    assert_eq!(dynatrace.sum(RECORDS), 7.0, "what was taken is not sent again");
    let sent = dynatrace.server.seen().len() as f64;
    assert_eq!(pusher.points("refused"), sent, "the refused line of each push, and no other");
    assert_eq!(pusher.points("sent"), dynatrace.taken() as f64);
}

#[tokio::test]
async fn trap_a_line_number_that_cannot_be_is_no_index() {
    for number in [0, 3, 4_000_000_000] {
        let (dynatrace, pusher) = pusher(json!({})).await;
        dynatrace.refuse(SERIES);
        dynatrace.number_lines(number);
        let running = pusher.start();
        pusher.set(metrics(1_005, 3.0));
        pusher.until("named", || pusher.condition("publish/dynatrace").detail.ends_with("a line: invalid line")).await;
        pusher.stop(running).await;
        assert_eq!(dynatrace.sum(RECORDS), 5.0, "{number}");
    }
}

#[tokio::test]
async fn trap_a_restart_sends_no_count_again_and_loses_none() {
    let (dynatrace, pusher) = pusher(json!({})).await;
    let mut total = 1_000;
    for _ in 0..3 {
        let running = pusher.start();
        total += 7;
        pusher.set(metrics(total, 1.0));
        pusher.stop(running).await;
        assert_eq!(dynatrace.sum(RECORDS), (total - 1_000) as f64);
    }
}

#[tokio::test]
async fn trap_a_count_that_may_have_arrived_is_never_sent_again() {
    for fault in [
        Fault::DoneThen(500),
        Fault::DoneThen(502),
        Fault::DoneThen(503),
        Fault::DoneThen(400),
        Fault::ResetAfter,
        Fault::DoneThenSilence,
    ] {
        let (dynatrace, pusher) = pusher(json!({})).await;
        dynatrace.server.script([fault]);
        let running = pusher.start();
        pusher.set(metrics(1_005, 3.0));
        let lost = || pusher.points("unknown") + pusher.points("refused");
        pusher.until("given up", || lost() >= 1.0).await;
        pusher.set(metrics(1_009, 3.0));
        pusher.until("again well", || dynatrace.sum(RECORDS) >= 9.0).await;
        pusher.stop(running).await;
        assert_eq!(dynatrace.sum(RECORDS), 9.0, "{fault:?}");
    }
}

#[tokio::test]
async fn what_was_certainly_not_taken_is_sent_later_whole() {
    for (fault, reason, names) in [
        (Fault::Refuse(429, Some(1)), "rate_limited", "429"),
        (Fault::Refuse(429, None), "rate_limited", "429"),
        (Fault::Refuse(401, None), "unauthorized", "needs the scope `metrics.ingest`"),
        (Fault::Refuse(403, None), "forbidden", "needs the scope `metrics.ingest`"),
        (Fault::Refuse(404, None), "not_found", "is `url` right?"),
    ] {
        let (dynatrace, pusher) = pusher(json!({})).await;
        dynatrace.server.script([fault]);
        let running = pusher.start();
        pusher.set(metrics(1_005, 3.0));
        pusher.until("named", || pusher.condition("publish/dynatrace").detail.contains(names)).await;
        pusher.until("taken", || dynatrace.sum(RECORDS) == 5.0).await;
        pusher.stop(running).await;
        assert_eq!((dynatrace.sum(RECORDS), pusher.points("unknown")), (5.0, 0.0), "{fault:?}");
        assert_eq!(pusher.metric("authwatch_sink_retries_total{", &[reason]), 1.0, "{fault:?}");
    }
}

#[tokio::test]
async fn a_page_with_a_good_status_is_no_acceptance() {
    let (dynatrace, pusher) = pusher(json!({})).await;
    dynatrace.server.script([Fault::Page]);
    let running = pusher.start();
    pusher.set(metrics(1_005, 3.0));
    pusher.until("named", || pusher.condition("publish/dynatrace").detail.contains("a page instead of data")).await;
    pusher.until("the gauge is repeated", || !dynatrace.of(SERIES).is_empty()).await;
    pusher.stop(running).await;
    assert_eq!(pusher.points("unknown"), 1.0);
}

#[tokio::test]
async fn a_missing_scope_is_named_and_holds_up_nothing_else() {
    let (dynatrace, pusher) = pusher(json!({})).await;
    dynatrace.scope("events.ingest", false);
    pusher.set(changes(1, 20.0));
    let running = pusher.start();
    pusher.set(changes(2, 20.0));
    pusher
        .until("named", || {
            pusher.condition("publish/dynatrace/changes").detail.contains("needs the scope `events.ingest`")
        })
        .await;
    pusher.until("metrics are pushed", || dynatrace.sum("authwatch.events.count") == 1.0).await;
    assert!(pusher.condition("publish/dynatrace").ok);
    dynatrace.scope("events.ingest", true);
    pusher.until("marked", || !dynatrace.deployments().is_empty()).await;
    pusher.stop(running).await;
    let marker = dynatrace.deployments().remove(0);
    assert_eq!((&marker["title"], &marker["properties"]["count"]), (&json!("policy change in acme"), &json!("1")));
    assert_eq!(marker["properties"]["dt.event.deployment.name"], "policy change in acme");
    assert_eq!(marker["properties"]["env"], "test");
}

#[tokio::test]
async fn trap_a_413_is_split_until_it_fits_and_no_request_has_more_than_a_thousand_lines() {
    let (dynatrace, pusher) = pusher(json!({ "limits": { "series": 5_000 } })).await;
    let many = |n: u64| {
        (0..2_500).map(|i| format!("authwatch_source_records_total{{source=\"s{i}\"}} {n}\n")).collect::<String>()
    };
    pusher.set(many(5));
    let running = pusher.start();
    pusher.set(many(6));
    pusher.until("all are taken", || dynatrace.sum(RECORDS) == 2_500.0).await;
    assert_eq!(dynatrace.server.seen().len(), 3);
    dynatrace.take_at_most(700);
    pusher.set(many(8));
    pusher.until("all are taken", || dynatrace.sum(RECORDS) >= 7_500.0).await;
    pusher.stop(running).await;
    assert_eq!((dynatrace.sum(RECORDS), pusher.points("refused")), (7_500.0, 0.0));
}

#[tokio::test]
async fn series_are_capped_and_those_left_out_are_counted() {
    let (dynatrace, pusher) = pusher(json!({ "limits": { "series": 1 } })).await;
    let running = pusher.start();
    pusher.set(metrics(1_005, 3.0));
    pusher.until("pushed", || dynatrace.taken() > 0).await;
    pusher.stop(running).await;
    assert!(dynatrace.of(RECORDS).is_empty() || dynatrace.of(SERIES).is_empty());
    assert!(pusher.metric("authwatch_sink_series_dropped_total{", &["sink=\"dynatrace\""]) >= 1.0);
}

#[tokio::test]
async fn a_stop_in_mid_flight_ends_in_time_and_counts_what_it_cut_off() {
    let (dynatrace, pusher) = pusher(json!({ "timeout": "2m" })).await;
    dynatrace.server.script([Fault::DoneThenSilence]);
    let running = pusher.start();
    pusher.set(metrics(1_005, 3.0));
    pusher.until("under way", || dynatrace.sum(RECORDS) == 5.0).await;
    let within = authwatch::act::publish::FLUSH + Duration::from_secs(3);
    tokio::time::timeout(within, pusher.stop(running)).await.expect("within the flush");
    assert_eq!(pusher.points("unknown"), 2.0);
}

#[tokio::test]
async fn an_incident_is_one_problem_with_annotations_beside_it() {
    let (dynatrace, bench) = bench(json!({ "entity_selector": "type(SERVICE),tag(okta)" })).await;
    for action in [action(1, Open), action(2, Update), action(3, Resolve)] {
        bench.tell(&[action]).await;
    }
    let problems = dynatrace.problems();
    assert_eq!(problems.len(), 1);
    let (problem, times) = &problems[0];
    assert_eq!((*times, &problem["title"]), (1, &json!("Sign-in refused to 12 people")));
    assert_eq!(problem["properties"]["incident"], KEY);
    assert_eq!(problem["entitySelector"], "type(SERVICE),tag(okta)");
    let annotations = dynatrace.annotations();
    let titles: Vec<&Value> = annotations.iter().map(|event| &event["title"]).collect();
    assert_eq!(titles, ["Update: Sign-in refused to 12 people", "Over: Sign-in refused to 12 people"]);
    assert_eq!(annotations[1]["startTime"], time(3).0);
    assert!(bench.is_well(), "{}", bench.detail());
    bench.tell(&[action(4, Reopen)]).await;
    assert_eq!(dynatrace.problems().len(), 2);
    bench.tell(&[action(4, Reopen), action_of("aw-c", 2, Resolve)]).await;
    assert_eq!((dynatrace.problems().len(), dynatrace.annotations().len()), (2, 2));
}

#[tokio::test]
async fn trap_a_problem_ends_unless_the_same_event_is_repeated_also_after_an_update_and_a_restart() {
    let (dynatrace, bench) = bench(json!({ "problem_timeout": "3m" })).await;
    bench.tell(&[action(1, Open)]).await;
    bench.tell(&[action(2, Update)]).await;
    assert_eq!(dynatrace.problems()[0].1, 1, "not due yet");
    // A minute later, as far as the ledger knows: a third of the time-out.
    let due = || {
        let entry = bench.ledger(KEY);
        let told_at = Some(clock::now() - Span::minutes(1));
        bench.store().put_ledger(&bench.name(), KEY, &LedgerEntry { told_at, ..entry }).expect("written");
    };
    due();
    let running = bench.start();
    bench.until("held open", || dynatrace.problems()[0].1 == 2).await;
    bench.stop(running).await;
    assert_eq!(dynatrace.problems().len(), 1, "the very same event");
    bench.tell(&[action(3, Resolve)]).await;
    due();
    let running = bench.start();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    bench.stop(running).await;
    assert_eq!(dynatrace.problems()[0].1, 2, "what is over is not held open");
}

#[tokio::test]
async fn trap_an_annotation_without_a_clear_answer_is_not_sent_again() {
    for fault in [Fault::DoneThen(500), Fault::ResetAfter, Fault::DoneThenSilence] {
        let (dynatrace, bench) = bench(json!({ "timeout": "500ms" })).await;
        bench.tell(&[action(1, Open)]).await;
        dynatrace.server.script([fault]);
        bench.tell(&[action(2, Update)]).await;
        bench.tell(&[action(2, Update)]).await;
        assert_eq!(dynatrace.annotations().len(), 1, "{fault:?}");
    }
    // What was certainly not taken is.
    for fault in [Fault::Refuse(429, Some(1)), Fault::Refuse(403, None), Fault::Refuse(401, None)] {
        let (dynatrace, bench) = bench(json!({})).await;
        bench.tell(&[action(1, Open)]).await;
        dynatrace.server.script([fault]);
        bench.tell(&[action(2, Update)]).await;
        assert_eq!(dynatrace.annotations().len(), 1, "{fault:?}");
    }
    // A kill in between is a repetition that may double, so it is none.
    let (dynatrace, mut bench) = bench(json!({ "timeout": "2m" })).await;
    bench.tell(&[action(1, Open)]).await;
    dynatrace.server.script([Fault::DoneThenSilence]);
    bench.commit(&[action(2, Update)]);
    let running = bench.start();
    bench.until("under way", || dynatrace.annotations().len() == 1).await;
    bench.kill(running).await;
    let running = bench.start();
    bench.drained().await;
    bench.stop(running).await;
    assert_eq!(dynatrace.annotations().len(), 1);
}

#[tokio::test]
async fn every_documented_error_of_a_problem_has_its_class() {
    for (fault, reason) in [
        (Fault::Refuse(429, Some(1)), "rate_limited"),
        (Fault::DoneThen(500), "server_error"),
        (Fault::Refuse(503, None), "server_error"),
        (Fault::ResetBefore, "connection_lost"),
        (Fault::ResetAfter, "connection_lost"),
        (Fault::DoneThenSilence, "timeout"),
        (Fault::Page, "bad_body"),
        (Fault::Refuse(401, None), "unauthorized"),
        (Fault::Refuse(403, None), "forbidden"),
    ] {
        let (dynatrace, bench) = bench(json!({ "timeout": "500ms" })).await;
        dynatrace.server.script([fault]);
        bench.tell(&[action(1, Open)]).await;
        assert_eq!(bench.retries(reason), 1.0, "{fault:?}");
        assert_eq!(dynatrace.problems().len(), 1, "{fault:?}: the same event is the same problem");
    }
    let (dynatrace, bench) = bench(json!({})).await;
    dynatrace.server.script([Fault::Refuse(400, None)]);
    bench.tell(&[action(1, Open), action_of("aw-b", 1, Open)]).await;
    assert_eq!((dynatrace.problems().len(), bench.dead_letters().len()), (1, 1));
    // A status in the answer tells that no entity took it.
    let (dynatrace, bench) = self::bench(json!({})).await;
    dynatrace.answer_events("INVALID_ENTITY_TYPE");
    bench.tell(&[action(1, Open)]).await;
    assert!(bench.dead_letters()[0].1.contains("INVALID_ENTITY_TYPE"), "{:?}", bench.dead_letters());
}

#[tokio::test]
async fn shadow_tells_nothing_and_going_live_opens_what_is_open() {
    let (dynatrace, mut bench) = bench(json!({ "mode": "shadow" })).await;
    bench.tell(&[action(1, Open), action_of("aw-over", 1, Open)]).await;
    bench.tell(&[action(2, Update), action_of("aw-over", 2, Resolve)]).await;
    assert_eq!(dynatrace.server.seen().len(), 0);
    bench.config["dynatrace"]["mode"] = json!("live");
    let running = bench.start();
    bench.until("told", || !dynatrace.problems().is_empty()).await;
    bench.until("recorded", || bench.ledger(KEY).revision == 2).await;
    bench.stop(running).await;
    assert_eq!(dynatrace.problems().len(), 1);
    assert!(bench.ledger(KEY).last.is_some(), "it is held open from here");
}

#[test]
fn the_pages_examples_are_valid() {
    support::examples::check("dynatrace");
}
