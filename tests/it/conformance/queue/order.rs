//! Which job comes first, and when.

use super::super::suite;
use super::*;

suite! {
    memory => Backend::memory, redis => Backend::redis, batching => Backend::batching;
    [
        priority_then_offer_decides,
        offering_again_keeps_the_place_and_changes_priority_and_delay,
        a_job_offered_twice_in_one_call_waits_once,
        a_delayed_job_becomes_due_at_its_place,
    ]
}

async fn priority_then_offer_decides(backend: &Backend) {
    let low = backend.offered(1, NOW).await;
    let middle = backend.offered(5, NOW).await;
    let second = backend.offered(5, NOW).await;
    let high = backend.offered(10, NOW).await;
    let beyond = backend.offered(11, NOW).await;
    let below = backend.offered(0, NOW).await;
    assert_eq!(backend.claim(3).await, [high, beyond, middle]);
    assert_eq!(backend.claim(0).await, []);
    assert_eq!(backend.claim(10).await, [second, low, below]);
    assert_eq!(backend.claim(10).await, []);
}

async fn offering_again_keeps_the_place_and_changes_priority_and_delay(backend: &Backend) {
    let first = backend.offered(5, NOW).await;
    let second = backend.offered(5, NOW).await;
    let risen = backend.offered(1, NOW).await;
    let postponed = backend.offered(10, NOW).await;
    let again = [
        backend.due_now(first),
        backend.offer_of(risen, 9, NOW),
        backend.offer_of(postponed, 10, LONG),
    ];
    assert_eq!(backend.offer(&again).await, [true; 3]);
    assert_eq!(backend.depth().await, [3, 1, 0]);
    assert_eq!(backend.claim(10).await, [risen, first, second]);
    assert_eq!(backend.offer(&[backend.due_now(postponed)]).await, [true]);
    assert_eq!(backend.claim(10).await, [postponed]);
}

async fn a_job_offered_twice_in_one_call_waits_once(backend: &Backend) {
    let (twice, once) = (new_job(), new_job());
    let delayed = backend.offer_of(twice, 5, LONG);
    assert_eq!(
        backend
            .offer(&[delayed, backend.due_now(once), backend.due_now(twice)])
            .await,
        [true; 3]
    );
    assert_eq!(backend.depth().await, [2, 0, 0]);
    assert_eq!(backend.claim(10).await, [twice, once]);
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
    assert_eq!(backend.claim(10).await, [delayed, present]);
    assert_eq!(
        backend
            .queue
            .known(&[delayed, later, new_job()])
            .await
            .unwrap(),
        [true, true, false]
    );
}
