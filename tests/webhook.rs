//! The webhook sink against a stand-in: every step reaches the receiver once as far as it cares, in its own shape,
//! signed so that it cannot be played again.

#![expect(clippy::expect_used, clippy::panic, unreachable_pub, reason = "helpers of tests may fail a test")]

#[path = "common/incident.rs"]
mod incident;
mod support {
    //! What the tests of sinks share.
    pub(crate) use super::incident;
    pub mod bench;
    pub mod examples;
    pub mod server;
    pub mod webhook;
}

use std::path::Path;
use std::time::Duration;

use authwatch::act;
use authwatch::action::IncidentStep;
use authwatch::app::parts::Parts;
use authwatch::clock;
use authwatch::config::{Config, Environment};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use support::bench::{Bench, KEY, action, action_of};
use support::server::{Fault, Seen};
use support::webhook::Receiver;

use IncidentStep::{Open, Resolve, Update};

async fn start(more: Value) -> (Receiver, Bench) {
    let receiver = Receiver::start().await;
    let mut config = json!({ "url": format!("{}/hooks/secret-path", receiver.server.url), "timeout": "5s" });
    for (key, value) in more.as_object().expect("an object") {
        config[key] = value.clone();
    }
    (receiver, Bench::new(json!({ "webhook": config })))
}

fn steps(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(|seen| seen.json()["step"].as_str().expect("a step").to_owned()).collect()
}

#[tokio::test]
async fn an_incident_is_told_step_by_step_with_the_fields_of_the_contract() {
    let (receiver, bench) = start(json!({})).await;
    for action in [action(1, Open), action(2, Update), action(3, Resolve)] {
        bench.tell(&[action]).await;
    }
    let acted = receiver.acted();
    assert_eq!(steps(&acted), ["open", "update", "resolve"]);
    let mut expected = serde_json::to_value(action(2, Update).incident).expect("JSON");
    expected["step"] = json!("update");
    expected["revision"] = json!(2);
    expected["at"] = json!(action(2, Update).at);
    expected["description"] = json!("What fails, text 2");
    expected["note"] = json!("note 2");
    assert_eq!(acted[1].json(), expected);
    let first = &acted[0];
    assert_eq!((first.method.as_str(), first.path.as_str()), ("POST", "/hooks/secret-path"));
    assert_eq!(first.header("content-type"), "application/json");
    assert_eq!(first.header("idempotency-key"), format!("{KEY}-1"));
    assert_eq!(first.header("x-authwatch-signature"), "");
    assert_eq!(bench.result("open", "sent"), 1.0);
    assert!(bench.is_well(), "{}", bench.detail());
}

#[tokio::test]
async fn trap_a_recorded_request_cannot_be_played_again_for_the_signature_covers_time_and_key() {
    let hmac = json!({ "key": { "env": "HOOK_KEY" }, "header": "X-Signature" });
    let (receiver, bench) = start(json!({ "hmac": hmac })).await;
    bench.secret("HOOK_KEY", "key");
    bench.tell(&[action(1, Open)]).await;
    let seen = receiver.acted().remove(0);
    let time = seen.header("x-authwatch-timestamp");
    let age = clock::now().0 / 1_000 - time.parse::<i64>().expect("seconds");
    assert!((0..60).contains(&age), "{time}");
    let verify = |time: &str, once: &str, body: &[u8]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"key").expect("any length");
        mac.update(format!("{time}.{once}.").as_bytes());
        mac.update(body);
        let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256={hex}") == seen.header("x-signature")
    };
    let once = seen.header("idempotency-key");
    assert!(verify(time, once, &seen.body));
    assert!(!verify("1", once, &seen.body), "another time");
    assert!(!verify(time, "aw-2-1", &seen.body), "another key");
    assert!(!verify(time, once, b"{}"), "another body");
}

#[tokio::test]
async fn trap_a_request_without_an_answer_is_repeated_under_the_same_key_and_acts_once() {
    for (fault, reason) in [
        (Fault::DoneThen(500), "server_error"),
        (Fault::DoneThen(503), "server_error"),
        (Fault::ResetAfter, "connection_lost"),
        (Fault::DoneThenSilence, "timeout"),
    ] {
        let (receiver, bench) = start(json!({ "timeout": "500ms" })).await;
        receiver.server.script([fault]);
        bench.tell(&[action(1, Open)]).await;
        assert_eq!(receiver.server.seen().len(), 2, "{fault:?}");
        assert_eq!(receiver.acted().len(), 1, "{fault:?}");
        assert_eq!(bench.retries(reason), 1.0, "{fault:?}");
        assert!(bench.is_well(), "{fault:?}: {}", bench.detail());
    }
}

