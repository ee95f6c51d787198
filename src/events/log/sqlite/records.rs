//! Records: append, read, drop.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::types::Json;

use super::{sqlite, topics};
use crate::db::{self, Tx};
use crate::events::log::{Error, Headers, NewRecord, Partition, Record};
use crate::events::partition::partition_of;

/// Where a record came to stand, or why not.
type Appended = Result<(Partition, i64), Error>;

/// Appends records in the given order, all in the caller's transaction; a record that is refused leaves no gap.
pub async fn append(
    tx: &mut Tx,
    records: &[NewRecord],
    now_ms: i64,
) -> Result<Vec<Appended>, db::Error> {
    let mut known = BTreeMap::new();
    let mut appended = Vec::with_capacity(records.len());
    for record in records {
        let partitions = match known.get(record.topic.as_str()) {
            Some(partitions) => *partitions,
            None => {
                let partitions = topics::partitions(tx, &record.topic).await?;
                known.insert(record.topic.as_str(), partitions);
                partitions
            }
        };
        appended.push(match (record.check(), partitions) {
            (Err(refusal), _) => Err(refusal),
            (Ok(()), None) => Err(Error::UnknownTopic(record.topic.clone())),
            (Ok(()), Some(partitions)) => {
                Ok(append_one(tx, record, partition_of(&record.key, partitions), now_ms).await?)
            }
        });
    }
    Ok(appended)
}

const TAKE_OFFSET: &str = "\
    update log_partitions set next_offset = next_offset + 1 where topic = $1 and number = $2
    returning next_offset - 1";
const INSERT: &str = "\
    insert into log_records (topic, number, record_offset, timestamp_ms, key, headers, value)
    values ($1, $2, $3, $4, $5, $6, $7)";

async fn append_one(
    tx: &mut Tx,
    record: &NewRecord,
    number: i32,
    now_ms: i64,
) -> Result<(Partition, i64), db::Error> {
    let offset: i64 = sqlx::query_scalar(TAKE_OFFSET)
        .bind(&record.topic)
        .bind(number)
        .fetch_one(sqlite(tx)?)
        .await?;
    sqlx::query(INSERT)
        .bind(&record.topic)
        .bind(number)
        .bind(offset)
        .bind(now_ms)
        .bind(&record.key)
        .bind(Json(&record.headers))
        .bind(record.value.as_ref())
        .execute(sqlite(tx)?)
        .await?;
    let topic = record.topic.clone();
    Ok((Partition { topic, number }, offset))
}

const BOUNDS: &str =
    "select start_offset, next_offset from log_partitions where topic = $1 and number = $2";

/// The first offset kept and the next to be written.
pub async fn bounds(tx: &mut Tx, partition: &Partition) -> Result<(i64, i64), Error> {
    let bounds = sqlx::query_as(BOUNDS)
        .bind(&partition.topic)
        .bind(partition.number)
        .fetch_optional(sqlite(tx)?)
        .await
        .map_err(db::Error::from)?;
    if let Some(bounds) = bounds {
        return Ok(bounds);
    }
    topics::all_known(tx, &[&partition.topic]).await?;
    Err(Error::Other(format!(
        "topic {:?} has no partition {}",
        partition.topic, partition.number
    )))
}

/// A record as its row.
type Row = (i64, i64, String, Json<Headers>, Vec<u8>);

const READ: &str = "\
    select record_offset, timestamp_ms, key, headers, value from log_records
    where topic = $1 and number = $2 and record_offset >= $3
    order by record_offset limit $4";

/// At most `limit` records of a partition from `offset` on.
pub async fn read(
    tx: &mut Tx,
    partition: &Partition,
    offset: i64,
    limit: usize,
) -> Result<Vec<Record>, db::Error> {
    let rows: Vec<Row> = sqlx::query_as(READ)
        .bind(&partition.topic)
        .bind(partition.number)
        .bind(offset)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(sqlite(tx)?)
        .await?;
    let partition = Arc::new(partition.clone());
    let record = |(offset, timestamp_ms, key, headers, value): Row| Record {
        partition: partition.clone(),
        offset,
        timestamp_ms,
        key: Some(key),
        headers: headers.0,
        value: value.into(),
    };
    Ok(rows.into_iter().map(record).collect())
}

const KEEPING: &str = "\
    select topic, number, retention_ms from log_partitions
    join log_topics on log_topics.name = log_partitions.topic
    where start_offset < next_offset";

/// The partitions that hold records, and how long their records are kept.
pub async fn keeping(tx: &mut Tx) -> Result<Vec<(Partition, i64)>, db::Error> {
    let rows: Vec<(String, i32, i64)> = sqlx::query_as(KEEPING).fetch_all(sqlite(tx)?).await?;
    let kept = |(topic, number, retention_ms)| (Partition { topic, number }, retention_ms);
    Ok(rows.into_iter().map(kept).collect())
}

const FIRST_SINCE: &str = "\
    select coalesce(
        (select record_offset from log_records where topic = $1 and number = $2 and timestamp_ms >= $3
         order by record_offset limit 1),
        (select next_offset from log_partitions where topic = $1 and number = $2))";

/// Drops the records of a partition that were appended before `oldest_ms`; answers how many.
pub async fn expire(tx: &mut Tx, partition: &Partition, oldest_ms: i64) -> Result<u64, db::Error> {
    let first: i64 = sqlx::query_scalar(FIRST_SINCE)
        .bind(&partition.topic)
        .bind(partition.number)
        .bind(oldest_ms)
        .fetch_one(sqlite(tx)?)
        .await?;
    truncate(tx, partition, first).await
}

const RAISE_START: &str = "\
    update log_partitions set start_offset = max(start_offset, min($3, next_offset))
    where topic = $1 and number = $2 returning start_offset";
const DELETE: &str =
    "delete from log_records where topic = $1 and number = $2 and record_offset < $3";

/// Drops the records of a partition below `offset`; answers how many.
pub async fn truncate(tx: &mut Tx, partition: &Partition, offset: i64) -> Result<u64, db::Error> {
    let start: i64 = sqlx::query_scalar(RAISE_START)
        .bind(&partition.topic)
        .bind(partition.number)
        .bind(offset)
        .fetch_one(sqlite(tx)?)
        .await?;
    let done = sqlx::query(DELETE)
        .bind(&partition.topic)
        .bind(partition.number)
        .bind(start)
        .execute(sqlite(tx)?)
        .await?;
    Ok(done.rows_affected())
}
