//! Metrics systems that take pushes: our own metrics, as they are on `/metrics`, every interval.
//!
//! A publisher is a task of its own beside the outbox, so that a slow or broken system delays nothing else. Each
//! interval it takes one [snapshot](crate::telemetry::snapshot), turns counters into what was added since the last one
//! (`delta`), spells it as the system wants it (`item`) and lets it wait its turn (`queue`). The rules, and why:
//!
//! - The snapshot at the start is the base line: a restart sends no count again (invariant 10). It is taken after the
//!   committed counts were restored, and the last one after the last commit.
//! - A count that may have arrived is never sent again: the other side would add it twice (invariant 3). So a request
//!   without a clear answer loses its counts, which are counted as `unknown`, and goes on with its gauges, which may be
//!   said twice. During an outage it is this remainder that is tried, so an outage costs the counts of one
//!   request, seldom more.
//! - What was certainly not taken (429, no connection, refused credentials) waits and is sent with the time at which it
//!   was taken, until it is too old ([`AGE`]) or too many wait; then the oldest goes and is counted.
//! - The series of a push are capped; those left out are counted.
//!
//! Where events are told, the same counts give a marker for every interval in which policies changed (`change`).
//!
//! Nothing is kept over a restart: what was added between the last push and a kill is on `/metrics` only. No person is
//! in a label, so none is in a tag. Metrics: `authwatch_published_points_total`, `authwatch_sink_series_dropped_total`,
//! `authwatch_sink_requests_total`, `authwatch_sink_retries_total`, for markers `authwatch_sink_actions_total`.
//! Conditions: `publish/<name>` and, for markers, `publish/<name>/changes`, which inform.

mod change;
pub mod datadog;
mod delta;
pub mod dynatrace;
mod item;
mod mark;
mod queue;
mod task;

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::retry::{Class, Failure, Reason};
use super::wire::Reply;
use crate::duration;
use crate::event::Span;
use crate::telemetry::condition::Conditions;
use crate::telemetry::metric::Metric;
use crate::telemetry::snapshot::Snapshot;
use change::Marker;
use datadog::Datadog;
use delta::Point;
use dynatrace::Dynatrace;
use item::Item;
use queue::Batch;

pub use task::FLUSH;

/// The oldest that is sent. Datadog takes nothing older than an hour; what is under way and clocks that disagree need
/// the rest.
pub const AGE: Span = Span::minutes(55);

/// Gives one reading of every metric; may block.
pub type Read = Arc<dyn Fn() -> Snapshot + Send + Sync>;

/// How much is held and sent; part of a sink's section.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Series in a push; 2,000 by default. Those that came first stay, of those that come together the ones with the
    /// fewest labels. A histogram counts as one.
    pub series: usize,
    /// Pushes that may wait while the other side takes none; 30 by default. The oldest goes first.
    pub waiting: usize,
}

/// The most series, waiting pushes, and points that wait: about 250 bytes each.
const SERIES: usize = 20_000;
const WAITING: usize = 60;
const POINTS: usize = 300_000;

impl Default for Limits {
    fn default() -> Self {
        Self { series: 2_000, waiting: 30 }
    }
}

impl Limits {
    /// Whether they are in bounds; the message where they are not.
    fn check(self) -> Result<(), String> {
        if !(1..=SERIES).contains(&self.series) || !(1..=WAITING).contains(&self.waiting) {
            return Err(format!("`limits` are `series` 1 to {SERIES} and `waiting` 1 to {WAITING}"));
        }
        if self.series * self.waiting > POINTS {
            return Err(format!("`limits`: `series` times `waiting` points wait in memory, at most {POINTS}"));
        }
        Ok(())
    }
}

/// How often is pushed, and how much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Settings {
    interval: Duration,
    limits: Limits,
    /// Whether metrics are pushed.
    metrics: bool,
    /// Whether changes of policies are marked.
    marks: bool,
}

fn interval<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    duration::bounded(deserializer, Span::seconds(1), Span::minutes(10)).map(duration::to_std)
}

fn timeout<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    duration::bounded(deserializer, Span(100), Span::minutes(2)).map(duration::to_std)
}

/// Whether a tag of one's own would stand beside one of ours with the same name.
fn is_ours(tag: &str) -> bool {
    tag == datadog::BUCKET_TAG || Metric::ALL.iter().any(|metric| metric.labels().contains(&tag))
}

/// What pushes to one system, ready to be started.
#[derive(Debug)]
pub struct Publisher {
    name: String,
    target: Target,
    settings: Settings,
}

/// The closed list of systems.
#[derive(Debug)]
enum Target {
    Datadog(Box<Datadog>),
    Dynatrace(Box<Dynatrace>),
}

impl Publisher {
    /// Pushes to Datadog.
    pub(super) fn to_datadog(datadog: Datadog) -> Self {
        let (name, settings) = (datadog.config().name.clone(), datadog.config().settings());
        Self { name, target: Target::Datadog(Box::new(datadog)), settings }
    }

