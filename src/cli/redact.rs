//! `explain --redact`: a person's own log as events that can be shown to others.
//!
//! The same records with the same shapes and relations, and nobody in them: what classification and posture read is
//! kept, every id, name and address gets a stand-in that is the same throughout the run and cannot be turned back, and
//! everything else becomes `redacted` or 0. No text is written that is not on a list of what may be (`redact/keep.rs`)
//! or made here; that goes for the names of members too.
//!
//! An envelope stays one. A record that is no JSON cannot be redacted: it is left out and counted. Not kept: the order
//! of an object's members, and which of two members of one name came last.

mod keep;
mod pseudonym;
mod text;

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Number, Value};

use crate::classify::Tables;
use crate::decode;
use crate::event::Timestamp;
use keep::Keep;
use pseudonym::{Class, Pseudonyms};
use text::{REDACTED, is_nothing};

/// JSON within texts within JSON, this deep; deeper is not shown.
const NESTED: u8 = 4;

/// Numbers up to this are kept: scores, counts, versions of schemas.
const SMALL: u64 = 100;

/// Turns records into such that can be shown.
pub struct Redactor {
    tables: Arc<Tables>,
    keep: Keep,
    pseudonyms: Pseudonyms,
    nested: u8,
}

/// How a text is treated, by the name of its member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    /// Kept where it is a word, a time or a small number; a stand-in where it is an address or an id.
    Word,
    EventType,
    Id,
    Name,
    /// A login name or what stands for it; at times a password.
    Alternate,
    Time,
    /// Where somebody is, or how to reach them.
    Gone,
    Agent,
    System,
    Version,
    Reason,
    /// `authenticator:method:id`.
    Method,
    /// Lists and maps that are written as text.
    Parts,
    Page,
}

impl Rule {
    fn of(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "eventtype" | "event_type" | "legacyeventtype" => Self::EventType,
            "alternateid" => Self::Alternate,
            "displayname" | "name" | "policyname" | "devicename" => Self::Name,
            "published" | "timestamp" | "insertiontimestamp" | "expires" => Self::Time,
            "lat"
            | "lon"
            | "city"
            | "state"
            | "country"
            | "postalcode"
            | "phonenumber"
            | "countrycallingcode"
            | "clientsecret"
            | "usernametypingpattern"
            | "asnumber" => Self::Gone,
            "dthash"
            | "hash"
            | "devicefingerprint"
            | "ja3"
            | "ja4"
            | "jti"
            | "serialnumber"
            | "imei"
            | "signerkeyidentifier"
            | "targeteventhookids" => Self::Id,
            "rawuseragent" | "oktauseragentextended" => Self::Agent,
            "os" => Self::System,
            "os_version" | "osversion" | "browserversion" | "applicationversion" | "minimum" | "maximum" => {
                Self::Version
            }
            "reason" | "reasonforfailure" => Self::Reason,
            "authmethodfirsttype"
            | "authmethodsecondtype"
            | "authmethodthirdtype"
            | "authmethodfourthtype"
            | "authmethodfifthtype" => Self::Method,
            "behaviors"
            | "risk"
            | "riskchange"
            | "reasons"
            | "causes"
            | "promptingpolicytypes"
            | "methodusedverifiedproperties"
            | "challengeauthenticatorslist"
            | "grantedscopes"
            | "requestedscopes"
            | "securityconditions" => Self::Parts,
            "requesturi" | "url" | "redirecturi" | "origin" | "requestorigin" | "issuer" | "audience" => Self::Page,
            _ if name.ends_with("time") => Self::Time,
            _ if name.ends_with("id") || name.ends_with("enrollment") => Self::Id,
            _ => Self::Word,
        }
    }
}

/// What the members of an object are about: what its `type` says, else where it stands.
fn class_of(name: &str, object: &Map<String, Value>) -> Class {
    let kind = object.iter().find(|(key, _)| key.eq_ignore_ascii_case("type")).and_then(|(_, value)| value.as_str());
    match kind.unwrap_or_default().to_ascii_lowercase().as_str() {
        "user" | "appuser" | "systemprincipal" | "ip address" => return Class::Person,
        "appinstance" | "publicclientapp" | "publicclientappentity" => return Class::App,
        "rule" | "policyrule" => return Class::Rule,
        "policyentity" | "policy" => return Class::Policy,
        "usergroup" | "appgroup" => return Class::Group,
        "uddevice" | "device" => return Class::Device,
        "authenticatorenrollment" | "authenticatormethod" | "authenticator" => return Class::Authenticator,
        "networkzone" | "zone" => return Class::Zone,
        _ => {}
    }
    match name.to_ascii_lowercase().as_str() {
        "actor" | "originalprincipal" => Class::Person,
        "device" => Class::Device,
        "userbehaviors" => Class::Behavior,
        _ => Class::Other,
    }
}

