//! The Alertmanager sink against a stand-in, and against a real one where `AUTHWATCH_ALERTMANAGER` names its address:
//! an incident is one alert, held up while it is open, whatever happens on the way.

#![expect(clippy::expect_used, clippy::panic, unreachable_pub, reason = "helpers of tests may fail a test")]

#[path = "common/incident.rs"]
mod incident;
mod support {
    //! What the tests of sinks share.
    pub(crate) use super::incident;
    pub mod alertmanager;
    pub mod bench;
    pub mod examples;
    pub mod server;
}

use std::time::Duration;

use authwatch::act;
use authwatch::action::{IncidentStep, Severity};
use authwatch::clock;
use authwatch::event::{Check, CheckVerdict, PostureCheck, Span};
use authwatch::store::LedgerEntry;
use serde_json::{Value, json};
use support::alertmanager::{Alertmanager, ends};
use support::bench::{Bench, KEY, action, action_of, time};
use support::server::Fault;

use IncidentStep::{Open, Reopen, Resolve, Update};

fn config(url: &str, more: Value) -> Value {
    let mut config = json!({ "url": url, "resend_interval": "1s", "expire_after": "1h", "timeout": "5s" });
    for (key, value) in more.as_object().expect("an object") {
        config[key] = value.clone();
    }
    json!({ "alertmanager": config })
}

async fn start(more: Value) -> (Alertmanager, Bench) {
    let alertmanager = Alertmanager::start().await;
    let bench = Bench::new(config(&alertmanager.server.url, more));
    (alertmanager, bench)
}

/// Whether an alert is firing now.
fn fires(alert: &Value) -> bool {
    ends(alert) > clock::now()
}

#[tokio::test]
async fn an_incident_fires_is_updated_ends_and_fires_again_as_one_alert() {
    let (alertmanager, bench) =
        start(json!({ "labels": { "team": "iam" }, "generator_url": "https://authwatch.example.com/" })).await;
    let mut open = action(1, Open);
    open.incident.checks.push(Check {
        check: PostureCheck::OsVersion,
        detail: "minimum".into(),
        required: "14.6.0".into(),
        actual: None,
        result: CheckVerdict::Fail,
    });
    bench.tell(&[open]).await;
    let alert = alertmanager.alert();
    assert_eq!(
        alert["labels"],
        json!({
            "alertname": "AuthwatchIncident", "org": "acme", "incident": KEY, "rule": "deny_spike",
            "severity": "critical", "team": "iam",
        })
    );
    assert_eq!(
        alert["annotations"],
        json!({
            "title": "Sign-in refused to 12 people", "description": "What fails, text 1", "people": "12",
            "checks": "os_version (minimum): required 14.6.0, actual not known",
        })
    );
    assert_eq!(alert["startsAt"], time(0).to_string(), "the onset");
    assert_eq!(alert["generatorURL"], "https://authwatch.example.com/");
    assert!(fires(&alert));

    bench.tell(&[action(2, Update)]).await;
    assert_eq!(alertmanager.alert()["annotations"]["description"], "What fails, text 2");
    bench.tell(&[action(3, Resolve)]).await;
    assert_eq!(ends(&alertmanager.alert()), time(3), "when it was over");
    bench.tell(&[action(4, Reopen)]).await;
    assert!(fires(&alertmanager.alert()));
    let results = [("open", "created"), ("update", "updated"), ("resolve", "resolved"), ("reopen", "reopened")];
    for (step, result) in results {
        assert_eq!(bench.result(step, result), 1.0, "{step}");
    }
    assert!(bench.is_well(), "{}", bench.detail());
}

#[tokio::test]
async fn trap_an_alert_is_its_labels_so_a_rise_in_severity_ends_the_old_one() {
    let (alertmanager, bench) = start(json!({})).await;
    let mut open = action(1, Open);
    open.incident.severity = Severity::Ticket;
    bench.tell(&[open]).await;
    bench.tell(&[action(2, Update)]).await;
    let alerts = alertmanager.alerts();
    let firing: Vec<&Value> =
        alerts.iter().filter(|alert| fires(alert)).map(|alert| &alert["labels"]["severity"]).collect();
    assert_eq!((alerts.len(), firing), (2, vec![&json!("critical")]), "{alerts:#?}");
}

