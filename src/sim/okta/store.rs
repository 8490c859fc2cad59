//! What the simulated log server remembers: every element committed so far, packed in blocks.
//!
//! Elements of 3 kB compress about 17-fold, so the bound of [`MAX_ELEMENTS`] is about 0.2 GB. Beyond it the log goes silent.

use std::io;

use crate::event::Timestamp;
use crate::sim::Truth;
use crate::sim::log::{Entry, Log};

/// The most elements that one server keeps.
pub const MAX_ELEMENTS: usize = 1_000_000;

const BLOCK: usize = 512;

struct Block {
    packed: Vec<u8>,
    ends: Vec<usize>,
}

/// Elements in commit order, drawn from the log as simulated time passes.
pub(super) struct Store {
    log: Log,
    next: Option<Entry>,
    commits: Vec<Timestamp>,
    blocks: Vec<Block>,
    tail: Vec<String>,
    limit: usize,
    leave_out: bool,
}

/// A cursor that is not one of this log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InvalidCursor;

impl Store {
    pub(super) fn new(log: Log, limit: usize) -> Self {
        Self { log, next: None, commits: Vec::new(), blocks: Vec::new(), tail: Vec::new(), limit, leave_out: false }
    }

    /// Takes in everything committed up to `now`.
    pub(super) fn advance(&mut self, now: Timestamp) -> io::Result<()> {
        while self.commits.len() < self.limit {
            let Some(entry) = self.next.take().or_else(|| self.log.next()) else { break };
            if entry.commit > now {
                self.next = Some(entry);
                break;
            }
            self.commits.push(entry.commit);
            self.tail.push(entry.json);
            if self.tail.len() == BLOCK {
                self.pack()?;
            }
        }
        Ok(())
    }

    fn pack(&mut self) -> io::Result<()> {
        let mut end = 0;
        let ends = self.tail.iter().map(|json| {
            end += json.len();
            end
        });
        let ends: Vec<usize> = ends.collect();
        let packed = zstd::bulk::compress(self.tail.concat().as_bytes(), 1)?;
        self.blocks.push(Block { packed, ends });
        self.tail.clear();
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.commits.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.limit
    }

    /// The truth of what was drawn from the log; a little ahead of what is committed.
    pub(super) fn truth(&self) -> Truth {
        self.log.truth()
    }

    /// The place of the first element committed at or after `since`.
    pub(super) fn place_of(&self, since: Timestamp) -> usize {
        self.commits.partition_point(|commit| *commit < since)
    }

    /// The cursor that stands before element `place`.
    pub(super) fn cursor(&self, place: usize) -> String {
        let before = place.checked_sub(1).and_then(|last| self.commits.get(last));
        format!("{}_{place}", before.map_or(0, |commit| commit.0))
    }

    /// The place of a cursor.
    pub(super) fn place_at(&self, cursor: &str) -> Result<usize, InvalidCursor> {
        let (_, place) = cursor.split_once('_').ok_or(InvalidCursor)?;
        let place: usize = place.parse().map_err(|_| InvalidCursor)?;
        if place <= self.len() && self.cursor(place) == cursor { Ok(place) } else { Err(InvalidCursor) }
    }

    /// The next page that holds anything lacks its last element.
    pub(super) fn leave_out_the_last(&mut self) {
        self.leave_out = true;
    }

    /// Everything with a `published` from `from` to `until` that is committed by now, by `published`.
    pub(super) fn between(&self, from: Timestamp, until: Timestamp) -> io::Result<Vec<String>> {
        #[derive(serde::Deserialize)]
        struct Dated {
            published: String,
        }
        let place = self.place_of(from);
        let body = self.elements(place, self.len())?;
        let all: Vec<&serde_json::value::RawValue> = serde_json::from_slice(&body)?;
        let mut found = Vec::new();
        for element in all {
            let Ok(dated) = serde_json::from_str::<Dated>(element.get()) else { continue };
            let Some(published) = Timestamp::parse(&dated.published) else { continue };
            if (from..=until).contains(&published) {
                found.push((published, element.get().to_owned()));
            }
        }
        found.sort_by_key(|(published, _)| *published);
        Ok(found.into_iter().map(|(_, element)| element).collect())
    }

    /// Up to `limit` elements from `place` on, as a JSON array, and how many they are.
    pub(super) fn page(&mut self, place: usize, limit: usize) -> io::Result<(Vec<u8>, usize)> {
        let until = self.len().min(place.saturating_add(limit));
        let count = until.saturating_sub(place);
        let shown = if count > 0 && std::mem::take(&mut self.leave_out) { until - 1 } else { until };
        Ok((self.elements(place, shown)?, count))
    }

    fn elements(&self, place: usize, until: usize) -> io::Result<Vec<u8>> {
        let mut body = vec![b'['];
        let mut at = place;
        while at < until {
            let stop = until.min((at / BLOCK + 1) * BLOCK);
            match self.blocks.get(at / BLOCK) {
                Some(block) => {
                    let size = block.ends.last().copied().unwrap_or(0);
                    let text = zstd::bulk::decompress(&block.packed, size)?;
                    for index in at % BLOCK..at % BLOCK + (stop - at) {
                        let start = index.checked_sub(1).map_or(0, |before| block.ends[before]);
                        body.extend_from_slice(&text[start..block.ends[index]]);
                        body.push(b',');
                    }
                }
                None => {
                    for json in &self.tail[at % BLOCK..at % BLOCK + (stop - at)] {
                        body.extend_from_slice(json.as_bytes());
                        body.push(b',');
                    }
                }
            }
            at = stop;
        }
        if body.len() > 1 {
            body.pop();
        }
        body.push(b']');
        Ok(body)
    }
}
