//! What integrators said of a device: `device_integrator`, one member per integrator, each with its own members.
//!
//! Okta writes it in several ways (the fact sheet's section 6.1): JSON, JSON in a string, or the text of a Java map,
//! `{WSC={antiVirus=GOOD, fireWall=POOR}}`. All three are read. An entry that is `{}` or `genericError(…)` is
//! unreadable, which is the agent's fault and not the device's. What cannot be read at all says nothing; nothing fails.

use serde_json::Value;
use smol_str::{SmolStr, ToSmolStr};

use crate::event::PostureCheck;

/// Members kept in all; Okta writes a few dozen.
const MEMBERS: usize = 512;

/// How deep maps nest before the rest is left unread.
const DEPTH: usize = 4;

/// What could not be read is written so, with the cause in parentheses.
const ERROR: &str = "genericError";

/// The signals of one device.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Integrators {
    entries: Vec<(SmolStr, Entry)>,
}

/// What one integrator said.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Entry {
    /// Nothing that can be read, as written.
    Unreadable(SmolStr),
    /// Its members and their values as text.
    Members(Vec<(SmolStr, SmolStr)>),
}

/// What is known of one member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Signal<'a> {
    /// The integrator, or this member of it, is not there.
    Absent,
    /// The integrator could not be read.
    Unreadable(&'a str),
    /// Its value as text.
    Value(&'a str),
}

impl Integrators {
    /// Reads the text of an event; what is not a map of integrators gives none.
    pub(super) fn parse(text: &str) -> Self {
        let value = read(text, 0);
        let mut integrators = Self::default();
        let mut left = MEMBERS;
        match value {
            Some(Value::Object(map)) => integrators.add(map, &mut left),
            Some(Value::Array(list)) => {
                for item in list {
                    if let Value::Object(map) = item {
                        integrators.add(map, &mut left);
                    }
                }
            }
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | None => {}
        }
        integrators
    }

    fn add(&mut self, map: serde_json::Map<String, Value>, left: &mut usize) {
        for (name, value) in map {
            if *left == 0 {
                return;
            }
            *left -= 1;
            if let Some(entry) = entry(value, left) {
                self.entries.push((name.into(), entry));
            }
        }
    }

    /// One member of the integrator that a check reads.
    pub(super) fn signal(&self, check: PostureCheck, member: &str) -> Signal<'_> {
        let names = names(check);
        let entry = self.entries.iter().find(|(name, _)| names.iter().any(|known| known.eq_ignore_ascii_case(name)));
        match entry {
            None => Signal::Absent,
            Some((_, Entry::Unreadable(text))) => Signal::Unreadable(text),
            Some((_, Entry::Members(members))) => match members.iter().find(|(name, _)| same(name, member)) {
                None => Signal::Absent,
                Some((_, value)) if value.starts_with(ERROR) => Signal::Unreadable(value),
                Some((_, value)) => Signal::Value(value),
            },
        }
    }

    /// The errors that stand in the place of an integrator or of one of its members.
    pub(super) fn errors(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|(_, entry)| match entry {
            Entry::Unreadable(text) => Some(text.as_str()).filter(|text| text.starts_with(ERROR)),
            Entry::Members(members) => {
                members.iter().map(|(_, value)| value.as_str()).find(|value| value.starts_with(ERROR))
            }
        })
    }
}

/// The names under which events hold the integrator of a check: the log's, and the API's.
fn names(check: PostureCheck) -> &'static [&'static str] {
    match check {
        PostureCheck::Crowdstrike => &["CROWDSTRIKE", "com.crowdstrike.zta", "zta"],
        PostureCheck::WindowsSecurityCenter => &["WSC", "com.okta.windowssecuritycenter"],
        PostureCheck::ChromeDeviceTrust => &["CHROME", "DTC", "com.google.dtc", "CHROME_DEVICE_TRUST"],
        PostureCheck::PostureIdp => &["DEVICE_IDP", "com.okta.deviceidp", "DEVICE_POSTURE_IDP"],
        PostureCheck::Osquery => &["OSQUERY", "com.okta.device.osquery"],
        PostureCheck::AndroidZeroTrust => &["ANDROID_ZERO_TRUST", "com.android.zero.trust", "azt"],
        PostureCheck::OsVersion
        | PostureCheck::DiskEncryption
        | PostureCheck::ScreenLock
        | PostureCheck::Biometrics
        | PostureCheck::SecureHardware
        | PostureCheck::Jailbreak
        | PostureCheck::NotManaged
        | PostureCheck::NotRegistered
        | PostureCheck::SignalUnreadable
        | PostureCheck::NoDeviceContext
        | PostureCheck::Unattributed => &[],
    }
}

