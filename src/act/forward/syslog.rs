//! Syslog: messages of RFC 5424 over TLS (RFC 5425) or TCP (RFC 6587).
//!
//! A receiver of syslog acknowledges nothing: a write that succeeded may be lost when the connection breaks. The rules,
//! and why:
//!
//! - Before each batch it is looked whether the other side is gone; else the first batch after a restart of the receiver
//!   would be written into nothing.
//! - What was written is kept until it must have arrived at the receiver's machine, and is written again first after a
//!   broken connection, under the same ids. Some of it arrives twice then; `authwatch_syslog_messages_total` counts
//!   that as `repeated`.
//! - Too much of it is not dropped: the connection is closed in good order, whose end the other side confirms only after
//!   it has read everything, and a new one is opened. `confirm: close` does that with every batch.
//! - What stays lost with `stream`: what the receiver's machine has acknowledged longer ago than that and its program
//!   never read, and what is kept here when this process dies together with the connection.
//! - A broken connection can leave the beginning of a message behind; the whole follows.
//!
//! Fails as [`Failure`] says: a certificate needs a person, all else passes. Refuses no record: what is too long is cut
//! (`message.rs`). Metrics: requests of the sink, `authwatch_syslog_messages_total`, `authwatch_syslog_connections_total`.

mod config;
mod connection;
mod message;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub use config::{Config, ConfigError, Confirm, Framing, Payload, Tls, Transport};
use connection::{Connection, IS_HELD, UNACKNOWLEDGED};

use super::Forwarded;
use crate::act::retry::{Class, Failure, Reason};
use crate::clock;
use crate::secret::Secrets;
use crate::telemetry::metric::Metric;

/// Records of one batch; `batch_bytes` ends it before, with records of the usual size.
pub(super) const BATCH_EVENTS: usize = 1_000;

/// Written bytes that are kept unconfirmed; beyond, a confirmation is waited for.
const UNCONFIRMED: usize = 8 << 20;

/// How long it is looked whether the other side is gone, before and after each batch.
const LOOK: Duration = Duration::from_millis(1);

/// The same when asked at start: over TLS 1.3 the receiver refuses our certificate only after we think that all is well.
const PROBE: Duration = Duration::from_millis(500);

/// The sink for one receiver.
pub struct Syslog {
    config: Config,
    secrets: Secrets,
    who: String,
    connection: Option<Connection>,
    unconfirmed: Unconfirmed,
    tried: usize,
}

impl std::fmt::Debug for Syslog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Syslog").field("name", &self.config.name).finish_non_exhaustive()
    }
}

/// What was written and may be lost with its connection, oldest first.
#[derive(Debug, Default)]
struct Unconfirmed {
    batches: VecDeque<Written>,
    bytes: usize,
}

#[derive(Debug)]
struct Written {
    at: Instant,
    frames: Vec<u8>,
    messages: usize,
}

impl Unconfirmed {
    fn push(&mut self, frames: Vec<u8>, messages: usize) {
        self.bytes += frames.len();
        self.batches.push_back(Written { at: clock::monotonic(), frames, messages });
    }

