//! Jobs that ended without a result run again: dead ones by one or many, cancelled ones by one. One transaction makes
//! them wait, then the queue is offered them. `attempt` is kept, since it only ever rises.

use serde::{Deserialize, Serialize};

use crate::db::{Tx, run_tx};
use crate::domain::Error;
use crate::domain::access::{self, Principal};
use crate::domain::idempotency::{Outcome, Request};
use crate::events::outbox;
use crate::kit::id::JobId;
use crate::kit::metrics;

use super::dead::{Scope, Selection, check_reach, complete};
use super::store::dead::queue_again;
use super::{Job, Jobs, Status, authorised, facts, store};

/// What a replay did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replayed {
    /// The jobs that wait again.
    pub jobs: Vec<Job>,
    /// Whether the limit left some that the filter finds.
    pub more: bool,
}

/// What is kept of a replay for its repetition.
#[derive(Serialize, Deserialize)]
struct Record {
    ids: Vec<JobId>,
    more: bool,
}

impl Jobs {
    /// Makes dead jobs wait again, all in one transaction. With `request`, a repetition answers with the same jobs as
    /// they stand then.
    ///
    /// # Errors
    /// [`Error::NotFound`] for strangers, [`Error::Forbidden`] for viewers, [`Error::Conflict`] naming a job that is
    /// not dead, [`Error::Invalid`] for a selection that cannot be, [`Error::InFlight`] and
    /// [`Error::IdempotencyMismatch`] for `request`.
    pub async fn replay(
        &self,
        scope: &Scope,
        request: Option<&Request>,
        which: &Selection,
    ) -> Result<Outcome<Replayed>, Error> {
        self.check_selection(which)?;
        let outcome = run_tx!(self.db, "job.replay", |tx| -> Result<
            Outcome<Replayed>,
            Error,
        > {
            if let Some(earlier) = earlier(tx, request).await? {
                check_reach(tx, scope, &earlier.value.jobs).await?;
                return Ok(earlier);
            }
            let chosen = self.chosen(tx, scope, which).await?;
            let jobs = self.wait_again(tx, &chosen.ids, Status::Dead).await?;
            let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
            complete(which, &chosen.ids, &ids)?;
            let more = chosen.more;
            self.keep(tx, request, Record { ids, more }).await?;
            Ok(first(jobs, more))
        })?;
        self.offer_again(&outcome).await;
        Ok(outcome)
    }

    /// Makes a dead or cancelled job wait again. With `request`, a repetition answers with the job as it stands then.
    ///
    /// # Errors
    /// [`Error::NotFound`] for strangers, [`Error::Forbidden`] for viewers, [`Error::Conflict`] for a job that has
    /// not ended or has its result, [`Error::InFlight`] and [`Error::IdempotencyMismatch`] for `request`.
    pub async fn retry(
        &self,
        principal: &Principal,
        request: Option<&Request>,
        id: JobId,
    ) -> Result<Outcome<Job>, Error> {
        let mut outcome = run_tx!(self.db, "job.retry", |tx| -> Result<
            Outcome<Replayed>,
            Error,
        > {
            let job = authorised(tx, principal, id, access::Role::Editor).await?;
            if let Some(earlier) = earlier(tx, request).await? {
                return Ok(earlier);
            }
            if let Some(why) = why_not(job.status) {
                return Err(Error::Conflict(format!("job {id} {why}")));
            }
            let jobs = self.wait_again(tx, &[id], job.status).await?;
            if jobs.is_empty() {
                let why = "was changed by somebody else at the same time";
                return Err(Error::Conflict(format!("job {id} {why}")));
            }
            let (ids, more) = (vec![id], false);
            self.keep(tx, request, Record { ids, more }).await?;
            Ok(first(jobs, more))
        })?;
        self.offer_again(&outcome).await;
        let replayed = outcome.replayed;
        // Of a repetition the job may have been removed meanwhile.
        let job = outcome.value.jobs.pop();
        job.map(|value| Outcome { value, replayed })
            .ok_or_else(|| Error::not_found("job", id))
    }

    /// Those of these jobs that had the status `was` wait now, and their events are staged.
    async fn wait_again(&self, tx: &mut Tx, ids: &[JobId], was: Status) -> Result<Vec<Job>, Error> {
        let jobs = queue_again(tx, ids, was, self.clock.now()).await?;
        let events: Vec<_> = jobs
            .iter()
            .map(|job| facts::replayed(&*self.clock, job, was))
            .collect();
        outbox::stage(tx, &events).await?;
        Ok(jobs)
    }

    async fn keep(
        &self,
        tx: &mut Tx,
        request: Option<&Request>,
        record: Record,
    ) -> Result<(), Error> {
        match request {
            Some(request) => request.record(tx, &record, self.clock.now()).await,
            None => Ok(()),
        }
    }

    /// The queue's half, and the message to those who watch.
    async fn offer_again(&self, outcome: &Outcome<Replayed>) {
        let jobs = &outcome.value.jobs;
        if outcome.replayed || jobs.is_empty() {
            return;
        }
        metrics::jobs_replayed(jobs.len() as u64);
        self.bell.ring();
        self.offer(jobs).await;
        // At once: where the state store is away, all of them wait for one time-out.
        let told = jobs
            .iter()
            .map(|job| self.push.job_status(job.id, job.attempt, job.status));
        futures::future::join_all(told).await;
    }
}

const fn first(jobs: Vec<Job>, more: bool) -> Outcome<Replayed> {
    Outcome {
        value: Replayed { jobs, more },
        replayed: false,
    }
}

async fn earlier(
    tx: &mut Tx,
    request: Option<&Request>,
) -> Result<Option<Outcome<Replayed>>, Error> {
    let record: Option<Record> = match request {
        Some(request) => request.replay(tx).await?,
        None => None,
    };
    let Some(Record { ids, more }) = record else {
        return Ok(None);
    };
    let jobs = store::by_ids(tx, &ids).await?;
    Ok(Some(Outcome {
        value: Replayed { jobs, more },
        replayed: true,
    }))
}

/// Why a job in this status cannot run again.
const fn why_not(status: Status) -> Option<&'static str> {
    match status {
        Status::Dead | Status::Cancelled => None,
        Status::Queued => Some("waits for its run already"),
        Status::Running => Some("is running; cancel it first"),
        Status::Completed => Some("has its result; submit a new job to segment the image again"),
    }
}
