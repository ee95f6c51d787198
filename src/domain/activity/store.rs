//! Statements on activities and sums.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

use crate::db::{Error, Tx, execute, on_tx};
use crate::kit::id::{EventId, ProjectId, UserId};

use super::{Activity, Statistics};

const INSERT: &str = "
    insert into activities (id, project_id, user_id, kind, subject, details, happened_at)
    values ($1, $2, $3, $4, $5, $6, $7)
    on conflict (id) do nothing";

pub(super) async fn insert(tx: &mut Tx, activity: &Activity) -> Result<(), Error> {
    execute!(
        tx,
        INSERT,
        activity.id,
        activity.project,
        activity.user,
        &activity.kind,
        activity.subject,
        Json(&activity.details),
        activity.at,
    )?;
    Ok(())
}

/// The project's row first, in every transaction: fewer deadlocks.
const ADD: &str = "
    insert into activity_statistics (scope, id, images, image_bytes, jobs_submitted, jobs_completed, jobs_dead,
        jobs_cancelled, segmentations, objects, updated_at)
    values ('project', $1, $3, $4, $5, $6, $7, $8, $9, $10, $11), ('user', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    on conflict (scope, id) do update set
        images = activity_statistics.images + excluded.images,
        image_bytes = activity_statistics.image_bytes + excluded.image_bytes,
        jobs_submitted = activity_statistics.jobs_submitted + excluded.jobs_submitted,
        jobs_completed = activity_statistics.jobs_completed + excluded.jobs_completed,
        jobs_dead = activity_statistics.jobs_dead + excluded.jobs_dead,
        jobs_cancelled = activity_statistics.jobs_cancelled + excluded.jobs_cancelled,
        segmentations = activity_statistics.segmentations + excluded.segmentations,
        objects = activity_statistics.objects + excluded.objects,
        updated_at = excluded.updated_at";

/// Adds to the sums of a project and of a person.
pub(super) async fn add(
    tx: &mut Tx,
    project: ProjectId,
    user: UserId,
    change: &Statistics,
    at: DateTime<Utc>,
) -> Result<(), Error> {
    execute!(
        tx,
        ADD,
        project,
        user,
        change.images,
        change.image_bytes,
        change.jobs_submitted,
        change.jobs_completed,
        change.jobs_dead,
        change.jobs_cancelled,
        change.segmentations,
        change.objects,
        at,
    )?;
    Ok(())
}

#[derive(FromRow)]
struct ActivityRow {
    id: EventId,
    project_id: ProjectId,
    user_id: UserId,
    kind: String,
    subject: Uuid,
    details: Json<Value>,
    happened_at: DateTime<Utc>,
}

impl From<ActivityRow> for Activity {
    fn from(row: ActivityRow) -> Self {
        Self {
            id: row.id,
            project: row.project_id,
            user: row.user_id,
            kind: row.kind,
            subject: row.subject,
            details: row.details.0,
            at: row.happened_at,
        }
    }
}

const OF_PROJECT: &str = "
    select id, project_id, user_id, kind, subject, details, happened_at
    from activities
    where project_id = $1 and id < $2
    order by id desc
    limit $3";

pub(super) async fn of_project(
    tx: &mut Tx,
    project: ProjectId,
    before: Option<EventId>,
    limit: u32,
) -> Result<Vec<Activity>, Error> {
    let before = before.unwrap_or(EventId::from_uuid(Uuid::max()));
    let rows: Vec<ActivityRow> = on_tx!(tx, |conn| sqlx::query_as(OF_PROJECT)
        .bind(project)
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(conn)
        .await)?;
    Ok(rows.into_iter().map(Activity::from).collect())
}

#[derive(FromRow)]
struct StatisticsRow {
    images: i64,
    image_bytes: i64,
    jobs_submitted: i64,
    jobs_completed: i64,
    jobs_dead: i64,
    jobs_cancelled: i64,
    segmentations: i64,
    objects: i64,
    updated_at: DateTime<Utc>,
}

const STATISTICS: &str = "
    select images, image_bytes, jobs_submitted, jobs_completed, jobs_dead, jobs_cancelled, segmentations, objects,
        updated_at
    from activity_statistics
    where scope = $1 and id = $2";

/// The sums; nothing but zeros where nothing happened.
pub(super) async fn statistics(tx: &mut Tx, scope: &str, id: Uuid) -> Result<Statistics, Error> {
    let row: Option<StatisticsRow> = on_tx!(tx, |conn| sqlx::query_as(STATISTICS)
        .bind(scope)
        .bind(id)
        .fetch_optional(conn)
        .await)?;
    Ok(row.map_or_else(Statistics::default, |row| Statistics {
        images: row.images,
        image_bytes: row.image_bytes,
        jobs_submitted: row.jobs_submitted,
        jobs_completed: row.jobs_completed,
        jobs_dead: row.jobs_dead,
        jobs_cancelled: row.jobs_cancelled,
        segmentations: row.segmentations,
        objects: row.objects,
        updated_at: Some(row.updated_at),
    }))
}

const EXPIRE: &str = "
    delete from activities where id in
        (select id from activities where happened_at < $1 order by happened_at limit $2)";

pub(super) async fn expire(tx: &mut Tx, before: DateTime<Utc>, limit: u32) -> Result<u64, Error> {
    Ok(execute!(tx, EXPIRE, before, i64::from(limit))?)
}
