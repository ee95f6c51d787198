//! How long an event takes from the call that stages it, by its commit, the relay, the log and a group, to the handler.
//! Events come at a steady rate whatever becomes of those before them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use spheroctl::db::{Tx, run_tx};
use spheroctl::events::group::{Effect, Handler, HandlerError};
use spheroctl::events::outbox::{OutboxBell, stage};
use spheroctl::events::relay::Relay;
use spheroctl::events::topics::JOB_EVENTS;
use spheroctl::events::{Error, Event};
use spheroctl::kit::clock::{Clock, SystemClock};
use spheroctl::kit::id::EventId;
use spheroctl::kit::lifecycle::Lifecycle;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::world::{World, event};
use super::{Failure, seconds};

/// What comes before the measurement: the group joins, connections are made.
const WARM_UP: usize = 500;
/// Longest wait for the last event.
const LAST_MAX: Duration = Duration::from_secs(60);

/// When each event was staged, and how long those that were handled took.
#[derive(Debug)]
struct Board {
    expected: usize,
    staged: Mutex<HashMap<EventId, Instant>>,
    waits_ms: Mutex<Vec<f64>>,
    done: CancellationToken,
}

#[async_trait]
impl Handler for Board {
    fn name(&self) -> &'static str {
        "bench"
    }

    fn topics(&self) -> &'static [&'static str] {
        &[JOB_EVENTS]
    }

    fn effect(&self) -> Effect {
        Effect::Outside
    }

    async fn handle(&self, _: &mut Tx, _: &[&Event]) -> Result<(), HandlerError> {
        Ok(())
    }

    async fn committed(&self, events: &[&Event]) -> Result<(), HandlerError> {
        for event in events {
            if let Some(staged) = self.staged.lock().remove(&event.id) {
                let mut waits = self.waits_ms.lock();
                waits.push(staged.elapsed().as_secs_f64() * 1000.0);
                if waits.len() == self.expected {
                    self.done.cancel();
                }
            }
        }
        Ok(())
    }
}

/// Stages `records` at `rate` per second, each in a transaction of its own.
pub async fn run(world: &World, records: usize, rate: f64) -> Result<Value, Failure> {
    world.topics().await?;
    let board = Arc::new(Board {
        expected: WARM_UP + records,
        staged: Mutex::default(),
        waits_ms: Mutex::default(),
        done: CancellationToken::new(),
    });
    world.start(board.clone());
    let (bell, tasks) = (OutboxBell::default(), Lifecycle::new());
    let relay = Relay::new(
        world.db.clone(),
        world.log.clone(),
        SystemClock::shared(),
        bell.clone(),
        "bench",
        &world.settings.outbox,
    );
    let drain = tasks.drain_token();
    tasks.spawn("bench.relay", relay.run(drain));
    let began = SystemClock.now();
    let (runtime, pacer, db) = (Handle::current(), board.clone(), world.db.clone());
    // A thread's sleep is exact to 0.1 ms, a timer of the runtime to 1 ms.
    let pace = std::thread::spawn(move || {
        let _guard = runtime.enter();
        let (tasks, begin) = (Lifecycle::new(), Instant::now());
        for number in 0..pacer.expected {
            let due = Duration::from_secs_f64(number as f64 / rate);
            std::thread::sleep(due.saturating_sub(begin.elapsed()));
            let event = event(number, 0);
            pacer.staged.lock().insert(event.id, Instant::now());
            let (db, bell) = (db.clone(), bell.clone());
            tasks.spawn("bench.stage", async move {
                let staged = run_tx!(db, "bench", |tx| -> Result<(), Error> {
                    stage(tx, std::slice::from_ref(&event)).await
                });
                bell.ring();
                staged
            });
        }
    });
    let limit = Duration::from_secs_f64(board.expected as f64 / rate) + LAST_MAX;
    let in_time = tokio::time::timeout(limit, board.done.cancelled()).await;
    pace.join().map_err(|_| "the pace failed")?;
    in_time.map_err(|_| "not all events were handled")?;
    tasks.finish(LAST_MAX).await;
    world.end().await;
    let waits = board.waits_ms.lock();
    Ok(json!({
        "began": seconds(began),
        "ended": seconds(SystemClock.now()),
        "waits_ms": waits[WARM_UP.min(waits.len())..],
    }))
}
