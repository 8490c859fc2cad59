//! The section `vault` of the configuration.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use url::{Host, Url};

use crate::duration;
use crate::event::Span;
use crate::secret::SecretRef;

/// Where Kubernetes puts the service account's token.
const JWT_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The vault that `{vault: …}` references mean.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its address, such as `https://vault.example.com:8200`; required. `https` only, except to this very machine (an
    /// agent's listener). A path is kept as a prefix.
    #[serde(deserialize_with = "address")]
    pub address: Url,
    /// The namespace of the logins and the secrets; none by default.
    #[serde(default, deserialize_with = "namespace")]
    pub namespace: Option<String>,
    /// How to log in; required.
    pub auth: Auth,
    /// A file of PEM certificates to trust beside the system's; none by default.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// How long one request may take; `10s` by default, `1s` to `1m`.
    #[serde(default = "timeout", deserialize_with = "timeout_text")]
    pub timeout: Duration,
    /// How long a secret is kept before it is read again; `5m` by default, `1s` to `1d`. One that is refused is read
    /// again at once.
    #[serde(default = "refresh", deserialize_with = "refresh_text")]
    pub refresh: Duration,
}

/// How to log in.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// With a token that somebody else made, as an agent's sink file. It is renewed where it can be, and read again.
    Token(SecretRef),
    /// With a role id and a secret id.
    Approle(AppRole),
    /// As a Kubernetes service account.
    Kubernetes(Kubernetes),
}

/// The login of a machine.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppRole {
    /// The role's id; required.
    pub role_id: String,
    /// The secret id, by reference; required. Read at each login.
    pub secret_id: SecretRef,
    /// Where the method is mounted; `approle` by default.
    #[serde(default = "approle", deserialize_with = "mount")]
    pub mount: String,
}

/// The login of a pod.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kubernetes {
    /// The role in the vault; required.
    pub role: String,
    /// The service account's token; where Kubernetes mounts it by default. Read at each login, as it changes.
    #[serde(default = "jwt_file")]
    pub jwt_file: PathBuf,
    /// Where the method is mounted; `kubernetes` by default.
    #[serde(default = "kubernetes", deserialize_with = "mount")]
    pub mount: String,
}

impl Config {
    /// Begins relative paths of files at `base`.
    pub fn begin_at(&mut self, base: &Path) {
        self.ca_file.iter_mut().for_each(|file| *file = base.join(&*file));
        match &mut self.auth {
            Auth::Token(token) => token.begin_at(base),
            Auth::Approle(role) => role.secret_id.begin_at(base),
            Auth::Kubernetes(role) => role.jwt_file = base.join(&role.jwt_file),
        }
    }

    /// The secret that the login needs.
    pub fn credential(&self) -> SecretRef {
        match &self.auth {
            Auth::Token(token) => token.clone(),
            Auth::Approle(role) => role.secret_id.clone(),
            Auth::Kubernetes(role) => SecretRef::File(role.jwt_file.clone()),
        }
    }

    /// Why the section makes no sense as a whole.
    ///
    /// # Errors
    /// Where the way into the vault is itself in the vault.
    pub fn check(&self) -> Result<(), &'static str> {
        if matches!(self.credential(), SecretRef::Vault(_)) {
            return Err("what logs in to the vault cannot be in the vault (use `{env: …}` or `{file: …}`)");
        }
        Ok(())
    }
}

const fn timeout() -> Duration {
    Duration::from_secs(10)
}

const fn refresh() -> Duration {
    Duration::from_secs(300)
}

fn approle() -> String {
    "approle".to_owned()
}

fn kubernetes() -> String {
    "kubernetes".to_owned()
}

fn jwt_file() -> PathBuf {
    PathBuf::from(JWT_FILE)
}

fn timeout_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    duration::bounded(deserializer, Span::seconds(1), Span::minutes(1)).map(duration::to_std)
}

fn refresh_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    duration::bounded(deserializer, Span::seconds(1), Span::hours(24)).map(duration::to_std)
}

/// A path of segments that need no encoding.
fn is_plain_path(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.len() <= 256 && text.split('/').all(|part| !matches!(part, "" | "." | "..") && part.bytes().all(plain))
}

