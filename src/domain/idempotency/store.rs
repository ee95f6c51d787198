//! Statements on `idempotency_keys`.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use sqlx::types::Json;

use crate::db::{Error, Tx, execute, on_tx};
use crate::kit::id::UserId;

const FIND: &str = "
    select request_sha256, outcome
    from idempotency_keys
    where principal = $1 and key = $2";

const INSERT: &str = "
    insert into idempotency_keys (principal, key, request_sha256, outcome, created_at)
    values ($1, $2, $3, $4, $5)";

const DELETE_OLDER: &str = "
    delete from idempotency_keys
    where (principal, key) in (
        select principal, key from idempotency_keys where created_at < $1 order by created_at limit $2
    )";

pub(super) struct Record {
    pub(super) request_sha256: Vec<u8>,
    pub(super) outcome: serde_json::Value,
}

#[derive(FromRow)]
struct RecordRow {
    request_sha256: Vec<u8>,
    outcome: Json<serde_json::Value>,
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
    Ok(row.map(|row| Record {
        request_sha256: row.request_sha256,
        outcome: row.outcome.0,
    }))
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
