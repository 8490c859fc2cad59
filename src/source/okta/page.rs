//! One request and its reply: from an address and a token to a whole page, or a [`Trouble`] with its name.
//!
//! A page is taken whole or not at all. Nothing of a reply that breaks off, is no list of events, or does not say
//! where to go on leaves this file.

use std::time::Instant;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, LINK, WWW_AUTHENTICATE};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use url::Url;

use super::auth::Authorizer;
use super::budget::RateHeaders;
use super::link;
use super::trouble::Trouble;
use crate::event::{AuthEvent, Reject, SourceName, Span, Timestamp};
use crate::http::{self, BodyError};
use crate::input::Input;
use crate::source::ReadPage;

/// The longest page, after decompression: twenty times the planning figure of 3 kB an event for 1,000 events.
const LONGEST_PAGE: usize = 64 << 20;

/// The longest body of an error that is read for its code.
const LONGEST_ERROR: usize = 64 << 10;

/// The longest next link that is followed and stored.
const LONGEST_LINK: usize = 8 << 10;

/// A page that is whole.
#[derive(Debug)]
pub(super) struct Page {
    /// An event or a reject for each record.
    pub(super) inputs: Vec<Input>,
    /// How many records it holds.
    pub(super) records: usize,
    /// Where to go on; of the same origin.
    pub(super) next: Url,
    /// The server's clock when it answered.
    pub(super) date: Option<Timestamp>,
    /// When the whole of it was received.
    pub(super) received: Instant,
}

/// What every reply says, whatever its status.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    /// The server's clock.
    pub(super) date: Option<Timestamp>,
    /// The server's limit.
    pub(super) rate: RateHeaders,
}

/// What is needed to ask, apart from the address.
pub(super) struct Asker<'a> {
    pub(super) client: &'a Client,
    pub(super) authorizer: &'a Authorizer,
    pub(super) source: &'a SourceName,
    pub(super) read: &'a ReadPage,
    /// The configured address: its origin is the only one that gets the token.
    pub(super) home: &'a Url,
    /// Whether the address was given by the server, so that a 400 means that it no longer knows it.
    pub(super) from_link: bool,
    /// The server's clock minus the host's, as last heard; for a reply without a `Date`.
    pub(super) clock_ahead: Span,
}

impl Asker<'_> {
    /// Fetches one page. The head comes back with a trouble too, where there was a reply at all.
    pub(super) async fn ask(&self, url: Url, authorization: HeaderMap) -> (Head, Result<Page, Trouble>) {
        let request = self.client.get(url.clone()).headers(authorization).header(ACCEPT, "application/json");
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
        let page = match reply.status() {
            StatusCode::OK => self.page(&url, reply).await,
            status => Err(self.refusal(status, head, reply).await),
        };
        (head, page)
    }

    async fn page(&self, url: &Url, reply: Response) -> Result<Page, Trouble> {
        if is_html(reply.headers()) {
            return Err(Trouble::NotJson);
        }
        let date = http::date(reply.headers());
        let next = self.next(url, reply.headers());
        let body = http::body(reply, LONGEST_PAGE).await.map_err(|error| match error {
            BodyError::TooLong(_) => Trouble::TooLarge,
            BodyError::Broken(error) => Trouble::transport(&error),
        })?;
        let received = crate::clock::monotonic();
        let mut inputs = Vec::new();
        let mut each = |record: Result<AuthEvent, Reject>| {
            let source = self.source.clone();
            inputs.push(match record {
                Ok(event) => Input::Event { source, event: Box::new(event) },
                Err(reason) => Input::Reject { source, reason },
            });
        };
        let records = (self.read)(&body, &mut each).map_err(|error| {
            tracing::debug!(source = %self.source, error, bytes = body.len(), "page discarded");
            Trouble::BadPage
        })?;
        Ok(Page { inputs, records, next: next?, date, received })
    }

    /// The next link of a page, made absolute.
    fn next(&self, url: &Url, headers: &HeaderMap) -> Result<Url, Trouble> {
        let lines = headers.get_all(LINK).iter().filter_map(|line| line.to_str().ok());
        let target = link::next(lines).filter(|target| target.len() <= LONGEST_LINK).ok_or(Trouble::NoNextLink)?;
        let next = url.join(target).map_err(|_| Trouble::NoNextLink)?;
        if same_origin(&next, self.home) {
            Ok(next)
        } else {
            Err(Trouble::ForeignLink(next.origin().ascii_serialization()))
        }
    }

    async fn refusal(&self, status: StatusCode, head: Head, reply: Response) -> Trouble {
        let is_app = self.authorizer.is_app();
        if is_app && status == StatusCode::BAD_REQUEST && speaks_of_dpop(reply.headers()) {
            return Trouble::ProofRefused("by the header `WWW-Authenticate`");
        }
        match status {
            StatusCode::UNAUTHORIZED if is_app => Trouble::GrantRefused(error_code(reply).await),
            StatusCode::UNAUTHORIZED => Trouble::TokenRefused(error_code(reply).await),
            StatusCode::FORBIDDEN if is_app => Trouble::AppForbidden(error_code(reply).await),
            StatusCode::FORBIDDEN => Trouble::Forbidden(error_code(reply).await),
            StatusCode::TOO_MANY_REQUESTS => {
                Trouble::rate_limited(head.rate, head.date.unwrap_or_else(|| crate::clock::now() + self.clock_ahead))
            }
            StatusCode::BAD_REQUEST | StatusCode::GONE => match error_body(reply).await {
                // Taken for a refused position, it would cost one.
                Some(Body { error: Some(error), .. }) if is_app && error.ends_with("dpop_proof") => {
                    Trouble::ProofRefused("`invalid_dpop_proof`")
                }
                Some(Body { error: Some(error), .. }) if is_app && error == "use_dpop_nonce" => {
                    Trouble::ProofRefused("`use_dpop_nonce`")
                }
                body if self.from_link => Trouble::CursorRefused(body.and_then(Body::code)),
                body => Trouble::BadRequest(body.and_then(Body::code)),
            },
            status if status.is_redirection() => Trouble::Redirected,
            status if status.is_server_error() => Trouble::Server(status.as_u16()),
            status => Trouble::Status(status.as_u16()),
        }
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
#[derive(Deserialize)]
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

async fn error_body(reply: Response) -> Option<Body> {
    let body = http::body(reply, LONGEST_ERROR).await.ok()?;
    serde_json::from_slice(&body).ok()
}

async fn error_code(reply: Response) -> Option<String> {
    error_body(reply).await.and_then(Body::code)
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
