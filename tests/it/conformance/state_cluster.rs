//! On a Redis Cluster every script must find all its keys in one slot: a node refuses the others.

use std::time::Duration;

use bytes::Bytes;
use spheroctl::kit::clock::{Clock, SystemClock};
use spheroctl::kit::id::{JobId, UserId};
use spheroctl::queue::{self, Fairness, JobQueue, Lane, Offer, Release, Want};
use spheroctl::state::feed::{Heard, Keep, Post};
use spheroctl::state::redis::Redis;
use spheroctl::state::{Delivery, StateStore, When};
use tokio::time::timeout;

use crate::support::redis_server::{RedisServer, redis_settings};

const FAIRNESS: Fairness = Fairness {
    owner_running_max: 256,
    aged_after: LONG,
    aged_share: 8,
};
const LONG: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_and_queue_work_on_a_cluster() {
    let server = RedisServer::start_cluster().await;
    let url = format!("redis-cluster://{}", server.address());
    let store = Redis::connect(&redis_settings(&url, "some:prefix:", PATIENCE))
        .await
        .expect("a cluster");
    entries_and_sets(&store).await;
    channels(&store).await;
    jobs(&queue::redis::Redis::new(&store, FAIRNESS)).await;
}

async fn entries_and_sets(store: &Redis) {
    let value = Bytes::from_static(b"v");
    for name in ["", "plain", "}", "{", "{}", "a}b{c"] {
        assert!(
            store
                .put(name, value.clone(), LONG, When::Absent)
                .await
                .unwrap()
        );
        assert!(
            store
                .put(name, value.clone(), LONG, When::Equals(value.clone()))
                .await
                .unwrap()
        );
        assert!(store.join(name, "m", value.clone(), LONG).await.unwrap());
        assert_eq!(
            store.members(name).await.unwrap(),
            [("m".to_owned(), value.clone())]
        );
        assert!(store.leave(name, "m").await.unwrap());
        assert_eq!(store.take(name).await.unwrap(), Some(value.clone()));
    }
    assert_eq!(store.add("n", 3, LONG).await.unwrap(), 3);
    store.ping().await.unwrap();
}

async fn channels(store: &Redis) {
    let mut subscription = store.subscribe("news").await.unwrap();
    store
        .publish("news", Bytes::from_static(b"m"))
        .await
        .unwrap();
    let heard = timeout(PATIENCE, subscription.next())
        .await
        .expect("a message in time");
    assert_eq!(heard, Some(Delivery::Message(Bytes::from_static(b"m"))));
    let keep = Keep {
        messages_max: 1,
        lifetime: LONG,
    };
    // Their keys are in different slots.
    let posts = ["news", "other", "news"].map(|channel| Post {
        channel,
        payload: Bytes::from_static(b"p"),
        event: Some(channel),
        keep,
    });
    let posted = store.post(&posts).await.unwrap();
    assert_eq!(posted[0].position, posted[2].position);
    let heard = timeout(PATIENCE, subscription.next()).await;
    let Ok(Some(Delivery::Message(message))) = heard else {
        panic!("a publication in time: {heard:?}");
    };
    assert_eq!(
        Heard::read(&message).unwrap().position,
        Some(posted[0].position.clone())
    );
    assert_eq!(store.recall("news", 0).await.unwrap().entries.len(), 1);
}

async fn jobs(jobs: &queue::redis::Redis) {
    let job = JobId::new(&SystemClock);
    let want = Want {
        limit: 1,
        lanes: &Lane::ALL,
        lease: LONG,
    };
    jobs.wait(&Lane::ALL, PATIENCE).await.unwrap();
    let waiting = jobs.wait(&Lane::ALL, PATIENCE * 2);
    let offer = [Offer {
        job,
        owner: UserId::new(&SystemClock),
        lane: Lane::Large,
        priority: 5,
        since: SystemClock.now(),
        delay: Duration::ZERO,
    }];
    let both = async { tokio::join!(waiting, jobs.offer(&offer)) };
    let (waited, offered) = timeout(PATIENCE, both).await.expect("woken in time");
    waited.unwrap();
    assert_eq!(offered.unwrap(), [true]);
    let claimed = jobs.claim(want).await.unwrap();
    assert_eq!(claimed[0].job, job);
    assert!(jobs.cancel(job).await.unwrap());
    assert_eq!(
        jobs.release(&[(claimed[0], Release::Done)]).await.unwrap(),
        [true]
    );
    assert_eq!(jobs.known(&[job]).await.unwrap(), [false]);
}
