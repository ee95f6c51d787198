//! From a request to waiting jobs: one transaction writes job rows, outbox events and the idempotency record; then the
//! queue is told. A queue that cannot be told loses nothing: the reconciler finds the rows.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::db::{self, Tx, run_tx};
use crate::domain::Error;
use crate::domain::access::{self, Principal};
use crate::domain::idempotency::{Outcome, Request};
use crate::domain::images::{self, Image};
use crate::events::outbox;
use crate::kit::id::{ImageId, JobId};
use crate::queue::Offer;
use crate::segment::{Parameters, SegmentError};

use super::{Job, Jobs, Kind, Status, facts, store};

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
    /// Parameters of the segmenter.
    #[serde(default)]
    pub parameters: Parameters,
}

impl Jobs {
    /// Submits jobs, all or none. With `request`, a repetition answers with the jobs that the first one made.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the job's place and field, [`Error::NotFound`] for images of strangers,
    /// [`Error::Forbidden`] for viewers and for priorities above the principal's, [`Error::Conflict`] for a
    /// `task_id` in use, [`Error::InFlight`] and [`Error::IdempotencyMismatch`] for `request`.
    pub async fn submit(
        &self,
        principal: &Principal,
        request: Option<&Request>,
        new: &[NewJob],
    ) -> Result<Outcome<Vec<Job>>, Error> {
        self.check_count(new.len())?;
        let submitted = run_tx!(self.db, "job.submit", |tx| -> Result<
            Outcome<Vec<Job>>,
            Error,
        > {
            if let Some(request) = request
                && let Some(ids) = request.replay::<Vec<JobId>>(tx).await?
            {
                return Ok(Outcome {
                    value: store::by_ids(tx, &ids).await?,
                    replayed: true,
                });
            }
            let jobs = self.submit_many(tx, principal, new).await?;
            if let Some(request) = request {
                let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
                request.record(tx, &ids, self.clock.now()).await?;
            }
            Ok(Outcome {
                value: jobs,
                replayed: false,
            })
        });
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

    /// Writes job rows and their events inside the caller's transaction.
    async fn submit_many(
        &self,
        tx: &mut Tx,
        principal: &Principal,
        new: &[NewJob],
    ) -> Result<Vec<Job>, Error> {
        let mut images = HashMap::new();
        let mut jobs = Vec::with_capacity(new.len());
        for (place, new) in new.iter().enumerate() {
            if let std::collections::hash_map::Entry::Vacant(entry) = images.entry(new.image_id) {
                let role = access::Role::Editor;
                entry.insert(images::authorised(tx, principal, new.image_id, role).await?);
            }
            jobs.push(self.accepted(principal, place, new, &images[&new.image_id])?);
        }
        store::insert(tx, &jobs).await?;
        let events: Vec<_> = jobs
            .iter()
            .map(|job| facts::submitted(&*self.clock, job))
            .collect();
        outbox::stage(tx, &events).await?;
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
            created_at: now,
            updated_at: now,
            scheduled_at: now,
            started_at: None,
            finished_at: None,
        })
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

    /// Tells the queue of waiting jobs. A failure is logged and left to the reconciler: the rows are there.
    pub(super) async fn offer(&self, jobs: &[Job]) {
        let now = self.clock.now();
        let due = |job: &Job| (job.scheduled_at - now).to_std().unwrap_or(Duration::ZERO);
        self.tell(jobs.iter().map(|job| offer(job, due(job)))).await;
    }

    /// As [`Jobs::offer`], for jobs that are due after `delay`, whatever their rows said when they were read.
    pub(super) async fn offer_after(&self, jobs: &[Job], delay: Duration) {
        self.tell(jobs.iter().map(|job| offer(job, delay))).await;
    }

    async fn tell(&self, offers: impl Iterator<Item = Offer> + Send) {
        let offers: Vec<Offer> = offers.collect();
        if let Err(error) = self.queue.offer(&offers).await {
            let count = offers.len();
            tracing::warn!(%error, count, "{count} job(s) wait for the reconciler: {error}");
        }
    }
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

const fn offer(job: &Job, delay: Duration) -> Offer {
    Offer {
        job: job.id,
        priority: job.priority,
        delay,
    }
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
