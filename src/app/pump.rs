//! The one writer: folds what the sources bring, commits, and only then lets anybody know (invariant 3).
//!
//! One turn takes every batch that waits (up to a bound), folds it into the core, and stores positions, journal and
//! outbox in one transaction. After it the metrics are published and the sinks are woken. Nothing that is not
//! committed is ever seen outside.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinHandle, block_in_place};

use super::policies::{self, FilePolicies};
use super::publish::Publisher;
use super::unheard::Ears;
use crate::clock;
use crate::event::SourceName;
use crate::fault;
use crate::input::{CoreConfig, Input};
use crate::source::{Batch, Position};
use crate::store::{Commit, Store, StoreError};
use crate::telemetry::condition::Condition;
use crate::telemetry::metric::Metric;
use crate::watch::{SnapshotError, Watch};

/// Inputs of one transaction: a few pages; what waits beyond it takes the next turn.
const TURN_INPUTS: usize = 8_000;
/// A snapshot is due after this many inputs…
const SNAPSHOT_INPUTS: u64 = 50_000;
/// …or this long after the last one, where there was any input.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(300);

/// How often what is shown is brought up to date while nothing comes.
const REFRESH_EVERY: Duration = Duration::from_secs(5);

/// What reaches the pump.
#[derive(Debug)]
pub(super) enum Message {
    /// A source's page.
    Batch(Batch),
    /// A configuration of the core that may have changed, with what files of policies say.
    Configure(Box<CoreConfig>, FilePolicies),
    /// A question about what is committed.
    Ask(Question),
}

/// Looks at the core between two commits and changes nothing; it must be quick, for nothing is folded meanwhile.
pub(super) struct Question(pub(super) Box<dyn FnOnce(&Watch) + Send>);

impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Question")
    }
}

