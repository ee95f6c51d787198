//! From waiting to running, and staying there: the queue gives leases on ids, then one statement raises `attempt` of
//! those rows that still wait; only what comes back runs.

use std::time::Duration;

use crate::db::run_tx;
use crate::domain::Error;
use crate::kit::id::JobId;
use crate::kit::lane::Lane;
use crate::kit::metrics;
use crate::queue::{Lease, Leased, Release, Want};

use super::{Job, Jobs, Status, store};

/// A job that this process runs now, with the attempt that all its writes must name.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The job as the claim left it.
    pub job: Job,
    /// The number of its lease in the queue.
    pub fence: i64,
}

impl Claimed {
    /// Its lease in the queue.
    pub const fn lease(&self) -> Leased {
        Leased {
            job: self.job.id,
            fence: self.fence,
        }
    }
}

/// What a claim brought.
#[derive(Debug, Default)]
pub struct Taken {
    /// Jobs that run now.
    pub claimed: Vec<Claimed>,
    /// Jobs whose last run took its process with it. They are leased but have not started: each must run alone here, so
    /// that no other is counted when it kills again. See [`Jobs::start_alone`].
    pub suspects: Vec<Leased>,
}

impl Taken {
    /// How many leases were taken.
    pub const fn len(&self) -> usize {
        self.claimed.len() + self.suspects.len()
    }

    /// Whether nothing was there.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
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
    /// Tells the queue which jobs have ended here, and leases at most `limit` due jobs of these lanes: they are to be
    /// started.
    ///
    /// # Errors
    /// When the queue does not answer.
    pub async fn lease(&self, limit: usize, lanes: &[Lane]) -> Result<Vec<Leased>, Error> {
        let want = Want {
            limit,
            lanes,
            lease: self.rules.lease,
        };
        let ends = self.acks.take();
        match self.queue.exchange(&ends, want).await {
            Ok(exchanged) => Ok(exchanged.claimed),
            Err(error) => {
                self.acks.put_back(ends);
                Err(error.into())
            }
        }
    }

    /// Starts leased jobs.
    ///
    /// # Errors
    /// When the database does not answer; the jobs are given back, or their leases run out and are found by the reaper.
    pub async fn start(&self, leased: &[Leased]) -> Result<Taken, Error> {
        if leased.is_empty() {
            return Ok(Taken::default());
        }
        let claimed = match self.start_rows(leased, false).await {
            Ok(claimed) => claimed,
            Err(error) => {
                self.hand_leases_back(leased).await;
                return Err(error);
            }
        };
        let suspects = self.suspects_of(leased, &claimed).await;
        Ok(Taken { claimed, suspects })
    }

    /// Resolves when a job has ended that the queue has not been told of.
    pub async fn ended(&self) {
        self.acks.added().await;
    }

    /// Starts a suspect; `None` where its row does not wait any more.
    ///
    /// # Errors
    /// When the database does not answer; the lease runs out and is found by the reaper.
    pub async fn start_alone(&self, suspect: Leased) -> Result<Option<Claimed>, Error> {
        let claimed = self.start_rows(&[suspect], true).await?.pop();
        if claimed.is_none() {
            self.drop_stale(&[suspect.job]).await;
        }
        Ok(claimed)
    }

    /// Starts the rows that wait, those of suspects only where they are to run `alone`.
    async fn start_rows(&self, leased: &[Leased], alone: bool) -> Result<Vec<Claimed>, Error> {
        let owner = self.instance.unique();
        let ids: Vec<JobId> = leased.iter().map(|leased| leased.job).collect();
        let started = run_tx!(self.db.one_statement(), "job.claim", |tx| -> Result<
            Vec<Job>,
            Error,
        > {
            let now = self.clock.now();
            let until = now + self.rules.row_lease;
            Ok(store::start(tx, &ids, owner, (now, until), alone).await?)
        })?;
        for job in &started {
            let waited = job.started_at.unwrap_or(job.updated_at) - job.scheduled_at;
            metrics::job_waited(waited.to_std().unwrap_or(Duration::ZERO));
        }
        // Each was asked for by its id.
        let fence = leased.first().map_or(0, |leased| leased.fence);
        let claimed = started.into_iter().map(|job| Claimed { job, fence });
        Ok(claimed.collect())
    }

    /// The leased jobs that were not started because they are suspects. Ids whose rows no longer wait leave the queue.
    async fn suspects_of(&self, leased: &[Leased], claimed: &[Claimed]) -> Vec<Leased> {
        let started = |leased: &&Leased| claimed.iter().any(|claimed| claimed.job.id == leased.job);
        let left: Vec<Leased> = leased
            .iter()
            .filter(|leased| !started(leased))
            .copied()
            .collect();
        if left.is_empty() {
            return left;
        }
        let suspected = match self.suspected(&left).await {
            Ok(suspected) => suspected,
            Err(error) => {
                tracing::warn!(%error, "leases on jobs that did not start run out by themselves: {error}");
                return Vec::new();
            }
        };
        let (suspects, stale): (Vec<Leased>, Vec<Leased>) = left
            .into_iter()
            .partition(|leased| suspected.contains(&leased.job));
        let stale: Vec<JobId> = stale.iter().map(|leased| leased.job).collect();
        self.drop_stale(&stale).await;
        suspects
    }

