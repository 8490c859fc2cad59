//! The only builder of HTTP clients, so that every call has a time-out, a user agent and no surprise redirect; and the
//! few things that every caller needs of a reply: its `Date`, and its body up to a bound.

use std::error::Error as StdError;
use std::time::Duration;

use chrono::DateTime;
use reqwest::header::{DATE, HeaderMap};
use thiserror::Error;

use crate::event::Timestamp;

/// An HTTP client that follows no redirect and gives up after `timeout`.
///
/// # Errors
/// Where the TLS back end cannot be initialised.
pub fn client(timeout: Duration) -> Result<reqwest::Client, reqwest::Error> {
    client_that_trusts(timeout, None)
}

/// The same client, which also trusts the certificates in `pem`.
///
/// # Errors
/// Where the TLS back end cannot be initialised or the text holds no certificate.
pub fn client_that_trusts(timeout: Duration, pem: Option<&[u8]>) -> Result<reqwest::Client, reqwest::Error> {
    let certificates = pem.map(reqwest::Certificate::from_pem_bundle).transpose()?.unwrap_or_default();
    reqwest::Client::builder()
        .tls_certs_merge(certificates)
        .user_agent(concat!("authwatch/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

/// The server's clock, from the `Date` header (RFC 9110, section 6.6.1); `None` where it is absent or no time.
pub fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(DATE)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(text).ok().map(|time| Timestamp(time.timestamp_millis()))
}

/// The innermost cause, such as `Connection refused (os error 111)`: it names no address that could vary.
pub fn root_cause(error: &dyn StdError) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Why a body could not be had whole.
#[derive(Debug, Error)]
pub enum BodyError {
    /// It is longer than the bound, counted after decompression.
    #[error("the reply is longer than {0} bytes")]
    TooLong(usize),
    /// The transfer failed: a reset, a time-out, broken compression.
    #[error("the reply broke off")]
    Broken(#[source] reqwest::Error),
}

/// Reads a body of at most `limit` bytes after decompression; never holds more than that and one chunk.
///
/// # Errors
/// Where it is longer, or the transfer fails.
pub async fn body(mut reply: reqwest::Response, limit: usize) -> Result<Vec<u8>, BodyError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = reply.chunk().await.map_err(|error| BodyError::Broken(error.without_url()))? {
        if bytes.len() + chunk.len() > limit {
            return Err(BodyError::TooLong(limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &'static str, expect: Option<&str>) {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, value.parse().expect("a header value"));
        assert_eq!(date(&headers).map(|time| time.to_string()).as_deref(), expect, "{value}");
    }

    #[test]
    fn the_date_header_is_the_servers_clock() {
        check("Tue, 28 Jul 2026 08:12:31 GMT", Some("2026-07-28T08:12:31.000Z"));
        check("Tue, 28 Jul 2026 08:12:31 +0200", Some("2026-07-28T06:12:31.000Z"));
        check("yesterday", None);
        assert_eq!(date(&HeaderMap::new()), None);
    }
}
