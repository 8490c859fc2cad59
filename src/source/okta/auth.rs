//! What lets a request to Okta's API pass: an API token, or an access token of a service app.
//!
//! [`Authorizer::authorize`] gives the headers of one request, anew for each: the secret behind them can have changed, and
//! a DPoP proof (RFC 9449) is good once. Whoever sends the request tells [`Authorizer::heard`] of every reply and, after
//! a 401, asks [`Authorizer::refused`] whether it is worth asking once more.
//!
//! A service app signs in with `private_key_jwt` at the org's own token endpoint (`POST /oauth2/v1/token`). The token
//! lives an hour and is replaced before that; while the endpoint fails, the old one is used to its end. Times in what is
//! signed are by the server's clock, as the last `Date` told it.
//!
//! **It refuses** to authorize a request to another origin than the org's, and access tokens that are not bound to the
//! key where `dpop` asks for that.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::config::{Auth, Config};
use super::request::same_origin;
use crate::event::Span;
use crate::secret::{Secret, SecretRef, Secrets};
use crate::{clock, duration, http};

mod config;
mod error;
mod key;
mod oauth;
mod token;

pub use self::config::{Oauth, Reads};
pub use self::error::AuthError;
pub use self::key::KeyError;
use self::oauth::App;

/// The header of a proof, and of what a server wants to find in the next one.
const DPOP: HeaderName = HeaderName::from_static("dpop");
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// Authorizes requests to one org; a clone shares token and nonce.
#[derive(Clone)]
pub struct Authorizer(Arc<Inner>);

struct Inner {
    home: Url,
    secrets: Secrets,
    way: Way,
    /// The server's clock minus the host's; zero until a reply had a `Date`.
    clock_ahead: Mutex<Span>,
}

enum Way {
    Ssws {
        reference: SecretRef,
        /// The one that was last sent.
        last: Mutex<Option<Secret>>,
    },
    App(Box<App>),
}

impl Authorizer {
    /// An authorizer for the org of this section and what `reads` it. Nothing is sent and no secret is read.
    ///
    /// # Errors
    /// Where the HTTP client cannot be built.
    pub fn new(config: &Config, reads: Reads, secrets: Secrets) -> Result<Self, reqwest::Error> {
        let client = http::client(duration::to_std(config.timeout))?;
        let way = match &config.auth {
            Auth::Ssws(reference) => Way::Ssws { reference: reference.clone(), last: Mutex::default() },
            Auth::Oauth(oauth) => Way::App(Box::new(App::new(oauth, config, reads, client))),
        };
        Ok(Self(Arc::new(Inner { home: config.url.clone(), secrets, way, clock_ahead: Mutex::default() })))
    }

    /// The headers that let one request pass. Only for a request that is sent at once, and once.
    ///
    /// # Errors
    /// Where the secret cannot be had, the token endpoint refuses, or `url` is of another origin.
    pub async fn authorize(&self, method: &Method, url: &Url) -> Result<HeaderMap, AuthError> {
        let Inner { home, secrets, way, .. } = &*self.0;
        if !same_origin(url, home) {
            return Err(AuthError::ForeignAddress);
        }
        match way {
            Way::Ssws { reference, last } => {
                let token = secrets.current(reference).await.map_err(AuthError::Secret)?;
                let value = sensitive("SSWS", token.expose())?;
                *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
                Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
            }
            Way::App(app) => app.authorize(method, url, secrets, self).await,
        }
    }

    /// Learns from the headers of any reply of the org: its clock, and what it wants to find in the next proof.
    pub fn heard(&self, headers: &HeaderMap) {
        self.learn_clock(headers);
        if let Way::App(app) = &self.0.way {
            app.heard(headers);
        }
    }

    /// The org answered 401 to these headers. Whether there are others to try.
    pub async fn refused(&self, used: &HeaderMap) -> bool {
        match &self.0.way {
            Way::Ssws { .. } => self.has_another_secret().await,
            Way::App(app) => {
                app.drop_token(used).await;
                true
            }
        }
    }

    /// Whether the secret behind the requests is another one than was last used. Asks its place, however often.
    pub async fn has_another_secret(&self) -> bool {
        let (reference, last) = match &self.0.way {
            Way::Ssws { reference, last } => (reference, last),
            Way::App(app) => (app.key_reference(), app.last_key()),
        };
        let last = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(last) = &last {
            self.0.secrets.refused(reference, last);
        }
        self.0.secrets.current(reference).await.is_ok_and(|secret| last != Some(secret))
    }

    /// Waits for someone to give another token or key, at most `length`; whatever was granted is asked for anew. Returns
    /// how long it waited.
    pub(super) async fn wait_for_another(&self, length: Duration, check_every: Duration) -> Duration {
        if let Way::App(app) = &self.0.way {
            app.forget_token().await;
        }
        let mut left = length;
        while !left.is_zero() {
            let step = left.min(check_every.max(Duration::from_millis(1)));
            tokio::time::sleep(step).await;
            left -= step;
            if self.has_another_secret().await {
                break;
            }
        }
        length - left
    }

    /// Whether a service app signs in, and not an administrator's token.
    pub fn is_app(&self) -> bool {
        matches!(self.0.way, Way::App(_))
    }

    fn learn_clock(&self, headers: &HeaderMap) {
        if let Some(date) = http::date(headers) {
            *self.0.clock_ahead.lock().unwrap_or_else(PoisonError::into_inner) = date - clock::now();
        }
    }

    /// Seconds since 1970 by the server's clock, as far as it is known.
    fn server_seconds(&self) -> i64 {
        let ahead = *self.0.clock_ahead.lock().unwrap_or_else(PoisonError::into_inner);
        (clock::now() + ahead).0.div_euclid(1_000)
    }
}

impl fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorizer").field("home", &self.0.home.as_str()).finish_non_exhaustive()
    }
}

fn sensitive(scheme: &str, token: &str) -> Result<HeaderValue, AuthError> {
    let mut value = HeaderValue::try_from(format!("{scheme} {token}")).map_err(|_| AuthError::MalformedSecret)?;
    value.set_sensitive(true);
    Ok(value)
}