    async fn suspected(&self, leased: &[Leased]) -> Result<Vec<JobId>, Error> {
        let ids: Vec<JobId> = leased.iter().map(|leased| leased.job).collect();
        let mut tx = self.db.reader().await?;
        let rows = store::by_ids(&mut tx, &ids).await?;
        let suspected = rows.into_iter().filter(|job| job.status == Status::Queued);
        Ok(suspected.map(|job| job.id).collect())
    }

    async fn drop_stale(&self, stale: &[JobId]) {
        if stale.is_empty() {
            return;
        }
        metrics::stale_offers(stale.len() as u64);
        if let Err(error) = self.queue.remove(stale).await {
            tracing::warn!(%error, "stale ids stay in the queue until their leases run out: {error}");
        }
    }

    /// Jobs that were leased but did not start (here, for suspects) wait again at their places.
    pub async fn hand_leases_back(&self, leased: &[Leased]) {
        let ids: Vec<JobId> = leased.iter().map(|leased| leased.job).collect();
        let returned = async {
            let rows = {
                let mut tx = self.db.reader().await?;
                store::by_ids(&mut tx, &ids).await?
            };
            let releases: Vec<(Leased, Release)> = leased
                .iter()
                .filter_map(|leased| {
                    let job = rows.iter().find(|job| job.id == leased.job)?;
                    Some((*leased, Release::Again(job.offer(Duration::ZERO))))
                })
                .collect();
            self.queue.release(&releases).await?;
            Ok::<(), Error>(())
        };
        if let Err(error) = returned.await {
            tracing::warn!(%error, "leases run out by themselves: {error}");
        }
    }

    /// Prolongs the leases of suspects that wait here for their turn; those that were lost are left out of the answer.
    ///
    /// # Errors
    /// When the queue does not answer.
    pub async fn keep_suspects(&self, suspects: &[Leased]) -> Result<Vec<Leased>, Error> {
        let leases = self.queue.renew(suspects, self.rules.lease).await?;
        let kept = suspects.iter().zip(leases);
        let kept = kept.filter(|(_, lease)| matches!(lease, Lease::Held | Lease::Cancelled));
        Ok(kept.map(|(suspect, _)| *suspect).collect())
    }

    /// Prolongs the leases on running jobs and says how each stands, in the given order. A queue that does not
    /// answer or has lost its memory leaves the row to decide.
    ///
    /// # Errors
    /// When neither queue nor database answers; the jobs then run on, and their writes are fenced.
    pub async fn renew(&self, running: &[Claimed]) -> Result<Vec<Hold>, Error> {
        let held: Vec<Leased> = running.iter().map(Claimed::lease).collect();
        let leases = match self.queue.renew(&held, self.rules.lease).await {
            Ok(leases) => leases,
            Err(error) => {
                tracing::warn!(%error, "the queue does not renew; the rows decide: {error}");
                vec![Lease::Unknown; held.len()]
            }
        };
        let mut holds = Vec::with_capacity(running.len());
        for (claimed, lease) in running.iter().zip(leases) {
            holds.push(match lease {
                Lease::Held => Hold::Ours,
                Lease::Cancelled => Hold::Cancelled,
                Lease::Lost => Hold::Lost,
                Lease::Unknown => self.ask_the_row(claimed).await?,
            });
        }
        let lost = holds.iter().filter(|hold| **hold == Hold::Lost).count();
        (0..lost).for_each(|_| metrics::lease_lost());
        Ok(holds)
    }

    /// The queue knows nothing of a job that runs here: where status and attempt still match, the lease is taken again.
    async fn ask_the_row(&self, claimed: &Claimed) -> Result<Hold, Error> {
        let job = &claimed.job;
        let row = {
            let mut tx = self.db.reader().await?;
            store::by_id(&mut tx, job.id).await?
        };
        let Some(row) = row.filter(|row| row.attempt == job.attempt && row.status == job.status)
        else {
            return Ok(Hold::Lost);
        };
        let (offer, lease) = (job.offer(Duration::ZERO), self.rules.lease);
        if let Err(error) = self.queue.adopt(&offer, claimed.fence, lease).await {
            tracing::warn!(%error, job = %job.id, "job {} runs without a lease in the queue: {error}", job.id);
        }
        Ok(if row.cancel_requested {
            Hold::Cancelled
        } else {
            Hold::Ours
        })
    }

    /// Prolongs the leases in the rows of the jobs that run here, in one statement. No other row of this owner: a claim
    /// whose commit was not answered may have left one that nobody runs, and its lease must run out.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn renew_rows(&self, running: &[Claimed]) -> Result<(), Error> {
        let ids: Vec<JobId> = running.iter().map(|claimed| claimed.job.id).collect();
        let until = self.clock.now() + self.rules.row_lease;
        run_tx!(self.db.one_statement(), "job.renew_rows", |tx| -> Result<
            (),
            Error,
        > {
            Ok(store::prolong(tx, self.instance.unique(), &ids, until).await?)
        })
    }
}
