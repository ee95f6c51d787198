//! The state store when it goes away: the promise that both keep, then what only a server can do to its clients.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use spheroctl::kit::clock::{Clock, SystemClock};
use spheroctl::kit::id::{JobId, UserId};
use spheroctl::queue::{self, Fairness, JobQueue, Lane, Offer, Want};
use spheroctl::state::memory::Memory;
use spheroctl::state::redis::Redis;
use spheroctl::state::{Delivery, Error, SharedState, StateStore, When};
use tokio::time::{Instant, timeout};

use super::suite;
use crate::support::eventually;
use crate::support::redis_server::{COMMAND_TIMEOUT, RedisServer, redis_settings};

suite! {
    memory => Mortal::memory, redis => Mortal::redis;
    [ping_fails_within_its_limit_when_the_store_is_gone]
}

const FAIRNESS: Fairness = Fairness {
    owner_running_max: 256,
    aged_after: LONG,
    aged_share: 8,
};
const LONG: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(10);

/// A store with an end.
struct Mortal {
    store: SharedState,
    end: Box<dyn Fn() + Send + Sync>,
}

impl Mortal {
    async fn memory() -> Self {
        let store = Memory::new(SystemClock::shared());
        let twin = store.clone();
        Self {
            store: Arc::new(store),
            end: Box::new(move || twin.close()),
        }
    }

    async fn redis() -> Self {
        let server = RedisServer::start().await;
        let store = Redis::connect(&server.settings())
            .await
            .expect("Redis answers");
        Self {
            store: Arc::new(store),
            end: Box::new(move || server.freeze()),
        }
    }
}

async fn ping_fails_within_its_limit_when_the_store_is_gone(backend: &Mortal) {
    backend.store.ping().await.expect("the store is there");
    (backend.end)();
    for _ in 0..3 {
        let answer = timeout(COMMAND_TIMEOUT * 2, backend.store.ping()).await;
        let error = answer
            .expect("an answer within the limit")
            .expect_err("nobody is there");
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
    }
}

async fn works(store: &Redis) -> bool {
    store
        .put("k", Bytes::from_static(b"v"), LONG, When::Always)
        .await
        .is_ok()
}

