//! Who waits for whom.

use super::super::suite;
use super::*;

suite! {
    memory => Backend::memory, redis => Backend::redis, batching => Backend::batching;
    [
        owners_take_turns,
        a_late_owner_does_not_wait_for_an_early_crowd,
        no_owner_runs_more_than_the_cap,
        a_higher_priority_is_not_held_up_by_the_owners_own_lower_ones,
        a_backlog_moves_up_in_its_order,
        backlogged_jobs_can_be_removed,
        every_so_many_starts_are_for_the_aged,
        the_aged_of_each_lane_have_their_turn,
        lanes_are_apart,
        lanes_are_served_by_priority,
        a_position_counts_those_before,
        loads_count_what_waits_and_runs,
    ]
}

impl Backend {
    /// New jobs of `owner`, offered in one call.
    async fn crowd(&self, owner: UserId, priority: u8, count: usize) -> Vec<JobId> {
        let offer = |_| Offer {
            owner,
            ..self.new_offer(priority, NOW)
        };
        let offers: Vec<Offer> = (0..count).map(offer).collect();
        self.offer(&offers).await;
        offers.iter().map(|offer| offer.job).collect()
    }
}

fn somebody() -> UserId {
    UserId::new(&SystemClock)
}

fn capped(owner_running_max: u32) -> Fairness {
    Fairness {
        owner_running_max,
        ..STRICT
    }
}

async fn owners_take_turns(backend: &Backend) {
    let first = backend.crowd(somebody(), 5, 100).await;
    let second = backend.crowd(somebody(), 5, 3).await;
    let third = backend.crowd(somebody(), 5, 3).await;
    let claimed = backend.claim(9).await;
    for turn in 0..3 {
        let mut of_turn = claimed[turn * 3..][..3].to_vec();
        of_turn.sort_unstable();
        let mut expected = [first[turn], second[turn], third[turn]];
        expected.sort_unstable();
        assert_eq!(of_turn, expected, "turn {turn}");
    }
    assert_eq!(backend.claim(1).await, [first[3]]);
}

async fn a_late_owner_does_not_wait_for_an_early_crowd(backend: &Backend) {
    let crowd = backend.crowd(somebody(), 5, 1_000).await;
    assert_eq!(backend.claim(10).await, crowd[..10]);
    let late = backend.crowd(somebody(), 5, 2).await;
    let next = backend.claim(4).await;
    assert!(next[..2].contains(&late[0]), "the first turn");
    assert!(next[2..].contains(&late[1]), "the second turn");
}

async fn no_owner_runs_more_than_the_cap(backend: &Backend) {
    let backend = &backend.with(capped(3)).await;
    let (busy, calm) = (somebody(), somebody());
    let of_busy = backend.crowd(busy, 5, 10).await;
    let of_calm = backend.crowd(calm, 1, 2).await;
    let held = backend.take(10, LONG).await;
    assert_eq!(jobs(&held), [&of_busy[..3], &of_calm[..]].concat());
    assert_eq!(backend.claim(10).await, []);
    assert_eq!(backend.depth().await, [7, 0, 5]);
    assert!(backend.release(held[1], Release::Done).await);
    assert!(
        backend
            .release(held[0], backend.again(held[0].job, LONG))
            .await
    );
    assert_eq!(backend.claim(10).await, of_busy[3..5]);
    assert_eq!(backend.claim(10).await, []);
}

async fn a_higher_priority_is_not_held_up_by_the_owners_own_lower_ones(backend: &Backend) {
    let backend = &backend.with(capped(2)).await;
    let owner = somebody();
    let low = backend.crowd(owner, 1, 10).await;
    let high = backend.crowd(owner, 9, 3).await;
    let held = backend.take(2, LONG).await;
    assert_eq!(jobs(&held), high[..2]);
    assert_eq!(backend.claim(5).await, []);
    backend.release(held[0], Release::Done).await;
    let held = backend.take(5, LONG).await;
    assert_eq!(jobs(&held), high[2..]);
    backend.release(held[0], Release::Done).await;
    assert_eq!(backend.claim(5).await, low[..1]);
}

async fn a_backlog_moves_up_in_its_order(backend: &Backend) {
    let backend = &backend.with(capped(1)).await;
    let owner = somebody();
    let first = backend.crowd(owner, 5, 1).await;
    let held = backend.take_one().await;
    let low = backend.crowd(owner, 2, 1).await;
    let high = backend.crowd(owner, 8, 1).await;
    let mut next = held;
    for expected in [high[0], low[0]] {
        backend.release(next, Release::Done).await;
        next = backend.take_one().await;
        assert_eq!(next.job, expected);
    }
    assert_eq!(held.job, first[0]);
    backend.release(next, Release::Done).await;
    assert_eq!(backend.depth().await, [0, 0, 0]);
}

async fn backlogged_jobs_can_be_removed(backend: &Backend) {
    let backend = &backend.with(capped(1)).await;
    let offered = backend.crowd(somebody(), 5, 4).await;
    backend.queue.remove(&offered[..2]).await.unwrap();
    assert_eq!(backend.depth().await, [2, 0, 0]);
    let held = backend.take(4, LONG).await;
    assert_eq!(
        jobs(&held),
        offered[2..3],
        "the place of the removed is taken"
    );
    backend.queue.remove(&offered[3..]).await.unwrap();
    backend.release(held[0], Release::Done).await;
    assert_eq!(backend.depth().await, [0, 0, 0]);
    assert_eq!(backend.claim(4).await, []);
}

