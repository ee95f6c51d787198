//! How the queue is: who waits, how long, how fast it goes. Counted from the rows, each count with an end, and kept in
//! the state store for those who ask often.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::Error;
use crate::kit::lane::Lane;
use crate::kit::metrics;
use crate::queue::{PRIORITY_MAX, PRIORITY_MIN};
use crate::state::{StateStore, When};

use super::Jobs;
use super::estimate::rate;
use super::store::figures::{Completed, Count, Waiting, arrived_since, completed, counts, waiting};

/// Completed and cancelled jobs, failed runs and waits are those of the last hour.
const WINDOW: TimeDelta = TimeDelta::hours(1);
/// Jobs of one priority and state that are counted; a figure that reads so many says "or more".
const COUNT_MAX: u32 = 100_000;
/// Failed runs that are counted: each is looked up for its job's priority.
const FAILED_MAX: u32 = 10_000;
/// The last completed jobs whose waits and runs are looked at.
const COMPLETED_MAX: u32 = 1_000;
/// Jobs that were submitted within this say how many arrive.
const ARRIVALS_WINDOW: TimeDelta = TimeDelta::minutes(1);
/// Where the last figures are kept, and how long: a few of the intervals in which they are taken.
const KEY: &str = "queue:figures";
const LIFETIME: Duration = Duration::from_secs(60);

/// How the queue is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// When this was counted.
    pub at: DateTime<Utc>,
    /// Completed, failed, cancelled and the waits are of this much time before, in seconds.
    pub window_s: i64,
    /// All priorities together.
    pub total: Counts,
    /// Each priority of each lane, the first one first.
    pub priorities: Vec<OfPriority>,
    /// Jobs that ended per minute, over the last five minutes or the last thousand jobs; none where none did.
    pub rate_per_minute: Option<f64>,
    /// Jobs that were submitted within the last minute.
    pub arrivals_per_minute: f64,
    /// How long the last jobs that completed had waited; none where there were none.
    pub wait: Option<Waits>,
    /// How long they ran; none where there were none.
    pub service: Option<Waits>,
}

/// One priority of one lane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OfPriority {
    /// 10 (first) to 1 (last).
    pub priority: u8,
    /// The lane.
    pub lane: Lane,
    /// Its jobs.
    #[serde(flatten)]
    pub counts: Counts,
    /// For how long its oldest waiting job has been due, in seconds; none where none waits.
    pub oldest_waiting_s: Option<f64>,
}

/// How many there are; counting stops at 100,000 of a priority and state, of failed runs at 10,000.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Jobs that are due and wait.
    pub waiting: u64,
    /// Jobs that are not due yet.
    pub delayed: u64,
    /// Jobs that run.
    pub running: u64,
    /// Jobs that are dead.
    pub dead: u64,
    /// Jobs that completed within the window.
    pub completed: u64,
    /// Jobs that were cancelled within the window.
    pub cancelled: u64,
    /// Runs that failed or crashed within the window.
    pub failed: u64,
}

/// How long something took of the last completed jobs, in seconds: from the instants at which they were due to their
/// starts, or from there to their ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Waits {
    /// How many completed jobs were looked at: the last ones within the window, at most 1,000.
    pub jobs: u64,
    /// The mean.
    pub mean_s: f64,
    /// Half of them took no longer.
    pub p50_s: f64,
    /// 95 of 100 took no longer.
    pub p95_s: f64,
}

impl Jobs {
    /// Counts.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn figures(&self) -> Result<Figures, Error> {
        let now = self.clock.now();
        let since = now - WINDOW;
        let mut tx = self.db.reader().await?;
        let mut priorities = OfPriority::all_empty();
        for line in waiting(&mut tx, now, COUNT_MAX).await? {
            take_waiting(&mut priorities, &line, now);
        }
        for count in counts(&mut tx, since, COUNT_MAX, FAILED_MAX).await? {
            take_count(&mut priorities, &count);
        }
        let completed = completed(&mut tx, since, COMPLETED_MAX).await?;
        let arrived = arrived_since(&mut tx, now - ARRIVALS_WINDOW, COUNT_MAX).await?;
        Ok(Figures {
            at: now,
            window_s: WINDOW.num_seconds(),
            total: Counts::sum(&priorities),
            priorities,
            rate_per_minute: rate(&mut tx, now).await?.map(|rate| rate * 60.0),
            arrivals_per_minute: arrived as f64 / (ARRIVALS_WINDOW.as_seconds_f64() / 60.0),
            wait: Waits::of(spans(&completed, |run| run.started_at - run.scheduled_at)),
            service: Waits::of(spans(&completed, |run| run.finished_at - run.started_at)),
        })
    }
}

impl Figures {
    /// Keeps them for [`Figures::kept`].
    ///
    /// # Errors
    /// When the state store does not answer.
    pub async fn keep(&self, state: &dyn StateStore) -> Result<(), Error> {
        let json = serde_json::to_vec(self).map_err(|error| Error::Internal(error.to_string()))?;
        state.put(KEY, json.into(), LIFETIME, When::Always).await?;
        Ok(())
    }

    /// The last figures that a worker took, if any within the last minute.
    ///
    /// # Errors
    /// When the state store does not answer.
    pub async fn kept(state: &dyn StateStore) -> Result<Option<Self>, Error> {
        let kept = state.get(KEY).await?;
        // What another version wrote is as good as nothing.
        Ok(kept.and_then(|json| serde_json::from_slice(&json).ok()))
    }

