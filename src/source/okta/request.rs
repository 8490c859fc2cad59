//! One request to Okta and the head of its reply: what the log's pages and the lists have in common.
//!
//! The token goes to the configured origin only, and nothing of a body but Okta's error code is kept of a refusal.

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LINK};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use url::Url;

use super::budget::RateHeaders;
use super::link;
use super::trouble::Trouble;
use crate::event::{SourceName, Span, Timestamp};
use crate::http;
use crate::secret::Secret;

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
    pub(super) token: &'a Secret,
    pub(super) source: &'a SourceName,
    /// The server's clock minus the host's, as last heard; for a reply without a `Date`.
    pub(super) clock_ahead: Span,
}

impl Request<'_> {
    /// Sends it. The head comes back with a trouble too, where there was a reply at all. `refused` names the trouble of
    /// a status whose meaning depends on what was asked, from it and Okta's error code.
    pub(super) async fn send(
        &self,
        url: Url,
        refused: impl FnOnce(StatusCode, Option<String>) -> Trouble,
    ) -> (Head, Result<Response, Trouble>) {
        let Ok(mut token) = HeaderValue::try_from(format!("SSWS {}", self.token.expose())) else {
            return (Head::default(), Err(Trouble::MalformedSecret));
        };
        token.set_sensitive(true);
        let request = self.client.get(url).header(AUTHORIZATION, token).header(ACCEPT, "application/json");
        let reply = match request.send().await {
            Ok(reply) => reply,
            Err(error) => {
                let trouble = Trouble::transport(&error);
                tracing::debug!(source = %self.source, error = ?error.without_url(), "request failed");
                return (Head::default(), Err(trouble));
            }
        };
        let head = Head { date: http::date(reply.headers()), rate: RateHeaders::read(reply.headers()) };
        let trouble = match reply.status() {
            StatusCode::OK if is_html(reply.headers()) => Trouble::NotJson,
            StatusCode::OK => return (head, Ok(reply)),
            StatusCode::UNAUTHORIZED => Trouble::TokenRefused(error_code(reply).await),
            StatusCode::TOO_MANY_REQUESTS => {
                Trouble::rate_limited(head.rate, head.date.unwrap_or_else(|| crate::clock::now() + self.clock_ahead))
            }
            status if status.is_redirection() => Trouble::Redirected,
            status if status.is_server_error() => Trouble::Server(status.as_u16()),
            status => refused(status, error_code(reply).await),
        };
        (head, Err(trouble))
    }
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

/// Okta's own code (`E0000011`), where the body has one that looks like one; nothing else of the body is kept.
async fn error_code(reply: Response) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        error_code: String,
    }
    let body = http::body(reply, LONGEST_ERROR).await.ok()?;
    let code = serde_json::from_slice::<Body>(&body).ok()?.error_code;
    let plain = code.len() <= 16 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then_some(code)
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
