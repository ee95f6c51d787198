//! The job queue on the state store: ids, small headers, priorities, leases and wake-ups. The job itself is a row of
//! the database, which may at any moment offer again what the queue has lost.
//!
//! Words:
//! * *offer*: puts a job where workers find it, due now or later. Offering a job that waits already changes its due
//!   time and priority only; offering one that is leased is refused.
//! * *lease*: a claim for a time, named by its *fence*, a number that no other claim has; renewed while the job runs.
//! * *release*: the end of a lease: the job leaves the queue (it is done, dead or cancelled) or waits again.
//! * *exchange*: releases and a claim in one step, which is all that a busy worker ever calls.
//!
//! Which job is next, within a lane:
//! * The highest priority first. Every [`Fairness::aged_share`]th start is kept for what that would starve: it goes to
//!   the first job of another priority (each in turn) that has waited for [`Fairness::aged_after`]. So a job with n
//!   jobs of its own priority before it starts within `(n + 1) × aged_share × 9` starts, whatever else is offered; within
//!   twice as many where the workers serve both lanes.
//! * Within a priority owners take turns: a job's rank is `max(clock, last rank of its owner) + 1`, the clock being the
//!   rank that was served last. A job keeps its rank through retry, delay and recovery.
//! * At most [`Fairness::owner_running_max`] jobs of an owner run at once, and with them no more of each priority stand in
//!   the ordered set; the rest is the owner's backlog, of which the first moves up when a place is free.

pub mod batching;
pub mod memory;
pub mod redis;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::kit::id::{JobId, UserId};

pub use crate::kit::lane::Lane;
pub use crate::state::Error;

/// The priority that is claimed last.
pub const PRIORITY_MIN: u8 = 1;

/// The priority that is claimed first.
pub const PRIORITY_MAX: u8 = 10;

/// Jobs that are handled in one step of the store: longer lists are cut, so that no call holds the store for long.
pub const BATCH_MAX: usize = 1_000;

/// Delayed jobs that one claim moves to those that wait. Were more to become due in one instant, the rest would follow
/// with the next claim: a bound on the time of one claim, at the price of strict order in that case.
pub const PROMOTED_PER_CLAIM_MAX: usize = 1_000;

/// Rounds in which one claim looks for jobs whose owner may run more; each puts the others into their backlogs.
pub const CLAIM_ROUNDS_MAX: usize = 4;

/// A queue handle as it is passed around.
pub type SharedQueue = Arc<dyn JobQueue>;

/// The figures by which the queue is fair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fairness {
    /// Jobs of one owner that run at once in a lane; 0 for no bound.
    pub owner_running_max: u32,
    /// A job that has waited for this long may be taken before others of higher priority.
    pub aged_after: Duration,
    /// One start of so many is for such a job; 0 for none.
    pub aged_share: u32,
}

/// A job as the queue knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The job.
    pub job: JobId,
    /// Whose it is: owners take turns.
    pub owner: UserId,
    /// Which workers may take it.
    pub lane: Lane,
    /// [`PRIORITY_MIN`] (last) to [`PRIORITY_MAX`] (first); values outside count as the nearer of the two.
    pub priority: u8,
    /// Since when it waits, for ageing; to the millisecond.
    pub since: DateTime<Utc>,
    /// Time until it may be claimed; zero for now.
    pub delay: Duration,
}

/// A job that somebody holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Leased {
    /// The job.
    pub job: JobId,
    /// The number of the claim.
    pub fence: i64,
}

/// How a lease stands when its holder asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// Held, and prolonged now.
    Held,
    /// Held, and prolonged, but somebody wants the job to stop.
    Cancelled,
    /// No longer the holder's: somebody else's, or waiting again.
    Lost,
    /// The queue knows nothing of this job: it lost its memory, or the job has left it.
    Unknown,
}

/// How a lease ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The job leaves the queue.
    Done,
    /// The job waits again, at its old place, after the offer's delay. Where the queue has forgotten it meanwhile, it is
    /// offered anew.
    Again(Offer),
}

/// What a claim asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want<'a> {
    /// Most jobs, and no more than [`BATCH_MAX`]; 0 to claim none.
    pub limit: usize,
    /// The lanes to look into.
    pub lanes: &'a [Lane],
    /// The time of the leases.
    pub lease: Duration,
}

