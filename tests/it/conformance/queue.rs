//! The job queue: the same promises in the process and on Redis.

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

use super::suite;
use crate::support::redis_server::redis_settings;
use crate::support::services::redis_url;
use crate::support::{eventually, unique_prefix};

suite! {
    memory => Backend::memory, redis => Backend::redis;
    [
        priority_then_offer_decides,
        offering_again_keeps_the_place_and_changes_priority_and_delay,
        a_job_offered_twice_in_one_call_waits_once,
        a_delayed_job_becomes_due_at_its_place,
        offering_a_leased_job_is_refused,
        a_job_whose_lease_ran_out_is_expired_and_keeps_its_place,
        a_late_renewal_saves_the_lease,
        renewing_says_how_the_lease_stands,
        release_ends_the_lease_or_lets_the_job_wait_again,
        a_request_to_stop_ends_with_the_lease,
        a_job_is_never_leased_twice,
        removed_jobs_are_gone_wherever_they_stood,
        a_job_is_adopted_after_a_flush,
        a_waiter_is_woken_by_another_handle,
        a_waiter_is_woken_when_a_delayed_job_comes_nearer,
        a_waiter_does_not_wait_for_what_is_there,
        a_wait_can_be_dropped,
        a_thousand_jobs_in_one_call,
        more_than_a_script_may_unpack,
    ]
}

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

// === Order ===

async fn priority_then_offer_decides(backend: &Backend) {
    let low = backend.offered(1, NOW).await;
    let middle = backend.offered(5, NOW).await;
    let second = backend.offered(5, NOW).await;
    let high = backend.offered(10, NOW).await;
    let beyond = backend.offered(11, NOW).await;
    let below = backend.offered(0, NOW).await;
    assert_eq!(backend.claim("w", 3).await, [high, beyond, middle]);
    assert_eq!(backend.claim("w", 0).await, []);
    assert_eq!(backend.claim("w", 10).await, [second, low, below]);
    assert_eq!(backend.claim("w", 10).await, []);
}

async fn offering_again_keeps_the_place_and_changes_priority_and_delay(backend: &Backend) {
    let first = backend.offered(5, NOW).await;
    let second = backend.offered(5, NOW).await;
    let risen = backend.offered(1, NOW).await;
    let postponed = backend.offered(10, NOW).await;
    let again = [
        due_now(first),
        Offer {
            job: risen,
            priority: 9,
            delay: NOW,
        },
        Offer {
            job: postponed,
            priority: 10,
            delay: LONG,
        },
    ];
    assert_eq!(backend.offer(&again).await, [true; 3]);
    assert_eq!(backend.depth().await, [3, 1, 0]);
    assert_eq!(backend.claim("w", 10).await, [risen, first, second]);
    assert_eq!(backend.offer(&[due_now(postponed)]).await, [true]);
    assert_eq!(backend.claim("w", 10).await, [postponed]);
}

async fn a_job_offered_twice_in_one_call_waits_once(backend: &Backend) {
    let (twice, once) = (new_job(), new_job());
    let delayed = Offer {
        job: twice,
        priority: 5,
        delay: LONG,
    };
    assert_eq!(
        backend
            .offer(&[delayed, due_now(once), due_now(twice)])
            .await,
        [true; 3]
    );
    assert_eq!(backend.depth().await, [2, 0, 0]);
    assert_eq!(backend.claim("w", 10).await, [twice, once]);
}

async fn a_delayed_job_becomes_due_at_its_place(backend: &Backend) {
    let delayed = backend.offered(5, SHORT).await;
    let later = backend.offered(5, LONG).await;
    let present = backend.offered(5, NOW).await;
    assert_eq!(backend.depth().await, [1, 2, 0]);
    backend.pass(SHORT);
    eventually("the delayed job counts as waiting", PATIENCE, async || {
        backend.depth().await == [2, 1, 0]
    })
    .await;
    assert_eq!(backend.claim("w", 10).await, [delayed, present]);
    assert_eq!(
        backend
            .queue
            .known(&[delayed, later, new_job()])
            .await
            .unwrap(),
        [true, true, false]
    );
}

// === Leases ===

