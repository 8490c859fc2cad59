//! The service app: one access token for all its requests, renewed before its end, and a proof for each request.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, Method};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::config::{Oauth, Reads};
use super::error::AuthError;
use super::key::{Key, KeyError, encode};
use super::token::{Endpoint, Granted, Refusal};
use super::{Authorizer, Config, DPOP, DPOP_NONCE, sensitive};
use crate::clock;
use crate::secret::{Secret, SecretRef, Secrets};

/// How long before its end a token is renewed; a tenth of its life where that is less.
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// The pause after a renewal that failed while the token still lives.
const RENEW_AGAIN: Duration = Duration::from_secs(30);
/// The longest life of a token that is believed.
const LONGEST_LIFE: u64 = 24 * 3_600;
/// The longest nonce that is taken up.
const LONGEST_NONCE: usize = 1_024;
/// From this difference on, a clock explains a refusal.
const CLOCKS_DIFFER: i64 = 30;
/// The ways to ask once more for one token: with a nonce, with a newer one, by the server's clock, with a newer key.
const TRIES: u32 = 4;

/// A service app at one org.
pub(super) struct App {
    oauth: Oauth,
    scope: &'static str,
    endpoint: Endpoint,
    /// The key that access tokens are bound to.
    proof: Mutex<Option<std::sync::Arc<Key>>>,
    /// Held while a token is asked for, so that one request serves all who wait.
    token: tokio::sync::Mutex<Option<Token>>,
    /// What the token endpoint wants in proofs.
    endpoint_nonce: Mutex<Option<HeaderValue>>,
    /// The same of the API, which asks for none today.
    api_nonce: Mutex<Option<HeaderValue>>,
    /// The key as it was last read.
    key: Mutex<Option<Secret>>,
}

struct Token {
    secret: Secret,
    renew: Instant,
    ends: Instant,
}

impl App {
    pub(super) fn new(oauth: &Oauth, config: &Config, reads: Reads, client: Client) -> Self {
        Self {
            oauth: oauth.clone(),
            scope: reads.scopes(),
            endpoint: Endpoint::new(client, &config.url),
            proof: Mutex::default(),
            token: tokio::sync::Mutex::default(),
            endpoint_nonce: Mutex::default(),
            api_nonce: Mutex::default(),
            key: Mutex::default(),
        }
    }

    pub(super) fn key_reference(&self) -> &SecretRef {
        &self.oauth.key
    }

    pub(super) fn last_key(&self) -> &Mutex<Option<Secret>> {
        &self.key
    }

    pub(super) fn heard(&self, headers: &HeaderMap) {
        take_up(&self.api_nonce, headers);
    }

    /// Drops the token that these headers carry, unless it was replaced since.
    pub(super) async fn drop_token(&self, used: &HeaderMap) {
        let mut held = self.token.lock().await;
        let is_it = |token: &Token| {
            let sent = used.get(AUTHORIZATION).map(HeaderValue::as_bytes);
            sent.is_some_and(|sent| sent.ends_with(token.secret.expose().as_bytes()))
        };
        if held.as_ref().is_some_and(is_it) {
            *held = None;
        }
    }

    pub(super) async fn forget_token(&self) {
        *self.token.lock().await = None;
    }

    pub(super) async fn authorize(
        &self,
        method: &Method,
        url: &Url,
        secrets: &Secrets,
        clock: &Authorizer,
    ) -> Result<HeaderMap, AuthError> {
        let token = self.token(secrets, clock).await?;
        let mut headers = HeaderMap::new();
        let scheme = if self.oauth.dpop { "DPoP" } else { "Bearer" };
        headers.insert(AUTHORIZATION, sensitive(scheme, token.expose())?);
        if self.oauth.dpop {
            let nonce = read(&self.api_nonce);
            headers.insert(DPOP, self.proof(method, url, Some(&token), nonce.as_ref(), clock.server_seconds())?);
        }
        Ok(headers)
    }

    /// The token; a new one before the end of the old, which serves to its end where none can be had.
    async fn token(&self, secrets: &Secrets, clock: &Authorizer) -> Result<Secret, AuthError> {
        let mut held = self.token.lock().await;
        let now = clock::monotonic();
        let Some(token) = held.as_mut().filter(|token| now < token.ends) else {
            return Ok(held.insert(self.ask(secrets, clock).await?).secret.clone());
        };
        if now >= token.renew {
            match self.ask(secrets, clock).await {
                Ok(new) => *token = new,
                Err(error) => {
                    tracing::warn!("the access token is not renewed yet: {error}");
                    token.renew = clock::monotonic() + RENEW_AGAIN;
                }
            }
        }
        Ok(token.secret.clone())
    }

