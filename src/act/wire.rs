//! What the HTTP sinks share: credentials by reference, one request with its answer classified, addresses that can be
//! shown.
//!
//! A detail names the host and never the rest of an address, which may be a secret itself. No redirect is followed.
//! Metric: `authwatch_sink_requests_total`.

use std::fmt;
use std::time::Duration;

use reqwest::{RequestBuilder, Response, StatusCode, header};
use serde::Deserialize;
use url::{Host, Url};

use super::Remark;
use super::retry::{Failure, Reason};
use crate::http::{self, BodyError};
use crate::secret::{Secret, SecretRef, Secrets};
use crate::telemetry::metric::Metric;

/// The largest answer that is read; only an error's first words are of use.
const BODY: usize = 64 << 10;

/// Characters of the other side's own words that go into a detail.
const MESSAGE: usize = 200;

/// When a rate limit begins anew.
const RATE_LIMIT_RESET: header::HeaderName = header::HeaderName::from_static("x-ratelimit-reset");

/// How to sign in, by reference. The secrets are read for every request, so a new one is in use at once.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// User and password.
    Basic(Basic),
    /// A bearer token.
    Bearer(SecretRef),
}

/// User and password.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    /// The user's name.
    pub user: SecretRef,
    /// The password.
    pub password: SecretRef,
}

impl Auth {
    /// The references.
    pub(super) fn secrets(&mut self) -> Vec<&mut SecretRef> {
        match self {
            Self::Basic(Basic { user, password }) => vec![user, password],
            Self::Bearer(token) => vec![token],
        }
    }

    /// Signs a request.
    pub(super) async fn sign(
        &self,
        request: RequestBuilder,
        who: &str,
        secrets: &Secrets,
    ) -> Result<RequestBuilder, Failure> {
        match self {
            Self::Basic(Basic { user, password }) => {
                let user = read_secret(user, who, secrets).await?;
                let password = read_secret(password, who, secrets).await?;
                Ok(request.basic_auth(user.expose(), Some(password.expose())))
            }
            Self::Bearer(token) => Ok(request.bearer_auth(read_secret(token, who, secrets).await?.expose())),
        }
    }

    /// The other side refused the credentials: they are read anew at their next use.
    pub(super) fn refused(&self, secrets: &Secrets) {
        match self {
            Self::Basic(Basic { user, password }) => {
                secrets.doubt(user);
                secrets.doubt(password);
            }
            Self::Bearer(token) => secrets.doubt(token),
        }
    }
}

/// Reads a secret.
pub(super) async fn read_secret(secret: &SecretRef, who: &str, secrets: &Secrets) -> Result<Secret, Failure> {
    let failed = |error| Failure::fix(Reason::Secret, format!("cannot send to {who}: {error}"));
    secrets.current(secret).await.map_err(failed)
}

/// Why an address cannot be one of a sink.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("must be an http or https address without user or fragment")]
pub struct NoAddress;

/// Checks an address: http or https, with a host, without user and fragment.
pub(super) fn check_address(url: &Url) -> Result<(), NoAddress> {
    let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let is_http = matches!(url.scheme(), "http" | "https") && url.host().is_some();
    if is_http && is_plain { Ok(()) } else { Err(NoAddress) }
}

/// Whether a name fits a metric's label and a condition.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !name.is_empty() && name.len() <= 64 && name.bytes().all(fits)
}

/// The warning about credentials that everybody on the way can read; this machine is no way.
pub(super) fn in_the_clear(url: &Url) -> Option<Remark> {
    let is_here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    let text = "the credentials go over plain http, where everybody on the way can read them (use https)";
    (url.scheme() == "http" && !is_here).then(|| Remark { key: "auth", text: text.to_owned() })
}

/// The part of an address that may be shown.
pub(super) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// An answer, as far as it is of use.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    /// `Retry-After` in seconds.
    pub(super) wait: Option<Duration>,
    /// `X-RateLimit-Reset` in seconds; what it means is the other side's: a while, or a time.
    pub(super) reset: Option<Duration>,
    /// A page for people.
    pub(super) is_page: bool,
    /// The body; an error where it did not come whole.
    pub(super) body: Result<Vec<u8>, BodyError>,
}

impl Reply {
    async fn read(response: Response) -> Self {
        let status = response.status();
        let text = |name: header::HeaderName| response.headers().get(name)?.to_str().ok();
        let seconds = |name| text(name).and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
        let (wait, reset) = (seconds(header::RETRY_AFTER), seconds(RATE_LIMIT_RESET));
        let is_page = text(header::CONTENT_TYPE).is_some_and(|kind| kind.to_ascii_lowercase().contains("html"));
        let body = http::body(response, BODY).await;
        Self { status, wait, reset, is_page, body }
    }

    /// The other side's own words after a colon, shortened; nothing where they are a page or did not come whole.
    fn words(&self) -> String {
        let body = self.body.as_deref().unwrap_or_default();
        let text = if self.is_page { "".into() } else { String::from_utf8_lossy(body) };
        let words: String = text.trim().chars().filter(|c| !c.is_control()).take(MESSAGE).collect();
        if words.is_empty() { words } else { format!(": {words}") }
    }