async fn offering_a_leased_job_is_refused(backend: &Backend) {
    let job = backend.offered(5, NOW).await;
    backend.claim("w", 1).await;
    let other = new_job();
    assert_eq!(
        backend.offer(&[due_now(job), due_now(other)]).await,
        [false, true]
    );
    assert_eq!(backend.claim("w", 10).await, [other]);
}

async fn a_job_whose_lease_ran_out_is_expired_and_keeps_its_place(backend: &Backend) {
    let first = backend.offered(5, NOW).await;
    let second = backend.offered(5, NOW).await;
    let low = backend.offered(1, NOW).await;
    assert_eq!(
        backend.queue.claim("dead", 1, SHORT).await.unwrap(),
        [first]
    );
    assert_eq!(
        backend.queue.requeue(&[first]).await.unwrap(),
        [false],
        "the lease runs"
    );
    backend.expires(first).await;
    assert_eq!(
        backend.claim("w", 1).await,
        [second],
        "nobody gets an expired job before it is requeued"
    );
    let answers = backend
        .other
        .requeue(&[first, low, new_job(), first])
        .await
        .unwrap();
    assert_eq!(answers, [true, false, false, false]);
    assert_eq!(backend.queue.expired(10).await.unwrap(), []);
    assert_eq!(backend.renew("dead", first).await, Lease::Lost);
    assert_eq!(backend.claim("w", 10).await, [first, low]);
}

async fn a_late_renewal_saves_the_lease(backend: &Backend) {
    let job = backend.offered(5, NOW).await;
    backend.queue.claim("slow", 1, SHORT).await.unwrap();
    backend.expires(job).await;
    assert_eq!(backend.renew("slow", job).await, Lease::Held);
    assert_eq!(backend.queue.expired(10).await.unwrap(), []);
    assert_eq!(backend.queue.requeue(&[job]).await.unwrap(), [false]);
}

async fn renewing_says_how_the_lease_stands(backend: &Backend) {
    let held = backend.offered(9, NOW).await;
    let stopped = backend.offered(8, NOW).await;
    let lost = backend.offered(7, NOW).await;
    let waiting = backend.offered(6, NOW).await;
    assert_eq!(backend.claim("w", 2).await, [held, stopped]);
    assert_eq!(backend.claim("x", 1).await, [lost]);
    assert!(backend.queue.cancel(stopped).await.unwrap());
    let asked = [held, stopped, lost, waiting, new_job()];
    let answers = backend.queue.renew("w", &asked, LONG).await.unwrap();
    assert_eq!(
        answers,
        [
            Lease::Held,
            Lease::Cancelled,
            Lease::Lost,
            Lease::Lost,
            Lease::Unknown
        ]
    );
    assert_eq!(backend.depth().await, [1, 0, 3]);
}

async fn release_ends_the_lease_or_lets_the_job_wait_again(backend: &Backend) {
    let done = backend.offered(5, NOW).await;
    let delayed = backend.offered(5, NOW).await;
    let again = backend.offered(5, NOW).await;
    let last = backend.offered(5, NOW).await;
    assert_eq!(backend.claim("w", 3).await, [done, delayed, again]);
    let releases = [
        (done, Release::Done),
        (delayed, Release::Again(SHORT)),
        (again, Release::Again(NOW)),
        (last, Release::Done),
        (done, Release::Done),
    ];
    let answers = backend.queue.release("w", &releases).await.unwrap();
    assert_eq!(answers, [true, true, true, false, false]);
    assert!(!backend.release("x", again, Release::Done).await);
    assert_eq!(
        backend
            .queue
            .known(&[done, delayed, again, last])
            .await
            .unwrap(),
        [false, true, true, true]
    );
    backend.pass(SHORT);
    eventually("the delayed job is due", PATIENCE, async || {
        backend.depth().await == [3, 0, 0]
    })
    .await;
    assert_eq!(backend.claim("w", 10).await, [delayed, again, last]);
}

async fn a_request_to_stop_ends_with_the_lease(backend: &Backend) {
    let job = backend.offered(5, NOW).await;
    assert!(!backend.queue.cancel(job).await.unwrap(), "nobody holds it");
    backend.claim("w", 1).await;
    assert!(backend.queue.cancel(job).await.unwrap());
    assert_eq!(backend.renew("w", job).await, Lease::Cancelled);
    assert_eq!(backend.renew("w", job).await, Lease::Cancelled);
    backend.release("w", job, Release::Again(NOW)).await;
    backend.claim("w", 1).await;
    assert_eq!(backend.renew("w", job).await, Lease::Held);
}