impl Redactor {
    /// With the words of the tables, keyed with a secret that must be random and used for one run only.
    pub fn new(tables: Arc<Tables>, secret: [u8; 32]) -> Self {
        Self { keep: Keep::new(&tables), tables, pseudonyms: Pseudonyms::new(secret), nested: 0 }
    }

    /// One record, redacted; `None` where it is no JSON.
    pub fn record(&mut self, bytes: &[u8]) -> Option<Value> {
        let text = std::str::from_utf8(bytes).ok()?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let value = serde_json::from_str(text).ok();
        // A half of a surrogate pair is no text; decoding mends it too.
        let value = value.or_else(|| serde_json::from_str(&decode::mend_surrogates(text)?).ok())?;
        Some(self.value("", Class::Other, value))
    }

    fn value(&mut self, name: &str, class: Class, value: Value) -> Value {
        match value {
            Value::Null | Value::Bool(_) => value,
            Value::Number(number) => self.number(name, &number),
            Value::String(text) => Value::String(self.text(name, class, &text)),
            Value::Array(values) => values.into_iter().map(|value| self.value(name, class, value)).collect(),
            Value::Object(members) => {
                let class = class_of(name, &members);
                let redacted = members.into_iter().map(|(key, value)| {
                    let value = self.value(&key, class, value);
                    let key = if self.keep.has_key(&key) { key } else { self.pseudonyms.key(&key) };
                    (key, value)
                });
                Value::Object(redacted.collect())
            }
        }
    }

    fn number(&mut self, name: &str, number: &Number) -> Value {
        match (Rule::of(name), number.as_u64()) {
            (Rule::Id, Some(_)) => self.pseudonyms.number(&number.to_string()).into(),
            (Rule::Gone, _) | (_, None) => {
                if number.is_f64() {
                    0.0.into()
                } else {
                    0.into()
                }
            }
            (_, Some(small)) => if small <= SMALL { small } else { 0 }.into(),
        }
    }

    fn text(&mut self, name: &str, class: Class, text: &str) -> String {
        if is_nothing(text) {
            return text.to_owned();
        }
        let rule = Rule::of(name);
        match rule {
            Rule::Gone => REDACTED.to_owned(),
            Rule::Id => self.id(text),
            Rule::Name => self.name(class, text),
            Rule::Alternate => self.alternate(class, text),
            Rule::EventType => self.event_type(text),
            Rule::Agent => self.agent(text),
            Rule::System => self.system(text),
            Rule::Version => text::version(text).unwrap_or_else(|| REDACTED.to_owned()),
            Rule::Reason => self.reason(text),
            Rule::Method => self.method(text),
            Rule::Word | Rule::Time | Rule::Parts | Rule::Page => match self.nested_json(name, class, text) {
                Some(json) => json,
                None if rule == Rule::Parts => self.parts(text),
                None if rule == Rule::Page => self.page(text),
                None => self.word(text),
            },
        }
    }

    /// JSON in a text: redacted within.
    fn nested_json(&mut self, name: &str, class: Class, text: &str) -> Option<String> {
        if !text.trim_ascii_start().starts_with(['{', '[']) {
            return None;
        }
        let value: Value = serde_json::from_str(text).ok()?;
        if self.nested >= NESTED {
            return Some(REDACTED.to_owned());
        }
        self.nested += 1;
        let value = self.value(name, class, value);
        self.nested -= 1;
        Some(value.to_string())
    }

    fn word(&mut self, text: &str) -> String {
        if self.keep.has_word(text) || is_time(text) || is_small(text) {
            return text.to_owned();
        }
        if let Some(known) = self.recognised(text) {
            return known;
        }
        if text.starts_with('[') && text.ends_with(']') {
            return self.parts(text);
        }
        // A signal that could not be read: which one it was says where it stands.
        const UNREADABLE: &str = "genericError(";
        if text.starts_with(UNREADABLE) { format!("{UNREADABLE}{REDACTED})") } else { REDACTED.to_owned() }
    }

