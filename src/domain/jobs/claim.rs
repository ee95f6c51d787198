//! From waiting to running, and staying there: the queue gives leases on ids, then one statement raises `attempt` of
//! those rows that still wait; only what comes back runs.

use std::time::Duration;

use crate::db::run_tx;
use crate::domain::Error;
use crate::kit::id::JobId;
use crate::kit::metrics;
use crate::queue::{Lease, Release};

use super::{Job, Jobs, store};

/// A job that this process runs now, with the attempt that all its writes must name.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The job as the claim left it.
    pub job: Job,
}

/// How a running job stands after a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It is ours.
    Ours,
    /// It is ours, and somebody wants it to stop.
    Cancelled,
    /// It is somebody else's, or ended: stop, and write nothing.
    Lost,
}

impl Jobs {
    /// Claims at most `limit` due jobs for this process.
    ///
    /// # Errors
    /// When the queue or the database does not answer; leases taken meanwhile run out and are found by the reaper.
    pub async fn claim(&self, limit: usize) -> Result<Vec<Claimed>, Error> {
        let owner = self.instance.unique();
        let leased = self.queue.claim(owner, limit, self.rules.lease).await?;
        if leased.is_empty() {
            return Ok(Vec::new());
        }
        let claimed = match self.start_rows(&leased).await {
            Ok(claimed) => claimed,
            Err(error) => {
                self.hand_leases_back(&leased).await;
                return Err(error);
            }
        };
        self.drop_stale(&leased, &claimed).await;
        for job in &claimed {
            let waited = job.started_at.unwrap_or(job.updated_at) - job.scheduled_at;
            metrics::job_waited(waited.to_std().unwrap_or(Duration::ZERO));
        }
        Ok(claimed.into_iter().map(|job| Claimed { job }).collect())
    }

    async fn start_rows(&self, leased: &[JobId]) -> Result<Vec<Job>, Error> {
        let owner = self.instance.unique();
        run_tx!(self.db, "job.claim", |tx| -> Result<Vec<Job>, Error> {
            let now = self.clock.now();
            let claimed = store::start(tx, leased, owner, now, now + self.rules.row_lease).await?;
            store::open_attempts(tx, &claimed, owner).await?;
            Ok(claimed)
        })
    }

    /// Ids whose rows no longer wait leave the queue.
    async fn drop_stale(&self, leased: &[JobId], claimed: &[Job]) {
        let stale: Vec<JobId> = leased
            .iter()
            .filter(|id| !claimed.iter().any(|job| job.id == **id))
            .copied()
            .collect();
        if stale.is_empty() {
            return;
        }
        metrics::stale_offers(stale.len() as u64);
        if let Err(error) = self.queue.remove(&stale).await {
            tracing::warn!(%error, "stale ids stay in the queue until their leases run out: {error}");
        }
    }

    async fn hand_leases_back(&self, leased: &[JobId]) {
        let releases: Vec<_> = leased
            .iter()
            .map(|id| (*id, Release::Again(Duration::ZERO)))
            .collect();
        if let Err(error) = self.queue.release(self.instance.unique(), &releases).await {
            tracing::warn!(%error, "leases run out by themselves: {error}");
        }
    }

    /// Prolongs the leases on running jobs and says how each stands, in the given order. A queue that does not
    /// answer or has lost its memory leaves the row to decide.
    ///
    /// # Errors
    /// When neither queue nor database answers; the jobs then run on, and their writes are fenced.
    pub async fn renew(&self, running: &[Claimed]) -> Result<Vec<Hold>, Error> {
        let ids: Vec<JobId> = running.iter().map(|claimed| claimed.job.id).collect();
        let owner = self.instance.unique();
        let leases = match self.queue.renew(owner, &ids, self.rules.lease).await {
            Ok(leases) => leases,
            Err(error) => {
                tracing::warn!(%error, "the queue does not renew; the rows decide: {error}");
                vec![Lease::Unknown; ids.len()]
            }
        };
        let mut holds = Vec::with_capacity(running.len());
        for (claimed, lease) in running.iter().zip(leases) {
            holds.push(match lease {
                Lease::Held => Hold::Ours,
                Lease::Cancelled => Hold::Cancelled,
                Lease::Lost => Hold::Lost,
                Lease::Unknown => self.ask_the_row(&claimed.job).await?,
            });
        }
        let lost = holds.iter().filter(|hold| **hold == Hold::Lost).count();
        (0..lost).for_each(|_| metrics::lease_lost());
        Ok(holds)
    }

    /// The queue knows nothing of a job that runs here: where status and attempt still match, the lease is taken again.
    async fn ask_the_row(&self, job: &Job) -> Result<Hold, Error> {
        let row = {
            let mut tx = self.db.reader().await?;
            store::by_id(&mut tx, job.id).await?
        };
        let Some(row) = row.filter(|row| row.attempt == job.attempt && row.status == job.status)
        else {
            return Ok(Hold::Lost);
        };
        if let Err(error) = self
            .queue
            .adopt(self.instance.unique(), job.id, self.rules.lease)
            .await
        {
            tracing::warn!(%error, job = %job.id, "job {} runs without a lease in the queue: {error}", job.id);
        }
        Ok(if row.cancel_requested {
            Hold::Cancelled
        } else {
            Hold::Ours
        })
    }

    /// Prolongs the leases in the rows of everything that this process runs, in one statement.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn renew_rows(&self) -> Result<(), Error> {
        let until = self.clock.now() + self.rules.row_lease;
        run_tx!(self.db, "job.renew_rows", |tx| -> Result<(), Error> {
            Ok(store::prolong(tx, self.instance.unique(), until).await?)
        })
    }
}