async fn a_job_is_never_leased_twice(backend: &Backend) {
    let jobs: Vec<JobId> = (0..1_000).map(|_| new_job()).collect();
    let offers: Vec<Offer> = jobs.iter().copied().map(due_now).collect();
    backend.offer(&offers).await;
    let claimer = async |number: usize| {
        let owner = format!("w{number}");
        let queue = if number.is_multiple_of(2) {
            &backend.queue
        } else {
            &backend.other
        };
        let mut mine = Vec::new();
        loop {
            match queue
                .claim(&owner, 1 + number % 7, LONG)
                .await
                .expect("an answer")
            {
                none if none.is_empty() => return mine,
                some => mine.extend(some),
            }
        }
    };
    let claimed = join_all((0..64).map(claimer)).await.concat();
    assert_eq!(claimed.len(), 1_000);
    let distinct: HashSet<JobId> = claimed.into_iter().collect();
    assert_eq!(distinct, jobs.into_iter().collect());
    assert_eq!(backend.depth().await, [0, 0, 1_000]);
}

async fn removed_jobs_are_gone_wherever_they_stood(backend: &Backend) {
    let leased = backend.offered(5, NOW).await;
    backend.claim("w", 1).await;
    let waiting = backend.offered(5, NOW).await;
    let delayed = backend.offered(5, LONG).await;
    let stays = backend.offered(5, NOW).await;
    backend
        .queue
        .remove(&[leased, waiting, delayed, new_job()])
        .await
        .unwrap();
    assert_eq!(backend.depth().await, [1, 0, 0]);
    assert_eq!(backend.renew("w", leased).await, Lease::Unknown);
    assert_eq!(backend.claim("w", 10).await, [stays]);
}

async fn a_job_is_adopted_after_a_flush(backend: &Backend) {
    let running = backend.offered(5, NOW).await;
    let reoffered = backend.offered(5, NOW).await;
    backend.claim("w", 2).await;
    backend.flush().await;
    assert_eq!(backend.depth().await, [0, 0, 0]);
    assert_eq!(backend.renew("w", running).await, Lease::Unknown);
    assert!(backend.queue.adopt("w", running, LONG).await.unwrap());
    assert!(
        backend.queue.adopt("w", running, LONG).await.unwrap(),
        "once more by the same owner"
    );
    assert!(!backend.queue.adopt("x", running, LONG).await.unwrap());
    assert_eq!(backend.renew("w", running).await, Lease::Held);
    backend.offer(&[due_now(reoffered)]).await;
    assert!(backend.queue.adopt("w", reoffered, LONG).await.unwrap());
    assert_eq!(backend.depth().await, [0, 0, 2]);
    assert_eq!(backend.claim("x", 10).await, []);
    assert!(backend.release("w", running, Release::Again(NOW)).await);
    assert_eq!(backend.claim("x", 10).await, [running]);
}

// === Waiting ===

/// Claims as a worker does: until there is something, waiting between two looks.
async fn claim_patiently(queue: &SharedQueue) -> Vec<JobId> {
    loop {
        let claimed = queue.claim("w", 10, LONG).await.expect("an answer");
        if !claimed.is_empty() {
            return claimed;
        }
        queue.wait(LONG).await.expect("an answer");
    }
}

async fn a_waiter_is_woken_by_another_handle(backend: &Backend) {
    for round in 0..20 {
        let job = new_job();
        let offering = async {
            // Offers before, while and after the waiter begins to listen.
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            backend.offer(&[due_now(job)]).await;
            Instant::now()
        };
        let claiming = async { (claim_patiently(&backend.other).await, Instant::now()) };
        let both = async { tokio::join!(offering, claiming) };
        let (offered, (claimed, at)) = timeout(PATIENCE, both).await.expect("woken in time");
        assert_eq!(claimed, [job]);
        assert!(at.saturating_duration_since(offered) < Duration::from_secs(1));
    }
}