    /// The stand-in of what can be told by its form: addresses, UUIDs, Okta's ids.
    fn recognised(&mut self, text: &str) -> Option<String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(self.pseudonyms.address(address));
        }
        if text::is_email(text) {
            return Some(self.pseudonyms.email(text));
        }
        if text::is_uuid(text) {
            return Some(self.pseudonyms.uuid(text));
        }
        pseudonym::is_id(text).then(|| self.pseudonyms.id(text))
    }

    fn id(&mut self, text: &str) -> String {
        self.recognised(text).unwrap_or_else(|| self.pseudonyms.id(text))
    }

    fn name(&mut self, class: Class, text: &str) -> String {
        if class != Class::Person && self.keep.has_word(text) {
            return text.to_owned();
        }
        match self.recognised(text) {
            Some(known) => known,
            None => self.pseudonyms.name(class, text),
        }
    }

    fn alternate(&mut self, class: Class, text: &str) -> String {
        match self.recognised(text) {
            Some(known) => known,
            None if class == Class::Person => REDACTED.to_owned(),
            None => self.name(class, text),
        }
    }

    fn event_type(&self, text: &str) -> String {
        let segment = |segment| if self.keep.has_event_word(segment) { segment } else { REDACTED };
        text.split('.').take(16).map(segment).collect::<Vec<_>>().join(".")
    }

    fn reason(&mut self, text: &str) -> String {
        let trimmed = text.trim();
        if self.keep.has_word(trimmed) {
            return trimmed.to_owned();
        }
        match self.tables.reason_prefix(trimmed) {
            Some(prefix) => format!("{prefix}{}{REDACTED}", if prefix.ends_with(' ') { "" } else { " " }),
            None => REDACTED.to_owned(),
        }
    }

    fn method(&mut self, text: &str) -> String {
        let kept = |word: &str| if self.keep.has_word(word) { word.to_owned() } else { REDACTED.to_owned() };
        let mut parts = text.splitn(3, ':');
        let mut shown: Vec<String> = parts.by_ref().take(2).map(kept).collect();
        if let Some(id) = parts.next() {
            shown.push(if is_nothing(id) { id.to_owned() } else { self.id(id) });
        }
        shown.join(":")
    }

    fn parts(&mut self, text: &str) -> String {
        let (keep, pseudonyms) = (&self.keep, &mut self.pseudonyms);
        let mut name = |text: &str| {
            if keep.has_key(text) || keep.has_word(text) {
                text.to_owned()
            } else {
                pseudonyms.name(Class::Behavior, text)
            }
        };
        let mut part = |text: &str| if keep.has_word(text) { text.to_owned() } else { REDACTED.to_owned() };
        text::parts(text, &mut name, &mut part)
    }

    fn page(&mut self, text: &str) -> String {
        let pseudonyms = &mut self.pseudonyms;
        let mut id = |segment: &str| {
            let looks = segment.len() >= 12 && segment.bytes().any(|byte| byte.is_ascii_digit());
            let looks = looks && segment.bytes().all(|byte| byte.is_ascii_alphanumeric());
            looks.then(|| pseudonyms.id(segment))
        };
        text::page(text, &mut id).unwrap_or_else(|| self.word(text))
    }

    fn system(&self, text: &str) -> String {
        if self.keep.has_word(text) {
            return text.to_owned();
        }
        self.tables.agent_system(text).unwrap_or(REDACTED).to_owned()
    }

    /// The user agent's known words, and whatever of it the platform is read by.
    fn agent(&self, raw: &str) -> String {
        let wanted = self.tables.agent_text(raw);
        let kept = text::agent(raw);
        let beside = wanted.filter(|_| !kept.is_empty());
        let with = beside.map(|part| format!("{kept} ({})", part.trim_start_matches(['(', ' '])));
        let spaced = beside.map(|part| format!("{kept}{part}"));
        let mut forms = [Some(kept), with, spaced, wanted.map(str::to_owned)].into_iter().flatten();
        let found = forms.find(|form| !form.is_empty() && self.tables.agent_text(form) == wanted);
        found.unwrap_or_else(|| REDACTED.to_owned())
    }
}

fn is_time(text: &str) -> bool {
    text.len() <= 40 && Timestamp::parse(text).is_some()
}

/// Whether a text is a small number, or a version of two digits.
fn is_small(text: &str) -> bool {
    text.parse::<u64>().is_ok_and(|number| number <= SMALL) && text.len() <= 3
        || text.len() <= 4 && text::is_version(text) && text.contains('.')
}

#[cfg(test)]
#[path = "redact/tests.rs"]
mod tests;
