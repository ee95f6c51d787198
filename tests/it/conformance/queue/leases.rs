//! Who holds a job, for how long, and what becomes of it.

use super::super::suite;
use super::*;

suite! {
    memory => Backend::memory, redis => Backend::redis, batching => Backend::batching;
    [
        offering_a_leased_job_is_refused,
        a_job_whose_lease_ran_out_is_expired_and_keeps_its_place,
        a_late_renewal_saves_the_lease,
        renewing_says_how_the_lease_stands,
        release_ends_the_lease_or_lets_the_job_wait_again,
        an_exchange_releases_before_it_claims,
        a_stale_fence_ends_nothing,
        a_job_that_was_forgotten_waits_again_as_it_was_offered,
        a_request_to_stop_ends_with_the_lease,
        a_job_is_never_leased_twice,
        removed_jobs_are_gone_wherever_they_stood,
        a_job_is_adopted_after_a_flush,
    ]
}

async fn offering_a_leased_job_is_refused(backend: &Backend) {
    let job = backend.offered(5, NOW).await;
    backend.claim(1).await;
    let other = new_job();
    let offers = [backend.due_now(job), backend.due_now(other)];
    assert_eq!(backend.offer(&offers).await, [false, true]);
    assert_eq!(backend.claim(10).await, [other]);
}

