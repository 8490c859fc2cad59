//! The section `oauth` below `auth` of an `okta` source.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::secret::SecretRef;

/// What is read with a grant. Each has a grant of its own, so that a scope that is missing for one is no trouble of the
/// others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reads {
    /// The System Log.
    Log,
    /// Policies, their rules and device assurance policies.
    Policies,
    /// The people of groups.
    Groups,
}

impl Reads {
    /// The scopes that it needs and no more, as one text; each must be granted to the app.
    pub const fn scopes(self) -> &'static str {
        match self {
            Self::Log => "okta.logs.read",
            Self::Policies => "okta.policies.read okta.deviceAssurance.read",
            Self::Groups => "okta.groups.read",
        }
    }
}

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
    /// Whether access tokens are bound to a key of this process (DPoP), so that a stolen one is of no use; `true` by
    /// default. `false` where the app's setting "Require DPoP header in token requests" is off.
    #[serde(default = "dpop")]
    pub dpop: bool,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(extra: &str) -> Result<Oauth, String> {
        let json = format!(r#"{{"client_id": "0oa1", "key": {{"file": "k"}}{extra}}}"#);
        serde_json::from_str(&json).map_err(|error| error.to_string())
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        for (extra, message) in [
            (r#", "scopes": ["okta.users.read"]"#, "unknown field `scopes`"),
            (r#", "secret": 1"#, "unknown field `secret`"),
        ] {
            let error = read(extra).expect_err(extra);
            assert!(error.contains(message), "{extra}: {error}");
        }
        assert!(read("").expect("valid").dpop);
        let error = serde_json::from_str::<Oauth>(r#"{"client_id": "a b", "key": {"env": "K"}}"#).expect_err("no id");
        assert!(error.to_string().contains("a client id has"), "{error}");
    }
}
