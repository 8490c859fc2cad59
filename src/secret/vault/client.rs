//! Requests to a vault, and what a node that does not serve says of itself.

use std::fs;

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;

use super::{Config, SetupError, VaultError};
use crate::http::{self, BodyError};
use crate::secret::Secret;

/// The largest reply that is read.
const BODY: usize = 1 << 20;

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
/// An agent or proxy may demand it, so that no browser can be led to it.
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");

/// One vault.
pub(super) struct Client {
    http: reqwest::Client,
    address: Url,
    namespace: Option<HeaderValue>,
}

/// A reply with whatever status; `Null` where its body is no JSON.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Client {
    pub(super) fn new(config: &Config) -> Result<Self, SetupError> {
        let read = |path: &std::path::PathBuf| {
            fs::read(path).map_err(|source| SetupError::Unreadable { path: path.clone(), source })
        };
        let trusted = config.ca_file.as_ref().map(read).transpose()?;
        let http = http::client_that_trusts(config.timeout, trusted.as_deref())?;
        let namespace = config.namespace.as_deref().and_then(|namespace| HeaderValue::from_str(namespace).ok());
        Ok(Self { http, address: config.address.clone(), namespace })
    }

    pub(super) fn address(&self) -> &str {
        self.address.as_str()
    }

    /// Sends one request to a path below `/v1/`.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&Secret>,
        body: Option<&Value>,
    ) -> Result<Reply, VaultError> {
        let mut url = self.address.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path.split('/'));
        }
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST, HeaderValue::from_static("true"));
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(token.expose()).map_err(|_| VaultError::MalformedToken)?;
            value.set_sensitive(true);
            headers.insert(TOKEN, value);
        }
        // The system's own paths are in no namespace but the root; the mounts are.
        if let Some(namespace) = self.namespace.as_ref().filter(|_| path != HEALTH) {
            headers.insert(NAMESPACE, namespace.clone());
        }
        let mut request = self.http.request(method, url).headers(headers);
        if let Some(body) = body {
            request = request.json(body);
        }
        let reply = request.send().await.map_err(|error| transport(&error))?;
        let status = reply.status().as_u16();
        let body = http::body(reply, BODY).await.map_err(|error| match error {
            BodyError::TooLong(_) => VaultError::Malformed,
            BodyError::Broken(error) => transport(&error),
        })?;
        Ok(Reply { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
    }

    /// What a status means that is neither success nor about rights and paths.
    pub(super) async fn explain(&self, reply: &Reply) -> VaultError {
        match reply.status {
            307 => return VaultError::Standby,
            300..=399 => return VaultError::Redirected,
            412 => return VaultError::Behind,
            429 | 472 | 473 | 500..=599 => {}
            status => return VaultError::Status(status),
        }
        // Its status differs by role; what counts is the body.
        let health = self.call(Method::GET, HEALTH, None, None).await;
        let health = health.map_or(Value::Null, |health| health.body);
        let is = |name: &str| health.get(name).and_then(Value::as_bool);
        match reply.status {
            _ if is("initialized") == Some(false) => VaultError::Uninitialised,
            _ if is("sealed") == Some(true) => VaultError::Sealed,
            472 | 473 => VaultError::Standby,
            _ if is("standby") == Some(true) && is("performance_standby") != Some(true) => VaultError::Standby,
            429 => VaultError::RateLimited,
            501 => VaultError::Uninitialised,
            status => VaultError::Server(status),
        }
    }
}

/// Where a node says how it fares; needs no token.
const HEALTH: &str = "sys/health";

fn transport(error: &reqwest::Error) -> VaultError {
    if error.is_timeout() {
        VaultError::TimedOut
    } else if error.is_connect() {
        VaultError::Unreachable(http::root_cause(error))
    } else {
        VaultError::BrokenOff
    }
}
