//! YAML text to [`Node`]s, with a bound on everything: size, nesting, and what aliases unfold to.
//!
//! Refused: more than one document, duplicate keys, tags other than `!!str`, keys that are not scalars.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::{Entry, Error, Node, Origin, Problem, Value};

/// The deepest nesting; the tree is walked by recursion.
const MAX_DEPTH: usize = 64;
/// The most nodes that all aliases together may add.
const MAX_ALIASED: usize = 10_000;

/// Reads one document; an empty text is an empty mapping.
///
/// # Errors
/// Where the text is no YAML, or of the YAML that is refused here.
pub fn parse(text: &str, path: &Path) -> Result<Node, Error> {
    let mut builder = Builder::new(path);
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|e| Error::at(&builder.at(*e.marker()), Problem::Syntax(e.info().to_owned())))?;
        let origin = builder.at(span.start);
        builder.event(event, &origin).map_err(|problem| Error::at(&origin, problem))?;
    }
    Ok(builder.root.unwrap_or_else(|| Node::empty(Origin::File { path: path.into(), line: 1, column: 1 })))
}

/// Reads the text of an environment variable that holds a list or a mapping.
///
/// # Errors
/// As [`parse`]; the place is the variable.
pub fn parse_variable(text: &str, origin: &Origin) -> Result<Node, Error> {
    let mut node = parse(text, Path::new("")).map_err(|error| Error::at(origin, error.problem))?;
    relocate(&mut node, origin);
    Ok(node)
}

fn relocate(node: &mut Node, origin: &Origin) {
    node.origin = origin.clone();
    match &mut node.value {
        Value::Scalar { .. } => {}
        Value::List(items) => items.iter_mut().for_each(|item| relocate(item, origin)),
        Value::Map(entries) => entries.iter_mut().for_each(|entry| {
            entry.origin = origin.clone();
            relocate(&mut entry.value, origin);
        }),
    }
}

/// A collection that is still open.
struct Open {
    node: Node,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<(String, Origin)>,
    /// The keys so far, to know a duplicate.
    keys: BTreeSet<String>,
}

struct Builder {
    path: Arc<Path>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    aliased: usize,
    documents: usize,
    root: Option<Node>,
}

impl Builder {
    fn new(path: &Path) -> Self {
        Self { path: path.into(), open: Vec::new(), anchors: BTreeMap::new(), aliased: 0, documents: 0, root: None }
    }

    fn at(&self, mark: Marker) -> Origin {
        Origin::File { path: Arc::clone(&self.path), line: mark.line(), column: mark.col() + 1 }
    }

    fn event(&mut self, event: Event<'_>, origin: &Origin) -> Result<(), Problem> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 { Err(syntax("only one document belongs in a file")) } else { Ok(()) }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let text_tag = check_tag(tag.as_deref())?;
                let plain = style == ScalarStyle::Plain && !text_tag;
                let value = Value::Scalar { text: text.into_owned(), plain };
                self.insert(Node { origin: origin.clone(), value }, anchor)
            }
            Event::SequenceStart(anchor, tag) => self.start(Value::List(Vec::new()), anchor, tag.as_deref(), origin),
            Event::MappingStart(anchor, tag) => self.start(Value::Map(Vec::new()), anchor, tag.as_deref(), origin),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.insert(open.node, open.anchor),
                None => Err(syntax("a collection ends that did not begin")),
            },
            Event::Alias(id) => {
                let node = self.anchors.get(&id).ok_or_else(|| syntax("unknown alias"))?;
                self.aliased += size(node);
                if self.aliased > MAX_ALIASED {
                    return Err(syntax("aliases unfold to more than 10,000 values"));
                }
                if self.open.len() + depth(node) > MAX_DEPTH {
                    return Err(too_deep());
                }
                let node = node.clone();
                self.insert(node, 0)
            }
        }
    }

    fn start(&mut self, value: Value, anchor: usize, tag: Option<&Tag>, origin: &Origin) -> Result<(), Problem> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep());
        }
        if check_tag(tag)? {
            return Err(syntax("the tag `!!str` belongs to a scalar"));
        }
        self.open.push(Open { node: Node { origin: origin.clone(), value }, anchor, key: None, keys: BTreeSet::new() });
        Ok(())
    }

    fn insert(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut parent.node.value {
            Value::List(items) => items.push(node),
            Value::Scalar { .. } => {}
            Value::Map(entries) => match parent.key.take() {
                Some((key, origin)) => entries.push(Entry { key, origin, value: node }),
                None => {
                    let Value::Scalar { text, .. } = node.value else {
                        return Err(syntax("a key must be a scalar"));
                    };
                    if !parent.keys.insert(text.clone()) {
                        return Err(Problem::DuplicateKey(text));
                    }
                    parent.key = Some((text, node.origin));
                }
            },
        }
        Ok(())
    }
}

