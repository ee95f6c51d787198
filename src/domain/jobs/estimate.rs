//! When a waiting job may start: how many stand before it in the queue, divided by how many ended per second lately.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::db::Tx;
use crate::domain::Error;

use super::store::figures;
use super::{Job, Jobs, Status};

/// Jobs that ended within this say how fast the next ones go.
const RATE_WINDOW: TimeDelta = TimeDelta::minutes(5);
/// The last so many of them.
const RATE_SAMPLE_MAX: u32 = 1_000;

/// What a waiting job may expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Outlook {
    /// Its place in the queue, 1 is next. None for a job that is not due yet, and while the queue does not answer.
    pub position: Option<u64>,
    /// When it may start. Of a job that is not due yet the instant at which it is; none where nothing ended within the
    /// last five minutes.
    pub estimated_start_at: Option<DateTime<Utc>>,
}

impl Jobs {
    /// What this job may expect; `None` where it does not wait.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn outlook(&self, job: &Job) -> Result<Option<Outlook>, Error> {
        if job.status != Status::Queued {
            return Ok(None);
        }
        let position = self.queue.position(job.id).await.unwrap_or_else(|error| {
            tracing::debug!(%error, job = %job.id, "nobody knows the place of job {}: {error}", job.id);
            None
        });
        let now = self.clock.now();
        let mut tx = self.db.reader().await?;
        outlook(&mut tx, job, position, now).await.map(Some)
    }
}

async fn outlook(
    tx: &mut Tx,
    job: &Job,
    position: Option<u64>,
    now: DateTime<Utc>,
) -> Result<Outlook, Error> {
    let estimated_start_at = match position {
        None => Some(job.scheduled_at).filter(|due| *due > now),
        Some(position) => rate(tx, now)
            .await?
            .and_then(|per_second| after(now, position as f64 / per_second)),
    };
    Ok(Outlook {
        position,
        estimated_start_at,
    })
}

/// Jobs that ended per second, over the last five minutes or the last thousand jobs; `None` where none did.
pub(super) async fn rate(tx: &mut Tx, now: DateTime<Utc>) -> Result<Option<f64>, Error> {
    let lately = figures::ended_since(tx, now - RATE_WINDOW, RATE_SAMPLE_MAX).await?;
    Ok(per_second(lately, now))
}

/// From the first of `count` ends to now there were `count` - 1 more: so a burst after a long rest is not thinned by the
/// rest. A lone end says only that there was one in the window.
fn per_second((count, first): (u64, Option<DateTime<Utc>>), now: DateTime<Utc>) -> Option<f64> {
    let seconds = |span: TimeDelta| span.as_seconds_f64().max(1.0);
    match (count, first) {
        (0, _) | (_, None) => None,
        (1, _) => Some(1.0 / seconds(RATE_WINDOW)),
        (count, Some(first)) => Some((count - 1) as f64 / seconds(now - first)),
    }
}

fn after(now: DateTime<Utc>, seconds: f64) -> Option<DateTime<Utc>> {
    let wait = Duration::try_from_secs_f64(seconds).ok()?;
    let wait = TimeDelta::from_std(wait).ok()?;
    now.checked_add_signed(TimeDelta::milliseconds(wait.num_milliseconds()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    #[test]
    fn the_rate_is_that_of_the_time_in_which_jobs_ended() {
        assert_eq!(per_second((0, None), at(1_000)), None);
        assert_eq!(per_second((1, Some(at(999))), at(1_000)), Some(1.0 / 300.0));
        assert_eq!(per_second((11, Some(at(980))), at(1_000)), Some(0.5));
        // All in the same instant: not more per second than there were.
        assert_eq!(per_second((5, Some(at(1_000))), at(1_000)), Some(4.0));
    }

    #[test]
    fn an_estimate_beyond_all_time_is_none() {
        assert_eq!(
            after(at(0), 2.5),
            Some(at(2) + TimeDelta::milliseconds(500))
        );
        assert_eq!(after(at(0), 1e300), None);
        assert_eq!(after(at(0), f64::NAN), None);
    }
}
