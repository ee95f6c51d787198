//! The outbox's statements.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::types::Json;

use crate::db::{self, Dialect, Tx, batch, execute, on_tx, write_rows};
use crate::events::log::Headers;
use crate::kit::id::EventId;

/// A row to insert.
#[derive(Debug, Serialize)]
pub struct NewRow {
    pub id: EventId,
    pub shard: i64,
    pub topic: &'static str,
    pub key: String,
    pub headers: Headers,
    #[serde(serialize_with = "batch::hex")]
    pub payload: Bytes,
    #[serde(serialize_with = "batch::instant")]
    pub created_at: DateTime<Utc>,
}

/// A row to relay.
#[derive(Debug, sqlx::FromRow)]
pub struct Row {
    pub seq: i64,
    pub id: EventId,
    pub topic: String,
    pub key: String,
    pub headers: Json<Headers>,
    pub payload: Vec<u8>,
}

/// A row that the log refused for good.
#[derive(Debug, Serialize)]
pub struct Dead {
    pub seq: i64,
    pub error: String,
}

/// A shard that has rows, the age of its oldest, and whether no relay has it now.
#[derive(Debug, sqlx::FromRow)]
pub struct Waiting {
    pub shard: i64,
    pub oldest: DateTime<Utc>,
    pub is_free: bool,
}

/// `unnest` keeps the order of the lists, and rows of one statement take their `seq` in that order.
const INSERT_POSTGRES: &str = "\
    insert into outbox_events (id, shard, topic, key, headers, payload, created_at)
    select *
    from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::jsonb[], $6::bytea[], $7::timestamptz[])";

const INSERT_SQLITE: &str = "\
    insert into outbox_events (id, shard, topic, key, headers, payload, created_at)
    select unhex(value ->> 'id', '-'), value ->> 'shard', value ->> 'topic', value ->> 'key',
        value -> 'headers', unhex(value ->> 'payload'), value ->> 'created_at'
    from json_each($1) order by json_each.key";

pub async fn insert(tx: &mut Tx, rows: &[NewRow]) -> Result<(), db::Error> {
    write_rows!(tx, INSERT_POSTGRES, INSERT_SQLITE, rows, |row| [
        row.id,
        row.shard,
        row.topic,
        &row.key,
        Json(&row.headers),
        &row.payload[..],
        row.created_at,
    ])?;
    Ok(())
}

/// One index look-up a shard, however many rows wait.
macro_rules! waiting {
    ($is_free:literal) => {
        concat!(
            "select shard, oldest, ",
            $is_free,
            " as is_free
            from (
                select cast(shards.column1 as bigint) as shard,
                    (select created_at from outbox_events where outbox_events.shard = shards.column1
                        order by seq limit 1) as oldest
                from (values (0), (1), (2), (3), (4), (5), (6), (7)) as shards
            ) as firsts
            where oldest is not null"
        )
    };
}
const WAITING: &str = waiting!("true");
/// The lock of a shard that is free is held until the end of the statement.
const WAITING_FREE_POSTGRES: &str = waiting!("pg_try_advisory_xact_lock(1936746602, shard::int)");

/// The shards that have rows, whoever has them.
pub async fn waiting(tx: &mut Tx) -> Result<Vec<Waiting>, db::Error> {
    look(tx, WAITING).await
}

/// The shards that have rows, for a relay: whether they are free is looked at.
pub async fn waiting_to_relay(tx: &mut Tx) -> Result<Vec<Waiting>, db::Error> {
    let sql = tx.dialect().pick(WAITING_FREE_POSTGRES, WAITING);
    look(tx, sql).await
}

async fn look(tx: &mut Tx, sql: &'static str) -> Result<Vec<Waiting>, db::Error> {
    Ok(on_tx!(tx, |conn| sqlx::query_as(sql)
        .fetch_all(conn)
        .await)?)
}

/// `seq` is not the order of commits: rows at or above the oldest open transaction are left for later, else a row that
/// commits late would be passed over.
const NEXT_OF_SHARD_POSTGRES: &str = "\
    select seq, id, topic, key, headers, payload from outbox_events
    where shard = $1 and xid < (select pg_snapshot_xmin(pg_current_snapshot()))
    order by seq limit $2";

/// PostgreSQL: the next rows of one shard, in commit order per key.
pub async fn next_of_shard(tx: &mut Tx, shard: i64, limit: u32) -> Result<Vec<Row>, db::Error> {
    Ok(on_tx!(tx, |conn| sqlx::query_as(NEXT_OF_SHARD_POSTGRES)
        .bind(shard)
        .bind(i64::from(limit))
        .fetch_all(conn)
        .await)?)
}

/// One writer: `seq` is the order of commits.
const NEXT: &str = "\
    select seq, id, topic, key, headers, payload from outbox_events order by seq limit $1";

