//! A stand-in for a vault: KV version 2, logins, leases that end, and the states in which a node does not serve.
//!
//! It follows the public API documentation: 403 for a bad token and for a missing right alike, 404 with metadata for a
//! deleted version, health statuses by role, `increment` as a wish that the maximal time cuts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// What a node does instead of serving.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Fault {
    #[default]
    None,
    Sealed,
    Uninitialised,
    /// A standby that points to the active node.
    StandbyRedirects,
    /// A standby of a disaster recovery cluster.
    Secondary,
    /// A performance standby that is cut off from its active node.
    PerformanceStandby,
    /// A rate limit quota.
    Quota,
    /// Reads of a replica that is behind, this many.
    Behind(u32),
    /// The reply comes after this many milliseconds.
    Slow(u64),
    /// An internal error.
    Broken,
}

/// A token and its time.
#[derive(Clone, Debug)]
pub struct Token {
    pub ends: Instant,
    pub last: Instant,
    pub renewable: bool,
}

#[derive(Clone, Debug)]
pub struct Stored {
    pub data: Value,
    pub deleted: bool,
    pub destroyed: bool,
}

pub struct Inner {
    pub fault: Fault,
    /// Version of the engine by mount.
    pub mounts: BTreeMap<String, u8>,
    pub secrets: BTreeMap<String, Stored>,
    /// Paths of the API that no policy lets anybody read.
    pub forbidden: BTreeSet<String>,
    pub tokens: BTreeMap<String, Token>,
    /// What AppRole accepts.
    pub secret_id: String,
    /// What Kubernetes accepts.
    pub jwt: String,
    pub namespace: Option<String>,
    /// Time of a new token, and the longest that renewals reach.
    pub lease: Duration,
    pub max_lease: Duration,
    pub renewable: bool,
    pub made: u32,
    /// `METHOD path` of every request.
    pub seen: Vec<String>,
}

#[derive(Clone)]
pub struct Vault {
    pub address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
}

/// The prefix of every token, secret id and value here: it must appear in no log and no message.
pub const CANARY: &str = "canary-7f3a";

impl Vault {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("an address");
        let inner = Inner {
            fault: Fault::None,
            mounts: [("secret".to_owned(), 2)].into(),
            secrets: BTreeMap::new(),
            forbidden: BTreeSet::new(),
            tokens: BTreeMap::new(),
            secret_id: format!("{CANARY}-secret-id"),
            jwt: format!("{CANARY}-jwt"),
            namespace: None,
            lease: Duration::from_secs(3_600),
            max_lease: Duration::from_secs(36_000),
            renewable: true,
            made: 0,
            seen: Vec::new(),
        };
        let vault = Self { address, inner: Arc::new(Mutex::new(inner)) };
        vault.put("secret", "okta/admin-api", json!({ "token": format!("{CANARY}-okta-0") }));
        let app = Router::new().fallback(answer).with_state(vault.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        vault
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn put(&self, mount: &str, path: &str, data: Value) {
        let stored = Stored { data, deleted: false, destroyed: false };
        self.lock().secrets.insert(format!("{mount}/{path}"), stored);
    }

    /// How many requests had this method and path.
    pub fn asked(&self, what: &str) -> usize {
        self.lock().seen.iter().filter(|seen| *seen == what).count()
    }
}

impl Inner {
    pub fn make_token(&mut self) -> String {
        self.made += 1;
        let name = format!("{CANARY}-token-{}", self.made);
        let now = Instant::now();
        let token = Token { ends: now + self.lease, last: now + self.max_lease, renewable: self.renewable };
        self.tokens.insert(name.clone(), token);
        name
    }

    fn grant(&mut self) -> Response {
        let (lease, renewable) = (self.lease.as_secs(), self.renewable);
        let token = self.make_token();
        ok(
            &json!({ "auth": { "client_token": token, "accessor": "a", "lease_duration": lease, "renewable": renewable } }),
        )
    }

    /// The mount of a path, and what is below it.
    fn mount(&self, path: &str) -> Option<(String, u8, String)> {
        let fits = |mount: &&String| path.strip_prefix(mount.as_str()).is_some_and(|rest| rest.starts_with('/'));
        let mount = self.mounts.keys().filter(fits).max_by_key(|mount| mount.len())?;
        Some((mount.clone(), self.mounts[mount], path[mount.len() + 1..].to_owned()))
    }

    fn health(&self) -> Response {
        let (status, sealed, standby, performance, initialized) = match self.fault {
            Fault::Sealed => (503, true, true, false, true),
            Fault::Uninitialised => (501, true, true, false, false),
            Fault::StandbyRedirects => (429, false, true, false, true),
            Fault::Secondary => (472, false, true, false, true),
            Fault::PerformanceStandby => (473, false, true, true, true),
            _ => (200, false, false, false, true),
        };
        let body = json!({ "initialized": initialized, "sealed": sealed, "standby": standby, "performance_standby": performance });
        reply(status, &body)
    }

