//! Signing in: user and password, an OAuth token of our own, or an API key.
//!
//! A token is asked for with `POST /oauth_token.do`, form-encoded as the instance wants it (JSON fails there), with the
//! grant `client_credentials`, and renewed before it ends. Whatever was refused is read or asked for anew once; asking
//! early may give the same token again, and then there is nothing new to try.

use std::time::{Duration, Instant};

use reqwest::{RequestBuilder, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;
use url::Url;
use url::form_urlencoded::Serializer;

use super::client::{Failed, body, message, transport};
use crate::act::retry::{Failure, Reason};
use crate::act::wire::Basic;
use crate::clock;
use crate::secret::{Secret, SecretRef, Secrets};
use crate::telemetry::metric::Metric;

/// How long a token lives where the instance does not say; its default.
const LIFETIME: u64 = 1_800;

/// The longest time that a token is used, whatever the instance says.
const LONGEST: u64 = 86_400;

/// The header of an API key. The query parameter of the same use is logged on the way and is not used.
const API_KEY: &str = "x-sn-apikey";

/// How to sign in. Secrets are by reference, and are read again when the instance refuses them.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// User and password.
    Basic(Basic),
    /// A token for client credentials.
    Oauth(Oauth),
    /// An API key; it acts as the user that it belongs to.
    ApiKey(SecretRef),
}

/// An OAuth client of the instance.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oauth {
    /// The client's id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretRef,
    /// Where tokens are given; default `oauth_token.do` of the instance.
    pub token_url: Option<Url>,
}

impl Auth {
    /// The references.
    pub(super) fn secrets(&mut self) -> Vec<&mut SecretRef> {
        match self {
            Self::Basic(Basic { user, password }) => vec![user, password],
            Self::Oauth(oauth) => vec![&mut oauth.client_secret],
            Self::ApiKey(key) => vec![key],
        }
    }

    /// What to look at when the instance says 401.
    pub(super) const fn hint(&self) -> &'static str {
        match self {
            Self::Basic(_) => "(check user and password)",
            Self::Oauth(_) => "(may the client's application user use the REST API?)",
            Self::ApiKey(_) => "(check the API key, its inbound authentication profile and its REST API access policy)",
        }
    }
}

/// What a request is signed with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Signed {
    Basic(Secret, Secret),
    Bearer(Secret),
    ApiKey(Secret),
}

impl Signed {
    pub(super) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Basic(user, password) => request.basic_auth(user.expose(), Some(password.expose())),
            Self::Bearer(token) => request.bearer_auth(token.expose()),
            Self::ApiKey(key) => request.header(API_KEY, key.expose()),
        }
    }
}

/// A token in use, until it ends or is refused.
struct Token {
    text: Secret,
    until: Instant,
}

/// Gives every request its signature.
pub(super) struct Signer {
    auth: Auth,
    secrets: Secrets,
    sink: String,
    token_url: Url,
    token: Option<Token>,
}

impl Signer {
    /// For an instance. Nothing is read and nothing is sent.
    pub(super) fn new(auth: Auth, instance: &Url, secrets: Secrets, sink: String) -> Self {
        let mut token_url = instance.clone();
        token_url.set_path(&format!("{}/oauth_token.do", instance.path().trim_end_matches('/')));
        if let Auth::Oauth(Oauth { token_url: Some(other), .. }) = &auth {
            token_url = other.clone();
        }
        Self { auth, secrets, sink, token_url, token: None }
    }

