//! What a connection does by the clock.

use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// A ping.
    Ping,
    /// The client did not answer the last one.
    NoPong,
    /// The client never said who it is.
    Stale,
    /// What it may hear is to be looked at again.
    Check,
    /// The process stops, and it is this connection's turn.
    Shutdown,
}

/// The deadlines of one connection.
#[derive(Debug)]
pub(super) struct Pulse {
    intervals: Intervals,
    ping_at: Instant,
    pong_by: Option<Instant>,
    known_by: Option<Instant>,
    check_at: Instant,
    shutdown_at: Option<Instant>,
}

/// The times of every connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Intervals {
    /// For the client to say who it is.
    pub(super) connect: Duration,
    /// Between two pings.
    pub(super) ping: Duration,
    /// For the answer to one.
    pub(super) pong: Duration,
    /// Between two looks at what it may hear.
    pub(super) check: Duration,
}

impl Pulse {
    /// Begins now. The first ping comes early by chance: connections that were made together do not stay in step.
    pub(super) fn new(intervals: Intervals) -> Self {
        let now = Instant::now();
        Self {
            intervals,
            ping_at: now + intervals.ping.mul_f64(rand::rng().random_range(0.5..1.0)),
            pong_by: None,
            known_by: Some(now + intervals.connect),
            check_at: now + intervals.check,
            shutdown_at: None,
        }
    }

    /// The client has said who it is.
    pub(super) const fn known(&mut self) {
        self.known_by = None;
    }

    /// The client has sent something, which answers a ping as well as a pong does.
    pub(super) const fn heard(&mut self) {
        self.pong_by = None;
    }

    /// The connection is to end within `time`, at an instant of chance.
    pub(super) fn shut_down_within(&mut self, time: Duration) {
        self.shutdown_at = Some(Instant::now() + time.mul_f64(rand::random()));
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Instant {
        let others = [self.pong_by, self.known_by, self.shutdown_at];
        let regular = self.ping_at.min(self.check_at);
        others.into_iter().flatten().fold(regular, Instant::min)
    }

    /// What is due now, and will be again only after its interval.
    pub(super) fn due(&mut self) -> Option<Due> {
        let now = Instant::now();
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if passed(self.shutdown_at) {
            Some(Due::Shutdown)
        } else if passed(self.known_by) {
            Some(Due::Stale)
        } else if passed(self.pong_by) {
            Some(Due::NoPong)
        } else if self.ping_at <= now {
            self.ping_at = now + self.intervals.ping;
            self.pong_by = self.pong_by.or(Some(now + self.intervals.pong));
            Some(Due::Ping)
        } else if self.check_at <= now {
            self.check_at = now + self.intervals.check;
            Some(Due::Check)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pulse() -> Pulse {
        Pulse::new(Intervals {
            connect: SECOND * 10,
            ping: SECOND * 25,
            pong: SECOND * 8,
            check: SECOND * 60,
        })
    }

    async fn next(pulse: &mut Pulse) -> Option<Due> {
        tokio::time::sleep_until(pulse.next()).await;
        pulse.due()
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_says_who_it_is_is_stale_after_the_time_for_it() {
        let start = Instant::now();
        assert_eq!(next(&mut pulse()).await, Some(Due::Stale));
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_ping_must_be_answered_in_time() {
        let mut pulse = pulse();
        pulse.known();
        for _ in 0..2 {
            assert_eq!(next(&mut pulse).await, Some(Due::Ping));
            pulse.heard();
        }
        assert_eq!(next(&mut pulse).await, Some(Due::Check));
        assert_eq!(next(&mut pulse).await, Some(Due::Ping));
        let start = Instant::now();
        assert_eq!(next(&mut pulse).await, Some(Due::NoPong));
        assert_eq!(start.elapsed().as_secs(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn connections_end_at_different_instants_of_a_shutdown() {
        let mut ends = std::collections::BTreeSet::new();
        for _ in 0..50 {
            let mut pulse = pulse();
            pulse.known();
            pulse.shut_down_within(SECOND * 10);
            let at = pulse.next();
            assert!(at <= Instant::now() + SECOND * 10);
            ends.insert(at);
        }
        assert!(ends.len() > 25);
    }
}
