//! Secrets in a vault: each trap of its API, met over real HTTP by a stand-in; and a rotation that nobody notices.

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "helpers of tests may fail a test, and a stand-in has a clock of its own"
)]

#[path = "support/log.rs"]
mod log;
#[path = "support/vault.rs"]
mod stand_in;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use authwatch::config::{Config, Environment};
use authwatch::event::{Org, SourceName};
use authwatch::input::Input;
use authwatch::secret::vault::{self, Vault as Client};
use authwatch::secret::{Lookup, Secret, SecretError, SecretRef, Secrets, VaultError};
use authwatch::source::okta::{self, Okta, Timing};
use authwatch::telemetry::condition::Conditions;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use log::Log;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use serde_json::{Value, json};
use stand_in::{CANARY, Fault, Vault};
use tokio::sync::{mpsc, watch};

/// The longest that a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

// Helpers -----------------------------------------------------------------------------------------------------------

fn lookup() -> Lookup {
    Arc::new(|name| (name == "SECRET_ID").then(|| format!("{CANARY}-secret-id")))
}

fn config(vault: &Vault, extra: Value) -> vault::Config {
    let mut whole = json!({
        "address": format!("http://{}", vault.address),
        "auth": { "approle": { "role_id": "authwatch", "secret_id": { "env": "SECRET_ID" } } },
        "timeout": "2s",
    });
    for (key, value) in extra.as_object().expect("an object") {
        whole[key] = value.clone();
    }
    serde_json::from_value(whole).expect("a section")
}

fn client(vault: &Vault, extra: Value) -> Client {
    Client::new(&config(vault, extra), lookup(), None).expect("a client")
}

fn secrets(vault: &Vault, extra: Value) -> Secrets {
    Secrets::new(lookup(), Some(client(vault, extra)))
}

fn reference(text: &str) -> SecretRef {
    SecretRef::Vault(text.parse().expect("a path"))
}

fn token() -> SecretRef {
    reference("secret/okta/admin-api#token")
}

async fn read(client: &Client, path: &str) -> Result<String, VaultError> {
    client.read(&path.parse().expect("a path")).await.map(|secret| secret.expose().to_owned())
}

async fn refusal(client: &Client, path: &str) -> String {
    let error = read(client, path).await.expect_err(path).to_string();
    assert!(!error.contains(CANARY), "{error}");
    error
}

/// Waits until the provider gives this value.
async fn until(secrets: &Secrets, reference: &SecretRef, expect: &str) {
    let waiting = async {
        while secrets.current(reference).await.expect("a secret") != Secret::new(expect) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the secret in time");
}

// Paths and rights --------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_field_is_read_below_data_after_one_login() {
    let vault = Vault::start().await;
    let client = client(&vault, json!({}));
    for _ in 0..3 {
        assert_eq!(read(&client, "secret/okta/admin-api#token").await.expect("read"), format!("{CANARY}-okta-0"));
    }
    assert_eq!(vault.asked("POST auth/approle/login"), 1);
    assert_eq!(vault.asked("GET secret/data/okta/admin-api"), 3);
}

#[tokio::test]
async fn a_namespace_goes_with_every_request_but_health() {
    let vault = Vault::start().await;
    vault.lock().namespace = Some("team/sso".to_owned());
    let client = client(&vault, json!({ "namespace": "team/sso/" }));
    read(&client, "secret/okta/admin-api#token").await.expect("read");
    vault.lock().fault = Fault::Sealed;
    assert_eq!(
        refusal(&client, "secret/okta/admin-api#token").await,
        "the vault is sealed (unseal it: `vault operator unseal`)"
    );
    vault.lock().fault = Fault::None;
    let without = self::client(&vault, json!({}));
    assert!(refusal(&without, "secret/okta/admin-api#token").await.contains("refused with status 403"));
}

