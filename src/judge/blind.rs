//! Blindness: whether a source tells what happens, or only fails to say that anything does.
//!
//! Four signs. **No data**: the source has not spoken for some minutes. **Lag**: it speaks, and its watermark stays far
//! behind its clock without catching up. **Gap**: it speaks and is up to date, and brings not one event where its
//! quietest day would have brought twenty. **Volume**: it brings events, a quarter of what the hour brings on its
//! quietest day. What is usual is the quietest day's, not the weekday's, because a holiday looks like a Sunday and is
//! no fault; and the hours beside it count as well, because clocks change twice a year. A night in which nobody signs in
//! is therefore never blind, and a season is needed first: a whole week.
//!
//! At a mean of 20 a silent stretch has a chance of e^−20 = 2 × 10^−9 if events come one by one (Poisson); they come in
//! flows of several, and still then one of e^−4. A verdict that holds lets go with hysteresis: [`CALM`].

mod season;

use serde::{Deserialize, Serialize};

pub use season::Season;

use crate::event::{Span, Timestamp};
use crate::window::{Merge, Ring};

/// Silence of a source from which there is no data.
pub const SILENT: Span = Span::minutes(5);
/// A watermark this far behind its source's clock lags…
pub const BEHIND: Span = Span::minutes(10);
/// …where it has been so for this long without catching up by a tenth.
pub const BEHIND_FOR: Span = Span::minutes(10);
/// The events that the quietest day would have brought in a gap.
pub const GAP_EVENTS: f64 = 20.0;
/// The window of the volume.
pub const VOLUME_WINDOW: Span = Span::hours(1);
/// The fewest events of the quietest day's hour that volume is judged by.
pub const VOLUME_EVENTS: f64 = 40.0;
/// Below this share of the quietest day's hour the volume is too low; above twice that it is well again.
pub const VOLUME_SHARE: f64 = 0.25;
/// Sight is back when no sign was seen for this long.
pub const CALM: Span = Span::minutes(10);

/// What shows that a source is blind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// It does not speak.
    NoData,
    /// It speaks of the past.
    Lag,
    /// It brings nothing where it should.
    Gap,
    /// It brings far less than it should.
    Volume,
}

impl Sign {
    /// The word in JSON and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoData => "no_data",
            Self::Lag => "lag",
            Self::Gap => "gap",
            Self::Volume => "volume",
        }
    }
}

/// A sign with the numbers that made it: seconds for `no_data` and `lag`, events for `gap` and `volume`.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// The sign.
    pub sign: Sign,
    /// Since when, as far as can be told.
    pub since: Timestamp,
    /// What was measured.
    pub measured: f64,
    /// What it was measured against: the limit, or what the quietest day would have brought.
    pub expected: f64,
}

/// Events of a bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Volume(u32);

impl Merge for Volume {
    fn merge(&mut self, other: &Self) {
        self.0 = self.0.saturating_add(other.0);
    }
}

/// What is known of one source: when it spoke, what it brought, and what is usual.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sense {
    /// Its clock when it last spoke.
    spoke: Option<Timestamp>,
    /// How long it has been silent since.
    silent: Span,
    /// Its watermark when it last spoke.
    watermark: Timestamp,
    /// Since when the watermark is far behind without catching up, by the source's clock, and how far it was then.
    behind: Option<(Timestamp, Span)>,
    newest: Option<Timestamp>,
    minutes: Ring<Volume>,
    hours: Ring<Volume>,
    season: Season,
}

impl Default for Sense {
    fn default() -> Self {
        Self {
            spoke: None,
            silent: Span(0),
            watermark: Timestamp::MIN,
            behind: None,
            newest: None,
            minutes: Ring::new(Span::minutes(1), 62),
            hours: Ring::new(Span::hours(1), 49),
            season: Season::default(),
        }
    }
}

