//! Publications and those who hear them.

use super::super::suite;
use super::*;

suite! {
    memory => Backend::memory, redis => Backend::redis;
    [
        a_message_reaches_every_subscriber_on_two_handles,
        a_subscriber_hears_only_its_channel_and_only_while_it_listens,
        a_slow_subscriber_is_told_and_blocks_no_one,
    ]
}

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
