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

use tokio::time::Instant;

use self::batch::{Batch, Item};
use self::one_by_one::OneByOne;
use super::core::Core;
use super::handler::{Effect, HandlerError};
use super::slot::Slot;
use crate::events::Event;
use crate::events::inbox::Standing;
use crate::kit::id::EventId;
use crate::kit::metrics;

pub(super) use self::ready::{LaneOf, Ready};

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

    /// Completes the events that do not concern the group.
    async fn pass_over(&self, batches: &mut [Batch]) {
        let started = Instant::now();
        let events: Vec<&Event> = batches.iter().flat_map(Batch::events).collect();
        let concerned = self.core.concerned(&events).await;
        if concerned.iter().all(|is_concerned| *is_concerned) {
            return;
        }
        let (mut concerned, mut passed) = (concerned.into_iter(), 0);
        for batch in batches {
            self.complete(batch, |_, item| {
                let is_concerned = item.event().and_then(|_| concerned.next());
                let passes = is_concerned == Some(false) && item.is_fresh();
                passed += usize::from(passes);
                passes
            });
        }
        metrics::events_handled(self.core.name(), "passed_over", passed, started.elapsed());
    }

    /// Handles the events in one transaction, where all can be; answers what is left of the batches.
    async fn together(&self, mut batches: Vec<Batch>) -> Vec<Batch> {
        self.pass_over(&mut batches).await;
        let events: Vec<&Event> = batches.iter().flat_map(Batch::events).collect();
        if events.len() < 2 {
            return batches;
        }
        let ids = ids_of(&events);
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
                let started = ids_of(&to_do);
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

    /// The transaction has committed: what lies outside of the database follows. Records that are no events are left; where
    /// something cannot be told at once, all are.
    async fn conclude_all(&self, mut batches: Vec<Batch>, standings: &[Standing]) -> Vec<Batch> {
        let events = batches.iter().flat_map(Batch::events);
        let to_tell = events.zip(standings);
        let to_tell = to_tell.filter(|(_, standing)| !matches!(standing, Standing::Dead));
        let to_tell: Vec<&Event> = to_tell.map(|(event, _)| event).collect();
        match self.core.committed(&to_tell).await {
            Ok(()) => batches.iter_mut().for_each(|batch| {
                self.complete(batch, |_, item| item.event().is_some());
            }),
            Err(error) => blame(&ids_of(&to_tell), error, &mut batches),
        }
        batches
    }

    /// Makes effects that are outside of the database alone: of each batch those up to the first record that is not fresh.
    /// Where they cannot be told at once, none is done.
    async fn tell_all(&self, mut batches: Vec<Batch>) {
        let started = Instant::now();
        let first: Vec<usize> = batches.iter().map(Batch::first_fresh).collect();
        let to_tell = batches.iter().zip(&first);
        let to_tell: Vec<&Event> = to_tell
            .flat_map(|(batch, first)| batch.events().take(*first))
            .collect();
        match self.core.committed(&to_tell).await {
            Ok(()) => {
                if !to_tell.is_empty() {
                    let (group, told) = (self.core.name(), to_tell.len());
                    metrics::events_handled(group, "done", told, started.elapsed());
                }
                for (batch, first) in batches.iter_mut().zip(first) {
                    self.complete(batch, |number, _| number < first);
                }
            }
            Err(error) => blame(&ids_of(&to_tell), error, &mut batches),
        }
        for batch in batches {
            self.part(batch);
        }
    }

    /// Completes those of a batch that are done and leaves the others.
    fn complete(&self, batch: &mut Batch, mut is_done: impl FnMut(usize, &Item) -> bool) {
        let mut offsets = Vec::with_capacity(batch.items.len());
        let mut number = 0;
        batch.items.retain(|item| {
            let is_done = is_done(number, item);
            number += 1;
            if is_done {
                offsets.extend(item.offsets());
            }
            !is_done
        });
        self.core.complete(&batch.slot, &offsets, 0);
    }
}

fn ids_of(events: &[&Event]) -> Vec<EventId> {
    events.iter().map(|event| event.id).collect()
}

/// Telling has failed: that counts for an event that was told alone. Of several any may be to blame.
fn blame(told: &[EventId], error: HandlerError, batches: &mut [Batch]) {
    tracing::debug!(%error, "{} event(s) were not told together: {error}", told.len());
    if let [alone] = told {
        let is_its = |batch: &&mut Batch| batch.events().any(|event| event.id == *alone);
        if let Some(batch) = batches.iter_mut().find(is_its) {
            batch.failure = Some(error);
        }
    }
}