    /// The same reply without its words: they can repeat the address that was asked.
    pub(super) fn without_words(mut self) -> Self {
        self.body = Ok(Vec::new());
        self
    }

    /// What a refusal means.
    pub(super) fn refused(&self, who: &dyn fmt::Display) -> Failure {
        let code = self.status.as_u16();
        let what = format!("{who} answered {code}{}", self.words());
        match code {
            300..=399 => Failure::fix(Reason::Redirected, format!("{what} (is `url` right? No redirect is followed)")),
            401 => Failure::fix(Reason::Unauthorized, format!("{what} (check the credentials)")),
            403 => Failure::fix(Reason::Forbidden, format!("{what} (are the credentials allowed to do this?)")),
            404 | 410 => Failure::fix(Reason::NotFound, format!("{what} (is `url` right?)")),
            405..=407 | 415 => Failure::fix(Reason::Invalid, format!("{what} (is `url` right?)")),
            408 => Failure::retry(Reason::Timeout, what).after(self.wait),
            425 => Failure::retry(Reason::ServerError, what).after(self.wait),
            429 => Failure::retry(Reason::RateLimited, format!("{who} asks for fewer requests (429)")).after(self.wait),
            400..=499 => Failure::give_up(Reason::Invalid, what),
            _ => Failure::retry(Reason::ServerError, what).after(self.wait),
        }
    }
}

/// Sends one request and has its answer judged; counts it by what it came to.
pub(super) async fn send<T>(
    sink: &str,
    who: &str,
    request: RequestBuilder,
    judge: impl FnOnce(Reply) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let answer = match request.send().await {
        Ok(response) => judge(Reply::read(response).await),
        Err(error) => Err(transport(who, &error)),
    };
    let result = answer.as_ref().map_or_else(|failure| failure.reason.as_str(), |_| "ok");
    Metric::SinkRequests.counter(&[sink, result]).increment(1);
    answer
}

/// A request that got no answer.
fn transport(who: &str, error: &reqwest::Error) -> Failure {
    if error.is_timeout() {
        Failure::retry(Reason::Timeout, format!("{who} did not answer in time"))
    } else if error.is_connect() || error.is_builder() {
        Failure::retry(Reason::Unreachable, format!("{who} cannot be reached (is `url` right?)"))
    } else {
        Failure::retry(Reason::ConnectionLost, format!("the connection to {who} broke"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::retry::Class;

    fn reply(code: u16, is_page: bool, body: &str) -> Reply {
        let status = StatusCode::from_u16(code).expect("a status");
        let wait = Some(Duration::from_secs(7));
        Reply { status, wait, reset: None, is_page, body: Ok(body.as_bytes().to_vec()) }
    }

    #[test]
    fn every_refusal_has_a_class_and_a_reason() {
        for (code, class, reason) in [
            (302, Class::FixConfiguration, Reason::Redirected),
            (400, Class::GiveUp, Reason::Invalid),
            (401, Class::FixConfiguration, Reason::Unauthorized),
            (403, Class::FixConfiguration, Reason::Forbidden),
            (404, Class::FixConfiguration, Reason::NotFound),
            (405, Class::FixConfiguration, Reason::Invalid),
            (408, Class::Retry, Reason::Timeout),
            (410, Class::FixConfiguration, Reason::NotFound),
            (413, Class::GiveUp, Reason::Invalid),
            (422, Class::GiveUp, Reason::Invalid),
            (425, Class::Retry, Reason::ServerError),
            (429, Class::Retry, Reason::RateLimited),
            (500, Class::Retry, Reason::ServerError),
            (503, Class::Retry, Reason::ServerError),
        ] {
            let failure = reply(code, false, "no").refused(&"hook");
            assert_eq!((failure.class, failure.reason), (class, reason), "{code}");
            let wait = (class == Class::Retry).then_some(Duration::from_secs(7));
            assert_eq!(failure.wait, wait, "{code}");
        }
    }

    #[test]
    fn the_other_sides_words_are_short_and_a_page_has_none() {
        let detail = |page, body: &str| reply(500, page, body).refused(&"hook").detail;
        assert_eq!(detail(false, "bad\nthing"), "hook answered 500: badthing");
        assert_eq!(detail(true, "<html>"), "hook answered 500");
        assert!(detail(false, &"x".repeat(5_000)).len() < 300);
    }

    #[test]
    fn credentials_over_plain_http_are_warned_of_beyond_this_machine() {
        for (url, warned) in [
            ("https://a.example", false),
            ("http://a.example", true),
            ("http://192.0.2.1:9093", true),
            ("http://127.0.0.1:9093", false),
            ("http://[::1]/", false),
            ("http://localhost/", false),
        ] {
            assert_eq!(in_the_clear(&url.parse().expect("an address")).is_some(), warned, "{url}");
        }
    }

    #[test]
    fn what_may_be_shown_of_an_address_is_its_host() {
        let url: Url = "https://hooks.example.com:8443/services/secret?key=secret".parse().expect("an address");
        assert_eq!(host(&url), "hooks.example.com:8443");
    }
}
