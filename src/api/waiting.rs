//! How long a request waits for the end of its jobs.

use std::time::Duration;

use axum::Extension;
use tokio::time::Instant;

use crate::domain::Error;
use crate::domain::access::Principal;
use crate::domain::jobs::Job;
use crate::http::TimeLimit;

use super::Api;
use super::conventions::Patience;

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
        let left = deadline.saturating_duration_since(Instant::now());
        ended.push(api.jobs.wait_for_end(principal, job.id, left).await?);
    }
    Ok(ended)
}
