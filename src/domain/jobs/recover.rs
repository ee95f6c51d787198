//! What puts right what died: the reaper takes jobs from owners that no longer renew, the reconciler offers again what
//! the queue has lost. The row is written first, guarded by `attempt`; then the queue is told.

use chrono::TimeDelta;

use crate::db::{Tx, run_tx};
use crate::domain::Error;
use crate::events::outbox;
use crate::kit::id::JobId;
use crate::kit::metrics;

use super::{Job, JobError, Jobs, Status, facts, store};

/// Jobs treated by one round of the reaper, and rows of one page of the reconciler.
const ROUND_MAX: usize = 1_000;
/// A row younger than this may be between its commit and its offer.
const SETTLING: TimeDelta = TimeDelta::seconds(2);

impl Jobs {
    /// Takes jobs whose lease ran out in the queue. Says how many run again or are dead.
    ///
    /// # Errors
    /// When queue or database does not answer; the next round finds the same jobs.
    pub async fn reap(&self) -> Result<usize, Error> {
        let expired = self.queue.expired(ROUND_MAX).await?;
        if expired.is_empty() {
            return Ok(0);
        }
        let rows = {
            let mut tx = self.db.reader().await?;
            store::by_ids(&mut tx, &expired).await?
        };
        let mut again = Vec::new();
        let mut gone: Vec<JobId> = expired
            .iter()
            .filter(|id| !rows.iter().any(|job| job.id == **id))
            .copied()
            .collect();
        for job in rows {
            match self.take_from_the_dead(&job).await? {
                Status::Queued => again.push(job),
                _ => gone.push(job.id),
            }
        }
        self.queue.remove(&gone).await?;
        let ids: Vec<JobId> = again.iter().map(|job| job.id).collect();
        self.queue.requeue(&ids).await?;
        let now = self.clock.now();
        let later: Vec<Job> = again
            .iter()
            .filter(|job| job.scheduled_at > now)
            .cloned()
            .collect();
        if !later.is_empty() {
            // Their ends were written, but the queue was not told when they are due.
            self.offer(&later).await;
        }
        metrics::jobs_reaped(again.len() as u64);
        Ok(again.len())
    }

    /// Writes the end of a run whose process died and says where the job stands now.
    async fn take_from_the_dead(&self, job: &Job) -> Result<Status, Error> {
        if job.status != Status::Running {
            return Ok(job.status);
        }
        let crashes = job.crashes + 1;
        let status = match (
            job.cancel_requested,
            crashes >= i64::from(self.rules.crashes_max),
        ) {
            (true, _) => Status::Cancelled,
            (false, true) => Status::Dead,
            (false, false) => Status::Queued,
        };
        let taken = run_tx!(self.db, "job.reap", |tx| -> Result<bool, Error> {
            self.end_crashed_run(tx, job, status).await
        })?;
        if !taken {
            metrics::fenced_write();
            let mut tx = self.db.reader().await?;
            return Ok(store::by_id(&mut tx, job.id)
                .await?
                .map_or(Status::Dead, |job| job.status));
        }
        tracing::warn!(job = %job.id, crashes, "job {} lost its worker; it is {} now", job.id, status.name());
        self.bell.ring();
        self.push.job_status(job.id, job.attempt, status).await;
        Ok(status)
    }

    async fn end_crashed_run(&self, tx: &mut Tx, job: &Job, status: Status) -> Result<bool, Error> {
        let now = self.clock.now();
        let error = JobError {
            class: "crash".into(),
            text: "the worker stopped renewing its lease".into(),
        };
        if !store::crash(tx, job, status, &error, now).await? {
            return Ok(false);
        }
        store::close_attempt(tx, job.id, job.attempt, "crashed", Some(&error), now).await?;
        let event = match status {
            Status::Cancelled => facts::cancelled(&*self.clock, job),
            status => facts::failed(&*self.clock, job, &error, status == Status::Dead),
        };
        outbox::stage(tx, &[event]).await?;
        Ok(true)
    }

    /// Offers every waiting row that the queue does not know, takes running rows whose row lease ran out (the queue has
    /// lost its memory and their owner is dead), and tells the queue again who shall stop. Says how many were offered.
    ///
    /// # Errors
    /// When queue or database does not answer; the next round goes on.
    pub async fn reconcile(&self) -> Result<usize, Error> {
        self.take_forgotten().await?;
        self.ask_again_to_stop().await?;
        let before = self.clock.now() - SETTLING;
        let mut after = None;
        let mut offered = 0;
        loop {
            let page = {
                let mut tx = self.db.reader().await?;
                store::queued_page(&mut tx, before, after, ROUND_MAX).await?
            };
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            offered += self.offer_unknown(page).await?;
        }
        metrics::jobs_reoffered(offered as u64);
        Ok(offered)
    }

    async fn offer_unknown(&self, page: Vec<Job>) -> Result<usize, Error> {
        let ids: Vec<JobId> = page.iter().map(|job| job.id).collect();
        let known = self.queue.known(&ids).await?;
        let lost: Vec<Job> = page
            .into_iter()
            .zip(known)
            .filter(|(_, known)| !known)
            .map(|(job, _)| job)
            .collect();
        if !lost.is_empty() {
            self.offer(&lost).await;
        }
        Ok(lost.len())
    }

    async fn take_forgotten(&self) -> Result<(), Error> {
        let forgotten = {
            let mut tx = self.db.reader().await?;
            store::running_past_row_lease(&mut tx, self.clock.now(), ROUND_MAX).await?
        };
        for job in forgotten {
            if self.take_from_the_dead(&job).await? == Status::Queued {
                self.queue.remove(&[job.id]).await?;
                self.offer(&[job]).await;
            }
        }
        Ok(())
    }

    /// The queue may have been away when somebody cancelled a running job.
    async fn ask_again_to_stop(&self) -> Result<(), Error> {
        let cancelled = {
            let mut tx = self.db.reader().await?;
            store::running_to_stop(&mut tx, ROUND_MAX).await?
        };
        for id in cancelled {
            self.queue.cancel(id).await?;
        }
        Ok(())
    }
}
