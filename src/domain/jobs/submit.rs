//! From a request to waiting jobs: one transaction writes job rows, outbox events and the idempotency record; then the
//! queue is told. A queue that cannot be told loses nothing: the reconciler finds the rows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

use crate::db::{self, Db, Tx, run_tx};
use crate::domain::Error;
use crate::domain::access::{self, Principal};
use crate::domain::idempotency::{Outcome, Records, Request};
use crate::domain::images::{Image, Readable};
use crate::events::outbox;
use crate::kit::batcher::{Batcher, Limits, Stopped};
use crate::kit::clock::SharedClock;
use crate::kit::id::{ImageId, JobId};
use crate::kit::lane::Lane;
use crate::queue::Offer;
use crate::segment::{Parameters, SegmentError};

use super::together::{Effect, together};
use super::{Job, Jobs, Kind, Rules, Status, facts, store};

/// Jobs of one transaction: a whole batch request, or so many single ones.
const LIMITS: Limits = Limits {
    weight_max: 1_000,
    waiting_max: 4_096,
};
/// Longest `task_id`, in characters.
const TASK_ID_CHARS_MAX: usize = 200;

/// A job to submit.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewJob {
    /// The image to work on.
    pub image_id: ImageId,
    /// Page of the image's stack, from 0.
    #[serde(default)]
    pub page: u64,
    /// The caller's own name for the job; unique. The job's id where absent.
    #[serde(default)]
    pub task_id: Option<String>,
    /// 1 (last) to 10 (first); by the caller's role where absent.
    #[serde(default)]
    pub priority: Option<u8>,
    /// Not to be run before this instant.
    #[serde(default)]
    pub scheduled_at: Option<DateTime<Utc>>,
    /// Parameters of the segmenter.
    #[serde(default)]
    pub parameters: Parameters,
}

/// What one caller submits.
#[derive(Debug, Clone)]
pub(super) struct Submission {
    principal: Principal,
    request: Option<Request>,
    new: Vec<NewJob>,
}

/// Writes submissions, many at once.
pub(super) type Submitting = Batcher<Submission, Result<Outcome<Vec<Job>>, Error>>;

/// Where submissions are written.
#[derive(Debug, Clone)]
pub(super) struct Submitter {
    pub(super) db: Db,
    pub(super) clock: SharedClock,
    pub(super) rules: Arc<Rules>,
}

