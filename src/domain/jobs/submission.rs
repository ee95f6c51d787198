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
            async move {
                let group = Group {
                    waiting: submitter.waiting(&submissions).await,
                    submitter: &submitter,
                };
                together(&group, &submissions).await
            }
        })
    }

    /// How many jobs of those who submit wait, as the queue counts it (give or take what is being submitted); nothing
    /// where nobody bounds it, or the queue does not answer: then nothing is refused.
    async fn waiting(&self, submissions: &[Submission]) -> HashMap<UserId, u64> {
        if self.rules.owner_waiting_max == 0 {
            return HashMap::new();
        }
        let owners: HashSet<UserId> = submissions.iter().map(|each| each.principal.user).collect();
        let owners: Vec<UserId> = owners.into_iter().collect();
        match self.queue.loads(&owners).await {
            Ok(loads) => {
                let waiting = loads.into_iter().map(|load| load.waiting);
                owners.into_iter().zip(waiting).collect()
            }
            Err(error) => {
                tracing::debug!(%error, "nobody counts the waiting jobs: {error}");
                HashMap::new()
            }
        }
    }
}

/// Submissions that share a transaction, and what those who submit have waiting before it.
struct Group<'s> {
    submitter: &'s Submitter,
    waiting: HashMap<UserId, u64>,
}

#[async_trait]
impl Effect for Group<'_> {
    type Item = Submission;
    type Answer = Outcome<Vec<Job>>;

    async fn commit(
        &self,
        submissions: &[Submission],
    ) -> Result<Vec<Result<Outcome<Vec<Job>>, Error>>, Error> {
        let submitter = self.submitter;
        run_tx!(submitter.db, "job.submit", |tx| -> Result<
            Vec<Result<Outcome<Vec<Job>>, Error>>,
            Error,
        > {
            let waiting = self.waiting.clone();
            submitter.submit_many(tx, submissions, waiting).await
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
        mut waiting: HashMap<UserId, u64>,
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
                Ok(None) => self
                    .take_room(submission, &mut waiting)
                    .and_then(|()| self.accept(submission, &images, &mut records))
                    .map(|jobs| {
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

    /// Refuses what would make too many jobs of one owner wait.
    fn take_room(
        &self,
        submission: &Submission,
        waiting: &mut HashMap<UserId, u64>,
    ) -> Result<(), Error> {
        let limit = self.rules.owner_waiting_max;
        let Some(waiting) = waiting.get_mut(&submission.principal.user) else {
            return Ok(());
        };
        let with_these = *waiting + submission.new.len() as u64;
        if with_these > limit {
            let waiting = *waiting;
            return Err(Error::QueueFull { waiting, limit });
        }
        *waiting = with_these;
        Ok(())
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
