//! A consumer group of ours, with a handler that does as little as a handler can.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use serde_json::Value;
use spheroctl::db::{Error, Tx, execute, run_tx};
use spheroctl::events::Event;
use spheroctl::events::group::{Effect, Handler, HandlerError};
use spheroctl::events::topics::JOB_EVENTS;
use spheroctl::kit::clock::{Clock, SystemClock};
use tokio_util::sync::CancellationToken;

use super::world::World;
use super::{Failure, spent};

/// Longest run.
const RUN_MAX: Duration = Duration::from_secs(100);

const TABLE_POSTGRES: &str = "create table if not exists bench_effects (event_id uuid not null)";
const TABLE_SQLITE: &str = "create table if not exists bench_effects (event_id blob not null)";
const EFFECT: &str = "insert into bench_effects (event_id) values ($1)";

/// Counts what it is told.
#[derive(Debug)]
struct Counter {
    effect: Effect,
    records: usize,
    told: AtomicUsize,
    first: Mutex<Option<DateTime<Utc>>>,
    last: Mutex<Option<DateTime<Utc>>>,
    done: CancellationToken,
}

#[async_trait]
impl Handler for Counter {
    fn name(&self) -> &'static str {
        "bench"
    }

    fn topics(&self) -> &'static [&'static str] {
        &[JOB_EVENTS]
    }

    fn effect(&self) -> Effect {
        self.effect
    }

    async fn handle(&self, tx: &mut Tx, events: &[&Event]) -> Result<(), HandlerError> {
        for event in events {
            execute!(tx, EFFECT, event.id).map_err(Error::from)?;
        }
        Ok(())
    }

    async fn committed(&self, events: &[&Event]) -> Result<(), HandlerError> {
        let before = self.told.fetch_add(events.len(), Ordering::Relaxed);
        if before == 0 {
            *self.first.lock() = Some(SystemClock.now());
        }
        if before + events.len() == self.records {
            *self.last.lock() = Some(SystemClock.now());
            self.done.cancel();
        }
        Ok(())
    }
}

/// With an effect outside of the database: counting.
pub async fn outside(world: &World, records: usize) -> Result<Value, Failure> {
    run(world, records, Effect::Outside).await
}

/// With an effect inside: a row, in the transaction of the inbox.
pub async fn inside(world: &World, records: usize) -> Result<Value, Failure> {
    run_tx!(world.db, "bench", |tx| -> Result<(), Error> {
        let table = tx.dialect().pick(TABLE_POSTGRES, TABLE_SQLITE);
        execute!(tx, table)?;
        Ok(())
    })?;
    run(world, records, Effect::Inside).await
}

async fn run(world: &World, records: usize, effect: Effect) -> Result<Value, Failure> {
    let counter = Arc::new(Counter {
        effect,
        records,
        told: AtomicUsize::new(0),
        first: Mutex::default(),
        last: Mutex::default(),
        done: CancellationToken::new(),
    });
    world.start(counter.clone());
    let in_time = tokio::time::timeout(RUN_MAX, counter.done.cancelled()).await;
    if in_time.is_err() {
        let told = counter.told.load(Ordering::Relaxed);
        return Err(format!("{told} of {records} records in {RUN_MAX:?}").into());
    }
    world.end().await;
    let (first, last) = (*counter.first.lock(), *counter.last.lock());
    let (first, last) = first.zip(last).ok_or("no record came")?;
    Ok(spent(first, last))
}
