//! What a vault did not do, as a closed list. Shown to people as it stands: nothing of the vault's own words is in it.

use thiserror::Error;

use crate::secret::SecretError;

/// Why a vault did not give a secret.
#[derive(Clone, Debug, Error)]
pub enum VaultError {
    /// What the login needs cannot be read.
    #[error("the login needs {0}")]
    Credential(Box<SecretError>),
    /// The credential has a character that no header can carry.
    #[error("the vault token holds a line break or another control character (store the bare token)")]
    MalformedToken,
    /// The login is refused.
    #[error("the login at `auth/{mount}` was refused with status {status} ({hint})")]
    Login {
        /// Where the method is mounted.
        mount: String,
        /// The status.
        status: u16,
        /// What to look at.
        hint: &'static str,
    },
    /// The vault no longer knows the token of the configuration.
    #[error("the vault token is refused (expired or revoked: give a new one in `vault.auth.token`)")]
    TokenRefused,
    /// 403 with a token that the vault knows; the path as a policy writes it.
    #[error("permission denied: the policy needs `path \"{0}\" {{ capabilities = [\"read\"] }}`")]
    Forbidden(String),
    /// 404 without metadata.
    #[error("nothing is at `{path}` in the mount `{mount}`{} (check mount, path and namespace)", hint(*.below_data))]
    NoPath {
        /// What was taken for the mount.
        mount: String,
        /// What was taken for the path.
        path: String,
        /// Whether the path begins with the `data/` of the API.
        below_data: bool,
    },
    /// The secret has no such key.
    #[error("the secret has no field `{0}`")]
    NoField(String),
    /// The field is a number, a list or a mapping.
    #[error("the field `{0}` is not text (store it as a string)")]
    NotText(String),
    /// The field is empty.
    #[error("the field `{0}` is empty")]
    Empty(String),
    /// The newest version is deleted.
    #[error("the newest version is deleted (`vault kv undelete`, or write a new one)")]
    Deleted,
    /// The newest version is destroyed.
    #[error("the newest version is destroyed (write a new one)")]
    Destroyed,
    /// The mount is of KV version 1.
    #[error("the mount `{0}` is KV version 1, and version 2 is needed (`vault kv enable-versioning {0}`)")]
    Version1(String),
    /// Sealed.
    #[error("the vault is sealed (unseal it: `vault operator unseal`)")]
    Sealed,
    /// Not initialised.
    #[error("the vault is not initialised")]
    Uninitialised,
    /// A node that does not serve.
    #[error(
        "this node is a standby that does not answer for the active one (set `vault.address` to the cluster's address)"
    )]
    Standby,
    /// 429 of a node that serves.
    #[error("the vault's rate limit quota is reached")]
    RateLimited,
    /// 412, after some tries.
    #[error("the replica is still behind the primary")]
    Behind,
    /// A redirect that is none of a standby.
    #[error("the address redirects (set `vault.address` to the vault's own)")]
    Redirected,
    /// Any other status.
    #[error("unexpected status {0} (check `vault.address`)")]
    Status(u16),
    /// 5xx.
    #[error("the vault failed with status {0}")]
    Server(u16),
    /// No whole reply in time.
    #[error("no whole reply within `vault.timeout`")]
    TimedOut,
    /// No connection, with the innermost cause.
    #[error("the vault cannot be reached: {0} (check name resolution, network and `vault.ca_file`)")]
    Unreachable(String),
    /// The connection broke.
    #[error("the reply broke off")]
    BrokenOff,
    /// A reply that is none of a vault.
    #[error("the reply is none of a vault (check `vault.address`)")]
    Malformed,
}

fn hint(below_data: bool) -> &'static str {
    if below_data { ": leave out `data/`, which is added" } else { "" }
}
