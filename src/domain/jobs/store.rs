//! Statements on `queue_jobs` and `job_attempts`. Every write to a running job names its attempt.

pub(super) mod dead;
pub(super) mod figures;
pub(super) mod forget;
mod row;

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use crate::db::{Dialect, Error, Tx, batch, execute, on_tx, write_rows};
use crate::domain::segmentations::Found;
use crate::kit::id::{JobId, ProjectId};

use super::{Job, JobError, Status};
use row::{EndedRow, JobRow, NewAttempt, NewRow, into_jobs};

const INSERT_POSTGRES: &str = "
    insert into queue_jobs
        (id, task_id, kind, project_id, image_id, page, owner, priority, parameters, status, attempt,
         failures, max_failures, crashes, progress, lane, created_at, updated_at, scheduled_at)
    select id, task_id, kind, project_id, image_id, page, owner, priority, parameters, 'queued', 0,
        0, max_failures, 0, 0, lane, created_at, created_at, scheduled_at
    from unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::uuid[], $6::bigint[], $7::uuid[], $8::bigint[],
        $9::jsonb[], $10::bigint[], $11::text[], $12::timestamptz[], $13::timestamptz[]) as row
        (id, task_id, kind, project_id, image_id, page, owner, priority, parameters, max_failures, lane, created_at,
         scheduled_at)";

const INSERT_SQLITE: &str = "
    insert into queue_jobs
        (id, task_id, kind, project_id, image_id, page, owner, priority, parameters, status, attempt,
         failures, max_failures, crashes, progress, lane, created_at, updated_at, scheduled_at)
    select unhex(value ->> 'id', '-'), value ->> 'task_id', value ->> 'kind',
        unhex(value ->> 'project_id', '-'), unhex(value ->> 'image_id', '-'), value ->> 'page',
        unhex(value ->> 'owner', '-'), value ->> 'priority', value -> 'parameters', 'queued', 0,
        0, value ->> 'max_failures', 0, 0, value ->> 'lane',
        value ->> 'created_at', value ->> 'created_at', value ->> 'scheduled_at'
    from json_each($1)";

const BY_ID: &str = "
    select *
    from queue_jobs
    where id = $1";

const BY_IDS_POSTGRES: &str = "
    select *
    from queue_jobs
    where id = any (array(select value::uuid from json_array_elements_text($1::json)))
    order by id";

const BY_IDS_SQLITE: &str = "
    select *
    from queue_jobs
    where id in (select unhex(value, '-') from json_each($1))
    order by id";

const OF_PROJECT: &str = "
    select *
    from queue_jobs
    where project_id = $1 and id < $2 and (cast($3 as text) is null or status = $3)
    order by id desc
    limit $4";

const QUEUED_PAGE: &str = "
    select *
    from queue_jobs
    where status = 'queued' and updated_at < $1 and id > $2
    order by id
    limit $3";

const RUNNING_PAST_ROW_LEASE: &str = "
    select *
    from queue_jobs
    where status = 'running' and lease_expires_at < $1
    order by lease_expires_at
    limit $2";

const RUNNING_TO_STOP: &str = "
    select id
    from queue_jobs
    where status = 'running' and cancel_requested_at is not null
    order by lease_expires_at
    limit $1";

// With the attempts that it opens.
const START_POSTGRES: &str = "
    with started as (
        update queue_jobs
        set status = 'running', attempt = attempt + 1, progress = 0, lease_owner = $2, lease_expires_at = $4,
            started_at = $3, updated_at = $3, error_class = null, error_text = null
        where id = any (array(select value::uuid from json_array_elements_text($1::json)))
            and status || '' = 'queued' and (crashes = 0 or $5)
        returning *
    ), opened as (
        insert into job_attempts (job_id, attempt, lease_owner, started_at)
        select id, attempt, lease_owner, started_at
        from started
    )
    select *
    from started";

const START_SQLITE: &str = "
    update queue_jobs
    set status = 'running', attempt = attempt + 1, progress = 0, lease_owner = $2, lease_expires_at = $4,
        started_at = $3, updated_at = $3, error_class = null, error_text = null
    where id in (select unhex(value, '-') from json_each($1)) and status = 'queued' and (crashes = 0 or $5)
    returning *";

