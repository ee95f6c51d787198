//! How a run ends: finished, failed, cancelled or handed back. Each is one transaction guarded by `attempt`; a write
//! that finds another attempt changes nothing, is counted, and the result is dropped.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::db::{Tx, run_tx};
use crate::domain::Error;
use crate::domain::access::{self, Principal};
use crate::domain::segmentations::{self, Stored};
use crate::events::outbox;
use crate::kit::id::JobId;
use crate::kit::metrics;
use crate::queue::Release;
use crate::segment::Segmentation;

use super::claim::Claimed;
use super::{Job, JobError, Jobs, Status, authorised, facts, store};

/// A run that succeeded.
#[derive(Debug)]
pub struct Finished {
    /// The job.
    pub claimed: Claimed,
    /// What was found.
    pub result: Segmentation,
}

/// A run that failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Why.
    pub error: JobError,
    /// Whether another run cannot succeed either (a bad image).
    pub permanent: bool,
}

/// What a guarded write did to the job.
struct Ended {
    status: Status,
    release: Release,
}

impl Jobs {
    /// Stores the result and completes the job.
    ///
    /// # Errors
    /// [`Error::Fenced`] when the job belongs to a later attempt; otherwise the database's or file store's own.
    pub async fn finish(&self, finished: &Finished) -> Result<(), Error> {
        let job = &finished.claimed.job;
        let stored = segmentations::store_result(&self.files, job, &finished.result).await?;
        let written = run_tx!(self.db, "job.finish", |tx| -> Result<(), Error> {
            self.finish_many(tx, &[(job, &finished.result, &stored)])
                .await
        });
        let written = match written {
            Err(Error::Fenced(_)) if self.is_completed(job).await? => Ok(()),
            written => written,
        };
        if matches!(written, Err(Error::Fenced(_))) {
            segmentations::discard(&self.files, &stored).await;
        }
        let now = self.clock.now();
        self.settle(
            job,
            written.map(|()| Ended {
                status: Status::Completed,
                release: Release::Done,
            }),
            now,
        )
        .await
    }

    /// Whether this very attempt completed the job: an earlier try was committed and its answer lost. Its result
    /// stands, and the object in the file store is the committed one's.
    async fn is_completed(&self, job: &Job) -> Result<bool, Error> {
        let mut tx = self.db.reader().await?;
        let row = store::by_id(&mut tx, job.id).await?;
        Ok(row.is_some_and(|row| row.status == Status::Completed && row.attempt == job.attempt))
    }

    /// Writes results, job rows and events inside the caller's transaction.
    async fn finish_many(
        &self,
        tx: &mut Tx,
        finished: &[(&Job, &Segmentation, &Stored)],
    ) -> Result<(), Error> {
        let now = self.clock.now();
        for (job, result, stored) in finished {
            if !store::complete(tx, job.id, job.attempt, &result.segmenter, now).await? {
                return Err(Error::Fenced(job.id));
            }
            store::close_attempt(tx, job.id, job.attempt, "completed", None, now).await?;
            segmentations::insert(tx, &*self.clock, job, result, stored).await?;
        }
        let events: Vec<_> = finished
            .iter()
            .map(|(job, result, _)| facts::completed(&*self.clock, job, result))
            .collect();
        Ok(outbox::stage(tx, &events).await?)
    }

    /// Records a failed run: the job waits for its next one, or is dead.
    ///
    /// # Errors
    /// As [`Jobs::finish`].
    pub async fn fail(&self, claimed: &Claimed, failure: &Failure) -> Result<(), Error> {
        let job = &claimed.job;
        let failures = job.failures + 1;
        let dead = failure.permanent || failures >= job.max_failures;
        let delay = self
            .rules
            .retry
            .wait(u32::try_from(failures).unwrap_or(u32::MAX));
        let now = self.clock.now();
        let due = now + delay;
        let written = run_tx!(self.db, "job.fail", |tx| -> Result<(), Error> {
            let error = Some(&failure.error);
            let status = if dead { Status::Dead } else { Status::Queued };
            if !store::fail(tx, job, status, &failure.error, due, now).await? {
                return Err(Error::Fenced(job.id));
            }
            store::close_attempt(tx, job.id, job.attempt, "failed", error, now).await?;
            let event = facts::failed(&*self.clock, job, &failure.error, dead);
            Ok(outbox::stage(tx, &[event]).await?)
        });
        let ended = match dead {
            true => Ended {
                status: Status::Dead,
                release: Release::Done,
            },
            false => Ended {
                status: Status::Queued,
                release: Release::Again(delay),
            },
        };
        self.settle(job, written.map(|()| ended), now).await
    }

