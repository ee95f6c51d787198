//! Old rows leave the table: dead and cancelled jobs without a result, and the records of single runs. Jobs that
//! completed and their results stay for ever.

use crate::db::run_tx;
use crate::domain::Error;
use crate::kit::metrics;

use super::Jobs;
use super::store::forget::{forget_attempts, forget_jobs};

/// Rows of one transaction: its locks are short.
const ROUND_MAX: u32 = 1_000;
/// Rounds of one call: 100,000 rows, a plate's run of an arm of a study.
const ROUNDS_MAX: u32 = 100;

impl Jobs {
    /// Removes what ended longer than `queue.keep_ended_s` ago, and says how many jobs that were; nothing where it is 0.
    ///
    /// # Errors
    /// When the database does not answer; the next call goes on.
    pub async fn forget_ended(&self) -> Result<u64, Error> {
        let Some(keep_ended) = self.rules.keep_ended else {
            return Ok(0);
        };
        let before = self.clock.now() - keep_ended;
        let mut gone = 0;
        for _ in 0..ROUNDS_MAX {
            let (jobs, attempts) =
                run_tx!(self.db, "job.forget", |tx| -> Result<(u64, u64), Error> {
                    let jobs = forget_jobs(tx, before, ROUND_MAX).await?;
                    Ok((jobs, forget_attempts(tx, before, ROUND_MAX).await?))
                })?;
            gone += jobs;
            metrics::jobs_removed("expired", jobs);
            if jobs.max(attempts) < u64::from(ROUND_MAX) {
                break;
            }
        }
        Ok(gone)
    }
}
