//! JSON values that accept whatever a log pipeline made of them.
//!
//! A [`Fill`] takes a value in place: a value of a foreign type leaves it empty instead of failing the whole event,
//! and a list of one stands for its element. Nothing here builds a tree and nothing copies text that can be borrowed.
//! Only broken JSON and nesting beyond the parser's own limit fail.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Elements kept of one list; the rest is skipped.
pub(super) const LIST_ELEMENTS: usize = 256;

/// A value that is read in place and tolerates foreign types.
pub(super) trait Fill<'de>: Default {
    /// Takes what the next value says; leaves `self` as it is where that is nothing.
    fn fill<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error>;

    /// Whether the input said anything.
    fn says(&self) -> bool;
}

/// Reads the next value into a place.
pub(super) struct Into<'a, T>(pub(super) &'a mut T);

impl<'de, T: Fill<'de>> DeserializeSeed<'de> for Into<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.fill(deserializer)
    }
}

/// The visits that say nothing of an object, a list or a flag: scalars of the wrong type, and null.
macro_rules! ignore_scalars {
    ($($visit:ident($type:ty)),+ $(,)?) => {
        $(fn $visit<E: Error>(self, _: $type) -> Result<(), E> { Ok(()) })+

        fn visit_unit<E: Error>(self) -> Result<(), E> { Ok(()) }
    };
}

/// Consumes a map whose members nobody needs.
fn skip_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Reads the first element of a list that says something; skips the rest.
fn first_of<'de, T: Fill<'de>, A: SeqAccess<'de>>(place: &mut T, mut list: A) -> Result<(), A::Error> {
    while !place.says() {
        if list.next_element_seed(Into(place))?.is_none() {
            return Ok(());
        }
    }
    while list.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// A text, borrowed from the input where it holds no escapes. Numbers and booleans count as their text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Text<'a>(Option<Cow<'a, str>>);

impl<'a> Text<'a> {
    /// The text as written; `None` where absent, null or of a foreign type.
    pub fn get(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The text where it names something: not empty, and not one of the words that Okta and log pipelines write for
    /// nothing (`unknown`, `null`, `None`).
    pub fn named(&self) -> Option<&str> {
        self.get().filter(|text| !matches!(*text, "" | "unknown" | "null" | "None" | "Unknown" | "UNKNOWN"))
    }

    /// Whether the text still points into the input.
    #[cfg(test)]
    pub(super) fn is_borrowed(&self) -> bool {
        matches!(self.0, Some(Cow::Borrowed(_)))
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Some(Cow::Borrowed(text)))
    }
}

impl<'de: 'a, 'a> Fill<'de> for Text<'a> {
    fn fill<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(TextVisitor(self))
    }

    fn says(&self) -> bool {
        self.0.is_some()
    }
}

struct TextVisitor<'p, 'a>(&'p mut Text<'a>);

impl<'de: 'a, 'a> Visitor<'de> for TextVisitor<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<(), E> {
        self.0.0 = Some(Cow::Borrowed(text));
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<(), E> {
        self.0.0 = Some(Cow::Owned(text));
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.visit_borrowed_str(if value { "true" } else { "false" })
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.visit_string(value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.visit_string(value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.visit_string(value.to_string())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        first_of(self.0, list)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        skip_map(map)
    }
}

/// JSON that Okta sends as an object in one place and as a text in another; kept as text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Json<'a>(Text<'a>);

impl Json<'_> {
    /// The JSON text; `None` where absent or null.
    pub fn get(&self) -> Option<&str> {
        self.0.named()
    }
}

impl<'de: 'a, 'a> Fill<'de> for Json<'a> {
    fn fill<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(JsonVisitor(&mut self.0))
    }

    fn says(&self) -> bool {
        self.0.says()
    }
}

struct JsonVisitor<'p, 'a>(&'p mut Text<'a>);

impl<'de: 'a, 'a> Visitor<'de> for JsonVisitor<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON, or JSON in a text")
    }

    ignore_scalars!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64));

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<(), E> {
        TextVisitor(self.0).visit_borrowed_str(text)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        TextVisitor(self.0).visit_str(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        first_of(self.0, list)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let value = serde_json::Value::deserialize(MapAccessDeserializer::new(map))?;
        self.0.0 = Some(Cow::Owned(value.to_string()));
        Ok(())
    }
}

/// A value that few events are asked for: kept as the JSON text that it stands in, and read on demand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Raw<'a>(Option<&'a str>);

impl<'a> Raw<'a> {
    /// The JSON text; of a text that holds JSON, that JSON. `None` where absent, null or a text that is no JSON.
    pub fn json(self) -> Option<Cow<'a, str>> {
        let json = self.0?;
        if !json.starts_with('"') {
            return Some(Cow::Borrowed(json));
        }
        let inner: String = serde_json::from_str(json).ok()?;
        let is_json = serde_json::from_str::<&RawValue>(&inner).is_ok();
        is_json.then_some(Cow::Owned(inner))
    }
}

impl<'de: 'a, 'a> Fill<'de> for Raw<'a> {
    fn fill<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        if raw != "null" {
            self.0 = Some(raw);
        }
        Ok(())
    }

    fn says(&self) -> bool {
        self.0.is_some()
    }
}

