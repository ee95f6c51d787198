//! Statements that remove rows at their age. No result is ever among them.

use chrono::{DateTime, Utc};

use crate::db::{Error, Tx, execute};

const FORGET_JOBS: &str = "
    delete from queue_jobs
    where status in ('dead', 'cancelled') and id in (
        select j.id
        from queue_jobs j
        where j.status in ('dead', 'cancelled') and j.finished_at < $1
            and not exists (select 1 from segmentations s where s.job_id = j.id)
        order by j.finished_at
        limit $2
    )";

const FORGET_ATTEMPTS: &str = "
    delete from job_attempts
    where (job_id, attempt) in (
        select job_id, attempt from job_attempts where ended_at < $1 order by ended_at limit $2
    )";

/// Removes at most `limit` dead and cancelled jobs that ended before `before` and have no result.
pub(in crate::domain::jobs) async fn forget_jobs(
    tx: &mut Tx,
    before: DateTime<Utc>,
    limit: u32,
) -> Result<u64, Error> {
    Ok(execute!(tx, FORGET_JOBS, before, i64::from(limit))?)
}

/// Removes at most `limit` records of runs that ended before `before`.
pub(in crate::domain::jobs) async fn forget_attempts(
    tx: &mut Tx,
    before: DateTime<Utc>,
    limit: u32,
) -> Result<u64, Error> {
    Ok(execute!(tx, FORGET_ATTEMPTS, before, i64::from(limit))?)
}