/// Whether two names are the same word: Okta writes `sensor_config` in events and `sensorConfig` in expressions.
fn same(a: &str, b: &str) -> bool {
    let letters = |text: &str| text.len() - text.bytes().filter(|byte| *byte == b'_').count();
    let lower = |byte: &u8| byte.to_ascii_lowercase();
    letters(a) == letters(b)
        && a.bytes()
            .filter(|byte| *byte != b'_')
            .map(|byte| lower(&byte))
            .eq(b.bytes().filter(|byte| *byte != b'_').map(|byte| lower(&byte)))
}

fn entry(value: Value, left: &mut usize) -> Option<Entry> {
    match value {
        Value::Null => None,
        Value::Object(map) if map.is_empty() => Some(Entry::Unreadable(SmolStr::new_static("{}"))),
        Value::Object(map) => {
            let mut members = Vec::with_capacity(map.len().min(*left));
            for (name, value) in map {
                if *left == 0 {
                    break;
                }
                *left -= 1;
                if let Some(value) = text(&value) {
                    members.push((name.into(), value));
                }
            }
            Some(Entry::Members(members))
        }
        Value::String(text) => match read(&text, 1) {
            Some(Value::Object(map)) => entry(Value::Object(map), left),
            // Okta's own word for an agent's outage; any other text is no signal and no outage.
            _ => text.starts_with(ERROR).then(|| Entry::Unreadable(text.into())),
        },
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    }
}

/// A value as text: lists as `A, B`, null is nothing.
fn text(value: &Value) -> Option<SmolStr> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(SmolStr::new(text)),
        Value::Array(items) => {
            let items: Vec<SmolStr> = items.iter().filter_map(text).collect();
            Some(items.join(", ").into())
        }
        other @ (Value::Bool(_) | Value::Number(_) | Value::Object(_)) => Some(other.to_smolstr()),
    }
}

/// JSON, JSON in a string, or the text of a map.
fn read(text: &str, depth: usize) -> Option<Value> {
    let text = text.trim();
    if depth > 2 || !text.starts_with(['{', '"', '[']) {
        return None;
    }
    match serde_json::from_str(text) {
        Ok(Value::String(inner)) => read(&inner, depth + 1),
        Ok(value) => Some(value),
        Err(_) => Map { rest: text, left: MEMBERS }.map(0),
    }
}

/// Reads `{name=value, name={…}}`, with `=` or `:` between name and value and without quotes.
struct Map<'a> {
    rest: &'a str,
    left: usize,
}

