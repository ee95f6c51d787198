//! Waiting for the end of jobs: each message about a job, and each half second without one, is a reason to look at its
//! row, which alone decides.

use std::time::Duration;

use axum::Extension;
use tokio::time::{Instant, timeout_at};

use crate::domain::Error;
use crate::domain::access::Principal;
use crate::domain::jobs::Job;
use crate::domain::push::job_channel;
use crate::http::TimeLimit;
use crate::kit::id::JobId;
use crate::state::Subscription;

use super::Api;
use super::conventions::Patience;

/// A row is looked at this often where no message comes (the state store may be away).
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Time that the rest of the request may take beside the wait.
const BESIDES: Duration = Duration::from_secs(10);

/// How long this request waits for its jobs' ends: as its client wishes, at most `queue.wait_max_ms`; always that where
/// the queue is off. The request's time limit moves with it.
pub(super) fn patience(
    api: &Api,
    wished: Patience,
    limit: Option<Extension<TimeLimit>>,
) -> Option<Duration> {
    let longest = api.rules.wait_max;
    let patience = match api.rules.queue_enabled {
        true => wished.0?.min(longest),
        false => longest,
    };
    if let Some(Extension(limit)) = limit {
        limit.extend(patience + BESIDES);
    }
    Some(patience)
}

/// The jobs as they stand when all have ended or `patience` has run out.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn until_ended(
    api: &Api,
    principal: &Principal,
    jobs: Vec<Job>,
    patience: Duration,
) -> Result<Vec<Job>, Error> {
    let deadline = Instant::now() + patience;
    let mut ended = Vec::with_capacity(jobs.len());
    for job in jobs {
        ended.push(until_one_ended(api, principal, job.id, deadline).await?);
    }
    Ok(ended)
}

async fn until_one_ended(
    api: &Api,
    principal: &Principal,
    id: JobId,
    deadline: Instant,
) -> Result<Job, Error> {
    // Before the first look: an end in between is then a message.
    let mut messages = api.state.subscribe(&job_channel(id)).await.ok();
    loop {
        let job = api.jobs.find(principal, id).await?;
        let now = Instant::now();
        if job.status.is_final() || now >= deadline {
            return Ok(job);
        }
        sign_of_change(&mut messages, deadline.min(now + LOOK_INTERVAL)).await;
    }
}

/// Returns when something was said about the job, or at `until`.
async fn sign_of_change(messages: &mut Option<Box<dyn Subscription>>, until: Instant) {
    let Some(subscription) = messages else {
        return tokio::time::sleep_until(until).await;
    };
    // Closed for good: from now on only the row is asked.
    if let Ok(None) = timeout_at(until, subscription.next()).await {
        *messages = None;
    }
}
