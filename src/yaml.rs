//! YAML for rules and tables: typed values, and errors that say where.
//!
//! A document is parsed with positions, turned into a JSON value, and read by serde, so unknown keys and wrong words
//! are found by the types themselves. What is refused: several documents, aliases, tags, keys that are no text.

use std::fmt;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};
use serde_path_to_error::{Path, Segment};

/// A place in a text, both from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// The line.
    pub line: usize,
    /// The column in characters.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// What is wrong with a document, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Flaw {
    /// Where.
    pub place: Place,
    /// What, with the nearest known word in parentheses where one is near.
    pub what: String,
}

/// Reads one document. An empty text reads as an empty mapping.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, Flaw> {
    let documents = MarkedYaml::load_from_str(text).map_err(|error| Flaw {
        place: Place { line: error.marker().line(), column: error.marker().col() + 1 },
        what: error.info().to_owned(),
    })?;
    let root = match documents.as_slice() {
        [] => return typed(&MarkedYaml::from(YamlData::Mapping(Default::default())), Value::Object(Map::new())),
        [root] => root,
        [_, second, ..] => return Err(flaw(second, "a second document (one file holds one document)")),
    };
    typed(root, json(root)?)
}

fn typed<T: DeserializeOwned>(root: &MarkedYaml<'_>, value: Value) -> Result<T, Flaw> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().clone();
        let message = error.into_inner().to_string();
        let words: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        let unknown_key = words.first().copied().filter(|_| message.starts_with("unknown field"));
        let place = find(root, &path, unknown_key);
        Flaw { place, what: with_nearest(&message, &words) }
    })
}

fn place(node: &MarkedYaml<'_>) -> Place {
    Place { line: node.span.start.line().max(1), column: node.span.start.col() + 1 }
}

fn flaw(node: &MarkedYaml<'_>, what: impl Into<String>) -> Flaw {
    Flaw { place: place(node), what: what.into() }
}

fn json(node: &MarkedYaml<'_>) -> Result<Value, Flaw> {
    Ok(match &node.data {
        YamlData::Value(Scalar::Null) => Value::Null,
        YamlData::Value(Scalar::Boolean(value)) => Value::Bool(*value),
        YamlData::Value(Scalar::Integer(value)) => Value::from(*value),
        YamlData::Value(Scalar::FloatingPoint(value)) => Number::from_f64(value.into_inner())
            .map(Value::Number)
            .ok_or_else(|| flaw(node, "a number that is none"))?,
        YamlData::Value(Scalar::String(text)) => Value::from(text.as_ref()),
        YamlData::Sequence(nodes) => Value::Array(nodes.iter().map(json).collect::<Result<_, _>>()?),
        YamlData::Mapping(pairs) => Value::Object(
            pairs.iter().map(|(key, value)| Ok((key_text(key)?, json(value)?))).collect::<Result<_, Flaw>>()?,
        ),
        YamlData::Representation(..) | YamlData::Tagged(..) | YamlData::Alias(_) | YamlData::BadValue => {
            return Err(flaw(node, "a tag or alias (write the value itself)"));
        }
    })
}

fn key_text(key: &MarkedYaml<'_>) -> Result<String, Flaw> {
    match &key.data {
        YamlData::Value(Scalar::String(text)) => Ok(text.to_string()),
        _ => Err(flaw(key, "a key that is no text (put it in quotes)")),
    }
}

/// The place of the value at `path`; of its key where the key itself is the flaw, or where the value is a collection.
fn find(root: &MarkedYaml<'_>, path: &Path, unknown_key: Option<&str>) -> Place {
    let mut at = root;
    let mut found = place(root);
    for segment in path {
        let (key, value) = match (segment, &at.data) {
            (Segment::Map { key }, YamlData::Mapping(pairs)) => {
                let Some((name, value)) = pairs.iter().find(|(name, _)| is_text(name, key)) else { break };
                (Some(name), value)
            }
            (Segment::Seq { index }, YamlData::Sequence(nodes)) => {
                let Some(value) = nodes.get(*index) else { break };
                (None, value)
            }
            _ => break,
        };
        at = value;
        let key_is_flaw = matches!((segment, unknown_key), (Segment::Map { key }, Some(word)) if key == word);
        found = match (&value.data, key) {
            (_, Some(key)) if key_is_flaw => return place(key),
            (YamlData::Mapping(_) | YamlData::Sequence(_), Some(key)) => place(key),
            _ => place(value),
        };
    }
    found
}

