//! A database that goes away, and one that keeps the answer to a commit to itself.

use std::time::Duration;

use spheroctl::events::group::GroupState;

use super::auditor::{Auditor, audit, events, lines, records};
use super::world::{DEADLINE, World};
use crate::support::database_proxy::DatabaseProxy;
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_away_costs_no_record() {
    let world = World::kafka().await;
    let way = DatabaseProxy::start(&world.url).await;
    let through = World::open(way.url(), world.settings.clone()).await;
    let sent = events(30, 20);
    world.append(records(&sent[..300])).await;
    let auditor = Auditor {
        takes: Duration::from_millis(2),
        ..Auditor::default()
    };
    let process = through.run("a", auditor.shared());
    eventually("some are done", DEADLINE, async || {
        lines(&world.db).await.len() > 50
    })
    .await;
    way.close();
    eventually("lanes wait", DEADLINE, async || {
        process.figures().state == GroupState::Waiting
    })
    .await;
    world.append(records(&sent[300..])).await;
    way.open();
    world.caught_up(600).await;
    assert_eq!(process.figures().dead_letters, 0);
    process.end().await;
    audit(&world.db, &sent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_never_answered_has_one_effect() {
    let world = World::kafka().await;
    let way = DatabaseProxy::start(&world.url).await;
    let through = World::open(way.url(), world.settings.clone()).await;
    way.cut_after_the_commit_of(b"insert into audit");
    let sent = events(4, 5);
    world.append(records(&sent)).await;
    let process = through.run("a", Auditor::default().shared());
    world.caught_up(20).await;
    assert_eq!(way.cut(), 1);
    assert_eq!(process.figures().dead_letters, 0);
    process.end().await;
    audit(&world.db, &sent).await;
}