/// What an exchange did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exchanged {
    /// For each release whether it was done (false: the lease was no longer the caller's).
    pub released: Vec<bool>,
    /// The claimed jobs in the order in which they should start.
    pub claimed: Vec<Leased>,
}

/// How many jobs stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Depth {
    /// Due and unclaimed.
    pub waiting: u64,
    /// Not yet due.
    pub delayed: u64,
    /// Leased.
    pub active: u64,
}

/// What the queue holds of an owner, over all lanes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Due or not, unclaimed.
    pub waiting: u64,
    /// Leased.
    pub running: u64,
}

/// The contract. Time is the store's own (Redis `TIME`; memory: the `Clock`), in milliseconds. A lease that has run out
/// is still its holder's until the job is requeued, so that a late renewal saves the work. Any number of jobs may be
/// passed at once; each [`BATCH_MAX`] of them are one step.
#[async_trait]
pub trait JobQueue: Send + Sync + std::fmt::Debug + 'static {
    /// Offers jobs; the answer says for each whether it waits now (false: it is leased).
    async fn offer(&self, offers: &[Offer]) -> Result<Vec<bool>, Error>;

    /// Ends leases, then claims. Jobs whose lease has run out are not given away here; see [`JobQueue::expired`].
    async fn exchange(
        &self,
        ended: &[(Leased, Release)],
        want: Want<'_>,
    ) -> Result<Exchanged, Error>;

    /// Waits until a job of these lanes may be due, at most `patience`; may return early for nothing. Cancel-safe. One
    /// caller per process, who has called [`JobQueue::exchange`] before.
    async fn wait(&self, lanes: &[Lane], patience: Duration) -> Result<(), Error>;

    /// Prolongs leases and says how each stands, in the given order.
    async fn renew(&self, held: &[Leased], lease: Duration) -> Result<Vec<Lease>, Error>;

    /// Takes the lease `fence` on a job that the queue does not know (it lost its memory), or that waits because it was
    /// offered again meanwhile; false when somebody else holds it.
    async fn adopt(&self, offer: &Offer, fence: i64, lease: Duration) -> Result<bool, Error>;

    /// At most `limit` (and [`BATCH_MAX`]) jobs whose lease has run out. They stay leased until they are offered by
    /// [`JobQueue::requeue`] or removed: the caller writes the row first.
    async fn expired(&self, limit: usize) -> Result<Vec<JobId>, Error>;

    /// Puts jobs whose lease has run out back at their old place with their old priority; false where the lease
    /// was renewed or the job is gone.
    async fn requeue(&self, jobs: &[JobId]) -> Result<Vec<bool>, Error>;

    /// Asks the holder to stop; its next renewal says [`Lease::Cancelled`]. True when somebody holds the job.
    async fn cancel(&self, job: JobId) -> Result<bool, Error>;

    /// Removes jobs, waiting or leased (a cancelled or dead row).
    async fn remove(&self, jobs: &[JobId]) -> Result<(), Error>;

    /// Which of `jobs` the queue knows, waiting, delayed or leased; for the reconciler.
    async fn known(&self, jobs: &[JobId]) -> Result<Vec<bool>, Error>;

    /// How many jobs stand where.
    async fn depth(&self) -> Result<Depth, Error>;

    /// How many jobs, this one included, will start before or with it as things stand: 1 is next. An owner's backlog
    /// counts behind all that stand in the ordered set. `None` for a job that does not wait.
    async fn position(&self, job: JobId) -> Result<Option<u64>, Error>;

    /// What the queue holds of these owners.
    async fn loads(&self, owners: &[UserId]) -> Result<Vec<Load>, Error>;

    /// Only claims.
    async fn claim(&self, want: Want<'_>) -> Result<Vec<Leased>, Error> {
        Ok(self.exchange(&[], want).await?.claimed)
    }

    /// Only releases.
    async fn release(&self, ended: &[(Leased, Release)]) -> Result<Vec<bool>, Error> {
        let want = Want {
            limit: 0,
            lanes: &[],
            lease: Duration::ZERO,
        };
        Ok(self.exchange(ended, want).await?.released)
    }
}
