//! A front for a queue that gathers concurrent offers into one call of the store.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    Depth, Error, Exchanged, JobQueue, Lane, Lease, Leased, Load, Offer, Release, SharedQueue, Want,
};
use crate::kit::batcher::{Batcher, Limits, Stopped};
use crate::kit::id::{JobId, UserId};

/// Offers of one call of the store: more hold it for longer and gain little.
const LIMITS: Limits = Limits {
    weight_max: 256,
    waiting_max: 4_096,
};

/// The front. Everything but offers goes straight to the queue behind it.
#[derive(Debug, Clone)]
pub struct Batching {
    queue: SharedQueue,
    offers: Batcher<Vec<Offer>, Result<Vec<bool>, Error>>,
}

impl Batching {
    /// A front of `queue`.
    pub fn new(queue: SharedQueue) -> Self {
        let behind = queue.clone();
        let offers = Batcher::start("queue.offers", LIMITS, move |batch: Vec<Vec<Offer>>| {
            let queue = behind.clone();
            async move { offer_all(&*queue, &batch).await }
        });
        Self { queue, offers }
    }
}

async fn offer_all(queue: &dyn JobQueue, batch: &[Vec<Offer>]) -> Vec<Result<Vec<bool>, Error>> {
    match queue.offer(&batch.concat()).await {
        Ok(waits) => {
            let mut waits = waits.into_iter();
            let each = batch.iter();
            each.map(|offers| Ok(waits.by_ref().take(offers.len()).collect()))
                .collect()
        }
        Err(error) => batch.iter().map(|_| Err(error.clone())).collect(),
    }
}

#[async_trait]
impl JobQueue for Batching {
    async fn offer(&self, offers: &[Offer]) -> Result<Vec<bool>, Error> {
        let answer = self.offers.call(offers.to_vec(), offers.len()).await;
        answer.unwrap_or_else(|Stopped| Err(Error::Unavailable(Stopped.to_string())))
    }

    async fn exchange(
        &self,
        ended: &[(Leased, Release)],
        want: Want<'_>,
    ) -> Result<Exchanged, Error> {
        self.queue.exchange(ended, want).await
    }

    async fn wait(&self, lanes: &[Lane], patience: Duration) -> Result<(), Error> {
        self.queue.wait(lanes, patience).await
    }

    async fn renew(&self, held: &[Leased], lease: Duration) -> Result<Vec<Lease>, Error> {
        self.queue.renew(held, lease).await
    }

    async fn adopt(&self, offer: &Offer, fence: i64, lease: Duration) -> Result<bool, Error> {
        self.queue.adopt(offer, fence, lease).await
    }

    async fn expired(&self, limit: usize) -> Result<Vec<JobId>, Error> {
        self.queue.expired(limit).await
    }

    async fn requeue(&self, jobs: &[JobId]) -> Result<Vec<bool>, Error> {
        self.queue.requeue(jobs).await
    }

    async fn cancel(&self, job: JobId) -> Result<bool, Error> {
        self.queue.cancel(job).await
    }

    async fn remove(&self, jobs: &[JobId]) -> Result<(), Error> {
        self.queue.remove(jobs).await
    }

    async fn known(&self, jobs: &[JobId]) -> Result<Vec<bool>, Error> {
        self.queue.known(jobs).await
    }

    async fn depth(&self) -> Result<Depth, Error> {
        self.queue.depth().await
    }

    async fn position(&self, job: JobId) -> Result<Option<u64>, Error> {
        self.queue.position(job).await
    }

    async fn loads(&self, owners: &[UserId]) -> Result<Vec<Load>, Error> {
        self.queue.loads(owners).await
    }
}
