//! One sink's worker: outbox row in, telling carried out and recorded, or held back with a reason.
//!
//! One request is in flight at a time. A failure of one incident holds up that incident; a failure of the sink holds
//! up the sink. A crash between telling and recording repeats the telling, which every integration makes harmless.
//! Before the outbox comes the sink's periodic work where it has any ([`Sink::keep_alive`]), after it what a shadow
//! left to be told ([`shadow::owed`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use smol_str::SmolStr;
use tokio::sync::{Notify, watch};

use super::health;
use super::ledger::Ledger;
use super::queue::{self, Job};
use super::retry::{Backoff, Class, Failure, Scope};
use super::shadow::{self, Mode};
use super::{Done, Kept, Sink};
use crate::action::IncidentAction;
use crate::store::Store;
use crate::telemetry::condition::Condition;
use crate::telemetry::metric::Metric;
use crate::{clock, fault};

/// How long a worker goes on after it was told to stop; then it drops what is in flight, which the next start settles.
pub const DRAIN: Duration = Duration::from_secs(10);

/// The longest time between two looks at the outbox.
pub(super) const LOOK: Duration = Duration::from_secs(5);

/// Outbox rows read at a time.
const ROWS: usize = 256;

/// Incidents with a delay of their own; beyond it all are tried again.
const HELD: usize = 10_000;

/// Something that is not tried before an instant.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    backoff: Backoff,
    until: Option<Instant>,
}

impl Held {
    fn hold(&mut self, asked: Option<Duration>) {
        self.until = Some(clock::monotonic() + self.backoff.next(asked));
    }

    fn is_due(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }
}

/// The worker of one sink.
#[derive(Debug)]
pub(super) struct Worker {
    name: String,
    sink: Sink,
    ledger: Ledger,
    condition: Condition,
    reached: bool,
    whole: Held,
    incidents: BTreeMap<SmolStr, Held>,
    /// When the periodic work is due; `None` where there is none.
    alive: Option<Instant>,
    /// What a shadow left to be told; `None` until it was looked for.
    owed: Option<BTreeMap<SmolStr, IncidentAction>>,
}

/// What one turn came to.
enum Turn {
    /// Something was done; look again.
    Worked,
    /// Nothing is due before this instant, or at all.
    Idle(Option<Instant>),
}

impl Worker {
    pub(super) fn new(name: String, sink: Sink, store: Arc<Store>, condition: Condition) -> Self {
        let ledger = Ledger::new(store, &name);
        let (whole, incidents, alive) = (Held::default(), BTreeMap::new(), Some(clock::monotonic()));
        Self { name, sink, ledger, condition, reached: false, whole, incidents, alive, owed: None }
    }

    /// Works until told to stop.
    pub(super) async fn run(mut self, wake: Arc<Notify>, mut shutdown: watch::Receiver<bool>) {
        let mut stop = shutdown.clone();
        let drained = async {
            // An error means that the other side is gone: as good as a stop.
            let _ = stop.wait_for(|stop| *stop).await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::pin!(drained);
        loop {
            // Registered before the look, so that a commit after the look is not missed.
            let woken = wake.notified();
            // Read before the look too, so that what was committed before the stop is still seen.
            let stopping = *shutdown.borrow() || shutdown.has_changed().is_err();
            let turn = tokio::select! {
                turn = self.turn() => turn,
                () = &mut drained => break,
            };
            let Turn::Idle(until) = turn else { continue };
            if stopping {
                break;
            }
            let wait = until.map_or(LOOK, |until| until.saturating_duration_since(clock::monotonic()).min(LOOK));
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep(wait) => {}
                _ = shutdown.changed() => {}
            }
        }
        tracing::debug!(sink = self.name, "sink worker ended");
    }

    async fn turn(&mut self) -> Turn {
        if !self.whole.is_due(clock::monotonic()) {
            return Turn::Idle(self.whole.until);
        }
        match self.step().await {
            Ok(turn) => turn,
            Err(failure) => {
                self.whole.hold(failure.wait);
                self.ill(&failure);
                Turn::Idle(self.whole.until)
            }
        }
    }

    /// One step; an error holds up the sink.
    async fn step(&mut self) -> Result<Turn, Failure> {
        if self.alive.is_some_and(|due| due <= clock::monotonic()) {
            self.keep_alive().await?;
        }
        let until = match self.next_job().await? {
            Ok(job) => {
                self.carry_out(job).await;
                return Ok(Turn::Worked);
            }
            Err(until) => until,
        };
        if let Some(job) = self.next_owed().await? {
            self.carry_out(job).await;
            return Ok(Turn::Worked);
        }
        if self.reached {
            return Ok(Turn::Idle(until.into_iter().chain(self.alive).min()));
        }
        self.sink.probe().await?;
        self.reached = true;
        self.well();
        Ok(Turn::Worked)
    }

    async fn keep_alive(&mut self) -> Result<(), Failure> {
        match self.sink.keep_alive(&self.ledger).await {
            Ok(kept) => {
                self.alive = kept.map(|kept| clock::monotonic() + kept.every);
                if matches!(kept, Some(Kept { sent: true, .. })) {
                    self.reached = true;
                    self.whole = Held::default();
                    self.well();
                }
                Ok(())
            }
            Err(failure) => {
                Metric::SinkRetries.counter(&[&self.name, failure.reason.as_str()]).increment(1);
                Err(failure)
            }
        }
    }

