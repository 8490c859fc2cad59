//! Every shape that a log pipeline has been seen to send, every wrapper, and input that is broken on purpose.

#![expect(clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::sync::{Arc, LazyLock};

use authwatch::classify::{Reader, Tables};
use authwatch::event::{AuthEvent, Context, Credential, Org, Outcome, Platform, Reject, Risk, Timestamp};
use proptest::prelude::*;

fn reader() -> Reader {
    static TABLES: LazyLock<Arc<Tables>> = LazyLock::new(|| Arc::new(Tables::embedded()));
    Reader::new(Org::new("acme"), TABLES.clone())
}

fn read(record: &[u8]) -> Vec<Result<AuthEvent, Reject>> {
    let mut found = Vec::new();
    reader().read_record(record, &mut |read| found.push(read));
    found
}

#[track_caller]
fn event(record: &str) -> AuthEvent {
    let [Ok(event)] = &read(record.as_bytes())[..] else { panic!("{record}: {:?}", read(record.as_bytes())) };
    event.clone()
}

#[track_caller]
fn rejects(record: impl AsRef<[u8]>, expect: Reject) {
    let record = record.as_ref();
    let shown = String::from_utf8_lossy(&record[..record.len().min(80)]).into_owned();
    assert_eq!(read(record), [Err(expect)], "{shown}");
}

