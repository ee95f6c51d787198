//! The outbox and its relay, on each database with each log that it goes with.

mod backend;
mod faults;

use std::time::Duration;

use spheroctl::db::{Dialect, run_tx};
use spheroctl::events::inbox::{Inbox, Standing};
use spheroctl::events::outbox::{PAYLOAD_BYTES_MAX, stage};
use spheroctl::events::partition::shard_of;
use spheroctl::events::relay::{Pass, Relay};
use spheroctl::events::types::FileStored;
use spheroctl::events::{Error, Event, Fact};
use spheroctl::kit::clock::SystemClock;
use spheroctl::kit::id::{FileId, ImageId, ProjectId, UserId};
use tokio_util::sync::CancellationToken;

use crate::conformance::suite;
use crate::support::eventually;
use backend::{Backend, first_of_each, keys, submitted};
use faults::{FailsOnce, HangsAfterAppend};

suite! {
    sqlite_with_sqlite => Backend::sqlite_with_sqlite,
    sqlite_with_kafka => Backend::sqlite_with_kafka,
    postgres_with_kafka => Backend::postgres_with_kafka;
    [
        events_arrive_once_and_in_the_order_of_a_key,
        a_change_that_is_rolled_back_leaves_no_event,
        a_payload_above_the_limit_is_refused_with_its_change,
        a_relay_killed_before_it_deletes_loses_nothing,
        a_key_waits_behind_its_temporary_failure,
        two_relays_keep_the_order_of_a_key,
        what_is_refused_for_good_does_not_stop_its_shard,
        a_ring_wakes_the_relay_and_draining_ends_it,
    ]
}

/// Longest wait for anything that must happen.
const DEADLINE: Duration = Duration::from_secs(20);

async fn events_arrive_once_and_in_the_order_of_a_key(backend: &Backend) {
    let keys = keys(7);
    let mut staged = Vec::new();
    for _ in 0..5 {
        staged.extend(backend.stage(&submitted(&keys, 21)).await);
    }
    let relay = backend.relay("a", backend.log());
    let mut relayed = 0;
    while backend.waiting().await > 0 {
        relayed += relay.pass().await.expect("a pass").relayed;
    }
    assert_eq!(relayed, 105);
    let arrived = backend.arrived().await;
    assert_eq!(arrived.len(), 105);
    for key in keys {
        assert_eq!(of(&arrived, key), of(&staged, key));
    }
    assert_eq!(relay.pass().await.expect("an idle pass"), Pass::default());
}

async fn a_change_that_is_rolled_back_leaves_no_event(backend: &Backend) {
    let events = submitted(&keys(1), 3);
    let outcome = run_tx!(backend.db, "test", |tx| -> Result<(), Error> {
        stage(tx, &events).await?;
        Err(Error::MissingHeader("the change failed"))
    });
    assert!(matches!(outcome, Err(Error::MissingHeader(_))));
    assert_eq!(backend.waiting().await, 0);
    backend
        .relay("a", backend.log())
        .pass()
        .await
        .expect("a pass");
    assert_eq!(backend.arrived().await, []);
}

async fn a_payload_above_the_limit_is_refused_with_its_change(backend: &Backend) {
    let events = [stored("small"), stored(&"x".repeat(PAYLOAD_BYTES_MAX))];
    let outcome = run_tx!(backend.db, "test", |tx| -> Result<(), Error> {
        stage(tx, &events).await
    });
    let id = events[1].id.to_string();
    assert!(matches!(outcome, Err(Error::TooLarge { id: named, .. }) if named == id));
    assert_eq!(backend.waiting().await, 0);
}

