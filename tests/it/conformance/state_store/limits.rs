//! Rate limits.

use spheroctl::state::rate_limit::Rate;

use super::super::suite;
use super::*;

/// One request in 200 ms, and three at once.
const RATE: Rate = Rate {
    count: 5,
    period: Duration::from_secs(1),
    burst: 2,
};
/// So slow that no test sees it move.
const SLOW: Rate = Rate {
    count: 1,
    period: Duration::from_secs(3_600),
    burst: 9,
};

suite! {
    memory => Backend::memory, redis => Backend::redis;
    [
        a_burst_passes_and_no_more,
        of_64_at_once_the_burst_and_one_pass,
        the_allowance_comes_back,
        keys_do_not_share,
        allow_refuses_what_is_no_limit,
    ]
}

async fn a_burst_passes_and_no_more(backend: &Backend) {
    for remaining in (0..10).rev() {
        let answer = backend.store.allow("k", SLOW).await.unwrap();
        assert!(answer.allowed);
        assert_eq!(
            (answer.remaining, answer.retry),
            (remaining, Duration::ZERO)
        );
        let owed = Duration::from_secs(3_600) * (10 - remaining);
        assert!(
            answer.reset <= owed && answer.reset > owed - LONG,
            "{answer:?}"
        );
    }
    let refused = backend.other.allow("k", SLOW).await.unwrap();
    assert!(!refused.allowed && refused.remaining == 0);
    let hour = Duration::from_secs(3_600);
    assert!(
        refused.retry <= hour && refused.retry > hour - LONG,
        "{refused:?}"
    );
    assert_eq!(refused.reset - refused.retry, hour * 9);
}

async fn of_64_at_once_the_burst_and_one_pass(backend: &Backend) {
    let won = async |store: &SharedState| store.allow("k", SLOW).await.unwrap().allowed;
    assert_eq!(backend.winners_of_64(won).await, 10);
}

async fn the_allowance_comes_back(backend: &Backend) {
    while backend.store.allow("k", RATE).await.unwrap().allowed {}
    backend.pass(SHORT);
    eventually("one more passes", PATIENCE, async || {
        backend.store.allow("k", RATE).await.unwrap().allowed
    })
    .await;
    backend.pass(SHORT * 3);
    eventually("the key is gone", PATIENCE, async || {
        backend.get("k").await.is_none()
    })
    .await;
    assert_eq!(backend.store.allow("k", RATE).await.unwrap().remaining, 2);
}

async fn keys_do_not_share(backend: &Backend) {
    while backend.store.allow("k", SLOW).await.unwrap().allowed {}
    assert!(backend.store.allow("l", SLOW).await.unwrap().allowed);
}

async fn allow_refuses_what_is_no_limit(backend: &Backend) {
    backend.put("k", "text", LONG, When::Always).await;
    assert!(backend.store.allow("k", SLOW).await.is_err());
    assert_eq!(backend.get("k").await, Some(bytes("text")));
}
