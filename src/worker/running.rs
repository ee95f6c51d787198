//! What runs here now: each run with its claim, a way to interrupt it, and the progress of its computation.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use crate::domain::jobs::Claimed;
use crate::kit::id::JobId;
use crate::segment::Cancelled;

/// Why a run must stop before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// Somebody cancelled the job.
    Cancelled,
    /// The job is another worker's now; nothing may be written.
    Lost,
    /// This process stops.
    Draining,
}

/// The runs of this process. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Running {
    runs: Arc<Mutex<HashMap<(JobId, i64), Entry>>>,
    /// Notified when the last run ends.
    emptied: Arc<Notify>,
    /// What [`Self::mean_time`] says, in microseconds.
    mean_us: Arc<AtomicU64>,
}

/// A run counts for one part in so many in the mean time of runs.
const MEAN_PARTS: u64 = 8;

#[derive(Debug)]
struct Entry {
    claimed: Claimed,
    interrupt: watch::Sender<Option<Interrupt>>,
}

/// One run, as its own task sees it.
#[derive(Debug)]
pub(super) struct Run {
    began: Instant,
    interrupt: watch::Receiver<Option<Interrupt>>,
    computing: Computing,
    place: Place,
}

/// The permit that a run holds: one of those that work, then one of those that end. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    held: Arc<Mutex<Held>>,
    ends: Arc<Semaphore>,
}

#[derive(Debug)]
struct Held {
    permit: Option<OwnedSemaphorePermit>,
    is_ending: bool,
    /// Nothing else may run beside it.
    is_alone: bool,
}

/// What a computation on the pool shares with the task that waits for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Computing {
    percent: Arc<AtomicU8>,
    stopped: Arc<AtomicBool>,
}

impl Running {
    pub(super) fn begin(&self, claimed: Claimed, place: Place) -> Run {
        let (interrupt, receiver) = watch::channel(None);
        let key = key(&claimed);
        self.runs.lock().insert(key, Entry { claimed, interrupt });
        Run {
            began: Instant::now(),
            interrupt: receiver,
            computing: Computing::default(),
            place,
        }
    }

