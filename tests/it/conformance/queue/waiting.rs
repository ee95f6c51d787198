//! When a process without work wakes up.

use super::super::suite;
use super::*;

suite! {
    memory => Backend::memory, redis => Backend::redis, batching => Backend::batching;
    [
        a_waiter_is_woken_by_another_handle,
        a_waiter_is_woken_when_a_delayed_job_comes_nearer,
        a_waiter_does_not_wait_for_what_is_there,
        a_wait_can_be_dropped,
    ]
}

/// Claims as a worker does: until there is something, waiting between two looks.
async fn claim_patiently(queue: &SharedQueue) -> Vec<JobId> {
    loop {
        let want = Want {
            limit: 10,
            lanes: &Lane::ALL,
            lease: LONG,
        };
        let claimed = queue.claim(want).await.expect("an answer");
        if !claimed.is_empty() {
            return jobs(&claimed);
        }
        queue.wait(&Lane::ALL, LONG).await.expect("an answer");
    }
}

/// A first claim and a first wait, which may return early: from now on nothing is missed.
async fn listens(backend: &Backend) {
    assert_eq!(backend.claim(1).await, []);
    backend
        .other
        .wait(&Lane::ALL, NOW)
        .await
        .expect("an answer");
}

async fn a_waiter_is_woken_by_another_handle(backend: &Backend) {
    for round in 0..20 {
        let job = new_job();
        let offering = async {
            // Offers before, while and after the waiter begins to listen.
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            backend.offer(&[backend.due_now(job)]).await;
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
    listens(backend).await;
    let waiting = async {
        let begin = Instant::now();
        backend.other.wait(&Lane::ALL, LONG).await.unwrap();
        begin.elapsed()
    };
    let nearer = async {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        backend.offer(&[backend.offer_of(job, 5, SHORT)]).await;
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
    listens(backend).await;
    backend.offered(5, NOW).await;
    let waited = timeout(Duration::from_secs(1), backend.other.wait(&Lane::ALL, LONG)).await;
    waited.expect("an answer at once").unwrap();
    assert_eq!(backend.claim(10).await.len(), 1);
    assert_eq!(backend.claim(10).await, []);
    let begin = Instant::now();
    backend.other.wait(&Lane::ALL, SHORT).await.unwrap();
    assert!(
        begin.elapsed() >= SHORT,
        "there was nothing to return early for"
    );
}

async fn a_wait_can_be_dropped(backend: &Backend) {
    listens(backend).await;
    for _ in 0..10 {
        let dropped = timeout(
            Duration::from_millis(5),
            backend.other.wait(&Lane::ALL, LONG),
        )
        .await;
        assert!(dropped.is_err(), "there is nothing to wake up for");
    }
    let job = new_job();
    let offers = [backend.due_now(job)];
    let both = async { tokio::join!(claim_patiently(&backend.other), backend.offer(&offers)) };
    let (claimed, _) = timeout(PATIENCE, both).await.expect("woken in time");
    assert_eq!(claimed, [job]);
}