#[tokio::test]
async fn a_403_of_a_dead_token_is_mended_by_one_login_and_one_of_the_policy_names_what_it_needs() {
    let vault = Vault::start().await;
    let client = client(&vault, json!({}));
    read(&client, "secret/okta/admin-api#token").await.expect("read");
    vault.lock().tokens.clear();
    read(&client, "secret/okta/admin-api#token").await.expect("read after a new login");
    assert_eq!(vault.asked("POST auth/approle/login"), 2);
    vault.lock().forbidden.insert("secret/data/okta/admin-api".to_owned());
    let said = refusal(&client, "secret/okta/admin-api#token").await;
    assert_eq!(
        said,
        "permission denied: the policy needs `path \"secret/data/okta/admin-api\" { capabilities = [\"read\"] }`"
    );
}

#[tokio::test]
async fn a_404_says_what_is_missing() {
    let vault = Vault::start().await;
    vault.lock().mounts.insert("old".to_owned(), 1);
    vault.lock().mounts.insert("team/kv".to_owned(), 2);
    vault.put("secret", "numbers", json!({ "n": 5, "blank": " \n" }));
    vault.put("team/kv", "okta", json!({ "token": "deep" }));
    vault.put("secret", "deleted", json!({}));
    vault.put("secret", "destroyed", json!({}));
    vault.lock().secrets.get_mut("secret/deleted").expect("there").deleted = true;
    vault.lock().secrets.get_mut("secret/destroyed").expect("there").destroyed = true;
    let client = client(&vault, json!({}));
    for (path, expect) in [
        (
            "secret/okta/nothing#token",
            "nothing is at `okta/nothing` in the mount `secret` (check mount, path and namespace)",
        ),
        ("secret/data/okta/admin-api#token", "in the mount `secret`: leave out `data/`, which is added"),
        ("secret/okta/admin-api#tokn", "the secret has no field `tokn`"),
        ("secret/numbers#n", "the field `n` is not text (store it as a string)"),
        ("secret/numbers#blank", "the field `blank` is empty"),
        ("secret/deleted#token", "the newest version is deleted (`vault kv undelete`, or write a new one)"),
        ("secret/destroyed#token", "the newest version is destroyed (write a new one)"),
        (
            "old/okta#token",
            "the mount `old` is KV version 1, and version 2 is needed (`vault kv enable-versioning old`)",
        ),
        ("team/kv/nothing#token", "nothing is at `nothing` in the mount `team/kv`"),
    ] {
        let said = refusal(&client, path).await;
        assert!(said.contains(expect), "{path}: {said}");
    }
    // A mount of two segments is found, and remembered.
    for _ in 0..2 {
        assert_eq!(read(&client, "team/kv/okta#token").await.expect("found"), "deep");
    }
    assert_eq!(vault.asked("GET sys/internal/ui/mounts/team/kv/okta"), 1);
}

// Nodes that do not serve -------------------------------------------------------------------------------------------

#[tokio::test]
async fn what_a_node_is_unfit_for_is_said_by_name() {
    let vault = Vault::start().await;
    let client = client(&vault, json!({ "timeout": "1s" }));
    read(&client, "secret/okta/admin-api#token").await.expect("a session");
    for (fault, expect) in [
        (Fault::Sealed, "the vault is sealed"),
        (Fault::Uninitialised, "the vault is not initialised"),
        (Fault::StandbyRedirects, "this node is a standby"),
        (Fault::Secondary, "this node is a standby"),
        (Fault::PerformanceStandby, "this node is a standby"),
        (Fault::Quota, "the vault's rate limit quota is reached"),
        (Fault::Broken, "the vault failed with status 500"),
        (Fault::Slow(3_000), "no whole reply within `vault.timeout`"),
    ] {
        vault.lock().fault = fault;
        let said = refusal(&client, "secret/okta/admin-api#token").await;
        assert!(said.starts_with(expect), "{fault:?}: {said}");
    }
}

#[tokio::test]
async fn a_replica_that_is_behind_is_asked_again_and_not_for_ever() {
    let vault = Vault::start().await;
    let client = client(&vault, json!({}));
    vault.lock().fault = Fault::Behind(2);
    read(&client, "secret/okta/admin-api#token").await.expect("the third time");
    vault.lock().fault = Fault::Behind(100);
    assert_eq!(refusal(&client, "secret/okta/admin-api#token").await, "the replica is still behind the primary");
    assert!(matches!(vault.lock().fault, Fault::Behind(96)));
}