impl<'a> Map<'a> {
    fn map(&mut self, depth: usize) -> Option<Value> {
        self.rest = self.rest.strip_prefix('{')?;
        let mut map = serde_json::Map::new();
        let mut last: Option<String> = None;
        loop {
            self.rest = self.rest.trim_start();
            if let Some(rest) = self.rest.strip_prefix('}') {
                self.rest = rest;
                return Some(Value::Object(map));
            }
            self.left = self.left.checked_sub(1)?;
            let end = self.rest.find(['=', ':', ',', '}', '{'])?;
            let (name, rest) = self.rest.split_at(end);
            let name = name.trim().trim_matches('"');
            if let Some(rest) = rest.strip_prefix(['=', ':']) {
                self.rest = rest.trim_start();
                let value = self.value(depth)?;
                map.insert(name.to_owned(), value);
                last = Some(name.to_owned());
            } else {
                // A comma inside a value: the word belongs to the value before.
                self.rest = rest;
                if let Some(Value::String(text)) = last.as_ref().and_then(|last| map.get_mut(last)) {
                    text.push_str(", ");
                    text.push_str(name);
                }
            }
            self.rest = self.rest.trim_start();
            self.rest = match self.rest.strip_prefix(',') {
                Some(rest) => rest,
                None if self.rest.starts_with('}') => self.rest,
                None => return None,
            };
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if self.rest.starts_with('{') {
            return if depth < DEPTH { self.map(depth + 1) } else { None };
        }
        let text = self.bare();
        Some(match text {
            "null" => Value::Null,
            _ => Value::String(text.trim_matches('"').to_owned()),
        })
    }

    /// Up to the comma or brace that ends the value; those in parentheses, brackets or quotes belong to it.
    fn bare(&mut self) -> &'a str {
        let (mut depth, mut quoted) = (0_u32, false);
        let end = self.rest.find(|c: char| {
            match c {
                '"' => quoted = !quoted,
                '(' | '[' if !quoted => depth += 1,
                ')' | ']' if !quoted => depth = depth.saturating_sub(1),
                ',' | '}' if depth == 0 && !quoted => return true,
                _ => {}
            }
            false
        });
        let (text, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        text.trim()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, check: PostureCheck, member: &str, expect: Signal<'_>) {
        assert_eq!(Integrators::parse(text).signal(check, member), expect, "{text}");
    }

    #[test]
    fn the_three_spellings_say_the_same() {
        for text in [
            r#"{"CROWDSTRIKE":{"overall":80,"sensor_config":70}}"#,
            r#""{\"CROWDSTRIKE\":{\"overall\":80,\"sensor_config\":70}}""#,
            r#"{"CROWDSTRIKE":"{\"overall\":80,\"sensor_config\":70}"}"#,
            "{CROWDSTRIKE={overall=80, sensor_config=70}}",
            "{CROWDSTRIKE:{overall:80,sensor_config:70}}",
            r#"[{"com.crowdstrike.zta":{"overall":"80","sensorConfig":"70"}}]"#,
        ] {
            check(text, PostureCheck::Crowdstrike, "overall", Signal::Value("80"));
            check(text, PostureCheck::Crowdstrike, "sensorConfig", Signal::Value("70"));
            check(text, PostureCheck::Crowdstrike, "os", Signal::Absent);
            check(text, PostureCheck::WindowsSecurityCenter, "fireWall", Signal::Absent);
        }
    }

    #[test]
    fn an_integrator_without_signals_is_unreadable_and_one_that_is_absent_is_absent() {
        let timeout = Signal::Unreadable("genericError(TIMEOUT)");
        for (text, expect) in [
            (r#"{"WSC":{}}"#, Signal::Unreadable("{}")),
            ("{WSC={}, CHROME={osFirewall=true}}", Signal::Unreadable("{}")),
            (r#"{"WSC":"genericError(TIMEOUT)"}"#, timeout),
            ("{WSC=genericError(TIMEOUT)}", timeout),
            ("{WSC=genericError(a, {b})}", Signal::Unreadable("genericError(a, {b})")),
            (r#"{"WSC":{"fireWall":"genericError(TIMEOUT)"}}"#, timeout),
            (r#"{"WSC":null}"#, Signal::Absent),
            (r#"{"WSC":{"fireWall":null}}"#, Signal::Absent),
            ("", Signal::Absent),
            ("null", Signal::Absent),
            ("{", Signal::Absent),
            ("{WSC={fireWall=GOOD", Signal::Absent),
            ("{WSC={antiVirus=GOOD, fireWall=A, B}}", Signal::Value("A, B")),
        ] {
            check(text, PostureCheck::WindowsSecurityCenter, "fireWall", expect);
        }
    }

    #[test]
    fn nothing_that_is_sent_is_too_much() {
        let deep = "{a=".repeat(100_000);
        assert_eq!(Integrators::parse(&deep), Integrators::default());
        let json = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(Integrators::parse(&json), Integrators::default());
        let wide: Vec<String> = (0..10_000).map(|n| format!("\"k{n}\":{{}}")).collect();
        assert_eq!(Integrators::parse(&format!("{{{}}}", wide.join(","))).entries.len(), MEMBERS);
    }
}
