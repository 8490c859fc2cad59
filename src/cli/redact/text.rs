//! Texts that are kept in part: user agents, addresses of pages, lists, and the maps that Okta writes as text.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::LazyLock;

use super::keep::{AGENT_WORDS, MODELS, PATHS, PRODUCTS};

/// What stands in the place of a text that is not kept.
pub(super) const REDACTED: &str = "redacted";

fn list(text: &'static str) -> BTreeSet<&'static str> {
    text.split_whitespace().collect()
}

static PRODUCT_LIST: LazyLock<BTreeSet<&str>> = LazyLock::new(|| list(PRODUCTS));
static AGENT_LIST: LazyLock<BTreeSet<&str>> = LazyLock::new(|| list(AGENT_WORDS));
static PATH_LIST: LazyLock<BTreeSet<&str>> = LazyLock::new(|| list(PATHS));

/// Whether a text says nothing: empty, blank, or one of the words for that.
pub(super) fn is_nothing(text: &str) -> bool {
    matches!(text, "unknown" | "null" | "None" | "Unknown" | "UNKNOWN") || text.bytes().all(|byte| byte == b' ')
}

/// Digits divided by dots, as versions are.
pub(super) fn is_version(text: &str) -> bool {
    (1..=20).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'_'))
}

/// The version that a text begins with; one that could be an address loses its last part.
pub(super) fn version(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let mut version = text[..end].trim_end_matches('.');
    if version.parse::<IpAddr>().is_ok() {
        version = version.rsplit_once('.').map_or(version, |(version, _)| version);
    }
    is_version(version).then(|| version.to_owned())
}

/// Whether a text is a UUID.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Whether a text is an e-mail address.
pub(super) fn is_email(text: &str) -> bool {
    let Some((name, host)) = text.split_once('@') else { return false };
    let is_part = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || "@/:;,<>".contains(c));
    is_part(name) && is_part(host) && host.contains('.')
}

/// The products, versions and systems of a user agent, without what tells one device from another.
pub(super) fn agent(raw: &str) -> String {
    const SIGNS: [char; 5] = [' ', ',', ';', '(', ')'];
    /// What words that were left out leave behind, in the order in which it closes.
    const GAPS: [(&str, &str); 8] =
        [("  ", " "), (" ;", ";"), (";;", ";"), ("( ", "("), (" )", ")"), ("(; ", "("), (";)", ")"), ("()", "")];
    let mut kept = String::new();
    let mut takes_version = false;
    // Not at commas: hardware is named with one.
    for part in raw.split_inclusive([' ', ';', '(', ')']).take(64) {
        let word = part.trim_end_matches(SIGNS);
        if !word.is_empty() {
            let shown = agent_word(word, takes_version);
            takes_version = shown.is_some() && matches!(word, "NT" | "X" | "OS" | "Android" | "x86_64");
            kept.push_str(&shown.unwrap_or_default());
        }
        kept.push_str(&part[word.len()..]);
    }
    for (gap, closed) in GAPS {
        while kept.contains(gap) {
            kept = kept.replace(gap, closed);
        }
    }
    kept.trim_matches([' ', ';', ',']).to_owned()
}

fn agent_word(word: &str, takes_version: bool) -> Option<String> {
    if AGENT_LIST.contains(word) || (takes_version && is_version(word) && word.parse::<IpAddr>().is_err()) {
        return Some(word.to_owned());
    }
    if let Some(version) = word.strip_prefix("rv:") {
        return is_version(version).then(|| word.to_owned());
    }
    let (name, version) = word.split_once('/')?;
    if name == "Apple" {
        let model = MODELS.iter().find_map(|family| version.strip_prefix(family))?;
        let (major, minor) = model.split_once(',')?;
        let is_number = |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        return (is_number(major) && is_number(minor)).then(|| word.to_owned());
    }
    // Okta's apps put an id before their name.
    const APP: &str = "com.okta.mobile";
    let name = if name.ends_with(APP) { APP } else { name };
    if name != APP && !PRODUCT_LIST.contains(name) {
        return None;
    }
    Some(if is_version(version) { format!("{name}/{version}") } else { name.to_owned() })
}

/// The path of an address, its host and query gone; `id` stands in for ids. `None` where the text is no address.
pub(super) fn page(text: &str, id: &mut dyn FnMut(&str) -> Option<String>) -> Option<String> {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = match text.split_once("://") {
        Some(("http" | "https", rest)) => ("https://example.com", rest.split_once('/').map_or("", |(_, path)| path)),
        Some(_) => return None,
        None => ("", text.strip_prefix('/')?),
    };
    let mut out = host.to_owned();
    for segment in path.split('/').take(32) {
        out.push('/');
        if PATH_LIST.contains(segment) {
            out.push_str(segment);
        } else if !segment.is_empty() {
            out.push_str(&id(segment).unwrap_or_else(|| REDACTED.to_owned()));
        }
    }
    if !host.is_empty() && path.is_empty() {
        out.pop();
    }
    Some(out)
}

/// A list or map that Okta writes as text (`[A, B]`, `{reasons=A, B, level=HIGH}`): each part through `part`, the part
/// before a `=` through `name`.
pub(super) fn parts(text: &str, name: &mut dyn FnMut(&str) -> String, part: &mut dyn FnMut(&str) -> String) -> String {
    let open = text.chars().next().filter(|c| matches!(c, '[' | '{'));
    let inner = text.trim_start_matches(['[', '{']).trim_end_matches([']', '}']);
    let mut shown = Vec::new();
    for item in inner.split(',').take(256).map(str::trim) {
        shown.push(match item.split_once('=') {
            Some((key, value)) => format!("{}={}", name(key), part(value)),
            None if item.is_empty() => String::new(),
            None => part(item),
        });
    }
    let inner = shown.join(", ");
    match open {
        Some('[') => format!("[{inner}]"),
        Some(_) => format!("{{{inner}}}"),
        None => inner,
    }
}
