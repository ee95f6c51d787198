//! Waiting for a job's end: listen first, then look at the row, then wait with a fallback look, so that nothing is
//! missed whatever happens in between.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::Error;
use crate::domain::access::Principal;
use crate::kit::id::JobId;
use crate::state::{Delivery, Subscription};

use super::{Job, Jobs};

/// The row is looked at this often although nobody told of a change.
const FALLBACK_INTERVAL: Duration = Duration::from_millis(500);

impl Jobs {
    /// The job when it has ended, or as it stands after `patience`.
    ///
    /// # Errors
    /// As [`Jobs::find`].
    pub async fn wait_for_end(
        &self,
        principal: &Principal,
        id: JobId,
        patience: Duration,
    ) -> Result<Job, Error> {
        let deadline = Instant::now() + patience;
        let mut messages = self.push.watch_job(id).await;
        loop {
            let job = self.find(principal, id).await?;
            if job.status.is_final() || Instant::now() >= deadline {
                return Ok(job);
            }
            let next_look = deadline.min(Instant::now() + FALLBACK_INTERVAL);
            tokio::select! {
                () = tokio::time::sleep_until(next_look) => {}
                () = told(&mut messages) => {}
            }
        }
    }
}

/// Resolves with the next message; never where nobody can tell.
async fn told(messages: &mut Option<Box<dyn Subscription>>) {
    let delivery = match messages {
        Some(messages) => messages.next().await,
        None => None,
    };
    match delivery {
        Some(Delivery::Message(_) | Delivery::Lagged) => {}
        None => std::future::pending().await,
    }
}
