//! What some worker must do now and then: take dead workers' jobs, offer what the queue has lost, count, delete what
//! has expired and what nobody lists. One table, one runner; of many workers the one that gets the task's lease in the state store does it.

use std::time::Duration;

use bytes::Bytes;

use crate::db::{Db, run_tx};
use crate::domain::jobs::{Figures, Jobs};
use crate::domain::scaling::{self, Advice};
use crate::domain::{Error, activity, idempotency, leftovers, webhooks};
use crate::events::inbox;
use crate::events::log::SharedLog;
use crate::files::FileStore;
use crate::kit::clock::SharedClock;
use crate::kit::instance::InstanceId;
use crate::kit::lifecycle::Lifecycle;
use crate::state::{SharedState, When};

/// Idempotency records are looked through this often, and so many are deleted at once.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(600);
const EXPIRE_MAX: u32 = 1_000;
/// The feeds of projects go back so far, 90 days.
const ACTIVITY_AGE: Duration = Duration::from_secs(90 * 86_400);
/// Rows of the inbox and lines of feeds that are deleted at once, and how often that is repeated in one round.
const CONSUMED_MAX: u32 = 5_000;
const CONSUMED_ROUNDS: u32 = 20;
/// Rows of ended jobs that are old enough are removed this often.
const FORGET_INTERVAL: Duration = Duration::from_secs(600);
/// How the queue is, is counted this often: an interval of scrapes.
const COUNT_INTERVAL: Duration = Duration::from_secs(15);
/// A part of the file store is looked through this often; a million files take 17 h.
const SWEEP_INTERVAL: Duration = Duration::from_secs(300);
/// Where the next part begins is kept in the state store, under this key and for so long; without it at the beginning.
const SWEEP_AFTER: &str = "upkeep:sweep:after";
const SWEEP_AFTER_LIFETIME: Duration = Duration::from_secs(86_400);

/// The periodic tasks. Clones share the handles.
#[derive(Debug, Clone)]
pub struct Upkeep {
    /// The jobs.
    pub jobs: Jobs,
    /// The truth.
    pub db: Db,
    /// Where old records are dropped.
    pub log: SharedLog,
    /// Where files are left behind.
    pub files: FileStore,
    /// Where the leases of tasks are.
    pub state: SharedState,
    /// Instants.
    pub clock: SharedClock,
    /// Who this process is.
    pub instance: InstanceId,
    /// Interval of the search for dead workers' jobs.
    pub reap_interval: Duration,
    /// Interval of the search for jobs that the queue has lost.
    pub reconcile_interval: Duration,
    /// How many workers there should be.
    pub scaling: scaling::Rules,
    /// Age at which ended deliveries of webhooks are removed.
    pub deliveries_kept: Duration,
    /// Age at which files that nobody lists are removed.
    pub unlisted_age: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Task {
    Reap,
    Reconcile,
    Expire,
    Forget,
    Count,
    Sweep,
}

impl Task {
    const fn name(self) -> &'static str {
        match self {
            Self::Reap => "reap",
            Self::Reconcile => "reconcile",
            Self::Expire => "expire",
            Self::Forget => "forget",
            Self::Count => "count",
            Self::Sweep => "sweep",
        }
    }
}

impl Upkeep {
    /// Starts all tasks until the process drains.
    pub fn start(&self, lifecycle: &Lifecycle) {
        let tasks = [
            (Task::Reap, self.reap_interval),
            (Task::Reconcile, self.reconcile_interval),
            (Task::Expire, EXPIRE_INTERVAL),
            (Task::Forget, FORGET_INTERVAL),
            (Task::Count, COUNT_INTERVAL),
            (Task::Sweep, SWEEP_INTERVAL),
        ];
        for (task, interval) in tasks {
            let (upkeep, draining) = (self.clone(), lifecycle.clone());
            lifecycle.spawn_essential("worker.upkeep", async move {
                upkeep.repeat(task, interval, &draining).await;
                Ok(())
            });
        }
    }

