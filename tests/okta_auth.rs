//! The service app against a stand-in that verifies what is signed: each rule of Okta's token endpoint and of DPoP.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "helpers of tests may fail a test, and a stand-in has a clock of its own"
)]

#[path = "support/log.rs"]
mod log;
#[path = "support/oauth.rs"]
mod stand_in;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use authwatch::classify::{Reader, Tables};
use authwatch::config::{Config as Whole, Environment};
use authwatch::event::{Kind, Org as OrgName, SourceName, Timestamp};
use authwatch::input::{CoreConfig, Input, OrgConfig};
use authwatch::secret::{Secret, Secrets};
use authwatch::source::okta::{AuthorizationError, Authorizer, Config, Okta, Reads, Timing};
use authwatch::source::{Position, ReadPage};
use authwatch::telemetry::condition::Conditions;
use authwatch::watch::Watch;
use log::Log;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use stand_in::{CANARY, CLIENT, Org, Pair, Public, parts};
use tokio::sync::{mpsc, watch};
use url::Url;

/// The longest that a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A key of each kind, made once.
static P256: LazyLock<Pair> = LazyLock::new(Pair::p256);
static RSA: LazyLock<Pair> = LazyLock::new(Pair::rsa);

// Helpers -----------------------------------------------------------------------------------------------------------

fn config(org: &Org, oauth: Value, extra: Value) -> Config {
    let mut auth = json!({ "client_id": CLIENT, "key": { "env": "KEY" }, "key_id": "k1", "dpop": true });
    for (key, value) in oauth.as_object().expect("an object") {
        auth[key] = value.clone();
    }
    let mut section =
        json!({ "url": org.base(), "auth": { "oauth": auth }, "poll_interval": "100ms", "rate_share": 1 });
    for (key, value) in extra.as_object().expect("an object") {
        section[key] = value.clone();
    }
    serde_json::from_value(section).expect("a section")
}

fn key(text: &str) -> Secrets {
    let text = text.to_owned();
    Arc::new(move |name: &str| (name == "KEY").then(|| text.clone())).into()
}

/// An app with a P-256 key that needs DPoP.
fn app(org: &Org) -> Authorizer {
    app_with(org, json!({}), &P256.pkcs8())
}

fn app_with(org: &Org, oauth: Value, pem: &str) -> Authorizer {
    Authorizer::new(&config(org, oauth, json!({})), Reads::Log, key(pem)).expect("builds")
}

fn logs(org: &Org) -> Url {
    Url::parse(&format!("{}/api/v1/logs?since=2026-03-02T09%3A00%3A00Z&limit=3", org.base())).expect("an address")
}

/// Sends one request as the poller does, and gives its status.
async fn request(org: &Org, app: &Authorizer) -> Result<u16, AuthorizationError> {
    let headers = app.authorize(&Method::GET, &logs(org)).await?;
    let reply = reqwest::Client::new().get(logs(org)).headers(headers).send().await.expect("a reply");
    app.heard(reply.headers());
    Ok(reply.status().as_u16())
}

#[track_caller]
fn passed(answer: Result<u16, AuthorizationError>) {
    assert_eq!(answer.map_err(|error| error.to_string()), Ok(200));
}

async fn refusal(org: &Org, app: &Authorizer) -> AuthorizationError {
    let error = app.authorize(&Method::GET, &logs(org)).await.expect_err("refused");
    let said = format!("{error} {error:?}");
    assert!(!said.contains(CANARY) && !said.contains("eyJ"), "{said}");
    error
}

// Signing in --------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn keys_are_read_as_pem_and_jwk_and_their_kind_decides_the_algorithm() {
    for (pair, alg) in [(&*P256, "ES256"), (&*RSA, "RS256")] {
        let org = Org::start("k1", pair).await;
        for text in [pair.pkcs8(), pair.traditional(), pair.jwk("k1")] {
            let app = app_with(&org, json!({ "key_id": null }), &text);
            let is_jwk = text.starts_with('{');
            let app = if is_jwk { app } else { app_with(&org, json!({}), &text) };
            passed(request(&org, &app).await);
            let form = org.lock().asked.last().expect("asked").0.clone();
            let (header, _) = parts(&form["client_assertion"]).expect("a JWT");
            assert_eq!((header["alg"].as_str(), header["kid"].as_str()), (Some(alg), Some("k1")));
        }
    }
}

