//! `explain --unknown`: the event types that the tables do not list, with their counts.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use super::{Explain, Mode};
use crate::classify::Reader;

/// Event types kept; more are counted together.
pub(super) const UNKNOWN_TYPES: usize = 10_000;

/// The event types that the tables do not list.
#[derive(Default)]
pub(super) struct Unknown {
    pub(super) counts: BTreeMap<String, u64>,
    pub(super) more: u64,
}

#[derive(Serialize)]
struct UnknownLine<'a> {
    event_type: Option<&'a str>,
    count: u64,
}

impl Unknown {
    pub(super) fn count(&mut self, reader: &Reader, line: &Explain) {
        let Some(event_type) = line.event_type.as_deref().filter(|name| !reader.tables.lists(name)) else { return };
        if let Some(count) = self.counts.get_mut(event_type) {
            *count += 1;
        } else if self.counts.len() < UNKNOWN_TYPES {
            self.counts.insert(event_type.to_owned(), 1);
        } else {
            self.more += 1;
        }
    }

    pub(super) fn write(&self, mode: Mode, out: &mut dyn Write) -> anyhow::Result<()> {
        let mut rows: Vec<_> = self.counts.iter().map(|(name, count)| (Some(name.as_str()), *count)).collect();
        rows.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        if self.more > 0 {
            rows.push((None, self.more));
        }
        for (event_type, count) in rows {
            if mode.json {
                serde_json::to_writer(&mut *out, &UnknownLine { event_type, count })?;
                out.write_all(b"\n")?;
            } else {
                writeln!(out, "{count:>8}  {}", event_type.unwrap_or("(further types)"))?;
            }
        }
        Ok(())
    }
}
