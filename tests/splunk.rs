//! The Splunk sink against a stand-in: every record arrives at least once, in order, under one id, whatever the
//! collector answers, and what it refuses for good is one dead letter.

#![expect(clippy::expect_used, clippy::panic, unreachable_pub, reason = "helpers of tests may fail a test")]

#[path = "common/incident.rs"]
mod incident;
mod support {
    //! What the tests of forwarding share.
    pub mod forwarding;
    pub mod forwarding_page;
    pub mod server;
    pub mod splunk;
}

use std::collections::BTreeSet;
use std::time::Duration;

use authwatch::act;
use authwatch::action::{Forwarded, IncidentAction, IncidentStep};
use authwatch::event::{Kind, Outcome};
use authwatch::telemetry::preflight::Verdict;
use serde_json::{Value, json};
use support::forwarding::{Forwarding, denied, record, time};
use support::server::Fault;
use support::splunk::{Splunk, TOKEN, events};

async fn start(more: Value) -> (Splunk, Forwarding) {
    start_with_queue(more, 1 << 30).await
}

async fn start_with_queue(more: Value, queue: u64) -> (Splunk, Forwarding) {
    let splunk = Splunk::start().await;
    let mut config = json!({ "url": splunk.server.url, "token": { "env": "HEC" }, "timeout": "5s" });
    for (key, value) in more.as_object().expect("an object") {
        config[key] = value.clone();
    }
    let bench = Forwarding::with_queue(json!({ "splunk": config }), queue);
    bench.secret("HEC", TOKEN);
    (splunk, bench)
}

fn all(from: u32, to: u32) -> Vec<Forwarded> {
    (from..=to).map(denied).collect()
}

fn ids(from: u32, to: u32) -> Vec<String> {
    (from..=to).map(|n| format!("acme:u-{n}")).collect()
}

fn twice(from: u32, to: u32) -> Vec<String> {
    [ids(from, to), ids(from, to)].concat()
}

fn finding(revision: u32) -> Forwarded {
    let incident = incident::incident("aw-1", time(0), "Sign-in refused to 12 people", 12);
    let (step, description, note) = (IncidentStep::Open, "What fails".to_owned(), "note".to_owned());
    Forwarded::finding(&IncidentAction { step, at: time(1), revision, incident, description, note }, time(2))
}

#[tokio::test]
async fn records_arrive_in_order_in_the_envelope_of_the_collector() {
    let more = json!({ "index": "iam", "fields": { "team": "identity" } });
    let (splunk, bench) = start(more).await;
    bench.forward(&[denied(1), finding(3), denied(2)]).await;
    let [first, finding, second] = <[Value; 3]>::try_from(splunk.state().events.clone()).expect("three");
    assert_eq!(first["time"], json!(1_772_445_601.123));
    assert_eq!(
        (&first["host"], &first["source"], &first["index"]),
        (&json!("acme"), &json!("okta:acme"), &json!("iam"))
    );
    assert_eq!(first["sourcetype"], "authwatch:raw");
    assert_eq!(first["event"]["uuid"], "u-1");
    assert_eq!(first["fields"], json!({ "aw_id": "acme:u-1", "aw_org": "acme", "team": "identity" }));
    assert_eq!((&finding["sourcetype"], &finding["source"]), (&json!("authwatch:finding"), &json!("authwatch")));
    assert_eq!(finding["fields"]["aw_id"], "acme:aw-1:3");
    assert_eq!(second["fields"]["aw_id"], "acme:u-2");
    assert!(!first.to_string().contains("canary-token"), "a state token was sent: {first}");
    assert_eq!(splunk.posts().len(), 1, "one batch");
    assert_eq!((bench.records("acknowledged"), bench.records("repeated")), (3.0, 0.0));
    assert!(bench.is_well(), "{}", bench.detail());
    assert_eq!(bench.store().queue_size().expect("reads").rows, 0);
}

#[tokio::test]
async fn a_sink_gets_what_it_asks_for_and_passes_the_rest() {
    let (splunk, bench) = start(json!({ "forward": ["denies", "threat"] })).await;
    let things = [
        record(1, Kind::PolicyEvaluation, Outcome::Allow, None),
        denied(2),
        record(3, Kind::PolicyChange, Outcome::Success, None),
        record(4, Kind::Threat, Outcome::Success, None),
        finding(1),
    ];
    // Okta's own word is a denial too, whatever we read.
    bench.forward(&things).await;
    assert_eq!(splunk.ids(), ids(1, 4));
    let (splunk, bench) = start(json!({ "forward": ["detections"] })).await;
    bench.forward(&things).await;
    assert_eq!(splunk.ids(), ["acme:aw-1:1"]);
}

