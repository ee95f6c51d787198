//! Serving lanes that have records: a few servers take them in turns, batches of several lanes for a round.
//!
//! The events of a round share a transaction. Where that fails, or one of them is a suspect, each batch goes on by itself,
//! one event after the other: only the one to blame loses an attempt, and only its lane waits. The starts that they shared
//! are taken back.
//!
//! * `ready`: lanes that wait for a server, and how many servers there are.
//! * `batch`: the records of a lane.
//! * `one_by_one`: a batch that goes on by itself.
//! * `rollback`: what a transaction that did not commit leaves to be written.
//! * `tries`: a start of the handler, and what came of it.
//! * `ends`: what follows a commit, and burials.
//! * `waits`: for permits, for what is away, between attempts.

mod batch;
mod ends;
mod one_by_one;
mod ready;
mod rollback;
mod tries;
mod waits;

use std::sync::Arc;

use futures::StreamExt;
use futures::stream;
use tokio::time::Instant;

use self::batch::{Batch, Item};
use self::one_by_one::OneByOne;
use super::core::Core;
use super::handler::{Effect, HandlerError};
use super::slot::Slot;
use crate::events::Event;
use crate::events::inbox::Standing;
use crate::kit::metrics;

pub(super) use self::ready::{LaneOf, Ready};

/// Lanes in which one server makes effects outside of the database side by side.
const LANES_AT_ONCE: usize = 16;

/// Has lanes served that have records.
pub(super) fn serve(core: &Arc<Core>, lanes: impl IntoIterator<Item = LaneOf>) {
    if core.ready.add(lanes) {
        start_server(core);
    }
}

/// The batch of a lane is done, or given up.
fn leave(core: &Arc<Core>, slot: Arc<Slot>, lane: usize) {
    if slot.leave(lane) {
        serve(core, [(slot, lane)]);
    }
}

fn start_server(core: &Arc<Core>) {
    let server = Server { core: core.clone() };
    core.lifecycle
        .spawn("group.server", async move { server.run().await });
}

/// Goes from round to round until no lane waits.
#[derive(Debug)]
struct Server {
    core: Arc<Core>,
}

impl Server {
    async fn run(self) {
        loop {
            // First the permit: while this waits for one, the batches grow. Those who wait take it in turns.
            let Ok(_permit) = self.core.permits.acquire().await else {
                return;
            };
            let effect = self.core.handler.effect();
            let Some(round) = self.core.ready.take(effect) else {
                return;
            };
            if round.starts_server {
                start_server(&self.core);
            }
            let taken = round.taken.into_iter();
            let batches = taken
                .map(|(lane, records)| Batch::new(lane, records))
                .collect();
            match effect {
                Effect::Inside => {
                    for batch in self.together(batches).await {
                        self.part(batch);
                    }
                }
                Effect::Outside => self.tell_all(batches).await,
            }
        }
    }

    /// Frees the lane of a batch that is done; what is not goes on by itself.
    fn part(&self, batch: Batch) {
        if batch.items.is_empty() {
            leave(&self.core, batch.slot, batch.lane);
        } else {
            let one_by_one = OneByOne::serve(self.core.clone(), batch);
            self.core.lifecycle.spawn("group.batch", one_by_one);
        }
    }

    /// Handles the events in one transaction, where all can be; answers what is left of the batches.
    async fn together(&self, mut batches: Vec<Batch>) -> Vec<Batch> {
        let events: Vec<&Event> = batches.iter().flat_map(Batch::events).collect();
        if events.len() < 2 {
            return batches;
        }
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        let turn = self.core.turns.shared().await;
        // Where the database is away, the way of one by one knows how to wait.
        let Ok((start, standings)) = self.core.inbox.begin(&ids).await else {
            return batches;
        };
        let to_do = events.iter().zip(&standings);
        let to_do: Vec<&Event> = to_do
            .filter(|(_, standing)| matches!(standing, Standing::Started { .. }))
            .map(|(event, _)| *event)
            .collect();
        let outcome = self.handle_started(&to_do, &standings).await;
        drop(turn);
        match outcome {
            Ok(()) => self.conclude_all(batches, &standings).await,
            Err(error) => {
                let group = self.core.name();
                tracing::debug!(group, %error, "{} event(s) go one by one: {error}", to_do.len());
                let started: Vec<_> = to_do.iter().map(|event| event.id).collect();
                rollback::share_out(&mut batches, &start, &started);
                batches
            }
        }
    }

    async fn handle_started(
        &self,
        to_do: &[&Event],
        standings: &[Standing],
    ) -> Result<(), HandlerError> {
        use Standing::{Dead, Done, Started};
        let is_clear = |it: &Standing| matches!(it, Started { .. } | Done | Dead);
        if !standings.iter().all(is_clear) {
            let why = "a suspect is among them".to_owned();
            return Err(HandlerError::Unavailable(why));
        }
        match to_do.is_empty() {
            true => Ok(()),
            false => self.core.handle(to_do).await,
        }
    }

    /// The transaction has committed: what lies outside of the database follows. Records that are no events, and what cannot
    /// be told at once, are left, and what follows the latter.
    async fn conclude_all(&self, mut batches: Vec<Batch>, standings: &[Standing]) -> Vec<Batch> {
        let mut standings = standings.iter();
        for batch in &mut batches {
            let mut done = Vec::with_capacity(batch.items.len());
            for item in &batch.items {
                let standing = item.event().and_then(|_| standings.next());
                let is_done = match standing {
                    None => false,
                    Some(_) if batch.failure.is_some() => false,
                    Some(Standing::Dead) => true,
                    Some(_) => self.tell(item, &mut batch.failure).await,
                };
                done.push(is_done);
            }
            self.take_out(batch, &done);
        }
        batches
    }

    /// Makes effects that are outside of the database alone, lane beside lane.
    async fn tell_all(&self, batches: Vec<Batch>) {
        let started = Instant::now();
        let told = stream::iter(batches)
            .map(|batch| self.tell_batch(batch))
            .buffer_unordered(LANES_AT_ONCE)
            .fold(0, async |sum, told| sum + told)
            .await;
        if told > 0 {
            metrics::events_handled(self.core.name(), "done", told, started.elapsed());
        }
    }

    /// How many were told. The first that cannot be told at once keeps back those behind it.
    async fn tell_batch(&self, mut batch: Batch) -> usize {
        let mut done = Vec::with_capacity(batch.items.len());
        for item in &batch.items {
            let goes_on = done.last() != Some(&false) && !item.is_replayed();
            done.push(goes_on && self.tell(item, &mut batch.failure).await);
        }
        self.take_out(&mut batch, &done);
        self.part(batch);
        done.iter().filter(|is_told| **is_told).count()
    }

    /// Makes the effect of one event outside of the database. False where that fails, or it is no event.
    async fn tell(&self, item: &Item, failure: &mut Option<HandlerError>) -> bool {
        let Some(event) = item.event() else {
            return false;
        };
        match self.core.committed(event).await {
            Ok(()) => true,
            Err(error) => {
                *failure = Some(error);
                false
            }
        }
    }

    /// Completes those that are done and leaves the others.
    fn take_out(&self, batch: &mut Batch, done: &[bool]) {
        let offsets = batch.items.iter().zip(done);
        let offsets: Vec<_> = offsets
            .filter(|(_, is_done)| **is_done)
            .flat_map(|(item, _)| item.offsets())
            .collect();
        self.core.complete(&batch.slot, &offsets, 0);
        let mut done = done.iter();
        batch.items.retain(|_| done.next() != Some(&true));
    }
}
