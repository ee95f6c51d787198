//! `notifier`: carries durable events to the realtime channels of those whom they concern. Who is told twice is told under
//! the same id, which a channel's history knows.

use async_trait::async_trait;

use crate::db::Tx;
use crate::domain::jobs::Status;
use crate::domain::push::Push;
use crate::events::group::{Effect, Handler, HandlerError};
use crate::events::topics::{JOB_EVENTS, USER_EVENTS};
use crate::events::types::{JobRef, MemberAdded, MemberRemoved};
use crate::events::{Event, Fact};

/// The handler.
#[derive(Debug)]
pub(super) struct Notifier {
    pub(super) push: Push,
}

#[async_trait]
impl Handler for Notifier {
    fn name(&self) -> &'static str {
        "notifier"
    }

    fn topics(&self) -> &'static [&'static str] {
        &[JOB_EVENTS, USER_EVENTS]
    }

    fn effect(&self) -> Effect {
        Effect::Outside
    }

    /// Nothing: all that it does is outside of the database.
    async fn handle(&self, _tx: &mut Tx, _events: &[&Event]) -> Result<(), HandlerError> {
        Ok(())
    }

    async fn committed(&self, event: &Event) -> Result<(), HandlerError> {
        match &event.fact {
            Fact::JobCompleted(it) => {
                self.ended(event, &it.job, it.attempt, Status::Completed)
                    .await
            }
            Fact::JobDead(it) => self.ended(event, &it.job, it.attempt, Status::Dead).await,
            Fact::JobCancelled(it) => {
                self.ended(event, &it.job, it.attempt, Status::Cancelled)
                    .await
            }
            Fact::MemberAdded(MemberAdded { user_id, .. })
            | Fact::MemberRemoved(MemberRemoved { user_id, .. }) => {
                self.push.access_changed(*user_id).await;
                Ok(())
            }
            Fact::JobSubmitted(_)
            | Fact::JobStarted(_)
            | Fact::JobFailed(_)
            | Fact::JobReplayed(_)
            | Fact::FileStored(_) => Ok(()),
        }
    }
}

impl Notifier {
    async fn ended(
        &self,
        event: &Event,
        job: &JobRef,
        attempt: i64,
        status: Status,
    ) -> Result<(), HandlerError> {
        let told = self
            .push
            .job_ended(event.id, job.job_id, job.owner, attempt, status);
        // The state store is away, which is nobody's fault; later the client is told by the row.
        told.await
            .map_err(|error| HandlerError::Unavailable(error.to_string()))
    }
}
