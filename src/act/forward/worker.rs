//! One sink's worker: from its place in the queue to an acknowledgement, and the place moves.
//!
//! A batch is sent whole or in part, in order, one request at a time. The place moves only after what is before it was
//! acknowledged, durably, so a crash in between sends it again under the same ids. A refusal for good of several records
//! is narrowed down to the one at fault, which becomes a dead letter; nothing else is lost with it.
//!
//! What is sent a second time because the answer to the first was lost is counted as repeated, as far as this process
//! knows: what a crash repeats, nobody here can know.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::super::health;
use super::super::ledger::Ledger;
use super::super::retry::{Backoff, Class, Failure, Reason};
use super::super::worker::{DRAIN, LOOK};
use super::{Bounds, ForwardKind, Forwarded, Forwarder};
use crate::store::{Ahead, Store};
use crate::telemetry::condition::Condition;
use crate::telemetry::metric::Metric;
use crate::{clock, fault};

/// How long the condition goes on saying that records were lost, at least: it is looked at now and then only.
const LOSS_SHOWN: Duration = Duration::from_secs(300);

/// The worker of one sink.
#[derive(Debug)]
pub(super) struct Worker {
    name: String,
    kind: ForwardKind,
    bounds: Bounds,
    ledger: Ledger,
    condition: Condition,
    reached: bool,
    backoff: Backoff,
    until: Option<Instant>,
    /// Fewer records than the bound go into a batch, while a refused one is looked for.
    narrowed: Option<usize>,
    /// Up to this number the receiver may have what it did not acknowledge.
    doubtful: u64,
    /// Rows lost to the queue's bound, as last reported, and when that was.
    dropped: Option<u64>,
    lost: Option<Instant>,
    /// When a place was last moved past rows that this sink does not want.
    skipped: Instant,
}

/// What one turn came to.
enum Turn {
    /// Something was done; look again.
    Worked,
    /// Nothing is due before this instant, or at all.
    Idle(Option<Instant>),
}

