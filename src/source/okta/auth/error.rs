//! Why a request could not be authorized, as a closed list. Shown to people as it stands: no token, no key, nothing of
//! the server's own words.

use std::time::Duration;

use thiserror::Error;

use super::key::KeyError;
use crate::secret::SecretError;

/// Why there is no authorization.
#[derive(Clone, Debug, Error)]
pub enum AuthError {
    /// The API token or the key cannot be had.
    #[error("{0}")]
    Secret(#[source] SecretError),
    /// The API token has a character that no header can carry.
    #[error("the secret holds a line break or another control character (store the bare token)")]
    MalformedSecret,
    /// The request would go elsewhere than to the org.
    #[error("the address is not of the org")]
    ForeignAddress,
    /// The key is none that can sign.
    #[error("the key of the service app is unusable: {0}")]
    Key(#[from] KeyError),
    /// `invalid_client`.
    #[error("Okta refused the service app: {0}")]
    Client(&'static str),
    /// `invalid_scope`.
    #[error(
        "Okta refused the scopes `{0}` (a super administrator grants each under Applications, the app, Okta API Scopes)"
    )]
    Scope(String),
    /// `access_denied`.
    #[error(
        "Okta denied access to the service app (a super administrator assigns it an admin role, such as Read-only Administrator, and grants its scopes)"
    )]
    Denied,
    /// `unauthorized_client`, `unsupported_grant_type`.
    #[error(
        "Okta does not let this app ask for tokens of its own (make one of the kind \"API Services\" with a public key)"
    )]
    WrongApp,
    /// `invalid_dpop_proof`.
    #[error("Okta refused the DPoP proof: {0}")]
    Proof(&'static str),
    /// `invalid_request` for want of a proof.
    #[error("the service app requires DPoP (set `dpop: true`)")]
    ProofRequired,
    /// A bearer token although a proof was sent.
    #[error(
        "Okta gave an access token that is not bound to our key (set \"Require DPoP\" at the app, or `dpop: false`)"
    )]
    NotBound,
    /// `invalid_request` and any other code.
    #[error("Okta refused the token request with status {0} (check `url` and `client_id`)")]
    Refused(u16),
    /// 404: there is no such endpoint.
    #[error("there is no token endpoint (set `url` to the org's own address, `https://acme.okta.com`)")]
    NoEndpoint,
    /// A redirect.
    #[error("the token endpoint redirects (set `url` to the org's own address)")]
    Redirected,
    /// 429.
    #[error("the rate limit of Okta's token endpoint is reached")]
    RateLimited(Duration),
    /// 5xx.
    #[error("Okta's token endpoint failed with status {0}")]
    Server(u16),
    /// No whole reply in time.
    #[error("no whole reply of Okta's token endpoint within the time-out")]
    TimedOut,
    /// No connection, with the innermost cause.
    #[error("Okta's token endpoint cannot be reached: {0} (check name resolution, network, proxy and certificates)")]
    Unreachable(String),
    /// The connection broke.
    #[error("the reply of Okta's token endpoint broke off")]
    BrokenOff,
    /// No token in a success.
    #[error("the reply of Okta's token endpoint holds no token (check `url` and any proxy)")]
    Malformed,
}

