//! One record as a message of RFC 5424, in its frame.
//!
//! `<PRI>1 TIMESTAMP HOSTNAME APP-NAME - MSGID [id] MSG`. The structured data carries the stable id. A message longer than
//! `max_bytes` is cut within its shape where that can be: CEF loses keys from the last, JSON texts and then whole
//! members, and stays valid; only what is still too long ends in its middle. Structured data then says `cut="yes"`.

use std::fmt::Write as _;

use serde_json::Value;

use super::config::{Config, Framing, Payload};
use crate::act::encode::{self, Level, cef, ecs, ocsf, raw};
use crate::act::forward::{Forwarded, What};

/// What says that a message was cut.
const CUT: &str = " cut=\"yes\"";

/// The byte order mark that RFC 5424 asks for before UTF-8.
const BOM: &str = "\u{feff}";

/// The longest value of structured data, in characters.
const PARAM: usize = 256;

/// A message in its frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Framed {
    pub(super) bytes: Vec<u8>,
    pub(super) is_cut: bool,
}

pub(super) fn framed(config: &Config, forwarded: &Forwarded) -> Framed {
    let (message, is_cut) = message(config, forwarded);
    let bytes = match config.framing {
        Framing::OctetCounting => format!("{} {message}", message.len()).into_bytes(),
        // Every shape has escaped its line breaks; a frame may not depend on that.
        Framing::Newline => format!("{}\n", message.replace(['\n', '\r'], " ")).into_bytes(),
    };
    Framed { bytes, is_cut }
}

fn message(config: &Config, forwarded: &Forwarded) -> (String, bool) {
    let head = header(config, forwarded);
    let bom = if config.bom { BOM } else { "" };
    // The bracket, the blank, and what says that it was cut.
    let room = config.max_bytes.saturating_sub(head.len() + CUT.len() + "] ".len() + bom.len());
    let (mut text, mut is_cut) = text(config.payload, forwarded, room);
    if text.len() > room {
        is_cut = true;
        let end = (0..=room).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    (format!("{head}{}] {bom}{text}", if is_cut { CUT } else { "" }), is_cut)
}

fn text(payload: Payload, forwarded: &Forwarded, room: usize) -> (String, bool) {
    let (value, dropped): (Value, &[&str]) = match payload {
        Payload::Cef => return cef::bounded(forwarded, room),
        Payload::Raw => (raw::encode(forwarded), &raw::DROPPED),
        Payload::Ecs => (ecs::encode(forwarded), &ecs::DROPPED),
        Payload::Ocsf => (ocsf::encode(forwarded), &ocsf::DROPPED),
    };
    let whole = value.to_string();
    if whole.len() <= room {
        return (whole, false);
    }
    let mut value = value;
    if payload == Payload::Ocsf {
        ocsf::mark_short(&mut value, whole.len());
    }
    let is_cut = encode::shorten(&mut value, room, dropped);
    (value.to_string(), is_cut)
}

/// Everything before the end of the structured data.
fn header(config: &Config, forwarded: &Forwarded) -> String {
    let severity = match Level::of(forwarded) {
        Level::Info => 6,
        Level::Low => 5,
        Level::Medium => 4,
        Level::High => 2,
    };
    let pri = config.facility * 8 + severity;
    let host = config.hostname.as_deref().unwrap_or(forwarded.org.as_str());
    let kind = match &forwarded.what {
        What::Event { event, .. } => event.kind.as_str(),
        What::Finding(_) => "incident",
    };
    let time = encode::time(forwarded).to_string();
    // A year of five digits is no time of RFC 3339.
    let time = if time.len() == "2026-03-02T09:00:00.000Z".len() { time.as_str() } else { "-" };
    let mut out = format!(
        "<{pri}>1 {time} {} {} - {} [{}",
        word(host, 255),
        word(&config.app_name, 48),
        word(kind, 32),
        config.structured_data_id
    );
    for (name, value) in [("id", forwarded.id.as_str()), ("org", forwarded.org.as_str())] {
        let _ = write!(out, " {name}=\"{}\"", param(value));
    }
    out
}

/// A header field: printable ASCII without blanks, `-` for what is neither, and for nothing.
fn word(text: &str, most: usize) -> String {
    let word: String = text.chars().take(most).map(|c| if c.is_ascii_graphic() { c } else { '-' }).collect();
    if word.is_empty() { "-".to_owned() } else { word }
}

/// A value of structured data: `"`, `\` and `]` are escaped.
fn param(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().take(PARAM) {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_header_are_printable_and_never_empty() {
        assert_eq!(word("acme corp/é", 255), "acme-corp/-");
        assert_eq!(word("", 255), "-");
        assert_eq!(word("abcdef", 3), "abc");
    }

    #[test]
    fn trap_structured_data_escapes_three_characters() {
        assert_eq!(param("a\"b\\c]d=e\nf"), "a\\\"b\\\\c\\]d=e f");
    }
}
