//! What happened in a project, and how much: a feed and sums, made of the facts of the event log by the group
//! `projector`. They follow what they tell of by the log's delay, usually far below a second.

mod store;

use std::collections::BTreeMap;
use std::ops::Add;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::db::{Db, Tx};
use crate::domain::Error;
use crate::domain::access::{self, Principal, Role};
use crate::events::types::JobRef;
use crate::events::{Event, Fact};
use crate::kit::id::{EventId, ProjectId, UserId};

use store::Whose;

/// Something that happened in a project.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Activity {
    /// The event.
    pub id: EventId,
    /// The project.
    pub project: ProjectId,
    /// Whose job, file or membership it is.
    pub user: UserId,
    /// The type of the event, such as `job.completed`.
    pub kind: String,
    /// The job, file or person that it is about.
    pub subject: Uuid,
    /// More, by type.
    pub details: Value,
    /// When.
    pub at: DateTime<Utc>,
}

/// Sums over a project or over what belongs to a person.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Statistics {
    /// Images uploaded.
    pub images: i64,
    /// Their bytes.
    pub image_bytes: i64,
    /// Jobs submitted.
    pub jobs_submitted: i64,
    /// Jobs with a result.
    pub jobs_completed: i64,
    /// Jobs that failed for good and were not replayed.
    pub jobs_dead: i64,
    /// Jobs that were cancelled and not replayed.
    pub jobs_cancelled: i64,
    /// Segmentations made.
    pub segmentations: i64,
    /// Objects found in them.
    pub objects: i64,
    /// When the last of this changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<DateTime<Utc>>,
}

impl Add for Statistics {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            images: self.images + other.images,
            image_bytes: self.image_bytes + other.image_bytes,
            jobs_submitted: self.jobs_submitted + other.jobs_submitted,
            jobs_completed: self.jobs_completed + other.jobs_completed,
            jobs_dead: self.jobs_dead + other.jobs_dead,
            jobs_cancelled: self.jobs_cancelled + other.jobs_cancelled,
            segmentations: self.segmentations + other.segmentations,
            objects: self.objects + other.objects,
            updated_at: self.updated_at.max(other.updated_at),
        }
    }
}

/// Writes what these events change. Called once per event, in the transaction that says so.
///
/// # Errors
/// Only the database's own.
pub async fn project(tx: &mut Tx, events: &[&Event]) -> Result<(), Error> {
    let activities = events.iter().filter_map(|event| activity_of(event));
    let activities: Vec<Activity> = activities.collect();
    if !activities.is_empty() {
        store::insert(tx, &activities).await?;
    }
    let changes = changes_of(events);
    if !changes.is_empty() {
        store::add(tx, &changes).await?;
    }
    Ok(())
}

/// What happened in a project, newest first, at most `limit`, before `before`.
///
/// # Errors
/// [`Error::NotFound`] for strangers.
pub async fn of_project(
    db: &Db,
    principal: &Principal,
    project: ProjectId,
    before: Option<EventId>,
    limit: u32,
) -> Result<Vec<Activity>, Error> {
    let mut tx = db.reader().await?;
    access::require(&mut tx, principal, project, Role::Viewer).await?;
    Ok(store::of_project(&mut tx, project, before, limit).await?)
}

/// The sums of a project.
///
/// # Errors
/// [`Error::NotFound`] for strangers.
pub async fn project_statistics(
    db: &Db,
    principal: &Principal,
    project: ProjectId,
) -> Result<Statistics, Error> {
    let mut tx = db.reader().await?;
    access::require(&mut tx, principal, project, Role::Viewer).await?;
    Ok(store::statistics(&mut tx, "project", project.as_uuid()).await?)
}

/// The sums of what belongs to whoever asks.
///
/// # Errors
/// Only the database's own.
pub async fn own_statistics(db: &Db, principal: &Principal) -> Result<Statistics, Error> {
    let mut tx = db.reader().await?;
    Ok(store::statistics(&mut tx, "user", principal.user.as_uuid()).await?)
}

/// Removes the oldest activities before `before`, at most `limit`, and says how many.
///
/// # Errors
/// Only the database's own.
pub async fn expire(tx: &mut Tx, before: DateTime<Utc>, limit: u32) -> Result<u64, Error> {
    Ok(store::expire(tx, before, limit).await?)
}

/// The line of the feed; starts of runs are no news to anybody.
fn activity_of(event: &Event) -> Option<Activity> {
    let (project, user, subject, details) = match &event.fact {
        Fact::JobStarted(_) => return None,
        Fact::JobSubmitted(it) => of_job(&it.job, json!({ "kind": it.kind })),
        Fact::JobCompleted(it) => of_job(
            &it.job,
            json!({ "objects": it.object_count, "segmenter": it.segmenter, "attempt": it.attempt }),
        ),
        Fact::JobFailed(it) | Fact::JobDead(it) => of_job(
            &it.job,
            json!({ "error_class": it.error_class, "error": it.error_text, "attempt": it.attempt }),
        ),
        Fact::JobCancelled(it) => of_job(&it.job, json!({})),
        Fact::JobReplayed(it) => of_job(&it.job, json!({ "was": it.was })),
        Fact::FileStored(it) => (
            it.project_id,
            it.uploaded_by,
            it.file_id.as_uuid(),
            json!({ "name": it.name, "bytes": it.size_bytes, "media_type": it.media_type }),
        ),
        Fact::MemberAdded(it) => (
            it.project_id,
            it.user_id,
            it.user_id.as_uuid(),
            json!({ "role": it.role }),
        ),
        Fact::MemberRemoved(it) => (it.project_id, it.user_id, it.user_id.as_uuid(), json!({})),
    };
    Some(Activity {
        id: event.id,
        project,
        user,
        kind: event.fact.kind().to_owned(),
        subject,
        details,
        at: event.at,
    })
}