    /// Pushes to Dynatrace.
    pub(super) fn to_dynatrace(dynatrace: Dynatrace) -> Self {
        let (name, settings) = (dynatrace.config().name.clone(), dynatrace.config().settings());
        Self { name, target: Target::Dynatrace(Box::new(dynatrace)), settings }
    }
}

impl Target {
    /// The most points of one request.
    fn per_request(&self) -> usize {
        match self {
            Self::Datadog(_) => datadog::POINTS,
            Self::Dynatrace(_) => dynatrace::LINES,
        }
    }

    /// Points as the system spells them.
    fn items(&self, points: &[Point]) -> Vec<Item> {
        match self {
            Self::Datadog(_) => datadog::items(points),
            Self::Dynatrace(_) => dynatrace::items(points),
        }
    }

    /// Sends one request.
    async fn push(&self, batch: &Batch) -> Pushed {
        match self {
            Self::Datadog(datadog) => datadog.push(batch).await,
            Self::Dynatrace(dynatrace) => dynatrace.push(batch).await,
        }
    }

    /// Sends the marker of a change.
    async fn mark(&self, marker: &Marker) -> Result<(), Failure> {
        match self {
            Self::Datadog(datadog) => datadog.mark(marker).await,
            Self::Dynatrace(dynatrace) => dynatrace.mark(marker).await,
        }
    }
}

/// What one request came to.
#[derive(Debug)]
enum Pushed {
    /// It was taken, but for some points.
    Taken {
        /// How many points were refused for good.
        refused: usize,
        /// What an operator should know.
        trouble: Option<String>,
    },
    /// Nothing was taken: in smaller parts it may be.
    TooLarge(Failure),
    /// Nothing was taken, and the same will never be.
    Refused(Failure),
    /// Nothing was taken: the same again, later.
    Held(Failure),
    /// It may have been taken.
    Unknown(Failure),
}

impl From<Failure> for Pushed {
    fn from(failure: Failure) -> Self {
        match failure.reason {
            Reason::BodyTooLarge => Self::TooLarge(failure),
            Reason::Unreachable
            | Reason::RateLimited
            | Reason::Secret
            | Reason::Unauthorized
            | Reason::Forbidden
            | Reason::NotFound
            | Reason::Redirected => Self::Held(failure),
            Reason::Invalid if failure.class == Class::GiveUp => Self::Refused(failure),
            Reason::Invalid => Self::Held(failure),
            Reason::Timeout
            | Reason::ConnectionLost
            | Reason::ServerError
            | Reason::BadBody
            | Reason::Hibernating
            | Reason::Settling
            | Reason::PostLost
            | Reason::LookupUntrusted
            | Reason::Store => Self::Unknown(failure),
        }
    }
}

/// What a refusal means for a push: as for every sink, but for 413, after which smaller parts are sent.
fn refused(reply: &Reply, who: &str) -> Failure {
    if reply.status.as_u16() == 413 {
        return too_large(format!("{who} answered 413 to a single point"));
    }
    reply.refused(&who)
}

fn too_large(detail: String) -> Failure {
    Failure::give_up(Reason::BodyTooLarge, detail)
}

/// The failure of a page for people with a good status: something in between has answered.
fn page(who: &str) -> Failure {
    let detail = format!("{who} answers with a page instead of data (a proxy's sign-in? Check the address)");
    Failure::fix(Reason::BadBody, detail)
}

/// At most `most` characters, with an ellipsis where something was cut.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Starts one task per publisher. The base line is taken here, before it returns: committed counts must have been
/// restored to the metrics by now, and nothing new committed. Once `stop` is true, a task takes a last snapshot, sends
/// what waits within [`FLUSH`] and ends.
pub fn spawn(
    publishers: Vec<Publisher>,
    read: &Read,
    conditions: &Conditions,
    stop: &watch::Receiver<bool>,
) -> Vec<JoinHandle<()>> {
    if publishers.is_empty() {
        return Vec::new();
    }
    let base = read();
    let start = |publisher: Publisher| {
        let (name, settings) = (&publisher.name, publisher.settings);
        let declare = |name: String| conditions.declare(&name, false, "nothing pushed yet");
        let condition = settings.metrics.then(|| declare(format!("publish/{name}")));
        let marks = settings.marks.then(|| mark::Marks::new(&base, declare(format!("publish/{name}/changes"))));
        let task = task::Task::new(publisher, Arc::clone(read), &base, (condition, marks));
        tokio::spawn(task.run(stop.clone()))
    };
    publishers.into_iter().map(start).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_of_ones_own_is_told_from_ours() {
        for (tag, ours) in [("env", false), ("team", false), ("org", true), ("sink", true), ("le", true)] {
            assert_eq!(is_ours(tag), ours, "{tag}");
        }
    }

    #[test]
    fn a_text_is_cut_at_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
    }
}