#[tokio::test]
async fn the_request_is_as_documented_and_asks_for_no_more_scopes_than_needed() {
    let org = Org::start("k1", &P256).await;
    org.lock().scopes.extend(["okta.policies.read", "okta.deviceAssurance.read", "okta.groups.read"]);
    passed(request(&org, &app(&org)).await);
    let form = org.lock().asked.last().expect("asked").0.clone();
    assert_eq!(form["scope"], "okta.logs.read");
    let keys: Vec<&str> = form.keys().map(String::as_str).collect();
    assert_eq!(keys, ["client_assertion", "client_assertion_type", "grant_type", "scope"]);
    let (_, claims) = parts(&form["client_assertion"]).expect("a JWT");
    assert_eq!((claims["iss"].as_str(), claims["sub"].as_str()), (Some(CLIENT), Some(CLIENT)));
    assert_eq!(claims["aud"], format!("{}/oauth2/v1/token", org.base()));
    assert!(claims["exp"].is_i64() && claims["iat"].is_i64(), "numbers, and no strings: {claims}");
    for (reads, scope) in
        [(Reads::Policies, "okta.policies.read okta.deviceAssurance.read"), (Reads::Groups, "okta.groups.read")]
    {
        let app = Authorizer::new(&config(&org, json!({}), json!({})), reads, key(&P256.pkcs8())).expect("builds");
        passed(request(&org, &app).await);
        assert_eq!(org.lock().asked.last().expect("asked").0["scope"], scope);
    }
}