    pub(super) fn hint(&self) -> &'static str {
        self.auth.hint()
    }

    /// What was used is refused: it is read or asked for anew.
    pub(super) fn forget(&mut self) {
        self.token = None;
        match &self.auth {
            Auth::Basic(Basic { user, password }) => {
                self.secrets.doubt(user);
                self.secrets.doubt(password);
            }
            Auth::Oauth(oauth) => self.secrets.doubt(&oauth.client_secret),
            Auth::ApiKey(key) => self.secrets.doubt(key),
        }
    }

    /// What to sign with now.
    pub(super) async fn signed(&mut self, http: &reqwest::Client) -> Result<Signed, Failed> {
        match &self.auth {
            Auth::Basic(Basic { user, password }) => {
                Ok(Signed::Basic(self.read(user).await?, self.read(password).await?))
            }
            Auth::ApiKey(key) => Ok(Signed::ApiKey(self.read(key).await?)),
            Auth::Oauth(oauth) => {
                if let Some(token) = self.token.as_ref().filter(|token| clock::monotonic() < token.until) {
                    return Ok(Signed::Bearer(token.text.clone()));
                }
                let token = self.ask(http, oauth).await?;
                let text = token.text.clone();
                self.token = Some(token);
                Ok(Signed::Bearer(text))
            }
        }
    }

    async fn read(&self, secret: &SecretRef) -> Result<Secret, Failed> {
        self.secrets.current(secret).await.map_err(|error| {
            Failed::not_done(Failure::fix(Reason::Secret, format!("cannot sign in to ServiceNow: {error}")))
        })
    }

    /// Asks for a token; counted as a request.
    async fn ask(&self, http: &reqwest::Client, oauth: &Oauth) -> Result<Token, Failed> {
        let secret = self.read(&oauth.client_secret).await?;
        let form = Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", &oauth.client_id)
            .append_pair("client_secret", secret.expose())
            .finish();
        let asked = clock::monotonic();
        let request = http.post(self.token_url.clone()).header(header::ACCEPT, "application/json");
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        let answer = match request.send().await {
            Ok(response) => {
                let status = response.status();
                let wait = response.headers().get(header::RETRY_AFTER).and_then(|wait| wait.to_str().ok());
                let wait = wait.and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
                let body = body(response).await;
                read(status, wait, body)
            }
            Err(error) => Err(transport(&error).failure),
        };
        let result = answer.as_ref().map_or_else(|failure| failure.reason.as_str(), |_| "ok");
        Metric::SinkRequests.counter(&[&self.sink, result]).increment(1);
        // A request that has no token yet was not even sent.
        let (text, lifetime) = answer.map_err(Failed::not_done)?;
        // Renewed while a tenth of its life is left, so that no request meets its end.
        Ok(Token { text, until: asked + Duration::from_secs(lifetime.min(LONGEST)) * 9 / 10 })
    }
}

/// The token and its lifetime in seconds.
fn read(status: StatusCode, wait: Option<Duration>, body: Result<Vec<u8>, Failure>) -> Result<(Secret, u64), Failure> {
    let what = format!("ServiceNow answered {} to the request for a token", status.as_u16());
    if !status.is_success() {
        let words = body.as_deref().ok().and_then(message).unwrap_or_default();
        let what = format!("{what}{words}");
        return Err(match status.as_u16() {
            429 => Failure::retry(Reason::RateLimited, what).after(wait),
            408 => Failure::retry(Reason::Timeout, what).after(wait),
            300..=399 | 404 => Failure::fix(Reason::NotFound, format!("{what} (is `token_url` right?)")),
            400..=499 => {
                let fix = "(check `client_id` and `client_secret`; does the instance allow the client credentials \
                           grant, and has the client an application user?)";
                Failure::fix(Reason::Unauthorized, format!("{what} {fix}"))
            }
            _ => Failure::retry(Reason::ServerError, what).after(wait),
        });
    }
    let no_token = || Failure::retry(Reason::BadBody, format!("{what}, without a token"));
    let body: Value = serde_json::from_slice(&body?).map_err(|_| no_token())?;
    let token = body.get("access_token").and_then(Value::as_str).filter(|token| !token.is_empty());
    let lifetime = body.get("expires_in").and_then(|value| match value {
        Value::Number(seconds) => seconds.as_u64(),
        Value::String(seconds) => seconds.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    });
    token.map(|token| (Secret::new(token), lifetime.unwrap_or(LIFETIME))).ok_or_else(no_token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::retry::Class;

    #[track_caller]
    fn check(status: u16, body: &str, expect: Result<u64, (Class, Reason)>) {
        let status = StatusCode::from_u16(status).expect("a status");
        let got = read(status, None, Ok(body.as_bytes().to_vec()));
        let got = got.map(|(_, lifetime)| lifetime).map_err(|failure| (failure.class, failure.reason));
        assert_eq!(got, expect, "{status} {body}");
    }

    #[test]
    fn every_answer_to_the_request_for_a_token_has_a_meaning() {
        check(200, r#"{"access_token":"t","expires_in":60}"#, Ok(60));
        check(200, r#"{"access_token":"t","expires_in":"60"}"#, Ok(60));
        check(200, r#"{"access_token":"t"}"#, Ok(LIFETIME));
        check(200, r#"{"access_token":""}"#, Err((Class::Retry, Reason::BadBody)));
        check(200, "<html>", Err((Class::Retry, Reason::BadBody)));
        check(401, r#"{"error":"access_denied"}"#, Err((Class::FixConfiguration, Reason::Unauthorized)));
        check(400, "", Err((Class::FixConfiguration, Reason::Unauthorized)));
        check(404, "", Err((Class::FixConfiguration, Reason::NotFound)));
        check(429, "", Err((Class::Retry, Reason::RateLimited)));
        check(503, "", Err((Class::Retry, Reason::ServerError)));
    }
}
