//! The `okta:` section of the configuration.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use url::{Host, Url};

use super::auth::Oauth;
use crate::duration;
use crate::event::Span;
use crate::secret::SecretRef;

/// How long Okta keeps its log.
pub(super) const RETENTION: Span = Span::hours(24 * 90);

/// How far back a query may reach before Okta refuses it.
const FURTHEST: Span = Span::hours(24 * 180);

/// One Okta org to tail.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The org's address, such as `https://acme.okta.com`; required. `https` only, except to this very machine
    /// (`http://127.0.0.1:8080`, for a stand-in). A path is kept as a prefix; user, query and fragment are refused.
    #[serde(deserialize_with = "org_url")]
    pub url: Url,
    /// How to authenticate; required.
    pub auth: Auth,
    /// How far back the very first start reads; `24h` by default, `0s` for nothing but what comes, at most `180d`
    /// (Okta refuses more, and holds 90 days). Without effect once a position is stored.
    #[serde(default = "start", deserialize_with = "start_text")]
    pub start: Span,
    /// The pause after a page that was not full; `5s` by default, `100ms` to `1h`. Raised where `rate_share` does not
    /// allow it; the metric `authwatch_source_poll_interval_seconds` shows what is in force.
    #[serde(default = "poll_interval", deserialize_with = "poll_interval_text")]
    pub poll_interval: Span,
    /// Whether policies, their rules and device assurance policies are read too; `false` by default. The token's owner
    /// must be allowed to (`okta.policies.read` and `okta.deviceAssurance.read`, or a role such as read-only
    /// administrator).
    #[serde(default)]
    pub policies: bool,
    /// The share of the org's rate limit that this source may use; `0.5` by default, above 0 and at most 1. At 1 Okta
    /// mails the administrators about a violation; lower it where other tools poll the same org.
    #[serde(default = "rate_share", deserialize_with = "rate_share_number")]
    pub rate_share: f64,
    /// Events a page; `1000` by default, 1 to 1000. A stored position keeps the limit it was made with.
    #[serde(default = "limit", deserialize_with = "limit_number")]
    pub limit: u32,
    /// How long one request may take, with its body; `40s` by default, above `30s` (Okta itself gives up after 30 s,
    /// and its answer should be heard) and at most `10m`.
    #[serde(default = "timeout", deserialize_with = "timeout_text")]
    pub timeout: Span,
    /// How far before the newest event a restart without a usable position reads again; `5m` by default, `0s` to `2h`
    /// (records further apart than two hours are not recognised as repeated).
    #[serde(default = "overlap", deserialize_with = "overlap_text")]
    pub overlap: Span,
    /// How often the recent past is asked for once more, to find what polling did not deliver; `30m` by default, at most
    /// `1h` so that the looks overlap, `0s` for never.
    #[serde(default = "look_back", deserialize_with = "look_back_text")]
    pub look_back: Span,
    /// The org's label where it is not the one at the top of the configuration.
    #[serde(default)]
    pub org: Option<String>,
}

/// How the source authenticates.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// An API token, sent as `Authorization: SSWS …`. It acts with the role of the administrator who made it and dies
    /// after 30 days without use.
    Ssws(SecretRef),
    /// A service app, as Okta recommends: scopes of its own, no person behind it, tokens that live an hour.
    Oauth(Box<Oauth>),
}

impl Auth {
    /// The secrets that it needs.
    pub(crate) fn secrets(&mut self) -> Vec<&mut SecretRef> {
        match self {
            Self::Ssws(token) => vec![token],
            Self::Oauth(oauth) => vec![&mut oauth.key],
        }
    }
}

impl Config {
    /// The earliest `since` that Okta takes, with an hour to spare for the way.
    pub(super) const fn reach() -> Span {
        Span(FURTHEST.0 - Span::hours(1).0)
    }
}

const fn start() -> Span {
    Span::hours(24)
}

const fn poll_interval() -> Span {
    Span::seconds(5)
}

const fn rate_share() -> f64 {
    0.5
}

const fn limit() -> u32 {
    1_000
}

const fn timeout() -> Span {
    Span::seconds(40)
}

const fn look_back() -> Span {
    Span::minutes(30)
}

const fn overlap() -> Span {
    Span::minutes(5)
}

fn start_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    duration::bounded(deserializer, Span(0), FURTHEST)
}

fn poll_interval_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    duration::bounded(deserializer, Span(100), Span::hours(1))
}

fn timeout_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    duration::bounded(deserializer, Span(Span::seconds(30).0 + 1), Span::minutes(10))
}

fn overlap_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    duration::bounded(deserializer, Span(0), Span::hours(2))
}

fn look_back_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    duration::bounded(deserializer, Span(0), Span::hours(1))
}

fn rate_share_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let share = f64::deserialize(deserializer)?;
    if share > 0.0 && share <= 1.0 {
        return Ok(share);
    }
    Err(D::Error::custom(format!("`{share}` is no share of a rate limit (above 0 and at most 1)")))
}

fn limit_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let limit = u32::deserialize(deserializer)?;
    if (1..=1_000).contains(&limit) {
        return Ok(limit);
    }
    Err(D::Error::custom(format!("`{limit}` is no page size (1 to 1000)")))
}

fn org_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let text = String::deserialize(deserializer)?;
    check_url(&text).map_err(D::Error::custom)
}

