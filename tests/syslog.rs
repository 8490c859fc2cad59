//! Syslog against a stand-in that breaks in every way that a receiver does, and against a real rsyslog where
//! `AUTHWATCH_RSYSLOG` names its directory (`.ci/rsyslog`).

#![expect(clippy::expect_used, clippy::panic, unreachable_pub, reason = "helpers of tests may fail a test")]

mod support {
    //! What the tests of syslog share.
    pub mod forwarding_page;
    pub mod syslog;
}

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use authwatch::act::encode::{cef, ecs, ocsf, raw};
use authwatch::act::forward::syslog::{Config, Syslog};
use authwatch::act::forward::{Forwarded, What};
use authwatch::act::retry::{Class, Failure, Reason};
use authwatch::classify::{Reader, Tables};
use authwatch::event::{Org, SourceName, Span, Timestamp};
use authwatch::secret::{Lookup, Secrets};
use authwatch::sim::{self, Awkward, Log, Scenario};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::{Value, json};
use support::syslog::{Certificates, Fault, Message, Receiver, counted, parse};

fn at(number: usize) -> Timestamp {
    Timestamp::parse("2026-03-02T09:00:00.000Z").expect("a time") + Span::seconds(number as i64)
}

fn forwarded(id: &str, record: &Value) -> Forwarded {
    let mut found = Vec::new();
    let reader = Reader::new(Org::new("acme"), Arc::new(Tables::embedded()));
    reader.read_record(record.to_string().as_bytes(), &mut |read| found.push(read));
    let event = found.pop().expect("one").expect("an event");
    Forwarded {
        id: id.into(),
        org: Org::new("acme"),
        source: SourceName::new("okta:acme"),
        received: at(0),
        what: What::Event { event: Box::new(event), posture: None, raw: Some(record.to_string().into()) },
    }
}

fn deny(number: usize, padding: usize) -> Forwarded {
    let record = json!({
        "uuid": format!("uuid-{number}"), "published": at(number), "eventType": "policy.evaluate_sign_on",
        "displayMessage": "Évaluation of sign-on policy", "outcome": { "result": "DENY" },
        "actor": { "id": "00u1qw2er3ty4ui5op6a", "type": "User", "alternateId": "ada@example.com", "displayName": "Åda" },
        "client": { "ipAddress": "192.0.2.7" }, "debugContext": { "debugData": { "text": "x ".repeat(padding / 2) } },
    });
    forwarded(&format!("acme:uuid-{number}"), &record)
}

fn denies(numbers: std::ops::Range<usize>, padding: usize) -> Vec<Forwarded> {
    numbers.map(|number| deny(number, padding)).collect()
}

fn config(port: u16, more: Value) -> Config {
    let mut config = json!({ "address": format!("localhost:{port}"), "transport": "tcp", "timeout": "20s" });
    for (key, value) in more.as_object().expect("an object") {
        config[key] = value.clone();
    }
    serde_json::from_value(config).expect("a configuration")
}

fn secrets(key: &str) -> Secrets {
    let key = key.to_owned();
    let lookup: Lookup = Arc::new(move |name| (name == "SYSLOG_KEY").then(|| key.clone()));
    lookup.into()
}

fn syslog(port: u16, more: Value) -> Syslog {
    Syslog::new(&config(port, more), secrets(""))
}

/// Sends everything, and again what was not taken, as a worker does.
async fn deliver(syslog: &mut Syslog, records: &[Forwarded], batch: usize) {
    let (mut place, mut failures) = (0, 0);
    while place < records.len() {
        let end = records.len().min(place + batch);
        let rows: Vec<&Forwarded> = records[place..end].iter().collect();
        match syslog.send(&rows).await {
            Ok(taken) => {
                assert!((1..=rows.len()).contains(&taken));
                place += taken;
            }
            Err(failure) => {
                assert_eq!(failure.class, Class::Retry, "{failure:?}");
                failures += 1;
                assert!(failures < 20, "{failure:?}");
            }
        }
    }
}

fn ids(messages: &[Message]) -> BTreeSet<String> {
    messages.iter().map(|message| message.id().to_owned()).collect()
}