#[tokio::test]
async fn connecting_to_nobody_names_the_place_and_keeps_the_password() {
    let server = RedisServer::start().await;
    let address = server.address();
    drop(server);
    let settings = redis_settings(
        &format!("redis://user:hunter2@{address}"),
        "",
        COMMAND_TIMEOUT,
    );
    let begin = Instant::now();
    let error = Redis::connect(&settings)
        .await
        .expect_err("nobody is there")
        .to_string();
    assert!(
        begin.elapsed() < COMMAND_TIMEOUT * 3,
        "it took {:?}",
        begin.elapsed()
    );
    assert!(error.contains(&address), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn connecting_to_a_frozen_server_ends_in_time() {
    let server = RedisServer::start().await;
    server.freeze();
    let settings = server.settings();
    let connecting = Redis::connect(&settings);
    let outcome = timeout(COMMAND_TIMEOUT * 3, connecting)
        .await
        .expect("an answer in time");
    let error = outcome.expect_err("nobody answers").to_string();
    assert!(error.contains(&server.address()), "{error}");
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_shown() {
    let server = RedisServer::start().await;
    let url = format!("redis://nobody:hunter2@{}", server.address());
    let error = Redis::connect(&redis_settings(&url, "", COMMAND_TIMEOUT)).await;
    let error = error.expect_err("there is no such user").to_string();
    assert!(
        error.contains(&server.address()) && !error.contains("hunter2"),
        "{error}"
    );
    let error = Redis::connect(&redis_settings("no url: hunter2", "", COMMAND_TIMEOUT)).await;
    let error = error.expect_err("that is no address").to_string();
    assert!(
        error.contains("redis.url") && !error.contains("hunter2"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_the_store_comes_back_with_its_scripts_and_subscriptions() {
    let mut server = RedisServer::start().await;
    let store = Redis::connect(&server.settings()).await.unwrap();
    let mut subscription = store.subscribe("news").await.unwrap();
    assert_eq!(store.add("n", 1, LONG).await.unwrap(), 1);

    server.kill().await;
    let begin = Instant::now();
    assert!(matches!(
        store.add("n", 1, LONG).await,
        Err(Error::Unavailable(_))
    ));
    assert!(
        begin.elapsed() < COMMAND_TIMEOUT * 2,
        "it took {:?}",
        begin.elapsed()
    );

    server.start_again().await;
    eventually("commands are answered again", PATIENCE, async || {
        works(&store).await
    })
    .await;
    assert_eq!(
        store.add("n", 1, LONG).await.unwrap(),
        1,
        "the script is unknown to the new server"
    );
    let told = timeout(PATIENCE, subscription.next())
        .await
        .expect("word in time");
    assert_eq!(told, Some(Delivery::Lagged));
    store
        .publish("news", Bytes::from_static(b"m"))
        .await
        .unwrap();
    let heard = timeout(PATIENCE, subscription.next())
        .await
        .expect("a message in time");
    assert_eq!(heard, Some(Delivery::Message(Bytes::from_static(b"m"))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_is_woken_after_a_kill() {
    let mut server = RedisServer::start().await;
    let state = Redis::connect(&server.settings()).await.unwrap();
    let jobs = queue::redis::Redis::new(&state, FAIRNESS);
    jobs.wait(&Lane::ALL, Duration::from_millis(1))
        .await
        .unwrap();
    server.kill().await;
    server.start_again().await;
    eventually("commands are answered again", PATIENCE, async || {
        works(&state).await
    })
    .await;

    let job = JobId::new(&SystemClock);
    let waiting = async {
        while jobs.depth().await.unwrap().waiting == 0 {
            jobs.wait(&Lane::ALL, PATIENCE).await.unwrap();
        }
    };
    let offer = Offer {
        job,
        owner: UserId::new(&SystemClock),
        lane: Lane::Default,
        priority: 5,
        since: SystemClock.now(),
        delay: Duration::ZERO,
    };
    let offering = async { jobs.offer(&[offer]).await.unwrap() };
    timeout(PATIENCE / 2, async { tokio::join!(waiting, offering) })
        .await
        .expect("woken in time");
    let want = Want {
        limit: 1,
        lanes: &Lane::ALL,
        lease: LONG,
    };
    assert_eq!(jobs.claim(want).await.unwrap()[0].job, job);
}

#[tokio::test]
async fn closing_ends_subscriptions_and_later_calls() {
    let server = RedisServer::start().await;
    let store = Redis::connect(&server.settings()).await.unwrap();
    let mut subscription = store.subscribe("news").await.unwrap();
    timeout(COMMAND_TIMEOUT * 3, store.close())
        .await
        .expect("closing ends in time");
    assert_eq!(subscription.next().await, None);
    assert!(matches!(store.ping().await, Err(Error::Unavailable(_))));
}

#[tokio::test]
async fn a_channel_that_nobody_hears_is_given_up_and_can_be_taken_again() {
    let server = RedisServer::start().await;
    let store = Redis::connect(&server.settings()).await.unwrap();
    let listened = async || server.cli(&["pubsub", "channels"]).await.contains("news");
    let first = store.subscribe("news").await.unwrap();
    assert!(listened().await);
    drop(first);
    eventually("the server is told", PATIENCE, async || !listened().await).await;
    let mut again = store.subscribe("news").await.unwrap();
    store
        .publish("news", Bytes::from_static(b"m"))
        .await
        .unwrap();
    let heard = timeout(PATIENCE, again.next())
        .await
        .expect("a message in time");
    assert_eq!(heard, Some(Delivery::Message(Bytes::from_static(b"m"))));
}

#[tokio::test]
async fn dropping_the_last_handle_closes_its_connections() {
    let server = RedisServer::start().await;
    let connections = async || server.cli(&["client", "list"]).await.lines().count();
    let alone = connections().await;
    let store = Redis::connect(&server.settings()).await.unwrap();
    let twin = store.clone();
    drop(store);
    twin.ping().await.unwrap();
    assert!(connections().await > alone);
    drop(twin);
    eventually("the connections are gone", PATIENCE, async || {
        connections().await == alone
    })
    .await;
}
