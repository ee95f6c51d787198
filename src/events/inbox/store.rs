//! The inbox's statements.

use chrono::{DateTime, Utc};

use crate::db::{Error, Tx, batch, execute, on_tx};
use crate::kit::id::EventId;

/// A row as the statements give it back.
#[derive(Debug, sqlx::FromRow)]
pub struct Row {
    pub event_id: EventId,
    pub attempts: i64,
    pub ended: i64,
    pub started_by: String,
    pub last_error: Option<String>,
    pub done_at: Option<DateTime<Utc>>,
    pub dead_at: Option<DateTime<Utc>>,
}

/// Counts a start of each event of which nothing runs and nothing has ended for good; gives back all of them as they
/// stand now. `started_by` tells those that were counted.
///
/// PostgreSQL does not sync it: a start is counted for the case that this process dies. Where the server itself dies, a start
/// may be forgotten that had no effect, since the effect's own commit syncs what was written before it.
const BEGIN_POSTGRES: &str = "\
    insert into inbox (consumer, event_id, attempts, ended, started_by, received_at)
    select $2, value::uuid, 1, 0, $3, $4
    from (select set_config('synchronous_commit', 'off', true)) as unsynced, json_array_elements_text($1::json)
    on conflict (consumer, event_id) do update set
        attempts = inbox.attempts + case when inbox.done_at is null and inbox.dead_at is null
            and inbox.ended = inbox.attempts and inbox.attempts < $5 then 1 else 0 end,
        started_by = case when inbox.done_at is null and inbox.dead_at is null
            and inbox.ended = inbox.attempts and inbox.attempts < $5
            then excluded.started_by else inbox.started_by end
    returning event_id, attempts, ended, started_by, last_error, done_at, dead_at";
const BEGIN_SQLITE: &str = "\
    insert into inbox (consumer, event_id, attempts, ended, started_by, received_at)
    select $2, unhex(value, '-'), 1, 0, $3, $4 from json_each($1)
    where true on conflict (consumer, event_id) do update set
        attempts = inbox.attempts + case when inbox.done_at is null and inbox.dead_at is null
            and inbox.ended = inbox.attempts and inbox.attempts < $5 then 1 else 0 end,
        started_by = case when inbox.done_at is null and inbox.dead_at is null
            and inbox.ended = inbox.attempts and inbox.attempts < $5
            then excluded.started_by else inbox.started_by end
    returning event_id, attempts, ended, started_by, last_error, done_at, dead_at";

pub async fn begin(
    tx: &mut Tx,
    consumer: &str,
    events: &[EventId],
    started_by: &str,
    now: DateTime<Utc>,
    attempts_max: i64,
) -> Result<Vec<Row>, Error> {
    let sql = tx.dialect().pick(BEGIN_POSTGRES, BEGIN_SQLITE);
    let events = batch::list(events)?;
    Ok(on_tx!(tx, |conn| sqlx::query_as(sql)
        .bind(events)
        .bind(consumer)
        .bind(started_by)
        .bind(now)
        .bind(attempts_max)
        .fetch_all(conn)
        .await)?)
}

/// The start that was under way has taken its process with it: it has ended, and the next is counted.
const BEGIN_AGAIN: &str = "\
    update inbox set ended = attempts, attempts = attempts + 1, started_by = $3
    where consumer = $1 and event_id = $2 and done_at is null and dead_at is null
        and ended < attempts and attempts < $4 and started_by <> $3
    returning event_id, attempts, ended, started_by, last_error, done_at, dead_at";

/// Counts a start of an event whose last start has no end; none where it has one by now.
pub async fn begin_again(
    tx: &mut Tx,
    consumer: &str,
    event: EventId,
    started_by: &str,
    attempts_max: i64,
) -> Result<Option<Row>, Error> {
    Ok(on_tx!(tx, |conn| sqlx::query_as(BEGIN_AGAIN)
        .bind(consumer)
        .bind(event)
        .bind(started_by)
        .bind(attempts_max)
        .fetch_optional(conn)
        .await)?)
}

const FINISH_POSTGRES: &str = "\
    update inbox set done_at = $3, ended = attempts
    where consumer = $2 and done_at is null and dead_at is null
        and event_id = any (array(select value::uuid from json_array_elements_text($1::json)))
    returning event_id";
const FINISH_SQLITE: &str = "\
    update inbox set done_at = $3, ended = attempts
    where consumer = $2 and done_at is null and dead_at is null
        and event_id in (select unhex(value, '-') from json_each($1))
    returning event_id";

