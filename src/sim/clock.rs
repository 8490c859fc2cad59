//! The clock of the simulated world: a start, plus real time times a speed that tests may change, stop or jump.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::clock::monotonic;
use crate::event::{Span, Timestamp};

/// Simulated time, shared by both servers. Clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Mutex<Anchor>>);

#[derive(Debug)]
struct Anchor {
    simulated: Timestamp,
    real: Instant,
    speed: f64,
}

impl Anchor {
    fn now(&self, real: Instant) -> Timestamp {
        let elapsed = real.saturating_duration_since(self.real).as_secs_f64();
        self.simulated + Span((elapsed * 1_000.0 * self.speed) as i64)
    }
}

impl Clock {
    /// A clock that shows `start` and runs `speed` times as fast as the real one; 0 stands still.
    pub fn new(start: Timestamp, speed: f64) -> Self {
        let anchor = Anchor { simulated: start, real: monotonic(), speed: speed.max(0.0) };
        Self(Arc::new(Mutex::new(anchor)))
    }

    /// The simulated time.
    pub fn now(&self) -> Timestamp {
        self.anchor().now(monotonic())
    }

    /// How many times as fast as the real clock.
    pub fn speed(&self) -> f64 {
        self.anchor().speed
    }

    /// Runs at another speed from now on; 0 stands still.
    pub fn set_speed(&self, speed: f64) {
        self.turn(Span(0), Some(speed.max(0.0)));
    }

    /// Jumps ahead; a negative span does nothing, for time never goes back.
    pub fn advance(&self, by: Span) {
        self.turn(by, None);
    }

    fn turn(&self, by: Span, speed: Option<f64>) {
        let real = monotonic();
        let mut anchor = self.anchor();
        anchor.simulated = anchor.now(real) + by.max(Span(0));
        anchor.real = real;
        if let Some(speed) = speed {
            anchor.speed = speed;
        }
    }

    fn anchor(&self) -> MutexGuard<'_, Anchor> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_is_the_start_plus_speed_times_elapsed() {
        let real = monotonic();
        let anchor = Anchor { simulated: Timestamp(1_000), real, speed: 60.0 };
        assert_eq!(anchor.now(real), Timestamp(1_000));
        assert_eq!(anchor.now(real + Duration::from_secs(2)), Timestamp(121_000));
    }

    #[test]
    fn a_stopped_clock_moves_only_by_jumps_and_never_back() {
        let clock = Clock::new(Timestamp(5_000), 0.0);
        let twin = clock.clone();
        assert_eq!(clock.now(), Timestamp(5_000));
        clock.advance(Span::seconds(3));
        clock.advance(Span::seconds(-9));
        assert_eq!(twin.now(), Timestamp(8_000));
        clock.set_speed(-1.0);
        assert_eq!(twin.speed(), 0.0);
    }
}
