//! Taking jobs: as many as there are free permits, in one call with the ends of those that ran before.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use crate::domain::Error;
use crate::domain::jobs::Leased;
use crate::kit::id::JobId;
use crate::kit::retry::Backoff;

use super::Worker;
use super::place::Place;
use super::running::Interrupt;

/// Waits after a claim that failed because a service is away.
const CLAIM_BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(200),
    cap: Duration::from_secs(5),
};

/// The queue hears of a job's end with the next claim, or after this time. Until then its owner counts as running it.
const ENDS_LINGER: Duration = Duration::from_millis(20);

/// Where jobs are shorter than this, claiming them one by one costs as much as running them: while more of them wait,
/// permits gather until half of them are free, or for [`GATHER_MAX`].
const SHORT_RUN: Duration = Duration::from_millis(20);
const GATHER_MAX: Duration = Duration::from_millis(2);

impl Worker {
    /// Takes jobs until the process drains, then lets those that run end.
    pub(super) async fn take_jobs(&self) {
        let mut failures = 0;
        let mut more = false;
        while !self.lifecycle.is_draining() {
            let pause = match self.take_once(more).await {
                Ok(may_be_more) => {
                    failures = 0;
                    more = may_be_more;
                    if more { continue } else { None }
                }
                Err(error) => {
                    more = false;
                    failures += 1;
                    tracing::warn!(%error, "no jobs could be claimed: {error}");
                    Some(CLAIM_BACKOFF.wait(failures))
                }
            };
            tokio::select! {
                () = self.lifecycle.draining() => {}
                () = self.rest(pause) => {}
            }
        }
        self.let_jobs_end().await;
    }

    /// Leases as many jobs as there are free permits (at least one is waited for; more, where jobs are short and `more`
    /// wait) and starts them; true when there may be more. Long jobs start by themselves: a permit that becomes free
    /// meanwhile does not wait for their commit. Short ones end so fast that the permits gather while they start.
    async fn take_once(&self, more: bool) -> Result<bool, Error> {
        let short = self.running.mean_time() < SHORT_RUN;
        let mut permits = tokio::select! {
            () = self.lifecycle.draining() => return Ok(false),
            permits = self.free_permits(more && short) => permits,
        };
        let wanted = permits.len();
        let leased = self.jobs.lease(wanted, self.rules.lanes).await?;
        let more = leased.len() == wanted;
        permits.truncate(leased.len());
        if short {
            self.start_leased(leased, permits).await;
        } else {
            let worker = self.clone();
            self.lifecycle.spawn("worker.start", async move {
                worker.start_leased(leased, permits).await;
            });
        }
        Ok(more)
    }

    /// Starts leased jobs with a permit for each. Their pages are looked up meanwhile, which has no effect. Where the
    /// database does not answer, the permits rest for a while.
    async fn start_leased(&self, leased: Vec<Leased>, permits: Vec<OwnedSemaphorePermit>) {
        if leased.is_empty() {
            return;
        }
        let ids: Vec<JobId> = leased.iter().map(|leased| leased.job).collect();
        let (taken, mut sources) =
            tokio::join!(self.jobs.start(&leased), self.segmenters.sources(&ids));
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) => return self.start_failed(&error).await,
        };
        self.failed_starts.store(0, Ordering::Relaxed);
        for (claimed, permit) in taken.claimed.into_iter().zip(permits) {
            let source = sources.remove(&claimed.job.id);
            self.start_run(claimed, source, Place::new(permit, &self.ends, false));
        }
        self.run_alone(taken.suspects).await;
    }

    async fn start_failed(&self, error: &Error) {
        let failures = self.failed_starts.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::warn!(%error, "leased jobs did not start: {error}");
        tokio::select! {
            () = self.lifecycle.draining() => {}
            () = tokio::time::sleep(CLAIM_BACKOFF.wait(failures)) => {}
        }
    }

    async fn free_permits(&self, gather: bool) -> Vec<OwnedSemaphorePermit> {
        // Safe to ignore, here and below: the semaphore is never closed.
        let mut permits: Vec<_> = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .into_iter()
            .collect();
        if gather {
            let half = u32::try_from(self.rules.concurrency / 2).unwrap_or(u32::MAX);
            let _ = tokio::time::timeout(GATHER_MAX, self.permits.acquire_many(half)).await;
        }
        while let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            permits.push(permit);
        }
        permits
    }

    /// After a failure waits `pause`; else until something may be claimed, or has ended and is to be told.
    async fn rest(&self, pause: Option<Duration>) {
        let Some(pause) = pause else {
            tokio::select! {
                () = self.ends_are_due() => {}
                () = self.wait_for_jobs() => {}
            }
            return;
        };
        tokio::time::sleep(pause).await;
    }

    /// Resolves a while after a job has ended: until then its end may ride with a claim.
    async fn ends_are_due(&self) {
        self.jobs.ended().await;
        tokio::time::sleep(ENDS_LINGER).await;
    }

    async fn wait_for_jobs(&self) {
        let patience = self.rules.poll_interval;
        if let Err(error) = self.jobs.wait(self.rules.lanes, patience).await {
            tracing::warn!(%error, "the queue does not wake: {error}");
            tokio::time::sleep(patience).await;
        }
    }

    /// The drain: jobs may end for a time, then they are interrupted; the queue hears of each end.
    async fn let_jobs_end(&self) {
        let patience = tokio::time::sleep(self.rules.drain_patience);
        let none_runs = self.all_permits();
        tokio::pin!(patience, none_runs);
        let mut interrupted = false;
        loop {
            tokio::select! {
                _ = &mut none_runs => break,
                () = self.jobs.ended() => self.tell_ends().await,
                () = &mut patience, if !interrupted => {
                    interrupted = true;
                    tracing::info!("{} running job(s) are given back", self.running.len());
                    self.running.interrupt_all(Interrupt::Draining);
                }
            }
        }
        self.tell_ends().await;
    }

    async fn tell_ends(&self) {
        if let Err(error) = self.jobs.lease(0, self.rules.lanes).await {
            tracing::warn!(%error, "jobs that ended leave the queue when their leases run out: {error}");
        }
    }

    /// Every permit: nothing runs here, and no end is being written. None where the semaphore was closed, which it never
    /// is.
    pub(super) async fn all_permits(&self) -> Option<OwnedSemaphorePermit> {
        let all = u32::try_from(self.rules.concurrency).unwrap_or(u32::MAX);
        let permits = Arc::clone(&self.permits).acquire_many_owned(all).await.ok();
        let ends = self.ends.acquire_many(all).await.ok();
        permits.filter(|_| ends.is_some())
    }
}