/// Marks events as done and answers which: another process may have been faster.
pub async fn finish(
    tx: &mut Tx,
    consumer: &str,
    events: &[EventId],
    now: DateTime<Utc>,
) -> Result<Vec<EventId>, Error> {
    let sql = tx.dialect().pick(FINISH_POSTGRES, FINISH_SQLITE);
    let events = batch::list(events)?;
    Ok(on_tx!(tx, |conn| sqlx::query_scalar(sql)
        .bind(events)
        .bind(consumer)
        .bind(now)
        .fetch_all(conn)
        .await)?)
}

const FAIL: &str = "\
    update inbox set ended = attempts, last_error = $4
    where consumer = $1 and event_id = $2 and started_by = $3 and done_at is null";

/// The start has ended without its effect.
pub async fn fail(
    tx: &mut Tx,
    consumer: &str,
    event: EventId,
    started_by: &str,
    error: &str,
) -> Result<(), Error> {
    execute!(tx, FAIL, consumer, event, started_by, error)?;
    Ok(())
}

const TAKE_BACK_POSTGRES: &str = "\
    update inbox set attempts = attempts - 1
    where consumer = $2 and started_by = $3 and done_at is null and ended < attempts
        and event_id = any (array(select value::uuid from json_array_elements_text($1::json)))";
const TAKE_BACK_SQLITE: &str = "\
    update inbox set attempts = attempts - 1
    where consumer = $2 and started_by = $3 and done_at is null and ended < attempts
        and event_id in (select unhex(value, '-') from json_each($1))";

/// The starts are not counted after all.
pub async fn take_back(
    tx: &mut Tx,
    consumer: &str,
    events: &[EventId],
    started_by: &str,
) -> Result<(), Error> {
    let sql = tx.dialect().pick(TAKE_BACK_POSTGRES, TAKE_BACK_SQLITE);
    let events = batch::list(events)?;
    execute!(tx, sql, events, consumer, started_by)?;
    Ok(())
}

/// An event whose effect is outside of the database alone has no row yet.
const BURY: &str = "\
    insert into inbox (consumer, event_id, attempts, ended, started_by, received_at, dead_at, last_error)
    values ($1, $2, 0, 0, '', $3, $3, $4)
    on conflict (consumer, event_id) do update set
        ended = inbox.attempts, dead_at = excluded.dead_at, last_error = excluded.last_error
    where inbox.dead_at is null";

/// The dead letters hold the event.
pub async fn bury(
    tx: &mut Tx,
    consumer: &str,
    event: EventId,
    now: DateTime<Utc>,
    error: &str,
) -> Result<(), Error> {
    execute!(tx, BURY, consumer, event, now, error)?;
    Ok(())
}

/// What was done before it died (its effect outside of the database failed) stays done.
const REVIVE_POSTGRES: &str = "\
    update inbox set attempts = 0, ended = 0, dead_at = null
    where consumer = $2 and dead_at is not null
        and event_id = any (array(select value::uuid from json_array_elements_text($1::json)))";
const REVIVE_SQLITE: &str = "\
    update inbox set attempts = 0, ended = 0, dead_at = null
    where consumer = $2 and dead_at is not null
        and event_id in (select unhex(value, '-') from json_each($1))";

/// Dead events may be tried again.
pub async fn revive(tx: &mut Tx, consumer: &str, events: &[EventId]) -> Result<u64, Error> {
    let sql = tx.dialect().pick(REVIVE_POSTGRES, REVIVE_SQLITE);
    let events = batch::list(events)?;
    Ok(execute!(tx, sql, events, consumer)?)
}

const LOOK_POSTGRES: &str = "\
    select event_id, attempts, ended, started_by, last_error, done_at, dead_at from inbox
    where consumer = $2 and event_id = any (array(select value::uuid from json_array_elements_text($1::json)))";
const LOOK_SQLITE: &str = "\
    select event_id, attempts, ended, started_by, last_error, done_at, dead_at from inbox
    where consumer = $2 and event_id in (select unhex(value, '-') from json_each($1))";

/// The rows of these events.
pub async fn look(tx: &mut Tx, consumer: &str, events: &[EventId]) -> Result<Vec<Row>, Error> {
    let sql = tx.dialect().pick(LOOK_POSTGRES, LOOK_SQLITE);
    let events = batch::list(events)?;
    Ok(on_tx!(tx, |conn| sqlx::query_as(sql)
        .bind(events)
        .bind(consumer)
        .fetch_all(conn)
        .await)?)
}

const EXPIRE: &str = "\
    delete from inbox where (consumer, event_id) in
        (select consumer, event_id from inbox where received_at < $1 order by received_at limit $2)";

/// Removes the oldest rows, at most `limit`, and says how many.
pub async fn expire(tx: &mut Tx, before: DateTime<Utc>, limit: u32) -> Result<u64, Error> {
    Ok(execute!(tx, EXPIRE, before, i64::from(limit))?)
}
