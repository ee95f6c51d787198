//! Jobs: runs of a segmenter over an image page. The row is the truth; the queue only makes it fast. Every operation
//! here is the queue's half and the row's half, and each half survives the loss of the other.
//!
//! `queued → running → completed | dead | cancelled`. A failed run is a row of `job_attempts` and an event; the job
//! rests as `queued` with a later `scheduled_at`, or as `dead`. `attempt` is the fencing token: it rises at every claim,
//! every later write names it, and a write that finds another attempt is refused and counted.

mod accept;
mod acks;
mod again;
mod cancel;
mod claim;
pub mod dead;
mod end;
mod estimate;
mod facts;
mod figures;
mod finish;
mod forget;
mod recover;
mod status;
mod store;
mod submission;
mod submit;
mod together;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::db::Db;
use crate::events::outbox::OutboxBell;
use crate::files::FileStore;
use crate::kit::clock::SharedClock;
use crate::kit::id::{ImageId, JobId, ProjectId, UserId};
use crate::kit::instance::InstanceId;
use crate::kit::lane::Lane;
use crate::kit::retry::Backoff;
use crate::queue::batching::Batching;
use crate::queue::{Offer, SharedQueue};
use crate::segment;
use crate::settings;

use super::Error;
use super::access::{self, Principal};
use super::push::Push;

use acks::Acks;
use finish::{Finisher, Finishing};
use submission::{Submitter, Submitting};

pub use again::Replayed;
pub use claim::{Claimed, Hold, Taken};
pub use end::Failure;
pub use estimate::Outlook;
pub use figures::{Counts, Figures, OfPriority, Waits};
pub use finish::Finished;
pub use status::Status;
pub use submit::NewJob;

pub use crate::queue::{Depth, Leased};

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The caller's own name for it; the id where the caller gave none.
    pub task_id: String,
    /// What it does.
    pub kind: Kind,
    /// Its project.
    pub project: ProjectId,
    /// The image it works on.
    pub image: ImageId,
    /// Page of the image's stack, from 0.
    pub page: u64,
    /// Who asked for it.
    pub owner: UserId,
    /// 1 (last) to 10 (first).
    pub priority: u8,
    /// Parameters of the segmenter.
    pub parameters: segment::Parameters,
    /// Where it stands.
    pub status: Status,
    /// Fencing token: how often it was claimed.
    pub attempt: i64,
    /// Runs that failed.
    pub failures: i64,
    /// Failures after which it is dead.
    pub max_failures: i64,
    /// Runs that took their process with them.
    pub crashes: i64,
    /// 0 to 100.
    pub progress: u8,
    /// Whether somebody wants it to stop.
    pub cancel_requested: bool,
    /// Why the last run failed: a class and a sentence.
    pub error: Option<JobError>,
    /// The segmenter that ran.
    pub segmenter: Option<String>,
    /// Which workers may take it.
    pub lane: Lane,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// When it is due.
    pub scheduled_at: DateTime<Utc>,
    /// When its last run began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended for good.
    pub finished_at: Option<DateTime<Utc>>,
}

impl Job {
    /// The job as the queue knows it, due after `delay`.
    const fn offer(&self, delay: Duration) -> Offer {
        Offer {
            job: self.id,
            owner: self.owner,
            lane: self.lane,
            priority: self.priority,
            since: self.created_at,
            delay,
        }
    }
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// `bad_image`, `timeout`, `crash`, `storage`, `internal`.
    pub class: String,
    /// A sentence for a person, naming the file.
    pub text: String,
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Finds the objects of an image page.
    Segment,
}

impl Kind {
    /// The name in texts and rows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Segment => "segment",
        }
    }
}

/// Everything that happens to jobs. Clones share the handles.
#[derive(Debug, Clone)]
pub struct Jobs {
    db: Db,
    queue: SharedQueue,
    files: FileStore,
    push: Push,
    clock: SharedClock,
    bell: OutboxBell,
    instance: InstanceId,
    rules: Arc<Rules>,
    submitting: Submitting,
    finishing: Finishing,
    acks: Acks,
}

/// The figures of the settings that jobs follow.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Most jobs of one request.
    pub batch_max: usize,
    /// Most jobs of one owner that wait; 0 for no bound.
    pub owner_waiting_max: u64,
    /// Images of so many pixels or more go to the large lane.
    pub large_pixels_min: u64,
    /// Results of more bytes of JSON are compressed.
    pub compress_above: usize,
    /// How far in the future a job may be scheduled.
    pub delay_max: TimeDelta,
    /// A claim that is not renewed within this goes to another worker.
    pub lease: Duration,
    /// The lease in the row, for the time in which the state store is away.
    pub row_lease: Duration,
    /// Failures after which a job is dead.
    pub failures_max: i32,
    /// Crashed runs after which a job is dead.
    pub crashes_max: i32,
    /// Whether priorities are kept apart.
    pub priority_enabled: bool,
    /// Waits between the runs of a failing job.
    pub retry: Backoff,
    /// How long dead and cancelled jobs without a result, and the records of runs, are kept; none: for ever.
    pub keep_ended: Option<Duration>,
}