#[tokio::test]
async fn trap_an_alert_that_nobody_repeats_ends_so_it_is_repeated_also_after_a_restart() {
    let (alertmanager, mut bench) = start(json!({ "expire_after": "3s", "timeout": "1s" })).await;
    bench.commit(&[action(1, Open)]);
    let running = bench.start();
    bench.drained().await;
    let first = ends(&alertmanager.alert());
    bench.until("held up beyond its first end", || clock::now() > first + Span::seconds(1)).await;
    assert!(fires(&alertmanager.alert()));
    let before = alertmanager.told().len();
    assert!(before >= 4, "{before}");
    bench.kill(running).await;

    // Nothing is in the outbox; the ledger knows.
    assert_eq!(bench.waiting(), 0);
    let last = ends(&alertmanager.alert());
    let running = bench.start();
    bench.until("repeated", || alertmanager.told().len() > before && ends(&alertmanager.alert()) > last).await;
    assert!(bench.is_well(), "{}", bench.detail());
    bench.stop(running).await;
    assert_eq!(bench.metric("authwatch_sink_actions_total{", &[]), 1.0, "a repetition is no action");
}

#[tokio::test]
async fn trap_an_end_is_repeated_for_five_minutes_and_no_longer() {
    let (alertmanager, bench) = start(json!({})).await;
    bench.tell(&[action(1, Open)]).await;
    bench.tell(&[action(2, Resolve)]).await;
    let before = alertmanager.told().len();
    let running = bench.start();
    bench.until("repeated twice", || alertmanager.told().len() >= before + 2).await;
    bench.stop(running).await;
    assert_eq!(ends(&alertmanager.alert()), time(2), "as an end");

    let told_at = Some(clock::now() - Span::seconds(301));
    let entry = LedgerEntry { told_at, ..bench.ledger(KEY) };
    bench.store().put_ledger("alertmanager", KEY, &entry).expect("puts");
    let before = alertmanager.told().len();
    let running = bench.start();
    bench.until("forgotten", || bench.ledger(KEY).last.is_none()).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    bench.stop(running).await;
    assert_eq!(alertmanager.told().len(), before);
}

#[tokio::test]
async fn trap_a_request_that_answers_400_may_be_stored_and_is_never_sent_again() {
    let (alertmanager, bench) = start(json!({})).await;
    alertmanager.server.script([Fault::DoneThen(400)]);
    bench.tell(&[action(1, Open), action_of("aw-b", 1, Open)]).await;
    let keys = |alerts: Vec<Value>| alerts.iter().map(|alert| alert["labels"]["incident"].clone()).collect::<Vec<_>>();
    assert_eq!(keys(alertmanager.alerts()).len(), 2, "the other is not held up");
    let letters = bench.dead_letters();
    assert_eq!(letters.len(), 1);
    let (reason, detail) = &letters[0];
    assert_eq!(reason, "invalid");
    assert!(detail.starts_with("Alertmanager 127.0.0.1:") && detail.ends_with("answered 400: awkward"), "{detail}");
    assert_eq!(alertmanager.told().len(), 2, "no request was repeated");
}

#[tokio::test]
async fn trap_a_400_stores_the_valid_alerts_so_labels_are_checked_when_they_are_read() {
    let alertmanager = Alertmanager::start().await;
    let reply = reqwest::Client::new()
        .post(format!("{}/api/v2/alerts", alertmanager.server.url))
        .json(&json!([
            { "labels": { "a": "x" }, "annotations": {}, "startsAt": "1", "endsAt": "2" },
            { "labels": { "my-team": "x" }, "annotations": {}, "startsAt": "1", "endsAt": "2" },
        ]))
        .send()
        .await
        .expect("an answer");
    assert_eq!(reply.status(), 400);
    assert_eq!(reply.text().await.expect("text"), "\"invalid label set: invalid name \\\"my-team\\\"\"");
    assert_eq!(alertmanager.alerts().len(), 1, "the valid one is stored");
    let refused: Result<act::Config, _> =
        serde_json::from_value(config("http://a", json!({ "labels": { "my-team": "x" } })));
    assert!(refused.expect_err("no label").to_string().contains("`labels` has `my-team`"));
}

#[tokio::test]
async fn trap_replicas_do_not_share_alerts_so_each_is_told_and_one_is_enough() {
    let (one, two) = (Alertmanager::start().await, Alertmanager::start().await);
    let urls = json!({ "url": null, "urls": [one.server.url, two.server.url] });
    let bench = Bench::new(config("", urls));
    bench.tell(&[action(1, Open)]).await;
    assert_eq!(one.alert()["labels"], two.alert()["labels"]);
    assert!(bench.is_well());

    two.server.script([Fault::Refuse(503, None)]);
    bench.commit(&[action(2, Update)]);
    let running = bench.start();
    bench.drained().await;
    bench.until("the other is named or back", || alertmanager_has(&two, "text 2")).await;
    bench.stop(running).await;
    assert!(alertmanager_has(&one, "text 2"), "one is enough");

    for server in [&one.server, &two.server] {
        server.script([Fault::Refuse(503, None)]);
    }
    // Two of three requests each: the repetition at the start may take the first fault.
    bench.tell(&[action(3, Resolve)]).await;
    assert!(bench.retries("server_error") >= 1.0, "none accepted, so it is tried again");
    assert_eq!((ends(&one.alert()), ends(&two.alert())), (time(3), time(3)));
}

