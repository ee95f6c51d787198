//! The state store: the same promises in the process and on Redis.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use spheroctl::kit::clock::{Clock, ManualClock, SharedClock, SystemClock};
use spheroctl::kit::id::UserId;
use spheroctl::state::instances::{Instance, Instances};
use spheroctl::state::memory::Memory;
use spheroctl::state::redis::Redis;
use spheroctl::state::sessions::{Metadata, Sessions, SignInCodes};
use spheroctl::state::{Delivery, SharedState, Subscription, When};

use super::suite;
use crate::support::redis_server::redis_settings;
use crate::support::services::redis_url;
use crate::support::{eventually, unique_prefix};

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
        presence_ends_and_is_prolonged_by_joining_again,
        members_are_sorted_and_leave_once,
        a_set_and_a_key_of_one_name_are_two_things,
        odd_bytes_in_keys_members_and_values,
        a_message_reaches_every_subscriber_on_two_handles,
        a_subscriber_hears_only_its_channel_and_only_while_it_listens,
        a_slow_subscriber_is_told_and_blocks_no_one,
        sessions_open_and_end,
        a_sign_in_code_has_one_redeemer_of_64,
        instances_are_listed,
    ]
}

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

// === Entries ===

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

// === Counters ===

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

// === Sets ===

async fn presence_ends_and_is_prolonged_by_joining_again(backend: &Backend) {
    assert!(backend.join("a", SHORT).await);
    assert!(backend.join("b", SHORT).await);
    assert!(!backend.join("b", LONG).await);
    assert_eq!(backend.present().await, ["a", "b"]);
    backend.pass(SHORT);
    eventually("a is gone", PATIENCE, async || {
        backend.present().await == ["b"]
    })
    .await;
    assert!(
        backend.join("a", LONG).await,
        "a comes back as a new member"
    );
    assert_eq!(backend.present().await, ["a", "b"]);
}

async fn members_are_sorted_and_leave_once(backend: &Backend) {
    for member in ["b", "a", "C"] {
        backend.join(member, LONG).await;
    }
    assert_eq!(backend.present().await, ["C", "a", "b"]);
    assert!(backend.store.leave("room", "a").await.unwrap());
    assert!(!backend.store.leave("room", "a").await.unwrap());
    assert!(!backend.store.leave("nowhere", "a").await.unwrap());
    assert_eq!(backend.present().await, ["C", "b"]);
    assert_eq!(backend.store.members("nowhere").await.unwrap(), []);
}

async fn a_set_and_a_key_of_one_name_are_two_things(backend: &Backend) {
    backend.put("room", "v", LONG, When::Always).await;
    backend.join("a", LONG).await;
    assert!(backend.store.delete("room").await.unwrap());
    assert_eq!(backend.present().await, ["a"]);
}

async fn odd_bytes_in_keys_members_and_values(backend: &Backend) {
    let odd = [
        "",
        " ",
        "a b",
        "}",
        "{",
        "{}",
        "a}b{c",
        "new\nline\r\n",
        "ünïcödé 🧫",
        "nul\0nul",
        "%7D",
        "*?[x]",
    ];
    let value = Bytes::from_static(b"\0\xff\xfe\r\n{}");
    for name in odd {
        let wrote = backend
            .store
            .put(name, value.clone(), LONG, When::Absent)
            .await
            .unwrap();
        assert!(wrote, "{name:?} is a key of its own");
        assert!(
            backend
                .store
                .join(name, name, value.clone(), LONG)
                .await
                .unwrap()
        );
    }
    for name in odd {
        let members = backend.other.members(name).await.unwrap();
        assert_eq!(members, [(name.to_owned(), value.clone())]);
        let when = When::Equals(value.clone());
        assert!(
            backend
                .other
                .put(name, Bytes::new(), LONG, when)
                .await
                .unwrap()
        );
        assert_eq!(backend.store.take(name).await.unwrap(), Some(Bytes::new()));
    }
}

// === Channels ===

async fn a_message_reaches_every_subscriber_on_two_handles(backend: &Backend) {
    let mut subscriptions = Vec::new();
    for store in [
        &backend.store,
        &backend.store,
        &backend.other,
        &backend.other,
    ] {
        subscriptions.push(store.subscribe("news").await.unwrap());
    }
    let payload = Bytes::from_static(b"\0\xffpayload");
    backend
        .store
        .publish("news", payload.clone())
        .await
        .unwrap();
    backend
        .other
        .publish("news", bytes("second"))
        .await
        .unwrap();
    for subscription in &mut subscriptions {
        assert_eq!(next(subscription).await, Delivery::Message(payload.clone()));
        assert_eq!(next(subscription).await, Delivery::Message(bytes("second")));
    }
}