impl From<&settings::Queue> for Rules {
    fn from(queue: &settings::Queue) -> Self {
        Self {
            batch_max: queue.batch_max,
            owner_waiting_max: queue.owner_waiting_max,
            large_pixels_min: queue.large_pixels_min,
            compress_above: queue.compress_above_bytes,
            delay_max: TimeDelta::seconds(
                i64::try_from(queue.delay_max_s).unwrap_or(i64::MAX / 1_000),
            ),
            lease: Duration::from_millis(queue.lease_ms),
            row_lease: Duration::from_millis(queue.row_lease_ms),
            failures_max: queue.failures_max,
            crashes_max: queue.crashes_max,
            priority_enabled: queue.priority_enabled,
            retry: Backoff {
                base: Duration::from_millis(queue.retry_base_ms),
                cap: Duration::from_millis(queue.retry_cap_ms),
            },
            keep_ended: (queue.keep_ended_s > 0).then(|| Duration::from_secs(queue.keep_ended_s)),
        }
    }
}

/// The handles that [`Jobs`] works with.
#[derive(Debug, Clone)]
pub struct Handles {
    /// The truth.
    pub db: Db,
    /// The queue.
    pub queue: SharedQueue,
    /// Where large results go.
    pub files: FileStore,
    /// Messages to those who watch.
    pub push: Push,
    /// Instants.
    pub clock: SharedClock,
    /// Wakes the relay.
    pub bell: OutboxBell,
    /// Who this process is: the owner of its leases.
    pub instance: InstanceId,
}

impl Jobs {
    /// Jobs on these handles, under these rules.
    pub fn new(handles: Handles, rules: Rules) -> Self {
        let Handles {
            db,
            queue,
            files,
            push,
            clock,
            bell,
            instance,
        } = handles;
        let rules = Arc::new(rules);
        let submitter = Submitter {
            db: db.clone(),
            queue: queue.clone(),
            clock: clock.clone(),
            rules: Arc::clone(&rules),
        };
        let finisher = Finisher {
            db: db.clone(),
            clock: clock.clone(),
        };
        Self {
            db,
            queue: Arc::new(Batching::new(queue)),
            files,
            push,
            clock,
            bell,
            instance,
            rules,
            submitting: submitter.start(),
            finishing: finisher.start(),
            acks: Acks::default(),
        }
    }

    /// A job of a project of the principal's, with the progress that its worker last told.
    ///
    /// # Errors
    /// [`Error::NotFound`] for strangers.
    pub async fn find(&self, principal: &Principal, id: JobId) -> Result<Job, Error> {
        let mut job = {
            let mut tx = self.db.reader().await?;
            authorised(&mut tx, principal, id, access::Role::Viewer).await?
        };
        if job.status == Status::Running {
            job.progress = job
                .progress
                .max(self.push.last_progress(id, job.attempt).await);
        }
        Ok(job)
    }

    /// Jobs of a project, newest first, at most `limit`, older than `before`, with this status where one is given.
    ///
    /// # Errors
    /// [`Error::NotFound`] for strangers.
    pub async fn list(
        &self,
        principal: &Principal,
        project: ProjectId,
        status: Option<Status>,
        before: Option<JobId>,
        limit: u32,
    ) -> Result<Vec<Job>, Error> {
        let mut tx = self.db.reader().await?;
        access::require(&mut tx, principal, project, access::Role::Viewer).await?;
        Ok(store::of_project(&mut tx, project, status, before, limit).await?)
    }

    /// How many jobs stand where in the queue.
    ///
    /// # Errors
    /// When the queue does not answer.
    pub async fn depth(&self) -> Result<Depth, Error> {
        Ok(self.queue.depth().await?)
    }

    /// Waits until a job of these lanes may be due, at most `patience`. Cancel-safe.
    ///
    /// # Errors
    /// When the queue does not answer.
    pub async fn wait(&self, lanes: &[Lane], patience: Duration) -> Result<(), Error> {
        Ok(self.queue.wait(lanes, patience).await?)
    }
}

async fn authorised(
    tx: &mut crate::db::Tx,
    principal: &Principal,
    id: JobId,
    least: access::Role,
) -> Result<Job, Error> {
    let found = store::by_id(tx, id).await?.map(|job| {
        let project = job.project;
        (job, project)
    });
    access::require_through(tx, principal, ("job", id.to_string()), found, least).await
}
