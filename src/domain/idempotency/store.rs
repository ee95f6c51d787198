//! Statements on `idempotency_keys`.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;
use sqlx::types::Json;

use crate::db::{Error, Tx, batch, execute, on_tx};
use crate::kit::id::UserId;

const FIND: &str = "
    select request_sha256, outcome
    from idempotency_keys
    where principal = $1 and key = $2";

const INSERT: &str = "
    insert into idempotency_keys (principal, key, request_sha256, outcome, created_at)
    values ($1, $2, $3, $4, $5)";

/// One look-up for each: a semi-join would read the whole table, which grows by each request of a day.
const FIND_MANY_POSTGRES: &str = "
    select found.principal, found.key, found.request_sha256, found.outcome
    from json_to_recordset($1::json) as asked (principal uuid, key text)
    cross join lateral (
        select * from idempotency_keys as known
        where known.principal = asked.principal and known.key = asked.key limit 1
    ) as found";

const FIND_MANY_SQLITE: &str = "
    select principal, key, request_sha256, outcome
    from idempotency_keys
    where (principal, key) in (
        select unhex(value ->> 'principal', '-'), value ->> 'key' from json_each($1)
    )";

const INSERT_MANY_POSTGRES: &str = "
    insert into idempotency_keys (principal, key, request_sha256, outcome, created_at)
    select principal, key, decode(request_sha256, 'hex'), outcome, created_at
    from json_to_recordset($1::json) as row
        (principal uuid, key text, request_sha256 text, outcome jsonb, created_at timestamptz)";

const INSERT_MANY_SQLITE: &str = "
    insert into idempotency_keys (principal, key, request_sha256, outcome, created_at)
    select unhex(value ->> 'principal', '-'), value ->> 'key', unhex(value ->> 'request_sha256'),
        value -> 'outcome', value ->> 'created_at'
    from json_each($1)";

const DELETE_OLDER: &str = "
    delete from idempotency_keys
    where (principal, key) in (
        select principal, key from idempotency_keys where created_at < $1 order by created_at limit $2
    )";

#[derive(Debug)]
pub(super) struct Record {
    pub(super) request_sha256: Vec<u8>,
    pub(super) outcome: serde_json::Value,
}

/// Whose key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, FromRow)]
pub(super) struct Key {
    pub(super) principal: UserId,
    pub(super) key: String,
}

/// A record to write.
#[derive(Debug, Serialize)]
pub(super) struct NewRow {
    pub(super) principal: UserId,
    pub(super) key: String,
    #[serde(serialize_with = "batch::hex")]
    pub(super) request_sha256: [u8; 32],
    pub(super) outcome: serde_json::Value,
    #[serde(serialize_with = "batch::instant")]
    pub(super) created_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct KeyedRow {
    #[sqlx(flatten)]
    key: Key,
    #[sqlx(flatten)]
    record: RecordRow,
}

#[derive(FromRow)]
struct RecordRow {
    request_sha256: Vec<u8>,
    outcome: Json<serde_json::Value>,
}

impl From<RecordRow> for Record {
    fn from(row: RecordRow) -> Self {
        Self {
            request_sha256: row.request_sha256,
            outcome: row.outcome.0,
        }
    }
}

pub(super) async fn find(
    tx: &mut Tx,
    principal: UserId,
    key: &str,
) -> Result<Option<Record>, Error> {
    let row: Option<RecordRow> = on_tx!(tx, |conn| sqlx::query_as(FIND)
        .bind(principal)
        .bind(key)
        .fetch_optional(conn)
        .await)?;
    Ok(row.map(Record::from))
}

pub(super) async fn find_many(tx: &mut Tx, keys: &[Key]) -> Result<HashMap<Key, Record>, Error> {
    let keys = batch::list(keys)?;
    let statement = tx.dialect().pick(FIND_MANY_POSTGRES, FIND_MANY_SQLITE);
    let rows: Vec<KeyedRow> = on_tx!(tx, |conn| sqlx::query_as(statement)
        .bind(keys)
        .fetch_all(conn)
        .await)?;
    let rows = rows.into_iter();
    Ok(rows.map(|row| (row.key, row.record.into())).collect())
}

pub(super) async fn insert_many(tx: &mut Tx, rows: &[NewRow]) -> Result<(), Error> {
    let rows = batch::list(rows)?;
    let statement = tx.dialect().pick(INSERT_MANY_POSTGRES, INSERT_MANY_SQLITE);
    execute!(tx, statement, rows)?;
    Ok(())
}

pub(super) async fn insert(
    tx: &mut Tx,
    principal: UserId,
    key: &str,
    request_sha256: &[u8],
    outcome: serde_json::Value,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    execute!(
        tx,
        INSERT,
        principal,
        key,
        request_sha256,
        Json(&outcome),
        now
    )?;
    Ok(())
}

pub(super) async fn delete_older(
    tx: &mut Tx,
    before: DateTime<Utc>,
    limit: u32,
) -> Result<u64, Error> {
    Ok(execute!(tx, DELETE_OLDER, before, i64::from(limit))?)
}
