//! Statements that count: each is a few index scans, and each scan has an end.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use crate::db::{Error, Tx, on_tx};

/// A line for each priority and lane: how many are due, how many are not, and since when the first is due.
const WAITING: &str = "
    select cast(p.column1 as bigint) as priority, l.column1 as lane,
        (select count(*)
            from (select 1 from queue_jobs q
                where q.status = 'queued' and q.priority = p.column1 and q.lane = l.column1
                    and q.scheduled_at <= $1
                limit $2) as due) as waiting,
        (select count(*)
            from (select 1 from queue_jobs q
                where q.status = 'queued' and q.priority = p.column1 and q.lane = l.column1
                    and q.scheduled_at > $1
                limit $2) as later) as delayed,
        (select min(q.scheduled_at) from queue_jobs q
            where q.status = 'queued' and q.priority = p.column1 and q.lane = l.column1
                and q.scheduled_at <= $1) as oldest_due_at
    from (values (10), (9), (8), (7), (6), (5), (4), (3), (2), (1)) as p
    cross join (values ('default'), ('large')) as l";

/// What runs and what is dead now, and what ended or failed after `$1`.
const COUNTS: &str = "
    select 'running' as state, priority, lane, count(*) as jobs
    from (select priority, lane from queue_jobs where status = 'running' order by lease_expires_at limit $2) as running
    group by priority, lane
    union all
    select 'dead', priority, lane, count(*)
    from (select priority, lane from queue_jobs where status = 'dead' order by id limit $2) as dead
    group by priority, lane
    union all
    select status, priority, lane, count(*)
    from (select status, priority, lane from queue_jobs
        where finished_at > $1 and status in ('completed', 'cancelled')
        order by finished_at desc
        limit $2) as ended
    group by status, priority, lane
    union all
    select 'failed', q.priority, q.lane, count(*)
    from (select job_id from job_attempts
        where ended_at > $1 and outcome in ('failed', 'crashed')
        order by ended_at desc
        limit $3) as failed
    join queue_jobs q on q.id = failed.job_id
    group by q.priority, q.lane";

/// When the last jobs that completed were due, began and ended. A failure moves `scheduled_at` behind the run.
const RUNS: &str = "
    select scheduled_at, started_at, finished_at
    from queue_jobs
    where finished_at > $1 and status = 'completed' and started_at >= scheduled_at
    order by finished_at desc
    limit $2";

/// An id carries the instant at which its job was submitted.
const ARRIVED_SINCE: &str = "
    select count(*)
    from (select 1 from queue_jobs where id > $1 limit $2) as arrived";

const ENDED_SINCE: &str = "
    select count(*), min(finished_at)
    from (select finished_at from queue_jobs
        where finished_at > $1 and status in ('completed', 'dead')
        order by finished_at desc
        limit $2) as ended";

/// Jobs of one priority and lane that wait.
#[derive(FromRow)]
pub(in crate::domain::jobs) struct Waiting {
    pub(in crate::domain::jobs) priority: i64,
    pub(in crate::domain::jobs) lane: String,
    pub(in crate::domain::jobs) waiting: i64,
    pub(in crate::domain::jobs) delayed: i64,
    pub(in crate::domain::jobs) oldest_due_at: Option<DateTime<Utc>>,
}

/// Jobs (of `failed`: runs) of one priority and lane in one state.
#[derive(FromRow)]
pub(in crate::domain::jobs) struct Count {
    pub(in crate::domain::jobs) state: String,
    pub(in crate::domain::jobs) priority: i64,
    pub(in crate::domain::jobs) lane: String,
    pub(in crate::domain::jobs) jobs: i64,
}

/// At most `limit` of each kind are counted.
pub(in crate::domain::jobs) async fn waiting(
    tx: &mut Tx,
    now: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<Waiting>, Error> {
    Ok(on_tx!(tx, |conn| sqlx::query_as(WAITING)
        .bind(now)
        .bind(i64::from(limit))
        .fetch_all(conn)
        .await)?)
}

/// At most `limit` of each state are counted, of failed runs at most `runs_limit`.
pub(in crate::domain::jobs) async fn counts(
    tx: &mut Tx,
    since: DateTime<Utc>,
    limit: u32,
    runs_limit: u32,
) -> Result<Vec<Count>, Error> {
    Ok(on_tx!(tx, |conn| sqlx::query_as(COUNTS)
        .bind(since)
        .bind(i64::from(limit))
        .bind(i64::from(runs_limit))
        .fetch_all(conn)
        .await)?)
}

/// A run that completed: when it was due, when it began and when it ended.
#[derive(FromRow)]
pub(in crate::domain::jobs) struct Completed {
    pub(in crate::domain::jobs) scheduled_at: DateTime<Utc>,
    pub(in crate::domain::jobs) started_at: DateTime<Utc>,
    pub(in crate::domain::jobs) finished_at: DateTime<Utc>,
}

/// The last jobs that completed after `since`; at most `limit`.
pub(in crate::domain::jobs) async fn completed(
    tx: &mut Tx,
    since: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<Completed>, Error> {
    Ok(on_tx!(tx, |conn| sqlx::query_as(RUNS)
        .bind(since)
        .bind(i64::from(limit))
        .fetch_all(conn)
        .await)?)
}

/// How many jobs were submitted after `since`; at most `limit` are counted.
pub(in crate::domain::jobs) async fn arrived_since(
    tx: &mut Tx,
    since: DateTime<Utc>,
    limit: u32,
) -> Result<u64, Error> {
    let after = Uuid::from_u128(u128::from(since.timestamp_millis().unsigned_abs()) << 80);
    let count: i64 = on_tx!(tx, |conn| sqlx::query_scalar(ARRIVED_SINCE)
        .bind(after)
        .bind(i64::from(limit))
        .fetch_one(conn)
        .await)?;
    Ok(count.unsigned_abs())
}

/// How many of the last `limit` jobs ended after `since`, and when the first of them did.
pub(in crate::domain::jobs) async fn ended_since(
    tx: &mut Tx,
    since: DateTime<Utc>,
    limit: u32,
) -> Result<(u64, Option<DateTime<Utc>>), Error> {
    let (count, first): (i64, Option<DateTime<Utc>>) =
        on_tx!(tx, |conn| sqlx::query_as(ENDED_SINCE)
            .bind(since)
            .bind(i64::from(limit))
            .fetch_one(conn)
            .await)?;
    Ok((count.unsigned_abs(), first))
}
