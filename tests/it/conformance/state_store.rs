//! The state store: the same promises in the process and on Redis.

mod channels;
mod entries;
mod feed;
mod limits;
mod rooms;
mod sets;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use spheroctl::kit::clock::{Clock, ManualClock, SharedClock, SystemClock};
use spheroctl::kit::id::UserId;
use spheroctl::state::instances::{Instance, Instances};
use spheroctl::state::memory::Memory;
use spheroctl::state::redis::Redis;
use spheroctl::state::sessions::{Metadata, Sessions};
use spheroctl::state::sign_in_codes::SignInCodes;
use spheroctl::state::{Delivery, SharedState, Subscription, When};

use crate::support::redis_server::redis_settings;
use crate::support::services::redis_url;
use crate::support::{eventually, unique_prefix};

/// Long enough to write, look and write again inside it; short enough to wait for.
const SHORT: Duration = Duration::from_millis(200);
/// Longer than any test.
const LONG: Duration = Duration::from_secs(60);
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(5);

/// A store and a second handle to it: on Redis one with connections of its own.
struct Backend {
    store: SharedState,
    other: SharedState,
    clock: SharedClock,
    /// Where time is ours.
    manual: Option<ManualClock>,
}

impl Backend {
    async fn memory() -> Self {
        let manual = ManualClock::at(SystemClock.now());
        let clock: SharedClock = Arc::new(manual.clone());
        let store = Memory::new(Arc::clone(&clock));
        Self {
            other: Arc::new(store.clone()),
            store: Arc::new(store),
            clock,
            manual: Some(manual),
        }
    }

    async fn redis() -> Self {
        let settings = redis_settings(&redis_url(), &unique_prefix(), PATIENCE);
        let connect = async || Redis::connect(&settings).await.expect("Redis answers");
        Self {
            store: Arc::new(connect().await),
            other: Arc::new(connect().await),
            clock: SystemClock::shared(),
            manual: None,
        }
    }

    /// Lets `time` pass where it is ours; elsewhere it passes by itself while `eventually` looks.
    fn pass(&self, time: Duration) {
        if let Some(clock) = &self.manual {
            clock.advance(time);
        }
    }

    async fn put(&self, key: &str, value: &'static str, lifetime: Duration, when: When) -> bool {
        self.store
            .put(key, bytes(value), lifetime, when)
            .await
            .expect("an answer")
    }

    async fn get(&self, key: &str) -> Option<Bytes> {
        self.other.get(key).await.expect("an answer")
    }

    async fn join(&self, member: &str, lifetime: Duration) -> bool {
        self.store
            .join("room", member, bytes("v"), lifetime)
            .await
            .expect("an answer")
    }

    async fn present(&self) -> Vec<String> {
        let members = self.other.members("room").await.expect("an answer");
        members.into_iter().map(|(member, _)| member).collect()
    }

    /// How many of 64 concurrent calls, half of them on the other handle, were answered with true.
    async fn winners_of_64(&self, call: impl AsyncFn(&SharedState) -> bool) -> usize {
        let handles = (0..64).map(|number| {
            if number % 2 == 0 {
                &self.store
            } else {
                &self.other
            }
        });
        let answers = join_all(handles.map(|store| call(store))).await;
        answers.into_iter().filter(|won| *won).count()
    }
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

async fn next(subscription: &mut Box<dyn Subscription>) -> Delivery {
    let delivery = tokio::time::timeout(PATIENCE, subscription.next()).await;
    delivery
        .expect("a delivery in time")
        .expect("an open store")
}
