//! Who may read: anybody for metrics and probes; for the rest, this machine or whoever has the token.
//!
//! "This machine" means that the server listens on loopback, the peer is on loopback, no proxy says that it asks for
//! somebody else, and the `Host` is a loopback name. Without the last two, a reverse proxy on the same machine, or a web page
//! whose name was rebound to 127.0.0.1, would open the API to others.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::refusal;
use crate::secret::{Secret, SecretRef};

/// The section `http` of the configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The token that reading needs beyond loopback, as `Authorization: Bearer …`.
    pub token: Option<SecretRef>,
}

/// Decides whether a request may be answered.
#[derive(Debug)]
pub struct Access {
    on_loopback: bool,
    token: Option<[u8; 32]>,
}

/// The other end of a connection, put into each of its requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub SocketAddr);

/// Open to everybody: monitoring systems rarely carry tokens, and nothing here names a person.
const OPEN: [&str; 4] = ["/metrics", "/livez", "/readyz", "/startupz"];

impl Access {
    /// For a server on `listen`; without a token, only this machine may read, and nobody where `listen` is not loopback.
    pub fn new(listen: SocketAddr, token: Option<&Secret>) -> Self {
        Self { on_loopback: is_loopback(listen.ip()), token: token.map(|token| digest(token.expose())) }
    }

    fn allows(&self, path: &str, peer: Option<SocketAddr>, uri: &Uri, headers: &HeaderMap) -> bool {
        OPEN.contains(&path)
            || self.is_this_machine(peer, uri, headers)
            || self.token.is_some_and(|token| bearer(headers).is_some_and(|given| same(&digest(given), &token)))
    }

    fn is_this_machine(&self, peer: Option<SocketAddr>, uri: &Uri, headers: &HeaderMap) -> bool {
        let forwarded = headers.contains_key(header::FORWARDED) || headers.contains_key("x-forwarded-for");
        let host =
            headers.get(header::HOST).and_then(|host| host.to_str().ok()).or(uri.authority().map(|a| a.as_str()));
        self.on_loopback && !forwarded && peer.is_some_and(|peer| is_loopback(peer.ip())) && host.is_some_and(is_local)
    }
}

/// The middleware that refuses what [`Access`] does not allow.
pub(super) async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    let path = request.uri().path();
    if access.allows(path, peer, request.uri(), request.headers()) {
        return next.run(request).await;
    }
    let why =
        "reading this needs `Authorization: Bearer` with the token of `http.token` (it is open on 127.0.0.1 only)";
    let mut response = refusal(path, StatusCode::UNAUTHORIZED, why);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"authwatch\""));
    response
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Whether a `Host` header names this machine.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse().is_ok_and(is_loopback)
}

/// The token of an `Authorization: Bearer` header (RFC 6750, section 2.1; the scheme in any case, RFC 9110, 11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Compares digests of one length without leaving early, so that time tells nothing of the token.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: &str = "127.0.0.1:9464";
    const EVERYWHERE: &str = "0.0.0.0:9464";

    /// Whether `/api/v1/status` is readable, with the token `right` configured.
    fn reads(listen: &str, peer: &str, headers: &[(&'static str, &str)]) -> bool {
        let access = Access::new(listen.parse().expect("address"), Some(&Secret::new("right")));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("value"));
        }
        let path = "/api/v1/status";
        access.allows(path, Some(peer.parse().expect("peer")), &Uri::from_static("/api/v1/status"), &map)
    }

    #[test]
    fn reading_is_open_to_this_machine_and_to_nobody_who_only_looks_like_it() {
        for (listen, peer, headers, expect) in [
            (LOOPBACK, "127.0.0.1:5", vec![("host", "127.0.0.1:9464")], true),
            (LOOPBACK, "127.0.0.1:5", vec![("host", "localhost:9464")], true),
            ("[::1]:9464", "[::1]:5", vec![("host", "[::1]:9464")], true),
            (LOOPBACK, "[::ffff:127.0.0.1]:5", vec![("host", "localhost")], true),
            (LOOPBACK, "127.0.0.1:5", vec![("host", "rebound.example:9464")], false),
            (LOOPBACK, "127.0.0.1:5", vec![], false),
            (LOOPBACK, "127.0.0.1:5", vec![("host", "localhost"), ("x-forwarded-for", "192.0.2.1")], false),
            (LOOPBACK, "127.0.0.1:5", vec![("host", "localhost"), ("forwarded", "for=192.0.2.1")], false),
            (LOOPBACK, "192.0.2.1:5", vec![("host", "localhost")], false),
            (EVERYWHERE, "127.0.0.1:5", vec![("host", "localhost")], false),
        ] {
            assert_eq!(reads(listen, peer, &headers), expect, "{listen} {peer} {headers:?}");
        }
    }

    #[test]
    fn the_token_opens_from_anywhere_and_nothing_near_it_does() {
        for (authorization, expect) in [
            ("Bearer right", true),
            ("bearer right", true),
            ("Bearer righ", false),
            ("Bearer rightt", false),
            ("Bearer ", false),
            ("Basic right", false),
            ("right", false),
        ] {
            assert_eq!(
                reads(EVERYWHERE, "192.0.2.1:5", &[("authorization", authorization)]),
                expect,
                "{authorization}"
            );
        }
        let nobody = Access::new(EVERYWHERE.parse().expect("address"), None);
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Bearer "));
        assert!(!nobody.allows("/", None, &Uri::from_static("/"), &headers));
        assert!(nobody.allows("/metrics", None, &Uri::from_static("/metrics"), &headers));
    }
}