#[tokio::test]
async fn one_token_serves_all_requests_and_is_renewed_before_its_end() {
    let org = Org::start("k1", &P256).await;
    org.lock().lifetime = 2;
    let app = app(&org);
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2_500) {
        passed(request(&org, &app).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // One refusal for the first nonce; then a grant at 0 s and one at 1.8 s, with assertions of their own.
    assert_eq!(org.grants(), (3, 2));
    assert_eq!(org.lock().complaints, Vec::<String>::new(), "never with a dead token");
}

#[tokio::test]
async fn those_who_wait_at_once_share_one_grant() {
    let org = Org::start("k1", &P256).await;
    let app = app(&org);
    let both = tokio::join!(request(&org, &app), request(&org, &app));
    passed(both.0);
    passed(both.1);
    assert_eq!(org.grants(), (2, 1));
}

#[tokio::test]
async fn while_the_endpoint_fails_the_old_token_serves_to_its_end() {
    let org = Org::start("k1", &P256).await;
    org.lock().lifetime = 3;
    let app = app(&org);
    passed(request(&org, &app).await);
    org.lock().refusals.extend([(503, "", ""); 9]);
    tokio::time::sleep(Duration::from_millis(2_750)).await;
    passed(request(&org, &app).await);
    passed(request(&org, &app).await);
    assert_eq!(org.grants(), (3, 1), "one try to renew, and then a pause");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(refusal(&org, &app).await.to_string(), "Okta's token endpoint failed with status 503");
}

#[tokio::test]
async fn a_401_brings_one_new_token_and_no_more() {
    let org = Org::start("k1", &P256).await;
    let app = app(&org);
    let used = app.authorize(&Method::GET, &logs(&org)).await.expect("a token");
    org.revoke();
    assert!(app.refused(&used).await);
    passed(request(&org, &app).await);
    // Another that used the old token is late: the new one stays.
    assert!(app.refused(&used).await);
    passed(request(&org, &app).await);
    assert_eq!(org.grants(), (3, 2));
}

#[tokio::test]
async fn the_authorization_goes_to_the_org_only() {
    let org = Org::start("k1", &P256).await;
    let app = app(&org);
    for address in ["https://evil.example/api/v1/logs", "http://127.0.0.1:1/api/v1/logs"] {
        let address = Url::parse(address).expect("an address");
        let error = app.authorize(&Method::GET, &address).await.expect_err("elsewhere");
        assert!(matches!(error, AuthorizationError::ForeignAddress), "{error}");
    }
    assert_eq!(org.grants(), (0, 0), "nothing was even asked for");
}

// Refusals in plain words -------------------------------------------------------------------------------------------

#[tokio::test]
async fn each_refusal_of_the_endpoint_says_what_to_do_and_who_can() {
    let org = Org::start("k1", &P256).await;
    for (status, code, description, expect, passes) in [
        (401, "invalid_client", "The client_assertion signature is invalid.", "public half of this very key", false),
        (401, "invalid_client", "The client_assertion kid is invalid.", "check `key_id`", false),
        (401, "invalid_client", "The client_assertion was already used.", "do two programs share the key?", false),
        (401, "invalid_client", "Invalid value for 'client_id' parameter.", "check `client_id`", false),
        (400, "invalid_scope", "One or more scopes are not configured.", "a super administrator grants each", false),
        (400, "access_denied", "Policy evaluation failed.", "a super administrator assigns it an admin role", false),
        (400, "unauthorized_client", "", "\"API Services\"", false),
        (
            400,
            "invalid_request",
            "dpop_proof_required_for_token",
            "the service app requires DPoP (set `dpop: true`)",
            false,
        ),
        (400, "invalid_dpop_proof", "The htu claim is wrong.", "it is for another address", false),
        (400, "invalid_request", "", "status 400 (check `url` and `client_id`)", false),
        (404, "", "", "there is no token endpoint", false),
        (302, "", "", "redirects", false),
        (429, "", "", "rate limit of Okta's token endpoint", true),
        (500, "", "", "failed with status 500", true),
    ] {
        let app = app_with(&org, json!({}), &P256.pkcs8());
        // The first answer can be one about the nonce, and a refusal can be worth a second try.
        org.lock().refusals = [(status, code, description); 4].into();
        let error = refusal(&org, &app).await;
        let said = error.to_string();
        assert!(said.contains(expect), "{status} {code} {description}: {said}");
        assert_eq!(error.passes(), passes, "{said}");
    }
}

#[tokio::test]
async fn what_the_org_itself_refuses_is_named_by_its_cause() {
    let org = Org::start("k1", &P256).await;
    let with = |oauth: Value, pem: String| app_with(&org, oauth, &pem);
    let groups = config(&org, json!({}), json!({}));
    let reading_groups = Authorizer::new(&groups, Reads::Groups, key(&P256.pkcs8())).expect("builds");
    for (app, expect) in [
        (with(json!({ "client_id": "0oaanother" }), P256.pkcs8()), "it knows no such app (check `client_id`"),
        (with(json!({ "key_id": "k2" }), P256.pkcs8()), "it knows no such key (check `key_id`"),
        (with(json!({}), Pair::p256().pkcs8()), "the signature does not fit"),
        (reading_groups, "scopes `okta.groups.read`"),
        (with(json!({ "dpop": false }), P256.pkcs8()), "the service app requires DPoP (set `dpop: true`)"),
        (with(json!({}), "hunter2".to_owned()), "it is neither a PEM private key nor a private JWK"),
    ] {
        let said = refusal(&org, &app).await.to_string();
        assert!(said.contains(expect), "{said}");
    }
    org.lock().dpop = false;
    let said = refusal(&org, &with(json!({}), P256.pkcs8())).await.to_string();
    assert!(said.contains("not bound to our key"), "{said}");
    passed(request(&org, &with(json!({ "dpop": false }), P256.pkcs8())).await);
}

// DPoP --------------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn the_nonce_is_asked_for_once_kept_and_changed_when_the_server_changes_it() {
    let org = Org::start("k1", &P256).await;
    let app = app(&org);
    passed(request(&org, &app).await);
    assert_eq!(org.grants(), (2, 1), "use_dpop_nonce, then the grant");
    let renew = async || {
        let used = app.authorize(&Method::GET, &logs(&org)).await.expect("a token");
        app.refused(&used).await;
        passed(request(&org, &app).await);
    };
    renew().await;
    assert_eq!(org.grants(), (3, 2), "the nonce is known");
    // A new one: the old one still works and its answer brings the new one.
    org.lock().nonces.push(format!("{CANARY}-nonce-2"));
    renew().await;
    assert_eq!(org.grants(), (4, 3));
    // The old one is dead.
    org.lock().nonces.remove(0);
    renew().await;
    assert_eq!(org.grants(), (5, 4), "and the new one was taken up in time");
    org.lock().nonces = vec![format!("{CANARY}-nonce-9")];
    renew().await;
    assert_eq!(org.grants(), (7, 5), "asked again");
}

