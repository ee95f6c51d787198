//! Keys, values, lifetimes and counters.

use super::super::suite;
use super::*;

suite! {
    memory => Backend::memory, redis => Backend::redis;
    [
        an_entry_ends_with_its_lifetime,
        writing_again_begins_a_new_lifetime,
        absent_has_one_winner_of_64,
        equals_refuses_what_is_stale_and_what_is_gone,
        equals_has_one_winner_of_64,
        take_has_one_winner_of_64,
        delete_is_idempotent,
        add_loses_nothing_of_64,
        add_keeps_the_first_lifetime,
        add_refuses_what_is_no_counter,
    ]
}

async fn an_entry_ends_with_its_lifetime(backend: &Backend) {
    assert!(backend.put("k", "v", SHORT, When::Always).await);
    assert_eq!(backend.get("k").await, Some(bytes("v")));
    backend.pass(SHORT);
    eventually("the entry is gone", PATIENCE, async || {
        backend.get("k").await.is_none()
    })
    .await;
    assert!(backend.put("k", "w", LONG, When::Absent).await);
}

async fn writing_again_begins_a_new_lifetime(backend: &Backend) {
    backend.put("k", "v", LONG, When::Always).await;
    backend.put("k", "w", SHORT, When::Equals(bytes("v"))).await;
    backend.put("l", "v", SHORT, When::Always).await;
    backend.put("l", "w", LONG, When::Always).await;
    backend.pass(SHORT);
    eventually("the shortened entry is gone", PATIENCE, async || {
        backend.get("k").await.is_none()
    })
    .await;
    assert_eq!(backend.get("l").await, Some(bytes("w")));
}

async fn absent_has_one_winner_of_64(backend: &Backend) {
    let won = async |store: &SharedState| {
        store
            .put("k", bytes("v"), LONG, When::Absent)
            .await
            .unwrap()
    };
    assert_eq!(backend.winners_of_64(won).await, 1);
}

async fn equals_refuses_what_is_stale_and_what_is_gone(backend: &Backend) {
    assert!(
        !backend
            .put("k", "new", LONG, When::Equals(bytes("old")))
            .await
    );
    assert_eq!(backend.get("k").await, None);
    backend.put("k", "newer", LONG, When::Always).await;
    assert!(
        !backend
            .put("k", "new", LONG, When::Equals(bytes("old")))
            .await
    );
    assert_eq!(backend.get("k").await, Some(bytes("newer")));
    assert!(
        backend
            .put("k", "newest", LONG, When::Equals(bytes("newer")))
            .await
    );
    assert_eq!(backend.get("k").await, Some(bytes("newest")));
}

async fn equals_has_one_winner_of_64(backend: &Backend) {
    backend.put("k", "old", LONG, When::Always).await;
    let won = async |store: &SharedState| {
        let when = When::Equals(bytes("old"));
        store.put("k", bytes("new"), LONG, when).await.unwrap()
    };
    assert_eq!(backend.winners_of_64(won).await, 1);
}

async fn take_has_one_winner_of_64(backend: &Backend) {
    backend.put("k", "v", LONG, When::Always).await;
    let won = async |store: &SharedState| store.take("k").await.unwrap() == Some(bytes("v"));
    assert_eq!(backend.winners_of_64(won).await, 1);
    assert_eq!(backend.get("k").await, None);
}

async fn delete_is_idempotent(backend: &Backend) {
    backend.put("k", "v", LONG, When::Always).await;
    assert!(backend.store.delete("k").await.unwrap());
    assert!(!backend.store.delete("k").await.unwrap());
    assert_eq!(backend.get("k").await, None);
}

async fn add_loses_nothing_of_64(backend: &Backend) {
    let last = async |store: &SharedState| store.add("n", 2, LONG).await.unwrap() == 128;
    assert_eq!(backend.winners_of_64(last).await, 1);
    assert_eq!(backend.store.add("n", -130, LONG).await.unwrap(), -2);
    assert_eq!(backend.get("n").await, Some(bytes("-2")));
}

async fn add_keeps_the_first_lifetime(backend: &Backend) {
    backend.store.add("n", 1, SHORT).await.unwrap();
    backend.store.add("n", 1, LONG).await.unwrap();
    backend.pass(SHORT);
    eventually("the counter is gone", PATIENCE, async || {
        backend.get("n").await.is_none()
    })
    .await;
    assert_eq!(backend.store.add("n", 1, LONG).await.unwrap(), 1);
}

async fn add_refuses_what_is_no_counter(backend: &Backend) {
    backend.put("k", "text", LONG, When::Always).await;
    assert!(backend.store.add("k", 1, LONG).await.is_err());
    assert_eq!(backend.get("k").await, Some(bytes("text")));
}