/// An event with more members.
fn with(members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    format!(r#"{{"eventType":"user.session.start","published":"2024-07-03T09:19:59.973Z"{comma}{members}}}"#)
}

/// What all shapes of one event must agree in: everything but its id.
fn meaning(record: &str) -> AuthEvent {
    let mut event = event(record);
    event.id = authwatch::event::EventId(0);
    event
}

#[test]
fn whole_objects_may_be_absent_null_empty_or_of_a_foreign_type() {
    let plain = meaning(&with(""));
    let objects = [
        "outcome",
        "actor",
        "client",
        "device",
        "debugContext",
        "request",
        "securityContext",
        "authenticationContext",
        "target",
        "transaction",
    ];
    for name in objects {
        for value in ["null", "{}", "[]", "[{}]", "[null]", "\"\"", "\"text\"", "7", "-1.5", "true", "[[]]"] {
            let record = with(&format!(r#""{name}":{value}"#));
            assert_eq!(meaning(&record), plain, "{record}");
        }
    }
    assert_eq!((plain.outcome, plain.platform), (Outcome::Unknown, Platform::Unknown));
    assert_eq!((plain.person, plain.flow, plain.device), (None, None, None));
}

/// Members as one sender writes them, and as another does.
#[track_caller]
fn same(usual: &str, other: &str) {
    assert_eq!(meaning(&with(usual)), meaning(&with(other)), "{usual} and {other}");
}

#[test]
fn other_spellings_of_a_shape_mean_the_same() {
    let debug = r#""debugContext":{"debugData":{"authnRequestId":"r1","factor":"SIGNED_NONCE"}}"#;
    same(debug, r#""debugContext":[{"debugData":{"authnRequestId":"r1","factor":"SIGNED_NONCE"}}]"#);
    same(debug, r#""debugContext":{"debugData":[{"authnRequestId":"r1","factor":"SIGNED_NONCE"}]}"#);
    same(debug, r#""debugcontext":{"debugData":{"authnRequestId":"r1","factor":"SIGNED_NONCE"}}"#);
    same(
        debug,
        r#""debugContext":null,"debugcontext":{"debugData":{"authnRequestId":"r1","factor":["SIGNED_NONCE"]}}"#,
    );
    same(debug, r#""debugContext":{"debugData":{"authnRequestId":"r\u0031","factor":"SIGNED\u005fNONCE"}}"#);
    same("", r#""debugContext":{"debugData":"a plain text"}"#);
    same(
        r#""authenticationContext":{"credentialProvider":"DUO"}"#,
        r#""authenticationcontext":{"credentialProvider":"DUO"}"#,
    );
    same("", r#""legacyeventtype":"core","displaymessage":{"a":[1]},"severity":"HIGH","version":0,"p_log_type":"x""#);
    same("", r#""version":"0","insertionTimestamp":null,"x_source":[],"current_runtime":1e5"#);
    same(
        "",
        r#""client":{"ipAddress":["1.2.3.4"],"zone":"null","geographicalContext":{"postalCode":10013,"geolocation":{"lat":55,"lon":420.5}}}"#,
    );
    same(r#""transaction":{"id":"t1"}"#, r#""transaction":{"id":"t1","type":"WEB","detail":null}"#);
    same(r#""transaction":{"id":"t1"}"#, r#""transaction":{"id":"t1","detail":{"requestApiTokenId":"x"}}"#);
    same(r#""outcome":{"result":"DENY"}"#, r#""outcome":{"result":"DENY","reason":null}"#);
    same(r#""outcome":{"result":"DENY"}"#, r#""outcome":{"result":"DENY","reason":""}"#);
    same(
        r#""securityContext":{"risk":{"level":"HIGH"}}"#,
        r#""securityContext":{"risk":{"level":"HIGH","reasons":["x"]},"userBehaviors":[{"id":"b"}],"isProxy":"False"}"#,
    );
    let target = r#""target":[{"id":"0oa1","type":"AppInstance","displayName":"Payroll"}]"#;
    same(target, r#""target":{"id":"0oa1","type":"AppInstance","displayName":"Payroll"}"#);
    same(
        target,
        r#""target":[null,7,"x",{},[],{"id":"0oa1","type":"AppInstance","displayName":"Payroll","detailEntry":null}]"#,
    );
    same(
        target,
        r#""target":[{"id":"0oa1"},{"id":"0oa1","type":"AppInstance","displayName":"Payroll","detailEntry":[]}]"#,
    );
}

#[test]
fn zone_and_risk_are_read_in_every_shape() {
    let context = |members: &str| event(&with(members)).context;
    let high = |members: &str| assert_eq!(context(members).risk, Some(Risk::High), "{members}");
    high(r#""securityContext":{"risk":{"level":"HIGH"}}"#);
    high(r#""securitycontext":{"risk":{"level":"high","reasons":["Anomalous Device"]}}"#);
    high(r#""securityContext":[{"risk":[{"level":["HIGH"]}]}]"#);
    high(r#""securityContext":{"risk":"HIGH"},"debugcontext":{"debugData":{"risk":"{level=HIGH}"}}"#);
    high(r#""debugContext":[{"debugData":{"risk":{"reasons":"x","level":"HIGH"}}}]"#);
    high(r#""debugContext":{"debugData":{"risk":null,"logOnlySecurityData":"{\"risk\":{\"level\":\"HIGH\"}}"}}"#);
    high(r#""debugContext":{"debugData":{"logOnlySecurityData":{"behaviors":{},"risk":{"level":"HIGH"}}}}"#);
    for nothing in [
        r#""securityContext":{"risk":null}"#,
        r#""securityContext":{"risk":{"level":"NONE"}}"#,
        r#""debugContext":{"debugData":{"risk":7,"logOnlySecurityData":true}}"#,
        r#""debugContext":{"debugData":{"risk":"HIGH","logOnlySecurityData":"null"}}"#,
        r#""debugContext":{"debugData":{"logOnlySecurityData":"{\"risk\":"}}"#,
        r#""debugContext":{"debugData":{"logOnlySecurityData":[[[]]]}}"#,
        r#""client":{"zone":null}"#,
        r#""client":{"zone":"null"}"#,
        r#""client":{"zone":{"id":"nzo1"}}"#,
    ] {
        assert_eq!(context(nothing), Context::default(), "{nothing}");
    }
    let found = context(r#""client":{"zone":["Offices"]}"#);
    assert_eq!(found.zone.as_deref(), Some("Offices"));
}

#[test]
fn what_holds_from_now_on_is_kept_whole_or_not_at_all() {
    let to = |details: &str| {
        let record = format!(
            r#"{{"eventType":"device.assurance.policy.update","published":"2024-07-03T09:19:59Z","target":[{{"id":"dae1",
               "type":"DeviceAssurancePolicy","changeDetails":{details}}}]}}"#
        );
        event(&record).change.expect("a change").to
    };
    let long = |letters: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(letters));
    assert_eq!(to(r#"{"to":{"a":1.50 , "b":[ ]}}"#).as_deref(), Some(r#"{"a":1.50,"b":[]}"#));
    assert_eq!(to(r#"{"from":{},"to":"{\"a\" :1}"}"#).as_deref(), Some(r#"{"a":1}"#));
    assert_eq!(to(r#""{\"to\":{\"a\":1}}""#).as_deref(), Some(r#"{"a":1}"#));
    assert_eq!(to(r#"[{"to":{"a":1}}]"#).as_deref(), Some(r#"{"a":1}"#));
    let whole = long((16 << 10) - 8);
    assert_eq!(to(&format!(r#"{{"to":{whole}}}"#)).as_deref(), Some(whole.as_str()));
    for nothing in [
        &format!(r#"{{"to":{}}}"#, long((16 << 10) - 7)),
        "null",
        "{}",
        "[]",
        "7",
        r#"{"from":{"a":1}}"#,
        r#"{"to":null}"#,
        r#"{"to":"ACTIVE"}"#,
        r#"{"to":"{\"a\":"}"#,
        r#"{"to":14.6}"#,
        r#"{"to":true}"#,
        r#""a plain text""#,
    ] {
        assert_eq!(to(nothing), None, "{nothing}");
    }
}

#[test]
fn the_debug_data_that_nobody_reads_may_be_anything() {
    let flow = r#""authnRequestId":"r1""#;
    for odd in [
        r#""threatSuspected":"False","threshold":"50""#,
        r#""originalPrincipal":{"id":"00u1","detailEntry":null}"#,
        r#""behaviors":"{New Geo-Location=NEGATIVE, New Device=POSITIVE}""#,
        r#""behaviors":["New Device=POSITIVE"]"#,
        r#""behaviors":{"New Device":null}"#,
        r#""risk":"{reasons=Anomalous Location, Anomalous Device, level=HIGH}""#,
        r#""logOnlySecurityData":"{\"risk\":{\"level\":\"LOW\"}}""#,
        r#""logOnlySecurityData":{"risk":{"level":"LOW"}}"#,
        r#""threatDetections":"{\"Login Failures\":\"HIGH\"}""#,
        r#""clientSecret":"s","url":"/login?stateToken=x""#,
    ] {
        let record = with(&format!(r#""debugContext":{{"debugData":{{{odd},{flow}}}}}"#));
        let event = event(&record);
        assert_eq!(event.flow.as_ref().map(|flow| flow.as_str()), Some("r1"), "{record}");
        let kept = serde_json::to_string(&event).expect("json");
        assert!(!kept.contains("stateToken") && !kept.contains("clientSecret"), "{kept}");
    }
}

#[test]
fn device_facts_are_read_as_booleans_or_texts_and_integrators_as_text_or_object() {
    let signals = |members: &str| (*event(&with(members)).device.expect("a device")).clone();
    let device = signals(
        r#""device":{"id":"guo1","os_platform":"OSX","os_version":"14.5.0","managed":"true","registered":true,"jailbreak":null,
           "secure_hardware_present":"False","disk_encryption_type":"NONE","screen_lock_type":"BIOMETRIC",
           "device_integrator":"{\"WSC\":{}}"}"#,
    );
    assert_eq!((device.managed, device.registered, device.jailbreak), (Some(true), Some(true), None));
    assert_eq!((device.secure_hardware, device.os_version.as_deref()), (Some(false), Some("14.5.0")));
    assert_eq!((device.disk_encryption.as_deref(), device.screen_lock.as_deref()), (Some("NONE"), Some("BIOMETRIC")));
    assert_eq!(device.integrators.as_deref(), Some(r#"{"WSC":{}}"#));
    let device = signals(r#""device":{"device_integrator":{"WSC":{"fireWall":"GOOD"}},"managed":"maybe"}"#);
    assert_eq!(device.integrators.as_deref(), Some(r#"{"WSC":{"fireWall":"GOOD"}}"#));
    assert_eq!(device.managed, None);
    let only_named = signals(r#""device":{"name":"Evil Computer"}"#);
    assert_eq!(only_named, authwatch::event::DeviceSignals::default());
}

#[test]
fn a_device_target_completes_the_device_unless_it_is_another_one() {
    let target = |id: &str, os: &str| {
        format!(
            r#""target":[{{"id":"{id}","type":"UDDevice","detailEntry":{{"osPlatform":"{os}","osVersion":"10.0.19045.1","managed":"false","tpmPresent":"false","deviceIntegrator":"{{\"CROWDSTRIKE\":{{\"overall\":80}}}}"}}}}]"#
        )
    };
    let read = |members: String| (*event(&with(&members)).device.expect("a device")).clone();
    let alone = read(target("guo1", "WINDOWS"));
    assert_eq!((alone.id.as_deref(), alone.managed, alone.secure_hardware), (Some("guo1"), Some(false), Some(false)));
    let apple = read(target("guo1", "MACOS"));
    assert_eq!(apple.secure_hardware, None, "a missing TPM says nothing of Apple hardware");
    let both =
        read(format!(r#""device":{{"id":"guo1","os_version":"14.5.0","managed":true}},{}"#, target("guo1", "MACOS")));
    assert_eq!((both.os_version.as_deref(), both.managed), (Some("14.5.0"), Some(true)));
    assert_eq!(both.integrators.as_deref(), Some(r#"{"CROWDSTRIKE":{"overall":80}}"#));
    let two = read(format!(r#""device":{{"id":"guo2","managed":true}},{}"#, target("guo1", "MACOS")));
    assert_eq!((two.os_version, two.integrators), (None, None));
}

#[test]
fn ids_of_nobody_and_nothing_are_none() {
    for word in ["unknown", "null", "None", ""] {
        let event = event(&with(&format!(
            r#""actor":{{"type":"User","id":"{word}"}},"transaction":{{"id":"{word}"}},"debugContext":{{"debugData":{{"authnRequestId":"{word}"}}}}"#
        )));
        assert_eq!((event.person, event.flow), (None, None), "{word}");
    }
    let person = |members: &str| event(&with(members)).person.map(|person| person.as_str().to_owned());
    let user = r#""target":[{"type":"AppUser","id":"0ua1"},{"type":"user","id":"00u2"}]"#;
    assert_eq!(person(&format!(r#""actor":{{"type":"user","id":"00u1"}},{user}"#)), Some("00u1".to_owned()));
    for actor in ["SystemPrincipal", "PublicClientApp", "PublicClientAppEntity", "AD_AGENT", "IP address"] {
        assert_eq!(person(&format!(r#""actor":{{"type":"{actor}","id":"x"}},{user}"#)), Some("00u2".to_owned()));
        assert_eq!(person(&format!(r#""actor":{{"type":"{actor}","id":"x","alternateId":"ada"}}"#)), None);
    }
}

#[test]
fn the_time_is_read_in_every_form_seen() {
    for (form, expect) in [
        ("2024-07-03T09:19:59.973Z", "2024-07-03T09:19:59.973Z"),
        ("2009-11-10T23:00:00Z", "2009-11-10T23:00:00.000Z"),
        ("2026-09-10T12:24:55.809348Z", "2026-09-10T12:24:55.809Z"),
        ("2022-06-22 18:18:29.015", "2022-06-22T18:18:29.015Z"),
        ("2024-05-02 18:46:21.121000000", "2024-05-02T18:46:21.121Z"),
    ] {
        let record = format!(r#"{{"eventType":"a","published":"{form}"}}"#);
        assert_eq!(time_of(&record).as_deref(), Some(expect), "{form}");
    }
}

fn time_of(record: &str) -> Option<String> {
    event(record).published.map(|time| time.to_string())
}

#[test]
fn an_event_without_a_time_that_can_be_read_is_undated() {
    for members in [
        "",
        r#","published":null"#,
        r#","published":"" "#,
        r#","published":"redacted""#,
        r#","published":{}"#,
        r#","published":1720000000000"#,
        r#","time":"2024-07-03T09:19:59Z""#,
        r#","event":"a line of text""#,
        r#","data":null"#,
    ] {
        let record = format!(r#"{{"eventType":"user.session.start","outcome":{{"result":"SUCCESS"}}{members}}}"#);
        let event = event(&record);
        assert_eq!((event.published, event.outcome), (None, Outcome::Success), "{record}");
        assert_ne!(event.id, self::event(&record.replace("SUCCESS", "FAILURE")).id, "told apart by their text");
    }
    let id = |members: &str| event(&format!(r#"{{"eventType":"a",{members}}}"#)).id;
    assert_eq!(id(r#""uuid":"U1""#), id(r#""uuid":"u1","published":"redacted""#));
    assert_ne!(id(r#""uuid":"u1""#), id(r#""uuid":"u1","published":"2024-07-03T09:19:59Z""#));
}

#[test]
fn the_time_of_an_envelope_stands_for_one_that_its_event_lacks() {
    let undated = r#"{"uuid":"u1","eventType":"user.session.start","published":"redacted"}"#;
    let bridge = |time: &str, event: &str| format!(r#"{{"version":"0","time":"{time}","detail":{event}}}"#);
    let hook = |time: &str, event: &str| {
        format!(r#"{{"eventType":"com.okta.event_hook","eventTime":"{time}","data":{{"events":[{event}]}}}}"#)
    };
    let (outer, inner) = ("2024-07-03T10:00:00Z", "2024-07-03T09:30:00Z");
    for (record, expect) in [
        (bridge(outer, undated), Some("2024-07-03T10:00:00.000Z")),
        (hook(outer, undated), Some("2024-07-03T10:00:00.000Z")),
        (bridge(outer, &hook(inner, undated)), Some("2024-07-03T09:30:00.000Z")),
        (bridge(outer, &hook("redacted", undated)), Some("2024-07-03T10:00:00.000Z")),
        (format!("[{}]", bridge(outer, &format!("[{undated}]"))), Some("2024-07-03T10:00:00.000Z")),
        (bridge(outer, &with("")), Some("2024-07-03T09:19:59.973Z")),
        (bridge("soon", undated), None),
        (bridge("", undated), None),
    ] {
        assert_eq!(time_of(&record).as_deref(), expect, "{record}");
    }
    assert_eq!(event(&hook(outer, undated)).id, event(&hook(inner, undated)).id, "sent again, it is the same event");
    let text = format!("[{},{undated}]", bridge(outer, undated));
    let times: Vec<_> = read(text.as_bytes()).into_iter().map(|read| read.expect("an event").published).collect();
    assert_eq!(times, [Timestamp::parse(outer), None], "an envelope's time stays within it");
}

#[test]
fn an_id_follows_the_uuid_whatever_its_case_and_else_the_content() {
    let id = |members: &str| event(&with(members)).id;
    assert_eq!(id(r#""uuid":"ABC-1""#), id(r#""uuid":"abc-1","severity":"INFO""#));
    assert_ne!(id(r#""uuid":"abc-1""#), id(r#""uuid":"abc-2""#));
    assert_eq!(id(r#""uuid":"" "#), id(r#""uuid":"" "#));
    assert_ne!(id(r#""uuid":"","severity":"INFO""#), id(r#""uuid":"","severity":"WARN""#));
    let text = "any text at all, long as it is, 0123456789";
    assert_eq!(event(&with(&format!(r#""uuid":"{text}""#))).uuid, text);
}

#[test]
fn every_wrapper_gives_the_event_in_it() {
    let bare = with(r#""uuid":"u1","client":{"ipChain":[{"ip":"192.0.2.1"}]},"insertionTimestamp":null"#);
    let text = serde_json::to_string(&bare).expect("a text");
    let expect = event(&bare);
    for wrapped in [
        format!("\u{feff}{bare}\r\n"),
        format!("[{bare}]"),
        format!(" \n[ {bare} ] "),
        format!(
            r#"{{"version":"0","id":"x","detail-type":"SystemLog","source":"aws.partner/okta.com/x","detail":{bare}}}"#
        ),
        format!(r#"{{"eventType":null,"data":{{"events":[{bare}]}}}}"#),
        format!(r#"{{"data":{{"version":1,"events":[{bare}],"more":[]}},"source":"https://example.okta.com"}}"#),
        format!(r#"{{"time":1,"sourcetype":"OktaIM2:log","event":{bare}}}"#),
        format!(r#"{{"event":{text}}}"#),
        format!(r#"{{"schema":{{"type":"struct"}},"payload":{bare}}}"#),
        format!(r#"{{"schema":null,"payload":{text}}}"#),
        format!(r#"{{"integration":"okta","okta":{bare}}}"#),
        format!(r#"{{"event":{{"kind":"event"}},"okta":{bare}}}"#),
        format!(r#"{{"detail":null,"event":{bare}}}"#),
        format!(r#"{{"schema":{{}},"payload":{{"data":{{"events":[{bare}]}}}}}}"#),
        format!(r#"[{{"event":{{"detail":{bare}}}}}]"#),
    ] {
        assert_eq!(event(&wrapped), expect, "{wrapped}");
    }
}

#[test]
fn an_event_hook_says_its_own_type_but_its_events_count() {
    let hook = format!(
        r#"{{"eventType":"com.okta.event_hook","eventTypeVersion":"1.0","cloudEventsVersion":"0.1","eventId":"b5","data":{{"events":[{},{}]}}}}"#,
        with(r#""uuid":"u1""#),
        with(r#""uuid":"u2""#)
    );
    let uuids: Vec<_> = read(hook.as_bytes()).into_iter().map(|read| read.expect("an event").uuid).collect();
    assert_eq!(uuids, ["u1", "u2"]);
}

#[test]
fn an_envelope_gives_each_of_its_events_and_each_of_its_rejects() {
    let record = format!(r#"[{},{{}},{}]"#, with(r#""uuid":"u1""#), with(r#""uuid":"u2""#));
    let found: Vec<_> =
        read(record.as_bytes()).into_iter().map(|read| read.map(|event| event.uuid.to_string())).collect();
    assert_eq!(found, [Ok("u1".to_owned()), Err(Reject::NoEventType), Ok("u2".to_owned())]);
    for empty in ["[]", " [ ] ", r#"{"data":{"events":[]}}"#, r#"{"event":[]}"#] {
        assert_eq!(read(empty.as_bytes()), [], "{empty}");
    }
}

#[test]
fn what_is_no_event_is_rejected_for_a_closed_reason() {
    rejects("", Reject::NotAnObject);
    rejects(" \r\n", Reject::NotAnObject);
    rejects("7", Reject::NotAnObject);
    rejects("null", Reject::NotAnObject);
    rejects("\"text\"", Reject::NotAnObject);
    rejects("text", Reject::NotJson);
    rejects("{\"eventType\":\"a\"", Reject::NotJson);
    rejects("{\"eventType\":\"a\"} x", Reject::NotJson);
    rejects("{'eventType':'a'}", Reject::NotJson);
    rejects("[{\"eventType\":", Reject::NotJson);
    rejects(b"{\"eventType\":\"\xff\"}", Reject::NotUtf8);
    rejects("{}", Reject::NoEventType);
    rejects(r#"{"eventType":"","published":"2024-07-03T09:19:59Z"}"#, Reject::NoEventType);
    rejects(r#"{"eventType":{},"published":"2024-07-03T09:19:59Z"}"#, Reject::NoEventType);
    rejects(r#"{"detail":{"state":"ok"}}"#, Reject::NoEventType);
    rejects(r#"{"data":{"items":[]}}"#, Reject::NoEventType);
    rejects(r#"{"data":7}"#, Reject::NoEventType);
    rejects(r#"{"event":7}"#, Reject::NoEventType);
    rejects(r#"{"data":{"events":{}}}"#, Reject::BadShape);
    rejects(r#"{"event":"a line of text"}"#, Reject::NotJson);
    rejects(r#"{"eventType":"a","published":1e999}"#, Reject::BadShape);
}

#[test]
fn nesting_beyond_the_limit_is_rejected_wherever_it_hides() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(event(&with(&format!(r#""x":{}"#, nested(63)))).uuid, "");
    rejects(with(&format!(r#""x":{}"#, nested(64))), Reject::TooDeep);
    rejects(with(&format!(r#""target":{}"#, nested(64))), Reject::TooDeep);
    rejects(with(&format!(r#""target":{}"#, nested(100_000))), Reject::TooDeep);
    rejects(with(&format!(r#""x":{}"#, nested(100_000))), Reject::TooDeep);
    rejects(nested(100_000), Reject::TooDeep);
    rejects("[".repeat(100_000), Reject::NotJson);
    rejects("{\"event\":".repeat(100_000), Reject::NotJson);
    let wrapped = |depth: usize| format!("{}{}{}", "{\"event\":".repeat(depth), with(""), "}".repeat(depth));
    assert_eq!(event(&wrapped(4)).uuid, "");
    rejects(wrapped(5), Reject::TooDeep);
    rejects(wrapped(90), Reject::TooDeep);
    let in_texts = (0..12).fold(with(""), |inner, _| format!(r#"{{"payload":{}}}"#, serde_json::Value::from(inner)));
    rejects(in_texts, Reject::TooDeep);
    let brackets_in_text = with(&format!(r#""x":"{}""#, "[".repeat(1_000)));
    assert_eq!(event(&brackets_in_text).uuid, "");
}

#[test]
fn a_record_beyond_the_limit_is_rejected_alone_or_in_an_array() {
    let long = with(&format!(r#""x":"{}""#, "x".repeat(1 << 20)));
    rejects(&long, Reject::TooLarge);
    let small = with("");
    let record = format!("[{small},{long},{small}]");
    assert_eq!(read(record.as_bytes()).iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    let fits = with(&format!(r#""x":"{}""#, "x".repeat((1 << 20) - 100)));
    assert_eq!(event(&fits).uuid, "");
}

#[test]
fn half_an_emoji_does_not_cost_the_event() {
    let event = event(&with(
        r#""actor":{"type":"User","id":"00u1","displayName":"\ud83d"},"target":[{"type":"AppInstance","id":"0oa1","displayName":"Pay\ud83droll \ud83d\ude00"}]"#,
    ));
    assert_eq!(event.app.expect("an app").name, "Pay\u{fffd}roll \u{1f600}");
    assert_eq!(event.person.expect("a person").as_str(), "00u1");
}

#[test]
fn more_targets_than_the_limit_are_skipped() {
    let many = "{\"type\":\"X\",\"id\":\"1\"},".repeat(300);
    let early = with(&format!(r#""target":[{{"type":"AppInstance","id":"0oa1"}},{}]"#, many.trim_end_matches(',')));
    assert_eq!(event(&early).app.expect("an app").id, "0oa1");
    let late = with(&format!(r#""target":[{many}{{"type":"AppInstance","id":"0oa1"}}]"#));
    assert_eq!(event(&late).app, None);
}

#[test]
fn long_texts_are_cut_at_a_letter() {
    let event = event(&with(&format!(
        r#""target":[{{"type":"AppInstance","id":"0oa1","displayName":"x{}"}}]"#,
        "é".repeat(400)
    )));
    let name = event.app.expect("an app").name;
    assert!(name.len() == 255 && name.ends_with('é'), "{}", name.len());
}

/// A rich event, to be damaged.
const RICH: &str = r#"{"uuid":"a1","published":"2024-07-03T09:19:59.973Z","eventType":"policy.evaluate_sign_on","version":"0",
"actor":{"id":"00u1","type":"User"},"client":{"userAgent":{"rawUserAgent":"Mozilla","os":"Mac OS X"},"ipChain":[]},
"device":{"id":"guo1","os_platform":"OSX","managed":false,"device_integrator":"{\"WSC\":{}}"},
"outcome":{"result":"DENY","reason":"Sign-on policy evaluation resulted in DENIED"},
"debugContext":{"debugData":{"authnRequestId":"r1","authMethodFirstType":"okta_verify:signed_nonce:aut1"}},
"target":[{"id":"0oa1","type":"AppInstance","detailEntry":{"signOnModeEvaluationResult":"DENIED"}},{"id":"rul1","type":"Rule"}]}"#;

#[test]
fn the_rich_event_is_whole_before_it_is_damaged() {
    let event = event(RICH);
    assert_eq!(
        (event.credential, event.outcome, event.platform),
        (Credential::Fastpass, Outcome::Deny, Platform::Macos)
    );
}

fn damage(record: &str, cuts: &[(usize, u8)]) -> Vec<u8> {
    let mut bytes = record.as_bytes().to_vec();
    for (at, byte) in cuts {
        let at = at % bytes.len();
        match byte % 3 {
            0 => bytes[at] = *byte,
            1 => bytes.insert(at, *byte),
            _ => drop(bytes.remove(at)),
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_give_calls_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let may_be_empty = bytes.contains(&b'[');
        prop_assert!(may_be_empty || !read(&bytes).is_empty());
        let _ = reader().read_page(&bytes, &mut |_| {});
    }

    #[test]
    fn any_json_like_text_gives_no_panic(text in r#"[\[\]{}:,"\\a-e0-9 .un-]{0,120}"#) {
        read(text.as_bytes());
        let _ = reader().read_page(text.as_bytes(), &mut |_| {});
    }

    #[test]
    fn a_damaged_event_gives_one_reading_or_one_reject(
        cuts in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6),
    ) {
        let damaged = damage(RICH, &cuts);
        prop_assert_eq!(read(&damaged).len(), 1, "{}", String::from_utf8_lossy(&damaged));
    }

    #[test]
    fn a_damaged_element_never_costs_its_neighbours(
        cuts in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6),
    ) {
        let damaged = damage(RICH, &cuts);
        let good = with(r#""uuid":"good""#);
        let page = [b"[", good.as_bytes(), b",", &damaged, b",", good.as_bytes(), b"]"].concat();
        let mut good_ones = 0;
        let count = reader().read_page(&page, &mut |read| {
            good_ones += usize::from(read.is_ok_and(|event| event.uuid == "good"));
        });
        if serde_json::from_slice::<serde::de::IgnoredAny>(&damaged).is_ok() {
            prop_assert_eq!(count, Ok(3));
        }
        if count.is_ok() {
            prop_assert_eq!(good_ones, 2, "{}", String::from_utf8_lossy(&damaged));
        }
    }
}
