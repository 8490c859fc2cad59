//! One record: an event, or a wrapper that holds events.
//!
//! Known wrappers, each of which may hold another one, [`ENVELOPE_DEPTH`] deep:
//!
//! | wrapper | sender |
//! |---|---|
//! | `[…]` | the System Log API, exports |
//! | `{"detail": …}` | AWS EventBridge, any `detail-type`; sent at its `time` |
//! | `{"data": {"events": […]}}` | an Okta event hook; sent at its `eventTime` |
//! | `{"payload": …}` | Kafka Connect; an object or JSON in a text |
//! | `{"okta": …}` | Wazuh |
//! | `{"event": …}` | Splunk HEC, log collectors; an object or JSON in a text |

use serde::de::{Deserialize, Deserializer, MapAccess};
use serde_json::value::RawValue;

use super::lenient::{Fill, Into, Object, ObjectVisitor};
use super::okta::{LogEvent, Text};
use super::{ENVELOPE_BYTES, ENVELOPE_DEPTH, RECORD_BYTES, RECORD_DEPTH, page, scan};
use crate::event::{Reject, Timestamp};

/// An event and the JSON text that it was read from.
pub(crate) struct Found<'a> {
    /// The view.
    pub event: &'a LogEvent<'a>,
    /// The text.
    pub content: &'a str,
    /// When the envelope was sent, where it says so; of several, the innermost.
    pub sent: Option<Timestamp>,
}

/// What a JSON text is wrapped in.
#[derive(Clone, Copy, Default)]
pub(super) struct Within {
    depth: usize,
    sent: Option<Timestamp>,
}

impl Within {
    /// Within one wrapper more, sent at this time.
    pub(super) fn deeper(self, sent: Option<Timestamp>) -> Self {
        Self { depth: self.depth + 1, sent: sent.or(self.sent) }
    }
}

/// Takes each event or reject in turn.
pub(crate) type Each<'e> = dyn FnMut(Result<Found<'_>, Reject>) + 'e;

/// Hands over every event of one record. A record gives at least one call, save an empty list of events, which gives
/// none.
pub(crate) fn record(bytes: &[u8], each: &mut Each<'_>) {
    if bytes.len() > ENVELOPE_BYTES {
        return each(Err(Reject::TooLarge));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => value(text.strip_prefix('\u{feff}').unwrap_or(text), Within::default(), each),
        Err(_) => {
            if page::broken_text(bytes, each).is_err() {
                each(Err(Reject::NotUtf8));
            }
        }
    }
}

/// Hands over every event of one JSON text.
pub(super) fn value(text: &str, within: Within, each: &mut Each<'_>) {
    if within.depth > ENVELOPE_DEPTH {
        return each(Err(Reject::TooDeep));
    }
    let text = text.trim_ascii();
    match text.as_bytes().first() {
        Some(b'{') => {
            let mut item = Item::default();
            let mut json = serde_json::Deserializer::from_str(text);
            match item.fill(&mut json).and_then(|()| json.end()) {
                Ok(()) => item.hand_over(text, within, each),
                Err(_) => failed(text, within, each),
            }
        }
        Some(b'[') => {
            if page::elements(text, within, each).is_err() {
                each(Err(Reject::NotJson));
            }
        }
        Some(_) if !is_json(text) => each(Err(Reject::NotJson)),
        Some(_) | None => each(Err(Reject::NotAnObject)),
    }
}

/// A typed reading failed: says why, or mends what can be mended.
pub(super) fn failed(text: &str, within: Within, each: &mut Each<'_>) {
    if !is_json(text) {
        each(Err(Reject::NotJson));
    } else if text.len() > RECORD_BYTES {
        each(Err(Reject::TooLarge));
    } else if scan::deeper_than(text.as_bytes(), RECORD_DEPTH) {
        each(Err(Reject::TooDeep));
    } else if let Some(mended) = scan::mend_surrogates(text) {
        value(&mended, within, each);
    } else {
        each(Err(Reject::BadShape));
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// The names that wrappers keep their content under, in the order that they are tried.
const WRAPPERS: [&str; 5] = ["detail", "data", "payload", "okta", "event"];
const HOOK: usize = 1;

/// An object that may be an event or a wrapper; both readings are made in one pass.
#[derive(Default)]
pub(super) struct Item<'a> {
    event: LogEvent<'a>,
    sent: Text<'a>,
    wrapped: [Option<&'a RawValue>; WRAPPERS.len()],
}

pub(super) enum Key<K> {
    Member(K),
    Sent,
    Wrapper(usize),
}

impl<'de: 'a, 'a> Object<'de> for Item<'a> {
    type Key = Key<<LogEvent<'a> as Object<'de>>::Key>;

    fn key(name: &str) -> Self::Key {
        match WRAPPERS.iter().position(|wrapper| *wrapper == name) {
            Some(index) => Key::Wrapper(index),
            None if matches!(name, "time" | "eventTime") => Key::Sent,
            None => Key::Member(LogEvent::key(name)),
        }
    }

    fn member<A: MapAccess<'de>>(&mut self, key: Self::Key, map: &mut A) -> Result<(), A::Error> {
        match key {
            Key::Member(key) => self.event.member(key, map),
            Key::Sent => map.next_value_seed(Into(&mut self.sent)),
            Key::Wrapper(index) => {
                self.wrapped[index] = Some(map.next_value()?);
                Ok(())
            }
        }
    }
}

