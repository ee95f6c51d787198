//! When to try again: exponential back-off with full jitter and a limit.

use std::time::Duration;

use rand::Rng;

/// A back-off schedule: the n-th wait is uniform in `0..=min(cap, base · 2ⁿ)` ("full jitter", which spreads the
/// callers that failed together; AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Upper bound of the first wait.
    pub base: Duration,
    /// Upper bound of every wait.
    pub cap: Duration,
}

impl Backoff {
    /// The wait after failure number `failures` (counted from 1).
    pub fn wait(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let ceiling = self.base.saturating_mul(1 << doublings).min(self.cap);
        ceiling.mul_f64(rand::rng().random::<f64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_below_the_doubling_ceiling_and_the_cap() {
        let backoff = Backoff {
            base: Duration::from_millis(100),
            cap: Duration::from_secs(1),
        };
        for failures in 1..100 {
            let ceiling = Duration::from_millis(100 << (failures - 1).min(20)).min(backoff.cap);
            assert!(backoff.wait(failures) <= ceiling);
        }
    }
}