async fn every_so_many_starts_are_for_the_aged(backend: &Backend) {
    let ageing = Fairness {
        aged_after: NOW,
        aged_share: 4,
        ..STRICT
    };
    let backend = &backend.with(ageing).await;
    let low = backend.crowd(somebody(), 1, 2).await;
    backend.crowd(somebody(), 10, 200).await;
    // Within (n + 1) × share × 9 starts, n being the jobs of its own priority before it.
    let mut claimed = Vec::new();
    for _ in 0..72 {
        claimed.extend(backend.claim(1).await);
    }
    let starts: Vec<usize> = low
        .iter()
        .map(|job| {
            claimed
                .iter()
                .position(|other| other == job)
                .expect("started")
        })
        .collect();
    assert!(starts[0] < 36, "{starts:?}");
    assert!(starts[1] < 72 && starts[1] > starts[0], "{starts:?}");
}

async fn the_aged_of_each_lane_have_their_turn(backend: &Backend) {
    let ageing = Fairness {
        aged_after: NOW,
        aged_share: 4,
        ..STRICT
    };
    let backend = &backend.with(ageing).await;
    backend.crowd(somebody(), 1, 200).await;
    backend.crowd(somebody(), 10, 200).await;
    let large = Offer {
        lane: Lane::Large,
        ..backend.new_offer(1, NOW)
    };
    backend.offer(&[large]).await;
    // Twice share × 9 starts, since both lanes are served.
    let mut claimed = Vec::new();
    for _ in 0..72 {
        claimed.extend(backend.claim(1).await);
    }
    assert!(
        claimed.contains(&large.job),
        "the other lane is never empty"
    );
}

async fn lanes_are_apart(backend: &Backend) {
    let large = Offer {
        lane: Lane::Large,
        ..backend.new_offer(10, NOW)
    };
    let small = backend.new_offer(1, NOW);
    backend.offer(&[large, small]).await;
    let of = |lanes: &'static [Lane]| Want {
        limit: 5,
        lanes,
        lease: LONG,
    };
    let claimed = backend.queue.claim(of(&[Lane::Default])).await.unwrap();
    assert_eq!(jobs(&claimed), [small.job]);
    let claimed = backend.queue.claim(of(&[Lane::Default])).await.unwrap();
    assert_eq!(claimed, []);
    let claimed = backend.queue.claim(of(&[Lane::Large])).await.unwrap();
    assert_eq!(jobs(&claimed), [large.job]);
}

async fn lanes_are_served_by_priority(backend: &Backend) {
    let (lanes, priorities) = ([Lane::Large, Lane::Default], [3, 7, 5]);
    let mut offers = Vec::new();
    for priority in priorities {
        offers.extend(lanes.map(|lane| Offer {
            lane,
            ..backend.new_offer(priority, NOW)
        }));
    }
    backend.offer(&offers).await;
    let claimed = [backend.claim(1).await, backend.claim(5).await].concat();
    let priority = |job: &JobId| {
        let offer = offers.iter().find(|offer| offer.job == *job);
        offer.expect("one of ours").priority
    };
    let claimed: Vec<u8> = claimed.iter().map(priority).collect();
    assert_eq!(claimed, [7, 7, 5, 5, 3, 3]);
}

async fn a_position_counts_those_before(backend: &Backend) {
    let backend = &backend.with(capped(2)).await;
    let owner = somebody();
    let own = backend.crowd(owner, 5, 4).await;
    let higher = backend.crowd(somebody(), 6, 1).await;
    let delayed = backend.offered(5, LONG).await;
    let position = async |job: JobId| backend.queue.position(job).await.unwrap();
    assert_eq!(position(higher[0]).await, Some(1));
    assert_eq!(position(own[0]).await, Some(2));
    assert_eq!(
        position(own[2]).await,
        Some(4),
        "in the backlog, behind all others"
    );
    assert_eq!(position(own[3]).await, Some(5));
    assert_eq!(position(delayed).await, None);
    assert_eq!(backend.claim(1).await, higher);
    assert_eq!(position(higher[0]).await, None);
    assert_eq!(position(new_job()).await, None);
}

async fn loads_count_what_waits_and_runs(backend: &Backend) {
    let backend = &backend.with(capped(2)).await;
    let owner = somebody();
    let delayed = Offer {
        owner,
        ..backend.new_offer(5, LONG)
    };
    let large = Offer {
        owner,
        lane: Lane::Large,
        ..backend.new_offer(5, NOW)
    };
    backend.crowd(owner, 5, 5).await;
    backend.offer(&[delayed, large]).await;
    let held = backend.take(3, LONG).await;
    let load = async || {
        let loads = backend.queue.loads(&[somebody(), owner]).await.unwrap();
        [
            loads[0].waiting,
            loads[0].running,
            loads[1].waiting,
            loads[1].running,
        ]
    };
    assert_eq!(load().await, [0, 0, 4, 3]);
    for held in held {
        backend.release(held, Release::Done).await;
    }
    assert_eq!(load().await, [0, 0, 4, 0]);
}