#[tokio::test]
async fn bodies_are_concatenated_json_within_their_bounds() {
    let (splunk, bench) = start(json!({ "batch_events": 2 })).await;
    bench.forward(&all(1, 5)).await;
    let sizes: Vec<usize> = splunk.posts().iter().map(|seen| events(seen).len()).collect();
    assert_eq!(sizes, [2, 2, 1]);
    assert_eq!(splunk.posts()[0].header("content-encoding"), "gzip");
    let (splunk, bench) = start(json!({ "batch_bytes": 2_048, "gzip": false })).await;
    bench.forward(&all(1, 9)).await;
    assert_eq!(splunk.ids(), ids(1, 9));
    let posts = splunk.posts();
    assert!(posts.len() > 1 && posts.iter().all(|seen| seen.body.len() <= 2_048), "{}", posts.len());
    assert!(posts[0].body.starts_with(b"{"), "no array");
}

#[tokio::test]
async fn trap_a_repeat_has_the_same_id_and_is_counted() {
    for (fault, reason) in [
        (Fault::DoneThen(500), "server_error"),
        (Fault::DoneThen(503), "server_error"),
        (Fault::ResetAfter, "connection_lost"),
        (Fault::DoneThenCut, "connection_lost"),
        (Fault::DoneThenSilence, "timeout"),
    ] {
        let (splunk, bench) = start(json!({ "timeout": "500ms" })).await;
        splunk.server.script([fault]);
        bench.forward(&all(1, 2)).await;
        assert_eq!(splunk.ids(), twice(1, 2), "{fault:?}");
        assert_eq!(bench.retries(reason), 1.0, "{fault:?}");
        assert_eq!((bench.records("acknowledged"), bench.records("repeated")), (2.0, 2.0), "{fault:?}");
        assert!(bench.is_well(), "{fault:?}: {}", bench.detail());
    }
}

#[tokio::test]
async fn what_was_surely_not_taken_is_no_repeat() {
    let refused = |bench: &Forwarding| (bench.records("acknowledged"), bench.records("repeated"));
    for refusal in [(503, 9), (503, 18), (503, 19), (503, 20)] {
        let (splunk, bench) = start(json!({})).await;
        splunk.state().refusals.push_back(refusal);
        bench.forward(&all(1, 2)).await;
        assert_eq!(splunk.ids(), ids(1, 2), "{refusal:?}");
        assert_eq!(refused(&bench), (2.0, 0.0), "{refusal:?}");
        assert_eq!(bench.retries("rate_limited"), 1.0, "{refusal:?}");
    }
    let (splunk, bench) = start(json!({})).await;
    splunk.server.script([Fault::Refuse(429, Some(2)), Fault::ResetBefore]);
    bench.forward(&all(1, 2)).await;
    let posts = splunk.posts();
    assert!(posts[1].at - posts[0].at >= Duration::from_secs(2), "Retry-After");
    assert_eq!(splunk.ids(), ids(1, 2));
}

#[tokio::test]
async fn trap_what_is_wrong_with_token_index_or_channel_is_no_records_fault() {
    for (refusal, says) in [
        ((403, 1), "enable the token"),
        ((401, 2), "check `token`"),
        ((401, 3), "check `token`"),
        ((403, 4), "check `token`"),
        ((400, 5), "Try `gzip: false`"),
        ((400, 7), "let the token write to `index`"),
        ((400, 10), "set `ack: true`"),
        ((400, 11), "set `ack: true`"),
        ((400, 14), "set `ack: false`"),
        ((400, 16), "is `url` right?"),
        ((400, 21), "check `token`"),
        ((400, 22), "enable the token"),
    ] {
        let (splunk, bench) = start(json!({})).await;
        splunk.state().refusals.push_back(refusal);
        bench.commit(&all(1, 2));
        let running = bench.start();
        bench.until("named", || bench.detail().contains(says)).await;
        bench.drained().await;
        bench.stop(running).await;
        assert_eq!(splunk.ids(), ids(1, 2), "{refusal:?}");
        assert_eq!(bench.dead_letters(), [], "{refusal:?}");
        assert!(bench.is_well(), "{}", bench.detail());
    }
}

#[tokio::test]
async fn trap_a_page_with_200_is_no_success() {
    let (splunk, bench) = start(json!({})).await;
    splunk.server.script([Fault::Page]);
    bench.commit(&all(1, 1));
    let running = bench.start();
    bench.until("named", || bench.detail().contains("a page instead of data")).await;
    bench.drained().await;
    bench.stop(running).await;
    assert_eq!(splunk.ids(), ids(1, 1));
}

