//! [`Node`]s to typed values, with the place of whatever does not fit.
//!
//! An error is born without a place inside a type's own `Deserialize` and is given the nearest one on its way out:
//! that of the key for a key, that of the value for a value, that of the parent's key for a key that is missing.

use std::fmt::Display;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, EnumAccess, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::{Entry, Error, Node, Origin, Problem, Value};

/// Reads a typed value from a node.
///
/// # Errors
/// Where a key is unknown or missing, or a value does not fit its type.
pub fn section<T: DeserializeOwned>(node: &Node) -> Result<T, Error> {
    T::deserialize(node).map_err(|error| error.in_value(node).or_at(&node.origin))
}

impl Error {
    fn new(problem: Problem) -> Self {
        Self { origin: None, problem }
    }

    fn or_at(mut self, origin: &Origin) -> Self {
        self.origin.get_or_insert_with(|| origin.clone());
        self
    }

    fn is_missing_key(&self) -> bool {
        self.origin.is_none() && matches!(self.problem, Problem::MissingKey { .. })
    }

    /// The place of a value; a missing key waits for its parent's key.
    fn in_value(self, node: &Node) -> Self {
        if self.is_missing_key() || self.origin.is_some() { self } else { self.hiding(node).or_at(&node.origin) }
    }

    /// The place of a value under a key.
    fn in_entry(mut self, entry: &Entry) -> Self {
        if !self.is_missing_key() {
            return self.in_value(&entry.value);
        }
        if let Problem::MissingKey { parent, .. } = &mut self.problem {
            *parent = Some(entry.key.clone());
        }
        self.or_at(&entry.origin)
    }

    /// Types of other crates repeat the value in their message; a value long enough to be a secret is left out.
    fn hiding(mut self, node: &Node) -> Self {
        if let (Problem::Invalid(message), Value::Scalar { text, .. }) = (&mut self.problem, &node.value)
            && text.len() >= SHORTEST_SECRET
        {
            *message = message.replace(&format!("{text:?}"), "…").replace(text.as_str(), "…");
        }
        self
    }
}

impl de::Error for Error {
    fn custom<T: Display>(text: T) -> Self {
        Self::new(Problem::Invalid(text.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(Problem::WrongType { found: describe(found), expected: in_words(&expected.to_string()) })
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(Problem::WrongType { found: "a value out of range", expected: in_words(&expected.to_string()) })
    }

    fn unknown_field(key: &str, expected: &'static [&'static str]) -> Self {
        let expected = expected.iter().map(|&word| word.to_owned()).collect();
        Self::new(Problem::UnknownKey { key: key.to_owned(), expected })
    }

    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        let expected = expected.iter().map(|&word| word.to_owned()).collect();
        Self::new(Problem::UnknownWord { found: found.to_owned(), expected })
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new(Problem::MissingKey { key: key.to_owned(), parent: None })
    }

    fn duplicate_field(key: &'static str) -> Self {
        Self::new(Problem::DuplicateKey(key.to_owned()))
    }
}

fn describe(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a truth value",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
        Unexpected::Float(_) => "a number",
        Unexpected::Char(_) | Unexpected::Str(_) | Unexpected::Bytes(_) => "text",
        Unexpected::Unit | Unexpected::Option => "nothing",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a mapping",
        _ => "something else",
    }
}

/// What serde expects, in the words of this file's readers.
fn in_words(expected: &str) -> String {
    match expected {
        "a map" => "a mapping".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a string" => "text".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" => "a whole number from 0 to 4294967295".to_owned(),
        "u64" | "usize" => "a whole number from 0".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        other if other.starts_with("struct ") => "a mapping".to_owned(),
        other if other.starts_with("tuple ") => "a list".to_owned(),
        other => other.to_owned(),
    }
}

/// The place of the value for whatever a visitor refuses.
fn placed<T>(node: &Node, result: Result<T, Error>) -> Result<T, Error> {
    result.map_err(|error| error.in_value(node))
}

