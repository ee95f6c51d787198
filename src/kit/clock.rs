//! Where instants come from. Nothing else in the crate asks the operating system for the time of day.

use std::sync::Arc;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use parking_lot::Mutex;

/// A source of instants, shared by everything that stamps, expires or schedules.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// The present instant, cut to microseconds (the precision that every database column keeps).
    fn now(&self) -> DateTime<Utc>;
}

/// A clock handle as it is passed around.
pub type SharedClock = Arc<dyn Clock>;

/// The operating system's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl SystemClock {
    /// The system clock as a shared handle.
    pub fn shared() -> SharedClock {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the time of day"
    )]
    fn now(&self) -> DateTime<Utc> {
        cut_to_micros(Utc::now())
    }
}

/// A clock that stands still until it is moved; its clones share one time.
#[derive(Debug, Clone)]
pub struct ManualClock {
    now: Arc<Mutex<DateTime<Utc>>>,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub fn at(start: DateTime<Utc>) -> Self {
        Self {
            now: Arc::new(Mutex::new(cut_to_micros(start))),
        }
    }

    /// Moves the clock forward by `by`.
    pub fn advance(&self, by: std::time::Duration) {
        let by = TimeDelta::from_std(by)
            .expect("a test never moves the clock by more than chrono holds");
        *self.now.lock() += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.now.lock()
    }
}

fn cut_to_micros(instant: DateTime<Utc>) -> DateTime<Utc> {
    instant
        .duration_trunc(TimeDelta::microseconds(1))
        .unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_a_manual_clock_share_one_time() {
        let clock = ManualClock::at(SystemClock.now());
        let twin = clock.clone();
        clock.advance(std::time::Duration::from_secs(3));
        assert_eq!(clock.now(), twin.now());
    }

    #[test]
    fn instants_have_no_nanoseconds_below_a_microsecond() {
        assert_eq!(SystemClock.now().timestamp_subsec_nanos() % 1_000, 0);
    }
}
