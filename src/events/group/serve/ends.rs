//! What follows a commit, and burials.

use super::super::core::Core;
use super::super::handler::HandlerError;
use super::batch::Item;
use super::one_by_one::OneByOne;
use super::tries::Cause;
use super::waits::{BACKOFF, Stopped};
use crate::events::Event;
use crate::events::dead_letters::{Death, letter};
use crate::events::inbox::ATTEMPTS_MAX;
use crate::events::log::{self, NewRecord};
use crate::kit::metrics;

impl OneByOne {
    /// The effect is committed: what lies outside of the database follows, then the record is done.
    pub(super) async fn conclude(&mut self, item: &Item) -> Result<(), Stopped> {
        if self.tell(item).await? {
            self.complete(item, 0);
        }
        Ok(())
    }

    /// Makes the effect outside of the database; false where the record died of it and is done.
    pub(super) async fn tell(&mut self, item: &Item) -> Result<bool, Stopped> {
        let Ok(event) = &item.event else {
            return Ok(true);
        };
        let (mut attempt, mut outages) = (0, 0);
        while let Err(error) = self.try_to_tell(event).await {
            let why = error.to_string();
            if error.is_outage() {
                outages += 1;
                self.hold(&why, outages).await?;
                continue;
            }
            attempt += 1;
            self.core.note_error(&why);
            if matches!(error, HandlerError::Refused(_)) || attempt >= ATTEMPTS_MAX {
                let cause = Cause {
                    attempts: attempt,
                    class: error.class(),
                    message: why,
                };
                self.bury(item, cause).await?;
                return Ok(false);
            }
            self.rest(BACKOFF.wait(u32::try_from(attempt).unwrap_or(1)))
                .await?;
        }
        Ok(true)
    }

    /// The first try may have been made by others.
    async fn try_to_tell(&mut self, event: &Event) -> Result<(), HandlerError> {
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => self.core.committed(&[event]).await,
        }
    }

    /// Puts a record into the dead letters; waits for as long as they cannot be written.
    pub(super) async fn bury(&mut self, item: &Item, cause: Cause) -> Result<(), Stopped> {
        let core = self.core.clone();
        let death = Death {
            group: core.name(),
            attempts: cause.attempts,
            class: cause.class,
            message: &cause.message,
            at: core.clock.now(),
            host: &core.instance,
        };
        let dead = letter(&item.record, &death);
        let mut failures = 0;
        while let Err(error) = append(&core, &dead).await {
            failures += 1;
            let why = format!("{} cannot be written: {error}", dead.topic);
            self.stall(&why, failures).await?;
        }
        let place = &item.record.partition;
        tracing::error!(
            group = core.name(),
            topic = place.topic,
            partition = place.number,
            offset = item.record.offset,
            class = cause.class,
            "a record went to {}: {}",
            dead.topic,
            cause.message
        );
        core.note_error(&cause.message);
        metrics::dlq_record(&place.topic, core.name());
        if let Ok(event) = &item.event {
            self.persist(|| core.inbox.bury(event.id, &cause.message))
                .await?;
        }
        self.complete(item, 1);
        Ok(())
    }

    pub(super) fn complete(&self, item: &Item, dead: usize) {
        let offsets: Vec<_> = item.offsets().collect();
        self.core.complete(&self.slot, &offsets, dead);
    }
}

async fn append(core: &Core, dead: &NewRecord) -> Result<(), log::Error> {
    let answers = core.log.append(vec![dead.clone()]).await;
    match answers.into_iter().next() {
        Some(answer) => answer.map(drop),
        None => Err(log::Error::Unavailable("no answer".to_owned())),
    }
}
