//! How many commands a connection may send: so many a second, and so many at once.

use tokio::time::Instant;

/// A bucket of permissions that fills by itself.
#[derive(Debug)]
pub struct Budget {
    per_s: f64,
    burst: f64,
    left: f64,
    counted_at: Instant,
}

impl Budget {
    /// A full bucket.
    pub fn new(per_s: u32, burst: u32) -> Self {
        Self {
            per_s: f64::from(per_s),
            burst: f64::from(burst),
            left: f64::from(burst),
            counted_at: Instant::now(),
        }
    }

    /// Takes one permission; false where there is none.
    pub fn take(&mut self) -> bool {
        let now = Instant::now();
        let passed = now.duration_since(self.counted_at).as_secs_f64();
        self.counted_at = now;
        self.left = (self.left + passed * self.per_s).min(self.burst);
        if self.left < 1.0 {
            return false;
        }
        self.left -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_allowed_and_then_the_rate() {
        let mut budget = Budget::new(10, 3);
        let mut taken = || (0..10).filter(|_| budget.take()).count();
        assert_eq!(taken(), 3);
        tokio::time::advance(Duration::from_millis(200)).await;
        assert_eq!(taken(), 2);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(taken(), 3);
    }
}
