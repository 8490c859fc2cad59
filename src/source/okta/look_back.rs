//! A look back: every so often the recent past is asked for once more, by `published` and within bounds, to find what
//! polling did not deliver. Pure but for its memory of ids.
//!
//! Polling promises every event; this checks the promise, and what it finds is counted and handed on once. It looks
//! only at what this process must have delivered: not before its own beginning, and not so near to now that polling may
//! still bring it. A range that is read by `published` can itself lack an event that was stored late, so every event is
//! in two or more of them. It comes after polling: one page at a time, only when there is nothing else to read and the
//! rate budget has room at once; a trouble ends the look, and the next one covers the same time again.

use std::collections::{HashSet, VecDeque};

use url::Url;

use super::config::Config;
use super::request;
use crate::event::{AuthEvent, EventId, Span, Timestamp};

/// How far a look reaches back.
const REACH: Span = Span::hours(1);

/// How near to now it comes: Okta may show an event of a bounded query 10 s late, and polling has its own delay.
const NEAREST: Span = Span::minutes(2);

/// The most ids that are remembered; beyond it, a look reaches less far back.
const REMEMBERED: usize = 500_000;

/// The looks of one poller.
pub(super) struct LookBack {
    /// How often; zero for never.
    every: Span,
    /// From where on everything is known that was delivered; `None` before the first reply.
    known_from: Option<Timestamp>,
    /// When the next look is due.
    due: Option<Timestamp>,
    known: HashSet<EventId>,
    /// The same by when they were published, as delivered: nearly in order.
    order: VecDeque<(Timestamp, EventId)>,
    /// The look that is under way: the page that is asked for next, and from where on it looks.
    look: Option<(Url, Timestamp)>,
    found: u64,
}

impl LookBack {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            every: config.look_back,
            known_from: None,
            due: None,
            known: HashSet::new(),
            order: VecDeque::new(),
            look: None,
            found: 0,
        }
    }

    /// Polling delivered these at `now`.
    pub(super) fn delivered<'a>(&mut self, events: impl Iterator<Item = &'a AuthEvent>, now: Timestamp) {
        if self.every == Span(0) {
            return;
        }
        // What was published before may have been delivered by an earlier process.
        let from = *self.known_from.get_or_insert(now);
        for event in events {
            self.remember(event, from);
        }
        self.forget(now);
        self.due.get_or_insert(now + self.every);
    }

    fn remember(&mut self, event: &AuthEvent, from: Timestamp) {
        let Some(published) = event.published.filter(|published| *published >= from) else { return };
        if self.known.insert(event.id) {
            self.order.push_back((published, event.id));
        }
    }

    /// Forgets what no look reaches any more, and the oldest beyond the bound.
    fn forget(&mut self, now: Timestamp) {
        let reach = now - REACH - NEAREST;
        let from = self.look.as_ref().map_or(reach, |(_, from)| reach.min(*from));
        while let Some((published, id)) = self.order.front().copied() {
            let too_many = self.order.len() > REMEMBERED;
            if published >= from && !too_many {
                break;
            }
            self.order.pop_front();
            self.known.remove(&id);
            if too_many {
                self.known_from = self.known_from.max(Some(published + Span(1)));
            }
        }
    }

    /// The page to ask for, where a look is due or under way.
    pub(super) fn page(&mut self, config: &Config, now: Timestamp) -> Option<Url> {
        if self.look.is_none() && self.due.is_some_and(|due| due <= now) {
            self.due = Some(now + self.every);
            let (from, until) = (self.known_from?.max(now - REACH), now - NEAREST);
            if from < until {
                self.found = 0;
                self.look = Some((bounded(config, from, until), from));
            }
        }
        self.look.as_ref().map(|(page, _)| page.clone())
    }

    /// Goes on behind a page; says which of its events were not delivered. They count as delivered from here on.
    pub(super) fn advance(&mut self, next: Option<Url>, events: &[&AuthEvent]) -> Vec<bool> {
        self.look = next.zip(self.look.take().map(|(_, from)| from));
        let from = self.known_from.unwrap_or(Timestamp(i64::MAX));
        let missed: Vec<bool> = events
            .iter()
            .map(|event| event.published.is_some_and(|at| at >= from) && !self.known.contains(&event.id))
            .collect();
        for (event, missed) in events.iter().zip(&missed) {
            if *missed {
                self.found += 1;
                self.remember(event, from);
            }
        }
        missed
    }

    /// How many events the look has found that polling had not delivered.
    pub(super) fn found(&self) -> u64 {
        self.found
    }

    /// Whether a look is under way.
    pub(super) fn is_under_way(&self) -> bool {
        self.look.is_some()
    }

    /// Ends the look that is under way.
    pub(super) fn give_up(&mut self) {
        self.look = None;
    }
}

fn bounded(config: &Config, from: Timestamp, until: Timestamp) -> Url {
    let (from, until, limit) = (from.to_string(), until.to_string(), config.limit.to_string());
    request::api(
        &config.url,
        &["logs"],
        &[("since", &from), ("until", &until), ("sortOrder", "ASCENDING"), ("limit", &limit)],
    )
}