impl Sense {
    /// An event was accepted from it.
    pub fn event(&mut self, published: Timestamp) {
        self.newest = self.newest.max(Some(published));
        for bucket in [self.minutes.bucket(published), self.hours.bucket(published)].into_iter().flatten() {
            bucket.0 += 1;
        }
    }

    /// It spoke: its clock, and how far it has told everything. Hours that are told in full are learnt from, but for those
    /// in which it was blind.
    pub fn spoke(&mut self, now: Timestamp, watermark: Timestamp, blind_since: Option<Timestamp>) {
        self.spoke = self.spoke.max(Some(now));
        self.silent = Span(0);
        self.watermark = self.watermark.max(watermark);
        let lag = now - watermark;
        self.behind = match self.behind {
            _ if lag < BEHIND => None,
            Some((since, then)) if lag.0 > then.0 - then.0 / 10 => Some((since, then)),
            _ => Some((now, lag)),
        };
        let hours = &self.hours;
        let events = |hour: i64| {
            let from = Timestamp(hour * Span::hours(1).0);
            hours.sum(Timestamp(from.0 - 1), Timestamp(from.0 + Span::hours(1).0 - 1)).0
        };
        self.season.settle(self.watermark, self.newest, blind_since, &events);
    }

    /// It has been silent for this long since it last spoke, or since the process began to listen.
    pub fn silent(&mut self, silent: Span) {
        self.silent = self.silent.max(silent);
    }

    /// Its clock now, as far as can be told.
    pub fn now(&self) -> Option<Timestamp> {
        self.spoke.map(|spoke| spoke + self.silent)
    }

    /// How far its watermark is behind its clock; `None` before its first word.
    pub fn lag(&self) -> Option<Span> {
        Some(self.now()? - self.watermark).filter(|_| self.watermark > Timestamp::MIN)
    }

    /// Whether a whole week of it is known, so that gap and volume can be judged.
    pub fn knows_a_week(&self) -> bool {
        self.season.knows_a_week()
    }

    /// What is wrong with it; `was` is what was wrong before, which lets go later than it takes hold.
    pub fn judge(&self, was: Option<Sign>) -> Option<Verdict> {
        self.no_data().or_else(|| self.lags()).or_else(|| self.gap()).or_else(|| self.low_volume(was))
    }

    fn no_data(&self) -> Option<Verdict> {
        let since = self.spoke.unwrap_or(self.watermark);
        let (measured, expected) = (self.silent.as_seconds(), SILENT.as_seconds());
        (self.silent >= SILENT).then_some(Verdict { sign: Sign::NoData, since, measured, expected })
    }

    fn lags(&self) -> Option<Verdict> {
        let (since, _) = self.behind?;
        let now = self.now()?;
        let (measured, expected) = (self.lag()?.as_seconds(), BEHIND.as_seconds());
        (now - since >= BEHIND_FOR).then_some(Verdict { sign: Sign::Lag, since: self.watermark, measured, expected })
    }

    fn gap(&self) -> Option<Verdict> {
        let since = self.newest?;
        let expected = self.season.quietest(since, self.watermark, GAP_EVENTS)?;
        (expected >= GAP_EVENTS).then_some(Verdict { sign: Sign::Gap, since, measured: 0.0, expected })
    }

    fn low_volume(&self, was: Option<Sign>) -> Option<Verdict> {
        let (from, to) = (self.watermark - VOLUME_WINDOW, self.watermark);
        let expected = self.season.quietest(from, to, f64::INFINITY).filter(|expected| *expected >= VOLUME_EVENTS)?;
        let measured = f64::from(self.minutes.sum(from, to).0);
        let share = if was.is_some_and(|was| was >= Sign::Gap) { 2.0 * VOLUME_SHARE } else { VOLUME_SHARE };
        (measured < share * expected).then_some(Verdict { sign: Sign::Volume, since: from, measured, expected })
    }
}

#[cfg(test)]
#[path = "blind/tests.rs"]
mod tests;
