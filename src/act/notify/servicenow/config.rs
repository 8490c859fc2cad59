//! The `servicenow` section of `sinks:`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use thiserror::Error;
use url::Url;

use super::auth::{Auth, Oauth};
use super::changes::{self, Changes};
use crate::act::Remark;
use crate::act::shadow::Mode;
use crate::act::wire;
use crate::action::Severity;
use crate::duration;
use crate::secret::SecretRef;

/// One ServiceNow instance. Only `url` and `auth` are needed; names that the instance defines (groups, categories,
/// close codes) are its administrator's to say.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, try_from = "Raw")]
pub struct Config {
    /// The instance's address, `https://acme.service-now.com`; a path before `/api` is kept.
    pub url: Url,
    /// How to sign in.
    pub auth: Auth,
    /// The name in the outbox, in metrics and in the condition `sink/<name>`; default `servicenow`. Changing it begins
    /// a new ledger.
    pub name: String,
    /// Whether it tells or only records; default `live`.
    pub mode: Mode,
    /// `sys_id` of the group that gets the tickets; absent leaves it to the instance's assignment rules.
    pub assignment_group: Option<String>,
    /// `sys_id` of the caller; most instances need one.
    pub caller_id: Option<String>,
    /// Category; the instance's default where absent.
    pub category: Option<String>,
    /// Subcategory.
    pub subcategory: Option<String>,
    /// `sys_id` of the configuration item.
    pub cmdb_ci: Option<String>,
    /// `sys_id` of the business service.
    pub business_service: Option<String>,
    /// Contact type; default `monitoring`.
    pub contact_type: String,
    /// Impact and urgency by severity.
    pub severity: SeverityMap,
    /// How a ticket is resolved.
    pub resolve: Resolve,
    /// The instance's state codes.
    pub states: States,
    /// Whether a ticket that we resolved goes back to In Progress when its incident comes back within the reopen
    /// window; default `true`. `false` leaves it resolved with a work note.
    pub reopen: bool,
    /// How long one request may take; default 30 s.
    pub timeout: Duration,
    /// When a create without an answer is deemed lost.
    pub settle: Settle,
    /// Which change requests a new ticket is to name; absent for none.
    pub changes: Option<Changes>,
    /// More fields for new tickets, by column name; the ones that authwatch itself writes are refused.
    pub fields: BTreeMap<String, String>,
}

/// The section as written, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    url: Url,
    auth: Auth,
    #[serde(default = "default_name")]
    name: String,
    #[serde(default)]
    mode: Mode,
    assignment_group: Option<String>,
    caller_id: Option<String>,
    category: Option<String>,
    subcategory: Option<String>,
    cmdb_ci: Option<String>,
    business_service: Option<String>,
    #[serde(default = "default_contact_type")]
    contact_type: String,
    #[serde(default)]
    severity: SeverityMap,
    #[serde(default)]
    resolve: Resolve,
    #[serde(default)]
    states: States,
    #[serde(default = "default_reopen")]
    reopen: bool,
    #[serde(default = "default_timeout", deserialize_with = "duration::deserialize_std")]
    timeout: Duration,
    #[serde(default)]
    settle: Settle,
    #[serde(default, deserialize_with = "changes::deserialize")]
    changes: Option<Changes>,
    #[serde(default)]
    fields: BTreeMap<String, StateCode>,
}

fn default_name() -> String {
    "servicenow".to_owned()
}

fn default_contact_type() -> String {
    "monitoring".to_owned()
}

fn default_reopen() -> bool {
    true
}

fn default_timeout() -> Duration {
    Duration::from_secs(30)
}

impl Config {
    /// The secrets that signing in needs.
    pub(crate) fn secrets(&mut self) -> Vec<&mut SecretRef> {
        self.auth.secrets()
    }

    /// Credentials in the clear.
    pub(crate) fn warning(&self) -> Option<Remark> {
        let token_url = match &self.auth {
            Auth::Oauth(oauth) => oauth.token_url.as_ref(),
            Auth::Basic(_) | Auth::ApiKey(_) => None,
        };
        wire::in_the_clear(&self.url).or_else(|| token_url.and_then(wire::in_the_clear))
    }
}

