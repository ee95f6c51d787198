//! The job queue on the state store: ids, small headers, priorities, leases and wake-ups. The job itself is a row of
//! the database, which may at any moment offer again what the queue has lost.
//!
//! Words:
//! * *offer*: puts a job where workers find it, due now or later. Offering a job that waits already changes nothing
//!   but its due time and priority; offering one that is leased is refused.
//! * *lease*: a claim by one owner for a time; renewed while the job runs.
//! * *release*: the end of a lease: the job leaves the queue (it is done, dead or cancelled) or waits again.

pub mod memory;
pub mod redis;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::kit::id::JobId;

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

/// A queue handle as it is passed around.
pub type SharedQueue = Arc<dyn JobQueue>;

/// A job as the queue knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The job.
    pub job: JobId,
    /// [`PRIORITY_MIN`] (last) to [`PRIORITY_MAX`] (first); values outside count as the nearer of the two.
    pub priority: u8,
    /// Time until it may be claimed; zero for now.
    pub delay: Duration,
}

/// How a lease stands when its owner asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// Held, and prolonged now.
    Held,
    /// Held, and prolonged, but somebody wants the job to stop.
    Cancelled,
    /// No longer the owner's: somebody else's, or waiting again.
    Lost,
    /// The queue knows nothing of this job: it lost its memory, or the job has left it.
    Unknown,
}

/// How a lease ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The job leaves the queue.
    Done,
    /// The job waits again, at its old place, for this long at least.
    Again(Duration),
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

/// The contract. Time is the store's own (Redis `TIME`, in milliseconds; memory: the `Clock`). A lease that has run out
/// is still its owner's until the job is requeued, so that a late renewal saves the work. Any number of jobs may be
/// passed at once; each [`BATCH_MAX`] of them are one step.
#[async_trait]
pub trait JobQueue: Send + Sync + std::fmt::Debug + 'static {
    /// Offers jobs; the answer says for each whether it waits now (false: it is leased).
    async fn offer(&self, offers: &[Offer]) -> Result<Vec<bool>, Error>;

    /// Leases at most `limit` (and [`BATCH_MAX`]) due jobs to `owner` for `lease`: highest priority first, within one in the order of
    /// the first offer. Jobs whose lease has run out are not given away here; see [`JobQueue::expired`].
    async fn claim(&self, owner: &str, limit: usize, lease: Duration) -> Result<Vec<JobId>, Error>;

    /// Waits until a job may be due, at most `patience`; may return early for nothing. Cancel-safe.
    async fn wait(&self, patience: Duration) -> Result<(), Error>;

    /// Prolongs `owner`'s leases on `jobs` and says how each stands, in the given order.
    async fn renew(
        &self,
        owner: &str,
        jobs: &[JobId],
        lease: Duration,
    ) -> Result<Vec<Lease>, Error>;

    /// Takes the lease of a job that the queue does not know (it lost its memory), or that waits because it was
    /// offered again meanwhile; false when somebody else holds it. A job that was not known has the lowest priority
    /// and the last place from now on, until an offer after its release says otherwise.
    async fn adopt(&self, owner: &str, job: JobId, lease: Duration) -> Result<bool, Error>;

    /// Ends `owner`'s leases; those that it no longer holds are left alone and answered with false.
    async fn release(&self, owner: &str, jobs: &[(JobId, Release)]) -> Result<Vec<bool>, Error>;

    /// At most `limit` (and [`BATCH_MAX`]) jobs whose lease has run out. They stay leased until they are offered by [`JobQueue::requeue`] or
    /// removed: the caller writes the row first.
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
}