const OPEN_ATTEMPTS_SQLITE: &str = "
    insert into job_attempts (job_id, attempt, lease_owner, started_at)
    select unhex(value ->> 'id', '-'), value ->> 'attempt', $2, value ->> 'started_at'
    from json_each($1)";

const CLOSE_ATTEMPT: &str = "
    update job_attempts
    set ended_at = $3, outcome = $4, error_class = $5, error_text = $6
    where job_id = $1 and attempt = $2";

const PROLONG_POSTGRES: &str = "
    update queue_jobs
    set lease_expires_at = $2
    where lease_owner = $1 and status = 'running'
        and id = any (array(select value::uuid from json_array_elements_text($3::json)))";

const PROLONG_SQLITE: &str = "
    update queue_jobs
    set lease_expires_at = $2
    where lease_owner = $1 and status = 'running' and id in (select unhex(value, '-') from json_each($3))";

// With the attempts that it closes. The jobs are found by their ids alone too: the server takes a list for a hundred
// entries, and would rather read a table of a few thousand rows than look for so many. What it completed it takes for one,
// and looks each attempt up.
const COMPLETE_POSTGRES: &str = "
    with completed as (
        update queue_jobs
        set status = 'completed', progress = 100, segmenter = ended.segmenter, updated_at = $2, finished_at = $2,
            lease_owner = null, lease_expires_at = null, error_class = null, error_text = null
        from json_to_recordset($1::json) as ended (id uuid, attempt bigint, segmenter text)
        where queue_jobs.id = ended.id and queue_jobs.attempt = ended.attempt and queue_jobs.status || '' = 'running'
            and queue_jobs.id = any (array(select id from json_to_recordset($1::json) as ids (id uuid)))
        returning queue_jobs.id, queue_jobs.attempt
    ), closed as (
        update job_attempts
        set ended_at = $2, outcome = 'completed'
        from completed
        where job_attempts.job_id = completed.id and job_attempts.attempt = completed.attempt
    )
    select id
    from completed";

const COMPLETE_SQLITE: &str = "
    update queue_jobs
    set status = 'completed', progress = 100, segmenter = ended.segmenter, updated_at = $2, finished_at = $2,
        lease_owner = null, lease_expires_at = null, error_class = null, error_text = null
    from (
        select unhex(value ->> 'id', '-') as id, value ->> 'attempt' as attempt, value ->> 'segmenter' as segmenter
        from json_each($1)
    ) as ended
    where queue_jobs.id = ended.id and queue_jobs.attempt = ended.attempt and queue_jobs.status = 'running'
    returning id";

const CLOSE_COMPLETED_SQLITE: &str = "
    update job_attempts
    set ended_at = $2, outcome = 'completed'
    from (select unhex(value ->> 'id', '-') as id, value ->> 'attempt' as attempt from json_each($1)) as ended
    where job_attempts.job_id = ended.id and job_attempts.attempt = ended.attempt";

const FAIL: &str = "
    update queue_jobs
    set status = $3, failures = failures + 1, error_class = $4, error_text = $5, scheduled_at = $6,
        updated_at = $7, finished_at = $8, lease_owner = null, lease_expires_at = null
    where id = $1 and attempt = $2 and status = 'running'";

const CRASH: &str = "
    update queue_jobs
    set status = $3, crashes = crashes + 1, error_class = $4, error_text = $5, updated_at = $6,
        finished_at = $7, lease_owner = null, lease_expires_at = null
    where id = $1 and attempt = $2 and status = 'running'";

const HAND_BACK: &str = "
    update queue_jobs
    set status = 'queued', scheduled_at = $4, updated_at = $3, lease_owner = null, lease_expires_at = null
    where id = $1 and attempt = $2 and status = 'running'";

const CANCEL_RUNNING: &str = "
    update queue_jobs
    set status = 'cancelled', updated_at = $3, finished_at = $3, lease_owner = null, lease_expires_at = null
    where id = $1 and attempt = $2 and status = 'running'";

const CANCEL_QUEUED: &str = "
    update queue_jobs
    set status = 'cancelled', cancel_requested_at = $2, updated_at = $2, finished_at = $2
    where id = $1 and status = 'queued'";

