//! A run that succeeded: result, job row and event in one transaction, which jobs that finish together share.

use std::collections::HashSet;

use async_trait::async_trait;

use crate::db::{Db, run_tx};
use crate::domain::Error;
use crate::domain::segmentations::{self, Found};
use crate::events::outbox;
use crate::kit::batcher::{Batcher, Limits, Stopped};
use crate::kit::clock::SharedClock;
use crate::kit::id::JobId;
use crate::queue::Release;
use crate::segment::Segmentation;

use super::claim::Claimed;
use super::end::Ended;
use super::together::{Effect, together};
use super::{Job, Jobs, Status, facts, store};

/// Results of one transaction, by weight: one each, and one per KiB that stands in the row.
const LIMITS: Limits = Limits {
    weight_max: 1_024,
    waiting_max: 1_024,
};
const BYTES_PER_WEIGHT: usize = 1_024;

/// A run that succeeded.
#[derive(Debug)]
pub struct Finished {
    /// The job.
    pub claimed: Claimed,
    /// What was found.
    pub result: Segmentation,
}

/// Writes ends, many at once.
pub(super) type Finishing = Batcher<(Job, Found), Result<(), Error>>;

/// Where ends are written.
#[derive(Debug, Clone)]
pub(super) struct Finisher {
    pub(super) db: Db,
    pub(super) clock: SharedClock,
}

impl Finisher {
    /// From now on calls share transactions.
    pub(super) fn start(self) -> Finishing {
        Batcher::start("job.finish", LIMITS, move |ends: Vec<(Job, Found)>| {
            let finisher = self.clone();
            async move { together(&finisher, &ends).await }
        })
    }
}

#[async_trait]
impl Effect for Finisher {
    type Item = (Job, Found);
    type Answer = ();

    async fn commit(&self, ends: &[(Job, Found)]) -> Result<Vec<Result<(), Error>>, Error> {
        run_tx!(self.db, "job.finish", |tx| -> Result<
            Vec<Result<(), Error>>,
            Error,
        > {
            let now = self.clock.now();
            let completed: HashSet<JobId> = store::complete(tx, ends, now).await?;
            let of_ours = |(job, _): &&(Job, Found)| completed.contains(&job.id);
            let ours: Vec<&(Job, Found)> = ends.iter().filter(of_ours).collect();
            segmentations::insert(tx, &*self.clock, &ours).await?;
            let events = ours.iter();
            let events = events.map(|(job, found)| facts::completed(&*self.clock, job, found));
            outbox::stage(tx, &events.collect::<Vec<_>>()).await?;
            let answer = |(job, _): &(Job, Found)| match completed.contains(&job.id) {
                true => Ok(()),
                false => Err(Error::Fenced(job.id)),
            };
            Ok(ends.iter().map(answer).collect())
        })
    }
}

impl Jobs {
    /// Stores the result and completes the job.
    ///
    /// # Errors
    /// [`Error::Fenced`] when the job belongs to a later attempt; otherwise the database's or file store's own.
    pub async fn finish(&self, finished: &Finished) -> Result<(), Error> {
        let job = &finished.claimed.job;
        let (result, above) = (&finished.result, self.rules.compress_above);
        let found = segmentations::store_result(&self.files, job, result, above).await?;
        let weight = 1 + found.stored.inline_bytes() / BYTES_PER_WEIGHT;
        let written = self.finishing.call((job.clone(), found.clone()), weight);
        let written = written
            .await
            .unwrap_or_else(|Stopped| Err(Error::Internal(Stopped.to_string())));
        let written = match written {
            Err(Error::Fenced(_)) if self.is_completed(job).await? => Ok(()),
            written => written,
        };
        if matches!(written, Err(Error::Fenced(_))) {
            segmentations::discard(&self.files, &found.stored).await;
        }
        let ended = written.map(|()| Ended {
            outcome: "completed",
            status: Status::Completed,
            release: Release::Done,
        });
        self.settle(&finished.claimed, ended, self.clock.now())
            .await
    }

    /// Whether this very attempt completed the job: an earlier try was committed and its answer lost. Its result
    /// stands, and the object in the file store is the committed one's.
    async fn is_completed(&self, job: &Job) -> Result<bool, Error> {
        let mut tx = self.db.reader().await?;
        let row = store::by_id(&mut tx, job.id).await?;
        Ok(row.is_some_and(|row| row.status == Status::Completed && row.attempt == job.attempt))
    }
}
