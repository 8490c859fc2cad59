//! `authwatch check` as an operator runs it: the real binary against simulated servers, a mock Kafka cluster and the
//! stand-in of a vault. What is granted is said to work, and what is not is said with who can grant it.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    unreachable_pub,
    dead_code,
    reason = "helpers of tests fail as tests do, and are shared with tests that use more of them"
)]

#[path = "daemon/process.rs"]
mod process;
#[path = "support/vault.rs"]
mod vault;

use authwatch::event::{Span, Timestamp};
use authwatch::sim::{Cohort, Endpoint, Handles, Org, Scenario, ServiceNowFault};
use process::{Home, Ran, serve, settings, start};
use rdkafka::mocking::MockCluster;
use serde_json::{Value, json};

/// Simulated servers whose clock is the host's.
async fn world() -> Handles {
    let now = Timestamp(chrono::Utc::now().timestamp_millis());
    let mut settings = settings(Scenario::QuietWeek, 50, now);
    settings.start = now - Span::hours(4);
    settings.until = now + Span::hours(4);
    serve(settings).await
}

/// The usual configuration, which also reads policies and a group.
fn with_policies(home: &Home, group: &str) -> String {
    let usual = home.usual(&format!("cohorts:\n  pilot: {{ groups: [{group}] }}\n"));
    usual.replace("      start: 8h\n", "      start: 8h\n      policies: true\n")
}

fn group() -> String {
    Org::new(4, 50).groups[Cohort::Pilot.as_str()].to_string()
}

async fn check(home: &Home, words: &[&str]) -> (i32, Value) {
    let ran = ran(home, words).await;
    let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("no JSON: {ran:?}"));
    assert_eq!(report["ok"], ran.code == 0, "{report}");
    (ran.code, report)
}

async fn ran(home: &Home, words: &[&str]) -> Ran {
    let words = [&["check", "--json"], words].concat();
    tokio::task::block_in_place(|| home.run(&words))
}

/// The one finding of a part and check.
#[track_caller]
fn finding<'a>(report: &'a Value, part: &str, check: &str) -> (&'a str, &'a str) {
    let all = report["findings"].as_array().expect("a list");
    let of = |finding: &&Value| finding["part"] == part && finding["check"] == check;
    let found: Vec<&Value> = all.iter().filter(of).collect();
    assert_eq!(found.len(), 1, "`{part}` `{check}` in {report:#}");
    (found[0]["result"].as_str().expect("a result"), found[0]["detail"].as_str().expect("a detail"))
}