/// Impact and urgency by severity; the instance computes the priority from them.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SeverityMap {
    /// For incidents that a person should look at now; default impact 2, urgency 1.
    pub page: Impact,
    /// For incidents that a person should look at today; default impact 3, urgency 2.
    pub ticket: Impact,
}

impl Default for SeverityMap {
    fn default() -> Self {
        Self {
            page: Impact { impact: Level(2), urgency: Level(1) },
            ticket: Impact { impact: Level(3), urgency: Level(2) },
        }
    }
}

impl SeverityMap {
    /// What to write for a severity.
    pub fn of(&self, severity: Severity) -> Impact {
        match severity {
            Severity::Page => self.page,
            Severity::Ticket => self.ticket,
        }
    }
}

/// Impact and urgency.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Impact {
    /// 1 high, 2 medium, 3 low.
    pub impact: Level,
    /// 1 high, 2 medium, 3 low.
    pub urgency: Level,
}

/// 1 high, 2 medium, 3 low.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "u8")]
pub struct Level(u8);

impl TryFrom<u8> for Level {
    type Error = String;
    fn try_from(level: u8) -> Result<Self, String> {
        if (1..=3).contains(&level) {
            Ok(Self(level))
        } else {
            Err(format!("{level} is no level (1 high, 2 medium, 3 low)"))
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a ticket is resolved.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resolve {
    /// The state to write; default 6. Where the instance refuses it (403), a work note says that it is over.
    pub state: StateCode,
    /// The resolution code, one of the instance's choices; default `Solution provided`.
    pub close_code: String,
    /// The resolution notes; `{note}`, `{title}`, `{people}` and `{resolved_at}` are filled in. Default `{note}`.
    pub close_notes: String,
}

impl Default for Resolve {
    fn default() -> Self {
        let (close_code, close_notes) = ("Solution provided".to_owned(), "{note}".to_owned());
        Self { state: StateCode::new("6"), close_code, close_notes }
    }
}

/// The instance's state codes; the defaults are those of the base system.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct States {
    /// New; default 1.
    pub new: StateCode,
    /// In Progress; default 2.
    pub in_progress: StateCode,
    /// On Hold; default 3.
    pub on_hold: StateCode,
    /// Resolved; default 6.
    pub resolved: StateCode,
    /// Closed; default 7.
    pub closed: StateCode,
    /// Canceled; default 8.
    pub canceled: StateCode,
}

impl Default for States {
    fn default() -> Self {
        Self {
            new: StateCode::new("1"),
            in_progress: StateCode::new("2"),
            on_hold: StateCode::new("3"),
            resolved: StateCode::new("6"),
            closed: StateCode::new("7"),
            canceled: StateCode::new("8"),
        }
    }
}

/// A value as ServiceNow holds it: text, also where it is written as a number or a truth value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateCode(String);

impl StateCode {
    /// Wraps a value.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The value as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for StateCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = StateCode;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a number")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<StateCode, E> {
                Ok(StateCode::new(text))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<StateCode, E> {
                Ok(StateCode(number.to_string()))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<StateCode, E> {
                Ok(StateCode(number.to_string()))
            }
            fn visit_bool<E: de::Error>(self, truth: bool) -> Result<StateCode, E> {
                Ok(StateCode(truth.to_string()))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// When a create whose outcome is unknown is deemed lost: both must be true. Shorter means a ticket sooner after a
/// failure, longer means more patience with rows that appear late.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settle {
    /// Look-ups in a row that found nothing; default 6, at least 1.
    pub reads: std::num::NonZeroU32,
    /// The time between the first and the last of them; default 60 s. Doubles each time that it happens to one ticket.
    #[serde(deserialize_with = "duration::deserialize_std")]
    pub spread: Duration,
}

impl Default for Settle {
    fn default() -> Self {
        const READS: std::num::NonZeroU32 = std::num::NonZeroU32::MIN.saturating_add(5);
        Self { reads: READS, spread: Duration::from_secs(60) }
    }
}

/// What is wrong with the section, beyond its shape.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// An address that cannot be one.
    #[error("`url` must be an http or https address without user, query or fragment")]
    Url,
    /// A name that does not fit a label.
    #[error("`name` must be letters, digits, `-` and `_`")]
    Name,
    /// A field that authwatch writes itself.
    #[error("`fields` may not set `{0}` (authwatch writes it)")]
    Field(String),
    /// A placeholder that nothing fills.
    #[error("`close_notes` has an unknown placeholder `{{{0}}}` (known: note, title, people, resolved_at)")]
    Placeholder(String),
    /// No time at all.
    #[error("`timeout` must be longer than nothing")]
    Timeout,
    /// An address for tokens that cannot be one.
    #[error("`token_url` must be an http or https address without user or fragment")]
    TokenUrl,
    /// A value that would change a query.
    #[error("a value of `changes` must not be empty, contain `^` or begin with `javascript:`")]
    Changes,
}

/// Columns that the rules of this sink depend on.
const OURS: [&str; 10] = [
    "correlation_id",
    "correlation_display",
    "short_description",
    "description",
    "state",
    "close_code",
    "close_notes",
    "work_notes",
    "impact",
    "urgency",
];

impl TryFrom<Raw> for Config {
    type Error = ConfigError;

    fn try_from(raw: Raw) -> Result<Self, ConfigError> {
        if wire::check_address(&raw.url).is_err() || raw.url.query().is_some() {
            return Err(ConfigError::Url);
        }
        if !wire::is_name(&raw.name) {
            return Err(ConfigError::Name);
        }
        if let Some(field) = raw.fields.keys().find(|field| OURS.contains(&field.as_str()) || field.starts_with("sys_"))
        {
            return Err(ConfigError::Field(field.clone()));
        }
        for part in raw.resolve.close_notes.split('{').skip(1) {
            let name = part.split_once('}').map_or(part, |(name, _)| name);
            if !["note", "title", "people", "resolved_at"].contains(&name) {
                return Err(ConfigError::Placeholder(name.to_owned()));
            }
        }
        if raw.timeout.is_zero() {
            return Err(ConfigError::Timeout);
        }
        if let Auth::Oauth(Oauth { token_url: Some(token_url), .. }) = &raw.auth {
            wire::check_address(token_url).map_err(|_| ConfigError::TokenUrl)?;
        }
        raw.changes.as_ref().map_or(Ok(()), Changes::check)?;
        Ok(Self {
            url: raw.url,
            auth: raw.auth,
            name: raw.name,
            mode: raw.mode,
            assignment_group: raw.assignment_group,
            caller_id: raw.caller_id,
            category: raw.category,
            subcategory: raw.subcategory,
            cmdb_ci: raw.cmdb_ci,
            business_service: raw.business_service,
            contact_type: raw.contact_type,
            severity: raw.severity,
            resolve: raw.resolve,
            states: raw.states,
            reopen: raw.reopen,
            timeout: raw.timeout,
            settle: raw.settle,
            changes: raw.changes,
            fields: raw.fields.into_iter().map(|(field, value)| (field, value.0)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(change: impl FnOnce(&mut serde_json::Value)) -> Result<Config, String> {
        let mut json = serde_json::json!({
            "url": "https://acme.service-now.com",
            "auth": { "basic": { "user": { "env": "SN_USER" }, "password": { "file": "/run/sn" } } },
        });
        change(&mut json);
        serde_json::from_value(json).map_err(|error| error.to_string())
    }

    #[test]
    fn url_and_auth_are_enough() {
        let config = parse(|_| ()).expect("parses");
        assert_eq!(config.name, "servicenow");
        assert_eq!(config.contact_type, "monitoring");
        assert_eq!((config.resolve.state.as_str(), config.resolve.close_code.as_str()), ("6", "Solution provided"));
        assert_eq!((config.settle.reads.get(), config.settle.spread), (6, Duration::from_secs(60)));
        assert!(config.reopen);
        assert_eq!(config.timeout, Duration::from_secs(30));
        let page = config.severity.of(Severity::Page);
        assert_eq!((page.impact.to_string(), page.urgency.to_string()), ("2".to_owned(), "1".to_owned()));
    }

    #[test]
    fn credentials_over_plain_http_are_warned_of() {
        let warned = |url: &str| parse(|json| json["url"] = url.into()).expect("valid").warning().is_some();
        assert!(warned("http://sn.example.com"));
        assert!(!warned("https://acme.service-now.com") && !warned("http://127.0.0.1:8080"));
    }

    #[test]
    fn changes_are_wanted_by_a_word_or_by_a_filter() {
        let changes = |value: serde_json::Value| parse(|json| json["changes"] = value).expect("valid").changes;
        assert_eq!(changes(true.into()), Some(Changes::default()));
        assert_eq!(changes(false.into()), None);
        let filter = changes(serde_json::json!({"category": "software", "states": [-1, 0]})).expect("wanted");
        assert_eq!(filter.states, [StateCode::new("-1"), StateCode::new("0")]);
    }

    #[test]
    fn numbers_stand_for_themselves_as_text() {
        let config = parse(|json| {
            json["resolve"] = serde_json::json!({ "state": 16 });
            json["states"] = serde_json::json!({ "new": 10, "canceled": "80" });
            json["fields"] = serde_json::json!({ "u_tier": 2, "u_auto": true, "u_team": "iam" });
            json["timeout"] = "500ms".into();
        })
        .expect("parses");
        assert_eq!(config.resolve.state.as_str(), "16");
        assert_eq!((config.states.new.as_str(), config.states.canceled.as_str()), ("10", "80"));
        let fields: Vec<_> = config.fields.iter().map(|(field, value)| (field.as_str(), value.as_str())).collect();
        assert_eq!(fields, [("u_auto", "true"), ("u_team", "iam"), ("u_tier", "2")]);
        assert_eq!(config.timeout, Duration::from_millis(500));
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_name() {
        let refused = |key: &str, value: serde_json::Value, expect: &str| {
            let error = parse(|json| json[key] = value).expect_err(key);
            assert!(error.contains(expect), "{key}: {error}");
        };
        refused("assigment_group", "x".into(), "unknown field `assigment_group`");
        refused("url", "ftp://acme".into(), "`url` must be an http or https address");
        refused("url", "https://a:b@acme.service-now.com".into(), "without user");
        refused("name", "a b".into(), "`name` must be");
        refused("timeout", "soon".into(), "duration `soon` is not a whole number with a unit");
        refused("timeout", "0s".into(), "`timeout` must be longer");
        refused("timeout", "99999999999999999999h".into(), "longer than ten years");
        refused("fields", serde_json::json!({"correlation_id": "x"}), "`fields` may not set `correlation_id`");
        refused("fields", serde_json::json!({"sys_id": "x"}), "`fields` may not set `sys_id`");
        refused("resolve", serde_json::json!({"close_notes": "{who} did it"}), "unknown placeholder `{who}`");
        refused("settle", serde_json::json!({"reads": 0}), "nonzero");
        refused("severity", serde_json::json!({"page": {"impact": 4, "urgency": 1}}), "4 is no level");
        refused("auth", serde_json::json!({"oauth": {}}), "missing field `client_id`");
        refused("auth", serde_json::json!({"cookie": {}}), "unknown variant `cookie`");
        let oauth = |url: &str| serde_json::json!({"oauth": {"client_id": "c", "client_secret": {"env": "S"}, "token_url": url}});
        refused("auth", oauth("ftp://x"), "`token_url` must be");
        refused("changes", serde_json::json!({"category": "a^b"}), "a value of `changes`");
        refused("changes", serde_json::json!({"ci": "a"}), "unknown field `ci`");
        refused("changes", serde_json::json!("yes"), "expected `true`, `false` or a mapping");
        refused("mode", serde_json::json!("dry_run"), "unknown variant `dry_run`");
    }
}
