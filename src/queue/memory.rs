//! The job queue inside this process, for one-machine use: one twin function for each script of `queue::redis`, in
//! the same order and with the same words. Time is the `Clock`'s.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    BATCH_MAX, Depth, Error, JobQueue, Lease, Offer, PRIORITY_MAX, PRIORITY_MIN,
    PROMOTED_PER_CLAIM_MAX, Release,
};
use crate::kit::clock::SharedClock;
use crate::kit::id::JobId;

/// A time that no lease and no delay reaches, for those that the calendar cannot hold.
const TIME_MAX: TimeDelta = TimeDelta::days(36_500);

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
    pub fn new(clock: SharedClock) -> Self {
        Self {
            clock,
            jobs: Arc::default(),
            wake: watch::Sender::new(()),
        }
    }

    /// Forgets every job, as a Redis that was flushed.
    pub fn clear(&self) {
        *self.jobs.lock() = Jobs::default();
    }

    fn with<T>(&self, operation: impl FnOnce(&mut Jobs, DateTime<Utc>) -> T) -> T {
        operation(&mut self.jobs.lock(), self.clock.now())
    }

    /// As `with`, for operations after which there may be something to claim.
    fn with_wake<T>(&self, operation: impl FnOnce(&mut Jobs, DateTime<Utc>) -> T) -> T {
        let answer = self.with(operation);
        self.wake.send_replace(());
        answer
    }
}

#[async_trait]
impl JobQueue for Memory {
    async fn offer(&self, offers: &[Offer]) -> Result<Vec<bool>, Error> {
        Ok(self.with_wake(|jobs, now| {
            let each = offers.iter().map(|offer| jobs.offer(offer, now));
            each.collect()
        }))
    }

    async fn claim(&self, owner: &str, limit: usize, lease: Duration) -> Result<Vec<JobId>, Error> {
        Ok(self.with(|jobs, now| jobs.claim(owner, limit, after(now, lease), now)))
    }

    async fn wait(&self, patience: Duration) -> Result<(), Error> {
        // Listen before you look: what is offered between the two is not missed.
        let mut woken = self.wake.subscribe();
        let due = self.with(|jobs, now| jobs.due(now)).unwrap_or(patience);
        // The sender lives in `self`, so the only error of `changed` cannot occur, and would only end the wait.
        let _ = tokio::time::timeout(due.min(patience), woken.changed()).await;
        Ok(())
    }

    async fn renew(
        &self,
        owner: &str,
        jobs: &[JobId],
        lease: Duration,
    ) -> Result<Vec<Lease>, Error> {
        Ok(self.with(|queue, now| {
            let until = after(now, lease);
            let each = jobs.iter().map(|job| queue.renew(owner, *job, until));
            each.collect()
        }))
    }

    async fn adopt(&self, owner: &str, job: JobId, lease: Duration) -> Result<bool, Error> {
        Ok(self.with(|jobs, now| jobs.adopt(owner, job, after(now, lease))))
    }

    async fn release(&self, owner: &str, jobs: &[(JobId, Release)]) -> Result<Vec<bool>, Error> {
        Ok(self.with_wake(|queue, now| {
            let each = jobs
                .iter()
                .map(|(job, release)| queue.release(owner, *job, *release, now));
            each.collect()
        }))
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
        self.with(|queue, _| {
            for job in jobs {
                queue.remove(*job);
            }
        });
        Ok(())
    }

    async fn known(&self, jobs: &[JobId]) -> Result<Vec<bool>, Error> {
        Ok(self.with(|queue, _| {
            let each = jobs.iter().map(|job| queue.known.contains_key(job));
            each.collect()
        }))
    }

    async fn depth(&self) -> Result<Depth, Error> {
        Ok(self.with(|jobs, now| jobs.depth(now)))
    }
}

/// Where a job stands among those that wait: the lowest place is claimed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// 0 for the highest priority.
    rank: u8,
    /// Rises with every first offer; kept while the queue knows the job.
    sequence: u64,
}

#[derive(Debug, Clone)]
enum Standing {
    Waiting,
    Delayed {
        due: DateTime<Utc>,
    },
    Leased {
        owner: Arc<str>,
        until: DateTime<Utc>,
        cancelled: bool,
    },
}

#[derive(Debug, Default)]
struct Jobs {
    /// Every job that waits, is delayed or is leased.
    known: HashMap<JobId, (Place, Standing)>,
    waiting: BTreeMap<Place, JobId>,
    delayed: BTreeSet<(DateTime<Utc>, JobId)>,
    leases: BTreeSet<(DateTime<Utc>, JobId)>,
    sequence: u64,
}

impl Jobs {
    // === One function per script ===

    fn offer(&mut self, offer: &Offer, now: DateTime<Utc>) -> bool {
        let rank = PRIORITY_MAX - offer.priority.clamp(PRIORITY_MIN, PRIORITY_MAX);
        let sequence = match self.known.get(&offer.job) {
            Some((_, Standing::Leased { .. })) => return false,
            Some((place, _)) => place.sequence,
            None => self.next_sequence(),
        };
        self.stand_again(offer.job, Place { rank, sequence }, offer.delay, now);
        true
    }

