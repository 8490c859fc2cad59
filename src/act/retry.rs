//! What a failure means and how long to wait: classified once, at the edge, with a small closed reason.
//!
//! The number of retries is not bounded, since an incident must not be lost to a long outage; the delay is (five
//! minutes, or what the server asks for up to an hour), and so is the outbox.

use std::time::Duration;

use crate::event::vocabulary;

/// The longest delay of our own.
pub const DELAY_LIMIT: Duration = Duration::from_secs(300);

/// The longest delay that a server can ask for.
pub const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(3_600);

/// What to do about a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Try again: it may pass by itself.
    Retry,
    /// Never: this action cannot be carried out. It becomes a dead letter.
    GiveUp,
    /// Try again, but a person has to change something first.
    FixConfiguration,
}

/// What else a failure holds up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Only this incident.
    Incident,
    /// Everything for this sink.
    Sink,
}

vocabulary! {
    /// Why a request or an action failed; the `reason` label, and `result` on requests.
    Reason {
        /// No connection could be made.
        Unreachable => "unreachable",
        /// No answer in time.
        Timeout => "timeout",
        /// The connection broke before the answer was whole.
        ConnectionLost => "connection_lost",
        /// The server asks for fewer requests.
        RateLimited => "rate_limited",
        /// The server failed.
        ServerError => "server_error",
        /// A page for people instead of an answer: the instance sleeps.
        Hibernating => "hibernating",
        /// The answer makes no sense.
        BadBody => "bad_body",
        /// The answer is larger than our limit, or the request than theirs.
        BodyTooLarge => "body_too_large",
        /// The credentials are not accepted.
        Unauthorized => "unauthorized",
        /// The credentials are accepted and not allowed to do this.
        Forbidden => "forbidden",
        /// There is no such address or row.
        NotFound => "not_found",
        /// The server sends us elsewhere; we do not follow.
        Redirected => "redirected",
        /// The server understands the request and refuses its content.
        Invalid => "invalid",
        /// A create's outcome is not known yet.
        Settling => "settling",
        /// A create left no trace and is sent once more.
        PostLost => "post_lost",
        /// Look-ups return what was not asked for, so an absence proves nothing.
        LookupUntrusted => "lookup_untrusted",
        /// A secret cannot be read.
        Secret => "secret",
        /// The state cannot be read or written.
        Store => "store",
    }
}

/// A failed action.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What to do about it.
    pub class: Class,
    /// Why.
    pub reason: Reason,
    /// A sentence for an operator: stable while the trouble is the same, with the fix where one is known.
    pub detail: String,
    /// What it holds up.
    pub scope: Scope,
    /// The delay that the server or the integration asks for.
    pub wait: Option<Duration>,
}

impl Failure {
    /// A failure that may pass by itself and holds up the sink.
    pub fn retry(reason: Reason, detail: impl Into<String>) -> Self {
        Self { class: Class::Retry, reason, detail: detail.into(), scope: Scope::Sink, wait: None }
    }

    /// A failure that a person has to mend, and that holds up the sink.
    pub fn fix(reason: Reason, detail: impl Into<String>) -> Self {
        Self { class: Class::FixConfiguration, ..Self::retry(reason, detail) }
    }

    /// A failure for good, of this action only.
    pub fn give_up(reason: Reason, detail: impl Into<String>) -> Self {
        Self { class: Class::GiveUp, scope: Scope::Incident, ..Self::retry(reason, detail) }
    }

    /// The same failure, holding up its own incident only.
    #[must_use]
    pub fn of_incident(mut self) -> Self {
        self.scope = Scope::Incident;
        self
    }

    /// The same failure, to be tried again after `wait`.
    #[must_use]
    pub fn after(mut self, wait: Option<Duration>) -> Self {
        self.wait = wait;
        self
    }
}

/// The growing delay of one thing that keeps failing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The delay before the next attempt: what was asked for, else 1 s, 2 s, 4 s, … up to [`DELAY_LIMIT`], shortened
    /// by up to half at random so that many clients do not come back as one.
    pub fn next(&mut self, asked: Option<Duration>) -> Duration {
        let delay = Duration::from_secs(1).saturating_mul(1 << self.failures.min(16)).min(DELAY_LIMIT);
        self.failures = self.failures.saturating_add(1);
        match asked {
            Some(asked) => asked.min(RETRY_AFTER_LIMIT),
            None => delay.mul_f64(rand::random_range(0.5..=1.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_with_jitter_and_stops_at_five_minutes() {
        let mut backoff = Backoff::default();
        for failures in 0..40_u32 {
            let full = Duration::from_secs((1_u64 << failures.min(20)).min(300));
            let delay = backoff.next(None);
            assert!(delay <= full && delay >= full / 2, "after {failures}: {delay:?}");
        }
    }

    #[test]
    fn what_the_server_asks_for_is_taken_exactly_up_to_an_hour() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(Some(Duration::from_secs(17))), Duration::from_secs(17));
        assert_eq!(backoff.next(Some(Duration::from_secs(90_000))), RETRY_AFTER_LIMIT);
        assert!(backoff.next(None) >= Duration::from_secs(2), "asked delays count as failures too");
    }
}