#[tokio::test]
async fn an_address_where_nobody_is_says_so() {
    let vault = Vault::start().await;
    let config = config(&vault, json!({ "address": "http://127.0.0.1:1" }));
    let client = Client::new(&config, lookup(), None).expect("a client");
    let said = refusal(&client, "secret/okta/admin-api#token").await;
    assert!(said.starts_with("the vault cannot be reached: Connection refused"), "{said}");
}

// Logins and leases -------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_refused_login_names_its_mount_and_what_to_look_at() {
    let vault = Vault::start().await;
    vault.lock().secret_id = "another".to_owned();
    let said = refusal(&client(&vault, json!({})), "secret/okta/admin-api#token").await;
    assert!(said.starts_with("the login at `auth/approle` was refused with status 400 (check `role_id`"), "{said}");
    let elsewhere =
        json!({ "auth": { "kubernetes": { "role": "authwatch", "jwt_file": "/no/such/file", "mount": "k8s" } } });
    let said = refusal(&client(&vault, elsewhere), "secret/okta/admin-api#token").await;
    assert_eq!(said, "the login needs cannot read secret file `/no/such/file`");
}

#[tokio::test]
async fn the_service_account_token_is_read_again_for_each_login() {
    let vault = Vault::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    fs::write(&file, format!("{CANARY}-jwt")).expect("writes");
    let auth = json!({ "auth": { "kubernetes": { "role": "authwatch", "jwt_file": file } } });
    let client = client(&vault, auth);
    read(&client, "secret/okta/admin-api#token").await.expect("read");
    // The kubelet rotates it, and the old one is dead.
    fs::write(&file, format!("{CANARY}-jwt-2")).expect("writes");
    vault.lock().jwt = format!("{CANARY}-jwt-2");
    vault.lock().tokens.clear();
    read(&client, "secret/okta/admin-api#token").await.expect("read with the new one");
    assert_eq!(vault.asked("POST auth/kubernetes/login"), 2);
}

#[tokio::test]
async fn a_lease_is_renewed_before_its_end_and_a_new_login_made_when_it_grows_no_more() {
    let vault = Vault::start().await;
    vault.lock().lease = Duration::from_secs(2);
    vault.lock().max_lease = Duration::from_millis(4_500);
    let client = client(&vault, json!({}));
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(5_500) {
        read(&client, "secret/okta/admin-api#token").await.expect("never without a token");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // At 1.3 s and 2.7 s the time is granted anew; at 4 s only what is left to the maximum, so a login follows.
    assert_eq!(vault.asked("POST auth/approle/login"), 2);
    assert!(vault.asked("POST auth/token/renew-self") >= 2);
}

#[tokio::test]
async fn a_lease_that_cannot_be_renewed_ends_in_a_login_before_its_end() {
    let vault = Vault::start().await;
    vault.lock().lease = Duration::from_secs(1);
    vault.lock().renewable = false;
    let client = client(&vault, json!({}));
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1_300) {
        read(&client, "secret/okta/admin-api#token").await.expect("never without a token");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(vault.asked("POST auth/approle/login"), 2);
    assert_eq!(vault.asked("POST auth/token/renew-self"), 0);
    assert!(vault.lock().seen.iter().all(|seen| !seen.contains("403")));
}

#[tokio::test]
async fn a_token_from_a_file_is_taken_up_when_an_agent_replaces_it_and_a_dead_one_is_said() {
    let vault = Vault::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    let first = vault.lock().make_token();
    fs::write(&file, &first).expect("writes");
    let client = client(&vault, json!({ "auth": { "token": { "file": file } } }));
    read(&client, "secret/okta/admin-api#token").await.expect("read");
    vault.lock().tokens.clear();
    let said = refusal(&client, "secret/okta/admin-api#token").await;
    assert_eq!(said, "the vault token is refused (expired or revoked: give a new one in `vault.auth.token`)");
    let second = vault.lock().make_token();
    fs::write(&file, second).expect("writes");
    read(&client, "secret/okta/admin-api#token").await.expect("read with the new one");
    // A missing right is told apart from a dead token.
    vault.lock().forbidden.insert("secret/data/okta/admin-api".to_owned());
    assert!(refusal(&client, "secret/okta/admin-api#token").await.starts_with("permission denied"));
}

// The provider ------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_secret_is_kept_for_the_interval_and_read_at_once_when_it_was_refused() {
    let vault = Vault::start().await;
    let secrets = secrets(&vault, json!({}));
    let first = secrets.current(&token()).await.expect("a secret");
    vault.put("secret", "okta/admin-api", json!({ "token": "new" }));
    assert_eq!(secrets.current(&token()).await.expect("kept"), first);
    assert_eq!(vault.asked("GET secret/data/okta/admin-api"), 1);
    secrets.refused(&token(), &first);
    assert_eq!(secrets.current(&token()).await.expect("read"), Secret::new("new"));
    // A late refusal of the old one is no reason to read again.
    secrets.refused(&token(), &first);
    secrets.current(&token()).await.expect("kept");
    assert_eq!(vault.asked("GET secret/data/okta/admin-api"), 2);
}