fn alertmanager_has(alertmanager: &Alertmanager, text: &str) -> bool {
    alertmanager.alert()["annotations"]["description"].as_str().is_some_and(|found| found.contains(text))
}

#[tokio::test]
async fn a_replica_that_is_away_is_named_and_holds_up_nothing() {
    let alertmanager = Alertmanager::start().await;
    let urls = json!({ "url": null, "urls": [alertmanager.server.url, "http://127.0.0.1:9"] });
    let bench = Bench::new(config("", urls));
    bench.tell(&[action(1, Open)]).await;
    alertmanager.alert();
    let detail = bench.detail();
    assert!(detail.starts_with("1 of 2 Alertmanagers do not take alerts: Alertmanager 127.0.0.1:9 cannot"), "{detail}");
}

#[tokio::test]
async fn whatever_happens_on_the_way_there_is_one_alert_in_the_end() {
    for (fault, reason) in [
        (Fault::Refuse(500, None), "server_error"),
        (Fault::RefuseWith(503, "X-RateLimit-Reset: 9999999999"), "server_error"),
        (Fault::Refuse(429, Some(1)), "rate_limited"),
        (Fault::Refuse(408, None), "timeout"),
        (Fault::Refuse(401, None), "unauthorized"),
        (Fault::Refuse(403, None), "forbidden"),
        (Fault::Refuse(404, None), "not_found"),
        (Fault::Refuse(302, None), "redirected"),
        (Fault::DoneThen(500), "server_error"),
        (Fault::ResetBefore, "connection_lost"),
        (Fault::ResetAfter, "connection_lost"),
        (Fault::Page, "bad_body"),
        (Fault::DoneThenCut, "connection_lost"),
    ] {
        let (alertmanager, bench) = start(json!({})).await;
        alertmanager.server.script([fault]);
        bench.tell(&[action(1, Open)]).await;
        assert_eq!(bench.retries(reason), 1.0, "{fault:?}");
        assert_eq!(alertmanager.told().len(), 2, "{fault:?}");
        assert!(fires(&alertmanager.alert()), "{fault:?}");
        assert!(bench.is_well(), "{fault:?}: {}", bench.detail());
    }
}

#[tokio::test]
async fn a_rate_limit_is_obeyed() {
    let (alertmanager, bench) = start(json!({})).await;
    alertmanager.server.script([Fault::Refuse(429, Some(2))]);
    bench.tell(&[action(1, Open)]).await;
    let told = alertmanager.told();
    assert!(told[1].at - told[0].at >= Duration::from_secs(2), "Retry-After");
}

#[tokio::test]
async fn an_answer_that_never_comes_is_asked_for_again() {
    let (alertmanager, bench) = start(json!({ "timeout": "300ms" })).await;
    alertmanager.server.script([Fault::DoneThenSilence]);
    bench.tell(&[action(1, Open)]).await;
    alertmanager.alert();
    assert_eq!(bench.retries("timeout"), 1.0);
}

#[tokio::test]
async fn a_stop_in_mid_flight_ends_in_time_and_the_next_start_tells_it() {
    let (alertmanager, bench) = start(json!({ "timeout": "10m" })).await;
    alertmanager.server.script([Fault::DoneThenSilence]);
    bench.commit(&[action(1, Open)]);
    let running = bench.start();
    bench.until("under way", || alertmanager.told().len() == 1).await;
    let within = act::DRAIN + Duration::from_secs(5);
    tokio::time::timeout(within, bench.stop(running)).await.expect("within the drain");
    assert_eq!(bench.waiting(), 1, "kept for the next start");
    let running = bench.start();
    bench.drained().await;
    bench.stop(running).await;
    alertmanager.alert();
}

#[tokio::test]
async fn credentials_are_sent_and_a_new_one_is_in_use_at_once() {
    let (alertmanager, bench) = start(json!({ "auth": { "bearer": { "env": "AM_TOKEN" } } })).await;
    bench.commit(&[action(1, Open)]);
    let running = bench.start();
    bench.until("named", || bench.detail().contains("`AM_TOKEN` is not set")).await;
    assert_eq!(alertmanager.server.seen().len(), 0, "nothing is sent without them");
    bench.secret("AM_TOKEN", "first");
    bench.drained().await;
    bench.secret("AM_TOKEN", "second");
    bench.commit(&[action(2, Update)]);
    bench.drained().await;
    bench.stop(running).await;
    let sent: Vec<String> = alertmanager.told().iter().map(|seen| seen.header("authorization").to_owned()).collect();
    assert_eq!(sent.first().map(String::as_str), Some("Bearer first"));
    assert!(sent.contains(&"Bearer second".to_owned()), "{sent:?}");

    let (alertmanager, bench) =
        start(json!({ "auth": { "basic": { "user": { "env": "U" }, "password": { "env": "P" } } } })).await;
    bench.secret("U", "user");
    bench.secret("P", "secret");
    bench.tell(&[action(1, Open)]).await;
    assert_eq!(alertmanager.told()[0].header("authorization"), "Basic dXNlcjpzZWNyZXQ=");
}