const REQUEST_CANCEL: &str = "
    update queue_jobs
    set cancel_requested_at = $2, updated_at = $2
    where id = $1 and status = 'running' and cancel_requested_at is null";

pub(super) async fn insert(tx: &mut Tx, jobs: &[Job]) -> Result<(), Error> {
    let rows: Vec<NewRow<'_>> = jobs.iter().map(NewRow::from).collect();
    write_rows!(tx, INSERT_POSTGRES, INSERT_SQLITE, &rows, |row| [
        row.id,
        row.task_id,
        row.kind,
        row.project_id,
        row.image_id,
        row.page,
        row.owner,
        row.priority,
        Json(row.parameters),
        row.max_failures,
        row.lane,
        row.created_at,
        row.scheduled_at,
    ])?;
    Ok(())
}

pub(super) async fn by_id(tx: &mut Tx, id: JobId) -> Result<Option<Job>, Error> {
    let row: Option<JobRow> = on_tx!(tx, |conn| sqlx::query_as(BY_ID)
        .bind(id)
        .fetch_optional(conn)
        .await)?;
    row.map(JobRow::into_job).transpose()
}

pub(super) async fn by_ids(tx: &mut Tx, ids: &[JobId]) -> Result<Vec<Job>, Error> {
    let ids = batch::list(ids)?;
    let statement = tx.dialect().pick(BY_IDS_POSTGRES, BY_IDS_SQLITE);
    into_jobs(on_tx!(tx, |conn| sqlx::query_as(statement)
        .bind(ids)
        .fetch_all(conn)
        .await)?)
}

pub(super) async fn of_project(
    tx: &mut Tx,
    project: ProjectId,
    status: Option<Status>,
    before: Option<JobId>,
    limit: u32,
) -> Result<Vec<Job>, Error> {
    let before = before.unwrap_or(JobId::from_uuid(Uuid::max()));
    into_jobs(on_tx!(tx, |conn| sqlx::query_as(OF_PROJECT)
        .bind(project)
        .bind(before)
        .bind(status.map(Status::name))
        .bind(i64::from(limit))
        .fetch_all(conn)
        .await)?)
}

pub(super) async fn queued_page(
    tx: &mut Tx,
    before: DateTime<Utc>,
    after: Option<JobId>,
    limit: usize,
) -> Result<Vec<Job>, Error> {
    let after = after.unwrap_or(JobId::from_uuid(Uuid::nil()));
    into_jobs(on_tx!(tx, |conn| sqlx::query_as(QUEUED_PAGE)
        .bind(before)
        .bind(after)
        .bind(limit as i64)
        .fetch_all(conn)
        .await)?)
}

pub(super) async fn running_past_row_lease(
    tx: &mut Tx,
    now: DateTime<Utc>,
    limit: usize,
) -> Result<Vec<Job>, Error> {
    into_jobs(on_tx!(tx, |conn| sqlx::query_as(RUNNING_PAST_ROW_LEASE)
        .bind(now)
        .bind(limit as i64)
        .fetch_all(conn)
        .await)?)
}

pub(super) async fn running_to_stop(tx: &mut Tx, limit: usize) -> Result<Vec<JobId>, Error> {
    Ok(on_tx!(tx, |conn| sqlx::query_scalar(RUNNING_TO_STOP)
        .bind(limit as i64)
        .fetch_all(conn)
        .await)?)
}

pub(super) async fn start(
    tx: &mut Tx,
    ids: &[JobId],
    owner: &str,
    (now, lease_until): (DateTime<Utc>, DateTime<Utc>),
    suspects: bool,
) -> Result<Vec<Job>, Error> {
    let list = batch::list(ids)?;
    let statement = tx.dialect().pick(START_POSTGRES, START_SQLITE);
    let rows: Vec<JobRow> = on_tx!(tx, |conn| sqlx::query_as(statement)
        .bind(list)
        .bind(owner)
        .bind(now)
        .bind(lease_until)
        .bind(suspects)
        .fetch_all(conn)
        .await)?;
    let mut jobs = into_jobs(rows)?;
    if tx.dialect() == Dialect::Sqlite {
        open_attempts(tx, &jobs, owner).await?;
    }
    jobs.sort_by_key(|job| ids.iter().position(|id| *id == job.id));
    Ok(jobs)
}

