//! The token of a vault: had by a login, renewed at two thirds of its time, and replaced where it no longer grows.

use std::fmt;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::client::{Client, Reply};
use super::{Auth, VaultError};
use crate::event::Span;
use crate::secret::{Lookup, Secret, SecretError, SecretRef};
use crate::telemetry::preflight::Verdict;
use crate::{clock, duration};

/// The pause after a renewal that failed while the token still lives.
const RENEW_AGAIN: Duration = Duration::from_secs(10);

/// The login and its token; asked by one reader at a time.
pub(super) struct Session {
    auth: Auth,
    lookup: Lookup,
    token: Mutex<Option<Token>>,
}

struct Token {
    secret: Secret,
    /// The time that was granted first; what a renewal asks for.
    lease: Duration,
    renewable: bool,
    /// When to renew or to log in again; `None` for a token that lives for ever.
    renew: Option<Instant>,
    ends: Option<Instant>,
}

/// How long a token lives.
pub(super) struct Lease {
    left: Duration,
    grows: bool,
    /// Another one can be had at any time.
    by_login: bool,
}

impl Lease {
    /// A token of the configuration that ends and cannot be renewed takes every secret with it.
    pub(super) fn verdict(&self) -> Verdict {
        if self.left.is_zero() || self.grows || self.by_login { Verdict::Ok } else { Verdict::Warning }
    }
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.left.is_zero() {
            return f.write_str("the token does not end");
        }
        let left = duration::format(Span::seconds(i64::try_from(self.left.as_secs()).unwrap_or(i64::MAX / 1_000)));
        match (self.by_login, self.grows) {
            (true, _) => write!(f, "the token lives {left} and is replaced before"),
            (false, true) => write!(f, "the token lives {left} and is renewed before"),
            (false, false) => {
                write!(f, "the token ends in {left} and cannot be renewed (use AppRole, or put another in its place)")
            }
        }
    }
}

impl Token {
    fn new(secret: Secret, lease: Duration, renewable: bool) -> Self {
        let mut token = Self { secret, lease, renewable, renew: None, ends: None };
        token.lives(lease);
        token
    }

    fn lives(&mut self, lease: Duration) {
        if lease.is_zero() {
            return;
        }
        let now = clock::monotonic();
        // A login takes as long as a renewal: what cannot be renewed may wait longer.
        self.renew = Some(now + lease.mul_f64(if self.renewable { 2.0 / 3.0 } else { 0.85 }));
        self.ends = Some(now + lease);
    }

    fn is_over(&self, now: Instant) -> bool {
        self.ends.is_some_and(|ends| now >= ends)
    }
}

impl Session {
    pub(super) fn new(auth: Auth, lookup: Lookup) -> Self {
        Self { auth, lookup, token: Mutex::default() }
    }

    /// A token that should be good; logs in where there is none.
    pub(super) async fn token(&self, client: &Client) -> Result<Secret, VaultError> {
        let mut held = self.token.lock().await;
        if let Auth::Token(reference) = &self.auth {
            self.follow(reference, &mut held, client).await?;
        }
        let now = clock::monotonic();
        let Some(token) = held.as_mut().filter(|token| !token.is_over(now)) else {
            return Ok(held.insert(self.log_in(client).await?).secret.clone());
        };
        if token.renew.is_none_or(|renew| now < renew) {
            return Ok(token.secret.clone());
        }
        let grew = token.renewable && renew(token, client).await;
        if grew || matches!(self.auth, Auth::Token(_)) {
            return Ok(token.secret.clone());
        }
        match self.log_in(client).await {
            Ok(new) => *token = new,
            Err(error) => {
                tracing::warn!("logging in to the vault again: {error}");
                token.renew = Some(now + RENEW_AGAIN);
            }
        }
        Ok(token.secret.clone())
    }

    /// The vault refused this token.
    pub(super) async fn refused(&self, secret: &Secret) {
        let mut held = self.token.lock().await;
        if held.as_ref().is_some_and(|token| token.secret == *secret) {
            *held = None;
        }
    }

    /// Whether a token that was just refused is one that the vault knows.
    pub(super) async fn is_known(&self, client: &Client, token: &Secret) -> bool {
        // After a login there is no doubt.
        !matches!(self.auth, Auth::Token(_)) || look_up(token, client).await.is_ok_and(|reply| reply.status == 200)
    }

