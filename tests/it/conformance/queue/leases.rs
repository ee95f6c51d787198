//! Who holds a job, for how long, and what becomes of it.

use super::super::suite;
use super::*;

suite! {
    memory => Backend::memory, redis => Backend::redis;
    [
        offering_a_leased_job_is_refused,
        a_job_whose_lease_ran_out_is_expired_and_keeps_its_place,
        a_late_renewal_saves_the_lease,
        renewing_says_how_the_lease_stands,
        release_ends_the_lease_or_lets_the_job_wait_again,
        a_request_to_stop_ends_with_the_lease,
        a_job_is_never_leased_twice,
        removed_jobs_are_gone_wherever_they_stood,
        a_job_is_adopted_after_a_flush,
    ]
}

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