/// Whether the tag says that a scalar is text; refuses every other tag.
fn check_tag(tag: Option<&Tag>) -> Result<bool, Problem> {
    match tag {
        None => Ok(false),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Ok(true),
        Some(_) => Err(syntax("tags other than `!!str` mean nothing here")),
    }
}

fn syntax(text: &str) -> Problem {
    Problem::Syntax(text.to_owned())
}

fn too_deep() -> Problem {
    Problem::Syntax(format!("nested deeper than {MAX_DEPTH} levels"))
}

fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::Scalar { .. } => 0,
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(entries) => entries.iter().map(|entry| 1 + size(&entry.value)).sum(),
    }
}

fn depth(node: &Node) -> usize {
    match &node.value {
        Value::Scalar { .. } => 0,
        Value::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => 1 + entries.iter().map(|entry| depth(&entry.value)).max().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let error = parse(text, Path::new("a.yaml")).expect_err(text);
        assert_eq!(error.to_string(), expect, "{text}");
    }

    #[test]
    fn every_value_and_key_knows_its_line_and_column() {
        let root = parse("org: acme\nsources:\n  - okta: { url: \"x\" }\n", Path::new("a.yaml")).expect("yaml");
        let sources = root.get("sources").expect("sources");
        let Value::List(items) = &sources.value else { panic!("a list") };
        let okta = &items[0].entries()[0];
        assert_eq!(root.entries()[0].value.origin.to_string(), "a.yaml:1:6");
        assert_eq!(okta.origin.to_string(), "a.yaml:3:5");
        assert_eq!(okta.value.entries()[0].origin.to_string(), "a.yaml:3:13");
        assert_eq!(okta.value.get("url").expect("url").origin.to_string(), "a.yaml:3:18");
    }

    #[test]
    fn what_yaml_allows_and_people_do_not_mean_is_refused_where_it_stands() {
        check("org: a\norg: b\n", "a.yaml:2:1: duplicate key `org`");
        check("org: a\n\"org\": b\n", "a.yaml:2:1: duplicate key `org`");
        check("a: 1\n---\nb: 2\n", "a.yaml:2:1: not valid YAML: only one document belongs in a file");
        check("a: !secret x\n", "a.yaml:1:4: not valid YAML: tags other than `!!str` mean nothing here");
        check("? [a]\n: b\n", "a.yaml:1:5: not valid YAML: a key must be a scalar");
        let error = parse("a: [1,\nb: 2", Path::new("a.yaml")).expect_err("open list").to_string();
        assert!(error.starts_with("a.yaml:2:"), "{error}");
    }

    #[test]
    fn nesting_and_aliases_have_a_bound() {
        let deep = "- ".repeat(MAX_DEPTH + 1) + "x";
        check(&deep, "a.yaml:1:129: not valid YAML: nested deeper than 64 levels");
        assert!(parse(&("- ".repeat(MAX_DEPTH) + "x"), Path::new("a.yaml")).is_ok());
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..5 {
            let list = vec![format!("*a{}", i - 1); 10].join(", ");
            bomb += &format!("a{i}: &a{i} [{list}]\n");
        }
        let error = parse(&bomb, Path::new("a.yaml")).expect_err("bomb").to_string();
        assert!(error.ends_with("aliases unfold to more than 10,000 values"), "{error}");
    }

    #[test]
    fn an_alias_is_the_value_it_stands_for() {
        let root = parse("a: &x { b: 1 }\nc: *x\n", Path::new("a.yaml")).expect("yaml");
        assert_eq!(root.get("a"), root.get("c"));
    }

    #[test]
    fn quotes_and_the_str_tag_make_text_of_a_number() {
        let root = parse("a: 1\nb: \"1\"\nc: !!str 1\nd: |\n  1\n", Path::new("a.yaml")).expect("yaml");
        let plain = |key: &str| matches!(root.get(key).expect(key).value, Value::Scalar { plain: true, .. });
        assert_eq!(["a", "b", "c", "d"].map(plain), [true, false, false, false]);
    }
}