#[tokio::test]
async fn nothing_fires_only_to_end_and_what_was_told_is_not_told_again() {
    let (alertmanager, bench) = start(json!({})).await;
    bench.tell(&[action(4, Resolve)]).await;
    assert_eq!(alertmanager.told().len(), 0);
    assert_eq!(bench.result("resolve", "nothing_to_resolve"), 1.0);
    bench.tell(&[action(5, Reopen)]).await;
    bench.tell(&[action(5, Reopen), action(4, Resolve)]).await;
    assert_eq!(bench.result("reopen", "unchanged"), 1.0);
    assert!(fires(&alertmanager.alert()));
}

#[tokio::test]
async fn an_end_that_was_given_up_ends_the_repetition_too() {
    let (alertmanager, bench) = start(json!({ "resend_interval": "2s" })).await;
    bench.commit(&[action(1, Open)]);
    let running = bench.start();
    bench.drained().await;
    // Between two repetitions: the next request is the end.
    alertmanager.server.script([Fault::Refuse(400, None)]);
    bench.commit(&[action(2, Resolve)]);
    bench.drained().await;
    assert_eq!(bench.dead_letters().len(), 1);
    bench.until("forgotten", || bench.ledger(KEY).last.is_none()).await;
    bench.stop(running).await;
}

#[tokio::test]
async fn a_question_at_the_start_shows_whether_it_is_there() {
    let bench = Bench::new(config("http://127.0.0.1:9", json!({})));
    let running = bench.start();
    bench.until("named", || bench.detail().contains("127.0.0.1:9 cannot be reached (is `url` right?)")).await;
    bench.stop(running).await;
    let (alertmanager, bench) = start(json!({})).await;
    let running = bench.start();
    bench.until("well", || bench.is_well()).await;
    bench.stop(running).await;
    assert_eq!(alertmanager.server.seen()[0].path, "/api/v2/status");
}

/// The alerts of a real Alertmanager that fire for an incident.
async fn firing(url: &str, key: &str) -> Vec<Value> {
    let url = format!("{url}/api/v2/alerts?active=true&filter=incident%3D%22{key}%22");
    let reply = reqwest::get(url).await.expect("an answer");
    serde_json::from_slice(&reply.bytes().await.expect("a body")).expect("JSON")
}

/// `.ci/alertmanager` starts one with a `resolve_timeout` of two seconds.
#[tokio::test]
async fn a_real_alertmanager_shows_an_incident_once_until_it_is_over() {
    let Ok(url) = std::env::var("AUTHWATCH_ALERTMANAGER") else {
        eprintln!("skipped: AUTHWATCH_ALERTMANAGER names no Alertmanager (see .ci/alertmanager)");
        return;
    };
    let key = format!("aw-{:032x}", clock::now().0);
    let bench = Bench::new(config(&url, json!({ "expire_after": "4s", "timeout": "2s" })));
    let of = |revision, step| {
        let mut action = action_of(&key, revision, step);
        action.incident.onset = clock::now() - Span::minutes(5);
        action.incident.resolved_at = action.incident.resolved_at.map(|_| clock::now());
        action
    };
    bench.commit(&[of(1, Open)]);
    let running = bench.start();
    bench.drained().await;
    let began = clock::monotonic();
    while began.elapsed() < Duration::from_secs(7) {
        let firing = firing(&url, &key).await;
        assert_eq!(firing.len(), 1, "{firing:#?} after {:?}", began.elapsed());
        assert_eq!(firing[0]["status"]["state"], "active");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    bench.commit(&[of(2, Update)]);
    bench.drained().await;
    let alerts = firing(&url, &key).await;
    assert_eq!((alerts.len(), &alerts[0]["annotations"]["description"]), (1, &json!("What fails, text 2")));
    bench.commit(&[of(3, Resolve)]);
    bench.drained().await;
    assert_eq!(firing(&url, &key).await, Vec::<Value>::new());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(firing(&url, &key).await, Vec::<Value>::new(), "the repeated end starts nothing");
    bench.stop(running).await;
    assert!(bench.is_well(), "{}", bench.detail());
}

#[test]
fn the_pages_examples_are_valid() {
    support::examples::check("alertmanager");
}