    pub(super) fn end(&self, claimed: &Claimed) {
        let mut runs = self.runs.lock();
        runs.remove(&key(claimed));
        if runs.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    /// Takes note of how long this run has worked.
    pub(super) fn worked(&self, run: &Run) {
        let took = u64::try_from(run.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mean = self.mean_us.load(Ordering::Relaxed);
        let next = mean - mean / MEAN_PARTS + took / MEAN_PARTS;
        // Two runs that end at once may count as one: it is an estimate.
        self.mean_us.store(next, Ordering::Relaxed);
    }

    /// How long the last runs worked, on average; zero before the first.
    pub(super) fn mean_time(&self) -> Duration {
        Duration::from_micros(self.mean_us.load(Ordering::Relaxed))
    }

    pub(super) fn len(&self) -> usize {
        self.runs.lock().len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn claims(&self) -> Vec<Claimed> {
        self.runs
            .lock()
            .values()
            .map(|entry| entry.claimed.clone())
            .collect()
    }

    pub(super) fn interrupt(&self, claimed: &Claimed, why: Interrupt) {
        if let Some(entry) = self.runs.lock().get(&key(claimed)) {
            entry.interrupt.send_replace(Some(why));
        }
    }

    pub(super) fn interrupt_all(&self, why: Interrupt) {
        for entry in self.runs.lock().values() {
            entry.interrupt.send_replace(Some(why));
        }
    }

    /// Resolves once `begun` has resolved and then the last run has ended (or none was left).
    pub(super) async fn emptied_while(&self, begun: impl Future<Output = ()>) {
        begun.await;
        let emptied = self.emptied.notified();
        if !self.is_empty() {
            emptied.await;
        }
    }
}

impl Run {
    /// Resolves when the run must stop.
    pub(super) async fn interrupted(&self) -> Interrupt {
        let mut interrupt = self.interrupt.clone();
        match interrupt.wait_for(Option::is_some).await.map(|why| *why) {
            Ok(Some(why)) => why,
            // The registry holds the sender until this run has ended.
            _ => std::future::pending().await,
        }
    }

    pub(super) const fn computing(&self) -> &Computing {
        &self.computing
    }

    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    /// Gives its permit to others.
    pub(super) fn give_up(&self) {
        self.place.give_up();
    }

    /// Asks the computation, which no task can interrupt, to stop at its next step.
    pub(super) fn stop_computing(&self) {
        self.computing.stopped.store(true, Ordering::Relaxed);
    }
}

impl Place {
    pub(super) fn new(permit: OwnedSemaphorePermit, ends: &Arc<Semaphore>, is_alone: bool) -> Self {
        let held = Held {
            permit: Some(permit),
            is_ending: false,
            is_alone,
        };
        Self {
            held: Arc::new(Mutex::new(held)),
            ends: Arc::clone(ends),
        }
    }

    /// What is left of the work may be done beside the next job's: its permit goes to that, where not too many end already.
    pub(super) fn leave_early(&self) {
        if !self.held.lock().is_alone
            && let Ok(ending) = Arc::clone(&self.ends).try_acquire_owned()
        {
            self.held.lock().end_with(ending);
        }
    }

    /// The work is done: the permit goes to the next job as soon as this one may end.
    pub(super) async fn leave(&self) {
        if self.held.lock().is_ending {
            return;
        }
        // Safe to ignore: the semaphore is never closed.
        if let Ok(ending) = Arc::clone(&self.ends).acquire_owned().await {
            self.held.lock().end_with(ending);
        }
    }

    /// The run is over; clones of this may live on with a page that others have a call for.
    fn give_up(&self) {
        self.held.lock().permit = None;
    }
}

impl Held {
    fn end_with(&mut self, ending: OwnedSemaphorePermit) {
        if !self.is_ending {
            self.is_ending = true;
            self.permit = Some(ending);
        }
    }
}

impl Computing {
    /// Called by the computation between its steps.
    pub(super) fn step(&self, percent: u8) -> ControlFlow<Cancelled> {
        self.percent.store(percent, Ordering::Relaxed);
        if self.stopped.load(Ordering::Relaxed) {
            ControlFlow::Break(Cancelled)
        } else {
            ControlFlow::Continue(())
        }
    }

    pub(super) fn percent(&self) -> u8 {
        self.percent.load(Ordering::Relaxed)
    }
}

const fn key(claimed: &Claimed) -> (JobId, i64) {
    (claimed.job.id, claimed.job.attempt)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Permits {
        work: Arc<Semaphore>,
        ends: Arc<Semaphore>,
    }

    impl Permits {
        fn of(count: usize) -> Self {
            Self {
                work: Arc::new(Semaphore::new(count)),
                ends: Arc::new(Semaphore::new(count)),
            }
        }

        fn place(&self, is_alone: bool) -> Place {
            let permit = Arc::clone(&self.work).try_acquire_owned().unwrap();
            Place::new(permit, &self.ends, is_alone)
        }

        fn free(&self) -> (usize, usize) {
            (self.work.available_permits(), self.ends.available_permits())
        }
    }

    #[tokio::test]
    async fn a_permit_is_free_for_the_next_job_while_this_one_ends() {
        let permits = Permits::of(1);
        let place = permits.place(false);
        place.leave_early();
        assert_eq!(permits.free(), (1, 0));
        place.leave().await;
        place.leave_early();
        assert_eq!(permits.free(), (1, 0));
        place.give_up();
        assert_eq!(permits.free(), (1, 1));
    }

    #[tokio::test]
    async fn no_more_jobs_end_than_may() {
        let permits = Permits::of(1);
        let first = permits.place(false);
        first.leave_early();
        let second = permits.place(false);
        second.leave_early();
        assert_eq!(permits.free(), (0, 0));
        let (waits, ()) = tokio::join!(
            tokio::time::timeout(Duration::from_secs(60), second.leave()),
            async { first.give_up() }
        );
        waits.unwrap();
        assert_eq!(permits.free(), (1, 0));
    }

    #[tokio::test]
    async fn who_is_to_be_alone_is_so_until_the_work_is_done() {
        let permits = Permits::of(1);
        let place = permits.place(true);
        place.leave_early();
        assert_eq!(permits.free(), (0, 1));
        place.leave().await;
        assert_eq!(permits.free(), (1, 0));
    }

    #[tokio::test]
    async fn a_page_that_others_still_hold_keeps_no_permit() {
        let permits = Permits::of(1);
        let place = permits.place(false);
        let of_page = place.clone();
        place.leave().await;
        place.give_up();
        of_page.leave_early();
        assert_eq!(permits.free(), (1, 1));
    }
}
