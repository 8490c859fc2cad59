//! One request to the token endpoint, and what its answer means.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use url::{Url, form_urlencoded};

use super::DPOP;
use super::error::{AuthError, client_reason, proof_reason};
use crate::http::{self, BodyError};
use crate::secret::Secret;

/// The longest answer that is read.
const BODY: usize = 256 << 10;

/// Where an org grants tokens. Only the org's own authorization server knows the scopes of its API.
pub(super) struct Endpoint {
    client: Client,
    url: Url,
}

/// A token.
pub(super) struct Granted {
    pub(super) token: Secret,
    pub(super) seconds: u64,
    /// Whether it is bound to the key of the proof.
    pub(super) is_bound: bool,
}

/// No token.
pub(super) enum Refusal {
    /// The proof needs the nonce that came with this answer.
    Nonce,
    Other(AuthError),
}

impl From<AuthError> for Refusal {
    fn from(error: AuthError) -> Self {
        Self::Other(error)
    }
}

impl From<Refusal> for AuthError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Nonce => Self::Proof("it asks for a nonce again and again"),
            Refusal::Other(error) => error,
        }
    }
}

#[derive(Deserialize)]
struct Success {
    access_token: String,
    token_type: String,
    expires_in: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Failure {
    error: String,
    error_description: String,
}

impl Endpoint {
    pub(super) fn new(client: Client, org: &Url) -> Self {
        let mut url = org.clone();
        let path = format!("{}/oauth2/v1/token", org.path().trim_end_matches('/'));
        url.set_path(&path);
        Self { client, url }
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Asks for a token. The headers come back with a refusal too, and are empty without a reply.
    pub(super) async fn ask(
        &self,
        assertion: &Secret,
        scope: &str,
        proof: Option<HeaderValue>,
    ) -> (HeaderMap, Result<Granted, Refusal>) {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("scope", scope)
            .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            .append_pair("client_assertion", assertion.expose())
            .finish();
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json");
        if let Some(proof) = proof {
            request = request.header(DPOP, proof);
        }
        let reply = match request.body(form).send().await {
            Ok(reply) => reply,
            Err(error) => return (HeaderMap::new(), Err(transport(&error).into())),
        };
        let (status, headers) = (reply.status(), reply.headers().clone());
        let answer = match http::body(reply, BODY).await {
            Ok(body) if status.is_success() => granted(&body).map_err(Refusal::from),
            Ok(body) => Err(refusal(status, &headers, &body, scope)),
            Err(BodyError::TooLong(_)) => Err(AuthError::Malformed.into()),
            Err(BodyError::Broken(error)) => Err(transport(&error).into()),
        };
        (headers, answer)
    }
}

fn granted(body: &[u8]) -> Result<Granted, AuthError> {
    let Success { access_token, token_type, expires_in } =
        serde_json::from_slice(body).map_err(|_| AuthError::Malformed)?;
    let is_bound = match token_type.to_ascii_lowercase().as_str() {
        "dpop" => true,
        "bearer" => false,
        _ => return Err(AuthError::Malformed),
    };
    Ok(Granted { token: Secret::new(access_token), seconds: expires_in, is_bound })
}

fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8], scope: &str) -> Refusal {
    let Failure { error, error_description } = serde_json::from_slice(body).unwrap_or_default();
    let other = match (error.as_str(), status.as_u16()) {
        ("use_dpop_nonce", _) => return Refusal::Nonce,
        ("invalid_client", _) => AuthError::Client(client_reason(&error_description)),
        ("invalid_dpop_proof", _) => AuthError::Proof(proof_reason(&error_description)),
        ("invalid_scope", _) => AuthError::Scope(scope.to_owned()),
        ("access_denied", _) => AuthError::Denied,
        ("unauthorized_client" | "unsupported_grant_type", _) => AuthError::WrongApp,
        ("invalid_request", _) if error_description.to_ascii_lowercase().contains("dpop") => AuthError::ProofRequired,
        (_, 429) => AuthError::RateLimited(wait(headers)),
        (_, 300..=399) => AuthError::Redirected,
        (_, 404) => AuthError::NoEndpoint,
        (_, code @ 500..=599) => AuthError::Server(code),
        (_, code) => AuthError::Refused(code),
    };
    Refusal::Other(other)
}

/// How long a 429 asks to wait; zero where it does not say.
fn wait(headers: &HeaderMap) -> Duration {
    let rate = super::super::budget::RateHeaders::read(headers);
    rate.wait_asked(http::date(headers).unwrap_or_else(crate::clock::now))
}

fn transport(error: &reqwest::Error) -> AuthError {
    if error.is_timeout() {
        AuthError::TimedOut
    } else if error.is_connect() {
        AuthError::Unreachable(http::root_cause(error))
    } else {
        AuthError::BrokenOff
    }
}
