//! The worker: takes due jobs as its permits allow, runs each, keeps its leases, ends it, and gives back what it cannot
//! finish before it must stop.
//!
//! * `running`: what runs here now, and how to interrupt it.
//! * `segmenters`: who finds the objects, here or behind HTTP.
//! * `upkeep`: everything periodic that some worker must do (reap, reconcile, expire).

mod running;
mod segmenters;
mod upkeep;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::Error;
use crate::domain::jobs::{Claimed, Failure, Finished, Hold, JobError, Jobs};
use crate::domain::push::Push;
use crate::health::Check;
use crate::kit::lifecycle::Lifecycle;
use crate::kit::retry::Backoff;
use crate::settings::Settings;

pub use segmenters::{Pages, Segmenters, Surroundings};
pub use upkeep::Upkeep;

use running::{Interrupt, Run, Running};
use segmenters::NoResult;

/// Waits after a claim that failed because a service is away.
const CLAIM_BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(200),
    cap: Duration::from_secs(5),
};
/// Waits between the tries to write how a run ended.
const ENDING_BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(200),
    cap: Duration::from_secs(5),
};
/// Tries to write how a run ended; meanwhile its lease is renewed. After them the job runs again elsewhere.
const ENDING_TRIES_MAX: u32 = 8;
/// A job whose segmenter is away is held for so long at most before it is given back.
const AWAY_PAUSE: Duration = Duration::from_secs(5);
/// Progress is told at most this often.
const PROGRESS_TICK: Duration = Duration::from_millis(250);

/// The figures of the settings that a worker follows.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Jobs that run at once.
    pub concurrency: usize,
    /// Longest wait for a wake-up.
    pub poll_interval: Duration,
    /// A run that takes longer fails.
    pub job_timeout: Duration,
    /// Interval of lease renewals.
    pub renew_interval: Duration,
    /// Interval of renewals of the leases in the rows.
    pub row_renew_interval: Duration,
    /// How long running jobs may go on once the process drains; then they are given back.
    pub drain_patience: Duration,
}

impl From<&Settings> for Rules {
    fn from(settings: &Settings) -> Self {
        let queue = &settings.queue;
        Self {
            concurrency: settings.worker.concurrency,
            poll_interval: Duration::from_millis(settings.worker.poll_interval_ms),
            job_timeout: Duration::from_millis(settings.worker.job_timeout_ms),
            renew_interval: Duration::from_millis(queue.renew_interval_ms),
            // Two renewals may be missed before the row lease runs out.
            row_renew_interval: Duration::from_millis(queue.row_lease_ms / 3),
            // The last third of the deadline is for giving back what has not ended.
            drain_patience: Duration::from_millis(settings.shutdown.work_ms * 2 / 3),
        }
    }
}

/// A worker. Clones share what runs.
#[derive(Debug, Clone)]
pub struct Worker {
    jobs: Jobs,
    push: Push,
    segmenters: Segmenters,
    lifecycle: Lifecycle,
    rules: Arc<Rules>,
    permits: Arc<Semaphore>,
    running: Running,
}