impl Worker {
    pub(super) fn new(sink: Forwarder, store: Arc<Store>, condition: Condition) -> Self {
        let Forwarder { name, kind, bounds, .. } = sink;
        Self {
            ledger: Ledger::new(store, &name),
            name,
            kind,
            bounds,
            condition,
            reached: false,
            backoff: Backoff::default(),
            until: None,
            narrowed: None,
            doubtful: 0,
            dropped: None,
            lost: None,
            skipped: clock::monotonic(),
        }
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
            let stopping = *shutdown.borrow() || shutdown.has_changed().is_err();
            let turn = tokio::select! {
                turn = self.turn() => turn,
                () = &mut drained => break,
            };
            let Turn::Idle(until) = turn else { continue };
            if stopping {
                tokio::select! {
                    settled = self.kind.settle() => {
                        if let Err(failure) = settled {
                            tracing::warn!(sink = self.name, detail = failure.detail, "the receiver may lack the last records");
                        }
                    }
                    () = &mut drained => {}
                }
                break;
            }
            let wait = until.map_or(LOOK, |until| until.saturating_duration_since(clock::monotonic()).min(LOOK));
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep(wait) => {}
                _ = shutdown.changed() => {}
            }
        }
        tracing::debug!(sink = self.name, "forwarding ended");
    }

    async fn turn(&mut self) -> Turn {
        if let Some(until) = self.until.filter(|until| *until > clock::monotonic()) {
            return Turn::Idle(Some(until));
        }
        match self.step().await {
            Ok(turn) => turn,
            Err(failure) => {
                Metric::SinkRetries.counter(&[&self.name, failure.reason.as_str()]).increment(1);
                self.until = Some(clock::monotonic() + self.backoff.next(failure.wait));
                self.ill(&failure);
                Turn::Idle(self.until)
            }
        }
    }

    /// One step; an error holds up the sink.
    async fn step(&mut self) -> Result<Turn, Failure> {
        let Bounds { events, bytes } = self.bounds;
        let events = self.narrowed.unwrap_or(events);
        let ahead = self.ledger.blocking(move |store, sink| store.ahead(sink, events, bytes)).await?;
        self.report(&ahead).await?;
        if !ahead.rows.is_empty() {
            return self.forward(&ahead).await.map(|()| Turn::Worked);
        }
        if ahead.is_long || (ahead.passed > ahead.place && self.skipped.elapsed() >= LOOK) {
            // Now and then is enough: it only lets rows go that nobody wants any more.
            self.skipped = clock::monotonic();
            self.move_to(ahead.passed).await?;
            return Ok(Turn::Worked);
        }
        if !self.reached {
            self.kind.probe().await?;
            self.reached = true;
        }
        self.kind.tend().await?;
        self.lost.take_if(|lost| lost.elapsed() >= LOSS_SHOWN);
        self.well();
        Ok(Turn::Idle(None))
    }

    async fn forward(&mut self, ahead: &Ahead) -> Result<(), Failure> {
        let batch: Vec<&Forwarded> = ahead.rows.iter().map(|(_, thing)| thing).collect();
        fault::point("forward_send");
        match self.kind.send(&batch).await {
            Ok(taken) => {
                fault::point("forward_ack");
                self.taken(ahead, taken).await
            }
            Err(failure) => {
                if self.kind.may_have_it(&failure) {
                    self.doubt(ahead, self.kind.tried());
                }
                if failure.class == Class::GiveUp { self.narrow(ahead, &failure).await } else { Err(failure) }
            }
        }
    }

    /// The receiver may have the first `tried` of a batch.
    fn doubt(&mut self, ahead: &Ahead, tried: usize) {
        let last = ahead.rows.iter().take(tried).next_back();
        self.doubtful = last.map_or(self.doubtful, |(last, _)| self.doubtful.max(*last));
    }

    /// The first of a batch are there.
    async fn taken(&mut self, ahead: &Ahead, taken: usize) -> Result<(), Failure> {
        let Some((last, _)) = ahead.rows.get(taken.wrapping_sub(1)) else {
            return Err(Failure::retry(Reason::BadBody, format!("{} took nothing and did not say why", self.name)));
        };
        // Behind the last of them there may be rows that this sink does not want.
        self.move_to(if taken == ahead.rows.len() { ahead.passed } else { *last }).await?;
        let repeated = ahead.rows.iter().take(taken).filter(|(number, _)| *number <= self.doubtful).count();
        self.count("acknowledged", taken as u64);
        self.count("repeated", repeated as u64);
        self.narrowed = self.narrowed.map(|most| most * 2).filter(|most| *most < self.bounds.events);
        self.reached = true;
        self.backoff = Backoff::default();
        self.until = None;
        self.well();
        Ok(())
    }

    /// A batch was refused for good: a single record becomes a dead letter, of several fewer are tried next.
    async fn narrow(&mut self, ahead: &Ahead, failure: &Failure) -> Result<(), Failure> {
        let several = self.kind.tried();
        if several > 1 {
            let named = self.kind.blamed().filter(|named| *named < several);
            // Those before the one at fault may be stored already, which is not known: they are sent again.
            self.doubt(ahead, named.unwrap_or(0));
            self.narrowed = Some(named.unwrap_or(several / 2).max(1));
            return Ok(());
        }
        let Some((sequence, thing)) = ahead.rows.first() else { return Ok(()) };
        let (sequence, reason, detail) = (*sequence, failure.reason.as_str(), failure.detail.clone());
        self.ledger.blocking(move |store, sink| store.bury_forward(sink, sequence, reason, &detail)).await?;
        self.count("dead_letter", 1);
        self.narrowed = None;
        let (id, detail) = (thing.id.as_str(), &failure.detail);
        tracing::error!(sink = self.name, id, reason, detail, "the receiver refuses a record; it is a dead letter now");
        self.condition.failing(&format!("{detail}; the record is kept as a dead letter"));
        Ok(())
    }

    async fn move_to(&self, place: u64) -> Result<(), Failure> {
        self.ledger.blocking(move |store, sink| store.advance_forward(sink, place)).await
    }

    /// What an operator wants to know of the queue.
    async fn report(&mut self, ahead: &Ahead) -> Result<(), Failure> {
        let oldest = ahead.rows.first().map(|(_, thing)| clock::now() - thing.received);
        Metric::ForwardLag.gauge(&[&self.name]).set(oldest.map_or(0.0, |lag| lag.0.max(0) as f64 / 1_000.0));
        let size = self.ledger.blocking(|store: &Store, _| store.queue_size()).await?;
        Metric::ForwardQueueRows.gauge(&[]).set(size.rows as f64);
        Metric::ForwardQueueBytes.gauge(&[]).set(size.bytes as f64);
        let newly = ahead.dropped.saturating_sub(self.dropped.unwrap_or(0));
        // What was lost before this start is counted too, so that the counter does not go back.
        self.count("dropped", newly);
        if newly > 0 && self.dropped.is_some() {
            tracing::error!(sink = self.name, newly, "the queue was full; its oldest records were dropped");
            self.lost = Some(clock::monotonic());
        }
        self.dropped = Some(ahead.dropped);
        Ok(())
    }

    fn count(&self, result: &str, by: u64) {
        Metric::ForwardRecords.counter(&[&self.name, result]).increment(by);
    }

    /// The last thing went well; what was lost and what the sink itself holds against it still counts.
    fn well(&self) {
        let lost = || format!("the queue was full: {} records were dropped so far", self.dropped.unwrap_or(0));
        let trouble = self.lost.map(|_| lost()).or_else(|| self.kind.trouble());
        health::well(&self.name, &self.condition, trouble);
    }

    fn ill(&self, failure: &Failure) {
        health::ill(&self.name, &self.condition, failure);
    }
}