fn check_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text)
        .map_err(|error| format!("`{text}` is no address: {error} (write one such as `https://acme.okta.com`)"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("an Okta address must not hold a user or password (use `auth`)".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("`{text}` must not have a query or fragment (write only `https://acme.okta.com`)"));
    }
    if is_admin_console(&url) {
        return Err(format!("`{text}` is the admin console (write the org's own address, without `-admin`)"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(format!("`{text}` would send the token in clear text (use `https`)")),
        other => Err(format!("`{other}` is no scheme for Okta (use `https`)")),
    }
}

/// `acme-admin.okta.com`: it grants no tokens.
fn is_admin_console(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let org = [".okta.com", ".oktapreview.com", ".okta-emea.com"].iter().find_map(|domain| host.strip_suffix(domain));
    org.is_some_and(|org| org.ends_with("-admin"))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(extra: &str) -> Result<Config, String> {
        let json = format!(r#"{{"url": "https://acme.okta.com", "auth": {{"ssws": {{"env": "T"}}}}{extra}}}"#);
        serde_json::from_str(&json).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn refuses(extra: &str, message: &str) {
        let error = read(extra).expect_err(extra);
        assert!(error.contains(message), "{extra}: {error}");
    }

    #[test]
    fn the_shortest_section_has_the_documented_defaults() {
        let expect = Config {
            url: Url::parse("https://acme.okta.com/").expect("an address"),
            auth: Auth::Ssws(SecretRef::Env("T".into())),
            start: Span::hours(24),
            poll_interval: Span::seconds(5),
            policies: false,
            rate_share: 0.5,
            limit: 1_000,
            timeout: Span::seconds(40),
            overlap: Span::minutes(5),
            look_back: Span::minutes(30),
            org: None,
        };
        assert_eq!(read(""), Ok(expect));
    }

    #[test]
    fn every_key_is_read() {
        let config = read(
            r#", "start": "180d", "poll_interval": "200ms", "policies": true, "rate_share": 1, "limit": 1,
                "timeout": "31s", "overlap": "0s", "org": "beta""#,
        )
        .expect("valid");
        assert_eq!(config.start, Span::hours(24 * 180));
        assert_eq!(config.poll_interval, Span(200));
        assert_eq!((config.rate_share, config.limit), (1.0, 1));
        assert_eq!((config.timeout, config.overlap), (Span::seconds(31), Span(0)));
        assert_eq!(config.org.as_deref(), Some("beta"));
        assert!(config.policies);
    }

    #[test]
    fn every_bound_is_held_by_name() {
        refuses(r#", "start": "181d""#, "duration `181d` is out of range (from 0s to 180d)");
        refuses(r#", "start": 24"#, "expected a duration with a unit");
        refuses(r#", "poll_interval": "99ms""#, "out of range (from 100ms to 1h)");
        refuses(r#", "rate_share": 0"#, "`0` is no share of a rate limit (above 0 and at most 1)");
        refuses(r#", "rate_share": 1.1"#, "`1.1` is no share");
        refuses(r#", "rate_share": -0.5"#, "`-0.5` is no share");
        refuses(r#", "limit": 0"#, "`0` is no page size (1 to 1000)");
        refuses(r#", "limit": 1001"#, "`1001` is no page size");
        refuses(r#", "timeout": "30s""#, "duration `30s` is out of range");
        refuses(r#", "overlap": "3h""#, "out of range (from 0s to 2h)");
        refuses(r#", "pol_interval": "5s""#, "unknown field `pol_interval`");
    }

    #[test]
    fn either_way_to_authenticate_is_read_and_a_missing_one_refused_by_name() {
        let with = |auth: &str| {
            let json = format!(r#"{{"url": "https://acme.okta.com"{auth}}}"#);
            serde_json::from_str::<Config>(&json).map_err(|error| error.to_string())
        };
        let config = with(r#", "auth": {"oauth": {"client_id": "0oa", "key": {"file": "k"}, "dpop": false}}"#);
        let Auth::Oauth(oauth) = config.expect("valid").auth else { panic!("no service app") };
        assert_eq!((oauth.client_id.as_str(), oauth.dpop), ("0oa", false));
        assert!(with("").expect_err("none").contains("missing field `auth`"));
        assert!(with(r#", "auth": {"basic": 1}"#).expect_err("unknown").contains("unknown variant `basic`"));
        assert!(
            with(r#", "auth": {"oauth": {"client_id": "0oa"}}"#).expect_err("no key").contains("missing field `key`")
        );
    }

    #[test]
    fn a_token_never_goes_out_in_clear_text() {
        for good in [
            "https://acme.okta.com",
            "https://acme.okta.com/",
            "http://127.0.0.1:8080",
            "http://localhost:1",
            "http://[::1]:8080",
        ] {
            assert!(check_url(good).is_ok(), "{good}");
        }
        for (bad, message) in [
            ("http://acme.okta.com", "in clear text (use `https`)"),
            ("http://127.0.0.1.evil.example", "in clear text"),
            ("http://localhost.evil.example", "in clear text"),
            ("ftp://acme.okta.com", "`ftp` is no scheme"),
            ("acme.okta.com", "is no address"),
            ("https://", "is no address"),
            ("https://token@acme.okta.com", "must not hold a user"),
            ("https://acme.okta.com/?x=1", "must not have a query"),
            ("https://acme.okta.com/#x", "must not have a query or fragment"),
            ("https://acme-admin.okta.com", "is the admin console"),
            ("https://acme-admin.oktapreview.com/", "is the admin console"),
        ] {
            let error = check_url(bad).expect_err(bad);
            assert!(error.contains(message), "{bad}: {error}");
        }
    }
}
