//! How fast the source may ask, from what the server says of its own limit. Pure: every call is handed the instant.
//!
//! Okta's limit is shared by everyone who uses the org's API, its windows last about 60 s and begin at any second, and
//! using a whole window is already a violation that mails the administrators. So requests are spaced evenly, at most
//! `share` of the stated limit in any 60 s, and none are sent while the server's window is nearly used up by others.
//! A refusal although the headers still showed room means a ceiling that they do not show: the spacing doubles, and
//! returns step by step.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use reqwest::header::HeaderMap;

use crate::event::Timestamp;

/// The length of the server's windows.
const WINDOW: Duration = Duration::from_secs(60);

/// Requests a window that are assumed while the server has stated no limit: what one token may use by default.
const ASSUMED_LIMIT: u32 = 60;

/// The longest wait that a reply can ask for, whatever it says.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// The longest wait for a window that is nearly used up: past two windows the header must be wrong.
const LONGEST_HOLD: Duration = Duration::from_secs(120);

/// How often the spacing can double: to eight times the usual.
const MOST_DOUBLINGS: u32 = 3;

/// What a reply says about the limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct RateHeaders {
    /// `X-Rate-Limit-Limit`: requests a window.
    pub(super) limit: Option<u32>,
    /// `X-Rate-Limit-Remaining`.
    pub(super) remaining: Option<u32>,
    /// `X-Rate-Limit-Reset`: when the window ends, by the server's clock, in whole seconds.
    pub(super) reset: Option<Timestamp>,
    /// `Retry-After`, where a proxy in between adds it in seconds.
    pub(super) retry_after: Option<Duration>,
}

impl RateHeaders {
    /// Reads the headers; one that is no number is as good as absent.
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
        let count = |name: &str| number(name).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        Self {
            limit: count("x-rate-limit-limit"),
            remaining: count("x-rate-limit-remaining"),
            reset: number("x-rate-limit-reset")
                .map(|seconds| Timestamp(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000))),
            retry_after: number("retry-after").map(Duration::from_secs),
        }
    }

    /// A refusal for too many requests in flight: both numbers are zero, and the reset is only a suggestion.
    pub(super) fn is_concurrency(self) -> bool {
        self.limit == Some(0) && self.remaining.unwrap_or(0) == 0
    }

    /// How long a 429 asks to wait, by the server's own clock and never by the host's; zero where it does not say.
    pub(super) fn wait_asked(self, server_now: Timestamp) -> Duration {
        let reset = if self.is_concurrency() { None } else { self.reset };
        let reset = reset.map_or(Duration::ZERO, |reset| until(reset, server_now));
        reset.max(self.retry_after.unwrap_or(Duration::ZERO)).min(LONGEST_WAIT)
    }
}

/// The budget of one source.
#[derive(Debug)]
pub(super) struct Budget {
    share: f64,
    /// The spacing while no limit is stated.
    assumed: Duration,
    limit: Option<u32>,
    doublings: u32,
    /// When `doublings` last changed.
    doubled: Option<Instant>,
    hold_until: Option<Instant>,
    last: Option<Instant>,
    clock: Handed,
    /// With room for one cell only: evenly spaced, no burst.
    limiter: RateLimiter<NotKeyed, InMemoryState, Handed, NoOpMiddleware<Duration>>,
}

impl Budget {
    /// A budget that uses `share` (above 0, at most 1) of every window. Until the server states a limit, requests are
    /// spaced by the poll interval, or less where the assumed limit allows it.
    pub(super) fn new(share: f64, poll_interval: Duration, now: Instant) -> Self {
        let assumed = spacing(ASSUMED_LIMIT, share).min(poll_interval);
        let clock = Handed::starting(now);
        let limiter = limiter(assumed, &clock);
        Self { share, assumed, limit: None, doublings: 0, doubled: None, hold_until: None, last: None, clock, limiter }
    }