    /// How long a token lives, where the vault says so.
    pub(super) async fn lease(&self, client: &Client, token: &Secret) -> Option<Lease> {
        let reply = look_up(token, client).await.ok().filter(|reply| reply.status == 200)?;
        let data = reply.body.get("data")?;
        let left = Duration::from_secs(data.get("ttl").and_then(Value::as_u64)?);
        let grows = data.get("renewable").and_then(Value::as_bool).unwrap_or(false);
        Some(Lease { left, grows, by_login: !matches!(self.auth, Auth::Token(_)) })
    }

    /// A token of the configuration: another one in its place is taken up. While it cannot be read, the old one stays.
    async fn follow(&self, reference: &SecretRef, held: &mut Option<Token>, client: &Client) -> Result<(), VaultError> {
        let secret = match self.credential(reference).await {
            Ok(secret) => secret,
            Err(_) if held.is_some() => return Ok(()),
            Err(error) => return Err(error),
        };
        if held.as_ref().is_some_and(|token| token.secret == secret) {
            return Ok(());
        }
        let reply = look_up(&secret, client).await?;
        let data = reply.body.get("data").filter(|_| reply.status == 200);
        // A policy may forbid the look-up to a good token: then nothing is known of its time.
        let lease = data.and_then(|data| data.get("ttl")).and_then(Value::as_u64).unwrap_or(0);
        let renewable = data.and_then(|data| data.get("renewable")).and_then(Value::as_bool).unwrap_or(false);
        match reply.status {
            200 | 403 => {}
            _ => return Err(client.explain(&reply).await),
        }
        *held = Some(Token::new(secret, Duration::from_secs(lease), renewable));
        Ok(())
    }

    async fn log_in(&self, client: &Client) -> Result<Token, VaultError> {
        let (mount, body, hint) = match &self.auth {
            // Its time is over, or it was refused and is looked up anew.
            Auth::Token(_) => return Err(VaultError::TokenRefused),
            Auth::Approle(role) => {
                let secret_id = self.credential(&role.secret_id).await?;
                let body = json!({ "role_id": role.role_id, "secret_id": secret_id.expose() });
                (&role.mount, body, "check `role_id`, `mount`, and whether the secret id is expired or used up")
            }
            Auth::Kubernetes(role) => {
                let jwt = self.credential(&SecretRef::File(role.jwt_file.clone())).await?;
                let body = json!({ "role": role.role, "jwt": jwt.expose() });
                (
                    &role.mount,
                    body,
                    "check `role`, `mount`, and the service account and audience that the role is bound to",
                )
            }
        };
        let reply = client.call(Method::POST, &format!("auth/{mount}/login"), None, Some(&body)).await?;
        match reply.status {
            200 => granted(&reply).ok_or(VaultError::Malformed),
            status @ (400 | 403 | 404) => Err(VaultError::Login { mount: mount.clone(), status, hint }),
            _ => Err(client.explain(&reply).await),
        }
    }

    /// Read in a thread that may block.
    async fn credential(&self, reference: &SecretRef) -> Result<Secret, VaultError> {
        let (lookup, owned) = (self.lookup.clone(), reference.clone());
        let read = tokio::task::spawn_blocking(move || owned.resolve(&*lookup)).await;
        let read = read.unwrap_or_else(|_| Err(SecretError::Slow(reference.to_string())));
        read.map_err(|error| VaultError::Credential(Box::new(error)))
    }
}

/// Renews a token; whether it has its time again. One that grows no more has come near its last hour.
async fn renew(token: &mut Token, client: &Client) -> bool {
    let asked = token.lease.as_secs();
    let body = json!({ "increment": format!("{asked}s") });
    let reply = client.call(Method::POST, "auth/token/renew-self", Some(&token.secret), Some(&body)).await;
    let lease = reply.ok().filter(|reply| reply.status == 200).and_then(|reply| granted(&reply)).map(|new| new.lease);
    let Some(lease) = lease.filter(|lease| !lease.is_zero()) else {
        token.renew = Some(clock::monotonic() + RENEW_AGAIN);
        return false;
    };
    token.lives(lease);
    lease.as_secs() * 10 >= asked * 9
}

async fn look_up(token: &Secret, client: &Client) -> Result<Reply, VaultError> {
    client.call(Method::GET, "auth/token/lookup-self", Some(token), None).await
}

fn granted(reply: &Reply) -> Option<Token> {
    let auth = reply.body.get("auth")?;
    let secret = auth.get("client_token")?.as_str().filter(|token| !token.is_empty())?;
    let lease = auth.get("lease_duration")?.as_u64()?;
    let renewable = auth.get("renewable").and_then(Value::as_bool).unwrap_or(false);
    Some(Token::new(Secret::new(secret), Duration::from_secs(lease), renewable))
}
