//! Statements on jobs that are dead, on what brings them back and on what removes them.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use crate::db::{Error, Tx, batch, on_tx};
use crate::domain::jobs::dead::{Attempt, Filter};
use crate::domain::jobs::{Job, JobError, Status};
use crate::kit::id::{JobId, UserId};

use super::row::{JobRow, into_jobs};

/// `$2` to `$5` are the filter, `$6` is the member whose projects are meant; each counts only where it is there.
const DEAD: &str = "
    select *
    from queue_jobs j
    where status = 'dead' and id < $1
        and (cast($2 as uuid) is null or project_id = $2)
        and (cast($3 as text) is null or error_class = $3)
        and (cast($4 as uuid) is null or owner = $4)
        and finished_at < $5
        and (cast($6 as uuid) is null
            or exists (select 1 from project_members m where m.project_id = j.project_id and m.user_id = $6))
    order by id desc
    limit $7";

/// As `DEAD`, the oldest first, and only in projects where the member may change something.
const DEAD_TO_CHANGE: &str = "
    select *
    from queue_jobs j
    where status = 'dead' and id > $1
        and (cast($2 as uuid) is null or project_id = $2)
        and (cast($3 as text) is null or error_class = $3)
        and (cast($4 as uuid) is null or owner = $4)
        and finished_at < $5
        and (cast($6 as uuid) is null
            or exists (select 1 from project_members m
                where m.project_id = j.project_id and m.user_id = $6 and m.role in ('editor', 'owner')))
    order by id
    limit $7";

const ATTEMPTS_OF: &str = "
    select attempt, lease_owner, started_at, ended_at, outcome, error_class, error_text
    from job_attempts
    where job_id = $1
    order by attempt desc
    limit $2";

/// `attempt` stays: it only ever rises, and a late write of an earlier run is refused by it.
const QUEUE_AGAIN_POSTGRES: &str = "
    update queue_jobs
    set status = 'queued', failures = 0, crashes = 0, progress = 0, cancel_requested_at = null,
        error_class = null, error_text = null, scheduled_at = $2, updated_at = $2, finished_at = null
    where id = any (array(select value::uuid from json_array_elements_text($1::json))) and status = $3
    returning *";

const QUEUE_AGAIN_SQLITE: &str = "
    update queue_jobs
    set status = 'queued', failures = 0, crashes = 0, progress = 0, cancel_requested_at = null,
        error_class = null, error_text = null, scheduled_at = $2, updated_at = $2, finished_at = null
    where id in (select unhex(value, '-') from json_each($1)) and status = $3
    returning *";

const REMOVE_DEAD_POSTGRES: &str = "
    delete from queue_jobs
    where id = any (array(select value::uuid from json_array_elements_text($1::json))) and status = 'dead'
    returning id";

const REMOVE_DEAD_SQLITE: &str = "
    delete from queue_jobs
    where id in (select unhex(value, '-') from json_each($1)) and status = 'dead'
    returning id";

/// Which dead jobs are looked for, in whose projects, and how many.
pub(in crate::domain::jobs) struct Search<'f> {
    pub(in crate::domain::jobs) filter: &'f Filter,
    /// Jobs that died before this.
    pub(in crate::domain::jobs) died_before: DateTime<Utc>,
    /// Only projects of this member; all where there is none.
    pub(in crate::domain::jobs) member: Option<UserId>,
    pub(in crate::domain::jobs) limit: u32,
}

#[derive(FromRow)]
struct AttemptRow {
    attempt: i64,
    lease_owner: String,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    outcome: Option<String>,
    error_class: Option<String>,
    error_text: Option<String>,
}

impl From<AttemptRow> for Attempt {
    fn from(row: AttemptRow) -> Self {
        Self {
            attempt: row.attempt,
            worker: row.lease_owner,
            started_at: row.started_at,
            ended_at: row.ended_at,
            outcome: row.outcome,
            error: row
                .error_class
                .zip(row.error_text)
                .map(|(class, text)| JobError { class, text }),
        }
    }
}

/// The newest first, older than `before`.
pub(in crate::domain::jobs) async fn dead(
    tx: &mut Tx,
    search: &Search<'_>,
    before: Option<JobId>,
) -> Result<Vec<Job>, Error> {
    let before = before.unwrap_or(JobId::from_uuid(Uuid::max()));
    searched(tx, DEAD, search, before).await
}

/// The oldest first, of projects where the member is more than a viewer.
pub(in crate::domain::jobs) async fn dead_to_change(
    tx: &mut Tx,
    search: &Search<'_>,
) -> Result<Vec<Job>, Error> {
    let after = JobId::from_uuid(Uuid::nil());
    searched(tx, DEAD_TO_CHANGE, search, after).await
}

async fn searched(
    tx: &mut Tx,
    statement: &'static str,
    search: &Search<'_>,
    from: JobId,
) -> Result<Vec<Job>, Error> {
    let rows: Vec<JobRow> = on_tx!(tx, |conn| sqlx::query_as(statement)
        .bind(from)
        .bind(search.filter.project)
        .bind(search.filter.error_class.as_deref())
        .bind(search.filter.owner)
        .bind(search.died_before)
        .bind(search.member)
        .bind(i64::from(search.limit))
        .fetch_all(conn)
        .await)?;
    into_jobs(rows)
}

/// The newest runs of a job, the last first.
pub(in crate::domain::jobs) async fn attempts_of(
    tx: &mut Tx,
    job: JobId,
    limit: u32,
) -> Result<Vec<Attempt>, Error> {
    let rows: Vec<AttemptRow> = on_tx!(tx, |conn| sqlx::query_as(ATTEMPTS_OF)
        .bind(job)
        .bind(i64::from(limit))
        .fetch_all(conn)
        .await)?;
    Ok(rows.into_iter().map(Attempt::from).collect())
}

/// Those of these jobs that had the status `was`, as they wait now, in the order of their ids.
pub(in crate::domain::jobs) async fn queue_again(
    tx: &mut Tx,
    jobs: &[JobId],
    was: Status,
    now: DateTime<Utc>,
) -> Result<Vec<Job>, Error> {
    let ids = batch::list(jobs)?;
    let statement = tx.dialect().pick(QUEUE_AGAIN_POSTGRES, QUEUE_AGAIN_SQLITE);
    let rows: Vec<JobRow> = on_tx!(tx, |conn| sqlx::query_as(statement)
        .bind(ids)
        .bind(now)
        .bind(was.name())
        .fetch_all(conn)
        .await)?;
    let mut jobs = into_jobs(rows)?;
    jobs.sort_by_key(|job| job.id);
    Ok(jobs)
}

/// Removes those of these jobs that are dead, with their attempts, and says which.
pub(in crate::domain::jobs) async fn remove_dead(
    tx: &mut Tx,
    jobs: &[JobId],
) -> Result<Vec<JobId>, Error> {
    let ids = batch::list(jobs)?;
    let statement = tx.dialect().pick(REMOVE_DEAD_POSTGRES, REMOVE_DEAD_SQLITE);
    Ok(on_tx!(tx, |conn| sqlx::query_scalar(statement)
        .bind(ids)
        .fetch_all(conn)
        .await)?)
}