impl<'de> de::Deserializer<'de> for &'de Node {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let result = match &self.value {
            Value::Scalar { .. } if self.is_null() => visitor.visit_unit(),
            Value::Scalar { text, plain } => match if *plain { scalar(text) } else { Plain::Text } {
                Plain::Bool(value) => visitor.visit_bool(value),
                Plain::Signed(value) => visitor.visit_i64(value),
                Plain::Unsigned(value) => visitor.visit_u64(value),
                Plain::Float(value) => visitor.visit_f64(value),
                Plain::Text => visitor.visit_borrowed_str(text),
            },
            Value::List(items) => visitor.visit_seq(Items(items.iter())),
            Value::Map(entries) => visitor.visit_map(Entries { rest: entries.iter(), current: None }),
        };
        placed(self, result)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            Value::Scalar { text, .. } if !self.is_null() => placed(self, visitor.visit_borrowed_str(text)),
            Value::Scalar { .. } | Value::List(_) | Value::Map(_) => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        placed(self, visitor.visit_newtype_struct(self))
    }

    /// A key without a value is an empty mapping: every key below it may be commented out.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_null() {
            return placed(self, visitor.visit_map(Entries { rest: [].iter(), current: None }));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        // A list would be taken for the fields in order.
        if let Value::List(_) = self.value {
            return placed(self, Err(de::Error::invalid_type(Unexpected::Seq, &"a mapping")));
        }
        self.deserialize_map(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_null() { placed(self, visitor.visit_seq(Items([].iter()))) } else { self.deserialize_any(visitor) }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let result = match &self.value {
            Value::Scalar { .. } if name == SECRET_REF => Err(de::Error::custom(SECRET_BY_VALUE)),
            Value::Scalar { .. } if self.is_null() => Err(de::Error::invalid_type(Unexpected::Unit, &"a word")),
            Value::Scalar { text, .. } => {
                visitor.visit_enum(IntoDeserializer::<Error>::into_deserializer(text.as_str()))
            }
            Value::Map(entries) => match entries.as_slice() {
                [entry] => visitor.visit_enum(Variant(entry)),
                [] | [_, ..] => Err(de::Error::custom(format!("expected one key, found {}", entries.len()))),
            },
            Value::List(_) => Err(de::Error::invalid_type(Unexpected::Seq, &"a word, or a mapping with one key")),
        };
        placed(self, result)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct
    }
}

/// Values below this length are repeated where a type's message does so; no secret is as short.
const SHORTEST_SECRET: usize = 8;
/// The type whose value must never be a plain scalar; its name as serde knows it.
const SECRET_REF: &str = "SecretRef";
const SECRET_BY_VALUE: &str =
    "a secret is written as a reference (`{env: NAME}` or `{file: /run/name}`), never as the secret itself";

/// What a scalar without quotes means (YAML 1.2 core schema, section 10.3.2; octal and `.inf` are not in use here).
enum Plain {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text,
}

fn scalar(text: &str) -> Plain {
    match text {
        "true" | "True" | "TRUE" => return Plain::Bool(true),
        "false" | "False" | "FALSE" => return Plain::Bool(false),
        _ => {}
    }
    if let Ok(value) = text.parse() {
        return Plain::Signed(value);
    }
    if let Ok(value) = text.parse() {
        return Plain::Unsigned(value);
    }
    // `parse` reads `inf` and `nan` too, which are words here.
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && text.contains(|c: char| c.is_ascii_digit()) => Plain::Float(value),
        Ok(_) | Err(_) => Plain::Text,
    }
}

struct Items<'de>(std::slice::Iter<'de, Node>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(node) = self.0.next() else { return Ok(None) };
        seed.deserialize(node).map(Some).map_err(|error| error.in_value(node).or_at(&node.origin))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Entries<'de> {
    rest: std::slice::Iter<'de, Entry>,
    current: Option<&'de Entry>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.current = self.rest.next();
        let Some(entry) = self.current else { return Ok(None) };
        let key: StrDeserializer<'_, Error> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|error| error.or_at(&entry.origin))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let entry = self.current.ok_or_else(|| de::Error::custom("a value was asked for before its key"))?;
        seed.deserialize(&entry.value).map_err(|error| error.in_entry(entry))
    }
}

/// An externally tagged variant: the only key of a mapping names it, the value is its content.
struct Variant<'de>(&'de Entry);

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Error> {
        let key: StrDeserializer<'_, Error> = self.0.key.as_str().into_deserializer();
        match seed.deserialize(key) {
            Ok(value) => Ok((value, self)),
            Err(error) => Err(error.or_at(&self.0.origin)),
        }
    }
}

impl Variant<'_> {
    fn place<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|error| error.in_entry(self.0))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        if self.0.value.is_null() || self.0.value.value == Value::Map(Vec::new()) {
            return Ok(());
        }
        let problem = Problem::Invalid(format!("`{}` takes no value", self.0.key));
        Err(Error::at(&self.0.origin, problem))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        self.place(seed.deserialize(&self.0.value))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.place(de::Deserializer::deserialize_seq(&self.0.value, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.place(de::Deserializer::deserialize_struct(&self.0.value, "", fields, visitor))
    }
}