#[tokio::test]
async fn every_documented_error_has_its_class() {
    for (fault, reason) in [
        (Fault::Refuse(500, None), "server_error"),
        (Fault::RefuseWith(503, "X-RateLimit-Reset: 9999999999"), "server_error"),
        (Fault::Refuse(429, Some(1)), "rate_limited"),
        (Fault::Refuse(425, None), "server_error"),
        (Fault::ResetBefore, "connection_lost"),
        (Fault::Refuse(401, None), "unauthorized"),
        (Fault::Refuse(403, None), "forbidden"),
        (Fault::Refuse(404, None), "not_found"),
        (Fault::Refuse(410, None), "not_found"),
        (Fault::Refuse(301, None), "redirected"),
        (Fault::Refuse(415, None), "invalid"),
    ] {
        let (receiver, bench) = start(json!({})).await;
        receiver.server.script([fault]);
        bench.tell(&[action(1, Open)]).await;
        assert_eq!(bench.retries(reason), 1.0, "{fault:?}");
        assert_eq!(steps(&receiver.acted()), ["open"], "{fault:?}");
    }
    for status in [400, 409, 413, 422] {
        let (receiver, bench) = start(json!({})).await;
        receiver.server.script([Fault::Refuse(status, None)]);
        bench.tell(&[action(1, Open), action_of("aw-b", 1, Open)]).await;
        assert_eq!(receiver.server.seen().len(), 2, "{status}: never sent again, and the other is not held up");
        assert_eq!(bench.dead_letters().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn trap_the_address_may_be_the_secret_and_is_never_shown() {
    let (receiver, bench) = start(json!({})).await;
    receiver.server.script([Fault::Refuse(410, None); 3]);
    bench.commit(&[action(1, Open)]);
    let running = bench.start();
    bench.until("named", || bench.detail().contains("answered 410 (is `url` right?)")).await;
    assert!(!bench.detail().contains("secret-path"), "{}", bench.detail());
    bench.stop(running).await;

    // By reference, as it should be.
    let (receiver, mut bench) = start(json!({ "url": { "env": "HOOK_URL" } })).await;
    bench.config["webhook"]["url"] = json!({ "env": "HOOK_URL" });
    bench.secret("HOOK_URL", "no address");
    bench.commit(&[action(1, Open)]);
    let running = bench.start();
    bench.until("named", || bench.detail().starts_with("the secret of `url` must be an http or https address")).await;
    bench.secret("HOOK_URL", &format!("{}/x", receiver.server.url));
    bench.drained().await;
    bench.stop(running).await;
    assert_eq!(receiver.acted()[0].path, "/x");
}

#[tokio::test]
async fn a_rate_limit_is_obeyed() {
    let (receiver, bench) = start(json!({})).await;
    receiver.server.script([Fault::Refuse(429, Some(2))]);
    bench.tell(&[action(1, Open)]).await;
    let seen = receiver.server.seen();
    assert!(seen[1].at - seen[0].at >= Duration::from_secs(2), "Retry-After");
}

#[tokio::test]
async fn an_accepted_status_counts_whatever_the_body_is() {
    // A page, and a body that ends in the middle: the status said that it was taken.
    for fault in [Fault::Page, Fault::DoneThenCut, Fault::DoneThen(202)] {
        let (receiver, bench) = start(json!({})).await;
        receiver.server.script([fault]);
        bench.tell(&[action(1, Open)]).await;
        assert_eq!(receiver.server.seen().len(), 1, "{fault:?}");
    }
    let (receiver, bench) = start(json!({ "accept": [204, "409..410"] })).await;
    receiver.server.script([Fault::Refuse(409, None), Fault::Refuse(200, None)]);
    bench.tell(&[action(1, Open)]).await;
    assert_eq!((receiver.server.seen().len(), bench.dead_letters().len()), (1, 0));
    bench.commit(&[action(2, Update)]);
    let running = bench.start();
    bench.until("200 is none of them", || bench.detail().contains("answered 200")).await;
    bench.stop(running).await;
}

#[tokio::test]
async fn method_headers_and_body_are_the_receivers() {
    let (receiver, bench) = start(json!({
        "method": "PUT",
        "headers": { "X-Team": "iam", "X-Key": { "env": "HOOK_TOKEN" } },
        "content_type": "application/vnd.example+json; charset=utf-8",
        "template": r#"{"text": {{ title }}, "n": {{ people }}, "over": {{ step == "resolve" }}}"#,
    }))
    .await;
    bench.secret("HOOK_TOKEN", "token");
    let mut open = action(1, Open);
    open.incident.title = "A \"quoted\"\nline".to_owned();
    bench.tell(&[open]).await;
    let seen = receiver.acted().remove(0);
    assert_eq!((seen.method.as_str(), seen.header("x-team"), seen.header("x-key")), ("PUT", "iam", "token"));
    assert_eq!(seen.header("content-type"), "application/vnd.example+json; charset=utf-8");
    assert_eq!(seen.json(), json!({ "text": "A \"quoted\"\nline", "n": 12, "over": false }));

    let (receiver, bench) = start(json!({ "content_type": "text/plain", "template": "{{ title }}: {{ note }}" })).await;
    bench.tell(&[action(1, Open)]).await;
    assert_eq!(receiver.acted()[0].body, b"Sign-in refused to 12 people: note 1");
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_given_up_and_says_so() {
    let (receiver, bench) = start(json!({ "body_limit": 2_048 })).await;
    let mut open = action(1, Open);
    open.description = "x".repeat(4_000);
    bench.tell(&[open]).await;
    assert_eq!(receiver.server.seen().len(), 0);
    let (_, detail) = bench.dead_letters().remove(0);
    assert!(detail.contains("`body_limit` is 2048"), "{detail}");
    // The incident is not lost: its next step is told as its opening.
    bench.tell(&[action(2, Update)]).await;
    assert_eq!(steps(&receiver.acted()), ["open"]);
    bench.tell(&[action(3, Update), action(4, Resolve)]).await;
    assert_eq!(steps(&receiver.acted()), ["open", "update", "resolve"]);
}

#[tokio::test]
async fn nothing_is_opened_only_to_be_resolved_and_nothing_is_told_twice() {
    let (receiver, bench) = start(json!({})).await;
    bench.tell(&[action(4, Resolve)]).await;
    assert_eq!(receiver.server.seen().len(), 0);
    bench.tell(&[action_of("aw-b", 2, Open)]).await;
    bench.tell(&[action_of("aw-b", 2, Open)]).await;
    assert_eq!(receiver.server.seen().len(), 1);
    assert_eq!(bench.result("open", "unchanged"), 1.0);
    assert_eq!((bench.ledger("aw-b").revision, bench.ledger("aw-b").last), (2, None));
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_known_before_there_is_anything_to_tell() {
    let (receiver, bench) = start(json!({ "hmac": { "key": { "env": "HOOK_KEY" } } })).await;
    let running = bench.start();
    bench.until("named", || bench.detail().contains("`HOOK_KEY` is not set")).await;
    bench.commit(&[action(1, Open)]);
    bench.secret("HOOK_KEY", "key");
    bench.drained().await;
    bench.stop(running).await;
    assert_eq!(receiver.acted().len(), 1);
}

#[tokio::test]
async fn a_stop_in_mid_flight_ends_in_time_and_the_next_start_repeats_it_under_the_same_key() {
    let (receiver, mut bench) = start(json!({ "timeout": "10m" })).await;
    receiver.server.script([Fault::DoneThenSilence]);
    bench.commit(&[action(1, Open)]);
    let running = bench.start();
    bench.until("under way", || receiver.server.seen().len() == 1).await;
    bench.kill(running).await;
    assert_eq!(bench.waiting(), 1);
    let running = bench.start();
    bench.drained().await;
    let within = act::DRAIN + Duration::from_secs(5);
    tokio::time::timeout(within, bench.stop(running)).await.expect("within the drain");
    assert_eq!((receiver.server.seen().len(), receiver.acted().len()), (2, 1));
}

/// The error of a configuration with this `webhook` section.
#[track_caller]
fn refused(section: &str, expect: &str) {
    let text = format!(
        "org: a\nsources: [{{ file: {{ paths: [\"-\"] }} }}]\nsinks:\n  - webhook:\n      url: https://x.example\n{section}"
    );
    let config = Config::parse(&text, Path::new("a.yaml"), &Environment::default()).expect("a configuration");
    let error = Parts::of(&config).expect_err("refused").to_string();
    assert!(error.contains(expect), "{error}");
}

#[test]
fn a_template_that_cannot_work_is_refused_when_it_is_read_with_its_line() {
    refused("      template: \"{{ titel }}\"\n", "a.yaml:6:17: the template cannot work: line 1: undefined value");
    refused(
        "      template: |\n        {\n          \"text\": {{ title | shout }}\n        }\n",
        "the template cannot work: line 2: unknown filter",
    );
    refused(
        "      template: '{\"text\": \"{{ title }}\"}'\n",
        "a.yaml:6:17: the template cannot work: with step `open` it gives no valid JSON",
    );
    refused("      template: { file: absent.j2 }\n", "a.yaml:6:17: the template cannot work: cannot read `absent.j2`");
    refused("      headers: { X-A: { env: A }, X-B: [] }\n", "a.yaml:6:");
}

#[test]
fn the_pages_examples_are_valid() {
    support::examples::check("webhook");
}