    /// Sets the gauges.
    pub fn show(&self) {
        for line in &self.priorities {
            let counts = &line.counts;
            for (state, jobs) in [
                ("waiting", counts.waiting),
                ("delayed", counts.delayed),
                ("running", counts.running),
                ("dead", counts.dead),
            ] {
                metrics::queue_jobs(line.priority, line.lane, state, jobs);
            }
            for (outcome, ended) in [
                ("completed", counts.completed),
                ("failed", counts.failed),
                ("cancelled", counts.cancelled),
            ] {
                metrics::queue_ended_last_hour(line.priority, line.lane, outcome, ended);
            }
            let oldest_s = line.oldest_waiting_s.unwrap_or(0.0);
            metrics::queue_oldest_waiting(line.priority, line.lane, oldest_s);
        }
        metrics::queue_rate_per_minute(self.rate_per_minute.unwrap_or(0.0));
        let wait = |figure: fn(&Waits) -> f64| self.wait.as_ref().map_or(0.0, figure);
        metrics::queue_wait("mean", wait(|waits| waits.mean_s));
        metrics::queue_wait("p50", wait(|waits| waits.p50_s));
        metrics::queue_wait("p95", wait(|waits| waits.p95_s));
    }
}

impl OfPriority {
    fn all_empty() -> Vec<Self> {
        let priorities = (PRIORITY_MIN..=PRIORITY_MAX).rev();
        let of_lane = |lane| {
            priorities
                .clone()
                .map(move |priority| Self::empty(priority, lane))
        };
        Lane::ALL.into_iter().flat_map(of_lane).collect()
    }

    fn empty(priority: u8, lane: Lane) -> Self {
        Self {
            priority,
            lane,
            counts: Counts::default(),
            oldest_waiting_s: None,
        }
    }
}

impl Counts {
    fn sum(priorities: &[OfPriority]) -> Self {
        let of =
            |figure: fn(&Self) -> u64| priorities.iter().map(|line| figure(&line.counts)).sum();
        Self {
            waiting: of(|counts| counts.waiting),
            delayed: of(|counts| counts.delayed),
            running: of(|counts| counts.running),
            dead: of(|counts| counts.dead),
            completed: of(|counts| counts.completed),
            cancelled: of(|counts| counts.cancelled),
            failed: of(|counts| counts.failed),
        }
    }
}

impl Waits {
    fn of(mut waits_s: Vec<f64>) -> Option<Self> {
        waits_s.sort_unstable_by(f64::total_cmp);
        // The nearest rank: a wait that somebody had.
        let at = |percent: usize| {
            let rank = (waits_s.len() * percent).div_ceil(100);
            waits_s.get(rank.saturating_sub(1)).copied()
        };
        Some(Self {
            jobs: waits_s.len() as u64,
            p50_s: at(50)?,
            p95_s: at(95)?,
            mean_s: waits_s.iter().sum::<f64>() / waits_s.len() as f64,
        })
    }
}

fn spans(completed: &[Completed], span: impl Fn(&Completed) -> TimeDelta) -> Vec<f64> {
    let spans = completed.iter().map(span);
    spans.map(|span| span.as_seconds_f64()).collect()
}

fn take_waiting(priorities: &mut [OfPriority], line: &Waiting, now: DateTime<Utc>) {
    let Some(found) = of_priority(priorities, line.priority, &line.lane) else {
        return;
    };
    found.counts.waiting = line.waiting.unsigned_abs();
    found.counts.delayed = line.delayed.unsigned_abs();
    found.oldest_waiting_s = line.oldest_due_at.map(|due| (now - due).as_seconds_f64());
}

fn take_count(priorities: &mut [OfPriority], count: &Count) {
    let Some(found) = of_priority(priorities, count.priority, &count.lane) else {
        return;
    };
    let place = match count.state.as_str() {
        "running" => &mut found.counts.running,
        "dead" => &mut found.counts.dead,
        "completed" => &mut found.counts.completed,
        "cancelled" => &mut found.counts.cancelled,
        "failed" => &mut found.counts.failed,
        _ => return,
    };
    *place = count.jobs.unsigned_abs();
}

fn of_priority<'l>(
    lines: &'l mut [OfPriority],
    priority: i64,
    lane: &str,
) -> Option<&'l mut OfPriority> {
    lines
        .iter_mut()
        .find(|line| i64::from(line.priority) == priority && line.lane.name() == lane)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(seconds: impl Iterator<Item = i32>) -> Option<Waits> {
        Waits::of(seconds.map(f64::from).collect())
    }

    #[test]
    fn waits_are_those_that_somebody_had() {
        assert_eq!(waits(std::iter::empty()), None);
        let one = waits([7].into_iter()).unwrap();
        assert_eq!((one.mean_s, one.p50_s, one.p95_s), (7.0, 7.0, 7.0));
        let many = waits((1..=100).rev()).unwrap();
        assert_eq!(
            (many.jobs, many.mean_s, many.p50_s, many.p95_s),
            (100, 50.5, 50.0, 95.0)
        );
    }

    #[test]
    fn all_priorities_together_are_their_sum() {
        let mut lines = OfPriority::all_empty();
        for (priority, lane, state, jobs) in [
            (1, "default", "dead", 2),
            (2, "default", "dead", 3),
            (2, "large", "failed", 1),
            (9, "unknown", "dead", 9),
        ] {
            let (lane, state) = (lane.to_owned(), state.to_owned());
            take_count(
                &mut lines,
                &Count {
                    state,
                    priority,
                    lane,
                    jobs,
                },
            );
        }
        let sum = Counts::sum(&lines);
        assert_eq!((sum.dead, sum.failed, sum.running), (5, 1, 0));
    }
}
