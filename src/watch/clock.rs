//! Watermarks: the event time up to which a source, and so its org, has spoken (invariant 2).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::event::{SourceName, Span, Timestamp};

/// An event this far after `now` is rejected as `future`.
const FUTURE: Span = Span::minutes(5);

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
struct Source {
    newest: Timestamp,
    watermark: Timestamp,
    /// It has no clock and delivered all it has: it holds nobody back.
    ended: bool,
}

/// The clocks of one org.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Clocks {
    sources: BTreeMap<SourceName, Source>,
    /// The newest `Date` that a server sent.
    server_now: Option<Timestamp>,
    newest: Timestamp,
    watermark: Timestamp,
}

impl Default for Clocks {
    fn default() -> Self {
        let never = Timestamp::MIN;
        Self { sources: BTreeMap::new(), server_now: None, newest: never, watermark: never }
    }
}

impl Clocks {
    /// `now`: the newest server's clock, else the newest event.
    pub(super) fn now(&self) -> Timestamp {
        self.server_now.unwrap_or(self.newest)
    }

    /// Whether any source has spoken.
    pub(super) fn has_begun(&self) -> bool {
        self.now() > Timestamp::MIN
    }

    /// The server's clock, where there is one.
    pub(super) fn server_now(&self) -> Option<Timestamp> {
        self.server_now
    }

    /// The org's watermark.
    pub(super) fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// Whether an event of this time cannot be real.
    pub(super) fn is_future(&self, published: Timestamp) -> bool {
        self.server_now.is_some_and(|now| published > now + FUTURE)
    }

    /// An event of `source` was accepted.
    pub(super) fn saw(&mut self, source: &SourceName, published: Timestamp, lateness: Span) {
        self.newest = self.newest.max(published);
        let server_now = self.server_now;
        let clock = self.source(source);
        clock.newest = clock.newest.max(published);
        clock.ended = false;
        // An event from ahead of the server's clock must not make the honest ones late.
        let spoken = server_now.map_or(clock.newest, |now| clock.newest.min(now));
        clock.watermark = clock.watermark.max(spoken - lateness);
    }

    /// A source spoke of its clock. Caught up, everything up to `now` − L is known; a source without a clock that is
    /// caught up has ended, and everything it had is known.
    pub(super) fn progress(&mut self, source: &SourceName, now: Option<Timestamp>, caught_up: bool, lateness: Span) {
        self.server_now = self.server_now.max(now);
        let known = self.now() - lateness;
        let clock = self.source(source);
        if caught_up && now.is_some() {
            clock.watermark = clock.watermark.max(known);
        }
        clock.ended = caught_up && now.is_none();
    }

    /// Raises the org's watermark to the least of its sources' that have not ended; where all have, to the first tick
    /// that holds every event. Returns whether it moved.
    pub(super) fn advance(&mut self, expected: &BTreeSet<SourceName>, tick: Span) -> bool {
        let clocks = expected.iter().map(|name| self.sources.get(name));
        let running = clocks.filter(|clock| clock.is_none_or(|clock| !clock.ended));
        let least = running.map(|clock| clock.map_or(Timestamp::MIN, |clock| clock.watermark)).min();
        let watermark = least.unwrap_or_else(|| self.newest.floor(tick) + tick);
        let moved = watermark > self.watermark;
        self.watermark = self.watermark.max(watermark);
        moved
    }

    /// A source's own watermark; `None` before its first word.
    pub(super) fn watermark_of(&self, source: &SourceName) -> Option<Timestamp> {
        self.sources.get(source).map(|clock| clock.watermark).filter(|watermark| *watermark > Timestamp::MIN)
    }

    /// Whether a source has delivered all that it will ever have.
    pub(super) fn has_ended(&self, source: &SourceName) -> bool {
        self.sources.get(source).is_some_and(|clock| clock.ended)
    }

    /// How far each source's watermark is behind `now`.
    pub(super) fn lags(&self) -> impl Iterator<Item = (&SourceName, Option<Span>)> {
        let lag = |clock: &Source| (clock.watermark > Timestamp::MIN).then(|| self.now() - clock.watermark);
        self.sources.iter().map(move |(name, clock)| (name, lag(clock)))
    }

    fn source(&mut self, name: &SourceName) -> &mut Source {
        let never = Source { newest: Timestamp::MIN, watermark: Timestamp::MIN, ended: false };
        self.sources.entry(name.clone()).or_insert(never)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const L: Span = Span::seconds(20);
    const TICK: Span = Span::seconds(5);

    fn names(names: &[&str]) -> BTreeSet<SourceName> {
        names.iter().map(SourceName::new).collect()
    }

    #[test]
    fn the_watermark_is_the_least_of_the_sources_and_never_goes_back() {
        let (a, b) = (SourceName::new("a"), SourceName::new("b"));
        let both = names(&["a", "b"]);
        let mut clocks = Clocks::default();
        clocks.saw(&a, Timestamp(100_000), L);
        assert!(!clocks.advance(&both, TICK));
        clocks.saw(&b, Timestamp(60_000), L);
        assert!(clocks.advance(&both, TICK));
        assert_eq!(clocks.watermark(), Timestamp(40_000));
        clocks.saw(&b, Timestamp(10_000), L);
        assert!(!clocks.advance(&both, TICK));
        assert_eq!(clocks.watermark(), Timestamp(40_000));
    }

    #[test]
    fn a_short_page_moves_it_to_now_and_the_end_of_a_file_to_its_newest() {
        let a = SourceName::new("a");
        let mut clocks = Clocks::default();
        clocks.saw(&a, Timestamp(50_000), L);
        clocks.progress(&a, Some(Timestamp(500_000)), true, L);
        clocks.advance(&names(&["a"]), TICK);
        assert_eq!(clocks.watermark(), Timestamp(480_000));
        assert!(clocks.is_future(Timestamp(800_001)));
        assert!(!clocks.is_future(Timestamp(800_000)));

        let mut file = Clocks::default();
        file.saw(&a, Timestamp(50_000), L);
        file.progress(&a, None, true, L);
        file.advance(&names(&["a"]), TICK);
        assert_eq!(file.watermark(), Timestamp(55_000));
        assert!(!file.is_future(Timestamp(i64::MAX / 8)));
    }

    #[test]
    fn a_file_that_has_ended_holds_no_other_source_back() {
        let (file, okta) = (SourceName::new("file"), SourceName::new("okta"));
        let mut clocks = Clocks::default();
        clocks.saw(&file, Timestamp(50_000), L);
        clocks.progress(&file, None, true, L);
        clocks.progress(&okta, Some(Timestamp(900_000)), true, L);
        assert!(clocks.advance(&names(&["file", "okta"]), TICK));
        assert_eq!(clocks.watermark(), Timestamp(880_000));
    }

    #[test]
    fn an_event_from_ahead_of_the_servers_clock_makes_no_other_late() {
        let okta = SourceName::new("okta");
        let mut clocks = Clocks::default();
        clocks.progress(&okta, Some(Timestamp(600_000)), false, L);
        clocks.saw(&okta, Timestamp(890_000), L);
        clocks.advance(&names(&["okta"]), TICK);
        assert_eq!(clocks.watermark(), Timestamp(580_000));
    }
}
