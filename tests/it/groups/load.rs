//! Events that come all the time: of so many keys, in turn, each with its number within its key.

use std::time::Duration;

use spheroctl::db::run_tx;
use spheroctl::events::outbox::{OutboxBell, stage};
use spheroctl::events::{Error, Event};
use spheroctl::kit::clock::SystemClock;
use spheroctl::kit::id::ImageId;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::auditor::{count, event, records};
use super::world::World;

/// What is sent at once, and how often.
const CHUNK: usize = 100;
const CHUNK_INTERVAL: Duration = Duration::from_millis(100);

/// How far [`Load::keep_ahead`] is ahead of the effects.
const AHEAD: i64 = 4_000;

pub struct Load {
    images: Vec<ImageId>,
    pub sent: Vec<Event>,
}

impl Load {
    pub fn new(keys: usize) -> Self {
        Self {
            images: (0..keys).map(|_| ImageId::new(&SystemClock)).collect(),
            sent: Vec::new(),
        }
    }

    /// How many were sent.
    pub fn records(&self) -> i64 {
        i64::try_from(self.sent.len()).expect("a small number")
    }

    /// Appends about a thousand records a second until it is enough.
    pub async fn run(&mut self, world: &World, enough: &CancellationToken) {
        let mut tick = ticks();
        while !enough.is_cancelled() {
            tick.tick().await;
            world.append(records(self.next())).await;
        }
    }

    /// Stages about a thousand events a second in the outbox until it is enough.
    pub async fn stage(&mut self, world: &World, bell: &OutboxBell, enough: &CancellationToken) {
        let mut tick = ticks();
        while !enough.is_cancelled() {
            tick.tick().await;
            let staged = run_tx!(world.db, "test", |tx| -> Result<(), Error> {
                stage(tx, self.next()).await
            });
            staged.expect("events are staged");
            bell.ring();
        }
    }

    /// Appends so that there is always something to do, until it is enough.
    pub async fn keep_ahead(&mut self, world: &World, enough: &CancellationToken) {
        let mut tick = ticks();
        while !enough.is_cancelled() {
            tick.tick().await;
            while self.records() < count(&world.db).await + AHEAD {
                world.append(records(self.next())).await;
            }
        }
    }

    fn next(&mut self) -> &[Event] {
        let from = self.sent.len();
        for at in from..from + CHUNK {
            let image = self.images[at % self.images.len()];
            let number = i64::try_from(at / self.images.len()).expect("a small number");
            self.sent.push(event(image, number));
        }
        &self.sent[from..]
    }
}

fn ticks() -> Interval {
    let mut ticks = interval(CHUNK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