    /// Ends a run that somebody wanted to stop.
    ///
    /// # Errors
    /// As [`Jobs::finish`].
    pub async fn stop(&self, claimed: &Claimed) -> Result<(), Error> {
        let job = &claimed.job;
        let now = self.clock.now();
        let written = run_tx!(self.db, "job.stop", |tx| -> Result<(), Error> {
            if !store::cancel_running(tx, job.id, job.attempt, now).await? {
                return Err(Error::Fenced(job.id));
            }
            store::close_attempt(tx, job.id, job.attempt, "cancelled", None, now).await?;
            Ok(outbox::stage(tx, &[facts::cancelled(&*self.clock, job)]).await?)
        });
        let ended = Ended {
            status: Status::Cancelled,
            release: Release::Done,
        };
        self.settle(job, written.map(|()| ended), now).await
    }

    /// Gives a job back unfinished, because this process stops; neither failures nor crashes rise.
    ///
    /// # Errors
    /// As [`Jobs::finish`].
    pub async fn hand_back(&self, claimed: &Claimed) -> Result<(), Error> {
        let job = &claimed.job;
        let now = self.clock.now();
        let written = run_tx!(self.db, "job.hand_back", |tx| -> Result<(), Error> {
            if !store::hand_back(tx, job.id, job.attempt, now).await? {
                return Err(Error::Fenced(job.id));
            }
            Ok(store::close_attempt(tx, job.id, job.attempt, "handed_back", None, now).await?)
        });
        let ended = Ended {
            status: Status::Queued,
            release: Release::Again(Duration::ZERO),
        };
        self.settle(job, written.map(|()| ended), now).await
    }

    /// The queue's half of an ending, the figures and the message to those who watch.
    async fn settle(
        &self,
        job: &Job,
        written: Result<Ended, Error>,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let took = (now - job.started_at.unwrap_or(now))
            .to_std()
            .unwrap_or(Duration::ZERO);
        let ended = match written {
            Ok(ended) => ended,
            Err(error) => {
                if matches!(error, Error::Fenced(_)) {
                    metrics::fenced_write();
                    metrics::job_finished("fenced", took);
                }
                return Err(error);
            }
        };
        metrics::job_finished(outcome_label(ended.status), took);
        self.bell.ring();
        if let Err(error) = self
            .queue
            .release(self.instance.unique(), &[(job.id, ended.release)])
            .await
        {
            tracing::warn!(%error, job = %job.id, "job {} leaves the queue when its lease runs out: {error}", job.id);
        } else if let Release::Again(delay) = ended.release {
            // A queue that lost its memory while the job ran knows the job, but not its priority.
            self.offer_after(std::slice::from_ref(job), delay).await;
        }
        self.push
            .job_status(job.id, job.attempt, ended.status)
            .await;
        Ok(())
    }

    /// Stops a job: one that waits at once, one that runs at its next renewal. The answer is the job as it stands now; a
    /// job that has ended stays as it is. A queue that cannot be told changes nothing: the row says it.
    ///
    /// # Errors
    /// [`Error::NotFound`] for strangers, [`Error::Forbidden`] for viewers.
    pub async fn cancel(&self, principal: &Principal, id: JobId) -> Result<Job, Error> {
        let now = self.clock.now();
        let job = run_tx!(self.db, "job.cancel", |tx| -> Result<Job, Error> {
            let job = authorised(tx, principal, id, access::Role::Editor).await?;
            if job.status == Status::Queued && store::cancel_queued(tx, id, now).await? {
                outbox::stage(tx, &[facts::cancelled(&*self.clock, &job)]).await?;
            } else if !job.status.is_final() {
                store::request_cancel(tx, id, now).await?;
            }
            store::by_id(tx, id)
                .await?
                .ok_or_else(|| Error::not_found("job", id))
        })?;
        match job.status {
            Status::Cancelled => {
                self.bell.ring();
                if let Err(error) = self.queue.remove(&[id]).await {
                    tracing::warn!(%error, job = %id, "job {id} leaves the queue when its turn comes: {error}");
                }
                self.push
                    .job_status(id, job.attempt, Status::Cancelled)
                    .await;
            }
            Status::Running => {
                if let Err(error) = self.queue.cancel(id).await {
                    tracing::warn!(%error, job = %id, "job {id} runs until the reconciler asks it to stop: {error}");
                }
            }
            Status::Queued | Status::Completed | Status::Dead => {}
        }
        Ok(job)
    }
}

const fn outcome_label(status: Status) -> &'static str {
    match status {
        Status::Queued => "failed",
        Status::Running => "running",
        Status::Completed => "completed",
        Status::Dead => "dead",
        Status::Cancelled => "cancelled",
    }
}