async fn open_attempts(tx: &mut Tx, jobs: &[Job], owner: &str) -> Result<(), Error> {
    let attempts: Vec<NewAttempt> = jobs.iter().map(NewAttempt::from).collect();
    execute!(tx, OPEN_ATTEMPTS_SQLITE, batch::list(&attempts)?, owner)?;
    Ok(())
}

pub(super) async fn close_attempt(
    tx: &mut Tx,
    job: JobId,
    attempt: i64,
    outcome: &'static str,
    error: Option<&JobError>,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    execute!(
        tx,
        CLOSE_ATTEMPT,
        job,
        attempt,
        now,
        outcome,
        error.map(|error| error.class.as_str()),
        error.map(|error| error.text.as_str())
    )?;
    Ok(())
}

pub(super) async fn prolong(
    tx: &mut Tx,
    owner: &str,
    jobs: &[JobId],
    until: DateTime<Utc>,
) -> Result<(), Error> {
    let jobs = batch::list(jobs)?;
    let statement = tx.dialect().pick(PROLONG_POSTGRES, PROLONG_SQLITE);
    execute!(tx, statement, owner, until, jobs)?;
    Ok(())
}

/// Completes the jobs whose attempt is still the one that ended, with the record of that attempt, and says which.
pub(super) async fn complete(
    tx: &mut Tx,
    ends: &[(Job, Found)],
    now: DateTime<Utc>,
) -> Result<HashSet<JobId>, Error> {
    let rows: Vec<EndedRow<'_>> = ends.iter().map(EndedRow::from).collect();
    let rows = batch::list(&rows)?;
    let statement = tx.dialect().pick(COMPLETE_POSTGRES, COMPLETE_SQLITE);
    let ids: Vec<JobId> = on_tx!(tx, |conn| sqlx::query_scalar(statement)
        .bind(rows)
        .bind(now)
        .fetch_all(conn)
        .await)?;
    let completed: HashSet<JobId> = ids.into_iter().collect();
    if tx.dialect() == Dialect::Sqlite {
        let ours = ends.iter().filter(|(job, _)| completed.contains(&job.id));
        close_attempts(tx, &ours.map(EndedRow::from).collect::<Vec<_>>(), now).await?;
    }
    Ok(completed)
}

async fn close_attempts(
    tx: &mut Tx,
    ended: &[EndedRow<'_>],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    execute!(tx, CLOSE_COMPLETED_SQLITE, batch::list(ended)?, now)?;
    Ok(())
}

/// A failed run leaves the job `queued`, due at `due`, or `dead`.
pub(super) async fn fail(
    tx: &mut Tx,
    job: &Job,
    status: Status,
    error: &JobError,
    due: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    Ok(execute!(
        tx,
        FAIL,
        job.id,
        job.attempt,
        status.name(),
        &error.class,
        &error.text,
        due,
        now,
        status.is_final().then_some(now)
    )? == 1)
}

/// A run whose process died leaves the job `queued`, `cancelled` or `dead`.
pub(super) async fn crash(
    tx: &mut Tx,
    job: &Job,
    status: Status,
    error: &JobError,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    Ok(execute!(
        tx,
        CRASH,
        job.id,
        job.attempt,
        status.name(),
        &error.class,
        &error.text,
        now,
        status.is_final().then_some(now)
    )? == 1)
}

pub(super) async fn hand_back(
    tx: &mut Tx,
    id: JobId,
    attempt: i64,
    due: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    Ok(execute!(tx, HAND_BACK, id, attempt, now, due)? == 1)
}

pub(super) async fn cancel_running(
    tx: &mut Tx,
    id: JobId,
    attempt: i64,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    Ok(execute!(tx, CANCEL_RUNNING, id, attempt, now)? == 1)
}

pub(super) async fn cancel_queued(
    tx: &mut Tx,
    id: JobId,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    Ok(execute!(tx, CANCEL_QUEUED, id, now)? == 1)
}

pub(super) async fn request_cancel(
    tx: &mut Tx,
    id: JobId,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    execute!(tx, REQUEST_CANCEL, id, now)?;
    Ok(())
}
