//! The process's pulse: a task that beats and, at each beat, looks at the memory. Liveness needs nothing else: a beat
//! proves that the runtime still schedules.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::memory::Reading;
use crate::kit::lifecycle::Lifecycle;

/// Between two beats.
const INTERVAL: Duration = Duration::from_secs(5);

/// Memory may be high for this long: a large image comes and goes.
const HIGH_MAX: Duration = Duration::from_secs(30);

/// What the last beat saw.
#[derive(Debug, Clone, Copy)]
struct Beat {
    at: Instant,
    memory: Option<Reading>,
    high_since: Option<Instant>,
}

impl Beat {
    fn new(memory: Option<Reading>, before: Option<&Self>) -> Self {
        let at = Instant::now();
        let high = memory.is_some_and(|reading| reading.is_high());
        let since = before.and_then(|before| before.high_since).unwrap_or(at);
        Self {
            at,
            memory,
            high_since: high.then_some(since),
        }
    }
}

/// Reads the last beat.
#[derive(Debug, Clone)]
pub(super) struct Pulse {
    beats: watch::Receiver<Beat>,
}

impl Pulse {
    /// Starts beating, until the process drains: a process that ends need not be replaced.
    pub(super) fn start(
        lifecycle: &Lifecycle,
        mut look: impl FnMut() -> Option<Reading> + Send + 'static,
    ) -> Self {
        let (sender, beats) = watch::channel(Beat::new(look(), None));
        let draining = lifecycle.drain_token();
        lifecycle.spawn("health.pulse", async move {
            let mut ticks = interval(INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while draining.run_until_cancelled(ticks.tick()).await.is_some() {
                let beat = Beat::new(look(), Some(&*sender.borrow()));
                sender.send_replace(beat);
            }
        });
        Self { beats }
    }

    /// Whether anonymous memory is, or was until now for less than 30 s, below 90 % of the limit.
    pub(super) fn memory(&self) -> Result<Value, String> {
        let beat = *self.beats.borrow();
        let details = memory_details(beat.memory);
        match beat.high_since {
            Some(since) if beat.at - since >= HIGH_MAX => Err(format!(
                "anonymous memory is above 90 % of the limit for {} s: {details}",
                (beat.at - since).as_secs()
            )),
            _ => Ok(details),
        }
    }

    /// Whether the runtime schedules: a beat of late, or one within `patience` from now. A process that was stopped and
    /// goes on has an old beat at first, and must not be replaced for it.
    pub(super) async fn runtime(&self, patience: Duration) -> Result<Value, String> {
        let mut beats = self.beats.clone();
        let fresh = beats.wait_for(|beat| beat.at.elapsed() < INTERVAL * 2);
        // An error is the end of the pulse: the process drains.
        if timeout(patience, fresh).await.is_ok() {
            return Ok(Value::Null);
        }
        let silence = self.beats.borrow().at.elapsed();
        Err(format!("no task was scheduled for {} s", silence.as_secs()))
    }
}

fn memory_details(memory: Option<Reading>) -> Value {
    match memory {
        None => Value::Null,
        Some(reading) => json!({
            "anonymous_bytes": reading.anonymous_bytes,
            "limit_bytes": reading.limit_bytes,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn pulse(used: &Arc<AtomicU64>) -> Pulse {
        let used = Arc::clone(used);
        Pulse::start(&Lifecycle::new(), move || {
            Some(Reading {
                anonymous_bytes: used.load(Ordering::Relaxed),
                limit_bytes: Some(1_000),
            })
        })
    }

    #[tokio::test(start_paused = true)]
    async fn high_memory_fails_after_thirty_seconds_and_recovers_at_once() {
        let used = Arc::new(AtomicU64::new(950));
        let pulse = pulse(&used);
        tokio::time::sleep(Duration::from_secs(29)).await;
        assert!(pulse.memory().is_ok());
        tokio::time::sleep(Duration::from_secs(2)).await;
        let reason = pulse.memory().unwrap_err();
        assert!(
            reason.contains("for 30 s") && reason.contains("950"),
            "{reason}"
        );
        used.store(100, Ordering::Relaxed);
        tokio::time::sleep(INTERVAL).await;
        assert!(pulse.memory().is_ok());
        used.store(950, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(pulse.memory().is_ok(), "the 30 s begin anew");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pulse_that_stopped_fails_and_one_that_ended_does_not() {
        let stopped_at = Instant::now();
        let (sender, beats) = watch::channel(Beat::new(None, None));
        let pulse = Pulse { beats };
        assert!(pulse.runtime(Duration::from_secs(2)).await.is_ok());
        tokio::time::advance(Duration::from_secs(60)).await;
        let reason = pulse.runtime(Duration::from_secs(2)).await.unwrap_err();
        assert_eq!(reason, "no task was scheduled for 62 s");
        assert_eq!(stopped_at.elapsed().as_secs(), 62);
        drop(sender);
        assert!(pulse.runtime(Duration::from_secs(2)).await.is_ok());
    }
}
