//! What is left to write after a transaction of several events that did not commit.

use super::super::core::Broken;
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
    /// Their starts are not counted.
    innocent: Vec<EventId>,
    /// Whose start has failed, and why.
    culprit: Option<(EventId, String)>,
}

/// Says of each batch which of its `started` events is to blame.
pub fn share_out(batches: &mut [Batch], start: &Start, started: &[EventId], broken: &Broken) {
    let culprit = broken.culprit.filter(|_| !broken.error.is_outage());
    let culprit = culprit.map(|at| started[at]);
    for batch in batches {
        let started = |event: &Event| started.contains(&event.id).then_some(event.id);
        let mut innocent: Vec<_> = batch.events().filter_map(started).collect();
        let known = innocent.len();
        innocent.retain(|event| Some(*event) != culprit);
        let culprit = culprit.filter(|_| innocent.len() < known);
        batch.rollback = Some(Rollback {
            start: start.clone(),
            innocent,
            culprit: culprit.map(|event| (event, broken.error.to_string())),
        });
    }
}

impl OneByOne {
    /// The culprit's start has failed, the others' are taken back.
    pub(super) async fn roll_back(&mut self, rollback: &Rollback) -> Result<(), Stopped> {
        let core = self.core.clone();
        let Rollback {
            start,
            innocent,
            culprit,
        } = rollback;
        if !innocent.is_empty() {
            self.persist(|| core.inbox.take_back(start, innocent))
                .await?;
        }
        let Some((culprit, why)) = culprit else {
            return Ok(());
        };
        core.note_error(why);
        self.persist(|| core.inbox.fail(start, *culprit, why)).await
    }
}