    /// Takes the place of one request in the window.
    ///
    /// # Errors
    /// How long to wait before asking again.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.relax(now);
        if let Some(until) = self.hold_until {
            let left = until.saturating_duration_since(now);
            if !left.is_zero() {
                return Err(left);
            }
            self.hold_until = None;
        }
        self.clock.set(now);
        match self.limiter.check() {
            Ok(()) => {
                self.last = Some(now);
                Ok(())
            }
            Err(early) => Err(early.wait_time_from(self.clock.now()).max(Duration::from_millis(1))),
        }
    }

    /// Learns from the headers of a reply. Returns whether the spacing changed.
    pub(super) fn observe(&mut self, headers: RateHeaders, server_now: Timestamp, now: Instant) -> bool {
        // A limit of zero is how the server reports too many requests in flight.
        let Some(limit) = headers.limit.filter(|limit| *limit > 0) else { return false };
        if let (Some(remaining), Some(reset)) = (headers.remaining, headers.reset)
            && remaining <= limit / 10
        {
            self.hold_until = Some(now + until(reset, server_now).min(LONGEST_HOLD));
        }
        if self.limit == Some(limit) {
            return false;
        }
        self.limit = Some(limit);
        self.rebuild(now);
        true
    }

    /// Learns that a request was refused although the headers showed room.
    pub(super) fn refused_with_room(&mut self, now: Instant) {
        self.doublings = (self.doublings + 1).min(MOST_DOUBLINGS);
        self.doubled = Some(now);
        self.rebuild(now);
    }

    /// The time between two requests that the budget allows.
    pub(super) fn spacing(&self) -> Duration {
        let spacing = self.limit.map_or(self.assumed, |limit| spacing(limit, self.share));
        spacing.saturating_mul(1 << self.doublings)
    }

    /// Undoes one doubling for every window without a refusal.
    fn relax(&mut self, now: Instant) {
        if let Some(doubled) = self.doubled
            && now.saturating_duration_since(doubled) >= WINDOW
        {
            self.doublings = self.doublings.saturating_sub(1);
            self.doubled = (self.doublings > 0).then_some(now);
            self.rebuild(now);
        }
    }

    /// A limiter for the spacing in force, which remembers the last request: a new limit is no free request.
    fn rebuild(&mut self, now: Instant) {
        let spacing = self.spacing();
        self.clock.set(self.last.unwrap_or(now));
        self.limiter = limiter(spacing, &self.clock);
        if self.last.is_some() {
            let first = self.limiter.check();
            debug_assert!(first.is_ok(), "a new limiter has room for one");
        }
        self.clock.set(now);
    }
}

/// How long until `reset`; zero where it has passed.
fn until(reset: Timestamp, server_now: Timestamp) -> Duration {
    crate::duration::to_std(reset - server_now)
}

/// The even spacing of as many whole requests as the share allows, so that no 60 s hold more.
fn spacing(limit: u32, share: f64) -> Duration {
    let allowed = f64::from(limit) * share;
    let allowed = if allowed >= 1.0 { allowed.floor() } else { allowed };
    // A tiny share of a tiny limit is an absurd setting; once in a day is as slow as it gets.
    let seconds = (WINDOW.as_secs_f64() / allowed).clamp(0.000_1, 86_400.0);
    Duration::from_nanos((seconds * 1e9).ceil() as u64)
}

fn limiter(
    spacing: Duration,
    clock: &Handed,
) -> RateLimiter<NotKeyed, InMemoryState, Handed, NoOpMiddleware<Duration>> {
    let one = Quota::with_period(spacing).unwrap_or_else(|| Quota::per_second(std::num::NonZeroU32::MIN));
    RateLimiter::direct_with_clock(one, clock.clone())
}

/// A clock that says what it was last handed.
#[derive(Clone, Debug)]
struct Handed {
    origin: Instant,
    nanos: Arc<AtomicU64>,
}

impl Handed {
    fn starting(origin: Instant) -> Self {
        Self { origin, nanos: Arc::default() }
    }

    fn set(&self, now: Instant) {
        let since = Reference::duration_since(&now.saturating_duration_since(self.origin), Duration::ZERO);
        self.nanos.store(since.as_u64(), Ordering::Relaxed);
    }
}

impl Clock for Handed {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: Timestamp = Timestamp(1_785_225_600_000);

    fn stated(limit: u32, remaining: u32, reset_in: i64) -> RateHeaders {
        let reset = Some(Timestamp(DATE.0 + reset_in * 1_000));
        RateHeaders { limit: Some(limit), remaining: Some(remaining), reset, retry_after: None }
    }

    /// Asks as eagerly as it can for ten minutes, learning `headers` from every reply; the times of all requests.
    fn eager(budget: &mut Budget, start: Instant, headers: RateHeaders) -> Vec<Duration> {
        let mut now = start;
        let mut times = Vec::new();
        while now - start < Duration::from_secs(600) {
            match budget.take(now) {
                Ok(()) => {
                    times.push(now - start);
                    budget.observe(headers, DATE, now);
                }
                Err(wait) => {
                    assert!(wait > Duration::ZERO, "a wait of nothing would spin");
                    now += wait;
                }
            }
        }
        times
    }

    /// The most requests in any 60 s.
    fn most_in_a_window(times: &[Duration]) -> usize {
        times
            .iter()
            .map(|from| times.iter().filter(|at| *at >= from && **at < *from + WINDOW).count())
            .max()
            .unwrap_or(0)
    }

    #[track_caller]
    fn check(limit: u32, share: f64, expect: usize) {
        let start = crate::clock::monotonic();
        let mut budget = Budget::new(share, Duration::from_millis(200), start);
        let headers = stated(limit, limit, 60);
        let times = eager(&mut budget, start, headers);
        // The very first requests are spaced without a stated limit.
        assert_eq!(most_in_a_window(&times[1..]), expect, "{limit} × {share}");
        assert!(times.len() >= expect * 10 - 1, "the share is used: {}", times.len());
    }

    #[test]
    fn no_window_holds_more_than_the_share_of_the_stated_limit() {
        check(60, 0.5, 30);
        check(120, 0.5, 60);
        check(50, 0.5, 25);
        check(61, 0.5, 30);
        check(60, 1.0, 60);
        check(7, 0.3, 2);
    }