impl Submitter {
    /// From now on calls share transactions.
    pub(super) fn start(self) -> Submitting {
        Batcher::start("job.submit", LIMITS, move |submissions: Vec<Submission>| {
            let submitter = self.clone();
            async move { together(&submitter, &submissions).await }
        })
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

    fn accepted(
        &self,
        principal: &Principal,
        place: usize,
        new: &NewJob,
        image: &Image,
    ) -> Result<Job, Error> {
        if new.page >= image.pages {
            let why = format!("page {} of an image with {} page(s)", new.page, image.pages);
            return Err(Error::invalid(format!("/jobs/{place}/page"), why));
        }
        check_parameters(place, &new.parameters)?;
        let now = self.clock.now();
        let id = JobId::new(&*self.clock);
        let heavy = image.width.saturating_mul(image.height) >= self.rules.large_pixels_min;
        Ok(Job {
            id,
            task_id: checked_task_id(place, new.task_id.as_deref(), id)?,
            kind: Kind::Segment,
            project: image.project,
            image: image.id,
            page: new.page,
            owner: principal.user,
            priority: self.checked_priority(principal, place, new.priority)?,
            parameters: new.parameters.clone(),
            status: Status::Queued,
            attempt: 0,
            failures: 0,
            max_failures: i64::from(self.rules.failures_max),
            crashes: 0,
            progress: 0,
            cancel_requested: false,
            error: None,
            segmenter: None,
            lane: if heavy { Lane::Large } else { Lane::Default },
            created_at: now,
            updated_at: now,
            scheduled_at: self.checked_due(place, new.scheduled_at, now)?,
            started_at: None,
            finished_at: None,
        })
    }

    fn checked_priority(
        &self,
        principal: &Principal,
        place: usize,
        asked: Option<u8>,
    ) -> Result<u8, Error> {
        let field = || format!("/jobs/{place}/priority");
        let ceiling = principal.priority_ceiling();
        match asked {
            Some(priority) if !(1..=10).contains(&priority) => Err(Error::invalid(
                field(),
                format!("1 to 10 is expected, not {priority}"),
            )),
            Some(priority) if priority > ceiling => Err(Error::Forbidden(format!(
                "{}: priority {priority} is above your ceiling of {ceiling}",
                field()
            ))),
            _ if !self.rules.priority_enabled => Ok(1),
            Some(priority) => Ok(priority),
            None => Ok(principal.default_priority()),
        }
    }

    /// The instant from which the job may run: now, unless a later one was asked for.
    fn checked_due(
        &self,
        place: usize,
        asked: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, Error> {
        let due = asked.unwrap_or(now).max(now);
        if due - now <= self.rules.delay_max {
            return Ok(due.trunc_subsecs(6));
        }
        let days = self.rules.delay_max.num_days();
        Err(Error::invalid(
            format!("/jobs/{place}/scheduled_at"),
            format!("a time within the next {days} days is expected, not {due}"),
        ))
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

impl Jobs {
    /// Submits jobs, all or none. With `request`, a repetition answers with the jobs that the first one made.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the job's place and field, [`Error::NotFound`] for images of strangers,
    /// [`Error::Forbidden`] for viewers and for priorities above the principal's, [`Error::Conflict`] for a
    /// `task_id` in use, [`Error::QueueFull`] for an owner of whom too many wait, [`Error::InFlight`] and
    /// [`Error::IdempotencyMismatch`] for `request`.
    pub async fn submit(
        &self,
        principal: &Principal,
        request: Option<&Request>,
        new: &[NewJob],
    ) -> Result<Outcome<Vec<Job>>, Error> {
        self.check_count(new.len())?;
        self.check_load(principal, new.len()).await?;
        let submission = Submission {
            principal: *principal,
            request: request.cloned(),
            new: new.to_vec(),
        };
        let submitted = self.submitting.call(submission, new.len()).await;
        let submitted =
            submitted.unwrap_or_else(|Stopped| Err(Error::Internal(Stopped.to_string())));
        let outcome = match submitted {
            Err(Error::Db(db::Error::AlreadyExists { constraint })) => {
                return Err(already_exists(&constraint));
            }
            outcome => outcome?,
        };
        if !outcome.replayed {
            self.bell.ring();
            self.offer(&outcome.value).await;
        }
        Ok(outcome)
    }

    fn check_count(&self, count: usize) -> Result<(), Error> {
        let most = self.rules.batch_max;
        if (1..=most).contains(&count) {
            return Ok(());
        }
        Err(Error::invalid(
            "/jobs",
            format!("1 to {most} jobs are expected, not {count}"),
        ))
    }

    /// Refuses what an owner submits who has too much waiting, as the queue counts it (give or take what is being
    /// submitted). A queue that does not answer refuses nothing.
    async fn check_load(&self, principal: &Principal, new: usize) -> Result<(), Error> {
        let limit = self.rules.owner_waiting_max;
        if limit == 0 {
            return Ok(());
        }
        let load = match self.queue.loads(&[principal.user]).await {
            Ok(loads) => loads.first().copied().unwrap_or_default(),
            Err(error) => {
                tracing::debug!(%error, "nobody counts the waiting jobs of {}: {error}", principal.user);
                return Ok(());
            }
        };
        if load.waiting + new as u64 <= limit {
            return Ok(());
        }
        Err(Error::QueueFull {
            waiting: load.waiting,
            limit,
        })
    }

    /// Tells the queue of waiting jobs. A failure is logged and left to the reconciler: the rows are there.
    pub(super) async fn offer(&self, jobs: &[Job]) {
        let now = self.clock.now();
        let due = |job: &Job| (job.scheduled_at - now).to_std().unwrap_or(Duration::ZERO);
        let offers: Vec<Offer> = jobs.iter().map(|job| job.offer(due(job))).collect();
        if let Err(error) = self.queue.offer(&offers).await {
            let count = offers.len();
            tracing::warn!(%error, count, "{count} job(s) wait for the reconciler: {error}");
        }
    }
}

async fn jobs_by_id(tx: &mut Tx, ids: &[JobId]) -> Result<HashMap<JobId, Job>, Error> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let jobs = store::by_ids(tx, ids).await?;
    Ok(jobs.into_iter().map(|job| (job.id, job)).collect())
}

fn check_parameters(place: usize, parameters: &Parameters) -> Result<(), Error> {
    parameters.validate().map_err(|error| {
        let field = match &error {
            SegmentError::Parameter { name, .. } => format!("/jobs/{place}/parameters/{name}"),
            _ => format!("/jobs/{place}/parameters"),
        };
        Error::invalid(field, error.to_string())
    })
}

fn checked_task_id(place: usize, asked: Option<&str>, id: JobId) -> Result<String, Error> {
    let Some(asked) = asked else {
        return Ok(id.to_string());
    };
    if asked.is_empty()
        || asked.chars().count() > TASK_ID_CHARS_MAX
        || asked.chars().any(char::is_control)
    {
        let why =
            format!("1 to {TASK_ID_CHARS_MAX} characters are expected, without control characters");
        return Err(Error::invalid(format!("/jobs/{place}/task_id"), why));
    }
    Ok(asked.to_owned())
}

/// A twin that committed first (its key's row), or a `task_id` in use.
fn already_exists(constraint: &str) -> Error {
    if constraint.contains("idempotency") {
        Error::InFlight
    } else {
        Error::Conflict("a job with this task_id exists already".into())
    }
}