    async fn ask(&self, secrets: &Secrets, clock: &Authorizer) -> Result<Token, AuthError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let secret = secrets.current(&self.oauth.key).await.map_err(AuthError::Secret)?;
            *self.key.lock().unwrap_or_else(PoisonError::into_inner) = Some(secret.clone());
            let (seconds, nonce) = (clock.server_seconds(), read(&self.endpoint_nonce));
            let assertion = self.assertion(&Key::read(secret.expose())?, seconds)?;
            let proof = if self.oauth.dpop {
                Some(self.proof(&Method::POST, self.endpoint.url(), None, nonce.as_ref(), seconds)?)
            } else {
                None
            };
            let asked = clock::monotonic();
            let (headers, answer) = self.endpoint.ask(&assertion, self.scope, proof).await;
            clock.learn_clock(&headers);
            let fresh_nonce = take_up(&self.endpoint_nonce, &headers);
            let refusal = match answer {
                Ok(granted) => return self.take(granted, asked),
                Err(refusal) => refusal,
            };
            let clock_was_wrong = (clock.server_seconds() - seconds).abs() > CLOCKS_DIFFER;
            let again = match &refusal {
                Refusal::Nonce => fresh_nonce,
                Refusal::Other(AuthError::Client(_)) => {
                    clock_was_wrong || tries == 1 && clock.has_another_secret().await
                }
                Refusal::Other(AuthError::Proof(_)) => clock_was_wrong || fresh_nonce,
                Refusal::Other(_) => false,
            };
            if !again || tries >= TRIES {
                return Err(refusal.into());
            }
        }
    }

    fn take(&self, granted: Granted, asked: Instant) -> Result<Token, AuthError> {
        if granted.is_bound != self.oauth.dpop {
            return Err(if granted.is_bound { AuthError::ProofRequired } else { AuthError::NotBound });
        }
        let life = Duration::from_secs(granted.seconds.clamp(1, LONGEST_LIFE));
        let (ends, renew) = (asked + life, asked + life - RENEW_BEFORE.min(life / 10));
        Ok(Token { secret: granted.token, renew, ends })
    }

    /// What the app signs in with (RFC 7523). The audience is the endpoint, and each has an id of its own.
    fn assertion(&self, key: &Key, seconds: i64) -> Result<Secret, KeyError> {
        let mut header = json!({ "typ": "JWT" });
        if let Some(id) = self.oauth.key_id.as_ref().or(key.id.as_ref()) {
            header["kid"] = id.as_str().into();
        }
        let client = &self.oauth.client_id;
        let claims = json!({
            "iss": client, "sub": client, "aud": self.endpoint.url().as_str(),
            "iat": seconds, "exp": seconds + 300, "jti": fresh_id(),
        });
        key.sign(header, &claims).map(Secret::new)
    }

    /// A proof for one request (RFC 9449, section 4.2).
    fn proof(
        &self,
        method: &Method,
        url: &Url,
        token: Option<&Secret>,
        nonce: Option<&HeaderValue>,
        seconds: i64,
    ) -> Result<HeaderValue, AuthError> {
        let key = self.proof_key()?;
        let mut bare = url.clone();
        bare.set_query(None);
        bare.set_fragment(None);
        let mut claims = json!({ "htm": method.as_str(), "htu": bare.as_str(), "iat": seconds, "jti": fresh_id() });
        if let Some(token) = token {
            claims["ath"] = encode(&Sha256::digest(token.expose().as_bytes())).into();
        }
        if let Some(nonce) = nonce.and_then(|nonce| nonce.to_str().ok()) {
            claims["nonce"] = nonce.into();
        }
        let header = json!({ "typ": "dpop+jwt", "jwk": key.public_jwk() });
        let proof = key.sign(header, &claims)?;
        let mut proof = HeaderValue::try_from(proof).map_err(|_| AuthError::MalformedSecret)?;
        proof.set_sensitive(true);
        Ok(proof)
    }

    fn proof_key(&self) -> Result<std::sync::Arc<Key>, KeyError> {
        let mut held = self.proof.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = &*held {
            return Ok(key.clone());
        }
        Ok(held.insert(std::sync::Arc::new(Key::generate()?)).clone())
    }
}

fn read(nonce: &Mutex<Option<HeaderValue>>) -> Option<HeaderValue> {
    nonce.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Takes up the nonce of a reply; whether it is another one. A server changes it now and then, with any reply.
fn take_up(held: &Mutex<Option<HeaderValue>>, headers: &HeaderMap) -> bool {
    let Some(nonce) = headers.get(DPOP_NONCE).filter(|nonce| nonce.len() <= LONGEST_NONCE) else { return false };
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
    held.replace(nonce.clone()).as_ref() != Some(nonce)
}

/// An id that was never used: 128 bits of chance.
fn fresh_id() -> String {
    encode(&rand::random::<[u8; 16]>())
}
