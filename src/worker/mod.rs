//! The worker: takes due jobs as its permits allow, runs each, keeps its leases, ends it, and gives back what it cannot
//! finish before it must stop.
//!
//! * `take`: claims as many jobs as there are free permits, and tells the queue which have ended.
//! * `suspects`: jobs that may have killed a process run alone.
//! * `running`: what runs here now, and how to interrupt it.
//! * `place`: the permit of a run.
//! * `segmenters`: who finds the objects, here or behind HTTP.
//! * `consumers`: the consumer groups of the event log.
//! * `deliveries`: sends events to webhooks.
//! * `upkeep`: everything periodic that some worker must do (reap, reconcile, expire).

pub mod consumers;
mod deliveries;
mod place;
mod running;
mod segmenters;
mod suspects;
mod take;
mod upkeep;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Semaphore;

use crate::domain::Error;
use crate::domain::jobs::{Claimed, Failure, Finished, Hold, JobError, Jobs};
use crate::domain::push::Push;
use crate::health::Check;
use crate::kit::lane::Lane;
use crate::kit::lifecycle::Lifecycle;
use crate::kit::retry::Backoff;
use crate::settings::Settings;

pub use deliveries::Deliveries;
pub use segmenters::{Pages, Segmenters, Surroundings};
pub use upkeep::Upkeep;

use place::Place;
use running::{Interrupt, Run, Running};
use segmenters::{NoResult, Source};
use suspects::Suspects;

/// Waits between the tries to write how a run ended.
const ENDING_BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(200),
    cap: Duration::from_secs(5),
};
/// Tries to write how a run ended; meanwhile its lease is renewed. After them the job runs again elsewhere.
const ENDING_TRIES_MAX: u32 = 8;
/// A job whose segmenter is away waits at least for so long: given back for at once, it would be claimed again at once.
const AWAY_PAUSE_MIN: Duration = Duration::from_secs(1);
/// Progress is told at most this often.
const PROGRESS_TICK: Duration = Duration::from_millis(250);

/// The figures of the settings that a worker follows.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Jobs that run at once.
    pub concurrency: usize,
    /// The lanes to claim from.
    pub lanes: &'static [Lane],
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
            lanes: settings.worker.lanes.lanes(),
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

/// What a worker has to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct State {
    /// Jobs that it runs at once.
    pub permits: usize,
    /// Jobs that it runs now, those whose end is being written included.
    pub running: usize,
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
    /// Permits of those that write how their run ended.
    ends: Arc<Semaphore>,
    /// Starts that failed since the last that did not.
    failed_starts: Arc<AtomicU32>,
    running: Running,
    suspects: Suspects,
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
        let ends = Arc::new(Semaphore::new(rules.concurrency));
        let rules = Arc::new(rules);
        Self {
            jobs,
            push,
            segmenters,
            lifecycle,
            rules,
            permits,
            ends,
            failed_starts: Arc::default(),
            running: Running::default(),
            suspects: Suspects::default(),
        }
    }

    /// What it has to do now.
    pub fn state(&self) -> State {
        State {
            permits: self.rules.concurrency,
            running: self.running.len(),
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

    fn start_run(&self, claimed: Claimed, source: Option<Source>, place: Place) {
        let run = self.running.begin(claimed.clone(), place);
        if claimed.job.cancel_requested {
            // Asked of an earlier run, which ended in another way before it heard of it.
            self.running.interrupt(&claimed, Interrupt::Cancelled);
        } else if self.lifecycle.is_draining() {
            // Claimed while the signal came: whoever stays has more time for it.
            self.running.interrupt(&claimed, Interrupt::Draining);
        }
        let worker = self.clone();
        self.lifecycle.spawn("worker.job", async move {
            worker.run(&claimed, source, &run).await;
            run.place().give_up();
            worker.running.end(&claimed);
        });
    }

    /// Runs the job and writes how that ended. The permit is free for the next job as soon as the work is done, or a
    /// service has answered, so that measuring and writing overlap with it; as many ends as jobs may be under way.
    async fn run(&self, claimed: &Claimed, source: Option<Source>, run: &Run) {
        let outcome = tokio::select! {
            biased;
            interrupt = run.interrupted() => Err(interrupt),
            outcome = self.work(claimed, source, run) => Ok(outcome),
        };
        run.stop_computing();
        self.running.worked(run);
        run.place().leave().await;
        let job = claimed.job.id;
        let ended = match outcome {
            Ok(Ok(result)) => {
                let finished = Finished {
                    claimed: claimed.clone(),
                    result,
                };
                self.end(|| self.jobs.finish(&finished)).await
            }
            Ok(Err(NoResult::Unavailable { why, retry_after })) => {
                tracing::info!(%job, "job {job} waits: {why}");
                let pause = retry_after.max(AWAY_PAUSE_MIN);
                self.end(|| self.jobs.postpone(claimed, pause)).await
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
        source: Option<Source>,
        run: &Run,
    ) -> Result<crate::segment::Segmentation, NoResult> {
        let segmenting = self.segmenters.segment(&claimed.job, source, run);
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
        self.keep_suspects().await;
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
}
