//! Looks at JSON as bytes, where parsing is too late or too strict.
//!
//! Only [`deeper_than`] runs on every event, as one pass that a compiler turns into vector code; the rest serves
//! records that have already failed.

use std::ops::Range;

/// Whether objects and lists nest deeper than `limit`, text aside.
///
/// Nesting can only exceed the limit where more brackets open than that, so nearly every event is done after a count.
pub(super) fn deeper_than(json: &[u8], limit: usize) -> bool {
    count_opening(json) > limit && deepest(json) > limit
}

/// Counts `{` and `[`, which differ in one bit.
fn count_opening(json: &[u8]) -> usize {
    const LANES: usize = 255;
    json.chunks(LANES)
        .map(|chunk| {
            usize::from(chunk.iter().fold(0_u8, |count, byte| count.wrapping_add(u8::from(byte | 0x20 == b'{'))))
        })
        .sum()
}

fn deepest(json: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut deepest = 0;
    walk(json, |_, byte| {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    });
    deepest
}

/// Calls `structural` for every byte outside of texts, with its offset.
fn walk(json: &[u8], mut structural: impl FnMut(usize, u8)) {
    let mut in_text = false;
    let mut escaped = false;
    for (at, &byte) in json.iter().enumerate() {
        if !in_text {
            structural(at, byte);
            in_text = byte == b'"';
        } else if escaped {
            escaped = false;
        } else if byte == b'\\' {
            escaped = true;
        } else if byte == b'"' {
            in_text = false;
        }
    }
}

/// The elements of a JSON array that cannot be read as text because some byte is no UTF-8; `None` where brackets do not
/// match up. Whether the elements are JSON is left open.
pub(super) fn elements(json: &[u8]) -> Option<Vec<Range<usize>>> {
    let mut depth = 0_usize;
    let mut start = None;
    let mut end = None;
    let mut found = Vec::new();
    let mut broken = false;
    walk(json, |at, byte| {
        broken |= end.is_some() && !byte.is_ascii_whitespace();
        match byte {
            b'[' | b'{' => {
                depth += 1;
                if depth == 1 {
                    broken |= byte != b'[';
                    start = Some(at + 1);
                }
            }
            b']' | b'}' => {
                broken |= depth == 0;
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
        let closes = depth == 0 && byte == b']';
        if closes || (depth == 1 && byte == b',') {
            found.extend(start.map(|start| trimmed(json, start..at)));
            start = Some(at + 1);
        }
        if closes {
            end = Some(at);
        }
    });
    if broken || end.is_none() {
        return None;
    }
    if found.len() == 1 {
        found.retain(|range| !range.is_empty());
    }
    Some(found)
}

fn trimmed(json: &[u8], range: Range<usize>) -> Range<usize> {
    let slice = &json[range.clone()];
    let lead = slice.len() - slice.trim_ascii_start().len();
    range.start + lead..range.start + lead + slice.trim_ascii().len()
}

/// Replaces half surrogate pairs (`\ud83d` alone, what is left where a sender cut an emoji) with `\ufffd`; `None` where
/// there is none.
pub(crate) fn mend_surrogates(json: &str) -> Option<String> {
    let bytes = json.as_bytes();
    let mut mended = String::new();
    let mut done = 0;
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        let width = match unit(bytes, at) {
            Some(0xD800..=0xDBFF) if matches!(unit(bytes, at + 6), Some(0xDC00..=0xDFFF)) => 12,
            Some(0xD800..=0xDFFF) => {
                mended.push_str(&json[done..at]);
                mended.push_str("\\ufffd");
                done = at + 6;
                6
            }
            Some(_) => 6,
            None => 2,
        };
        at += width;
    }
    if done == 0 {
        return None;
    }
    mended.push_str(&json[done..]);
    Some(mended)
}

/// The UTF-16 unit of the escape `\uXXXX` at `at`.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    let text = std::str::from_utf8(digits).ok()?;
    u16::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_of_texts_only() {
        assert_eq!(deepest(br#"{"a":[{"b":"[[[[\"[["}]}"#), 3);
        assert!(!deeper_than(br#"{"a":"[[[[[[[["}"#, 3));
        assert!(deeper_than(b"[[[[]]]]", 3));
        assert!(!deeper_than(b"[[[]]]", 3));
        assert!(!deeper_than(b"[[],[],[],[],[]]", 3));
    }

    #[test]
    fn counting_survives_more_brackets_than_a_lane_holds() {
        assert_eq!(count_opening(&[b'['; 1_000]), 1_000);
        assert_eq!(count_opening(&[b'{'; 255]), 255);
        assert_eq!(count_opening(b"}](;\\\xdb\xfb"), 0);
    }

    #[track_caller]
    fn split(json: &str, expect: Option<&[&str]>) {
        let found = elements(json.as_bytes());
        let texts = found.map(|ranges| ranges.into_iter().map(|range| &json[range]).collect::<Vec<_>>());
        assert_eq!(texts.as_deref(), expect, "{json}");
    }

    #[test]
    fn elements_are_cut_at_the_commas_of_the_outer_list() {
        split("[]", Some(&[]));
        split(" [ ] ", Some(&[]));
        split(r#"[{"a":[1,2]} , "x,]" ]"#, Some(&[r#"{"a":[1,2]}"#, r#""x,]""#]));
        split("[1,,2]", Some(&["1", "", "2"]));
        split("[1", None);
        split(r#"["a]"#, None);
        split("[1] x", None);
        split("[1]]", None);
        split("{}", None);
        split("x", None);
        split("", None);
    }

    #[track_caller]
    fn mend(json: &str, expect: Option<&str>) {
        assert_eq!(mend_surrogates(json).as_deref(), expect, "{json}");
    }

    #[test]
    fn half_pairs_are_replaced_and_whole_ones_kept() {
        mend(r#""\ud83d""#, Some(r#""\ufffd""#));
        mend(r#""\ude00x""#, Some(r#""\ufffdx""#));
        mend(r#""é\ud83d\ud83d\ude00""#, Some(r#""é\ufffd\ud83d\ude00""#));
        mend(r#""\ud83d\ude00""#, None);
        mend(r#""\\ud83d""#, None);
        mend(r#""\u00e9 \n""#, None);
        mend("\\", None);
        mend("\\u12", None);
    }
}