    /// On a connection that lives, what was written long ago has arrived.
    fn confirm_old(&mut self) {
        let now = clock::monotonic();
        let is_old = |written: &Written| IS_HELD && now.duration_since(written.at) > 2 * UNACKNOWLEDGED;
        while self.batches.front().is_some_and(is_old) {
            self.bytes -= self.batches.pop_front().map_or(0, |written| written.frames.len());
        }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Syslog {
    /// A sink for the configured receiver. Nothing is sent and no secret is read.
    pub fn new(config: &Config, secrets: Secrets) -> Self {
        Self {
            who: format!("syslog {}:{}", config.host, config.port),
            config: config.clone(),
            secrets,
            connection: None,
            unconfirmed: Unconfirmed::default(),
            tried: 0,
        }
    }

    /// Writes the first of a batch, in order, and says how many were taken: as many as `batch_bytes` allows, at least
    /// one. Never gives a record up.
    ///
    /// # Errors
    /// The receiver may have some of the batch nevertheless; all of it is to be sent again.
    pub async fn send(&mut self, batch: &[&Forwarded]) -> Result<usize, Failure> {
        self.tried = 0;
        let sent = self.send_first(batch).await;
        let result = sent.as_ref().map_or_else(|failure| failure.reason.as_str(), |_| "ok");
        Metric::SinkRequests.counter(&[&self.config.name, result]).increment(1);
        sent
    }

    async fn send_first(&mut self, batch: &[&Forwarded]) -> Result<usize, Failure> {
        if self.unconfirmed.bytes > UNCONFIRMED {
            self.count_connection("settled");
            self.settle().await?;
        }
        self.ready().await?;
        let (mut frames, mut taken, mut cut) = (Vec::new(), 0, 0);
        for forwarded in batch {
            let framed = message::framed(&self.config, forwarded);
            if taken > 0 && frames.len() + framed.bytes.len() > self.config.batch_bytes {
                break;
            }
            frames.extend(framed.bytes);
            taken += 1;
            cut += usize::from(framed.is_cut);
        }
        self.tried = taken;
        self.write(&frames).await?;
        match self.config.confirm {
            Confirm::Stream => self.unconfirmed.push(frames, taken),
            Confirm::Close | Confirm::Goodbye => self.close().await?,
        }
        self.count("written", taken);
        self.count("cut", cut);
        Ok(taken)
    }

    /// Connects, says nothing, and listens for a moment whether the receiver refuses.
    ///
    /// # Errors
    /// Where the receiver cannot be reached, refuses, or is gone at once.
    pub async fn probe(&mut self) -> Result<(), Failure> {
        self.ready().await?;
        self.check(PROBE).await
    }

    /// To be called now and then while there is nothing to send: writes again what a connection that broke meanwhile may
    /// have lost.
    ///
    /// # Errors
    /// As [`Syslog::send`].
    pub async fn tend(&mut self) -> Result<(), Failure> {
        if self.unconfirmed.batches.is_empty() { Ok(()) } else { self.ready().await }
    }

    /// Waits until the receiver has read everything, and closes the connection. To be called before the process ends.
    ///
    /// # Errors
    /// Where it did not; what is unconfirmed stays so, and the next call begins with it.
    pub async fn settle(&mut self) -> Result<(), Failure> {
        if !self.unconfirmed.batches.is_empty() {
            self.ready().await?;
        }
        self.close().await
    }

    /// How many of the last batch were written, taken or not.
    pub fn tried(&self) -> usize {
        self.tried
    }

    /// A connection that lives, with everything on it that an earlier one may have lost.
    async fn ready(&mut self) -> Result<(), Failure> {
        if self.connection.is_some() && self.check(LOOK).await.is_ok() {
            self.unconfirmed.confirm_old();
            return Ok(());
        }
        let opened = Connection::open(&self.config, &self.who, &self.secrets).await;
        if opened.as_ref().is_err_and(|failure| failure.reason == Reason::Unauthorized) {
            self.config.secrets().into_iter().for_each(|key| self.secrets.doubt(key));
        }
        self.connection = Some(opened?);
        self.count_connection("opened");
        let again = std::mem::take(&mut self.unconfirmed);
        let mut again = again.batches.into_iter();
        let mut failed = None;
        for Written { frames, messages, .. } in again.by_ref() {
            let written = if failed.is_none() { self.write(&frames).await } else { Ok(()) };
            match written {
                Ok(()) if failed.is_none() => self.count("repeated", messages),
                Ok(()) => {}
                Err(failure) => failed = Some(failure),
            }
            self.unconfirmed.push(frames, messages);
        }
        failed.map_or(Ok(()), Err)
    }

    /// Writes, and looks whether the other side went meanwhile.
    async fn write(&mut self, frames: &[u8]) -> Result<(), Failure> {
        let Some(connection) = &mut self.connection else {
            return Err(Failure::retry(Reason::ConnectionLost, format!("there is no connection to {}", self.who)));
        };
        if let Err(failure) = connection.write(frames, self.config.timeout).await {
            // What the other side said before it went tells more than that it went.
            let said = connection.check(LOOK).await.err().filter(|said| said.class == Class::FixConfiguration);
            return Err(self.broke(said.unwrap_or(failure)));
        }
        self.check(LOOK).await
    }

    async fn check(&mut self, wait: Duration) -> Result<(), Failure> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        match connection.check(wait).await {
            Ok(()) => Ok(()),
            Err(failure) => Err(self.broke(failure)),
        }
    }

    /// Closes in good order; what was written is confirmed by that.
    async fn close(&mut self) -> Result<(), Failure> {
        let is_strict = self.config.confirm == Confirm::Goodbye;
        if let Some(connection) = self.connection.take()
            && let Err(failure) = connection.close(self.config.timeout, is_strict).await
        {
            return Err(self.broke(failure));
        }
        self.unconfirmed.clear();
        Ok(())
    }

    fn broke(&mut self, failure: Failure) -> Failure {
        self.connection = None;
        self.count_connection("broken");
        if failure.reason == Reason::Unauthorized {
            self.config.secrets().into_iter().for_each(|key| self.secrets.doubt(key));
        }
        failure
    }

    fn count(&self, result: &str, by: usize) {
        if by > 0 {
            Metric::SyslogMessages.counter(&[&self.config.name, result]).increment(by as u64);
        }
    }

    fn count_connection(&self, event: &str) {
        Metric::SyslogConnections.counter(&[&self.config.name, event]).increment(1);
    }
}