    #[test]
    fn half_a_request_a_window_is_one_every_two_windows() {
        let start = crate::clock::monotonic();
        let mut budget = Budget::new(0.5, Duration::from_secs(5), start);
        assert!(budget.observe(stated(1, 1, 0), DATE, start));
        assert_eq!(budget.spacing(), Duration::from_secs(120));
    }

    #[test]
    fn a_new_limit_is_no_free_request() {
        let start = crate::clock::monotonic();
        let mut budget = Budget::new(0.5, Duration::from_secs(5), start);
        assert_eq!(budget.take(start), Ok(()));
        for limit in [60, 61, 60, 61] {
            assert!(budget.observe(stated(limit, limit, 60), DATE, start));
            assert_eq!(budget.take(start), Err(Duration::from_secs(2)), "{limit}");
        }
        assert_eq!(budget.take(start + Duration::from_secs(2)), Ok(()));
    }

    #[test]
    fn without_a_stated_limit_the_assumed_one_holds_or_the_poll_interval_where_it_is_shorter() {
        let start = crate::clock::monotonic();
        assert_eq!(Budget::new(0.5, Duration::from_secs(5), start).spacing(), Duration::from_secs(2));
        assert_eq!(Budget::new(0.5, Duration::from_millis(200), start).spacing(), Duration::from_millis(200));
        let mut budget = Budget::new(0.5, Duration::from_secs(5), start);
        assert!(!budget.observe(RateHeaders::default(), DATE, start));
        assert!(!budget.observe(stated(0, 0, 60), DATE, start), "zero is a refusal, not a limit");
        assert_eq!(budget.spacing(), Duration::from_secs(2));
    }

    #[test]
    fn a_window_nearly_used_up_by_others_is_left_to_them() {
        let start = crate::clock::monotonic();
        let mut budget = Budget::new(0.5, Duration::from_secs(5), start);
        budget.observe(stated(600, 61, 40), DATE, start);
        assert_eq!(budget.take(start), Ok(()));
        budget.observe(stated(600, 60, 40), DATE, start);
        assert_eq!(budget.take(start), Err(Duration::from_secs(40)));
        assert_eq!(budget.take(start + Duration::from_secs(40)), Ok(()));
        budget.observe(stated(600, 0, 99_999), DATE, start);
        assert_eq!(budget.take(start), Err(LONGEST_HOLD), "an absurd reset is bounded");
        budget.observe(stated(600, 0, -10), DATE, start);
        assert_eq!(budget.take(start + Duration::from_secs(41)), Ok(()), "a reset in the past holds nothing");
    }

    #[test]
    fn a_refusal_with_room_left_doubles_the_spacing_and_it_returns_step_by_step() {
        let start = crate::clock::monotonic();
        let mut budget = Budget::new(0.5, Duration::from_secs(5), start);
        budget.observe(stated(60, 60, 60), DATE, start);
        for expect in [4, 8, 16, 16] {
            budget.refused_with_room(start);
            assert_eq!(budget.spacing(), Duration::from_secs(expect));
        }
        let mut now = start;
        for expect in [8, 4, 2, 2] {
            now += WINDOW;
            assert_eq!(budget.take(now), Ok(()));
            assert_eq!(budget.spacing(), Duration::from_secs(expect));
        }
    }

    #[test]
    fn a_429_waits_by_the_servers_clock() {
        #[track_caller]
        fn check(headers: RateHeaders, expect: u64) {
            assert_eq!(headers.wait_asked(DATE), Duration::from_secs(expect), "{headers:?}");
        }
        check(stated(60, 0, 17), 17);
        check(stated(60, 30, 17), 17);
        check(stated(60, 0, 0), 0);
        check(stated(60, 0, -3_600), 0);
        check(stated(60, 0, 86_400), 900);
        check(stated(0, 0, 59), 0);
        check(RateHeaders::default(), 0);
        check(RateHeaders { retry_after: Some(Duration::from_secs(5)), ..RateHeaders::default() }, 5);
        check(RateHeaders { retry_after: Some(Duration::from_secs(50)), ..stated(60, 0, 17) }, 50);
        check(RateHeaders { reset: Some(Timestamp(i64::MAX)), ..stated(60, 0, 0) }, 900);
    }

    #[test]
    fn headers_are_read_and_nonsense_is_absent() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-rate-limit-limit", "60"),
            ("x-rate-limit-remaining", " 7 "),
            ("x-rate-limit-reset", "18446744073709551615"),
            ("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"),
        ] {
            headers.insert(name, value.parse().expect("a header value"));
        }
        let read = RateHeaders::read(&headers);
        assert_eq!((read.limit, read.remaining, read.retry_after), (Some(60), Some(7), None));
        assert_eq!(read.reset, Some(Timestamp(i64::MAX)));
        headers.insert("x-rate-limit-limit", "-1".parse().expect("a header value"));
        headers.insert("x-rate-limit-remaining", "99999999999".parse().expect("a header value"));
        let read = RateHeaders::read(&headers);
        assert_eq!((read.limit, read.remaining), (None, Some(u32::MAX)));
    }
}
