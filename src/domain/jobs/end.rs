//! How a run ends that did not succeed: failed, cancelled or handed back. Each is one transaction guarded by `attempt`; a write
//! that finds another attempt changes nothing, is counted, and the result is dropped.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::db::run_tx;
use crate::domain::Error;
use crate::events::outbox;
use crate::kit::metrics;
use crate::queue::Release;

use super::claim::Claimed;
use super::{JobError, Jobs, Status, facts, store};

/// A run that failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Why.
    pub error: JobError,
    /// Whether another run cannot succeed either (a bad image).
    pub permanent: bool,
}

/// What a guarded write did to the job.
pub(super) struct Ended {
    /// What the metrics call it.
    pub(super) outcome: &'static str,
    pub(super) status: Status,
    pub(super) release: Release,
}

impl Jobs {
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
                outcome: "dead",
                status: Status::Dead,
                release: Release::Done,
            },
            false => Ended {
                outcome: "failed",
                status: Status::Queued,
                release: Release::Again(job.offer(delay)),
            },
        };
        self.settle(claimed, written.map(|()| ended), now).await
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
            outcome: "cancelled",
            status: Status::Cancelled,
            release: Release::Done,
        };
        self.settle(claimed, written.map(|()| ended), now).await
    }

    /// Gives a job back unfinished, because this process stops; neither failures nor crashes rise.
    ///
    /// # Errors
    /// As [`Jobs::finish`].
    pub async fn hand_back(&self, claimed: &Claimed) -> Result<(), Error> {
        self.postpone(claimed, Duration::ZERO).await
    }

    /// Gives a job back unfinished that cannot be worked on before `delay` is over, through no fault of its own (a
    /// service is away); neither failures nor crashes rise.
    ///
    /// # Errors
    /// As [`Jobs::finish`].
    pub async fn postpone(&self, claimed: &Claimed, delay: Duration) -> Result<(), Error> {
        let job = &claimed.job;
        let now = self.clock.now();
        let written = run_tx!(self.db, "job.hand_back", |tx| -> Result<(), Error> {
            if !store::hand_back(tx, job.id, job.attempt, now + delay, now).await? {
                return Err(Error::Fenced(job.id));
            }
            Ok(store::close_attempt(tx, job.id, job.attempt, "handed_back", None, now).await?)
        });
        let ended = Ended {
            outcome: "handed_back",
            status: Status::Queued,
            release: Release::Again(job.offer(delay)),
        };
        self.settle(claimed, written.map(|()| ended), now).await
    }

    /// The queue's half of an ending (told with the next claim), the figures and the message to those who watch.
    pub(super) async fn settle(
        &self,
        claimed: &Claimed,
        written: Result<Ended, Error>,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let job = &claimed.job;
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
        metrics::job_finished(ended.outcome, took);
        self.bell.ring();
        self.acks.add(claimed.lease(), ended.release);
        self.push
            .job_status(job.id, job.attempt, ended.status)
            .await;
        Ok(())
    }
}
