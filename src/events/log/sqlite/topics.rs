//! Topics: rows made by `migrate`.

use super::sqlite;
use crate::db::{self, Tx};
use crate::events::log::{Error, Topic, TopicState};

const PARTITIONS: &str = "select partitions from log_topics where name = $1";

/// The number of partitions of a topic, none where it does not exist.
pub async fn partitions(tx: &mut Tx, topic: &str) -> Result<Option<i32>, db::Error> {
    Ok(sqlx::query_scalar(PARTITIONS)
        .bind(topic)
        .fetch_optional(sqlite(tx)?)
        .await?)
}

/// Fails with the first topic that does not exist.
pub async fn all_known(tx: &mut Tx, topics: &[&str]) -> Result<(), Error> {
    for topic in topics {
        if partitions(tx, topic).await?.is_none() {
            return Err(Error::UnknownTopic((*topic).to_owned()));
        }
    }
    Ok(())
}

/// How each topic stands.
pub async fn check(tx: &mut Tx, topics: &[Topic]) -> Result<Vec<TopicState>, db::Error> {
    let mut states = Vec::with_capacity(topics.len());
    for topic in topics {
        states.push(match partitions(tx, &topic.name).await? {
            None => TopicState::Missing,
            Some(found) if found == topic.partitions => TopicState::Present,
            Some(found) => TopicState::Partitions { found },
        });
    }
    Ok(states)
}

const SET_RETENTION: &str =
    "update log_topics set retention_ms = $2 where name = $1 and retention_ms <> $2";
const INSERT: &str = "insert into log_topics (name, partitions, retention_ms) values ($1, $2, $3)";
const INSERT_PARTITION: &str =
    "insert into log_partitions (topic, number, start_offset, next_offset) values ($1, $2, 0, 0)";

/// Makes what is missing; answers how each topic stood before.
pub async fn ensure(tx: &mut Tx, topics: &[Topic]) -> Result<Vec<TopicState>, db::Error> {
    let states = check(tx, topics).await?;
    for (topic, state) in topics.iter().zip(&states) {
        match state {
            TopicState::Missing => make(tx, topic).await?,
            TopicState::Present | TopicState::Partitions { .. } => {
                sqlx::query(SET_RETENTION)
                    .bind(&topic.name)
                    .bind(topic.retention_ms)
                    .execute(sqlite(tx)?)
                    .await?;
            }
        }
    }
    Ok(states)
}

async fn make(tx: &mut Tx, topic: &Topic) -> Result<(), db::Error> {
    sqlx::query(INSERT)
        .bind(&topic.name)
        .bind(topic.partitions)
        .bind(topic.retention_ms)
        .execute(sqlite(tx)?)
        .await?;
    for number in 0..topic.partitions {
        sqlx::query(INSERT_PARTITION)
            .bind(&topic.name)
            .bind(number)
            .execute(sqlite(tx)?)
            .await?;
    }
    Ok(())
}
