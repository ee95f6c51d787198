//! What happens to jobs, as facts for the event log.

use crate::domain::segmentations::Found;
use crate::events::types::{
    JobCancelled, JobCompleted, JobFailed, JobRef, JobReplayed, JobSubmitted,
};
use crate::events::{Event, Fact};
use crate::kit::clock::Clock;

use super::{Job, JobError, Status};

/// A job waits.
pub(super) fn submitted(clock: &dyn Clock, job: &Job) -> Event {
    let payload = JobSubmitted {
        job: about(job),
        kind: job.kind.name().to_owned(),
        priority: i64::from(job.priority),
    };
    Event::new(Fact::JobSubmitted(payload), clock)
}

/// A job has its result.
pub(super) fn completed(clock: &dyn Clock, job: &Job, found: &Found) -> Event {
    let payload = JobCompleted {
        job: about(job),
        attempt: job.attempt,
        segmentation_id: None,
        object_count: i64::try_from(found.object_count).ok(),
        segmenter: Some(found.segmenter.clone()),
    };
    Event::new(Fact::JobCompleted(payload), clock)
}

/// A run failed; with `dead`, for good.
pub(super) fn failed(clock: &dyn Clock, job: &Job, error: &JobError, dead: bool) -> Event {
    let payload = JobFailed {
        job: about(job),
        attempt: job.attempt,
        error_class: error.class.clone(),
        error_text: error.text.clone(),
    };
    let fact = if dead {
        Fact::JobDead(payload)
    } else {
        Fact::JobFailed(payload)
    };
    Event::new(fact, clock)
}

/// Somebody stopped a job.
pub(super) fn cancelled(clock: &dyn Clock, job: &Job) -> Event {
    let payload = JobCancelled {
        job: about(job),
        attempt: job.attempt,
    };
    Event::new(Fact::JobCancelled(payload), clock)
}

/// A job that had ended as `was` waits again.
pub(super) fn replayed(clock: &dyn Clock, job: &Job, was: Status) -> Event {
    let payload = JobReplayed {
        job: about(job),
        attempt: job.attempt,
        was: was.name().to_owned(),
    };
    Event::new(Fact::JobReplayed(payload), clock)
}

fn about(job: &Job) -> JobRef {
    JobRef {
        job_id: job.id,
        task_id: job.task_id.clone(),
        project_id: job.project,
        image_id: job.image,
        owner: job.owner,
    }
}
