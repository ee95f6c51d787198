//! What runs here now: each run with its claim, a way to interrupt it, and the progress of its computation.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::domain::jobs::Claimed;
use crate::kit::id::JobId;
use crate::segment::Cancelled;

use super::place::Place;

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

    /// Asks the computation, which no task can interrupt, to stop at its next step.
    pub(super) fn stop_computing(&self) {
        self.computing.stopped.store(true, Ordering::Relaxed);
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
