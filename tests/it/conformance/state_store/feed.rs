//! Channels with a memory: numbers without gaps, recovery, and a history that is bounded.

use std::collections::{BTreeSet, VecDeque};

use spheroctl::state::feed::{Heard, Keep, Position, Post, Posted, Recalled};
use spheroctl::state::{News, Receiver};

use super::super::suite;
use super::*;

suite! {
    memory => Backend::memory, redis => Backend::redis;
    [
        publications_are_numbered_kept_and_heard_in_order,
        many_at_once_are_as_if_they_came_one_after_another,
        concurrent_publications_have_numbers_without_gaps_and_are_heard_in_their_order,
        an_event_whose_publication_is_kept_is_published_once,
        an_event_that_was_forgotten_is_published_again,
        a_history_holds_no_more_than_it_may,
        a_history_ends_with_its_lifetime_but_the_numbering_goes_on,
        a_position_before_the_first_publication_is_good,
        a_store_that_forgot_counts_in_another_epoch,
        a_receiver_hears_many_channels_until_it_removes_them,
        a_slow_receiver_is_told_and_hears_on,
    ]
}

const KEEP: Keep = Keep {
    messages_max: 3,
    lifetime: LONG,
};

fn publication<'p>(channel: &'p str, payload: &str, event: Option<&'p str>) -> Post<'p> {
    Post {
        channel,
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        event,
        keep: KEEP,
    }
}

async fn post(store: &SharedState, payload: &str, event: Option<&str>) -> Posted {
    let posted = store.post(&[publication("feed", payload, event)]).await;
    posted.expect("an answer").pop().expect("a publication")
}

async fn recall(backend: &Backend, after: u64) -> Recalled {
    backend
        .other
        .recall("feed", after)
        .await
        .expect("an answer")
}

fn payloads(recalled: &Recalled) -> Vec<(u64, &[u8])> {
    let entries = recalled.entries.iter();
    entries
        .map(|entry| (entry.offset, &entry.payload[..]))
        .collect()
}

fn message(delivery: Delivery) -> Heard {
    let Delivery::Message(message) = delivery else {
        panic!("{delivery:?}");
    };
    Heard::read(&message).expect("a message with its place")
}

async fn publications_are_numbered_kept_and_heard_in_order(backend: &Backend) {
    let mut subscription = backend.other.subscribe("feed").await.unwrap();
    for (number, payload) in [(1, "one"), (2, "two:\"\\\0"), (3, "")] {
        let posted = post(&backend.store, payload, None).await;
        assert!(posted.is_new);
        assert_eq!(posted.position.offset, number);
        let heard = message(next(&mut subscription).await);
        assert_eq!(heard.position, Some(posted.position));
        assert_eq!(heard.payload, payload);
    }
    let recalled = recall(backend, 1).await;
    assert_eq!(payloads(&recalled), [(2, &b"two:\"\\\0"[..]), (3, b"")]);
    assert!(recalled.continues(&Position {
        offset: 1,
        epoch: recalled.position.epoch.clone(),
    }));
}

/// More than one call of the store, on channels that are full on the way, with events that are kept and that were forgotten.
async fn many_at_once_are_as_if_they_came_one_after_another(backend: &Backend) {
    let names: Vec<String> = (0..150).map(|number| format!("p{number}")).collect();
    let post = |number: usize| {
        // Of four one tells of no event, two of the same, and one of what was told of 40 before.
        let event = [
            None,
            Some(number / 4 * 4),
            Some(number / 4 * 4),
            Some(number % 40),
        ];
        let event = event[number % 4].map(|event| &names[event][..]);
        publication(["a", "b", "a"][number % 3], &names[number], event)
    };
    let posts: Vec<Post<'_>> = (0..names.len()).map(post).collect();
    let mut subscription = backend.other.subscribe("a").await.unwrap();
    let posted = backend.store.post(&posts).await.unwrap();

    let (mut numbered, mut known) = ([0, 0], 0);
    let mut kept = [VecDeque::new(), VecDeque::new()];
    for (post, posted) in posts.iter().zip(&posted) {
        let at = usize::from(post.channel == "b");
        let kept = &mut kept[at];
        let same = |(event, _): &&(Option<&str>, u64)| post.event.is_some() && *event == post.event;
        let expected = kept.iter().find(same).map(|(_, offset)| *offset);
        known += usize::from(expected.is_some());
        assert_eq!(posted.is_new, expected.is_none(), "{post:?}");
        let offset = expected.unwrap_or(numbered[at] + 1);
        assert_eq!(posted.position.offset, offset, "{post:?}");
        if posted.is_new {
            numbered[at] = offset;
            kept.push_back((post.event, offset));
            if kept.len() > KEEP.messages_max {
                kept.pop_front();
            }
            if at == 0 {
                let heard = message(next(&mut subscription).await);
                assert_eq!(heard.position.as_ref(), Some(&posted.position));
                assert_eq!(heard.payload, post.payload);
            }
        }
    }
    assert_eq!(known, 12);
    for (channel, kept) in ["a", "b"].iter().zip(kept) {
        let recalled = backend.other.recall(channel, 0).await.unwrap();
        let offsets = recalled.entries.iter().map(|entry| entry.offset);
        let kept = kept.iter().map(|(_, offset)| *offset);
        assert_eq!(offsets.collect::<Vec<_>>(), kept.collect::<Vec<_>>());
    }
}

