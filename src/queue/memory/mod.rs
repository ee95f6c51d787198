//! The job queue inside this process, for one-machine use. Time is the `Clock`'s.

mod claims;
mod jobs;
mod moves;
mod owner;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    Depth, Error, Exchanged, Fairness, JobQueue, Lane, Lease, Leased, Load, Offer, Release, Want,
};
use crate::kit::clock::SharedClock;
use crate::kit::id::{JobId, UserId};

use jobs::{Jobs, millis};

/// The handle; clones share one queue.
#[derive(Debug, Clone)]
pub struct Memory {
    clock: SharedClock,
    jobs: Arc<Mutex<Jobs>>,
    /// Changes whenever a waiter should look again.
    wake: watch::Sender<()>,
}

impl Memory {
    /// An empty queue whose delays and leases are measured by `clock`.
    pub fn new(clock: SharedClock, fairness: Fairness) -> Self {
        Self {
            clock,
            jobs: Arc::new(Mutex::new(Jobs::new(fairness))),
            wake: watch::Sender::new(()),
        }
    }

    /// Forgets every job, as a Redis that was flushed.
    pub fn clear(&self) {
        let mut jobs = self.jobs.lock();
        *jobs = Jobs::new(jobs.fairness);
    }

    fn with<T>(&self, operation: impl FnOnce(&mut Jobs, i64) -> T) -> T {
        operation(&mut self.jobs.lock(), self.now().timestamp_millis())
    }

    /// As `with`, for operations after which there may be something to claim.
    fn with_wake<T>(&self, operation: impl FnOnce(&mut Jobs, i64) -> T) -> T {
        let answer = self.with(operation);
        self.wake.send_replace(());
        answer
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }
}

#[async_trait]
impl JobQueue for Memory {
    async fn offer(&self, offers: &[Offer]) -> Result<Vec<bool>, Error> {
        Ok(self.with_wake(|jobs, now| jobs.offer(offers, now)))
    }

    async fn exchange(
        &self,
        ended: &[(Leased, Release)],
        want: Want<'_>,
    ) -> Result<Exchanged, Error> {
        let micros = self.now().timestamp_micros();
        let exchanged = self.with(|jobs, now| jobs.exchange(ended, want, now, micros));
        if !ended.is_empty() {
            self.wake.send_replace(());
        }
        Ok(exchanged)
    }

    async fn wait(&self, lanes: &[Lane], patience: Duration) -> Result<(), Error> {
        // Listen before you look: what is offered between the two is not missed.
        let mut woken = self.wake.subscribe();
        let due = self.with(|jobs, now| jobs.due(lanes, now));
        let due = due.map_or(patience, |due| Duration::from_millis(due.unsigned_abs()));
        // The sender lives in `self`, so the only error of `changed` cannot occur, and would only end the wait.
        let _ = tokio::time::timeout(due.min(patience), woken.changed()).await;
        Ok(())
    }

    async fn renew(&self, held: &[Leased], lease: Duration) -> Result<Vec<Lease>, Error> {
        Ok(self.with(|jobs, now| {
            let until = now.saturating_add(millis(lease));
            let each = held.iter().map(|held| jobs.renew(*held, until));
            each.collect()
        }))
    }

    async fn adopt(&self, offer: &Offer, fence: i64, lease: Duration) -> Result<bool, Error> {
        Ok(self.with(|jobs, now| jobs.adopt(offer, fence, now.saturating_add(millis(lease)))))
    }

    async fn expired(&self, limit: usize) -> Result<Vec<JobId>, Error> {
        Ok(self.with(|jobs, now| jobs.expired(limit, now)))
    }

    async fn requeue(&self, jobs: &[JobId]) -> Result<Vec<bool>, Error> {
        Ok(self.with_wake(|queue, now| {
            let each = jobs.iter().map(|job| queue.requeue(*job, now));
            each.collect()
        }))
    }

    async fn cancel(&self, job: JobId) -> Result<bool, Error> {
        Ok(self.with(|jobs, _| jobs.cancel(job)))
    }

    async fn remove(&self, jobs: &[JobId]) -> Result<(), Error> {
        self.with_wake(|queue, _| queue.remove(jobs));
        Ok(())
    }

    async fn known(&self, jobs: &[JobId]) -> Result<Vec<bool>, Error> {
        Ok(self.with(|queue, _| jobs.iter().map(|job| queue.knows(job)).collect()))
    }

    async fn depth(&self) -> Result<Depth, Error> {
        Ok(self.with(|jobs, now| jobs.depth(now)))
    }

    async fn position(&self, job: JobId) -> Result<Option<u64>, Error> {
        Ok(self.with(|jobs, _| jobs.position(job)))
    }

    async fn loads(&self, owners: &[UserId]) -> Result<Vec<Load>, Error> {
        Ok(self.with(|jobs, _| owners.iter().map(|owner| jobs.load(*owner)).collect()))
    }
}
