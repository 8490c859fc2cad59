//! One page of the System Log API: a JSON array of events, read in one pass.
//!
//! An element that is well-formed but no event is a reject; an array that is not well-formed is a [`Fault`], since a
//! reply that was cut off must be fetched again rather than half counted.

use serde_json::value::RawValue;

use super::envelope::{Each, Item, Within, failed, value};
use super::scan;
use crate::event::Reject;

/// Why a body is no page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// It ends too early, or is empty.
    CutOff,
    /// It is no JSON.
    NotJson,
    /// It is JSON, but no array.
    NotAnArray,
}

/// Hands over every element of a page; returns their number. After a fault, what was handed over must be discarded.
pub(crate) fn page(body: &[u8], each: &mut Each<'_>) -> Result<usize, Fault> {
    match std::str::from_utf8(body) {
        Ok(text) => elements(text.strip_prefix('\u{feff}').unwrap_or(text), Within::default(), each),
        Err(error) if error.error_len().is_none() => Err(Fault::CutOff),
        Err(_) => broken_text(body, each),
    }
}

/// Hands over every element of the array that `text` is; returns their number.
pub(super) fn elements(text: &str, within: Within, each: &mut Each<'_>) -> Result<usize, Fault> {
    let mut at = blank(text, 0);
    match text.as_bytes().get(at) {
        None => return Err(Fault::CutOff),
        Some(b'[') => at = blank(text, at + 1),
        Some(_) => return Err(not_an_array(text)),
    }
    let mut count = 0;
    if text.as_bytes().get(at) == Some(&b']') {
        return end(text, at + 1).map(|()| count);
    }
    loop {
        at = blank(text, element(text, at, within, each)?);
        count += 1;
        match text.as_bytes().get(at) {
            Some(b',') => at = blank(text, at + 1),
            Some(b']') => return end(text, at + 1).map(|()| count),
            Some(_) => return Err(Fault::NotJson),
            None => return Err(Fault::CutOff),
        }
    }
}

/// Hands over the element that begins at `at`; returns where it ends.
fn element(text: &str, at: usize, within: Within, each: &mut Each<'_>) -> Result<usize, Fault> {
    let rest = &text[at..];
    if rest.starts_with('{') {
        let mut json = serde_json::Deserializer::from_str(rest).into_iter::<Item<'_>>();
        if let Some(Ok(item)) = json.next() {
            let end = json.byte_offset();
            item.hand_over(&rest[..end], within, each);
            return Ok(at + end);
        }
    }
    let mut json = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
    match json.next() {
        Some(Ok(raw)) if rest.starts_with('{') => failed(raw.get(), within, each),
        Some(Ok(raw)) => value(raw.get(), within.deeper(None), each),
        Some(Err(error)) if !error.is_eof() => return Err(Fault::NotJson),
        Some(Err(_)) | None => return Err(Fault::CutOff),
    }
    Ok(at + json.byte_offset())
}

/// Where the next byte is that is no JSON white space.
fn blank(text: &str, at: usize) -> usize {
    let rest = &text.as_bytes()[at..];
    at + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count()
}

fn end(text: &str, at: usize) -> Result<(), Fault> {
    if blank(text, at) == text.len() { Ok(()) } else { Err(Fault::NotJson) }
}

fn not_an_array(text: &str) -> Fault {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(_) => Fault::NotAnArray,
        Err(error) if error.is_eof() => Fault::CutOff,
        Err(_) => Fault::NotJson,
    }
}

/// Hands over every element of an array in which some byte is no UTF-8; only the elements that hold such a byte are lost.
pub(super) fn broken_text(body: &[u8], each: &mut Each<'_>) -> Result<usize, Fault> {
    if body.trim_ascii_start().first() != Some(&b'[') {
        return Err(Fault::NotJson);
    }
    let ranges = scan::elements(body).ok_or(Fault::CutOff)?;
    let count = ranges.len();
    for range in ranges {
        match std::str::from_utf8(&body[range]) {
            Ok(text) if serde_json::from_str::<&RawValue>(text).is_err() => return Err(Fault::NotJson),
            Ok(text) => value(text, Within::default().deeper(None), each),
            Err(_) => each(Err(Reject::NotUtf8)),
        }
    }
    Ok(count)
}
