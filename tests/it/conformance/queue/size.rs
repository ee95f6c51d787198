//! Many jobs at once.

use super::super::suite;
use super::*;

suite! {
    memory => Backend::memory, redis => Backend::redis, batching => Backend::batching;
    [
        a_thousand_jobs_in_one_call,
        more_than_a_script_may_unpack,
    ]
}

async fn a_thousand_jobs_in_one_call(backend: &Backend) {
    let offered: Vec<JobId> = (0..1_000).map(|_| new_job()).collect();
    let offers: Vec<Offer> = offered.iter().map(|job| backend.due_now(*job)).collect();
    assert_eq!(backend.offer(&offers).await, vec![true; 1_000]);
    let held = backend.take(1_000, LONG).await;
    assert_eq!(jobs(&held), offered);
    assert_eq!(
        backend.queue.renew(&held, SHORT).await.unwrap(),
        vec![Lease::Held; 1_000]
    );
    backend.expires(offered[999]).await;
    let mut expired = backend.queue.expired(1_000).await.unwrap();
    expired.sort_unstable();
    assert_eq!(expired, offered);
    assert_eq!(
        backend.queue.requeue(&offered).await.unwrap(),
        vec![true; 1_000]
    );
    let held = backend.take(1_000, LONG).await;
    assert_eq!(jobs(&held), offered);
    let releases: Vec<_> = held.iter().map(|held| (*held, Release::Done)).collect();
    assert_eq!(
        backend.queue.release(&releases).await.unwrap(),
        vec![true; 1_000]
    );
    assert_eq!(backend.depth().await, [0, 0, 0]);
}

/// Lua refuses to unpack about 8,000 values; other queues on Redis stop for ever when so many jobs are due.
async fn more_than_a_script_may_unpack(backend: &Backend) {
    let jobs: Vec<JobId> = (0..9_000).map(|_| new_job()).collect();
    let offers: Vec<Offer> = jobs
        .iter()
        .map(|job| backend.offer_of(*job, 5, Duration::from_millis(1)))
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
        let some = backend.claim(usize::MAX).await;
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