/// SQLite: the next rows of all shards, in commit order.
pub async fn next(tx: &mut Tx, limit: u32) -> Result<Vec<Row>, db::Error> {
    Ok(on_tx!(tx, |conn| sqlx::query_as(NEXT)
        .bind(i64::from(limit))
        .fetch_all(conn)
        .await)?)
}

/// The first number is a namespace of our own among the advisory locks of the database.
const LOCK_SHARD_POSTGRES: &str = "\
    select pg_try_advisory_xact_lock(1936746602, $1::int)
    from (
        select set_config('synchronous_commit', 'off', true),
            set_config('enable_bitmapscan', 'off', true), set_config('enable_seqscan', 'off', true)
    ) as of_this_transaction";

/// PostgreSQL: takes the shard until the end of the transaction, unless another has it. Only this kind of lock passes
/// a pooler in transaction mode.
///
/// The transaction is not synced: what it deletes is in the log, and where the server dies and has the rows again, they are
/// appended again in their order. It finds rows in the order of the indexes, which learn which of their entries are of deleted
/// rows; a bitmap, or a look at the whole table, would fetch all of these again in each pass until they are vacuumed.
pub async fn lock_shard(tx: &mut Tx, shard: i64) -> Result<bool, db::Error> {
    Ok(on_tx!(tx, |conn| sqlx::query_scalar(LOCK_SHARD_POSTGRES)
        .bind(shard)
        .fetch_one(conn)
        .await)?)
}

const DELETE_POSTGRES: &str = "\
    delete from outbox_events
    where seq = any (array(select value::bigint from json_array_elements_text($1::json)))";
const DELETE_SQLITE: &str =
    "delete from outbox_events where seq in (select value from json_each($1))";

/// Deletes rows that the log holds.
pub async fn delete(tx: &mut Tx, seqs: &[i64]) -> Result<(), db::Error> {
    if seqs.is_empty() {
        return Ok(());
    }
    let sql = tx.dialect().pick(DELETE_POSTGRES, DELETE_SQLITE);
    let seqs = batch::list(seqs)?;
    execute!(tx, sql, seqs)?;
    Ok(())
}

const BURY_POSTGRES: &str = "\
    insert into outbox_dead (id, topic, key, headers, payload, error, created_at, died_at)
    select id, topic, key, headers, payload, dead.error, created_at, $2
    from json_to_recordset($1::json) as dead (seq bigint, error text)
    join outbox_events on outbox_events.seq = dead.seq
    on conflict (id) do nothing";
const BURY_SQLITE: &str = "\
    insert into outbox_dead (id, topic, key, headers, payload, error, created_at, died_at)
    select event.id, event.topic, event.key, event.headers, event.payload, dead.value ->> 'error',
        event.created_at, $2
    from json_each($1) as dead
    join outbox_events as event on event.seq = dead.value ->> 'seq'
    where true on conflict (id) do nothing";

/// Moves rows that the log refuses to the dead ones.
pub async fn bury(tx: &mut Tx, dead: &[Dead], now: DateTime<Utc>) -> Result<(), db::Error> {
    if dead.is_empty() {
        return Ok(());
    }
    let sql = tx.dialect().pick(BURY_POSTGRES, BURY_SQLITE);
    let list = batch::list(dead)?;
    execute!(tx, sql, list, now)?;
    let seqs: Vec<_> = dead.iter().map(|dead| dead.seq).collect();
    delete(tx, &seqs).await
}

const TAKE_LEASE_SQLITE: &str = "\
    insert into log_relay_leases (name, owner, expires_ms) values ('outbox', $1, $2)
    on conflict (name) do update set owner = excluded.owner, expires_ms = excluded.expires_ms
    where log_relay_leases.owner = excluded.owner or log_relay_leases.expires_ms <= $3";

/// SQLite: takes or keeps the relay's lease until `expires_ms`; false while another has it.
pub async fn take_lease(
    tx: &mut Tx,
    owner: &str,
    now_ms: i64,
    expires_ms: i64,
) -> Result<bool, db::Error> {
    debug_assert_eq!(tx.dialect(), Dialect::Sqlite);
    let rows = execute!(tx, TAKE_LEASE_SQLITE, owner, expires_ms, now_ms)?;
    Ok(rows == 1)
}

const GIVE_LEASE_BACK_SQLITE: &str =
    "delete from log_relay_leases where name = 'outbox' and owner = $1";

/// SQLite: gives the relay's lease back, so that another need not wait for its end.
pub async fn give_lease_back(tx: &mut Tx, owner: &str) -> Result<(), db::Error> {
    execute!(tx, GIVE_LEASE_BACK_SQLITE, owner)?;
    Ok(())
}
