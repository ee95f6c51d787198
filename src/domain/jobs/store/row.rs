//! Rows of `queue_jobs` and `job_attempts`, as they are written and read.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;
use sqlx::types::Json;

use crate::db::{Error, batch};
use crate::domain::jobs::{Job, JobError, Kind};
use crate::domain::segmentations::Found;
use crate::kit::id::{ImageId, JobId, ProjectId, UserId};
use crate::segment::Parameters;

#[derive(Serialize)]
pub(super) struct NewRow<'j> {
    pub(super) id: JobId,
    pub(super) task_id: &'j str,
    pub(super) kind: &'static str,
    pub(super) project_id: ProjectId,
    pub(super) image_id: ImageId,
    pub(super) page: i64,
    pub(super) owner: UserId,
    pub(super) priority: i64,
    pub(super) parameters: &'j Parameters,
    pub(super) max_failures: i64,
    pub(super) lane: &'static str,
    #[serde(serialize_with = "batch::instant")]
    pub(super) created_at: DateTime<Utc>,
    #[serde(serialize_with = "batch::instant")]
    pub(super) scheduled_at: DateTime<Utc>,
}

impl<'j> From<&'j Job> for NewRow<'j> {
    fn from(job: &'j Job) -> Self {
        Self {
            id: job.id,
            task_id: &job.task_id,
            kind: job.kind.name(),
            project_id: job.project,
            image_id: job.image,
            page: job.page.cast_signed(),
            owner: job.owner,
            priority: job.priority.into(),
            parameters: &job.parameters,
            max_failures: job.max_failures,
            lane: job.lane.name(),
            created_at: job.created_at,
            scheduled_at: job.scheduled_at,
        }
    }
}

#[derive(Serialize)]
pub(super) struct EndedRow<'j> {
    id: JobId,
    attempt: i64,
    segmenter: &'j str,
}

impl<'j> From<&'j (Job, Found)> for EndedRow<'j> {
    fn from((job, found): &'j (Job, Found)) -> Self {
        Self {
            id: job.id,
            attempt: job.attempt,
            segmenter: &found.segmenter,
        }
    }
}

#[derive(Serialize)]
pub(super) struct NewAttempt {
    id: JobId,
    attempt: i64,
    #[serde(serialize_with = "batch::instant")]
    started_at: DateTime<Utc>,
}

impl From<&Job> for NewAttempt {
    fn from(job: &Job) -> Self {
        Self {
            id: job.id,
            attempt: job.attempt,
            started_at: job.started_at.unwrap_or(job.updated_at),
        }
    }
}

#[derive(FromRow)]
pub(super) struct JobRow {
    id: JobId,
    task_id: String,
    kind: String,
    project_id: ProjectId,
    image_id: ImageId,
    page: i64,
    owner: UserId,
    priority: i64,
    parameters: Json<Parameters>,
    status: String,
    attempt: i64,
    failures: i64,
    max_failures: i64,
    crashes: i64,
    progress: i64,
    cancel_requested_at: Option<DateTime<Utc>>,
    error_class: Option<String>,
    error_text: Option<String>,
    segmenter: Option<String>,
    lane: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    scheduled_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

impl JobRow {
    pub(super) fn into_job(self) -> Result<Job, Error> {
        let inconsistent = |what: String| Error::Inconsistent {
            table: "queue_jobs",
            id: self.id.to_string(),
            what,
        };
        if self.kind != Kind::Segment.name() {
            return Err(inconsistent(format!(
                "kind {:?} is not of this version",
                self.kind
            )));
        }
        Ok(Job {
            status: self.status.parse().map_err(inconsistent)?,
            lane: self.lane.parse().map_err(inconsistent)?,
            id: self.id,
            task_id: self.task_id,
            kind: Kind::Segment,
            project: self.project_id,
            image: self.image_id,
            page: self.page.unsigned_abs(),
            owner: self.owner,
            priority: u8::try_from(self.priority).unwrap_or(1),
            parameters: self.parameters.0,
            attempt: self.attempt,
            failures: self.failures,
            max_failures: self.max_failures,
            crashes: self.crashes,
            progress: u8::try_from(self.progress).unwrap_or(0),
            cancel_requested: self.cancel_requested_at.is_some(),
            error: self
                .error_class
                .zip(self.error_text)
                .map(|(class, text)| JobError { class, text }),
            segmenter: self.segmenter,
            created_at: self.created_at,
            updated_at: self.updated_at,
            scheduled_at: self.scheduled_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
        })
    }
}

pub(super) fn into_jobs(rows: Vec<JobRow>) -> Result<Vec<Job>, Error> {
    rows.into_iter().map(JobRow::into_job).collect()
}
