//! Rate limits by the generic cell rate algorithm (GCRA), the same as a bucket of `burst + 1` requests that fills at the
//! limit's rate: one number per key, the instant at which the allowance is whole again. [`decide`] is the rule; the
//! backends run it as one step each.
//!
//! [`RateLimiter`] is how the product asks: while the shared store is away each instance lets its part through.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::instances::{ANNOUNCE_INTERVAL, Instances};
use super::memory::Memory;
use super::{Error, SharedState, StateStore};
use crate::kit::breaker::{Breaker, Rules};
use crate::kit::clock::SharedClock;
use crate::kit::metrics;

/// Longest wait for the shared store: a request shall not become slow because it is counted.
const PATIENCE: Duration = Duration::from_millis(250);

/// The store is asked no more after so many failures in a row …
const FAILURES_IN_A_ROW: usize = 3;
/// … for this long.
const REST: Duration = Duration::from_secs(2);

/// How much is let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests in each `period`, at least 1.
    pub count: u32,
    /// The time in which `count` requests are let through in the long run.
    pub period: Duration,
    /// Requests that may come at once beyond the first.
    pub burst: u32,
}

impl Rate {
    /// So many requests a minute, and a burst.
    pub const fn per_minute(count: u32, burst: u32) -> Self {
        Self {
            count,
            period: Duration::from_secs(60),
            burst,
        }
    }

    /// A part of it, for one of `parts` that do not know of each other. One request a period and one at once remain.
    #[must_use]
    pub fn part_of(self, parts: u32) -> Self {
        let parts = parts.max(1);
        Self {
            count: (self.count / parts).max(1),
            period: self.period,
            burst: self.burst / parts,
        }
    }

    /// What a request costs, in µs: at least 1, rounded up so that the rate is never exceeded.
    pub(super) fn cost_us(self) -> i64 {
        let period = self.period.as_micros();
        let cost = period.div_ceil(u128::from(self.count.max(1)));
        i64::try_from(cost.max(1)).unwrap_or(i64::MAX / 2)
    }

    /// What may be owed before a request is refused, in µs.
    pub(super) fn tolerance_us(self) -> i64 {
        self.cost_us().saturating_mul(i64::from(self.burst))
    }
}

/// What a limit says to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Whether the request is let through.
    pub allowed: bool,
    /// Requests that would be let through at once after this one.
    pub remaining: u32,
    /// Time until the next request is let through; zero where this one was.
    pub retry: Duration,
    /// Time until the allowance is whole again.
    pub reset: Duration,
}

/// The rule: `whole_us` is the instant at which the allowance is whole again, in µs; the second value is what to keep for
/// it where the request is let through.
pub(super) fn decide(whole_us: Option<i64>, now_us: i64, rate: Rate) -> (Allowance, Option<i64>) {
    let (cost, tolerance) = (rate.cost_us(), rate.tolerance_us());
    let owed = whole_us.map_or(0, |whole| (whole - now_us).max(0));
    if owed > tolerance {
        let refused = allowance(false, 0, owed - tolerance, owed);
        return (refused, None);
    }
    let owed = owed + cost;
    let more = if owed <= tolerance {
        (tolerance - owed) / cost + 1
    } else {
        0
    };
    (allowance(true, more, 0, owed), Some(now_us + owed))
}

/// An answer of the given parts, times in µs.
pub(super) fn allowance(allowed: bool, remaining: i64, retry_us: i64, reset_us: i64) -> Allowance {
    let time = |us: i64| Duration::from_micros(u64::try_from(us).unwrap_or(0));
    Allowance {
        allowed,
        remaining: u32::try_from(remaining.max(0)).unwrap_or(u32::MAX),
        retry: time(retry_us),
        reset: time(reset_us),
    }
}

/// Limits that all instances share, and that each keeps for itself while the store is away. Clones share one state.
#[derive(Debug, Clone)]
pub struct RateLimiter {
    state: SharedState,
    breaker: Breaker,
    /// Keys end by themselves within the time that a burst takes to be forgotten, which bounds the memory.
    own: Memory,
    /// Instances that share the limits, as last seen; this one counts in any case.
    sharers: Arc<AtomicU32>,
}

impl RateLimiter {
    /// Limits in `state`; those of the time while it is away are measured by `clock`.
    pub fn new(state: SharedState, clock: SharedClock) -> Self {
        let rules = Rules {
            window_calls: FAILURES_IN_A_ROW,
            min_calls: FAILURES_IN_A_ROW,
            failure_percent: 100,
            consecutive_failures: 3,
            open: REST,
            jitter_percent: 20,
            probes: 1,
        };
        Self {
            state,
            breaker: Breaker::new("rate_limit", rules, |change| {
                metrics::breaker_state(change.name, change.to.figure());
                metrics::breaker_changed(change.name, change.to.name());
            }),
            own: Memory::new(clock),
            sharers: Arc::new(AtomicU32::new(1)),
        }
    }

    /// Counts one request of `key`; while the shared store is away against this instance's part of the limit.
    pub async fn allow(&self, key: &str, rate: Rate) -> Allowance {
        match self.allow_shared(key, rate).await {
            Ok(answer) => answer,
            Err(_) => self.allow_own_part(key, rate).await,
        }
    }

    /// Counts one request of `key` for all instances.
    ///
    /// # Errors
    /// When the shared store does not answer soon: for whoever would rather refuse than let too much through.
    pub async fn allow_shared(&self, key: &str, rate: Rate) -> Result<Allowance, Error> {
        let permit = self
            .breaker
            .admit()
            .map_err(|refused| Error::Unavailable(refused.to_string()))?;
        let late = || Error::Unavailable(format!("no answer in {} ms", PATIENCE.as_millis()));
        let answer = tokio::time::timeout(PATIENCE, self.state.allow(key, rate)).await;
        match answer.map_err(|_| late()).flatten() {
            Ok(answer) => {
                permit.succeeded();
                Ok(answer)
            }
            Err(error) => {
                tracing::debug!(%error, "a rate limit is not shared for now: {error}");
                permit.failed(None);
                Err(error)
            }
        }
    }

    async fn allow_own_part(&self, key: &str, rate: Rate) -> Allowance {
        metrics::rate_limit_fallback();
        let part = rate.part_of(self.sharers.load(Ordering::Relaxed));
        let answer = self.own.allow(key, part).await;
        // Memory that is never closed always answers.
        answer.unwrap_or(allowance(true, 0, 0, 0))
    }

    /// Looks how many instances of `roles` live, for as long as this one does not drain. While nobody can tell, the
    /// last number counts.
    pub async fn keep_counting(&self, roles: &[&str], draining: CancellationToken) {
        let instances = Instances::new(self.state.clone());
        loop {
            if let Ok(lines) = instances.list().await {
                let sharers = lines
                    .iter()
                    .filter(|line| roles.contains(&line.role.as_str()))
                    .count();
                let sharers = u32::try_from(sharers).unwrap_or(u32::MAX).max(1);
                self.sharers.store(sharers, Ordering::Relaxed);
            }
            tokio::select! {
                () = tokio::time::sleep(ANNOUNCE_INTERVAL) => {}
                () = draining.cancelled() => return,
            }
        }
    }
}

#[cfg(test)]
mod tests;