fn is_text(node: &MarkedYaml<'_>, text: &str) -> bool {
    matches!(&node.data, YamlData::Value(Scalar::String(have)) if have == text)
}

/// Replaces serde's list of all known words by the nearest one: ``unknown field `foo` (did you mean `food`?)``.
fn with_nearest(message: &str, words: &[&str]) -> String {
    let unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    let (Some((word, known)), true) = (words.split_first(), unknown) else { return message.to_owned() };
    let head = message.split(", expected").next().unwrap_or(message);
    match nearest(word, known) {
        Some(near) => format!("{head} (did you mean `{near}`?)"),
        None => format!("{head} (known: {})", known.join(", ")),
    }
}

/// The known word that a typing slip could have meant.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    const LIKENESS: f64 = 0.75;
    let scored = known.iter().map(|candidate| (strsim::jaro_winkler(word, candidate), *candidate));
    scored.filter(|(score, _)| *score >= LIKENESS).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::event::Kind;

    #[derive(Deserialize, Debug, Default, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        kinds: BTreeMap<String, Kind>,
        rows: Vec<Row>,
    }

    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Row {
        name: String,
        #[serde(default)]
        count: u8,
    }

    #[track_caller]
    fn fails(text: &str, at: &str, what: &str) {
        let flaw = read::<Sample>(text).expect_err("a flaw");
        assert_eq!((flaw.place.to_string().as_str(), flaw.what.as_str()), (at, what), "{text}");
    }

    #[test]
    fn a_good_document_is_read_and_an_empty_one_is_empty() {
        let text = "kinds:\n  policy.rule.: policy_change\nrows:\n  - { name: a, count: 3 }\n";
        let sample: Sample = read(text).expect("good");
        assert_eq!(sample.rows, [Row { name: "a".to_owned(), count: 3 }]);
        assert_eq!(sample.kinds.get("policy.rule."), Some(&Kind::PolicyChange));
        assert_eq!(read::<Sample>("").expect("empty"), Sample::default());
        assert_eq!(read::<Sample>("# only a remark\n").expect("empty"), Sample::default());
    }

    #[test]
    fn every_flaw_names_its_place_and_the_nearest_word() {
        fails("kindz: {}\n", "1:1", "unknown field `kindz` (did you mean `kinds`?)");
        fails("xyz: 1\n", "1:1", "unknown field `xyz` (known: kinds, rows)");
        fails("kinds:\n  a.b: polcy_change\n", "2:8", "unknown variant `polcy_change` (did you mean `policy_change`?)");
        fails("rows:\n  - name: a\n    cuont: 1\n", "3:5", "unknown field `cuont` (did you mean `count`?)");
        fails("rows:\n  - name: a\n    count: 300\n", "3:12", "invalid value: integer `300`, expected u8");
        fails("rows:\n  - count: 1\n", "2:5", "missing field `name`");
        fails("rows: 5\n", "1:7", "invalid type: integer `5`, expected a sequence");
        fails("---\nrows: []\n---\nrows: []\n", "4:1", "a second document (one file holds one document)");
        fails("rows: [*x]\n", "1:8", "while parsing node, found unknown anchor");
        fails("1: x\n", "1:1", "a key that is no text (put it in quotes)");
    }

    #[test]
    fn a_key_that_is_written_twice_is_a_flaw() {
        let flaw = read::<Sample>("rows: []\nkinds: {}\nrows: []\n").expect_err("a duplicate");
        assert!(flaw.what.contains("duplicate"), "{flaw:?}");
    }

    #[test]
    fn a_far_word_suggests_nothing() {
        assert_eq!(nearest("zebra", &["policy_change", "device"]), None);
        assert_eq!(nearest("devise", &["policy_change", "device"]), Some("device"));
    }
}