/// A yes or no, as a boolean or as a text in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flag(Option<bool>);

impl Flag {
    /// The answer; `None` where absent, null or neither.
    pub fn get(self) -> Option<bool> {
        self.0
    }
}

impl<'de> Fill<'de> for Flag {
    fn fill<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(FlagVisitor(self))
    }

    fn says(&self) -> bool {
        self.0.is_some()
    }
}

struct FlagVisitor<'p>(&'p mut Flag);

impl<'de> Visitor<'de> for FlagVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a yes or no")
    }

    ignore_scalars!(visit_i64(i64), visit_u64(u64), visit_f64(f64));

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.0.0 = Some(value);
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if text.eq_ignore_ascii_case("true") {
            self.0.0 = Some(true);
        } else if text.eq_ignore_ascii_case("false") {
            self.0.0 = Some(false);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        first_of(self.0, list)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        skip_map(map)
    }
}

/// Whether a member is there at all, whatever it holds; null is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Presence(bool);

impl Presence {
    /// Whether it is there.
    pub fn get(self) -> bool {
        self.0
    }
}

impl<'de> Fill<'de> for Presence {
    fn fill<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        self.0 |= Option::<IgnoredAny>::deserialize(deserializer)?.is_some();
        Ok(())
    }

    fn says(&self) -> bool {
        self.0
    }
}

/// A list, of which elements that say nothing are dropped; one object stands for a list of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct List<T>(Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> std::ops::Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Object<'de>> Fill<'de> for List<T> {
    fn fill<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(ListVisitor(self))
    }

    fn says(&self) -> bool {
        !self.0.is_empty()
    }
}

struct ListVisitor<'p, T>(&'p mut List<T>);

impl<'de, T: Object<'de>> Visitor<'de> for ListVisitor<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    ignore_scalars!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let kept = &mut self.0.0;
        kept.reserve(4);
        while kept.len() < LIST_ELEMENTS {
            let mut element = T::default();
            if list.next_element_seed(Into(&mut element))?.is_none() {
                return Ok(());
            }
            if element.says() {
                kept.push(element);
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let mut element = T::default();
        ObjectVisitor(&mut element).visit_map(map)?;
        if element.says() {
            self.0.0.push(element);
        }
        Ok(())
    }
}

/// An object of which a few members are read; written by [`object`].
pub(super) trait Object<'de>: Fill<'de> {
    /// A member that is read, or none.
    type Key;

    /// The member that `name` stands for.
    fn key(name: &str) -> Self::Key;

    /// Reads the value of a member.
    fn member<A: MapAccess<'de>>(&mut self, key: Self::Key, map: &mut A) -> Result<(), A::Error>;
}

/// Reads an object, or the first object of a list, into a place.
pub(super) struct ObjectVisitor<'a, T>(pub(super) &'a mut T);

impl<'de, T: Object<'de>> Visitor<'de> for ObjectVisitor<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    ignore_scalars!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        first_of(self.0, list)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(KeySeed::<T>(PhantomData))? {
            self.0.member(key, &mut map)?;
        }
        Ok(())
    }
}

struct KeySeed<T>(PhantomData<T>);

impl<'de, T: Object<'de>> DeserializeSeed<'de> for KeySeed<T> {
    type Value = T::Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T::Key, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<'de, T: Object<'de>> Visitor<'de> for KeySeed<T> {
    type Value = T::Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<T::Key, E> {
        Ok(T::key(name))
    }
}

/// Declares an object by its members: `field: Type = "name" | "otherName"`.
macro_rules! object {
    ($(#[$doc:meta])* $name:ident<$lt:lifetime> { $($(#[$fdoc:meta])* $field:ident: $type:ty = $($key:literal)|+,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Debug, Default)]
        pub struct $name<$lt> {
            $($(#[$fdoc])* pub $field: $type,)+
        }

        const _: () = {
            use $crate::decode::lenient::{Fill, Into, Object, ObjectVisitor};
            use serde::de::{Deserializer, IgnoredAny, MapAccess};

            #[expect(non_camel_case_types, reason = "one variant a field, named as the field")]
            pub(super) enum Key { $($field,)+ unread }

            impl<'de: $lt, $lt> Object<'de> for $name<$lt> {
                type Key = Key;

                fn key(name: &str) -> Key {
                    match name { $($($key)|+ => Key::$field,)+ _ => Key::unread }
                }

                fn member<A: MapAccess<'de>>(&mut self, key: Key, map: &mut A) -> Result<(), A::Error> {
                    match key {
                        $(Key::$field => map.next_value_seed(Into(&mut self.$field)),)+
                        Key::unread => map.next_value::<IgnoredAny>().map(|_| ()),
                    }
                }
            }

            impl<'de: $lt, $lt> Fill<'de> for $name<$lt> {
                fn fill<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
                    deserializer.deserialize_any(ObjectVisitor(self))
                }

                fn says(&self) -> bool {
                    false $(|| self.$field.says())+
                }
            }
        };
    };
}
pub(super) use object;