fn mount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let trimmed = text.trim_matches('/');
    let trimmed = trimmed.strip_prefix("auth/").unwrap_or(trimmed);
    if is_plain_path(trimmed) {
        return Ok(trimmed.to_owned());
    }
    Err(D::Error::custom("a mount of an auth method is written as `approle` or `team/approle`"))
}

fn namespace<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let trimmed = text.trim_matches('/');
    if is_plain_path(trimmed) {
        return Ok(Some(trimmed.to_owned()));
    }
    Err(D::Error::custom("a namespace is written as `team` or `team/sso`"))
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let text = String::deserialize(deserializer)?;
    check_address(&text).map_err(D::Error::custom)
}

fn check_address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text)
        .map_err(|error| format!("no address: {error} (write one such as `https://vault.example.com:8200`)"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the address of a vault must not hold a user or password (use `auth`)".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("the address of a vault must not have a query or fragment".to_owned());
    }
    if url.path().trim_end_matches('/').ends_with("/v1") {
        return Err("the address of a vault ends before `/v1`".to_owned());
    }
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback => Ok(url),
        "http" => Err("this address would send secrets in clear text (use `https`)".to_owned()),
        other => Err(format!("`{other}` is no scheme for a vault (use `https`)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Config, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn refuses(json: &str, message: &str) {
        let error = read(json).expect_err(json);
        assert!(error.contains(message), "{json}: {error}");
    }

    #[test]
    fn the_shortest_section_has_the_documented_defaults() {
        let json = r#"{"address": "https://vault.example.com:8200", "auth": {"kubernetes": {"role": "authwatch"}}}"#;
        let mut config = read(json).expect("valid");
        config.begin_at(Path::new("/etc/aw"));
        let expect = Config {
            address: Url::parse("https://vault.example.com:8200/").expect("an address"),
            namespace: None,
            auth: Auth::Kubernetes(Kubernetes {
                role: "authwatch".to_owned(),
                jwt_file: JWT_FILE.into(),
                mount: "kubernetes".to_owned(),
            }),
            ca_file: None,
            timeout: Duration::from_secs(10),
            refresh: Duration::from_secs(300),
        };
        assert_eq!(config, expect);
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn every_key_is_read_and_paths_begin_at_the_file() {
        let json = r#"{"address": "http://127.0.0.1:8200/proxy", "namespace": "/team/sso/", "ca_file": "ca.pem", "timeout": "1s",
            "refresh": "1m", "auth": {"approle": {"role_id": "r", "secret_id": {"file": "id"}, "mount": "auth/team/approle/"}}}"#;
        let mut config = read(json).expect("valid");
        config.begin_at(Path::new("/etc/aw"));
        assert_eq!(config.namespace.as_deref(), Some("team/sso"));
        assert_eq!(config.ca_file.as_deref(), Some(Path::new("/etc/aw/ca.pem")));
        assert_eq!((config.timeout, config.refresh), (Duration::from_secs(1), Duration::from_secs(60)));
        let role = AppRole {
            role_id: "r".into(),
            secret_id: SecretRef::File("/etc/aw/id".into()),
            mount: "team/approle".into(),
        };
        assert_eq!(config.auth, Auth::Approle(role));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let with = |address: &str, rest: &str| {
            format!(r#"{{"address": "{address}", "auth": {{"token": {{"env": "T"}}}}{rest}}}"#)
        };
        refuses(&with("http://vault.example.com", ""), "in clear text (use `https`)");
        refuses(&with("https://x@vault.example.com", ""), "must not hold a user");
        refuses(&with("https://vault.example.com/v1/", ""), "ends before `/v1`");
        refuses(&with("vault.example.com", ""), "no address");
        refuses(&with("https://v", r#", "namespace": "a b""#), "a namespace is written as");
        refuses(&with("https://v", r#", "timeout": "0s""#), "out of range (from 1s to 1m)");
        refuses(&with("https://v", r#", "refresh": "2d""#), "out of range (from 1s to 1d)");
        refuses(&with("https://v", r#", "token": 1"#), "unknown field `token`");
        refuses(r#"{"address": "https://v"}"#, "missing field `auth`");
        let circle = r#"{"address": "https://v", "auth": {"token": {"vault": "secret/a#b"}}}"#;
        assert!(
            read(circle).expect("valid in itself").check().expect_err("a circle").contains("cannot be in the vault")
        );
    }
}