    async fn repeat(&self, task: Task, interval: Duration, lifecycle: &Lifecycle) {
        let mut tick = tokio::time::interval(interval);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = lifecycle.draining() => return,
                _ = tick.tick() => {}
            }
            let done = match self.is_ours(task, interval).await {
                true => self.run(task).await,
                false => self.follow(task).await,
            };
            if let Err(error) = done {
                tracing::warn!(%error, task = task.name(), "upkeep {} failed: {error}", task.name());
            }
        }
    }

    /// Whether no other worker does this task in this interval. Where the state store is away, everybody does: each
    /// task may be done twice.
    async fn is_ours(&self, task: Task, interval: Duration) -> bool {
        let key = format!("upkeep:{}", task.name());
        let owner = Bytes::copy_from_slice(self.instance.unique().as_bytes());
        let lease = interval.mul_f64(0.9);
        self.state
            .put(&key, owner, lease, When::Absent)
            .await
            .unwrap_or(true)
    }

    async fn run(&self, task: Task) -> Result<(), Error> {
        match task {
            Task::Reap => self.jobs.reap().await.map(drop),
            Task::Reconcile => self.jobs.reconcile().await.map(drop),
            Task::Expire => {
                let now = self.clock.now();
                self.log
                    .expire()
                    .await
                    .map_err(crate::events::Error::from)?;
                run_tx!(self.db, "idempotency.expire", |tx| -> Result<(), Error> {
                    idempotency::expire(tx, now, EXPIRE_MAX).await.map(drop)
                })?;
                self.expire_consumed().await?;
                let before = now - self.deliveries_kept;
                run_tx!(self.db, "webhook.expire", |tx| -> Result<(), Error> {
                    webhooks::expire(tx, before, EXPIRE_MAX).await.map(drop)
                })
            }
            Task::Forget => self.jobs.forget_ended().await.map(drop),
            Task::Count => {
                let figures = self.jobs.figures().await?;
                figures.show();
                figures.keep(&*self.state).await?;
                Advice::give(&self.state, &figures, &self.scaling)
                    .await
                    .map(drop)
            }
            Task::Sweep => self.sweep().await,
        }
    }

    /// What remains to be done where another worker does the task: its figures are shown here too, else a worker that
    /// counted once would show that for ever.
    async fn follow(&self, task: Task) -> Result<(), Error> {
        if let Task::Count = task {
            let (figures, advice) =
                tokio::try_join!(Figures::kept(&*self.state), Advice::kept(&*self.state))?;
            figures.iter().for_each(Figures::show);
            advice.iter().for_each(Advice::show);
        }
        Ok(())
    }

    /// What the consumer groups have left: inbox rows that no record can ask for any more, and old lines of feeds.
    async fn expire_consumed(&self) -> Result<(), Error> {
        let before = self.clock.now() - ACTIVITY_AGE;
        for _ in 0..CONSUMED_ROUNDS {
            let removed = run_tx!(self.db, "inbox.expire", |tx| -> Result<u64, Error> {
                let inbox = inbox::expire(tx, &*self.clock, CONSUMED_MAX).await?;
                Ok(inbox.max(activity::expire(tx, before, CONSUMED_MAX).await?))
            })?;
            if removed < u64::from(CONSUMED_MAX) {
                break;
            }
        }
        Ok(())
    }

    async fn sweep(&self) -> Result<(), Error> {
        let after = self.state.get(SWEEP_AFTER).await?;
        let after = after.and_then(|key| String::from_utf8(key.into()).ok());
        let before = self.clock.now() - self.unlisted_age;
        match leftovers::sweep(&self.db, &self.files, before, after.as_deref()).await? {
            Some(next) => {
                self.state
                    .put(SWEEP_AFTER, next.into(), SWEEP_AFTER_LIFETIME, When::Always)
                    .await?;
            }
            None => drop(self.state.delete(SWEEP_AFTER).await?),
        }
        Ok(())
    }
}
