//! `webhooks`: writes what is to be sent of an event; `worker::deliveries` sends it.

use async_trait::async_trait;

use crate::db::{Db, Tx};
use crate::domain::webhooks;
use crate::events::Event;
use crate::events::group::{Handler, HandlerError};
use crate::events::topics::{FILE_EVENTS, JOB_EVENTS, USER_EVENTS};
use crate::kit::clock::SharedClock;

/// The handler.
#[derive(Debug)]
pub(super) struct Webhooks {
    pub(super) clock: SharedClock,
}

#[async_trait]
impl Handler for Webhooks {
    fn name(&self) -> &'static str {
        "webhooks"
    }

    fn topics(&self) -> &'static [&'static str] {
        &[JOB_EVENTS, FILE_EVENTS, USER_EVENTS]
    }

    /// Most projects have no webhook.
    async fn concerned(&self, db: &Db, events: &[&Event]) -> Result<Vec<bool>, HandlerError> {
        Ok(webhooks::wanted(db, events).await?)
    }

    async fn handle(&self, tx: &mut Tx, events: &[&Event]) -> Result<(), HandlerError> {
        Ok(webhooks::plan(tx, &*self.clock, events).await?)
    }
}