#[tokio::test]
async fn the_interval_brings_a_new_secret_and_a_slow_vault_holds_up_nobody() {
    let vault = Vault::start().await;
    let secrets = secrets(&vault, json!({ "refresh": "1s" }));
    secrets.current(&token()).await.expect("a secret");
    vault.put("secret", "okta/admin-api", json!({ "token": "new" }));
    vault.lock().fault = Fault::Slow(300);
    let mut slowest = Duration::ZERO;
    let waiting = async {
        loop {
            let asked = Instant::now();
            let secret = secrets.current(&token()).await.expect("a secret");
            slowest = slowest.max(asked.elapsed());
            if secret == Secret::new("new") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the new one in time");
    assert!(slowest < Duration::from_millis(200), "{slowest:?}");
}

#[tokio::test]
async fn a_vault_that_fails_takes_no_secret_away_and_is_said_once() {
    let (log, _guard) = Log::listen();
    let vault = Vault::start().await;
    let conditions = Conditions::default();
    let condition = conditions.declare("vault", false, "not asked yet");
    let client = Client::new(&config(&vault, json!({ "refresh": "1s" })), lookup(), Some(condition)).expect("a client");
    let secrets = Secrets::new(lookup(), Some(client));
    let first = secrets.current(&token()).await.expect("a secret");
    assert!(conditions.read()["vault"].ok);
    vault.lock().fault = Fault::Sealed;
    for _ in 0..5 {
        secrets.refused(&token(), &first);
        assert_eq!(secrets.current(&token()).await.expect("the old one"), first);
    }
    let status = conditions.read()["vault"].clone();
    assert_eq!((status.ok, status.gates_readiness), (false, false));
    assert!(status.detail.starts_with("vault path `secret/okta/admin-api#token`: the vault is sealed"), "{status:?}");
    assert_eq!(log.count("the old secret is kept: vault path `secret/okta/admin-api#token`: the vault is sealed"), 1);
    vault.lock().fault = Fault::None;
    vault.put("secret", "okta/admin-api", json!({ "token": "new" }));
    until(&secrets, &token(), "new").await;
    assert_eq!(log.count("a new secret was read"), 1);
}

#[tokio::test]
async fn one_login_serves_many_secrets_asked_for_at_once() {
    let vault = Vault::start().await;
    vault.lock().fault = Fault::Slow(50);
    let secrets = secrets(&vault, json!({}));
    let same = token();
    let both = tokio::join!(secrets.current(&same), secrets.current(&same));
    assert_eq!(both.0.expect("one"), both.1.expect("the other"));
    assert_eq!(vault.asked("POST auth/approle/login"), 1);
    assert_eq!(vault.asked("GET secret/data/okta/admin-api"), 1);
}

#[tokio::test]
async fn without_a_vault_a_reference_into_one_is_an_error_that_says_what_to_add() {
    let secrets = Secrets::new(lookup(), None);
    let error = secrets.current(&token()).await.expect_err("no vault");
    assert!(matches!(error, SecretError::NoVault(_)), "{error}");
}

// A rotation --------------------------------------------------------------------------------------------------------

/// A System Log that never ends, one event a page, for whoever has the token in force.
#[derive(Clone)]
struct SystemLog {
    accepted: Arc<Mutex<String>>,
    base: String,
}

impl SystemLog {
    async fn start(token: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let log = Self { accepted: Arc::new(Mutex::new(token.to_owned())), base };
        let app = axum::Router::new().route("/api/v1/logs", axum::routing::get(page)).with_state(log.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        log
    }
}

async fn page(
    State(log): State<SystemLog>,
    Query(query): Query<std::collections::BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let expected = format!("SSWS {}", log.accepted.lock().expect("no panic"));
    if headers.get("authorization").is_none_or(|sent| sent.as_bytes() != expected.as_bytes()) {
        return (StatusCode::UNAUTHORIZED, r#"{"errorCode":"E0000011"}"#).into_response();
    }
    let number: u64 = query.get("after").and_then(|after| after.parse().ok()).unwrap_or(0) + 1;
    let event =
        json!([{ "uuid": number.to_string(), "published": "2026-03-02T09:00:00.000Z", "eventType": "system.test" }]);
    let next = format!("<{}/api/v1/logs?after={number}>; rel=\"next\"", log.base);
    ([("link", next.as_str()), ("content-type", "application/json")], event.to_string()).into_response()
}

#[tokio::test]
async fn two_rotations_of_the_okta_token_in_the_vault_fail_no_poll_and_lose_no_event() {
    let recorder: &'static PrometheusRecorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
    let _guard = metrics::set_default_local_recorder(recorder);
    let vault = Vault::start().await;
    let org = SystemLog::start(&format!("{CANARY}-okta-0")).await;
    let section = json!({
        "url": org.base, "auth": { "ssws": { "vault": "secret/okta/admin-api#token" } }, "poll_interval": "100ms", "rate_share": 1,
    });
    let config: okta::Config = serde_json::from_value(section).expect("a section");
    let conditions = Conditions::default();
    let condition = conditions.declare("source/okta:acme", true, "not polled yet");
    let tables = Arc::new(authwatch::classify::Tables::embedded());
    let reader = authwatch::classify::Reader::new(Org::new("acme"), tables);
    let read: authwatch::source::ReadPage = Arc::new(move |body, each| {
        reader.read_page(body, &mut |read| each(read, None)).map_err(|error| error.to_string())
    });
    let secrets = secrets(&vault, json!({}));
    let name = SourceName::new("okta:acme");
    let okta = Okta::new(config, name, None, read, condition, secrets).expect("builds").with_timing(Timing::default());
    let (out, mut batches) = mpsc::channel(1);
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(okta.run(out, stopped));
    let mut seen = Vec::new();
    for rotation in 1..=3 {
        while seen.len() < rotation * 3 {
            let batch = tokio::time::timeout(PATIENCE, batches.recv()).await.expect("in time").expect("a batch");
            seen.extend(batch.inputs.iter().filter_map(|input| match input {
                Input::Event { event, .. } => Some(event.uuid.to_string()),
                _ => None,
            }));
            assert!(conditions.read()["source/okta:acme"].ok, "{:?}", conditions.read());
        }
        // The new one is stored, and the old one dies at the same moment.
        let new = format!("{CANARY}-okta-{rotation}");
        vault.put("secret", "okta/admin-api", json!({ "token": new }));
        *org.accepted.lock().expect("no panic") = new;
    }
    stop.send(true).expect("still listening");
    tokio::time::timeout(PATIENCE, task).await.expect("stops").expect("no panic");
    let expect: Vec<String> = (1..=seen.len()).map(|number| number.to_string()).collect();
    assert_eq!(seen, expect, "every event once and in order");
    let page = recorder.handle().render();
    let troubles: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("authwatch_source_requests_total{") && !line.contains("result=\"ok\""))
        .chain(page.lines().filter(|line| line.starts_with("authwatch_source_gaps_total{")))
        .collect();
    assert_eq!(troubles, Vec::<&str>::new());
    assert!(vault.asked("GET secret/data/okta/admin-api") >= 3);
}

// The canary and the documents --------------------------------------------------------------------------------------

#[tokio::test]
async fn no_secret_is_in_any_log_line_message_or_debug_text() {
    let (log, _guard) = Log::listen();
    let vault = Vault::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    fs::write(&file, format!("{CANARY}-jwt")).expect("writes");
    let mut said = String::new();
    for auth in [
        json!({}),
        json!({ "auth": { "kubernetes": { "role": "authwatch", "jwt_file": file } } }),
        json!({ "auth": { "kubernetes": { "role": "other", "jwt_file": file } } }),
        json!({ "auth": { "token": { "file": file } } }),
    ] {
        vault.lock().fault = Fault::None;
        let config = config(&vault, auth);
        let client = Client::new(&config, lookup(), None).expect("a client");
        let secrets = Secrets::new(lookup(), Some(client.clone()));
        said += &format!("{config:?} {client:?} {secrets:?} {:?}\n", secrets.current(&token()).await);
        for fault in [Fault::Sealed, Fault::Broken, Fault::Quota, Fault::StandbyRedirects, Fault::None] {
            vault.lock().fault = fault;
            let read = client.read(&"secret/okta/admin-api#nothing".parse().expect("a path")).await;
            let kept = secrets.current(&token()).await;
            said +=
                &format!("{read:?} {kept:?} {}\n", read.as_ref().map_or_else(ToString::to_string, |_| String::new()));
        }
    }
    let logged = log.text();
    assert!(logged.contains("TRACE") && logged.contains("hyper"), "the HTTP stack is listened to");
    for (where_, text) in [("log", &logged), ("messages", &said)] {
        let found: Vec<&str> = text.lines().filter(|line| line.contains(CANARY)).collect();
        assert!(found.is_empty(), "{where_}: {found:?}");
    }
}

/// The YAML blocks of a document.
fn examples(document: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/integrations").join(document);
    let text = fs::read_to_string(path).expect("the document");
    text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
}

#[test]
fn the_examples_of_the_document_are_valid() {
    let examples = examples("vault.md");
    assert_eq!(examples.len(), 2, "a minimal and a full one");
    for example in examples {
        let config = Config::parse(&example, Path::new("/etc/authwatch/a.yaml"), &Environment::default());
        let config = config.unwrap_or_else(|error| panic!("{error}\n{example}"));
        let parts = authwatch::app::parts::Parts::of(&config).unwrap_or_else(|error| panic!("{error}\n{example}"));
        assert!(config.vault.is_some() && !parts.sources.is_empty());
        assert_eq!((config.warnings, parts.warnings.len()), (vec![], 0), "{example}");
    }
}

#[test]
fn a_reference_into_a_vault_needs_the_section() {
    let text = "org: a\nsources: [{ okta: { url: \"https://x\", auth: { ssws: { vault: \"secret/a#b\" } } } }]\n";
    let read = |text: &str| Config::parse(text, Path::new("a.yaml"), &Environment::default());
    let config = read(text).expect("valid in itself");
    let error = authwatch::app::parts::Parts::of(&config).expect_err("no vault").to_string();
    assert_eq!(error, "a.yaml:2:13: `secret/a#b` is in a vault, and none is configured (add the section `vault`)");
    let circle = "org: a\nvault: { address: \"https://v\", auth: { token: { vault: \"secret/a#b\" } } }\n";
    let error = read(circle).expect_err("a circle").to_string();
    assert!(error.starts_with("a.yaml:2:8: what logs in to the vault cannot be in the vault"), "{error}");
}
