//! The only builder of HTTP clients, so that every call has a time-out, a user agent and no surprise redirect.

use std::time::Duration;

/// An HTTP client that follows no redirect and gives up after `timeout`.
///
/// # Errors
/// Where the TLS back end cannot be initialised.
pub fn client(timeout: Duration) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .user_agent(concat!("authwatch/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .build()
}