impl Worker {
    /// A worker on these handles; nothing runs before [`Worker::start`].
    pub fn new(
        jobs: Jobs,
        push: Push,
        segmenters: Segmenters,
        lifecycle: Lifecycle,
        rules: Rules,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(rules.concurrency));
        let rules = Arc::new(rules);
        Self {
            jobs,
            push,
            segmenters,
            lifecycle,
            rules,
            permits,
            running: Running::default(),
        }
    }

    /// A look at the remote segmenter, for health reports; none where there is none.
    pub fn segmenter_check(&self) -> Option<Check> {
        self.segmenters.check()
    }

    /// Starts taking jobs and renewing leases until the process drains.
    pub fn start(&self) {
        let (taking, renewing) = (self.clone(), self.clone());
        self.lifecycle.spawn_essential("worker.take", async move {
            taking.take_jobs().await;
            Ok(())
        });
        self.lifecycle.spawn_essential("worker.renew", async move {
            renewing.renew_leases().await;
            Ok(())
        });
    }

    async fn take_jobs(&self) {
        let mut failures = 0;
        while !self.lifecycle.is_draining() {
            let rest = match self.take_once().await {
                Ok(taken) => {
                    failures = 0;
                    if taken > 0 { continue } else { None }
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(%error, "no jobs could be claimed: {error}");
                    Some(CLAIM_BACKOFF.wait(failures))
                }
            };
            tokio::select! {
                () = self.lifecycle.draining() => {}
                () = self.rest(rest) => {}
            }
        }
        self.let_jobs_end().await;
    }

    /// Claims as many jobs as there are free permits (at least one is waited for) and starts them.
    async fn take_once(&self) -> Result<usize, Error> {
        let mut permits = tokio::select! {
            () = self.lifecycle.draining() => return Ok(0),
            permits = self.free_permits() => permits,
        };
        let claimed = self.jobs.claim(permits.len()).await?;
        let taken = claimed.len();
        for claimed in claimed {
            // Never more jobs than were asked for, hence never fewer permits than jobs.
            let Some(permit) = permits.pop() else { break };
            self.start_run(claimed, permit);
        }
        Ok(taken)
    }

    async fn free_permits(&self) -> Vec<OwnedSemaphorePermit> {
        // Safe to ignore: the semaphore is never closed.
        let mut permits: Vec<_> = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .into_iter()
            .collect();
        while let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            permits.push(permit);
        }
        permits
    }

    /// After a failure waits `pause`; else for a wake-up of the queue.
    async fn rest(&self, pause: Option<Duration>) {
        match pause {
            Some(pause) => tokio::time::sleep(pause).await,
            None => {
                if let Err(error) = self.jobs.wait(self.rules.poll_interval).await {
                    tracing::warn!(%error, "the queue does not wake: {error}");
                    tokio::time::sleep(self.rules.poll_interval).await;
                }
            }
        }
    }

    fn start_run(&self, claimed: Claimed, permit: OwnedSemaphorePermit) {
        let run = self.running.begin(claimed.clone());
        if claimed.job.cancel_requested {
            // Asked of an earlier run, which ended in another way before it heard of it.
            self.running.interrupt(&claimed, Interrupt::Cancelled);
        } else if self.lifecycle.is_draining() {
            // Claimed while the signal came: whoever stays has more time for it.
            self.running.interrupt(&claimed, Interrupt::Draining);
        }
        let worker = self.clone();
        self.lifecycle.spawn("worker.job", async move {
            worker.run(&claimed, &run).await;
            worker.running.end(&claimed);
            drop(permit);
        });
    }

    async fn run(&self, claimed: &Claimed, run: &Run) {
        let outcome = tokio::select! {
            biased;
            interrupt = run.interrupted() => Err(interrupt),
            outcome = self.work(claimed, run) => Ok(outcome),
        };
        run.stop_computing();
        let job = claimed.job.id;
        let ended = match outcome {
            Ok(Ok(result)) => {
                let finished = Finished {
                    claimed: claimed.clone(),
                    result,
                };
                self.end(|| self.jobs.finish(&finished)).await
            }
            Ok(Err(NoResult::Unavailable { why, .. })) => {
                tracing::info!(%job, "job {job} waits: {why}");
                self.end(|| self.jobs.hand_back(claimed)).await
            }
            Ok(Err(NoResult::Failed(failure))) => {
                let (class, text) = (&failure.error.class, &failure.error.text);
                tracing::warn!(%job, class, "job {job} failed: {text}");
                self.end(|| self.jobs.fail(claimed, &failure)).await
            }
            Err(Interrupt::Cancelled) => self.end(|| self.jobs.stop(claimed)).await,
            Err(Interrupt::Draining) => self.end(|| self.jobs.hand_back(claimed)).await,
            Err(Interrupt::Lost) => {
                tracing::warn!(%job, "job {job} belongs to another worker now; its run here was dropped");
                Ok(())
            }
        };
        if let Err(error) = ended {
            tracing::error!(%job, %error, "the end of job {job} was not written: {error}");
        }
    }

    /// Segments, telling progress, for at most the job's time.
    async fn work(
        &self,
        claimed: &Claimed,
        run: &Run,
    ) -> Result<crate::segment::Segmentation, NoResult> {
        let segmenting = async {
            let result = self.segmenters.segment(&claimed.job, run.computing()).await;
            if let Err(NoResult::Unavailable { retry_after, .. }) = &result {
                // Given back at once it would be claimed again at once.
                tokio::time::sleep((*retry_after).min(AWAY_PAUSE)).await;
            }
            result
        };
        tokio::select! {
            result = segmenting => result,
            never = self.tell_progress(claimed, run) => match never {},
            () = tokio::time::sleep(self.rules.job_timeout) => Err(NoResult::Failed(Failure {
                error: JobError {
                    class: "timeout".into(),
                    text: format!("not done after {} s", self.rules.job_timeout.as_secs()),
                },
                permanent: false,
            })),
        }
    }

    async fn tell_progress(&self, claimed: &Claimed, run: &Run) -> Infallible {
        let job = &claimed.job;
        let mut told = 0;
        let mut tick = tokio::time::interval(PROGRESS_TICK);
        loop {
            tick.tick().await;
            let percent = run.computing().percent();
            if percent > told {
                told = percent;
                self.push.job_progress(job.id, job.attempt, percent).await;
            }
        }
    }

    /// Writes how a run ended, again while services are away. A fenced write is final.
    async fn end<F>(&self, write: impl Fn() -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>>,
    {
        let mut tries = 0;
        loop {
            match write().await {
                Err(Error::Fenced(job)) => {
                    tracing::warn!(%job, "job {job} belongs to a later attempt; the result was dropped");
                    return Ok(());
                }
                Err(error) if tries + 1 < ENDING_TRIES_MAX => {
                    tries += 1;
                    tracing::warn!(%error, tries, "the end of a run is written again: {error}");
                    tokio::time::sleep(ENDING_BACKOFF.wait(tries)).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn renew_leases(&self) {
        let mut queue_lease = tokio::time::interval(self.rules.renew_interval);
        let mut row_lease = tokio::time::interval(self.rules.row_renew_interval);
        // Leases are kept while jobs end, after draining has begun, and let go with the last of them.
        while !(self.lifecycle.is_draining() && self.running.is_empty()) {
            tokio::select! {
                _ = queue_lease.tick() => self.renew_once().await,
                _ = row_lease.tick() => self.renew_rows_once().await,
                () = self.running.emptied_while(self.lifecycle.draining()) => {}
            }
        }
    }

    async fn renew_once(&self) {
        let running = self.running.claims();
        if running.is_empty() {
            return;
        }
        match self.jobs.renew(&running).await {
            Ok(holds) => {
                for (claimed, hold) in running.iter().zip(holds) {
                    match hold {
                        Hold::Ours => {}
                        Hold::Cancelled => self.running.interrupt(claimed, Interrupt::Cancelled),
                        Hold::Lost => self.running.interrupt(claimed, Interrupt::Lost),
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "leases were not renewed: {error}"),
        }
    }

    async fn renew_rows_once(&self) {
        let running = self.running.claims();
        if !running.is_empty()
            && let Err(error) = self.jobs.renew_rows(&running).await
        {
            tracing::warn!(%error, "row leases were not renewed: {error}");
        }
    }

    /// Lets running jobs end by themselves for a while, then gives back those that have not.
    async fn let_jobs_end(&self) {
        let all = u32::try_from(self.rules.concurrency).unwrap_or(u32::MAX);
        let ended =
            tokio::time::timeout(self.rules.drain_patience, self.permits.acquire_many(all)).await;
        if ended.is_err() {
            tracing::info!("{} running job(s) are given back", self.running.len());
            self.running.interrupt_all(Interrupt::Draining);
        }
    }
}
