//! From a request to waiting jobs: one transaction writes job rows, outbox events and the idempotency record; then the
//! queue is told. A queue that cannot be told loses nothing: the reconciler finds the rows.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::db;
use crate::domain::Error;
use crate::domain::access::Principal;
use crate::domain::idempotency::{Outcome, Request};
use crate::kit::batcher::Stopped;
use crate::kit::id::ImageId;
use crate::queue::Offer;
use crate::segment::Parameters;

use super::submission::Submission;
use super::{Job, Jobs};

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

/// A twin that committed first (its key's row), or a `task_id` in use.
fn already_exists(constraint: &str) -> Error {
    if constraint.contains("idempotency") {
        Error::InFlight
    } else {
        Error::Conflict("a job with this task_id exists already".into())
    }
}