#[track_caller]
fn says(report: &Value, part: &str, check: &str, result: &str, words: &str) {
    let (found, detail) = finding(report, part, check);
    assert_eq!(found, result, "`{part}` `{check}`: {detail}");
    assert!(detail.contains(words), "`{words}` in `{detail}`");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_works_is_said_line_by_line_and_nothing_is_written() {
    let world = world().await;
    let home = Home::of(&world, "");
    home.configure(&with_policies(&home, &group()));
    let (code, report) = check(&home, &[]).await;
    assert_eq!(code, 0, "{report:#}");
    says(&report, "okta:acme", "system log", "ok", "readable");
    says(&report, "okta:acme", "clock", "ok", "of Okta's");
    says(&report, "okta:acme", "rate limit", "ok", "requests a minute");
    says(&report, "okta:acme", "policies", "ok", "on the first page");
    says(&report, "okta:acme", "rules of policies", "ok", "of the first policy");
    says(&report, "okta:acme", "device assurances", "ok", "found");
    says(&report, "okta:acme", "people of groups", "ok", "1 of 1 can be read");
    says(&report, "servicenow", "read incidents", "ok", "look-ups by key work");
    says(&report, "servicenow", "write incidents", "skipped", "--write");
    says(&report, "servicenow", "secret: environment variable `SN_USER`", "ok", "readable");
    assert!(world.servicenow.created().is_empty());
    assert!(!home.state().exists(), "nothing is made before the daemon makes it");
    let whole = report.to_string();
    for secret in ["sim-okta-token", &authwatch::sim::ServiceNowConfig::default().password] {
        assert!(!whole.contains(secret), "{whole}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_leave_one_test_row_is_created_noted_and_resolved() {
    let world = world().await;
    let home = Home::of(&world, "");
    let (code, report) = check(&home, &["--write"]).await;
    assert_eq!(code, 0, "{report:#}");
    for step in ["create", "update", "resolve"] {
        assert_eq!(finding(&report, "servicenow", &format!("{step} an incident")).0, "ok", "{report:#}");
    }
    let rows = world.servicenow.created();
    assert_eq!((rows.len(), rows[0].get("state")), (1, "6"), "{rows:?}");
    assert!(rows[0].get("correlation_id").starts_with("aw-check-"), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_granted_is_said_with_who_can_grant_it() {
    let world = world().await;
    let home = Home::of(&world, "");
    home.configure(&with_policies(&home, "00gnosuchgroup"));
    world.okta.withhold(Endpoint::DeviceAssurances);
    world.servicenow.faults().set_chances(vec![(ServiceNowFault::Hibernating, 1.0)]);
    let (code, report) = check(&home, &[]).await;
    assert_eq!(code, 1, "{report:#}");
    says(&report, "okta:acme", "system log", "ok", "readable");
    says(&report, "okta:acme", "policies", "ok", "");
    says(&report, "okta:acme", "device assurances", "failed", "`okta.deviceAssurance.read`");
    says(&report, "okta:acme", "people of groups", "failed", "1 of 1 groups do not exist: 00gnosuchgroup");
    says(&report, "servicenow", "read incidents", "failed", "hibernates");
    let ran = tokio::task::block_in_place(|| home.run(&["check"]));
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("failed   okta:acme"), "{}", ran.stdout);
    assert!(ran.stdout.trim_end().ends_with("skipped"), "{}", ran.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_a_missing_secret_and_a_wrong_clock_are_told_apart() {
    let world = serve(settings(Scenario::QuietWeek, 50, start() + Span::hours(2))).await;
    let home = Home::of(&world, "");
    let (code, report) = check(&home, &[]).await;
    assert_eq!(code, 0, "a clock that differs is a warning: {report:#}");
    says(&report, "okta:acme", "clock", "warning", "sets up NTP");
    home.write_token("a-token-that-is-not-good");
    let (code, report) = check(&home, &[]).await;
    assert_eq!(code, 1, "{report:#}");
    says(&report, "okta:acme", "system log", "failed", "Okta refused the API token");
    home.configure(&home.usual("").replace("SN_PASSWORD", "NO_SUCH_VARIABLE"));
    let (code, report) = check(&home, &[]).await;
    assert_eq!(code, 1, "{report:#}");
    says(
        &report,
        "servicenow",
        "secret: environment variable `NO_SUCH_VARIABLE`",
        "failed",
        "`NO_SUCH_VARIABLE` is not set",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vaults_login_lease_and_paths_are_lines_of_their_own() {
    let world = world().await;
    let vault = vault::Vault::start().await;
    vault.put("secret", "okta/admin-api", json!({ "token": "sim-okta-token" }));
    let home = Home::of(&world, "");
    let section = format!(
        "vault:\n  address: http://{}\n  auth: {{ approle: {{ role_id: authwatch, secret_id: {{ file: secret-id }} }} }}\n",
        vault.address
    );
    std::fs::write(home.dir.path().join("secret-id"), format!("{}-secret-id", vault::CANARY)).expect("a file");
    let token = format!("{{ file: {:?} }}", home.dir.path().join("okta-token"));
    let usual = home.usual(&section);
    home.configure(&usual.replace(&token, "{ vault: \"secret/okta/admin-api#token\" }"));
    let (code, report) = check(&home, &[]).await;
    assert_eq!(code, 0, "{report:#}");
    says(&report, "vault", "login", "ok", "accepts us");
    says(&report, "vault", "lease", "ok", "is replaced before");
    says(&report, "okta:acme", "secret: vault path `secret/okta/admin-api#token`", "ok", "readable");
    says(&report, "okta:acme", "system log", "ok", "readable");
    home.configure(&usual.replace(&token, "{ vault: \"secret/okta/no-such-path#token\" }"));
    let (code, report) = check(&home, &[]).await;
    assert_eq!(code, 1, "{report:#}");
    assert_eq!(finding(&report, "okta:acme", "secret: vault path `secret/okta/no-such-path#token`").0, "failed");
    assert!(!report.to_string().contains(vault::CANARY), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_asked_for_and_one_that_is_not_there_is_named() {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    cluster.create_topic("okta.system-log", 3, 1).expect("a topic");
    let home = Home::at("http://127.0.0.1:9", "http://127.0.0.1:9", "");
    let config = |topics: &str| {
        format!(
            "org: acme\nstate_dir: state\nsources:\n  - kafka: {{ brokers: [\"{}\"], topics: [{topics}], group: aw }}\n",
            cluster.bootstrap_servers()
        )
    };
    home.configure(&config("okta.system-log"));
    let (code, report) = check(&home, &[]).await;
    assert_eq!(code, 0, "{report:#}");
    says(&report, "kafka:acme", "topic okta.system-log", "ok", "3 partitions with about 0 records");
    says(&report, "kafka:acme", "group aw", "ok", "offsets readable");
    home.configure(&config("no-such-topic"));
    let (code, report) = check(&home, &[]).await;
    assert_eq!(code, 1, "{report:#}");
    says(&report, "kafka:acme", "topic no-such-topic", "failed", "check `topics`");
    home.configure(
        "org: acme\nstate_dir: state\nsources:\n  - kafka: { brokers: [\"127.0.0.1:9\"], topics: [t], group: aw }\n",
    );
    let (code, report) = check(&home, &[]).await;
    assert_eq!(code, 1);
    says(&report, "kafka:acme", "brokers", "failed", "check `brokers` and `security`");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_configuration_is_no_finding() {
    let home = Home::at("http://127.0.0.1:9", "http://127.0.0.1:9", "");
    home.configure("org: acme\nsources: []\n");
    let ran = ran(&home, &[]).await;
    ran.failed(3, &["no source is configured"]);
}
