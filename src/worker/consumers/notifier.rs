//! `notifier`: carries durable events to the realtime channels of those whom they concern. Who is told twice is told under
//! the same id, which a channel's history knows.

use async_trait::async_trait;

use crate::db::Tx;
use crate::domain::jobs::Status;
use crate::domain::push::{JobEnd, Push};
use crate::events::group::{Effect, Handler, HandlerError};
use crate::events::topics::{JOB_EVENTS, USER_EVENTS};
use crate::events::types::{MemberAdded, MemberRemoved};
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

    async fn committed(&self, events: &[&Event]) -> Result<(), HandlerError> {
        let ends = events.iter().filter_map(|event| end_of(event));
        let ends: Vec<JobEnd> = ends.collect();
        // Where the state store is away, that is nobody's fault; later the client is told by the row.
        let told = self.push.jobs_ended(&ends).await;
        told.map_err(|error| HandlerError::Unavailable(error.to_string()))?;
        for event in events {
            if let Fact::MemberAdded(MemberAdded { user_id, .. })
            | Fact::MemberRemoved(MemberRemoved { user_id, .. }) = &event.fact
            {
                self.push.access_changed(*user_id).await;
            }
        }
        Ok(())
    }
}

/// The end of a job, where the event tells of one.
fn end_of(event: &Event) -> Option<JobEnd> {
    let (job, attempt, status) = match &event.fact {
        Fact::JobCompleted(it) => (&it.job, it.attempt, Status::Completed),
        Fact::JobDead(it) => (&it.job, it.attempt, Status::Dead),
        Fact::JobCancelled(it) => (&it.job, it.attempt, Status::Cancelled),
        Fact::JobSubmitted(_)
        | Fact::JobStarted(_)
        | Fact::JobFailed(_)
        | Fact::JobReplayed(_)
        | Fact::FileStored(_)
        | Fact::MemberAdded(_)
        | Fact::MemberRemoved(_) => return None,
    };
    Some(JobEnd {
        event: event.id,
        job: job.job_id,
        owner: job.owner,
        attempt,
        status,
    })
}