async fn a_relay_killed_before_it_deletes_loses_nothing(backend: &Backend) {
    let keys = keys(3);
    let staged = backend.stage(&submitted(&keys, 12)).await;
    let hangs = HangsAfterAppend::over(backend.log());
    let killed = backend.relay("a", hangs.clone());
    tokio::select! {
        pass = first_pass(backend, &killed) => panic!("the pass ended: {pass:?}"),
        () = hangs.appended() => {}
    }
    drop(killed);
    assert_eq!(backend.waiting().await, 12);
    backend.relay_until_empty("a").await;
    let arrived = backend.arrived().await;
    assert!(
        arrived.len() > 12,
        "the kill came too late: {} records",
        arrived.len()
    );
    let first = first_of_each(&arrived);
    for key in keys {
        assert_eq!(of(&first, key), of(&staged, key));
    }
}

async fn a_key_waits_behind_its_temporary_failure(backend: &Backend) {
    let keys = keys(2);
    let staged = backend.stage(&submitted(&keys, 6)).await;
    let log = FailsOnce::for_event(backend.log(), staged[2].id);
    let relay = backend.relay("a", log);
    let pass = first_pass(backend, &relay).await;
    // Rows 0, 2 and 4 are the first key's; its first has arrived.
    assert_eq!((pass.relayed, pass.held_back), (4, 2));
    first_pass(backend, &relay).await;
    assert_eq!(backend.waiting().await, 0);
    let arrived = backend.arrived().await;
    let ids: Vec<_> = of(&arrived, keys[0]).into_iter().map(|it| it.id).collect();
    let expected = [staged[0].id, staged[4].id, staged[2].id, staged[4].id];
    assert_eq!(
        ids, expected,
        "what overtook the failed row comes again behind it"
    );
    assert_eq!(of(&arrived, keys[1]), of(&staged, keys[1]));
}

async fn two_relays_keep_the_order_of_a_key(backend: &Backend) {
    let keys = keys(5);
    let drain = CancellationToken::new();
    let relays = ["a", "b"].map(|name| backend.relay(name, backend.log()).run(drain.clone()));
    let staging = async {
        let mut staged = Vec::new();
        for _ in 0..20 {
            staged.extend(backend.stage(&submitted(&keys, 15)).await);
            backend.bell.ring();
        }
        eventually("the outbox is empty", DEADLINE, async || {
            backend.waiting().await == 0
        })
        .await;
        drain.cancel();
        staged
    };
    let (staged, _) = tokio::join!(staging, futures::future::join_all(relays));
    let first = first_of_each(&backend.arrived().await);
    assert_eq!(first.len(), 300);
    for key in keys {
        assert_eq!(of(&first, key), of(&staged, key));
    }
}

async fn what_is_refused_for_good_does_not_stop_its_shard(backend: &Backend) {
    // `file.events` is a topic that the log of this test does not have.
    let mut staged = vec![stored("lost")];
    staged.extend(submitted(&keys(8), 8));
    backend.stage(&staged).await;
    let relay = backend.relay("a", backend.log());
    let pass = first_pass(backend, &relay).await;
    assert_eq!((pass.relayed, pass.dead, pass.held_back), (8, 1, 0));
    assert_eq!(backend.waiting().await, 0);
    assert_eq!(backend.arrived().await.len(), 8);
    let dead = backend.dead().await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].0, staged[0].id.as_uuid());
    assert!(
        dead[0].1.contains("no topic \"file.events\""),
        "{}",
        dead[0].1
    );
}

async fn a_ring_wakes_the_relay_and_draining_ends_it(backend: &Backend) {
    let drain = CancellationToken::new();
    let relay = backend.sleepy_relay("a").run(drain.clone());
    let work = async {
        // Without a ring the relay sleeps for an hour. One may come too early, see `Backend::shows_all`.
        for expected in 1..=3 {
            backend.stage(&submitted(&keys(1), 1)).await;
            eventually("the event arrives", DEADLINE, async || {
                backend.bell.ring();
                backend.arrived().await.len() == expected
            })
            .await;
        }
        drain.cancel();
    };
    let both = async { tokio::join!(relay, work) };
    tokio::time::timeout(2 * DEADLINE, both)
        .await
        .expect("the relay ends");
}

