//! One request to Okta and the head of its reply: what the log's pages and the lists have in common.
//!
//! What authorizes it goes to the configured origin only, and nothing of a body but Okta's error code is kept of a
//! refusal.

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, LINK, WWW_AUTHENTICATE};
use reqwest::{Client, Method, Response, StatusCode};
use serde::Deserialize;
use url::Url;

use super::auth::{AuthError, Authorizer};
use super::budget::RateHeaders;
use super::link;
use super::trouble::Trouble;
use crate::event::{SourceName, Span, Timestamp};
use crate::http;

/// The longest body of an error that is read for its code.
const LONGEST_ERROR: usize = 64 << 10;

/// The longest next link that is followed and stored.
const LONGEST_LINK: usize = 8 << 10;

/// What every reply says, whatever its status.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    /// The server's clock.
    pub(super) date: Option<Timestamp>,
    /// The server's limit.
    pub(super) rate: RateHeaders,
}

/// What is needed to ask, apart from the address.
pub(super) struct Request<'a> {
    pub(super) client: &'a Client,
    pub(super) authorizer: &'a Authorizer,
    pub(super) source: &'a SourceName,
    /// The server's clock minus the host's, as last heard; for a reply without a `Date`.
    pub(super) clock_ahead: Span,
}

impl Request<'_> {
    /// Sends it, and once more with another secret or grant where Okta refuses the first: a rotated secret is no
    /// trouble. `again` is told before the second. The head comes back with a trouble too, where there was a reply at
    /// all. `refused` names the trouble of a status whose meaning depends on what was asked, from it and Okta's error
    /// code.
    pub(super) async fn send(
        &self,
        url: Url,
        refused: impl Fn(StatusCode, Option<String>) -> Trouble,
        again: impl FnOnce(),
    ) -> (Head, Result<Response, Trouble>) {
        let used = match self.authorize(&url).await {
            Ok(used) => used,
            Err(trouble) => return (Head::default(), Err(trouble)),
        };
        let first = self.send_with(url.clone(), used.clone(), &refused).await;
        let is_refused =
            matches!(&first.1, Err(Trouble::TokenRefused(_) | Trouble::GrantRefused(_) | Trouble::ProofRefused(_)));
        if !is_refused || !self.authorizer.refused(&used).await {
            return first;
        }
        again();
        match self.authorize(&url).await {
            Ok(other) => self.send_with(url, other, &refused).await,
            Err(trouble) => (first.0, Err(trouble)),
        }
    }

    async fn authorize(&self, url: &Url) -> Result<HeaderMap, Trouble> {
        self.authorizer.authorize(&Method::GET, url).await.map_err(|error| match error {
            AuthError::Secret(error) => Trouble::Secret(error),
            AuthError::MalformedSecret => Trouble::MalformedSecret,
            other => Trouble::Authorization(other),
        })
    }

    async fn send_with(
        &self,
        url: Url,
        authorization: HeaderMap,
        refused: &impl Fn(StatusCode, Option<String>) -> Trouble,
    ) -> (Head, Result<Response, Trouble>) {
        let request = self.client.get(url).headers(authorization).header(ACCEPT, "application/json");
        let reply = match request.send().await {
            Ok(reply) => reply,
            Err(error) => {
                let trouble = Trouble::transport(&error);
                tracing::debug!(source = %self.source, error = ?error.without_url(), "request failed");
                return (Head::default(), Err(trouble));
            }
        };
        self.authorizer.heard(reply.headers());
        let head = Head { date: http::date(reply.headers()), rate: RateHeaders::read(reply.headers()) };
        let trouble = match reply.status() {
            StatusCode::OK if is_html(reply.headers()) => Trouble::NotJson,
            StatusCode::OK => return (head, Ok(reply)),
            StatusCode::TOO_MANY_REQUESTS => {
                Trouble::rate_limited(head.rate, head.date.unwrap_or_else(|| crate::clock::now() + self.clock_ahead))
            }
            status if status.is_redirection() => Trouble::Redirected,
            status if status.is_server_error() => Trouble::Server(status.as_u16()),
            status => self.refusal(status, reply, refused).await,
        };
        (head, Err(trouble))
    }

    async fn refusal(
        &self,
        status: StatusCode,
        reply: Response,
        refused: &impl Fn(StatusCode, Option<String>) -> Trouble,
    ) -> Trouble {
        let is_app = self.authorizer.is_app();
        let may_be_the_proof = is_app && status == StatusCode::BAD_REQUEST;
        if may_be_the_proof && speaks_of_dpop(reply.headers()) {
            return Trouble::ProofRefused("by the header `WWW-Authenticate`");
        }
        let body = error_body(reply).await;
        // Taken for a refused position, it would cost one.
        match body.error.as_deref().filter(|_| may_be_the_proof) {
            Some(error) if error.ends_with("dpop_proof") => return Trouble::ProofRefused("`invalid_dpop_proof`"),
            Some("use_dpop_nonce") => return Trouble::ProofRefused("`use_dpop_nonce`"),
            Some(_) | None => {}
        }
        match status {
            StatusCode::UNAUTHORIZED if is_app => Trouble::GrantRefused(body.code()),
            StatusCode::UNAUTHORIZED => Trouble::TokenRefused(body.code()),
            status => refused(status, body.code()),
        }
    }
}