#[tokio::test]
async fn a_server_that_never_takes_a_nonce_is_not_asked_for_ever() {
    let org = Org::start("k1", &P256).await;
    org.lock().refusals = [(400, "use_dpop_nonce", ""); 50].into();
    let said = refusal(&org, &app(&org)).await.to_string();
    assert_eq!(said, "Okta refused the DPoP proof: it asks for a nonce again and again");
    assert!(org.grants().0 <= 4, "{:?}", org.grants());
}

#[tokio::test]
async fn each_request_has_a_proof_of_its_own_for_its_method_address_and_token() {
    let org = Org::start("k1", &P256).await;
    let app = app(&org);
    let headers: Vec<HeaderMap> = {
        let mut all = Vec::new();
        for _ in 0..3 {
            all.push(app.authorize(&Method::GET, &logs(&org)).await.expect("authorized"));
        }
        all
    };
    let claims: Vec<Value> =
        headers.iter().map(|headers| parts(headers["dpop"].to_str().expect("text")).expect("a JWT").1).collect();
    let ids: std::collections::BTreeSet<&str> = claims.iter().filter_map(|claims| claims["jti"].as_str()).collect();
    assert_eq!(ids.len(), 3);
    assert!(claims.iter().all(|claims| claims["htu"] == format!("{}/api/v1/logs", org.base())), "no query: {claims:?}");
    assert!(headers.iter().all(|headers| headers.values().all(reqwest::header::HeaderValue::is_sensitive)));
    // The stand-in verifies all of it, and takes none twice.
    let send = async |headers: &HeaderMap| {
        let reply = reqwest::Client::new().get(logs(&org)).headers(headers.clone()).send().await.expect("a reply");
        reply.status().as_u16()
    };
    assert_eq!((send(&headers[0]).await, send(&headers[0]).await, send(&headers[1]).await), (200, 400, 200));
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_mended_by_the_servers_date() {
    for ahead in [-7_200, 7_200] {
        let org = Org::start("k1", &P256).await;
        org.lock().clock_ahead = ahead;
        let app = app(&org);
        passed(request(&org, &app).await);
        assert_eq!(org.lock().complaints, Vec::<String>::new(), "the proofs are in time too");
        assert!(org.grants().0 <= 3, "{:?}", org.grants());
    }
}

#[tokio::test]
async fn a_key_that_was_replaced_in_its_file_is_read_again_when_the_old_one_is_refused() {
    let org = Org::start("k1", &P256).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("okta.jwk");
    fs::write(&file, P256.jwk("k1")).expect("writes");
    let config = config(&org, json!({ "key": { "file": file }, "key_id": null }), json!({}));
    let app = Authorizer::new(&config, Reads::Log, Arc::new(|_: &str| None).into()).expect("builds");
    passed(request(&org, &app).await);
    assert!(!app.has_another_secret().await);
    let new = Pair::p256();
    fs::write(&file, new.jwk("k2")).expect("writes");
    assert!(app.has_another_secret().await);
    org.lock().keys = BTreeMap::from([("k2".to_owned(), new.public.clone())]);
    org.revoke();
    let used = app.authorize(&Method::GET, &logs(&org)).await.expect("the old token");
    assert!(app.refused(&used).await);
    passed(request(&org, &app).await);
    assert!(matches!(new.public, Public::P256(_)));
}

// The poller --------------------------------------------------------------------------------------------------------

struct Polling {
    batches: mpsc::Receiver<authwatch::source::Batch>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
    conditions: Conditions,
    metrics: PrometheusHandle,
    _recorder: metrics::LocalRecorderGuard<'static>,
}

impl Polling {
    fn start(org: &Org, oauth: Value) -> Self {
        let recorder: &'static PrometheusRecorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        let guard = metrics::set_default_local_recorder(recorder);
        let conditions = Conditions::default();
        let condition = conditions.declare("source/okta:acme", true, "not polled yet");
        let reader = Reader::new(OrgName::new("acme"), Arc::new(Tables::embedded()));
        let read: ReadPage = Arc::new(move |body, each| {
            reader.read_page(body, &mut |read| each(read, None)).map_err(|error| error.to_string())
        });
        let timing =
            Timing { slow_least: Duration::from_millis(50), slow_most: Duration::from_millis(50), ..Timing::default() };
        let config = config(org, oauth, json!({}));
        let okta = Okta::new(config, SourceName::new("okta:acme"), None, read, condition, key(&P256.pkcs8()));
        let (out, batches) = mpsc::channel(1);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(okta.expect("builds").with_timing(timing).run(out, stopped));
        Self { batches, stop, task, conditions, metrics: recorder.handle(), _recorder: guard }
    }

    /// The uuids of the next pages, and where they end.
    async fn pages(&mut self, count: usize) -> (Vec<String>, Option<Position>) {
        let (mut seen, mut position) = (Vec::new(), None);
        for _ in 0..count {
            let batch = tokio::time::timeout(PATIENCE, self.batches.recv()).await.expect("in time").expect("a batch");
            position = batch.position;
            seen.extend(batch.inputs.iter().filter_map(|input| match input {
                Input::Event { event, .. } => Some(event.uuid.to_string()),
                _ => None,
            }));
        }
        (seen, position)
    }

    async fn says(&self, words: &str) {
        let waiting = async {
            while !self.conditions.read()["source/okta:acme"].detail.contains(words) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.unwrap_or_else(|_| panic!("never said {words}: {:?}", self.conditions.read()));
    }

    /// The results of its requests that were no pages, and its gaps.
    fn troubles(&self) -> Vec<String> {
        let of_interest = |line: &&str| {
            line.starts_with("authwatch_source_requests_total{") && !line.contains("result=\"ok\"")
                || line.starts_with("authwatch_source_gaps_total{")
        };
        self.metrics.render().lines().filter(of_interest).map(str::to_owned).collect()
    }

    async fn stop(self) {
        self.stop.send(true).expect("still listening");
        drop(self.batches);
        tokio::time::timeout(PATIENCE, self.task).await.expect("stops").expect("no panic");
    }
}

#[tokio::test]
async fn the_log_is_polled_with_proofs_and_a_revoked_token_fails_no_poll() {
    let org = Org::start("k1", &P256).await;
    let mut polling = Polling::start(&org, json!({}));
    assert_eq!(polling.pages(2).await.0, ["1", "2"]);
    org.revoke();
    // Two pages may be on their way from before.
    let (seen, _) = polling.pages(4).await;
    assert_eq!(seen, ["3", "4", "5", "6"]);
    assert_eq!(polling.troubles(), Vec::<String>::new());
    assert_eq!(org.grants().1, 2);
    polling.stop().await;
}

#[tokio::test]
async fn a_refused_proof_is_tried_once_more_and_never_costs_the_position() {
    let org = Org::start("k1", &P256).await;
    let mut polling = Polling::start(&org, json!({}));
    assert_eq!(polling.pages(1).await.0, ["1"]);
    // Once is no trouble; for ever is one, and the position stays.
    org.lock().log_refusals.push_back((400, r#"{"error":"invalid_dpop_proof"}"#));
    let (seen, _) = polling.pages(3).await;
    assert_eq!(seen, ["2", "3", "4"]);
    assert_eq!(polling.troubles(), Vec::<String>::new());
    org.lock().log_refusals = [(400, r#"{"error":"invalid_dpop_proof"}"#); 2_000].into();
    let read = async {
        while !polling.troubles().iter().any(|line| line.contains("token_refused")) {
            // What was on its way from before would hold up the poller.
            let _ = polling.batches.try_recv();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("a trouble");
    polling.says("Okta refused the DPoP proof of a request (`invalid_dpop_proof`").await;
    org.lock().log_refusals.clear();
    let (_, position) = polling.pages(2).await;
    assert!(matches!(position, Some(Position::Okta { .. })));
    assert!(polling.troubles().iter().all(|line| !line.contains("gaps")), "{:?}", polling.troubles());
    let followed: Vec<String> = org.lock().read[1..].to_vec();
    assert!(followed.iter().all(|target| target.starts_with("/api/v1/logs?after=")), "{followed:?}");
    polling.stop().await;
}

#[tokio::test]
async fn a_nonce_that_the_api_asks_for_is_given() {
    let org = Org::start("k1", &P256).await;
    org.lock().api_nonce = Some(format!("{CANARY}-api-nonce"));
    let mut polling = Polling::start(&org, json!({}));
    assert_eq!(polling.pages(2).await.0, ["1", "2"]);
    assert_eq!(polling.troubles(), Vec::<String>::new());
    polling.stop().await;
}

#[tokio::test]
async fn an_app_without_an_admin_role_is_told_apart_from_one_without_a_scope() {
    let org = Org::start("k1", &P256).await;
    org.lock().has_role = false;
    let mut polling = Polling::start(&org, json!({}));
    polling.says("the service app may not read the System Log (E0000011) (a super administrator grants it").await;
    org.lock().has_role = true;
    assert_eq!(polling.pages(1).await.0, ["1"]);
    polling.stop().await;
    org.lock().scopes.clear();
    let polling = Polling::start(&org, json!({}));
    polling.says("Okta refused the scopes `okta.logs.read`").await;
    assert!(polling.troubles().iter().any(|line| line.contains("result=\"forbidden\"")), "{:?}", polling.troubles());
    polling.stop().await;
}

#[tokio::test]
async fn a_grant_that_is_refused_at_once_is_said_and_not_asked_for_in_a_loop() {
    let org = Org::start("k1", &P256).await;
    org.lock().log_refusals = [(401, r#"{"errorCode":"E0000011"}"#); 2_000].into();
    let polling = Polling::start(&org, json!({}));
    polling.says("Okta refuses the access token that it granted (E0000011)").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(org.grants().1 < 20, "{:?}", org.grants());
    polling.stop().await;
}

// What the daemon causes in the log that it reads ---------------------------------------------------------------------

#[test]
fn the_daemons_own_grants_are_counted_and_are_in_no_series() {
    let reader = Reader::new(OrgName::new("acme"), Arc::new(Tables::embedded()));
    let source = SourceName::new("okta:acme");
    let mut watch = Watch::new();
    let org = OrgConfig { sources: [source.clone()].into(), ..OrgConfig::default() };
    let config = CoreConfig { orgs: [(OrgName::new("acme"), org)].into(), ..CoreConfig::default() };
    watch.handle(&Input::Configure(Box::new(config)));
    let kinds = ["app.oauth2.token.grant", "app.oauth2.token.grant.access_token", "app.oauth2.token.grant.id_token"];
    let results = ["SUCCESS", "FAILURE", "CHALLENGE"];
    let mut count = 0;
    for (number, (kind, result)) in kinds.iter().flat_map(|kind| results.map(|result| (kind, result))).enumerate() {
        let event = json!({
            "uuid": format!("grant-{number}"), "published": format!("2026-03-02T09:0{number}:00.000Z"), "eventType": kind,
            "actor": { "id": CLIENT, "type": "PublicClientApp", "displayName": "authwatch" },
            "outcome": { "result": result, "reason": "use_dpop_nonce" },
            "transaction": { "id": format!("tx{number}"), "type": "WEB" },
        });
        reader.read_record(event.to_string().as_bytes(), &mut |event| {
            let event = event.expect("an event");
            assert_eq!(event.kind, Kind::Other, "{kind} {result}");
            watch.handle(&Input::Event { source: source.clone(), event: Box::new(event) });
            count += 1;
        });
    }
    let later = Timestamp::parse("2026-03-02T11:00:00Z");
    watch.handle(&Input::Progress { source, now: later, caught_up: true });
    watch.finish();
    let org = watch.orgs().next().expect("the org");
    assert_eq!(org.counts().events.values().sum::<u64>(), count);
    assert_eq!((count, org.series_count(), org.counts().attempts.len()), (9, 0, 0));
    assert!(watch.poll_action().is_none());
}

// The canary and the documents ----------------------------------------------------------------------------------------

#[tokio::test]
async fn no_key_token_assertion_or_nonce_is_in_any_log_line_message_or_debug_text() {
    let (log, _guard) = Log::listen();
    let org = Org::start("k1", &P256).await;
    let secret = Secret::new(P256.pkcs8());
    let mut said = String::new();
    let polling = {
        let mut polling = Polling::start(&org, json!({}));
        said += &format!("{:?}", polling.pages(2).await);
        org.revoke();
        polling.pages(3).await;
        polling
    };
    said += &format!("{:?} {}", polling.conditions.read(), polling.metrics.render());
    polling.stop().await;
    for refusal in
        [(401, "invalid_client", "kid"), (400, "invalid_scope", ""), (500, "", ""), (400, "invalid_dpop_proof", "")]
    {
        org.lock().refusals = [refusal; 5].into();
        let config = config(&org, json!({}), json!({}));
        let app = Authorizer::new(&config, Reads::Log, key(secret.expose())).expect("builds");
        let error = app.authorize(&Method::GET, &logs(&org)).await.expect_err("refused");
        said += &format!("{config:?} {app:?} {error} {error:?}");
        org.lock().refusals.clear();
        said += &format!("{:?}", app.authorize(&Method::GET, &logs(&org)).await.expect("authorized"));
    }
    let mut marks: Vec<String> = vec![CANARY.to_owned(), "eyJ".to_owned()];
    marks.extend(secret.expose().lines().filter(|line| !line.starts_with("-----")).map(str::to_owned));
    let logged = log.text();
    assert!(logged.contains("TRACE") && logged.contains("hyper"), "the HTTP stack is listened to");
    assert!(log.count("source delivers") > 0, "our own lines too");
    for (place, text) in [("log", &logged), ("messages", &said)] {
        for mark in &marks {
            let found: Vec<&str> = text.lines().filter(|line| line.contains(mark)).collect();
            assert!(found.is_empty(), "{place}: {found:?}");
        }
    }
}

#[test]
fn the_examples_of_the_document_are_valid() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/integrations/okta.md");
    let text = fs::read_to_string(path).expect("the document");
    let examples: Vec<&str> = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 3, "a token, a service app, and a full one");
    for example in examples {
        let config = Whole::parse(example, Path::new("/etc/authwatch/a.yaml"), &Environment::default());
        let config = config.unwrap_or_else(|error| panic!("{error}\n{example}"));
        let parts = authwatch::app::parts::Parts::of(&config).unwrap_or_else(|error| panic!("{error}\n{example}"));
        assert_eq!(parts.sources.len(), 1, "{example}");
    }
}