/// Every record is there, first arrivals in order, each message of an id the same.
#[track_caller]
fn all_there(messages: &[Message], records: &[Forwarded]) {
    let mut seen: BTreeMap<&str, &Message> = BTreeMap::new();
    let mut order = Vec::new();
    for message in messages {
        if let Some(before) = seen.insert(message.id(), message) {
            assert_eq!(before, message, "the same id says the same");
        } else {
            order.push(message.id());
        }
    }
    assert_eq!(order, records.iter().map(|record| record.id.as_str()).collect::<Vec<_>>());
}

fn recorder() -> (PrometheusHandle, metrics::LocalRecorderGuard<'static>) {
    let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
    (recorder.handle(), metrics::set_default_local_recorder(recorder))
}

#[track_caller]
fn count(metrics: &PrometheusHandle, name: &str, label: &str) -> u64 {
    let text = metrics.render();
    let line = text.lines().find(|line| line.starts_with(name) && line.contains(label));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn the_pages_examples_are_valid_and_name_every_key() {
    support::forwarding_page::check("syslog");
}

#[tokio::test]
async fn every_message_is_one_of_rfc_5424_with_its_id() {
    let receiver = Receiver::tcp().await;
    let records = denies(0..50, 0);
    for (payload, number) in [("cef", 0), ("raw", 1), ("ecs", 2), ("ocsf", 3)] {
        let mut syslog = syslog(receiver.port, json!({ "payload": payload, "facility": "local4" }));
        syslog.probe().await.expect("it is there");
        deliver(&mut syslog, &records, 7).await;
        syslog.settle().await.expect("confirmed");
        let messages = counted(&receiver.read()[number]);
        all_there(&messages, &records);
        for (message, record) in messages.iter().zip(&records) {
            assert_eq!(message.pri, 20 * 8 + 4);
            assert_eq!((message.host.as_str(), message.app.as_str()), ("acme", "authwatch"));
            assert_eq!((message.kind.as_str(), message.sd_id.as_str()), ("policy_evaluation", "authwatch@32473"));
            assert_eq!(message.params["org"], "acme");
            assert_eq!(message.text, shaped(payload, record));
        }
    }
    receiver.wait_for_ends(4).await;
    assert_eq!(receiver.ended(), (4, 0));
}

#[tokio::test]
async fn newlines_frame_messages_where_the_receiver_wants_that() {
    let receiver = Receiver::tcp().await;
    let mut syslog =
        syslog(receiver.port, json!({ "framing": "newline", "payload": "raw", "hostname": "aw1", "bom": true }));
    let records = denies(0..20, 100);
    deliver(&mut syslog, &records, 20).await;
    syslog.settle().await.expect("confirmed");
    let bytes = receiver.read().remove(0);
    let lines: Vec<&[u8]> = bytes.strip_suffix(b"\n").expect("an end").split(|byte| *byte == b'\n').collect();
    let messages: Vec<Message> = lines.into_iter().map(parse).collect();
    all_there(&messages, &records);
    assert!(messages.iter().all(|message| message.host == "aw1" && message.text.starts_with('\u{feff}')));
}

#[tokio::test]
async fn trap_lengths_count_octets_and_no_mark_stands_before_cef() {
    let receiver = Receiver::tcp().await;
    let mut syslog = syslog(receiver.port, json!({}));
    deliver(&mut syslog, &denies(0..3, 0), 3).await;
    syslog.settle().await.expect("confirmed");
    let messages = receiver.messages();
    assert_eq!(messages.len(), 3);
    assert!(messages[0].text.contains("Évaluation") && messages[0].text.starts_with("CEF:0|"));
    assert!(messages[0].bytes > messages[0].text.chars().count());
}

#[tokio::test]
async fn what_is_too_long_is_cut_within_its_shape_and_says_so() {
    let receiver = Receiver::tcp().await;
    let mut record = json!({
        "uuid": "u1", "published": at(0), "eventType": "policy.evaluate_sign_on", "outcome": { "result": "DENY" },
        "displayMessage": "é".repeat(9_000), "actor": { "id": "00u1", "type": "User", "displayName": "Ada" },
        "client": { "ipAddress": "192.0.2.7", "userAgent": { "rawUserAgent": "y ".repeat(3_000) } },
    });
    let many: serde_json::Map<String, Value> = (0..600).map(|n| (format!("key{n}"), json!("value"))).collect();
    record["debugContext"] = json!({ "debugData": many });
    record["target"] = (0..200).map(|n| json!({ "id": format!("0oa{n}"), "type": "AppInstance" })).collect();
    let (metrics, _guard) = recorder();
    for (max, number) in [(2_048, 0), (8_192, 1)] {
        for payload in ["cef", "raw", "ecs", "ocsf"] {
            let mut syslog = syslog(receiver.port, json!({ "payload": payload, "max_bytes": max }));
            deliver(&mut syslog, &[forwarded("acme:u1", &record)], 1).await;
            syslog.settle().await.expect("confirmed");
            let message = receiver.messages().pop().expect("a message");
            assert!(message.bytes <= max, "{payload}: {}", message.bytes);
            let is_cut = message.params.get("cut").is_some_and(|cut| cut == "yes");
            assert_eq!(message.id(), "acme:u1");
            if payload == "cef" {
                assert!(message.text.contains("externalId=u1"), "{}", message.text);
                assert_eq!(is_cut, max == 2_048, "{}", message.text);
            } else {
                assert!(is_cut, "{payload} {number}");
                let json = message.json();
                let own = if payload == "ocsf" { &json["metadata"]["uid"] } else { &json["authwatch"]["id"] };
                assert_eq!(own, "acme:u1", "{payload}");
                assert!(payload != "ocsf" || json["metadata"]["is_truncated"] == true);
            }
        }
    }
    assert_eq!(count(&metrics, "authwatch_syslog_messages_total", "result=\"cut\""), 7);
}

#[tokio::test]
async fn a_batch_is_as_many_as_its_bytes_allow_and_at_least_one() {
    let receiver = Receiver::tcp().await;
    let mut syslog = syslog(receiver.port, json!({ "batch_bytes": 2_000 }));
    let records = denies(0..10, 0);
    let rows: Vec<&Forwarded> = records.iter().collect();
    let taken = syslog.send(&rows).await.expect("sent");
    assert!((1..10).contains(&taken), "{taken}");
    assert_eq!(syslog.tried(), taken);
    let mut syslog = Syslog::new(&config(receiver.port, json!({ "batch_bytes": 1 })), secrets(""));
    assert_eq!(syslog.send(&rows).await.expect("sent"), 1);
}

#[tokio::test]
async fn a_receiver_that_goes_is_found_out_before_the_next_batch_and_nothing_is_lost() {
    for fault in [Fault::CloseAfter(3_000), Fault::ResetAfter(3_000), Fault::CloseAtOnce] {
        let receiver = Receiver::tcp().await;
        receiver.fail(&[fault, fault]);
        let (metrics, guard) = recorder();
        let mut syslog = syslog(receiver.port, json!({}));
        let records = denies(0..60, 0);
        for some in records.chunks(10) {
            deliver(&mut syslog, some, 5).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        syslog.settle().await.expect("confirmed");
        all_there(&receiver.messages(), &records);
        assert!(count(&metrics, "authwatch_syslog_connections_total", "event=\"broken\"") >= 2, "{fault:?}");
        let written = count(&metrics, "authwatch_syslog_messages_total", "result=\"written\"");
        assert_eq!(written, 60, "{fault:?}");
        drop(guard);
    }
}

#[tokio::test]
async fn trap_a_write_that_succeeded_and_was_lost_is_written_again() {
    let receiver = Receiver::tcp().await;
    receiver.fail(&[Fault::SwallowThenReset(50)]);
    let (metrics, _guard) = recorder();
    let mut syslog = syslog(receiver.port, json!({}));
    let records = denies(0..10, 0);
    let rows: Vec<&Forwarded> = records.iter().collect();
    assert_eq!(syslog.send(&rows).await, Ok(10), "the kernel takes it");
    assert!(receiver.messages().is_empty());
    tokio::time::sleep(Duration::from_millis(150)).await;
    syslog.tend().await.expect("a new connection");
    receiver.wait_for(10).await;
    all_there(&receiver.messages(), &records);
    assert_eq!(count(&metrics, "authwatch_syslog_messages_total", "result=\"repeated\""), 10);
    assert_eq!(count(&metrics, "authwatch_syslog_messages_total", "result=\"written\""), 10);
}

#[tokio::test]
async fn what_was_confirmed_is_not_written_again() {
    let receiver = Receiver::tcp().await;
    let mut syslog = syslog(receiver.port, json!({}));
    deliver(&mut syslog, &denies(0..10, 0), 10).await;
    syslog.settle().await.expect("confirmed");
    syslog.settle().await.expect("nothing to confirm");
    deliver(&mut syslog, &denies(10..20, 0), 10).await;
    syslog.settle().await.expect("confirmed");
    all_there(&receiver.messages(), &denies(0..20, 0));
    receiver.wait_for_ends(2).await;
    assert_eq!((receiver.messages().len(), receiver.ended()), (20, (2, 0)));
}

#[tokio::test]
async fn a_receiver_that_takes_nothing_is_given_up_in_time() {
    let receiver = Receiver::tcp().await;
    receiver.fail(&[Fault::Stuck]);
    let more = json!({ "timeout": "300ms", "payload": "raw", "max_bytes": 1_000_000, "batch_bytes": 16_000_000 });
    let mut syslog = syslog(receiver.port, more);
    let records = denies(0..16, 600_000);
    let rows: Vec<&Forwarded> = records.iter().collect();
    let failure = syslog.send(&rows).await.expect_err("stuck");
    assert_eq!((failure.class, failure.reason), (Class::Retry, Reason::Timeout), "{failure:?}");
    assert_eq!(syslog.tried(), 16);
    deliver(&mut syslog, &records, 16).await;
    receiver.wait_for(16).await;
    all_there(&receiver.messages(), &records);
}

#[tokio::test]
async fn too_much_unconfirmed_is_confirmed_and_not_dropped() {
    let receiver = Receiver::tcp().await;
    let (metrics, _guard) = recorder();
    let mut syslog = syslog(receiver.port, json!({ "payload": "raw", "max_bytes": 1_000_000 }));
    let records = denies(0..30, 600_000);
    deliver(&mut syslog, &records, 5).await;
    syslog.settle().await.expect("confirmed");
    assert!(count(&metrics, "authwatch_syslog_connections_total", "event=\"settled\"") >= 1);
    assert_eq!(count(&metrics, "authwatch_syslog_messages_total", "result=\"repeated\""), 0);
    assert_eq!(receiver.messages().len(), 30);
    all_there(&receiver.messages(), &records);
}

#[tokio::test]
async fn with_confirm_close_nothing_counts_before_the_receiver_read_it() {
    let receiver = Receiver::tcp().await;
    receiver.fail(&[Fault::SwallowThenReset(100), Fault::CloseAfter(10), Fault::ResetAfter(10)]);
    let mut syslog = syslog(receiver.port, json!({ "confirm": "close" }));
    let records = denies(0..10, 0);
    let rows: Vec<&Forwarded> = records.iter().collect();
    let failure = syslog.send(&rows).await.expect_err("reset");
    assert_eq!((failure.class, failure.reason), (Class::Retry, Reason::ConnectionLost), "{failure:?}");
    deliver(&mut syslog, &records, 10).await;
    // Taken means read, without any wait.
    assert_eq!(ids(&receiver.messages()).len(), 10);
}

fn over_tls(certificates: &Certificates, port: u16, tls: Value, more: Value) -> Syslog {
    let mut options = json!({ "transport": "tls", "tls": { "ca_file": certificates.file("ca.pem") } });
    for (key, value) in tls.as_object().expect("an object") {
        options["tls"][key] = value.clone();
    }
    for (key, value) in more.as_object().expect("an object") {
        options[key] = value.clone();
    }
    Syslog::new(&config(port, options), secrets(&certificates.client_key))
}

#[tokio::test]
async fn over_tls_with_our_own_certificate_where_the_receiver_asks() {
    let certificates = Certificates::new();
    let receiver = Receiver::tls(&certificates, true).await;
    let own = json!({ "certificate_file": certificates.file("client.pem"), "key": { "env": "SYSLOG_KEY" } });
    for confirm in ["stream", "close"] {
        let mut syslog =
            over_tls(&certificates, receiver.port, own.clone(), json!({ "confirm": confirm, "payload": "ocsf" }));
        syslog.probe().await.expect("accepted");
        deliver(&mut syslog, &denies(0..40, 0), 10).await;
        syslog.settle().await.expect("confirmed");
    }
    let messages = receiver.messages();
    assert_eq!(messages.len(), 80);
    all_there(&messages, &denies(0..40, 0));
    receiver.wait_for_ends(5).await;
    let (clean, broken) = receiver.ended();
    assert!(clean >= 5 && broken == 0, "what is unread at the end would reset: {clean} {broken}");
}

#[tokio::test]
async fn certificates_that_are_not_accepted_need_a_person() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let (plain, asks) = (Receiver::tls(&certificates, false).await, Receiver::tls(&certificates, true).await);
    let tcp = Receiver::tcp().await;
    tcp.fail(&[Fault::CloseAtOnce]);
    let absent = json!({ "ca_file": certificates.file("absent.pem") });
    let no_key = json!({ "certificate_file": certificates.file("client.pem"), "key": { "env": "ABSENT" } });
    let cases: [(&str, Syslog, Reason, &str); 5] = [
        (
            "another authority",
            over_tls(&others, plain.port, json!({}), json!({})),
            Reason::Unauthorized,
            "is not accepted",
        ),
        (
            "another name",
            over_tls(&certificates, plain.port, json!({ "server_name": "siem.example.com" }), json!({})),
            Reason::Unauthorized,
            "is not accepted",
        ),
        (
            "none of ours",
            over_tls(&certificates, asks.port, json!({}), json!({})),
            Reason::Unauthorized,
            "ask for a certificate",
        ),
        ("no file", over_tls(&certificates, plain.port, absent, json!({})), Reason::Invalid, "absent.pem"),
        ("no key", over_tls(&certificates, asks.port, no_key, json!({})), Reason::Secret, "ABSENT"),
    ];
    for (name, mut syslog, reason, words) in cases {
        let failure: Failure = syslog.probe().await.expect_err(name);
        assert_eq!((failure.class, failure.reason), (Class::FixConfiguration, reason), "{name}: {failure:?}");
        assert!(failure.detail.contains(words), "{name}: {failure:?}");
    }
    let failure = over_tls(&certificates, tcp.port, json!({}), json!({})).probe().await.expect_err("gone");
    assert_eq!(failure.class, Class::Retry, "{failure:?}");
    assert!(plain.messages().is_empty() && asks.messages().is_empty());
}

#[tokio::test]
async fn trap_over_tls_1_3_a_refused_certificate_is_known_only_after_the_first_write() {
    let certificates = Certificates::new();
    let receiver = Receiver::tls(&certificates, true).await;
    let mut syslog = over_tls(&certificates, receiver.port, json!({}), json!({ "confirm": "close" }));
    let records = denies(0..3, 0);
    let rows: Vec<&Forwarded> = records.iter().collect();
    let failure = syslog.send(&rows).await.expect_err("refused");
    assert_eq!((failure.class, failure.reason), (Class::FixConfiguration, Reason::Unauthorized), "{failure:?}");
    assert!(receiver.messages().is_empty());
}

#[tokio::test]
async fn trap_an_end_without_goodbye_confirms_only_where_that_is_accepted() {
    let certificates = Certificates::new();
    let receiver = Receiver::tls(&certificates, false).await;
    receiver.fail(&[Fault::NoGoodbye, Fault::NoGoodbye]);
    let records = denies(0..3, 0);
    let rows: Vec<&Forwarded> = records.iter().collect();
    let mut tolerant = over_tls(&certificates, receiver.port, json!({}), json!({ "confirm": "close" }));
    assert_eq!(tolerant.send(&rows).await, Ok(3), "as rsyslog ends");
    let mut strict = over_tls(&certificates, receiver.port, json!({}), json!({ "confirm": "goodbye" }));
    let failure = strict.send(&rows).await.expect_err("anybody can end a connection");
    assert_eq!((failure.class, failure.reason), (Class::Retry, Reason::ConnectionLost), "{failure:?}");
    assert_eq!(strict.send(&rows).await, Ok(3));
}

#[tokio::test]
async fn nobody_there_is_tried_again() {
    let port = {
        let receiver = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        receiver.local_addr().expect("an address").port()
    };
    let failure = syslog(port, json!({})).probe().await.expect_err("nobody");
    assert_eq!((failure.class, failure.reason), (Class::Retry, Reason::Unreachable), "{failure:?}");
}

/// A thousand events of a simulated push.
fn thousand() -> Vec<Forwarded> {
    let org = Arc::new(sim::Org::new(7, 800));
    let moment = at(0) + Span::hours(5);
    let log = Log::of_scenario(org, Scenario::BadPushEveryone, moment, moment, moment + Span::hours(6), Awkward::NONE);
    let read = |entry: sim::Entry| serde_json::from_str(&entry.json).ok();
    let records = log.filter_map(read).enumerate().take(1_000);
    records.map(|(number, record): (usize, Value)| forwarded(&format!("acme:{number}"), &record)).collect()
}

/// A record as it should stand in a message.
fn shaped(payload: &str, record: &Forwarded) -> String {
    match payload {
        "cef" => cef::encode(record),
        "raw" => raw::encode(record).to_string(),
        "ecs" => ecs::encode(record).to_string(),
        _ => ocsf::encode(record).to_string(),
    }
}

#[tokio::test]
async fn a_real_rsyslog_writes_every_line() {
    let Some(dir) = std::env::var_os("AUTHWATCH_RSYSLOG").map(std::path::PathBuf::from) else {
        return eprintln!("skipped: AUTHWATCH_RSYSLOG names no rsyslog");
    };
    let text = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_default();
    let ports = text("ports");
    let ports: Vec<u16> = ports.split_whitespace().map(|port| port.parse().expect("a port")).collect();
    let records = thousand();
    assert_eq!(records.len(), 1_000);
    let tls = json!({ "transport": "tls", "tls": { "ca_file": dir.join("ca.pem"), "certificate_file": dir.join("client.pem"),
        "key": { "file": dir.join("client.key") } } });
    let mut expect: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (file, port, payload, confirm) in [
        ("tls.log", ports[0], "cef", "stream"),
        ("tls.log", ports[0], "ocsf", "close"),
        ("tcp.log", ports[1], "raw", "stream"),
        ("tcp.log", ports[1], "ecs", "close"),
    ] {
        let mut more = if file == "tls.log" { tls.clone() } else { json!({}) };
        (more["payload"], more["confirm"]) = (json!(payload), json!(confirm));
        let mut syslog = Syslog::new(&config(port, more), secrets(""));
        syslog.probe().await.expect("it is there");
        deliver(&mut syslog, &records, 250).await;
        syslog.settle().await.expect("confirmed");
        let lines = records.iter().map(|record| shaped(payload, record));
        expect.entry(file).or_default().extend(lines);
    }
    for (file, expect) in expect {
        let mut lines = 0;
        for _ in 0..200 {
            lines = text(file).lines().count();
            if lines >= expect.len() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(lines, expect.len(), "{file}");
        let (mut cut, mut longest) = (0, 0);
        for (number, (line, expect)) in text(file).lines().zip(&expect).enumerate() {
            let message = parse(line.as_bytes());
            assert_eq!(message.id(), format!("acme:{}", number % 1_000), "{file}:{number}");
            longest = longest.max(message.bytes);
            if message.params.contains_key("cut") {
                cut += 1;
                message.json();
            } else {
                assert_eq!(&message.text, expect, "{file}:{number}");
            }
        }
        eprintln!("{file}: {lines} lines, {cut} cut, the longest has {longest} bytes");
    }
    // The longest message that is allowed by default comes through whole as well.
    let mut syslog = Syslog::new(&config(ports[1], json!({ "payload": "raw" })), secrets(""));
    let most = (7_000..8_000).step_by(2).rfind(|padding| raw::encode(&deny(0, *padding)).to_string().len() <= 7_874);
    deliver(&mut syslog, &[deny(0, most.expect("a length"))], 1).await;
    syslog.settle().await.expect("confirmed");
    for _ in 0..200 {
        if text("tcp.log").lines().count() > 2_000 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let last = parse(text("tcp.log").lines().last().expect("a line").as_bytes());
    assert_eq!(last.id(), "acme:uuid-0");
    assert!(
        (7_951..=8_000).contains(&last.bytes) && !last.params.contains_key("cut"),
        "{} {:?}",
        last.bytes,
        last.params
    );
    last.json();
}