/// The address below `/api/v1` of an org with these steps, each written as one whatever it holds.
pub(super) fn api(home: &Url, steps: &[&str], query: &[(&str, &str)]) -> Url {
    let mut url = home.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["api", "v1"]).extend(steps);
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

/// The next link of a reply, made absolute and of the origin `home`; `None` where there is none.
pub(super) fn next_link(url: &Url, headers: &HeaderMap, home: &Url) -> Result<Option<Url>, Trouble> {
    let lines = headers.get_all(LINK).iter().filter_map(|line| line.to_str().ok());
    let Some(target) = link::next(lines) else { return Ok(None) };
    if target.len() > LONGEST_LINK {
        return Err(Trouble::NoNextLink);
    }
    let next = url.join(target).map_err(|_| Trouble::NoNextLink)?;
    if same_origin(&next, home) {
        Ok(Some(next))
    } else {
        Err(Trouble::ForeignLink(next.origin().ascii_serialization()))
    }
}

/// Whether a request to `url` stays with scheme, host and port of `home`, and carries no user of its own.
pub(super) fn same_origin(url: &Url, home: &Url) -> bool {
    url.origin() == home.origin() && url.username().is_empty() && url.password().is_none()
}

fn is_html(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"))
}

/// Whether a refusal is about the proof (RFC 9449, section 7.1).
fn speaks_of_dpop(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|line| line.to_str().ok());
    lines.any(|line| line.contains("invalid_dpop_proof") || line.contains("use_dpop_nonce"))
}

/// The body of an error: Okta's own, or OAuth's.
#[derive(Default, Deserialize)]
struct Body {
    #[serde(rename = "errorCode")]
    error_code: Option<String>,
    error: Option<String>,
}

impl Body {
    /// Okta's own code (`E0000011`), where there is one that looks like one; nothing else of the body is kept.
    fn code(self) -> Option<String> {
        let plain = |code: &String| code.len() <= 16 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        self.error_code.filter(plain)
    }
}

/// What can be read of it.
async fn error_body(reply: Response) -> Body {
    let body = http::body(reply, LONGEST_ERROR).await.ok();
    body.and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scheme_host_and_port_of_the_org_are_home() {
        let home = Url::parse("https://acme.okta.com/prefix").expect("an address");
        for (url, expect) in [
            ("https://acme.okta.com/api/v1/logs?after=1", true),
            ("https://ACME.okta.com:443/", true),
            ("http://acme.okta.com/", false),
            ("https://acme.okta.com:8443/", false),
            ("https://acme-admin.okta.com/", false),
            ("https://acme.okta.com.evil.example/", false),
            ("https://user@acme.okta.com/", false),
        ] {
            assert_eq!(same_origin(&Url::parse(url).expect("an address"), &home), expect, "{url}");
        }
    }
}
