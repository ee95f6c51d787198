//! Statements on activities and sums.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

use crate::db::{Error, Tx, batch, execute, on_tx, write_rows};
use crate::kit::id::{EventId, ProjectId, UserId};

use super::{Activity, Statistics};

const INSERT_POSTGRES: &str = "
    insert into activities (id, project_id, user_id, kind, subject, details, happened_at)
    select *
    from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::uuid[], $6::jsonb[], $7::timestamptz[])
    on conflict (id) do nothing";

const INSERT_SQLITE: &str = "
    insert into activities (id, project_id, user_id, kind, subject, details, happened_at)
    select unhex(value ->> 'id', '-'), unhex(value ->> 'project_id', '-'), unhex(value ->> 'user_id', '-'),
        value ->> 'kind', unhex(value ->> 'subject', '-'), value -> 'details', value ->> 'happened_at'
    from json_each($1)
    where true on conflict (id) do nothing";

#[derive(Serialize)]
struct NewActivity<'a> {
    id: EventId,
    project_id: ProjectId,
    user_id: UserId,
    kind: &'a str,
    subject: Uuid,
    details: &'a Value,
    #[serde(serialize_with = "batch::instant")]
    happened_at: DateTime<Utc>,
}

impl<'a> From<&'a Activity> for NewActivity<'a> {
    fn from(activity: &'a Activity) -> Self {
        Self {
            id: activity.id,
            project_id: activity.project,
            user_id: activity.user,
            kind: &activity.kind,
            subject: activity.subject,
            details: &activity.details,
            happened_at: activity.at,
        }
    }
}

pub(super) async fn insert(tx: &mut Tx, activities: &[Activity]) -> Result<(), Error> {
    let rows: Vec<NewActivity<'_>> = activities.iter().map(NewActivity::from).collect();
    write_rows!(tx, INSERT_POSTGRES, INSERT_SQLITE, &rows, |row| [
        row.id,
        row.project_id,
        row.user_id,
        row.kind,
        row.subject,
        Json(row.details),
        row.happened_at,
    ])?;
    Ok(())
}

/// Whose sums a row holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "scope", content = "id", rename_all = "lowercase")]
pub(super) enum Whose {
    Project(ProjectId),
    User(UserId),
}

macro_rules! add {
    ($rows:literal) => {
        concat!(
            "
    insert into activity_statistics (scope, id, images, image_bytes, jobs_submitted, jobs_completed, jobs_dead,
        jobs_cancelled, segmentations, objects, updated_at)
    ",
            $rows,
            "
    on conflict (scope, id) do update set
        images = activity_statistics.images + excluded.images,
        image_bytes = activity_statistics.image_bytes + excluded.image_bytes,
        jobs_submitted = activity_statistics.jobs_submitted + excluded.jobs_submitted,
        jobs_completed = activity_statistics.jobs_completed + excluded.jobs_completed,
        jobs_dead = activity_statistics.jobs_dead + excluded.jobs_dead,
        jobs_cancelled = activity_statistics.jobs_cancelled + excluded.jobs_cancelled,
        segmentations = activity_statistics.segmentations + excluded.segmentations,
        objects = activity_statistics.objects + excluded.objects,
        updated_at = excluded.updated_at"
        )
    };
}

const ADD_POSTGRES: &str = add!(
    "select *
    from json_to_recordset($1::json) as row
        (scope text, id uuid, images bigint, image_bytes bigint, jobs_submitted bigint, jobs_completed bigint,
         jobs_dead bigint, jobs_cancelled bigint, segmentations bigint, objects bigint, updated_at timestamptz)"
);

const ADD_SQLITE: &str = add!(
    "select value ->> 'scope', unhex(value ->> 'id', '-'), value ->> 'images', value ->> 'image_bytes',
        value ->> 'jobs_submitted', value ->> 'jobs_completed', value ->> 'jobs_dead', value ->> 'jobs_cancelled',
        value ->> 'segmentations', value ->> 'objects', value ->> 'updated_at'
    from json_each($1)
    where true"
);

#[derive(Serialize)]
struct Addition<'c> {
    #[serde(flatten)]
    whose: Whose,
    #[serde(flatten)]
    change: &'c Statistics,
    #[serde(serialize_with = "batch::instant")]
    updated_at: DateTime<Utc>,
}

/// Adds to sums, each with the instant of its last change. In the order of the map, whoever adds: two who add to the same
/// sums wait for each other and not in a circle.
pub(super) async fn add(
    tx: &mut Tx,
    changes: &BTreeMap<Whose, (Statistics, DateTime<Utc>)>,
) -> Result<(), Error> {
    let rows = changes.iter().map(|(whose, (change, at))| Addition {
        whose: *whose,
        change,
        updated_at: *at,
    });
    let rows: Vec<Addition<'_>> = rows.collect();
    let rows = batch::list(&rows)?;
    let statement = tx.dialect().pick(ADD_POSTGRES, ADD_SQLITE);
    execute!(tx, statement, rows)?;
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
