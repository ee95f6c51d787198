//! Stopping a job, from any process.

use crate::db::run_tx;
use crate::domain::Error;
use crate::domain::access::{self, Principal};
use crate::events::outbox;
use crate::kit::id::JobId;

use super::{Job, Jobs, Status, authorised, facts, store};

impl Jobs {
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
