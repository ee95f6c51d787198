//! `projector`: the feed and the sums of projects and people.

use async_trait::async_trait;

use crate::db::Tx;
use crate::domain::activity;
use crate::events::Event;
use crate::events::group::{Handler, HandlerError};
use crate::events::topics::{FILE_EVENTS, JOB_EVENTS, USER_EVENTS};

/// The handler.
#[derive(Debug)]
pub(super) struct Projector;

#[async_trait]
impl Handler for Projector {
    fn name(&self) -> &'static str {
        "projector"
    }

    fn topics(&self) -> &'static [&'static str] {
        &[JOB_EVENTS, FILE_EVENTS, USER_EVENTS]
    }

    async fn handle(&self, tx: &mut Tx, events: &[&Event]) -> Result<(), HandlerError> {
        Ok(activity::project(tx, events).await?)
    }
}
