//! `authwatch run` as an operator meets it: the real binary against simulated servers, over HTTP and signals.
//!
//! The simulated clock stands still unless a test moves it, so what a daemon must have counted is known exactly.

#![expect(clippy::expect_used, clippy::panic, unreachable_pub, reason = "helpers of tests fail as tests do")]

#[path = "daemon/process.rs"]
mod process;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::Duration;

use authwatch::event::{Span, Timestamp};
use authwatch::sim::{OktaConfig, OktaFault, Scenario, ServiceNowFault};
use process::{Daemon, Home, end, metric, number, push_at, records, run, serve, settings, start, until, world};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Long after the end, so that repeated and late elements are there as well.
fn over() -> Timestamp {
    end() + Span::hours(1)
}

/// A free port of this machine.
const ANYWHERE: &str = "127.0.0.1:0";

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// A free address of this machine.
fn free_address() -> std::net::SocketAddr {
    TcpListener::bind(ANYWHERE).and_then(|listener| listener.local_addr()).expect("a free port")
}

/// What both views say of the counts must be one number each.
async fn assert_metrics_equal_status(daemon: &Daemon, status: &Value) {
    let response = daemon.response("/metrics").await;
    let kind = response.headers().get("content-type").expect("a type").to_str().expect("text");
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    let text = response.text().await.expect("a body");
    for (name, key) in [
        ("authwatch_events_total", "events"),
        ("authwatch_duplicates_total", "duplicates"),
        ("authwatch_late_events_total", "late"),
    ] {
        assert_eq!(metric(&text, name, &["org=\"acme\""]), number(&status[key]), "{name}");
    }
    for (reason, n) in status["rejected"].as_object().expect("an object") {
        let label = format!("reason=\"{reason}\"");
        assert_eq!(metric(&text, "authwatch_rejected_records_total", &[&label]), number(n), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_counted_once_whatever_restarts_and_the_counts_never_go_back() {
    let world = world(Scenario::QuietWeek, 150, start() + Span::hours(2)).await;
    let home = Home::of(&world, "");
    let daemon = home.daemon().await;
    let before = daemon.until_caught_up(&world).await;
    assert!(number(&before["events"]) > 100, "{before}");
    assert_metrics_equal_status(&daemon, &before).await;
    let (ended, log) = daemon.stop().await;
    assert_eq!(ended.code(), Some(0), "{log:#?}");
    assert!(log.last().is_some_and(|line| line.contains("stopped")), "{log:#?}");

    let shown = home.run(&["state", "show", "--json"]).json();
    for key in ["events", "duplicates", "late", "rejected"] {
        assert_eq!(shown[key], before[key], "{key} after the stop");
    }

    // Okta does not answer, so what the first replies show was there before the restart.
    world.okta.faults().set_chances(vec![(OktaFault::ServerError, 1.0)]);
    world.clock.advance(Span::hours(4));
    let daemon = home.daemon().await;
    let restored = daemon.until_status("the state is restored", |status| !status["started"].is_null()).await;
    for key in ["events", "duplicates", "late", "rejected"] {
        assert_eq!(restored[key], before[key], "{key} after the restart");
    }
    assert_metrics_equal_status(&daemon, &restored).await;

    world.okta.faults().set_chances(Vec::new());
    let last = daemon.until_caught_up(&world).await;
    let truth = world.okta.truth();
    assert_eq!(
        (number(&last["events"]), number(&last["duplicates"]), records(&last)),
        (truth.events, truth.duplicates, truth.records),
        "{last}"
    );
    assert!(truth.bad > 0 && truth.duplicates > 0, "{truth:?}");
    assert!(number(&last["late"]) <= truth.late, "{last} {}", truth.late);
    assert_metrics_equal_status(&daemon, &last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_and_the_probes_say_what_the_contract_names() {
    let world = world(Scenario::QuietWeek, 50, over()).await;
    let home = Home::of(&world, "");
    let daemon = home.daemon().await;
    daemon.until("/readyz", "it is ready", |code, text| (code, text) == (200, "ok\n")).await;
    assert_eq!(daemon.get("/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(daemon.get("/startupz").await, (200, "ok\n".to_owned()));
    let status = daemon.until_caught_up(&world).await;
    let contract = BTreeSet::from(["events", "duplicates", "late", "rejected", "sources", "incidents_open", "version"]);
    let more = BTreeSet::from(["orgs", "data_until", "started", "uptime_seconds"]);
    assert_eq!(keys(&status), contract.union(&more).copied().collect());
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["incidents_open"], 0);
    let sources = status["sources"].as_array().expect("a list");
    assert_eq!(sources.len(), 1);
    assert_eq!(keys(&sources[0]), ["lag_seconds", "name", "ready"].into());
    assert_eq!((&sources[0]["name"], &sources[0]["ready"]), (&json!("okta:acme"), &json!(true)));
    // The page is not full, so the watermark is the server's clock less the lateness.
    assert_eq!(sources[0]["lag_seconds"], 20.0);
    let (_, verbose) = daemon.get("/readyz?verbose").await;
    for condition in ["source/okta:acme", "sink/servicenow", "state"] {
        assert!(verbose.contains(&format!("[+] {condition}: ok")), "{verbose}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_within_the_grace_although_both_servers_hang() {
    let world = world(Scenario::BadPushEveryone, 400, push_at() - Span::minutes(5)).await;
    let home = Home::of(&world, "");
    home.configure(&home.usual("").replace("shutdown_grace: 5s", "shutdown_grace: 1s"));
    let daemon = home.daemon().await;
    daemon.until_caught_up(&world).await;
    daemon.until("/readyz?verbose", "the sink is reached", |_, text| text.contains("[+] sink/servicenow")).await;
    world.servicenow.faults().set_chances(vec![(ServiceNowFault::Slow, 1.0)]);
    world.clock.advance(Span::minutes(30));
    let status = daemon.until_status("an incident opens", |status| status["incidents_open"] == 1).await;
    world.okta.faults().set_chances(vec![(OktaFault::Slow, 1.0)]);
    let slow = async || {
        let okta = world.okta.faults().struck().contains_key(&OktaFault::Slow);
        let sink = world.servicenow.faults().struck().contains_key(&ServiceNowFault::Slow);
        if okta && sink { Ok(()) } else { Err(format!("{okta} {sink}")) }
    };
    until("both hang", slow).await;
    // Far above the grace of one second for a slow machine, far below the two minutes of a reply.
    let (ended, log) = tokio::time::timeout(Duration::from_secs(30), daemon.stop()).await.expect("within the grace");
    assert_eq!(ended.code(), Some(0), "{log:#?}");

    // What was not told is told by the next one, once.
    world.servicenow.faults().set_chances(Vec::new());
    world.okta.faults().set_chances(Vec::new());
    let daemon = home.daemon().await;
    let ticket = async || match world.servicenow.created().as_slice() {
        [row] => Ok(row.clone()),
        rows => Err(format!("{rows:?}")),
    };
    let row = until("there is a ticket", ticket).await;
    let incidents = daemon.json("/api/v1/incidents").await;
    assert_eq!(json!(row.get("correlation_id")), incidents["incidents"][0]["key"]);
    let again = daemon.until_caught_up(&world).await;
    assert!(records(&again) >= records(&status));
    assert_eq!(world.servicenow.created().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_explained_to_whoever_waits_for_it_and_in_the_ticket() {
    let world = world(Scenario::BadPushEveryone, 400, push_at() - Span::minutes(30)).await;
    let home = Home::of(&world, "");
    let text = home.usual("").replace("      start: 8h\n", "      start: 8h\n      policies: true\n");
    home.configure(&text);
    let daemon = home.daemon().await;
    daemon
        .until("/readyz?verbose", "the policies are read", |_, text| text.contains("[+] source/okta:acme/policies"))
        .await;
    daemon.until_caught_up(&world).await;
    // In steps, as time passes: the change is seen, the policies are read again, and only then much happens.
    for _ in 0..12 {
        world.clock.advance(Span::minutes(5));
        daemon.until_caught_up(&world).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let url = format!("http://{}", daemon.address);
    let wait = |expect: &str, timeout: &str| {
        let words = ["explain", "--url", &url, "--since", "2h", "--expect", expect, "--timeout", timeout];
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        tokio::task::spawn_blocking(move || run(&words.iter().map(String::as_str).collect::<Vec<_>>(), ""))
    };
    let found = wait("deny,os_version", "2m").await.expect("it ran");
    assert_eq!(found.code, 0, "{}{}", found.stdout, found.stderr);
    assert!(found.stdout.contains("os_version (required ") && found.stdout.contains(" deny "), "{}", found.stdout);
    let missed = wait("deny,jailbreak", "1s").await.expect("it ran");
    assert_eq!((missed.code, missed.stdout.as_str()), (1, ""), "{}", missed.stderr);
    assert!(missed.stderr.contains("no such decision since "), "{}", missed.stderr);
    assert_eq!(wait("denied", "1s").await.expect("it ran").code, 2);
    assert_eq!(run(&["explain", "--url", "http://127.0.0.1:9", "--expect", "deny"], "").code, 5);

    let incidents = daemon.json("/api/v1/incidents").await;
    let check = &incidents["incidents"][0]["checks"][0];
    assert_eq!((&check["check"], &check["result"]), (&json!("os_version"), &json!("fail")), "{incidents}");
    // The refusals waited for the policies to be read again; the next tick tells.
    world.clock.advance(Span::minutes(1));
    daemon.until_caught_up(&world).await;
    let ticket = until("the ticket names the check", async || {
        let rows = format!("{:?}", world.servicenow.created());
        if rows.contains("Checks that fail, with people: os_version") { Ok(rows) } else { Err(rows) }
    })
    .await;
    assert!(ticket.contains("os_version (minimum): required 1"), "{ticket}");
    let agreement = daemon.get("/metrics").await.1;
    assert_eq!(metric(&agreement, "authwatch_policy_agreement_total", &["result=\"disagree\""]), 0, "{agreement}");
    assert!(metric(&agreement, "authwatch_denied_checks_total", &["check=\"os_version\"", "source=\"derived\""]) > 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_what_can_change_names_what_cannot_and_keeps_the_old_on_an_error() {
    let settings = settings(Scenario::BadPushEveryone, 400, push_at() - Span::minutes(5));
    let people = settings.org.people.iter().map(|person| person.id.clone()).collect::<Vec<_>>().join(", ");
    let world = serve(settings).await;
    let home = Home::of(&world, "judge: { min_people: 4000 }\n");
    let daemon = home.daemon().await;
    daemon.until_caught_up(&world).await;
    world.clock.advance(Span::minutes(30));
    let status = daemon.until_caught_up(&world).await;
    assert_eq!(status["incidents_open"], 0, "min_people is too high for this org");
    let reloads = async |result: &str, n: u64| {
        let label = format!("result=\"{result}\"");
        let is = |_, text: &str| metric(text, "authwatch_config_reloads_total", &[&label]) == n;
        daemon.until("/metrics", &format!("{n} reloads have {result}"), is).await;
    };

    // Moved down by a comment, which is no change of the sources.
    let text = format!("# a comment\n{}", home.usual("judge: { min_people: 5 }\n"));
    home.configure(&text.replace(&format!("listen: {ANYWHERE}"), "listen: 127.0.0.1:9"));
    daemon.signal(Signal::HUP);
    reloads("done", 1).await;
    let restart = daemon.lines_with(&["WARN", "after a restart"]);
    assert_eq!(restart.len(), 1, "{restart:#?}");
    assert!(restart[0].contains("key=\"listen\""), "{restart:#?}");
    world.clock.advance(Span::minutes(10));
    daemon.until_status("the lower limit opens an incident", |status| status["incidents_open"] == 1).await;

    home.configure(&home.usual("jugde: { min_people: 4000 }\n"));
    daemon.signal(Signal::HUP);
    reloads("failed", 1).await;
    let errors = daemon.lines_with(&["ERROR", "not reloaded"]);
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert!(errors[0].contains("authwatch.yaml:15:1: unknown key `jugde` (did you mean `judge`?)"), "{errors:#?}");
    world.clock.advance(Span::minutes(10));
    let status = daemon.until_caught_up(&world).await;
    assert_eq!(status["incidents_open"], 1, "the old configuration is in force: {status}");

    // The address that is in force needs no restart.
    home.configure(&home.usual(&format!("cohorts: {{ everybody: {{ users: [{people}] }} }}\n")));
    daemon.signal(Signal::HUP);
    reloads("done", 2).await;
    assert_eq!(daemon.lines_with(&["after a restart"]).len(), 1);
    world.clock.advance(Span::minutes(20));
    let has = |_, text: &str| text.contains("\"cohort\":\"everybody\"");
    daemon.until("/api/v1/series", "the new cohort has series", has).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_systems_are_named_and_waited_for() {
    let address = free_address();
    let url = format!("http://{address}");
    let home = Home::at(&url, &url, "");
    let daemon = home.daemon().await;
    let named = |code, text: &str| {
        let source = text.contains("[-] source/okta:acme: Okta cannot be reached: ");
        code == 503 && source && text.contains("[-] sink/servicenow: ") && !text.contains("not reached yet")
    };
    let text = daemon.until("/readyz", "both are named", named).await;
    assert!(text.contains("(informs only)") && text.ends_with("not ready\n"), "{text}");
    assert_eq!(daemon.get("/livez").await.0, 200);
    assert_eq!(daemon.get("/startupz").await.0, 200);
    assert_eq!(daemon.status().await["sources"][0]["ready"], false);

    let world =
        serve(authwatch::sim::ServeConfig { listen: address, ..settings(Scenario::QuietWeek, 50, over()) }).await;
    daemon.until("/readyz?verbose", "both recover", |code, text| code == 200 && !text.contains("[-]")).await;
    daemon.until_caught_up(&world).await;
    assert_eq!(daemon.lines_with(&["source cannot read"]).len(), 1, "{:#?}", daemon.log());

    world.shutdown().await;
    // No page arrives that could bring the news, and old numbers are not called healthy.
    daemon.until_status("it is not ready again", |status| status["sources"][0]["ready"] == false).await;
    let (_, page) = daemon.get("/").await;
    assert!(page.contains("Sign-in is unknown: nothing arrives from okta:acme"), "{page}");
    assert_eq!(daemon.lines_with(&["source cannot read"]).len(), 2, "{:#?}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_named_once_and_a_right_one_is_taken_up() {
    let world = world(Scenario::QuietWeek, 50, over()).await;
    let home = Home::of(&world, "");
    home.write_token("wrong");
    let daemon = home.daemon().await;
    let refusals = async |n| {
        let label = "result=\"token_refused\"";
        let is = |_, text: &str| metric(text, "authwatch_source_requests_total", &[label]) >= n;
        daemon.until("/metrics", &format!("the token is refused {n} times"), is).await;
    };
    refusals(1).await;
    home.write_token("wrong-too");
    refusals(2).await;
    let (code, text) = daemon.get("/readyz").await;
    assert_eq!(code, 503);
    assert!(text.contains("[-] source/okta:acme: Okta refused the API token (E0000011)"), "{text}");
    let lines = daemon.lines_with(&["refused the API token"]);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("ERROR"), "{lines:#?}");
    assert_eq!(daemon.lines_with(&["wrong"]), Vec::<String>::new());

    home.write_token(&OktaConfig::default().token);
    daemon.until("/readyz", "it recovers", |code, _| code == 200).await;
    daemon.until_caught_up(&world).await;
}

#[test]
fn a_configuration_that_cannot_be_meant_ends_with_3() {
    let home = Home::at("http://127.0.0.1:1", "http://127.0.0.1:1", "");
    let usual = home.usual("");
    for (text, part) in [
        (format!("lisen: 127.0.0.1:0\n{usual}"), "authwatch.yaml:1:1: unknown key `lisen` (did you mean `listen`?)"),
        (
            usual.replace("poll_interval", "pol_interval"),
            "authwatch.yaml:10:7: unknown key `pol_interval` (did you mean",
        ),
        (usual.replace(ANYWHERE, "0.0.0.0:0"), "set `http.token`"),
        (usual.replace("sources:", "sources: []\nsources_:"), "unknown key `sources_`"),
        ("org: acme\n".to_owned(), "no source is configured"),
        (format!("{usual}rules: nowhere\n"), "nowhere"),
    ] {
        home.configure(&text);
        home.run(&["run"]).failed(3, &["error: ", part]);
        assert!(!home.state().exists(), "nothing was begun");
    }
    home.run(&["run", "--onec"]).failed(2, &["--onec"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_cannot_be_used_is_refused_and_left_alone() {
    let world = world(Scenario::QuietWeek, 50, over()).await;
    let home = Home::of(&world, "");
    let state = home.state().join("state.redb");
    std::fs::create_dir_all(home.state()).expect("a folder");
    let aside = format!("mv {} {}.aside", state.display(), state.display());
    for bytes in [b"".as_slice(), b"this is no database", &[0; 8_192]] {
        std::fs::write(&state, bytes).expect("written");
        home.run(&["run"]).failed(5, &["is corrupt", &aside]);
        assert_eq!(std::fs::read(&state).expect("still there"), bytes);
    }
    std::fs::remove_file(&state).expect("moved aside");
    assert_eq!(home.run(&["run", "--once"]).code, 0);

    let db = redb::Database::open(&state).expect("a database");
    let txn = db.begin_write().expect("a transaction");
    txn.open_table(redb::TableDefinition::<&str, u64>::new("meta")).expect("a table").insert("format", 9).expect("in");
    txn.commit().expect("written");
    drop(db);
    home.run(&["run"]).failed(5, &["has format 9", &aside]);

    // Damage in the middle of a good file is seen at the start.
    std::fs::remove_file(&state).expect("moved aside");
    assert_eq!(home.run(&["run", "--once"]).code, 0);
    let mut bytes = std::fs::read(&state).expect("a state");
    let half = bytes.len() / 2;
    bytes.truncate(half);
    std::fs::write(&state, &bytes).expect("written");
    home.run(&["run"]).failed(5, &["is corrupt", &aside]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_state_has_one_owner_and_an_address_one_listener() {
    let world = world(Scenario::QuietWeek, 50, over()).await;
    let home = Home::of(&world, "");
    let daemon = home.daemon().await;
    daemon.until_caught_up(&world).await;
    let (dir, pid) = (home.state().display().to_string(), format!("process {}", daemon.pid()));
    for words in [&["run"][..], &["state", "show"], &["state", "forget", "00u1"], &["state", "reset", "--yes"]] {
        home.run(words).failed(5, &["in use by", &dir, &pid]);
    }
    let other = Home::of(&world, "");
    let address = daemon.address.to_string();
    other.configure(&other.usual("").replace(ANYWHERE, &address));
    other.run(&["run"]).failed(5, &["cannot listen on", &address]);
    assert_eq!(daemon.get("/readyz").await.0, 200, "the first one is undisturbed");

    // A lock that nobody holds is no lock, however its holder ended.
    daemon.signal(Signal::KILL);
    let mut daemon = daemon;
    assert_eq!(daemon.end().await.code(), None);
    let daemon = home.daemon().await;
    daemon.until_caught_up(&world).await;
}

#[test]
fn once_reads_files_to_their_end_and_finds_nothing_new_the_second_time() {
    let home = Home::at("http://127.0.0.1:1", "http://127.0.0.1:1", "");
    let out = home.dir.path().join("out");
    let out = out.to_str().expect("text");
    let made = run(&["simulate", "--scenario", "quiet-week", "--seats", "50", "--bad", "0.01", "--out", out], "");
    assert_eq!(made.code, 0, "{}", made.stderr);
    let events = format!("{out}/events.ndjson");
    let file =
        format!("org: acme\nstate_dir: state\nlisten: {ANYWHERE}\nsources: [{{ file: {{ paths: [{events:?}] }} }}]\n");
    home.configure(&file);
    let mut shown = Vec::new();
    for _ in 0..2 {
        let ran = home.run(&["run", "--once"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        shown.push(home.run(&["state", "show", "--json"]).json());
    }
    for key in ["events", "duplicates", "late", "rejected", "digest", "incidents_open"] {
        assert_eq!(shown[0][key], shown[1][key], "{key}");
    }
    let truth: Value =
        serde_json::from_slice(&std::fs::read(format!("{out}/truth.json")).expect("a truth")).expect("json");
    assert_eq!(json!([shown[0]["events"], shown[0]["duplicates"]]), json!([truth["events"], truth["duplicates"]]));
    assert_eq!(records(&shown[0]), number(&truth["records"]));

    home.configure(&file.replace(&events, "/nowhere/events.ndjson"));
    home.run(&["run", "--once"]).failed(5, &["/nowhere/events.ndjson"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn once_ends_when_caught_up_and_the_ticket_is_there() {
    let world = world(Scenario::BadPushEveryone, 400, push_at() + Span::minutes(40)).await;
    let home = Home::of(&world, "");
    // Whoever waited for the next poll would be noticed.
    let text = home.usual("").replace("poll_interval: 100ms", "poll_interval: 1h");
    world.servicenow.faults().set_chances(vec![(ServiceNowFault::Unavailable, 1.0)]);
    home.configure(&text.replace("shutdown_grace: 5s", "shutdown_grace: 1s"));
    home.run(&["run", "--once"]).failed(5, &["could not be carried out yet"]);
    assert!(world.servicenow.created().is_empty());

    world.servicenow.faults().set_chances(Vec::new());
    home.configure(&text.replace("shutdown_grace: 5s", "shutdown_grace: 60s"));
    for _ in 0..2 {
        let ran = home.run(&["run", "--once"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(world.servicenow.created().len(), 1);
    }
    let shown = home.run(&["state", "show", "--json"]).json();
    assert_eq!(records(&shown), world.okta.committed().expect("a log") as u64);
    assert_eq!((&shown["incidents_open"], &shown["sinks"][0]["waiting"]), (&json!(1), &json!(0)));
    let row = &world.servicenow.created()[0];
    assert_eq!(shown["sinks"][0]["tickets"][0]["number"], row.get("number"));
    assert!(["1", "2"].contains(&row.get("state")), "{row:?}");
}