    fn read(&mut self, path: &str) -> Response {
        if let Fault::Behind(left) = &mut self.fault
            && *left > 0
        {
            *left -= 1;
            return errors(412, "required index state not present");
        }
        if self.forbidden.contains(path) {
            return errors(403, "permission denied");
        }
        let Some((mount, version, below)) = self.mount(path) else { return errors(403, "permission denied") };
        let Some(below) = below.strip_prefix("data/").filter(|_| version == 2) else { return errors(404, "") };
        match self.secrets.get(&format!("{mount}/{below}")) {
            None => errors(404, ""),
            Some(stored) if stored.deleted || stored.destroyed => {
                let metadata =
                    json!({ "deletion_time": "2026-03-02T09:00:00Z", "destroyed": stored.destroyed, "version": 2 });
                reply(404, &json!({ "data": { "data": null, "metadata": metadata } }))
            }
            Some(stored) => ok(&json!({ "data": { "data": stored.data, "metadata": { "version": 1 } } })),
        }
    }

    fn authenticated(&mut self, token: &str, method: &Method, path: &str) -> Response {
        let now = Instant::now();
        let Some(held) = self.tokens.get_mut(token).filter(|held| held.ends > now) else {
            return errors(403, &format!("permission denied to {token}"));
        };
        match (method.as_str(), path) {
            ("POST", "auth/token/renew-self") if held.renewable => {
                held.ends = (now + self.lease).min(held.last);
                let lease = (held.ends - now).as_secs_f64().round() as u64;
                ok(&json!({ "auth": { "client_token": token, "lease_duration": lease, "renewable": true } }))
            }
            ("POST", "auth/token/renew-self") => errors(400, "lease is not renewable"),
            ("GET", "auth/token/lookup-self") => {
                let ttl = (held.ends - now).as_secs_f64().round() as u64;
                ok(&json!({ "data": { "ttl": ttl, "renewable": held.renewable } }))
            }
            ("GET", path) => match path.strip_prefix("sys/internal/ui/mounts/") {
                Some(below) => match self.mount(below) {
                    Some((mount, version, _)) => {
                        let options = if version == 2 { json!({ "version": "2" }) } else { Value::Null };
                        ok(&json!({ "data": { "path": format!("{mount}/"), "type": "kv", "options": options } }))
                    }
                    None => errors(403, "preflight capability check returned 403"),
                },
                None => self.read(path),
            },
            _ => errors(405, "unsupported operation"),
        }
    }

    fn log_in(&mut self, path: &str, body: &Value) -> Option<Response> {
        let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        match path {
            "auth/approle/login" if text("role_id") == "authwatch" && text("secret_id") == self.secret_id => {
                Some(self.grant())
            }
            "auth/approle/login" => Some(errors(400, &format!("invalid role or secret ID {}", text("secret_id")))),
            "auth/kubernetes/login" if text("role") == "authwatch" && text("jwt") == self.jwt => Some(self.grant()),
            "auth/kubernetes/login" => Some(errors(403, &format!("permission denied {}", text("jwt")))),
            _ => path.ends_with("/login").then(|| errors(404, "no handler for route")),
        }
    }
}

async fn answer(State(vault): State<Vault>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let path = uri.path().trim_start_matches("/v1/").to_owned();
    let fault = vault.lock().fault;
    if let (Fault::Slow(milliseconds), true) = (fault, path != "sys/health") {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let mut vault = vault.lock();
    vault.seen.push(format!("{method} {path}"));
    if header("x-vault-request") != "true" {
        return errors(412, "missing required header X-Vault-Request");
    }
    if path == "sys/health" {
        // In a namespace there is no such path.
        return if header("x-vault-namespace").is_empty() { vault.health() } else { errors(404, "") };
    }
    match fault {
        Fault::Sealed | Fault::Uninitialised => return errors(503, "Vault is sealed"),
        Fault::StandbyRedirects => {
            return (StatusCode::TEMPORARY_REDIRECT, [("location", "https://active")]).into_response();
        }
        Fault::Secondary => return errors(472, ""),
        Fault::PerformanceStandby => return errors(473, ""),
        Fault::Quota => return errors(429, "request path: rate limit quota exceeded"),
        Fault::Broken => return errors(500, &format!("internal error near {}", header("x-vault-token"))),
        Fault::None | Fault::Behind(_) | Fault::Slow(_) => {}
    }
    if vault.namespace.as_ref().is_some_and(|namespace| header("x-vault-namespace").trim_matches('/') != namespace) {
        return errors(403, "permission denied");
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    if let Some(reply) = vault.log_in(&path, &body) {
        return reply;
    }
    vault.authenticated(&header("x-vault-token"), &method, &path)
}

fn ok(body: &Value) -> Response {
    reply(200, body)
}

fn errors(status: u16, text: &str) -> Response {
    let errors: Vec<&str> = if text.is_empty() { vec![] } else { vec![text] };
    reply(status, &json!({ "errors": errors }))
}

fn reply(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).expect("a status");
    (status, [("content-type", "application/json")], body.to_string()).into_response()
}
