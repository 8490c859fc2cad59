//! YAML for people: the configuration and the rules, read into a tree in which every value knows where it stands, and
//! from there into types.
//!
//! What is wrong is reported with file, line, column and the nearest name that would be right. A message never repeats
//! a value that may be a secret. Refused: several documents, duplicate keys, tags other than `!!str`, keys that are not
//! scalars, and more nesting or aliases than anybody writes. The text comes in from outside; nothing here opens a file.

mod de;
mod error;
mod node;
mod parse;

use std::path::Path;

use serde::de::DeserializeOwned;

pub use de::section;
pub use error::{Error, Problem};
pub use node::{Entry, Node, Origin, Value};
pub use parse::{parse, parse_variable};

/// The largest file of YAML in bytes; whoever opens one holds to it.
pub const MAX_BYTES: u64 = 1 << 20;

/// Reads one document that is said to stand in `path`; an empty text is an empty mapping.
///
/// # Errors
/// With the place of the first problem.
pub fn read<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, Error> {
    section(&parse(text, path)?)
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

    fn sample(text: &str) -> Result<Sample, String> {
        read(text, Path::new("a.yaml")).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn fails(text: &str, expect: &str) {
        assert_eq!(sample(text).expect_err("a flaw"), expect, "{text}");
    }

    #[test]
    fn a_good_document_is_read_and_an_empty_one_is_empty() {
        let text = "kinds:\n  policy.rule.: policy_change\nrows:\n  - { name: a, count: 3 }\n";
        let good = sample(text).expect("good");
        assert_eq!(good.rows, [Row { name: "a".to_owned(), count: 3 }]);
        assert_eq!(good.kinds.get("policy.rule."), Some(&Kind::PolicyChange));
        assert_eq!(sample(""), Ok(Sample::default()));
        assert_eq!(sample("# only a remark\n"), Ok(Sample::default()));
    }

    #[test]
    fn every_flaw_names_its_place_and_the_nearest_word() {
        fails("kindz: {}\n", "a.yaml:1:1: unknown key `kindz` (did you mean `kinds`?)");
        fails("xyz: 1\n", "a.yaml:1:1: unknown key `xyz` (expected one of `kinds`, `rows`)");
        fails(
            "kinds:\n  a.b: polcy_change\n",
            "a.yaml:2:8: unknown word `polcy_change` (did you mean `policy_change`?)",
        );
        fails("rows:\n  - name: a\n    cuont: 1\n", "a.yaml:3:5: unknown key `cuont` (did you mean `count`?)");
        fails(
            "rows:\n  - name: a\n    count: 300\n",
            "a.yaml:3:12: found a value out of range, expected a whole number from 0 to 255",
        );
        fails("rows:\n  - count: 1\n", "a.yaml:2:5: missing key `name`");
        fails("rows: 5\n", "a.yaml:1:7: found a whole number, expected a list");
        fails("rows: [*x]\n", "a.yaml:1:8: not valid YAML: while parsing node, found unknown anchor");
    }
}
