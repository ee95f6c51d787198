//! Submissions of callers that come at the same time, in one transaction of a fixed number of statements.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;

use crate::db::{Db, Tx, run_tx};
use crate::domain::Error;
use crate::domain::access::{self, Principal};
use crate::domain::idempotency::{Outcome, Records, Request};
use crate::domain::images::Readable;
use crate::events::outbox;
use crate::kit::batcher::{Batcher, Limits};
use crate::kit::clock::SharedClock;
use crate::kit::id::{ImageId, JobId, UserId};
use crate::queue::SharedQueue;

use super::submit::NewJob;
use super::together::{Effect, together};
use super::{Job, Rules, facts, store};

/// Jobs of one transaction: a whole batch request, or so many single ones.
const LIMITS: Limits = Limits {
    weight_max: 1_000,
    waiting_max: 4_096,
};

/// What one caller submits.
#[derive(Debug, Clone)]
pub(super) struct Submission {
    pub(super) principal: Principal,
    pub(super) request: Option<Request>,
    pub(super) new: Vec<NewJob>,
}

/// Writes submissions, many at once.
pub(super) type Submitting = Batcher<Submission, Result<Outcome<Vec<Job>>, Error>>;

/// Where submissions are written.
#[derive(Debug, Clone)]
pub(super) struct Submitter {
    pub(super) db: Db,
    pub(super) queue: SharedQueue,
    pub(super) clock: SharedClock,
    pub(super) rules: Arc<Rules>,
}

impl Submitter {
    /// From now on calls share transactions.
    pub(super) fn start(self) -> Submitting {
        Batcher::start("job.submit", LIMITS, move |submissions: Vec<Submission>| {
            let submitter = self.clone();
            async move { submitter.answer(submissions).await }
        })
    }

    /// An answer to each: a refusal, or what one transaction did for all others.
    async fn answer(&self, submissions: Vec<Submission>) -> Vec<Result<Outcome<Vec<Job>>, Error>> {
        let refusals = self.refusals(&submissions).await;
        let (accepted, refusals): (Vec<_>, Vec<_>) = submissions
            .into_iter()
            .zip(refusals)
            .map(|(submission, refusal)| match refusal {
                None => (Some(submission), None),
                Some(refusal) => (None, Some(refusal)),
            })
            .unzip();
        let accepted: Vec<Submission> = accepted.into_iter().flatten().collect();
        let mut answers = match accepted.is_empty() {
            true => Vec::new(),
            false => together(self, &accepted).await,
        }
        .into_iter();
        let each = refusals.into_iter().map(|refusal| match refusal {
            Some(refusal) => Err(refusal),
            None => answers
                .next()
                .unwrap_or_else(|| Err(Error::Internal("a submission without an answer".into()))),
        });
        each.collect()
    }

    /// Refusals of those who have too much waiting, as the queue counts it (give or take what is being submitted). A
    /// queue that does not answer refuses nothing.
    async fn refusals(&self, submissions: &[Submission]) -> Vec<Option<Error>> {
        let limit = self.rules.owner_waiting_max;
        let owners: HashSet<UserId> = submissions.iter().map(|each| each.principal.user).collect();
        let owners: Vec<UserId> = owners.into_iter().collect();
        let loads = match limit {
            0 => Ok(Vec::new()),
            _ => self.queue.loads(&owners).await,
        };
        let loads = loads.unwrap_or_else(|error| {
            tracing::debug!(%error, "nobody counts the waiting jobs: {error}");
            Vec::new()
        });
        let mut waiting: HashMap<UserId, u64> = owners
            .into_iter()
            .zip(loads.into_iter().map(|load| load.waiting))
            .collect();
        let judge = |submission: &Submission| {
            let waiting = waiting.get_mut(&submission.principal.user)?;
            let wanted = *waiting + submission.new.len() as u64;
            if wanted > limit {
                let waiting = *waiting;
                return Some(Error::QueueFull { waiting, limit });
            }
            *waiting = wanted;
            None
        };
        submissions.iter().map(judge).collect()
    }
}

