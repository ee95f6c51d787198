//! What is left to write after a transaction of several events that did not commit: nobody knows which of them was to
//! blame, so that none of their starts counts.

use super::batch::Batch;
use super::one_by_one::OneByOne;
use super::waits::Stopped;
use crate::events::Event;
use crate::events::inbox::Start;
use crate::kit::id::EventId;

/// The starts of a batch's events, which have ended without their effects.
#[derive(Debug)]
pub struct Rollback {
    start: Start,
    events: Vec<EventId>,
}

/// Says of each batch which of its events were `started`.
pub fn share_out(batches: &mut [Batch], start: &Start, started: &[EventId]) {
    for batch in batches {
        let started = |event: &Event| started.contains(&event.id).then_some(event.id);
        let events: Vec<_> = batch.events().filter_map(started).collect();
        let start = start.clone();
        batch.rollback = (!events.is_empty()).then_some(Rollback { start, events });
    }
}

impl OneByOne {
    /// The starts are taken back.
    pub(super) async fn roll_back(&mut self, rollback: &Rollback) -> Result<(), Stopped> {
        let core = self.core.clone();
        self.persist(|| core.inbox.take_back(&rollback.start, &rollback.events))
            .await
    }
}