#[tokio::test]
async fn trap_one_bad_record_is_one_dead_letter_and_the_rest_arrives_in_order() {
    for (code, bad) in [(6, 1), (6, 3), (12, 5), (13, 3), (15, 3)] {
        let (splunk, bench) = start(json!({})).await;
        splunk.state().poison.insert(format!("acme:u-{bad}"), code);
        bench.forward(&all(1, 5)).await;
        let expect: Vec<String> = ids(1, 5).into_iter().filter(|id| *id != format!("acme:u-{bad}")).collect();
        let mut first = splunk.ids();
        let mut seen = BTreeSet::new();
        first.retain(|id| seen.insert(id.clone()));
        assert_eq!(first, expect, "{code} at {bad}");
        let dead = bench.dead_letters();
        assert_eq!(dead.len(), 1, "{dead:?}");
        assert_eq!(dead[0].0, format!("acme:u-{bad}"));
        assert!(dead[0].1.contains(&format!("code {code}")), "{dead:?}");
        // Those before it were stored with the refused batch here, and sent again since nothing promises that.
        let repeats = splunk.ids().len() - 4;
        assert_eq!(bench.records("repeated"), repeats as f64, "{code} at {bad}");
        assert_eq!((bench.records("acknowledged"), bench.records("dead_letter")), (4.0, 1.0));
    }
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_sent_in_parts() {
    let (splunk, bench) = start(json!({ "gzip": false })).await;
    splunk.state().most_bytes = Some(3_000);
    bench.forward(&all(1, 9)).await;
    assert_eq!(splunk.ids(), ids(1, 9));
    assert_eq!(bench.dead_letters(), []);
    let huge =
        record(10, Kind::PolicyEvaluation, Outcome::Deny, Some(json!({ "x": "x".repeat(5_000) }).to_string().into()));
    bench.forward(&[huge, denied(11)]).await;
    assert_eq!(bench.dead_letters().len(), 1, "one record that is too large is given up");
    assert_eq!(splunk.ids().last().expect("a record"), "acme:u-11");
}

const ACKS: &str = r#"{ "ack": true, "ack_interval": "100ms", "ack_timeout": "400ms" }"#;

#[tokio::test]
async fn with_acknowledgement_nothing_is_taken_before_it_is_stored() {
    let (splunk, bench) = start(serde_json::from_str(ACKS).expect("JSON")).await;
    splunk.state().acks = true;
    splunk.state().slow_acks = 2;
    bench.commit(&all(1, 2));
    let running = bench.start();
    bench.until("stored", || splunk.ids().len() == 2).await;
    assert_eq!(bench.waiting(), 2, "not acknowledged yet");
    bench.drained().await;
    bench.stop(running).await;
    assert_eq!(splunk.ids(), ids(1, 2));
    assert_eq!(splunk.state().channels.len(), 1, "one channel");
    assert_eq!(splunk.state().channels.first().map(String::len), Some(36));
    assert_eq!(bench.records("repeated"), 0.0);
}

#[tokio::test]
async fn trap_an_acknowledgement_that_is_lost_repeats_the_batch_under_the_same_ids() {
    // It never comes, or the one answer that said so was lost.
    for lose_answer in [false, true] {
        let (splunk, bench) = start(serde_json::from_str(ACKS).expect("JSON")).await;
        splunk.state().acks = true;
        splunk.state().lost_acks = u32::from(!lose_answer);
        bench.commit(&all(1, 2));
        let running = bench.start();
        if lose_answer {
            bench.until("stored", || splunk.ids().len() == 2).await;
            splunk.server.script([Fault::ResetAfter]);
        }
        bench.drained().await;
        bench.stop(running).await;
        assert_eq!(splunk.ids(), twice(1, 2), "{lose_answer}");
        assert_eq!((bench.records("acknowledged"), bench.records("repeated")), (2.0, 2.0), "{lose_answer}");
        assert_eq!(bench.retries("timeout"), 1.0);
    }
}

#[tokio::test]
async fn a_token_without_acknowledgement_is_named_and_nothing_is_sent_twice() {
    let (splunk, bench) = start(serde_json::from_str(ACKS).expect("JSON")).await;
    bench.forward(&all(1, 2)).await;
    assert_eq!(splunk.ids(), ids(1, 2));
    assert!(bench.detail().contains("set `ack: false`"), "{}", bench.detail());
}

#[tokio::test]
async fn a_new_token_is_in_use_at_once() {
    let (splunk, bench) = start(json!({})).await;
    bench.secret("HEC", "old");
    bench.commit(&all(1, 1));
    let running = bench.start();
    bench.until("named", || bench.detail().contains("check `token`")).await;
    bench.secret("HEC", TOKEN);
    bench.drained().await;
    bench.stop(running).await;
    assert_eq!(splunk.ids(), ids(1, 1));
    assert!(!bench.detail().contains("old"));
}

#[tokio::test]
async fn the_collector_is_asked_for_its_health_before_there_is_anything_to_send() {
    let (splunk, bench) = start(json!({})).await;
    let running = bench.start();
    bench.until("well", || bench.is_well()).await;
    bench.stop(running).await;
    assert_eq!(splunk.server.seen()[0].path, "/services/collector/health");
}

#[tokio::test]
async fn trap_a_crash_between_send_and_place_repeats_under_the_same_ids_and_loses_nothing() {
    let (splunk, mut bench) = start(json!({ "timeout": "10m" })).await;
    splunk.server.script([Fault::DoneThenSilence]);
    bench.commit(&all(1, 3));
    let running = bench.start();
    bench.until("under way", || splunk.ids().len() == 3).await;
    bench.kill(running).await;
    assert_eq!(bench.waiting(), 3);
    bench.forward(&all(4, 4)).await;
    assert_eq!(splunk.ids(), [ids(1, 3), ids(1, 4)].concat());
}

#[tokio::test]
async fn a_stop_in_mid_flight_ends_in_time() {
    let (splunk, bench) = start(json!({ "timeout": "10m" })).await;
    splunk.server.script([Fault::DoneThenSilence]);
    bench.commit(&all(1, 1));
    let running = bench.start();
    bench.until("under way", || splunk.ids().len() == 1).await;
    let within = act::DRAIN + Duration::from_secs(5);
    tokio::time::timeout(within, bench.stop(running)).await.expect("within the drain");
    assert_eq!(bench.waiting(), 1);
}

#[tokio::test]
async fn trap_a_full_queue_drops_its_oldest_and_never_refuses_a_commit() {
    let (splunk, bench) = start_with_queue(json!({}), 4_000).await;
    let running = bench.start();
    bench.until("well", || bench.is_well()).await;
    bench.stop(running).await;
    bench.commit(&all(1, 50));
    let size = bench.store().queue_size().expect("reads");
    assert!(size.bytes <= 4_000 && size.rows > 0 && size.rows < 50, "{size:?}");
    let running = bench.start();
    bench.drained().await;
    bench.stop(running).await;
    let kept = splunk.ids();
    assert_eq!(kept, ids(51 - size.rows as u32, 50), "the newest, in order");
    assert_eq!(bench.records("dropped"), 50.0 - size.rows as f64);
}

#[tokio::test]
async fn what_is_lost_while_the_receiver_is_away_is_said_for_a_while() {
    let (splunk, bench) = start_with_queue(json!({ "batch_events": 1 }), 4_000).await;
    splunk.server.script([Fault::RefuseWith(429, "Retry-After: 2")]);
    bench.commit(&all(1, 1));
    let running = bench.start();
    bench.until("held up", || bench.retries("rate_limited") == 1.0).await;
    bench.commit(&all(2, 50));
    bench.drained().await;
    bench.until("said", || bench.detail().contains("the queue was full")).await;
    bench.stop(running).await;
    assert!(bench.records("dropped") > 0.0);
    assert_eq!(bench.records("dropped") + bench.records("acknowledged"), 50.0);
}

#[tokio::test]
async fn dead_letters_come_back_to_the_sink_that_buried_them() {
    let (splunk, bench) = start(json!({})).await;
    splunk.state().poison.insert("acme:u-2".to_owned(), 6);
    bench.forward(&all(1, 3)).await;
    assert_eq!(bench.dead_letters().len(), 1);
    splunk.state().poison.clear();
    assert_eq!(bench.store().replay_dead_forwards("another").expect("replays"), 0);
    assert_eq!(bench.store().replay_dead_forwards("splunk").expect("replays"), 1);
    assert_eq!((bench.dead_letters().len(), bench.waiting()), (0, 1));
    bench.forward(&[]).await;
    assert_eq!(splunk.ids().last().expect("a record"), "acme:u-2");
}

#[test]
fn the_pages_examples_are_valid_and_name_every_key() {
    support::forwarding_page::check("splunk");
}

#[tokio::test]
async fn a_check_asks_whether_the_token_may_write_and_stores_nothing() {
    let (splunk, bench) = start(json!({ "ack": true })).await;
    splunk.state().acks = true;
    let found = bench.check().await;
    assert_eq!((found["reach"].0, found["token"].0), (Verdict::Ok, Verdict::Ok), "{found:?}");
    bench.secret("HEC", "another");
    let found = bench.check().await;
    assert_eq!(found["token"].0, Verdict::Failed, "{found:?}");
    assert!(found["token"].1.contains("check `token`"), "{found:?}");
    assert!(splunk.ids().is_empty());
}