async fn a_job_whose_lease_ran_out_is_expired_and_keeps_its_place(backend: &Backend) {
    let first = backend.offered(5, NOW).await;
    let second = backend.offered(5, NOW).await;
    let low = backend.offered(1, NOW).await;
    let dead = backend.take(1, SHORT).await;
    assert_eq!(jobs(&dead), [first]);
    assert_eq!(
        backend.queue.requeue(&[first]).await.unwrap(),
        [false],
        "the lease runs"
    );
    backend.expires(first).await;
    assert_eq!(
        backend.claim(1).await,
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
    assert_eq!(backend.renew(dead[0]).await, Lease::Lost);
    assert_eq!(backend.claim(10).await, [first, low]);
}

async fn a_late_renewal_saves_the_lease(backend: &Backend) {
    let job = backend.offered(5, NOW).await;
    let slow = backend.take(1, SHORT).await[0];
    backend.expires(job).await;
    assert_eq!(backend.renew(slow).await, Lease::Held);
    assert_eq!(backend.queue.expired(10).await.unwrap(), []);
    assert_eq!(backend.queue.requeue(&[job]).await.unwrap(), [false]);
}

async fn renewing_says_how_the_lease_stands(backend: &Backend) {
    for priority in [9, 8, 7] {
        backend.offered(priority, NOW).await;
    }
    let waiting = backend.offered(6, NOW).await;
    let mine = backend.take(2, LONG).await;
    let others = backend.take_one().await;
    assert!(backend.queue.cancel(mine[1].job).await.unwrap());
    let fence = mine[0].fence;
    let asked = [
        mine[0],
        mine[1],
        Leased { fence, ..others },
        Leased {
            job: waiting,
            fence,
        },
        Leased {
            job: new_job(),
            fence,
        },
    ];
    let answers = backend.queue.renew(&asked, LONG).await.unwrap();
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
    for _ in 0..3 {
        backend.offered(5, NOW).await;
    }
    let last = backend.offered(5, NOW).await;
    let [done, delayed, again] = backend.take(3, LONG).await[..] else {
        panic!("three jobs wait");
    };
    let not_held = Leased {
        job: last,
        fence: done.fence,
    };
    let releases = [
        (done, Release::Done),
        (delayed, backend.again(delayed.job, SHORT)),
        (again, backend.again(again.job, NOW)),
        (not_held, Release::Done),
        (done, Release::Done),
    ];
    let answers = backend.queue.release(&releases).await.unwrap();
    assert_eq!(answers, [true, true, true, false, false]);
    assert!(!backend.release(again, Release::Done).await);
    let asked = [done.job, delayed.job, again.job, last];
    assert_eq!(
        backend.queue.known(&asked).await.unwrap(),
        [false, true, true, true]
    );
    backend.pass(SHORT);
    eventually("the delayed job is due", PATIENCE, async || {
        backend.depth().await == [3, 0, 0]
    })
    .await;
    assert_eq!(backend.claim(10).await, [delayed.job, again.job, last]);
}

async fn an_exchange_releases_before_it_claims(backend: &Backend) {
    let capped = Fairness {
        owner_running_max: 1,
        ..STRICT
    };
    let backend = &backend.with(capped).await;
    let first = backend.offered(5, NOW).await;
    let second = backend.offered(5, NOW).await;
    let held = backend.take(2, LONG).await;
    assert_eq!(jobs(&held), [first], "one runs at most");
    let want = Want {
        limit: 2,
        lanes: &Lane::ALL,
        lease: LONG,
    };
    let ended = [(held[0], Release::Done)];
    let exchanged = backend.queue.exchange(&ended, want).await.unwrap();
    assert_eq!(exchanged.released, [true]);
    assert_eq!(jobs(&exchanged.claimed), [second]);
    assert!(exchanged.claimed[0].fence > held[0].fence);
}

async fn a_stale_fence_ends_nothing(backend: &Backend) {
    let job = backend.offered(5, NOW).await;
    let stale = backend.take(1, SHORT).await[0];
    backend.expires(job).await;
    backend.queue.requeue(&[job]).await.unwrap();
    let present = backend.take_one().await;
    assert_eq!(present.job, job);
    assert!(!backend.release(stale, Release::Done).await);
    assert!(!backend.release(stale, backend.again(job, NOW)).await);
    assert_eq!(backend.renew(stale).await, Lease::Lost);
    assert_eq!(backend.renew(present).await, Lease::Held);
}

async fn a_job_that_was_forgotten_waits_again_as_it_was_offered(backend: &Backend) {
    backend.offered(5, NOW).await;
    let running = backend.take_one().await;
    backend.flush().await;
    let offer = backend.offer_of(running.job, 9, NOW);
    assert!(backend.release(running, Release::Again(offer)).await);
    let lower = backend.offered(8, NOW).await;
    assert_eq!(backend.claim(2).await, [running.job, lower]);
}

async fn a_request_to_stop_ends_with_the_lease(backend: &Backend) {
    let job = backend.offered(5, NOW).await;
    assert!(!backend.queue.cancel(job).await.unwrap(), "nobody holds it");
    let held = backend.take_one().await;
    assert!(backend.queue.cancel(job).await.unwrap());
    assert_eq!(backend.renew(held).await, Lease::Cancelled);
    assert_eq!(backend.renew(held).await, Lease::Cancelled);
    backend.release(held, backend.again(job, NOW)).await;
    let held = backend.take_one().await;
    assert_eq!(backend.renew(held).await, Lease::Held);
}

async fn a_job_is_never_leased_twice(backend: &Backend) {
    let offered: Vec<JobId> = (0..1_000).map(|_| new_job()).collect();
    let offers: Vec<Offer> = offered.iter().map(|job| backend.due_now(*job)).collect();
    backend.offer(&offers).await;
    let claimer = async |number: usize| {
        let queue = if number.is_multiple_of(2) {
            &backend.queue
        } else {
            &backend.other
        };
        let want = Want {
            limit: 1 + number % 7,
            lanes: &Lane::ALL,
            lease: LONG,
        };
        let mut mine = Vec::new();
        loop {
            match queue.claim(want).await.expect("an answer") {
                none if none.is_empty() => return mine,
                some => mine.extend(some),
            }
        }
    };
    let claimed = join_all((0..64).map(claimer)).await.concat();
    assert_eq!(claimed.len(), 1_000);
    let distinct: HashSet<JobId> = jobs(&claimed).into_iter().collect();
    assert_eq!(distinct, offered.into_iter().collect());
    assert_eq!(backend.depth().await, [0, 0, 1_000]);
}

async fn removed_jobs_are_gone_wherever_they_stood(backend: &Backend) {
    backend.offered(5, NOW).await;
    let leased = backend.take_one().await;
    let waiting = backend.offered(5, NOW).await;
    let delayed = backend.offered(5, LONG).await;
    let stays = backend.offered(5, NOW).await;
    backend
        .queue
        .remove(&[leased.job, waiting, delayed, new_job()])
        .await
        .unwrap();
    assert_eq!(backend.depth().await, [1, 0, 0]);
    assert_eq!(backend.renew(leased).await, Lease::Unknown);
    assert_eq!(backend.claim(10).await, [stays]);
}

async fn a_job_is_adopted_after_a_flush(backend: &Backend) {
    backend.offered(5, NOW).await;
    backend.offered(5, NOW).await;
    let [running, reoffered] = backend.take(2, LONG).await[..] else {
        panic!("two jobs wait");
    };
    backend.flush().await;
    assert_eq!(backend.depth().await, [0, 0, 0]);
    assert_eq!(backend.renew(running).await, Lease::Unknown);
    let adopt = async |job: JobId, fence: i64| {
        let offer = backend.offer_of(job, 9, NOW);
        backend.queue.adopt(&offer, fence, LONG).await.unwrap()
    };
    assert!(adopt(running.job, running.fence).await);
    assert!(adopt(running.job, running.fence).await, "once more");
    assert!(!adopt(running.job, running.fence + 1).await);
    assert_eq!(backend.renew(running).await, Lease::Held);
    backend.offer(&[backend.due_now(reoffered.job)]).await;
    assert!(adopt(reoffered.job, reoffered.fence).await);
    assert_eq!(backend.depth().await, [0, 0, 2]);
    assert_eq!(backend.claim(10).await, []);
    assert!(
        backend
            .release(running, backend.again(running.job, NOW))
            .await
    );
    let lower = backend.offered(8, NOW).await;
    assert_eq!(
        backend.claim(10).await,
        [running.job, lower],
        "it has the priority with which it was adopted"
    );
}
