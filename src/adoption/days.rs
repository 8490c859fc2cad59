//! How a person signed in on each of the last 32 days, one bit a day: four bytes a credential.

use serde::{Deserialize, Serialize};

use crate::event::{Credential, Span, Timestamp};

/// One day of event time, in UTC.
pub(super) const DAY: Span = Span::hours(24);

/// The day of an instant, counted from 1970-01-01.
pub(super) fn day_of(at: Timestamp) -> i32 {
    i32::try_from(at.index(DAY)).unwrap_or(if at.0 < 0 { i32::MIN / 2 } else { i32::MAX / 2 })
}

/// The instant at which a day has ended.
pub(super) fn end_of(day: i32) -> Timestamp {
    Timestamp((i64::from(day) + 1) * DAY.0)
}

/// How somebody signed in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Manner {
    /// A method was phishing-resistant.
    Resistant,
    /// None was; the credential used last.
    Fallback(Credential),
    /// Nothing says so.
    Unknown,
}

/// Bit 0 of each mask is the day `newest`, bit 1 the day before.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Days {
    newest: i32,
    resistant: u32,
    unknown: u32,
    /// In the order of the credentials; at most one entry for each.
    fallback: Vec<(Credential, u32)>,
}

impl Days {
    /// Notes a sign-in; one that is too old to matter is dropped.
    pub(super) fn note(&mut self, day: i32, manner: Manner) {
        self.advance(day);
        let Some(bit) = u32::try_from(self.newest - day).ok().and_then(|age| 1_u32.checked_shl(age)) else { return };
        match manner {
            Manner::Resistant => self.resistant |= bit,
            Manner::Unknown => self.unknown |= bit,
            Manner::Fallback(credential) => {
                match self.fallback.binary_search_by_key(&credential, |(credential, _)| *credential) {
                    Ok(at) => self.fallback[at].1 |= bit,
                    Err(at) => self.fallback.insert(at, (credential, bit)),
                }
            }
        }
    }

    /// Whether all that is known of the `window` days up to `today` is phishing-resistant, and something is.
    pub(super) fn is_resistant_only(&self, today: i32, window: u8) -> bool {
        let mask = self.mask(today, window);
        self.resistant & mask != 0 && self.unknown & mask == 0 && self.fallback.iter().all(|(_, days)| days & mask == 0)
    }

    /// What the person fell back to in the `window` days up to `today`.
    pub(super) fn fallbacks(&self, today: i32, window: u8) -> impl Iterator<Item = Credential> {
        let mask = self.mask(today, window);
        self.fallback.iter().filter(move |(_, days)| days & mask != 0).map(|(credential, _)| *credential)
    }

    fn advance(&mut self, day: i32) {
        let Some(by) = u32::try_from(day - self.newest).ok().filter(|by| *by > 0) else { return };
        let shift = |days: u32| days.checked_shl(by).unwrap_or(0);
        self.newest = day;
        self.resistant = shift(self.resistant);
        self.unknown = shift(self.unknown);
        self.fallback.iter_mut().for_each(|(_, days)| *days = shift(*days));
        self.fallback.retain(|(_, days)| *days != 0);
    }

    /// The bits of the `window` days up to `today`.
    fn mask(&self, today: i32, window: u8) -> u32 {
        (0..i32::from(window))
            .filter_map(|age| u32::try_from(self.newest - (today - age)).ok())
            .filter_map(|bit| 1_u32.checked_shl(bit))
            .fold(0, |mask, bit| mask | bit)
    }
}
