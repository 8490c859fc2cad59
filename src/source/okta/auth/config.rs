//! The section `oauth` below `auth` of an `okta` source.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::secret::SecretRef;

/// What the System Log needs.
pub(super) const LOGS: &str = "okta.logs.read";

/// What policies and their people need too.
pub(super) const POLICIES: [&str; 3] = ["okta.policies.read", "okta.deviceAssurance.read", "okta.groups.read"];

/// A service app with a key of its own (`private_key_jwt`).
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oauth {
    /// The app's client id (`0oa…`); required.
    #[serde(deserialize_with = "client_id")]
    pub client_id: String,
    /// The app's private key, PEM (PKCS #8, PKCS #1, SEC 1) or JWK; RSA from 2048 bits (RS256) or P-256 (ES256); required.
    pub key: SecretRef,
    /// The `kid` of the key as Okta shows it; the `kid` in a JWK by default. A PEM has none.
    #[serde(default)]
    pub key_id: Option<String>,
    /// The scopes to ask for; `okta.logs.read` by default, and with `policies: true` those of policies, device
    /// assurances and groups. Each must be granted to the app.
    #[serde(default, deserialize_with = "scopes")]
    pub scopes: Option<Vec<String>>,
    /// Whether access tokens are bound to a key of this process (DPoP), so that a stolen one is of no use; `true` by
    /// default. `false` where the app's setting "Require DPoP header in token requests" is off.
    #[serde(default = "dpop")]
    pub dpop: bool,
}

impl Oauth {
    /// The scopes to ask for, where policies are read or not.
    pub fn scopes(&self, policies: bool) -> Vec<String> {
        let usual = || {
            let policies = POLICIES.iter().take(if policies { POLICIES.len() } else { 0 });
            std::iter::once(&LOGS).chain(policies).map(|scope| (*scope).to_owned()).collect()
        };
        self.scopes.clone().unwrap_or_else(usual)
    }
}

const fn dpop() -> bool {
    true
}

fn client_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let id = String::deserialize(deserializer)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !id.is_empty() && id.len() <= 128 && id.bytes().all(plain) {
        return Ok(id);
    }
    Err(D::Error::custom("a client id has 1 to 128 letters, digits, `-`, `_` and `.` (as `0oa1b2c3d4e5f6g7h8i9`)"))
}

fn scopes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let Some(scopes) = Option::<Vec<String>>::deserialize(deserializer)? else { return Ok(None) };
    // RFC 6749, section 3.3: what a scope is made of.
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    if scopes.iter().any(|scope| scope.is_empty() || !scope.bytes().all(plain)) {
        return Err(D::Error::custom("a scope is one word (as `okta.logs.read`)"));
    }
    if !scopes.iter().any(|scope| scope == LOGS) {
        return Err(D::Error::custom("`okta.logs.read` must be among the scopes"));
    }
    Ok(Some(scopes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(extra: &str) -> Result<Oauth, String> {
        let json = format!(r#"{{"client_id": "0oa1", "key": {{"file": "k"}}{extra}}}"#);
        serde_json::from_str(&json).map_err(|error| error.to_string())
    }

    #[test]
    fn the_scopes_are_the_fewest_that_do() {
        let oauth = read("").expect("valid");
        assert!(oauth.dpop);
        assert_eq!(oauth.scopes(false), ["okta.logs.read"]);
        let all = ["okta.logs.read", "okta.policies.read", "okta.deviceAssurance.read", "okta.groups.read"];
        assert_eq!(oauth.scopes(true), all);
        let own = read(r#", "scopes": ["okta.logs.read", "okta.policies.read"]"#).expect("valid");
        assert_eq!(own.scopes(true), all[..2]);
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        for (extra, message) in [
            (r#", "scopes": ["okta.users.read"]"#, "`okta.logs.read` must be among the scopes"),
            (r#", "scopes": ["okta.logs.read okta.users.read"]"#, "a scope is one word"),
            (r#", "scopes": []"#, "must be among the scopes"),
            (r#", "secret": 1"#, "unknown field `secret`"),
        ] {
            let error = read(extra).expect_err(extra);
            assert!(error.contains(message), "{extra}: {error}");
        }
        let error = serde_json::from_str::<Oauth>(r#"{"client_id": "a b", "key": {"env": "K"}}"#).expect_err("no id");
        assert!(error.to_string().contains("a client id has"), "{error}");
    }
}
