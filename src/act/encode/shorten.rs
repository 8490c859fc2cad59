//! Makes a JSON document fit a bound and stay JSON: first long texts are cut, then whole members go.

use serde_json::Value;

/// Lengths of texts that are tried, in characters.
const LENGTHS: [usize; 3] = [1_024, 256, 64];

/// Members that are no use in part.
const IDS: [&str; 6] = ["id", "uid", "uuid", "original_event_uid", "correlation_uid", "key"];

/// What marks a text that was cut.
const MARK: &str = "…";

/// Cuts a document to at most `limit` bytes: texts to 1,024, 256, then 64 characters, then the members at `dropped` (JSON
/// pointers), one after the other. Whether anything was cut; the document may still be too long where all of it is
/// gone.
pub fn shorten(value: &mut Value, limit: usize, dropped: &[&str]) -> bool {
    if length(value) <= limit {
        return false;
    }
    for most in LENGTHS {
        cut_texts(value, most);
        if length(value) <= limit {
            return true;
        }
    }
    for pointer in dropped {
        remove(value, pointer);
        if length(value) <= limit {
            return true;
        }
    }
    true
}

fn length(value: &Value) -> usize {
    value.to_string().len()
}

fn cut_texts(value: &mut Value, most: usize) {
    match value {
        Value::String(text) => cut(text, most),
        Value::Array(list) => list.iter_mut().for_each(|value| cut_texts(value, most)),
        Value::Object(map) => {
            let others = map.iter_mut().filter(|(name, _)| !IDS.contains(&name.as_str()));
            others.for_each(|(_, value)| cut_texts(value, most));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Cuts a text to `most` characters, its mark among them.
pub(super) fn cut(text: &mut String, most: usize) {
    if text.len() <= most || text.chars().count() <= most {
        return;
    }
    let keep = text.char_indices().nth(most.saturating_sub(1)).map_or(0, |(at, _)| at);
    text.truncate(keep);
    text.push_str(MARK);
}

fn remove(value: &mut Value, pointer: &str) {
    let Some((parent, name)) = pointer.rsplit_once('/') else { return };
    if let Some(Value::Object(map)) = value.pointer_mut(parent) {
        map.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_cut_before_members_go_and_what_fits_stays_as_it_is() {
        let mut small = json!({ "a": "b" });
        assert!(!shorten(&mut small, 100, &["/a"]));
        assert_eq!(small, json!({ "a": "b" }));

        let mut long = json!({ "id": "x", "text": "é".repeat(2_000), "more": { "list": [1, 2, 3] } });
        assert!(shorten(&mut long, 600, &["/more/list"]));
        assert!(long.to_string().len() <= 600);
        assert_eq!(long["text"].as_str().map(|text| text.chars().count()), Some(256));
        assert_eq!(long["more"]["list"], json!([1, 2, 3]));

        assert!(shorten(&mut long, 120, &["/absent/x", "/text", "/more/list"]));
        assert_eq!(long, json!({ "id": "x", "more": { "list": [1, 2, 3] } }));
        assert!(shorten(&mut long, 10, &["/more"]));
        assert_eq!(long, json!({ "id": "x" }));
    }
}
