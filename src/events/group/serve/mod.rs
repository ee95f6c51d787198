//! Serving one lane: batch after batch until nothing waits.
//!
//! A batch of several events shares a transaction. Where that fails, or one of them is a suspect, each goes by itself,
//! in order: only the one to blame loses an attempt. Starts that are not to blame are taken back.
//!
//! * `item`: the records of a batch.
//! * `tries`: a start of the handler, and what came of it.
//! * `ends`: what follows a commit, and burials.
//! * `waits`: for permits, for what is away, between attempts.

mod ends;
mod item;
mod tries;
mod waits;

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use self::item::{Item, items};
use self::tries::{Cause, Tried};
use self::waits::{BACKOFF, Stopped};
use super::core::{Broken, Core};
use super::handler::{Effect, HandlerError};
use super::slot::Slot;
use crate::events::Event;
use crate::events::inbox::{Standing, Start};
use crate::kit::id::EventId;

/// Class of a record that is no event.
const UNDECODABLE: &str = "undecodable";

/// Serves one lane of a slot.
#[derive(Debug)]
pub(super) struct Server {
    core: Arc<Core>,
    slot: Arc<Slot>,
    /// Held while there is work with the database, given back for every wait.
    permit: Option<OwnedSemaphorePermit>,
}

impl Server {
    pub fn new(core: Arc<Core>, slot: Arc<Slot>) -> Self {
        Self {
            core,
            slot,
            permit: None,
        }
    }

    /// Serves the lane until nothing waits in it or the partition goes.
    pub async fn serve(mut self, lane: usize) {
        loop {
            // First the permit: while this waits for one, the batch grows.
            let ready = self.take_permit().await;
            let Some(batch) = self.slot.next_batch(lane) else {
                return;
            };
            if ready.is_ok() {
                // Safe to ignore: a partition that goes has no batch left.
                let _ = self.run(items(batch)).await;
            }
        }
    }

    async fn run(&mut self, items: Vec<Item>) -> Result<(), Stopped> {
        if self.core.handler.effect() == Effect::Outside {
            return self.tell_all(items).await;
        }
        for item in self.together(items).await? {
            self.one(item).await?;
        }
        Ok(())
    }

    /// Handles the events of a batch in one transaction, where all can be; answers what is left to do.
    async fn together(&mut self, items: Vec<Item>) -> Result<Vec<Item>, Stopped> {
        let events: Vec<&Event> = items.iter().filter_map(Item::event).collect();
        if events.len() < 2 {
            return Ok(items);
        }
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        let turn = self.core.turns.shared().await;
        // Where the database is away, the way of one by one knows how to wait.
        let Ok((start, standings)) = self.core.inbox.begin(&ids).await else {
            return Ok(items);
        };
        let started = |standing: &Standing| matches!(standing, Standing::Started { .. });
        let is_settled = |it: &Standing| matches!(it, Standing::Done | Standing::Dead);
        let to_do = events.iter().zip(&standings);
        let to_do: Vec<&Event> = to_do
            .filter(|(_, standing)| started(standing))
            .map(|(event, _)| *event)
            .collect();
        let outcome = if standings.iter().all(|it| started(it) || is_settled(it)) {
            match to_do.is_empty() {
                true => Ok(()),
                false => self.core.handle(&to_do).await,
            }
        } else {
            Err(Broken {
                culprit: None,
                error: HandlerError::Unavailable("a suspect is among them".to_owned()),
            })
        };
        drop(turn);
        if let Err(broken) = outcome {
            let to_do: Vec<_> = to_do.iter().map(|event| event.id).collect();
            self.end_starts(&start, &to_do, &broken).await?;
            return Ok(items);
        }
        self.conclude_all(items, &standings).await
    }

    /// A batch did not commit: the culprit's start has failed, the others' are taken back.
    async fn end_starts(
        &mut self,
        start: &Start,
        events: &[EventId],
        broken: &Broken,
    ) -> Result<(), Stopped> {
        let culprit = broken.culprit.filter(|_| !broken.error.is_outage());
        let culprit = culprit.map(|at| events[at]);
        let innocent = events.iter().filter(|event| Some(**event) != culprit);
        let innocent: Vec<_> = innocent.copied().collect();
        let core = self.core.clone();
        self.persist(|| core.inbox.take_back(start, &innocent))
            .await?;
        let Some(culprit) = culprit else {
            return Ok(());
        };
        let why = broken.error.to_string();
        self.core.note_error(&why);
        self.persist(|| core.inbox.fail(start, culprit, &why)).await
    }

    /// The transaction of a batch has committed; undecodable records are left to do.
    async fn conclude_all(
        &mut self,
        items: Vec<Item>,
        standings: &[Standing],
    ) -> Result<Vec<Item>, Stopped> {
        let mut standings = standings.iter();
        let mut left = Vec::new();
        for item in items {
            if item.event.is_err() {
                left.push(item);
            } else if standings.next() == Some(&Standing::Dead) {
                self.complete(&item, 0);
            } else {
                self.conclude(&item).await?;
            }
        }
        Ok(left)
    }

    /// Handles one record, however often it takes.
    async fn one(&mut self, item: Item) -> Result<(), Stopped> {
        let event = match &item.event {
            Ok(event) => event,
            Err(error) => {
                let cause = Cause {
                    attempts: 0,
                    class: UNDECODABLE,
                    message: error.to_string(),
                };
                return self.bury(&item, cause).await;
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
                Tried::Done => return self.conclude(&item).await,
                Tried::Dead => {
                    self.complete(&item, 0);
                    return Ok(());
                }
                Tried::Died(cause) => return self.bury(&item, cause).await,
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