async fn a_waiter_is_woken_when_a_delayed_job_comes_nearer(backend: &Backend) {
    let job = backend.offered(5, LONG).await;
    let waiting = async {
        let begin = Instant::now();
        backend.other.wait(LONG).await.unwrap();
        begin.elapsed()
    };
    let nearer = async {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        backend
            .offer(&[Offer {
                job,
                priority: 5,
                delay: SHORT,
            }])
            .await;
    };
    let both = async { tokio::join!(waiting, nearer) };
    timeout(PATIENCE, both)
        .await
        .expect("woken by the nearer due time");
    backend.pass(SHORT);
    let claimed = timeout(PATIENCE, claim_patiently(&backend.other)).await;
    assert_eq!(claimed.expect("woken when it is due"), [job]);
}

async fn a_waiter_does_not_wait_for_what_is_there(backend: &Backend) {
    backend.offered(5, NOW).await;
    let waited = timeout(Duration::from_secs(1), backend.other.wait(LONG)).await;
    waited.expect("an answer at once").unwrap();
    backend.claim("w", 1).await;
    let begin = Instant::now();
    backend.other.wait(SHORT).await.unwrap();
    assert!(
        begin.elapsed() >= SHORT,
        "there was nothing to return early for"
    );
}

async fn a_wait_can_be_dropped(backend: &Backend) {
    for _ in 0..10 {
        let dropped = timeout(Duration::from_millis(5), backend.other.wait(LONG)).await;
        assert!(dropped.is_err(), "there is nothing to wake up for");
    }
    let job = new_job();
    let offers = [due_now(job)];
    let both = async { tokio::join!(claim_patiently(&backend.other), backend.offer(&offers)) };
    let (claimed, _) = timeout(PATIENCE, both).await.expect("woken in time");
    assert_eq!(claimed, [job]);
}

// === Size ===

async fn a_thousand_jobs_in_one_call(backend: &Backend) {
    let jobs: Vec<JobId> = (0..1_000).map(|_| new_job()).collect();
    let offers: Vec<Offer> = jobs.iter().copied().map(due_now).collect();
    assert_eq!(backend.offer(&offers).await, vec![true; 1_000]);
    assert_eq!(backend.claim("w", 1_000).await, jobs);
    assert_eq!(
        backend.queue.renew("w", &jobs, SHORT).await.unwrap(),
        vec![Lease::Held; 1_000]
    );
    backend.expires(jobs[999]).await;
    let mut expired = backend.queue.expired(1_000).await.unwrap();
    expired.sort_unstable();
    assert_eq!(expired, jobs);
    assert_eq!(
        backend.queue.requeue(&jobs).await.unwrap(),
        vec![true; 1_000]
    );
    assert_eq!(backend.claim("x", 1_000).await, jobs);
    let releases: Vec<_> = jobs.iter().map(|job| (*job, Release::Done)).collect();
    assert_eq!(
        backend.queue.release("x", &releases).await.unwrap(),
        vec![true; 1_000]
    );
    assert_eq!(backend.depth().await, [0, 0, 0]);
}

/// Lua refuses to unpack about 8,000 values; other queues on Redis stop for ever when so many jobs are due.
async fn more_than_a_script_may_unpack(backend: &Backend) {
    let jobs: Vec<JobId> = (0..9_000).map(|_| new_job()).collect();
    let offers: Vec<Offer> = jobs
        .iter()
        .map(|job| Offer {
            job: *job,
            priority: 5,
            delay: Duration::from_millis(1),
        })
        .collect();
    backend.offer(&offers).await;
    backend.pass(SHORT);
    eventually("all are due", PATIENCE, async || {
        backend.depth().await == [9_000, 0, 0]
    })
    .await;
    assert_eq!(backend.queue.known(&jobs).await.unwrap(), vec![true; 9_000]);
    let mut claimed = Vec::new();
    while claimed.len() < jobs.len() {
        let some = backend.claim("w", usize::MAX).await;
        assert!(
            !some.is_empty(),
            "the queue stopped after {} jobs",
            claimed.len()
        );
        claimed.extend(some);
    }
    claimed.sort_unstable();
    assert_eq!(claimed, jobs);
    backend.queue.remove(&jobs).await.unwrap();
    assert_eq!(backend.depth().await, [0, 0, 0]);
}
