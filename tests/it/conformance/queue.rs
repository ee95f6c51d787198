//! The job queue: the same promises in the process, on Redis, and behind the front that gathers offers.

mod fairness;
mod leases;
mod model;
mod order;
mod random;
mod size;
mod waiting;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use fred::interfaces::{ClientLike, KeysInterface};
use futures::future::join_all;
use spheroctl::kit::clock::{Clock, ManualClock, SystemClock};
use spheroctl::kit::id::{JobId, UserId};
use spheroctl::queue::batching::Batching;
use spheroctl::queue::memory::Memory;
use spheroctl::queue::redis::Redis;
use spheroctl::queue::{Depth, Fairness, Lane, Lease, Leased, Offer, Release, SharedQueue, Want};
use spheroctl::state;
use tokio::time::{Instant, timeout};

use crate::support::redis_server::redis_settings;
use crate::support::services::redis_url;
use crate::support::{eventually, unique_prefix};

const NOW: Duration = Duration::ZERO;
/// Short enough to wait for, long enough not to pass by accident between two calls.
const SHORT: Duration = Duration::from_millis(200);
/// Longer than any test.
const LONG: Duration = Duration::from_secs(60);
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(5);

/// Strict priorities, no caps.
const STRICT: Fairness = Fairness {
    owner_running_max: 0,
    aged_after: LONG,
    aged_share: 0,
};
/// A queue and a second handle to it: on Redis one with connections of its own.
struct Backend {
    queue: SharedQueue,
    other: SharedQueue,
    /// Where time is ours.
    manual: Option<ManualClock>,
    store: Store,
    /// Who offers.
    owner: UserId,
}

enum Store {
    Memory(Memory),
    Batching(Memory),
    Redis { prefix: String },
}

impl Backend {
    async fn memory() -> Self {
        Self::memory_with(STRICT)
    }

    fn memory_with(fairness: Fairness) -> Self {
        let manual = ManualClock::at(SystemClock.now());
        let queue = Memory::new(Arc::new(manual.clone()), fairness);
        Self {
            queue: Arc::new(queue.clone()),
            other: Arc::new(queue.clone()),
            manual: Some(manual),
            store: Store::Memory(queue),
            owner: UserId::new(&SystemClock),
        }
    }

    /// The queue in the process behind the front that gathers offers.
    async fn batching() -> Self {
        Self::batching_with(STRICT)
    }

    fn batching_with(fairness: Fairness) -> Self {
        let behind = Self::memory_with(fairness);
        let front = Arc::new(Batching::new(behind.queue.clone()));
        let store = match behind.store {
            Store::Memory(memory) => Store::Batching(memory),
            other => other,
        };
        Self {
            queue: front.clone(),
            other: front,
            store,
            ..behind
        }
    }

    async fn redis() -> Self {
        Self::redis_with(STRICT).await
    }

    async fn redis_with(fairness: Fairness) -> Self {
        let prefix = unique_prefix();
        let settings = redis_settings(&redis_url(), &prefix, PATIENCE);
        let connect = async || {
            let state = state::redis::Redis::connect(&settings)
                .await
                .expect("Redis answers");
            Arc::new(Redis::new(&state, fairness))
        };
        Self {
            queue: connect().await,
            other: connect().await,
            manual: None,
            store: Store::Redis { prefix },
            owner: UserId::new(&SystemClock),
        }
    }

    /// An empty queue of the same kind with other rules.
    async fn with(&self, fairness: Fairness) -> Self {
        match self.store {
            Store::Memory(_) => Self::memory_with(fairness),
            Store::Batching(_) => Self::batching_with(fairness),
            Store::Redis { .. } => Self::redis_with(fairness).await,
        }
    }

    /// Makes the store forget, as a failover to an empty replica does.
    async fn flush(&self) {
        match &self.store {
            Store::Memory(queue) | Store::Batching(queue) => queue.clear(),
            Store::Redis { prefix } => delete_keys(prefix).await,
        }
    }

    /// Lets `time` pass where it is ours; elsewhere it passes by itself while `eventually` looks.
    fn pass(&self, time: Duration) {
        if let Some(clock) = &self.manual {
            clock.advance(time);
        }
    }

    async fn offer(&self, offers: &[Offer]) -> Vec<bool> {
        self.queue.offer(offers).await.expect("an answer")
    }

    /// A new job, offered with this priority and delay.
    async fn offered(&self, priority: u8, delay: Duration) -> JobId {
        let offer = self.new_offer(priority, delay);
        assert_eq!(self.offer(&[offer]).await, [true]);
        offer.job
    }

    fn new_offer(&self, priority: u8, delay: Duration) -> Offer {
        self.offer_of(new_job(), priority, delay)
    }

    fn offer_of(&self, job: JobId, priority: u8, delay: Duration) -> Offer {
        Offer {
            job,
            owner: self.owner,
            lane: Lane::Default,
            priority,
            since: self.now(),
            delay,
        }
    }

    fn due_now(&self, job: JobId) -> Offer {
        self.offer_of(job, 5, NOW)
    }

    fn now(&self) -> DateTime<Utc> {
        self.manual
            .as_ref()
            .map_or_else(|| SystemClock.now(), Clock::now)
    }

    async fn take(&self, limit: usize, lease: Duration) -> Vec<Leased> {
        let want = Want {
            limit,
            lanes: &Lane::ALL,
            lease,
        };
        self.other.claim(want).await.expect("an answer")
    }

    async fn claim(&self, limit: usize) -> Vec<JobId> {
        jobs(&self.take(limit, LONG).await)
    }

    /// Claims one job.
    async fn take_one(&self) -> Leased {
        self.take(1, LONG).await[0]
    }

    async fn depth(&self) -> [u64; 3] {
        let Depth {
            waiting,
            delayed,
            active,
        } = self.other.depth().await.expect("an answer");
        [waiting, delayed, active]
    }

    async fn renew(&self, held: Leased) -> Lease {
        self.queue.renew(&[held], LONG).await.expect("an answer")[0]
    }

    async fn release(&self, held: Leased, release: Release) -> bool {
        let released = self.queue.release(&[(held, release)]).await;
        released.expect("an answer")[0]
    }

    /// As [`Release::Again`] for a job of priority 5.
    fn again(&self, job: JobId, delay: Duration) -> Release {
        Release::Again(self.offer_of(job, 5, delay))
    }

    /// Waits until the lease of `job` has run out.
    async fn expires(&self, job: JobId) {
        self.pass(SHORT);
        eventually("the lease runs out", PATIENCE, async || {
            self.other
                .expired(1_000)
                .await
                .expect("an answer")
                .contains(&job)
        })
        .await;
    }
}

async fn delete_keys(prefix: &str) {
    let config = fred::types::config::Config::from_url(&redis_url()).expect("the address of Redis");
    let client = fred::types::Builder::from_config(config)
        .build()
        .expect("a client");
    client.init().await.expect("Redis answers");
    let parts = [
        "jobs",
        "owners",
        "clocks",
        "delayed",
        "leases",
        "stops",
        "waiting:default",
        "waiting:large",
    ];
    let keys: Vec<String> = parts
        .iter()
        .map(|part| format!("{prefix}q:{{main}}:{part}"))
        .collect();
    let deleted: i64 = client.del(keys).await.expect("an answer");
    assert!(deleted > 0, "the names of the keys have changed");
    client.quit().await.expect("an answer");
}

fn jobs(leased: &[Leased]) -> Vec<JobId> {
    leased.iter().map(|leased| leased.job).collect()
}

fn new_job() -> JobId {
    JobId::new(&SystemClock)
}