async fn concurrent_publications_have_numbers_without_gaps_and_are_heard_in_their_order(
    backend: &Backend,
) {
    let mut subscription = backend.other.subscribe("feed").await.unwrap();
    let posts = (0..64).map(|number| match number % 2 {
        0 => post(&backend.store, "even", None),
        _ => post(&backend.other, "odd", None),
    });
    let posted = join_all(posts).await;
    let offsets: BTreeSet<u64> = posted.iter().map(|posted| posted.position.offset).collect();
    assert_eq!(offsets, (1..=64).collect());
    for expected in 1..=64 {
        let heard = message(next(&mut subscription).await);
        assert_eq!(
            heard.position.map(|position| position.offset),
            Some(expected)
        );
    }
}

async fn an_event_whose_publication_is_kept_is_published_once(backend: &Backend) {
    let mut subscription = backend.other.subscribe("feed").await.unwrap();
    let first = post(&backend.store, "first", Some("event-1")).await;
    let again = post(&backend.other, "again", Some("event-1")).await;
    assert_eq!((first.is_new, again.is_new), (true, false));
    assert_eq!(again.position, first.position);
    post(&backend.store, "second", Some("event-2")).await;
    assert_eq!(message(next(&mut subscription).await).payload, "first");
    assert_eq!(message(next(&mut subscription).await).payload, "second");
    let recalled = recall(backend, 0).await;
    assert_eq!(payloads(&recalled), [(1, &b"first"[..]), (2, b"second")]);
}

async fn an_event_that_was_forgotten_is_published_again(backend: &Backend) {
    post(&backend.store, "first", Some("event-1")).await;
    for _ in 0..KEEP.messages_max {
        post(&backend.store, "later", None).await;
    }
    assert!(post(&backend.store, "again", Some("event-1")).await.is_new);
    // And its new place is known.
    assert!(!post(&backend.store, "again", Some("event-1")).await.is_new);
}

async fn a_history_holds_no_more_than_it_may(backend: &Backend) {
    for payload in ["1", "2", "3", "4", "5"] {
        post(&backend.store, payload, None).await;
    }
    let recalled = recall(backend, 0).await;
    assert_eq!(payloads(&recalled), [(3, &b"3"[..]), (4, b"4"), (5, b"5")]);
    let at = |offset| Position {
        offset,
        epoch: recalled.position.epoch.clone(),
    };
    assert!(!recalled.continues(&at(0)));
    assert!(recall(backend, 2).await.continues(&at(2)));
    assert!(!recall(backend, 1).await.continues(&at(1)));
    assert!(recall(backend, 5).await.continues(&at(5)));
    assert!(!recall(backend, u64::MAX).await.continues(&at(u64::MAX)));
}

async fn a_history_ends_with_its_lifetime_but_the_numbering_goes_on(backend: &Backend) {
    let keep = Keep {
        lifetime: SHORT,
        ..KEEP
    };
    let short = Post {
        keep,
        ..publication("feed", "short", Some("e"))
    };
    let posted = backend.store.post(&[short]).await.unwrap();
    let epoch = posted[0].position.epoch.clone();
    assert_eq!(recall(backend, 0).await.entries.len(), 1);
    backend.pass(SHORT);
    eventually("the history has ended", PATIENCE, async || {
        recall(backend, 0).await.entries.is_empty()
    })
    .await;
    let later = post(&backend.store, "later", Some("e")).await;
    assert!(later.is_new);
    assert_eq!(later.position, Position { offset: 2, epoch });
}

async fn a_position_before_the_first_publication_is_good(backend: &Backend) {
    let before = recall(backend, 0).await;
    assert_eq!((before.position.offset, before.entries.len()), (0, 0));
    let posted = post(&backend.store, "first", None).await;
    assert_eq!(posted.position.epoch, before.position.epoch);
    assert!(recall(backend, 0).await.continues(&before.position));
}

async fn a_store_that_forgot_counts_in_another_epoch(backend: &Backend) {
    let here = post(&backend.store, "here", None).await.position;
    let elsewhere = [publication("other feed", "there", None)];
    let elsewhere = backend.store.post(&elsewhere).await.unwrap();
    assert_ne!(elsewhere[0].position.epoch, here.epoch);
}

async fn a_receiver_hears_many_channels_until_it_removes_them(backend: &Backend) {
    let receiver = backend.other.receiver();
    for channel in ["a", "b", "b"] {
        receiver.add(channel).await.unwrap();
    }
    for channel in ["a", "c", "b"] {
        backend.store.publish(channel, bytes("m")).await.unwrap();
    }
    assert_eq!(hear(&*receiver).await, "a");
    assert_eq!(hear(&*receiver).await, "b");
    receiver.remove("a");
    for channel in ["a", "b"] {
        backend.store.publish(channel, bytes("m")).await.unwrap();
    }
    assert_eq!(hear(&*receiver).await, "b");
    receiver.add("a").await.unwrap();
    backend.store.publish("a", bytes("m")).await.unwrap();
    assert_eq!(hear(&*receiver).await, "a");
}

async fn hear(receiver: &dyn Receiver) -> String {
    match news(receiver).await {
        News::Message { channel, .. } => channel.to_string(),
        News::Lagged => panic!("nothing was missed"),
    }
}

async fn news(receiver: &dyn Receiver) -> News {
    let news = tokio::time::timeout(PATIENCE, receiver.next()).await;
    news.expect("news in time").expect("an open store")
}

async fn a_slow_receiver_is_told_and_hears_on(backend: &Backend) {
    const MESSAGES: usize = 20_000;
    let receiver = backend.other.receiver();
    receiver.add("news").await.unwrap();
    let mut quick = backend.other.subscribe("news").await.unwrap();
    for number in 0..MESSAGES {
        let payload = Bytes::from(number.to_string());
        backend.store.publish("news", payload).await.unwrap();
        next(&mut quick).await;
    }
    assert_eq!(news(&*receiver).await, News::Lagged);
    backend.store.publish("news", bytes("end")).await.unwrap();
    while !matches!(news(&*receiver).await, News::Message { payload, .. } if payload == "end") {}
}