impl<'de: 'a, 'a> Fill<'de> for Item<'a> {
    fn fill<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(ObjectVisitor(self))
    }

    fn says(&self) -> bool {
        self.event.says() || self.wrapped.iter().any(Option::is_some)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Item<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut item = Self::default();
        item.fill(deserializer)?;
        Ok(item)
    }
}

impl Item<'_> {
    /// Hands over the event that `text` is, or those that it wraps.
    pub(super) fn hand_over(&self, text: &str, within: Within, each: &mut Each<'_>) {
        let typed = self.event.event_type.get().is_some_and(|text| !text.is_empty());
        // An event hook's body has an `eventType` of its own, but no `published`.
        if !typed || (self.event.published.get().is_none() && self.wraps()) {
            return self.unwrap(within, each);
        }
        if text.len() > RECORD_BYTES {
            each(Err(Reject::TooLarge));
        } else if scan::deeper_than(text.as_bytes(), RECORD_DEPTH) {
            each(Err(Reject::TooDeep));
        } else {
            each(Ok(Found { event: &self.event, content: text, sent: within.sent }));
        }
    }

    /// Whether there is an object or a list in it, as such or in a text, that could be an event.
    fn wraps(&self) -> bool {
        let mut texts = self.wrapped.iter().flatten().map(|raw| raw.get());
        texts.any(|text| text.strip_prefix('"').unwrap_or(text).trim_ascii_start().starts_with(['{', '[']))
    }

    fn unwrap(&self, within: Within, each: &mut Each<'_>) {
        let wrapped = self.wrapped.iter().enumerate().find_map(|(index, raw)| {
            let text = (*raw)?.get();
            (text != "null").then_some((index, text))
        });
        let Some((index, text)) = wrapped else { return each(Err(Reject::NoEventType)) };
        let inside = within.deeper(self.sent.get().and_then(Timestamp::parse));
        if index == HOOK {
            return hook(text, inside, each);
        }
        match text.as_bytes().first() {
            Some(b'{' | b'[') => value(text, inside, each),
            Some(b'"') => match serde_json::from_str::<String>(text) {
                Ok(inner) => value(&inner, inside, each),
                Err(_) => each(Err(Reject::BadShape)),
            },
            Some(_) | None => each(Err(Reject::NoEventType)),
        }
    }
}

/// The body of an event hook: `{"events": […]}`.
fn hook(text: &str, inside: Within, each: &mut Each<'_>) {
    let mut body = Body::default();
    let mut json = serde_json::Deserializer::from_str(text);
    match body.fill(&mut json) {
        Ok(()) => match body.0.map(RawValue::get) {
            Some(events) if events.starts_with('[') => value(events, inside, each),
            Some(_) => each(Err(Reject::BadShape)),
            None => each(Err(Reject::NoEventType)),
        },
        Err(_) => each(Err(Reject::NoEventType)),
    }
}

#[derive(Default)]
struct Body<'a>(Option<&'a RawValue>);

impl<'de: 'a, 'a> Object<'de> for Body<'a> {
    type Key = bool;

    fn key(name: &str) -> bool {
        name == "events"
    }

    fn member<A: MapAccess<'de>>(&mut self, is_events: bool, map: &mut A) -> Result<(), A::Error> {
        let value: &RawValue = map.next_value()?;
        if is_events {
            self.0 = Some(value);
        }
        Ok(())
    }
}

impl<'de: 'a, 'a> Fill<'de> for Body<'a> {
    fn fill<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(ObjectVisitor(self))
    }

    fn says(&self) -> bool {
        self.0.is_some()
    }
}