fn of_job(job: &JobRef, mut details: Value) -> (ProjectId, UserId, Uuid, Value) {
    details["image"] = json!(job.image_id);
    (job.project_id, job.owner, job.job_id.as_uuid(), details)
}

/// What events add to the sums of projects and people.
fn changes_of(events: &[&Event]) -> BTreeMap<Whose, (Statistics, DateTime<Utc>)> {
    let mut changes = BTreeMap::new();
    for event in events {
        let Some((project, user, change)) = change_of(&event.fact) else {
            continue;
        };
        for whose in [Whose::Project(project), Whose::User(user)] {
            let (sum, at) = changes.entry(whose).or_default();
            (*sum, *at) = (*sum + change, event.at);
        }
    }
    changes
}

/// What a fact adds to the sums of its project and of its person.
fn change_of(fact: &Fact) -> Option<(ProjectId, UserId, Statistics)> {
    let mut change = Statistics::default();
    let job = match fact {
        Fact::FileStored(it) => {
            change.images = 1;
            change.image_bytes = it.size_bytes;
            return Some((it.project_id, it.uploaded_by, change));
        }
        Fact::JobSubmitted(it) => {
            change.jobs_submitted = 1;
            &it.job
        }
        Fact::JobCompleted(it) => {
            change.jobs_completed = 1;
            change.segmentations = i64::from(it.object_count.is_some());
            change.objects = it.object_count.unwrap_or_default();
            &it.job
        }
        Fact::JobDead(it) => {
            change.jobs_dead = 1;
            &it.job
        }
        Fact::JobCancelled(it) => {
            change.jobs_cancelled = 1;
            &it.job
        }
        // It has not ended after all.
        Fact::JobReplayed(it) => {
            change.jobs_dead = -i64::from(it.was == "dead");
            change.jobs_cancelled = -i64::from(it.was == "cancelled");
            &it.job
        }
        Fact::JobStarted(_)
        | Fact::JobFailed(_)
        | Fact::MemberAdded(_)
        | Fact::MemberRemoved(_) => return None,
    };
    Some((job.project_id, job.owner, change))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::types::{JobCompleted, JobFailed, JobReplayed, JobStarted};
    use crate::kit::clock::SystemClock;
    use crate::kit::id::{ImageId, JobId};

    fn job() -> JobRef {
        JobRef {
            job_id: JobId::new(&SystemClock),
            task_id: String::new(),
            project_id: ProjectId::new(&SystemClock),
            image_id: ImageId::new(&SystemClock),
            owner: UserId::new(&SystemClock),
        }
    }

    fn completed(object_count: Option<i64>) -> Fact {
        Fact::JobCompleted(JobCompleted {
            job: job(),
            attempt: 1,
            segmentation_id: None,
            object_count,
            segmenter: None,
        })
    }

    #[test]
    fn an_export_is_no_segmentation() {
        let (_, _, change) = change_of(&completed(None)).unwrap();
        assert_eq!((change.jobs_completed, change.segmentations), (1, 0));
        let (_, _, change) = change_of(&completed(Some(4))).unwrap();
        assert_eq!((change.segmentations, change.objects), (1, 4));
    }

    #[test]
    fn a_job_that_is_replayed_is_not_dead_any_more() {
        let died = Fact::JobDead(JobFailed {
            job: job(),
            attempt: 3,
            error_class: "c".to_owned(),
            error_text: "e".to_owned(),
        });
        let replayed = Fact::JobReplayed(JobReplayed {
            job: job(),
            attempt: 3,
            was: "dead".to_owned(),
        });
        let sum: i64 = [died, replayed]
            .iter()
            .filter_map(|fact| Some(change_of(fact)?.2.jobs_dead))
            .sum();
        assert_eq!(sum, 0);
    }

    #[test]
    fn events_of_one_project_are_added_up_and_those_of_others_apart() {
        let (one, other) = (completed(Some(4)), completed(Some(1)));
        let (Fact::JobCompleted(first), Fact::JobCompleted(second)) = (&one, &other) else {
            unreachable!("both are ends of jobs");
        };
        let projects = [first, second].map(|it| Whose::Project(it.job.project_id));
        let events = [&one, &one, &other].map(|fact| Event::new(fact.clone(), &SystemClock));
        let changes = changes_of(&events.iter().collect::<Vec<_>>());
        assert_eq!(changes.len(), 4, "two projects and two people");
        assert_eq!(projects.map(|it| changes[&it].0.objects), [8, 1]);
        assert_eq!(projects.map(|it| changes[&it].0.jobs_completed), [2, 1]);
        assert_eq!(changes[&projects[0]].1, events[1].at);
    }

    #[test]
    fn a_start_is_no_news() {
        let fact = Fact::JobStarted(JobStarted {
            job: job(),
            attempt: 1,
        });
        assert_eq!(activity_of(&Event::new(fact, &SystemClock)), None);
        let done = Event::new(completed(Some(1)), &SystemClock);
        let activity = activity_of(&done).unwrap();
        assert_eq!(
            (activity.id, activity.kind.as_str()),
            (done.id, "job.completed")
        );
        assert_eq!(activity.details["objects"], 1);
    }
}
