//! The job queue: the same promises in the process and on Redis.

mod leases;
mod model;
mod order;
mod random;
mod size;
mod waiting;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use fred::interfaces::{ClientLike, KeysInterface};
use futures::future::join_all;
use spheroctl::kit::clock::{Clock, ManualClock, SystemClock};
use spheroctl::kit::id::JobId;
use spheroctl::queue::memory::Memory;
use spheroctl::queue::redis::Redis;
use spheroctl::queue::{Depth, Lease, Offer, Release, SharedQueue};
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

/// A queue and a second handle to it: on Redis one with connections of its own.
struct Backend {
    queue: SharedQueue,
    other: SharedQueue,
    /// Where time is ours.
    manual: Option<ManualClock>,
    store: Store,
}

enum Store {
    Memory(Memory),
    Redis { prefix: String },
}

impl Backend {
    async fn memory() -> Self {
        let manual = ManualClock::at(SystemClock.now());
        let queue = Memory::new(Arc::new(manual.clone()));
        Self {
            queue: Arc::new(queue.clone()),
            other: Arc::new(queue.clone()),
            manual: Some(manual),
            store: Store::Memory(queue),
        }
    }

    async fn redis() -> Self {
        let prefix = unique_prefix();
        let settings = redis_settings(&redis_url(), &prefix, PATIENCE);
        let connect = async || {
            let state = state::redis::Redis::connect(&settings)
                .await
                .expect("Redis answers");
            Arc::new(Redis::new(&state))
        };
        Self {
            queue: connect().await,
            other: connect().await,
            manual: None,
            store: Store::Redis { prefix },
        }
    }

    /// Makes the store forget, as a failover to an empty replica does.
    async fn flush(&self) {
        match &self.store {
            Store::Memory(queue) => queue.clear(),
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
        let job = new_job();
        assert_eq!(
            self.offer(&[Offer {
                job,
                priority,
                delay
            }])
            .await,
            [true]
        );
        job
    }

    async fn claim(&self, owner: &str, limit: usize) -> Vec<JobId> {
        self.other
            .claim(owner, limit, LONG)
            .await
            .expect("an answer")
    }

    async fn depth(&self) -> [u64; 3] {
        let Depth {
            waiting,
            delayed,
            active,
        } = self.other.depth().await.expect("an answer");
        [waiting, delayed, active]
    }

    async fn renew(&self, owner: &str, job: JobId) -> Lease {
        self.queue
            .renew(owner, &[job], LONG)
            .await
            .expect("an answer")[0]
    }

    async fn release(&self, owner: &str, job: JobId, release: Release) -> bool {
        self.queue
            .release(owner, &[(job, release)])
            .await
            .expect("an answer")[0]
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
        "waiting", "delayed", "leases", "places", "owners", "stops", "sequence",
    ];
    let keys: Vec<String> = parts
        .iter()
        .map(|part| format!("{prefix}q:{{main}}:{part}"))
        .collect();
    let deleted: i64 = client.del(keys).await.expect("an answer");
    assert!(deleted > 0, "the names of the keys have changed");
    client.quit().await.expect("an answer");
}

fn new_job() -> JobId {
    JobId::new(&SystemClock)
}

fn due_now(job: JobId) -> Offer {
    Offer {
        job,
        priority: 5,
        delay: NOW,
    }
}