async fn a_subscriber_hears_only_its_channel_and_only_while_it_listens(backend: &Backend) {
    backend
        .store
        .publish("news", bytes("too early"))
        .await
        .unwrap();
    let leaver = backend.other.subscribe("news").await.unwrap();
    let mut stayer = backend.other.subscribe("news").await.unwrap();
    drop(leaver);
    backend
        .store
        .publish("other news", bytes("elsewhere"))
        .await
        .unwrap();
    backend.store.publish("news", bytes("here")).await.unwrap();
    assert_eq!(next(&mut stayer).await, Delivery::Message(bytes("here")));
}

async fn a_slow_subscriber_is_told_and_blocks_no_one(backend: &Backend) {
    const MESSAGES: usize = 3_000;
    let mut slow = backend.other.subscribe("news").await.unwrap();
    let mut quick = backend.other.subscribe("news").await.unwrap();
    for number in 0..MESSAGES {
        let payload = Bytes::from(number.to_string());
        backend
            .store
            .publish("news", payload.clone())
            .await
            .unwrap();
        assert_eq!(next(&mut quick).await, Delivery::Message(payload));
    }
    assert_eq!(next(&mut slow).await, Delivery::Lagged);
    let last = Delivery::Message(Bytes::from((MESSAGES - 1).to_string()));
    while next(&mut slow).await != last {}
}

// === What stands on the store ===

async fn sessions_open_and_end(backend: &Backend) {
    let sessions = Sessions::new(
        Arc::clone(&backend.store),
        Arc::clone(&backend.clock),
        LONG,
        LONG,
    );
    let elsewhere = Sessions::new(
        Arc::clone(&backend.other),
        Arc::clone(&backend.clock),
        LONG,
        LONG,
    );
    let user = UserId::new(&*backend.clock);
    let metadata = Metadata {
        user_agent: "a browser".to_owned(),
        ip: "192.0.2.1".to_owned(),
    };
    let token = sessions.create(user, metadata.clone()).await.unwrap();
    let second = sessions.create(user, Metadata::default()).await.unwrap();
    let session = elsewhere
        .lookup(&token)
        .await
        .unwrap()
        .expect("an open session");
    assert_eq!((session.user, &session.metadata), (user, &metadata));
    assert_eq!(elsewhere.list(user).await.unwrap().len(), 2);
    assert!(elsewhere.end(&token).await.unwrap());
    assert_eq!(sessions.lookup(&token).await.unwrap(), None);
    assert_eq!(sessions.end_all(user).await.unwrap(), 1);
    assert_eq!(elsewhere.lookup(&second).await.unwrap(), None);
    assert_eq!(elsewhere.list(user).await.unwrap(), []);
}

async fn a_sign_in_code_has_one_redeemer_of_64(backend: &Backend) {
    let user = UserId::new(&*backend.clock);
    let code = SignInCodes::new(Arc::clone(&backend.store))
        .create(user, LONG)
        .await
        .unwrap();
    let redeemed = async |store: &SharedState| {
        let codes = SignInCodes::new(Arc::clone(store));
        codes.redeem(&code).await.unwrap() == Some(user)
    };
    assert_eq!(backend.winners_of_64(redeemed).await, 1);
}

async fn instances_are_listed(backend: &Backend) {
    let line = Instance {
        instance: "host-0123abcd".to_owned(),
        role: "serve".to_owned(),
        version: "0.1.0".to_owned(),
        started_at: backend.clock.now(),
        address: "127.0.0.1:9100".to_owned(),
        figures: serde_json::json!({ "sockets": 3 }),
    };
    Instances::new(Arc::clone(&backend.store))
        .announce(&line)
        .await
        .unwrap();
    let elsewhere = Instances::new(Arc::clone(&backend.other));
    assert_eq!(elsewhere.list().await.unwrap(), [line.clone()]);
    assert!(elsewhere.leave(&line.instance).await.unwrap());
    assert_eq!(elsewhere.list().await.unwrap(), []);
}
