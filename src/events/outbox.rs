//! The outbox: events are written in the transaction of the change that they tell of, so that both happen or neither.

pub(super) mod store;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use super::partition::shard_of;
use super::{Error, Event};
use crate::db::Tx;

/// Largest payload in bytes: below the 1 MB that the log takes, with room for key and headers.
pub const PAYLOAD_BYTES_MAX: usize = 900_000;

/// Writes events into the outbox, in this order, as part of the caller's transaction. Ring the [`OutboxBell`] after the
/// commit.
///
/// # Errors
/// [`Error::TooLarge`] for a payload above [`PAYLOAD_BYTES_MAX`], else when the database fails.
pub async fn stage(tx: &mut Tx, events: &[Event]) -> Result<(), Error> {
    if events.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = events.iter().map(row).collect::<Result<_, _>>()?;
    Ok(store::insert(tx, &rows).await?)
}

/// When the oldest event was staged that the log does not hold yet; none where it holds all.
///
/// # Errors
/// When the database fails.
pub async fn oldest_waiting(tx: &mut Tx) -> Result<Option<DateTime<Utc>>, Error> {
    let shards = store::waiting(tx).await?;
    Ok(shards.into_iter().map(|shard| shard.oldest).min())
}

/// Tells the relay of this process that rows were committed. It only shortens the relay's wait: a forgotten ring costs
/// at most `outbox.poll_interval_ms`.
#[derive(Debug, Clone, Default)]
pub struct OutboxBell {
    notify: Arc<Notify>,
}

impl OutboxBell {
    /// Says that rows were committed.
    pub fn ring(&self) {
        self.notify.notify_one();
    }

    /// Resolves when the bell is rung, or was since the last call; at the latest after `longest`.
    pub(super) async fn rung(&self, longest: Duration) {
        let _ = tokio::time::timeout(longest, self.notify.notified()).await;
    }
}

fn row(event: &Event) -> Result<store::NewRow, Error> {
    let payload = event.fact.encode()?;
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(Error::TooLarge {
            kind: event.fact.kind(),
            id: event.id.to_string(),
            bytes: payload.len(),
            max: PAYLOAD_BYTES_MAX,
        });
    }
    let key = event.fact.key();
    Ok(store::NewRow {
        id: event.id,
        shard: shard_of(&key),
        topic: event.fact.topic(),
        key,
        headers: event.envelope().headers(),
        payload,
        created_at: event.at,
    })
}