#[async_trait]
impl Effect for Submitter {
    type Item = Submission;
    type Answer = Outcome<Vec<Job>>;

    async fn commit(
        &self,
        submissions: &[Submission],
    ) -> Result<Vec<Result<Outcome<Vec<Job>>, Error>>, Error> {
        run_tx!(self.db, "job.submit", |tx| -> Result<
            Vec<Result<Outcome<Vec<Job>>, Error>>,
            Error,
        > {
            self.submit_many(tx, submissions).await
        })
    }
}

impl Submitter {
    /// Writes job rows, their events and the records of the requests inside the caller's transaction: a fixed number of
    /// statements, however many submissions there are.
    async fn submit_many(
        &self,
        tx: &mut Tx,
        submissions: &[Submission],
    ) -> Result<Vec<Result<Outcome<Vec<Job>>, Error>>, Error> {
        let requests = submissions.iter().filter_map(|each| each.request.as_ref());
        let mut records = Records::find(tx, requests).await?;
        let replays: Vec<Result<Option<Vec<JobId>>, Error>> = submissions
            .iter()
            .map(|each| each.replay(&mut records))
            .collect();
        let replayed = replays.iter().flatten().flatten().flatten();
        let replayed = jobs_by_id(tx, &replayed.copied().collect::<Vec<_>>()).await?;
        let asked = submissions.iter().flat_map(Submission::images);
        let images = Readable::read(tx, asked).await?;

        let (mut fresh, mut outcomes) = (Vec::new(), Vec::with_capacity(submissions.len()));
        for (submission, replay) in submissions.iter().zip(replays) {
            outcomes.push(match replay {
                Err(error) => Err(error),
                Ok(Some(ids)) => Ok(Outcome {
                    value: ids
                        .iter()
                        .filter_map(|id| replayed.get(id).cloned())
                        .collect(),
                    replayed: true,
                }),
                Ok(None) => self.accept(submission, &images, &mut records).map(|jobs| {
                    fresh.extend(jobs.iter().cloned());
                    Outcome {
                        value: jobs,
                        replayed: false,
                    }
                }),
            });
        }
        if !fresh.is_empty() {
            store::insert(tx, &fresh).await?;
            let events = fresh.iter().map(|job| facts::submitted(&*self.clock, job));
            outbox::stage(tx, &events.collect::<Vec<_>>()).await?;
        }
        records.write(tx).await?;
        Ok(outcomes)
    }

    /// The jobs of a submission, and the record of its request.
    fn accept(
        &self,
        submission: &Submission,
        images: &Readable,
        records: &mut Records,
    ) -> Result<Vec<Job>, Error> {
        let principal = &submission.principal;
        let new = submission.new.iter().enumerate();
        let jobs = new.map(|(place, new)| {
            let image = images.of(principal, new.image_id, access::Role::Editor)?;
            self.accepted(principal, place, new, image)
        });
        let jobs: Vec<Job> = jobs.collect::<Result<_, Error>>()?;
        if let Some(request) = &submission.request {
            let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
            records.record(request, &ids, self.clock.now())?;
        }
        Ok(jobs)
    }
}

impl Submission {
    fn replay(&self, records: &mut Records) -> Result<Option<Vec<JobId>>, Error> {
        match &self.request {
            Some(request) => records.replay(request),
            None => Ok(None),
        }
    }

    fn images(&self) -> impl Iterator<Item = (Principal, ImageId)> + Clone {
        self.new.iter().map(|new| (self.principal, new.image_id))
    }
}

async fn jobs_by_id(tx: &mut Tx, ids: &[JobId]) -> Result<HashMap<JobId, Job>, Error> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let jobs = store::by_ids(tx, ids).await?;
    Ok(jobs.into_iter().map(|job| (job.id, job)).collect())
}