impl AuthError {
    /// The label in `authwatch_source_requests_total`.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Secret(_) | Self::MalformedSecret | Self::Key(_) => "no_token",
            Self::ForeignAddress => "foreign_link",
            Self::Client(_) | Self::WrongApp | Self::Proof(_) | Self::ProofRequired | Self::NotBound => "token_refused",
            Self::Scope(_) | Self::Denied => "forbidden",
            Self::Refused(_) => "bad_request",
            Self::NoEndpoint => "unexpected_status",
            Self::Redirected => "redirected",
            Self::RateLimited(_) => "rate_limited",
            Self::Server(_) => "server_error",
            Self::TimedOut => "timed_out",
            Self::Unreachable(_) => "unreachable",
            Self::BrokenOff => "broken_off",
            Self::Malformed => "not_json",
        }
    }

    /// Whether it can pass without anybody's help.
    pub fn passes(&self) -> bool {
        match self {
            Self::RateLimited(_)
            | Self::Server(_)
            | Self::TimedOut
            | Self::Unreachable(_)
            | Self::BrokenOff
            | Self::Malformed => true,
            Self::Secret(_)
            | Self::MalformedSecret
            | Self::ForeignAddress
            | Self::Key(_)
            | Self::Client(_)
            | Self::Scope(_)
            | Self::Denied
            | Self::WrongApp
            | Self::Proof(_)
            | Self::ProofRequired
            | Self::NotBound
            | Self::Refused(_)
            | Self::NoEndpoint
            | Self::Redirected => false,
        }
    }
}

/// What Okta does not like of a client assertion, by the words of its description.
pub(super) fn client_reason(description: &str) -> &'static str {
    first_that_fits(
        description,
        &[
            (
                &["already used", "already been used", "jti"],
                "the assertion was used before (do two programs share the key?)",
            ),
            (&["signature"], "the signature does not fit (is the public half of this very key registered at the app?)"),
            (
                &["expir", "exp ", "in the future", "iat", "too far"],
                "the time of the assertion does not fit (check the host's clock)",
            ),
            (&["audience", "aud "], "the audience does not fit (set `url` to the org's own address, without `-admin`)"),
            (
                &["kid", "jwks", "public key", "no key"],
                "it knows no such key (check `key_id` and that the key is active at the app)",
            ),
            (&["algorithm", "alg"], "it does not take the key's algorithm (use RSA or P-256)"),
            (
                &["issuer", "subject", "client_id", "client id", "inactive"],
                "it knows no such app (check `client_id` and that the app is active)",
            ),
            (
                &["auth method", "authentication method", "client_secret"],
                "the app signs in another way (set \"Public key / Private key\" at the app)",
            ),
        ],
        "check `client_id`, `key`, `key_id` and the host's clock",
    )
}

/// What Okta does not like of a proof.
pub(super) fn proof_reason(description: &str) -> &'static str {
    first_that_fits(
        description,
        &[
            (&["already", "jti"], "it was used before"),
            (&["iat", "expired", "older", "future", "time"], "its time does not fit (check the host's clock)"),
            (&["htu", "htm", "uri", "method"], "it is for another address (set `url` to the org's own address)"),
            (&["ath", "access token"], "it is for another access token"),
            (&["signature", "key", "jwk"], "its key or signature does not fit"),
            (
                &["header", "missing", "multiple"],
                "it did not arrive whole (does a proxy drop or double the header `DPoP`?)",
            ),
        ],
        "no reason that is known",
    )
}

fn first_that_fits(description: &str, reasons: &[(&[&str], &'static str)], otherwise: &'static str) -> &'static str {
    let description = description.to_ascii_lowercase();
    let fits = |words: &[&str]| words.iter().any(|word| description.contains(word));
    reasons.iter().find(|(words, _)| fits(words)).map_or(otherwise, |(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(description: &str, expect: &str) {
        assert!(client_reason(description).contains(expect), "{description}: {}", client_reason(description));
    }

    #[test]
    fn the_reasons_of_invalid_client_are_told_apart() {
        check("The client_assertion token is expired.", "host's clock");
        check("The issued at (iat) claim is in the future.", "host's clock");
        check("The client_assertion signature is invalid.", "public half of this very key");
        check("The audience claim for client_assertion must be the endpoint invoked.", "without `-admin`");
        check("The client_assertion JWT kid is invalid.", "`key_id`");
        check("The client_assertion token was already used.", "two programs");
        check("Invalid value for 'client_id' parameter.", "`client_id`");
        check("The client_assertion algorithm is not supported.", "RSA or P-256");
        check("", "check `client_id`, `key`");
    }
}