/// Why the pump stopped before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum PumpError {
    /// The store failed: nothing can be promised any more.
    #[error("the state store failed")]
    Store(#[from] StoreError),
    /// The pump ended although nobody asked it to: a panic, which is a bug.
    #[error("the pump ended abnormally")]
    Ended,
    /// The state cannot be written or read.
    #[error("the state cannot be used")]
    Snapshot(#[from] SnapshotError),
}

/// The pump with everything it owns.
pub(super) struct Pump {
    store: Arc<Store>,
    watch: Watch,
    sinks: Vec<String>,
    wake: Arc<Notify>,
    publisher: Publisher,
    ears: Ears,
    condition: Condition,
    since_snapshot: u64,
    last_snapshot: Instant,
    snapshot_task: Option<JoinHandle<Result<(), StoreError>>>,
}

/// What one turn gathers.
#[derive(Default)]
struct Turn {
    commit: Commit,
    positions: BTreeMap<SourceName, Position>,
    received: Vec<Instant>,
    receipts: Vec<oneshot::Sender<()>>,
    backlog: bool,
    questions: Vec<Question>,
}

impl Turn {
    /// Whether there is nothing to commit: only questions were asked.
    fn is_idle(&self) -> bool {
        self.commit.inputs.is_empty() && self.positions.is_empty() && self.received.is_empty()
    }
}

/// What a restart begins with.
pub struct Recovered {
    /// The core.
    pub watch: Watch,
    /// How far each source was read.
    pub positions: BTreeMap<SourceName, Position>,
    /// How many inputs the newest snapshot does not cover: what every restart folds again until there is a newer one.
    pub refolded: u64,
}

/// Rebuilds the core from the store: the newest snapshot and what was journalled after it. Actions decided on the way
/// were committed with their inputs, so they are already in the outbox.
///
/// # Errors
/// Where the store or its snapshot cannot be read.
pub fn recover(store: &Store) -> Result<Recovered, PumpError> {
    let recovered = store.recover()?;
    let (mut watch, next) = match &recovered.snapshot {
        Some((covers, bytes)) => (Watch::restore(bytes)?, covers + 1),
        None => (Watch::new(), 0),
    };
    let mut refolded = 0;
    for row in store.journal_from(next)? {
        let (_, inputs) = row?;
        refolded += inputs.len() as u64;
        inputs.iter().for_each(|input| watch.handle(input));
        while watch.poll_action().is_some() {}
    }
    Ok(Recovered { watch, positions: recovered.positions, refolded })
}

impl Pump {
    /// A pump over a recovered core. The configuration becomes an input if it differs from the one in force, and so do
    /// the policies of a file that is not the one in force. What recovery had to fold again counts towards the next snapshot, so that a daemon that never lives long still takes one.
    ///
    /// # Errors
    /// Where the configuration cannot be committed.
    pub(super) fn new(
        store: Arc<Store>,
        (watch, refolded): (Watch, u64),
        (config, policies): (&CoreConfig, &FilePolicies),
        sinks: Vec<String>,
        wake: Arc<Notify>,
        publisher: Publisher,
        condition: Condition,
    ) -> Result<Self, PumpError> {
        let mut pump = Self {
            store,
            watch,
            sinks,
            wake,
            publisher,
            ears: Ears::default(),
            condition,
            since_snapshot: refolded,
            last_snapshot: clock::monotonic(),
            snapshot_task: None,
        };
        let mut turn = Turn::default();
        pump.configure(&mut turn, config, policies);
        pump.finish_turn(turn)?;
        Ok(pump)
    }

    /// Runs until every sender is gone, then commits and takes a last snapshot.
    ///
    /// # Errors
    /// Where the store fails.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Message>) -> Result<(), PumpError> {
        loop {
            let first = tokio::select! {
                message = inbox.recv() => message,
                () = tokio::time::sleep(REFRESH_EVERY) => {
                    block_in_place(|| self.while_quiet())?;
                    continue;
                }
            };
            let Some(first) = first else { break };
            let mut turn = Turn::default();
            let mut next = Some(first);
            while let Some(message) = next {
                block_in_place(|| self.take(&mut turn, message))?;
                next = if turn.commit.inputs.len() < TURN_INPUTS { inbox.try_recv().ok() } else { None };
            }
            self.listen(&mut turn);
            block_in_place(|| {
                let questions = std::mem::take(&mut turn.questions);
                if questions.is_empty() || !turn.is_idle() {
                    self.finish_turn(turn)?;
                }
                questions.into_iter().for_each(|Question(ask)| ask(&self.watch));
                Ok::<_, PumpError>(())
            })?;
            self.snapshot_if_due().await?;
        }
        if self.since_snapshot > 0 {
            self.begin_snapshot().await?;
        }
        self.join_snapshot().await
    }

    /// What is due while nothing comes.
    fn while_quiet(&mut self) -> Result<(), PumpError> {
        let mut turn = Turn::default();
        self.listen(&mut turn);
        if !turn.is_idle() {
            return self.finish_turn(turn);
        }
        self.publisher.refresh(&self.watch);
        Ok(())
    }

    /// Tells the core of sources that say nothing.
    fn listen(&mut self, turn: &mut Turn) {
        for input in self.ears.due(&self.watch, clock::monotonic()) {
            self.fold(turn, &input);
            turn.commit.inputs.push(input);
        }
    }

    fn take(&mut self, turn: &mut Turn, message: Message) -> Result<(), PumpError> {
        match message {
            Message::Configure(config, policies) => self.configure(turn, &config, &policies),
            Message::Ask(question) => turn.questions.push(question),
            Message::Batch(batch) => {
                self.ears.heard(&batch.source, clock::monotonic());
                turn.received.push(batch.received);
                turn.receipts.extend(batch.receipt);
                turn.backlog |= batch.backlog;
                fault::point("after_fetch");
                if let Some(position) = batch.position {
                    if fault::breaks_commit_order() {
                        let early = Commit { positions: vec![(batch.source.clone(), position)], ..Commit::default() };
                        self.store.commit(&early)?;
                        fault::point("position_committed");
                    } else {
                        turn.positions.insert(batch.source, position);
                    }
                }
                for input in &batch.inputs {
                    self.fold(turn, input);
                }
                turn.commit.inputs.extend(batch.inputs);
            }
        }
        Ok(())
    }

    fn configure(&mut self, turn: &mut Turn, config: &CoreConfig, policies: &FilePolicies) {
        if self.watch.config() != config || self.watch.orgs().next().is_none() {
            for input in policies::inputs(self.watch.config(), config, policies) {
                self.fold(turn, &input);
                turn.commit.inputs.push(input);
            }
        }
    }

    fn fold(&mut self, turn: &mut Turn, input: &Input) {
        self.watch.handle(input);
        while let Some(action) = self.watch.poll_action() {
            turn.commit.outbox.extend(self.sinks.iter().map(|sink| (sink.clone(), action.clone())));
        }
    }

    fn finish_turn(&mut self, mut turn: Turn) -> Result<(), PumpError> {
        turn.commit.positions = turn.positions.into_iter().collect();
        let has_actions = !turn.commit.outbox.is_empty();
        if turn.backlog {
            fault::point("backlog");
        }
        let began = clock::monotonic();
        let committed = self.store.commit(&turn.commit);
        if let Err(error) = &committed {
            self.condition.failing(&error.to_string());
        }
        committed?;
        self.condition.ok();
        fault::point("committed");
        Metric::Commits.counter(&[]).increment(1);
        Metric::CommitDuration.histogram(&[]).record(began.elapsed().as_secs_f64());
        self.since_snapshot += turn.commit.inputs.len() as u64;
        let has_heard = !turn.received.is_empty();
        self.publisher.publish(&self.watch, has_heard);
        for receipt in turn.receipts {
            // A source that has ended has no use for it.
            let _ = receipt.send(());
        }
        for received in turn.received {
            Metric::VisibleDelay.histogram(&[]).record(received.elapsed().as_secs_f64());
        }
        if has_actions {
            self.wake.notify_waiters();
        }
        Ok(())
    }

    async fn snapshot_if_due(&mut self) -> Result<(), PumpError> {
        let is_due = self.since_snapshot >= fault::snapshot_inputs(SNAPSHOT_INPUTS)
            || (self.since_snapshot > 0 && self.last_snapshot.elapsed() >= SNAPSHOT_EVERY);
        let is_writing = self.snapshot_task.as_ref().is_some_and(|task| !task.is_finished());
        if is_due && !is_writing {
            self.join_snapshot().await?;
            self.begin_snapshot().await?;
        }
        Ok(())
    }

    /// Encodes the state here, where it stands still, and writes it in the background.
    async fn begin_snapshot(&mut self) -> Result<(), PumpError> {
        self.join_snapshot().await?;
        let bytes = block_in_place(|| self.watch.snapshot())?;
        let covers = self.store.journal_last()?;
        Metric::SnapshotBytes.gauge(&[]).set(bytes.len() as f64);
        let store = self.store.clone();
        self.snapshot_task = Some(tokio::task::spawn_blocking(move || store.write_snapshot(covers, &bytes)));
        self.since_snapshot = 0;
        self.last_snapshot = clock::monotonic();
        Ok(())
    }

    async fn join_snapshot(&mut self) -> Result<(), PumpError> {
        if let Some(task) = self.snapshot_task.take() {
            match task.await {
                Ok(written) => written?,
                Err(error) => tracing::error!(%error, "the snapshot task ended abnormally"),
            }
            Metric::Snapshots.counter(&[]).increment(1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_says_how_much_no_snapshot_covers() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path()).expect("a store");
        let configure = || Input::Configure(Box::default());
        let refolded = |store: &Store| recover(store).expect("recovers").refolded;
        assert_eq!(refolded(&store), 0);
        for inputs in [vec![configure()], vec![configure(), configure()]] {
            store.commit(&Commit { inputs, ..Commit::default() }).expect("commits");
        }
        assert_eq!(refolded(&store), 3);
        store.write_snapshot(1, &Watch::new().snapshot().expect("a snapshot")).expect("writes");
        assert_eq!(refolded(&store), 2);
    }
}
