//! A batch whose records go one by one, in order: it does not commit together with others, or something of it needs more
//! than one try. Its lane waits where it must; no other does.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::super::core::Core;
use super::super::handler::{Effect, HandlerError};
use super::super::slot::Slot;
use super::batch::{Batch, Item};
use super::tries::{Cause, Tried};
use super::waits::{BACKOFF, Stopped};
use crate::kit::metrics;

/// Class of a record that is no event.
const UNDECODABLE: &str = "undecodable";

/// Does one batch.
#[derive(Debug)]
pub(super) struct OneByOne {
    pub core: Arc<Core>,
    pub slot: Arc<Slot>,
    /// Held while there is work with the database, given back for every wait.
    pub permit: Option<OwnedSemaphorePermit>,
    /// How telling the first event has failed already.
    pub failure: Option<HandlerError>,
}

impl OneByOne {
    /// Does the batch until nothing is left of it or the partition goes; its lane is free then.
    pub async fn serve(core: Arc<Core>, batch: Batch) {
        let (slot, lane) = (batch.slot.clone(), batch.lane);
        let this = Self {
            core: core.clone(),
            slot: slot.clone(),
            permit: None,
            failure: None,
        };
        // Safe to ignore: what a partition that goes leaves undone, others will do.
        let _ = this.run(batch).await;
        super::leave(&core, slot, lane);
    }

    async fn run(mut self, batch: Batch) -> Result<(), Stopped> {
        self.take_permit().await?;
        self.failure = batch.failure;
        if let Some(rollback) = &batch.rollback {
            self.roll_back(rollback).await?;
        }
        for item in &batch.items {
            match self.core.handler.effect() {
                Effect::Outside if item.is_fresh() => self.tell_alone(item).await?,
                _ => self.one(item).await?,
            }
        }
        Ok(())
    }

    async fn tell_alone(&mut self, item: &Item) -> Result<(), Stopped> {
        let started = Instant::now();
        if self.tell(item).await? {
            metrics::events_handled(self.core.name(), "done", 1, started.elapsed());
            self.complete(item, 0);
        }
        Ok(())
    }

    /// Handles one record, however often it takes.
    async fn one(&mut self, item: &Item) -> Result<(), Stopped> {
        let event = match &item.event {
            Ok(event) => event,
            Err(error) => {
                let cause = Cause {
                    attempts: 0,
                    class: UNDECODABLE,
                    message: error.to_string(),
                };
                return self.bury(item, cause).await;
            }
        };
        let mut outages = 0;
        loop {
            if self.slot.stop.is_cancelled() {
                return Err(Stopped);
            }
            let tried = match self.try_beside_others(event).await? {
                Tried::Suspect => self.try_alone(event).await?,
                tried => tried,
            };
            match tried {
                Tried::Done => return self.conclude(item).await,
                Tried::Dead => {
                    self.complete(item, 0);
                    return Ok(());
                }
                Tried::Died(cause) => return self.bury(item, cause).await,
                // Somebody else's start ended or began meanwhile.
                Tried::Suspect => self.rest(BACKOFF.wait(1)).await?,
                Tried::Failed { attempt } => {
                    outages = 0;
                    let failures = u32::try_from(attempt).unwrap_or(1);
                    self.rest(BACKOFF.wait(failures)).await?;
                }
                Tried::Outage(why) => {
                    outages += 1;
                    self.hold(&why, outages).await?;
                }
            }
        }
    }
}