/// PostgreSQL numbers rows before they are committed: a row whose transaction is still open must not be passed over.
#[tokio::test]
async fn a_row_that_commits_late_is_not_passed_over() {
    let backend = Backend::postgres_with_kafka().await;
    assert_eq!(backend.db.dialect(), Dialect::Postgres);
    let keys = keys(1);
    let (early, late) = (submitted(&keys, 1), submitted(&keys, 1));
    let mut open = backend.db.attempts("test");
    let mut tx = open.begin().await.expect("a transaction");
    stage(&mut tx, &early).await.expect("staging");
    backend.stage(&late).await;
    let relay = backend.relay("a", backend.log());
    assert_eq!(relay.pass().await.expect("a pass").relayed, 0);
    let ended = open.end(tx, Ok::<_, Error>(())).await;
    assert!(matches!(ended, std::ops::ControlFlow::Break(Ok(()))));
    backend.relay_until_empty("a").await;
    let ids: Vec<_> = backend
        .arrived()
        .await
        .into_iter()
        .map(|it| it.id)
        .collect();
    assert_eq!(ids, [early[0].id, late[0].id]);
}

/// A relay goes by what another one has, and by nothing else.
#[tokio::test]
async fn a_shard_that_another_relay_has_holds_nobody_up() {
    let backend = Backend::postgres_with_kafka().await;
    let taken = keys(1)[0];
    let shard = |key: &ImageId| shard_of(&key.to_string());
    let free = keys(100)
        .into_iter()
        .find(|key| shard(key) != shard(&taken));
    let free = free.expect("there are eight shards");
    backend.stage(&submitted(&[taken], 3)).await;
    let hangs = HangsAfterAppend::over(backend.log());
    let (has_it, other) = (
        backend.relay("a", hangs.clone()),
        backend.relay("b", backend.log()),
    );
    let beside = async {
        hangs.appended().await;
        backend.stage(&submitted(&[taken, free], 4)).await;
        first_pass(&backend, &other).await
    };
    let pass = tokio::select! {
        pass = first_pass(&backend, &has_it) => panic!("the pass ended: {pass:?}"),
        pass = beside => pass,
    };
    assert_eq!((pass.relayed, pass.held_back), (2, 0));
    assert_eq!(backend.waiting().await, 5);
    backend.relay_until_empty("b").await;
    assert_eq!(first_of_each(&backend.arrived().await).len(), 7);
}

/// What a relay and an inbox change of a session is theirs alone: others' commits are synced in it, and their plans are free.
#[tokio::test]
async fn a_session_has_its_settings_back_after_a_relay_and_an_inbox() {
    let backend = Backend::postgres_by_one_connection().await;
    let (key, clock) = (keys(1)[0], SystemClock::shared());
    let events = backend.stage(&submitted(&[key], 1)).await;
    let relay = backend.relay("a", backend.log());
    assert_eq!(first_pass(&backend, &relay).await.relayed, 1);
    assert!(backend.has_settings_back().await);
    let inbox = Inbox::new(backend.db.clone(), clock, "g", "a");
    let (_, standings) = inbox.begin(&[events[0].id]).await.expect("a start");
    assert_eq!(standings, [Standing::Started { attempt: 1 }]);
    assert!(backend.has_settings_back().await);
}

/// A pass to which every row is shown.
async fn first_pass(backend: &Backend, relay: &Relay) -> Pass {
    backend.shows_all(DEADLINE).await;
    relay.pass().await.expect("a pass")
}

fn stored(name: &str) -> Event {
    let fact = Fact::FileStored(FileStored {
        file_id: FileId::new(&SystemClock),
        project_id: ProjectId::new(&SystemClock),
        uploaded_by: UserId::new(&SystemClock),
        name: name.to_owned(),
        size_bytes: 7,
        sha256: String::new(),
        media_type: "image/png".to_owned(),
    });
    Event::new(fact, &SystemClock)
}

/// The events of one key, in their order.
fn of(events: &[Event], key: ImageId) -> Vec<Event> {
    let key = key.to_string();
    events
        .iter()
        .filter(|event| event.fact.key() == key)
        .cloned()
        .collect()
}