    fn claim(
        &mut self,
        owner: &str,
        limit: usize,
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Vec<JobId> {
        self.promote(now);
        let owner: Arc<str> = owner.into();
        let mut claimed = Vec::new();
        while claimed.len() < limit.min(BATCH_MAX) {
            let Some((place, job)) = self.waiting.pop_first() else {
                break;
            };
            self.lease(job, place, &owner, until, false);
            claimed.push(job);
        }
        claimed
    }

    fn renew(&mut self, owner: &str, job: JobId, until: DateTime<Utc>) -> Lease {
        match self.known.get(&job).cloned() {
            None => Lease::Unknown,
            Some((place, standing)) => match standing {
                Standing::Leased {
                    owner: holder,
                    cancelled,
                    ..
                } if *holder == *owner => {
                    self.leave(job);
                    self.lease(job, place, &holder, until, cancelled);
                    if cancelled {
                        Lease::Cancelled
                    } else {
                        Lease::Held
                    }
                }
                _ => Lease::Lost,
            },
        }
    }

    fn adopt(&mut self, owner: &str, job: JobId, until: DateTime<Utc>) -> bool {
        if let Some((_, Standing::Leased { owner: holder, .. })) = self.known.get(&job) {
            return **holder == *owner && self.renew(owner, job, until) != Lease::Lost;
        }
        let place = match self.leave(job) {
            Some((place, _)) => place,
            None => Place {
                rank: PRIORITY_MAX - PRIORITY_MIN,
                sequence: self.next_sequence(),
            },
        };
        self.lease(job, place, &owner.into(), until, false);
        true
    }

    fn release(&mut self, owner: &str, job: JobId, release: Release, now: DateTime<Utc>) -> bool {
        let place = match self.known.get(&job) {
            Some((place, Standing::Leased { owner: holder, .. })) if **holder == *owner => *place,
            _ => return false,
        };
        match release {
            Release::Done => drop(self.leave(job)),
            Release::Again(delay) => self.stand_again(job, place, delay, now),
        }
        true
    }

    fn expired(&self, limit: usize, now: DateTime<Utc>) -> Vec<JobId> {
        let out = self.leases.iter().take_while(|(until, _)| *until <= now);
        out.take(limit.min(BATCH_MAX))
            .map(|(_, job)| *job)
            .collect()
    }

    fn requeue(&mut self, job: JobId, now: DateTime<Utc>) -> bool {
        match self.known.get(&job) {
            Some((place, Standing::Leased { until, .. })) if *until <= now => {
                self.stand_again(job, *place, Duration::ZERO, now);
                true
            }
            _ => false,
        }
    }

    fn cancel(&mut self, job: JobId) -> bool {
        match self.known.get_mut(&job) {
            Some((_, Standing::Leased { cancelled, .. })) => {
                *cancelled = true;
                true
            }
            _ => false,
        }
    }

    fn remove(&mut self, job: JobId) {
        self.leave(job);
    }

    fn depth(&self, now: DateTime<Utc>) -> Depth {
        let due = self.delayed.iter().take_while(|(due, _)| *due <= now);
        let due = due.count();
        Depth {
            waiting: (self.waiting.len() + due) as u64,
            delayed: (self.delayed.len() - due) as u64,
            active: self.leases.len() as u64,
        }
    }

    /// Time until a job may be claimed, zero for now, `None` where nothing waits.
    fn due(&self, now: DateTime<Utc>) -> Option<Duration> {
        if !self.waiting.is_empty() {
            return Some(Duration::ZERO);
        }
        let (due, _) = self.delayed.first()?;
        Some((*due - now).to_std().unwrap_or(Duration::ZERO))
    }

    // === Parts ===

    fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Moves jobs that have become due to those that wait.
    fn promote(&mut self, now: DateTime<Utc>) {
        for _ in 0..PROMOTED_PER_CLAIM_MAX {
            match self.delayed.first() {
                Some((due, job)) if *due <= now => {
                    let job = *job;
                    if let Some((place, _)) = self.leave(job) {
                        self.stand_again(job, place, Duration::ZERO, now);
                    }
                }
                _ => return,
            }
        }
    }

    /// Puts a job, wherever it stood, at `place` among those that wait or, with a delay, that will.
    fn stand_again(&mut self, job: JobId, place: Place, delay: Duration, now: DateTime<Utc>) {
        self.leave(job);
        let standing = if delay.is_zero() {
            self.waiting.insert(place, job);
            Standing::Waiting
        } else {
            let due = after(now, delay);
            self.delayed.insert((due, job));
            Standing::Delayed { due }
        };
        self.known.insert(job, (place, standing));
    }

    fn lease(
        &mut self,
        job: JobId,
        place: Place,
        owner: &Arc<str>,
        until: DateTime<Utc>,
        cancelled: bool,
    ) {
        let owner = Arc::clone(owner);
        self.leases.insert((until, job));
        let standing = Standing::Leased {
            owner,
            until,
            cancelled,
        };
        self.known.insert(job, (place, standing));
    }

    /// Takes a job out of wherever it stands.
    fn leave(&mut self, job: JobId) -> Option<(Place, Standing)> {
        let (place, standing) = self.known.remove(&job)?;
        match &standing {
            Standing::Waiting => drop(self.waiting.remove(&place)),
            Standing::Delayed { due } => drop(self.delayed.remove(&(*due, job))),
            Standing::Leased { until, .. } => drop(self.leases.remove(&(*until, job))),
        }
        Some((place, standing))
    }
}

fn after(now: DateTime<Utc>, time: Duration) -> DateTime<Utc> {
    now + TimeDelta::from_std(time).unwrap_or(TIME_MAX).min(TIME_MAX)
}