    /// The first incident of those that a shadow left to be told that is due.
    async fn next_owed(&mut self) -> Result<Option<Job>, Failure> {
        if self.owed.is_none() {
            let entries = match self.sink.mode() {
                Mode::Live => self.ledger.blocking(Store::ledger_all).await?,
                Mode::Shadow => Vec::new(),
            };
            let owed = |(key, entry): (String, _)| Some((SmolStr::from(key), shadow::owed(&entry)?));
            self.owed = Some(entries.into_iter().filter_map(owed).collect());
        }
        let now = clock::monotonic();
        let is_due = |key: &SmolStr| self.incidents.get(key).is_none_or(|held| held.is_due(now));
        let first = self.owed.iter().flatten().find(|(key, _)| is_due(key));
        Ok(first.map(|(_, action)| Job { sequences: Vec::new(), action: action.clone() }))
    }

    /// Nothing of the incident waits for its turn any more.
    fn settled(&mut self, key: &SmolStr) {
        self.incidents.remove(key);
        if let Some(owed) = &mut self.owed {
            owed.remove(key);
        }
    }

    /// The first job that is due, else when the first will be.
    async fn next_job(&mut self) -> Result<Result<Job, Option<Instant>>, Failure> {
        let count = self.ledger.blocking(|store, sink| store.count(sink)).await?;
        Metric::OutboxRows.gauge(&[&self.name]).set(count as f64);
        let now = clock::monotonic();
        let (mut after, mut seen, mut first) = (0, BTreeSet::new(), None::<Instant>);
        loop {
            let rows = self.ledger.blocking(move |store, sink| store.pending(sink, after, ROWS)).await?;
            let Some((last, _)) = rows.last() else { return Ok(Err(first)) };
            after = *last;
            for job in queue::jobs(rows) {
                // An incident whose first job waits has nothing else that may go before it.
                if !seen.insert(job.key().clone()) {
                    continue;
                }
                match self.incidents.get(job.key()) {
                    Some(held) if !held.is_due(now) => first = first.into_iter().chain(held.until).min(),
                    Some(_) | None => return Ok(Ok(job)),
                }
            }
        }
    }

    async fn carry_out(&mut self, job: Job) {
        fault::point("commit_action");
        let told = self.sink.tell(&job.action, &self.ledger).await;
        let told = match told {
            Ok(done) => {
                fault::point("action_record");
                self.record(&job, done).await
            }
            Err(failure) => Err(failure),
        };
        match told {
            Ok(()) => {
                self.reached = true;
                self.whole = Held::default();
                self.settled(job.key());
                self.well();
            }
            Err(failure) => self.failed(&job, failure).await,
        }
    }

    async fn record(&self, job: &Job, done: Done) -> Result<(), Failure> {
        let Done { entry, result } = done;
        let (sequences, key) = (job.sequences.clone(), job.key().clone());
        let number = entry.number.clone().unwrap_or_default();
        let complete = move |store: &Store, sink: &str| store.complete(sink, &sequences, Some((&key, &entry)));
        self.ledger.blocking(complete).await?;
        let (step, revision) = (job.action.step.as_str(), job.action.revision);
        Metric::SinkActions.counter(&[&self.name, step, result.as_str()]).increment(1);
        let incident = job.key().as_str();
        tracing::info!(sink = self.name, incident, step, revision, result = result.as_str(), number, "incident told");
        Ok(())
    }

    async fn failed(&mut self, job: &Job, failure: Failure) {
        let (incident, step) = (job.key().as_str(), job.action.step.as_str());
        tracing::debug!(sink = self.name, incident, step, reason = failure.reason.as_str(), "telling failed");
        match failure.class {
            Class::GiveUp => self.give_up(job, &failure).await,
            Class::Retry | Class::FixConfiguration => {
                Metric::SinkRetries.counter(&[&self.name, failure.reason.as_str()]).increment(1);
                match failure.scope {
                    Scope::Sink => self.whole.hold(failure.wait),
                    Scope::Incident => {
                        if self.incidents.len() >= HELD {
                            self.incidents.clear();
                        }
                        self.incidents.entry(job.key().clone()).or_default().hold(failure.wait);
                    }
                }
                self.ill(&failure);
            }
        }
    }

    async fn give_up(&mut self, job: &Job, failure: &Failure) {
        let (sequences, reason, detail) = (job.sequences.clone(), failure.reason.as_str(), failure.detail.clone());
        let given_up = self.ledger.blocking(move |store, sink| store.give_up(sink, &sequences, reason, &detail)).await;
        if let Err(failure) = given_up {
            self.whole.hold(failure.wait);
            self.ill(&failure);
            return;
        }
        self.settled(job.key());
        let (incident, step) = (job.key().as_str(), job.action.step.as_str());
        Metric::SinkActions.counter(&[&self.name, step, "dead_letter"]).increment(1);
        let detail = &failure.detail;
        tracing::error!(sink = self.name, incident, step, reason, detail, "action given up; it is a dead letter now");
        self.condition.failing(&format!("{detail}; the action is kept as a dead letter"));
    }

    /// The last thing went well; what the sink itself holds against it still counts.
    fn well(&self) {
        health::well(&self.name, &self.condition, self.sink.trouble());
    }

    fn ill(&self, failure: &Failure) {
        health::ill(&self.name, &self.condition, failure);
    }
}
