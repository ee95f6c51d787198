//! What every record is promised.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::auditor::{Auditor, audit, events, lines, record, records};
use super::world::{DEADLINE, World};
use crate::support::eventually;

pub async fn the_order_of_a_key_is_kept_while_handlers_fail(world: &World) {
    let sent = events(40, 10);
    world.append(records(&sent)).await;
    let auditor = Auditor {
        fails_every: 4,
        ..Auditor::default()
    };
    let process = world.run("a", auditor.shared());
    world.caught_up(400).await;
    let figures = process.figures();
    assert_eq!((figures.handled, figures.dead_letters), (400, 0));
    process.end().await;
    audit(&world.db, &sent).await;
}

pub async fn members_that_come_and_go_lose_and_double_nothing(world: &World) {
    let sent = events(60, 20);
    let auditor = || {
        let takes = Duration::from_millis(2);
        Auditor {
            takes,
            ..Auditor::default()
        }
        .shared()
    };
    let first = world.run("a", auditor());
    world.append(records(&sent[..400])).await;
    let second = world.run("b", auditor());
    world.append(records(&sent[400..800])).await;
    eventually("both read", DEADLINE, async || {
        first.figures().partitions.len() == 6 && second.figures().partitions.len() == 6
    })
    .await;
    world.append(records(&sent[800..])).await;
    first.end().await;
    world.caught_up(1_200).await;
    assert!(second.figures().rebalances >= 2);
    second.end().await;
    audit(&world.db, &sent).await;
}

pub async fn what_was_done_is_not_done_again_when_it_is_delivered_again(world: &World) {
    let sent = events(5, 4);
    world.append(records(&sent)).await;
    // The relay may append an event again, right behind it or much later.
    world.append(records(&sent[..10])).await;
    let auditor = Auditor::default().shared();
    let process = world.run("a", auditor.clone());
    world.caught_up(30).await;
    world.append(records(&sent)).await;
    world.caught_up(50).await;
    process.end().await;
    assert!(sent.iter().all(|event| auditor.runs_of(event) == 1));
    audit(&world.db, &sent).await;
}

pub async fn a_committed_effect_is_told_outside_of_the_database(world: &World) {
    let sent = events(3, 5);
    world.append(records(&sent)).await;
    let auditor = Auditor::default().shared();
    let process = world.run("a", auditor.clone());
    world.caught_up(15).await;
    assert_eq!(auditor.told.lock().len(), 15);
    // A process may die between the commit and the telling: whoever gets the record again tells it again.
    world.append(vec![record(&sent[0])]).await;
    world.caught_up(16).await;
    process.end().await;
    let told = auditor.told.lock();
    assert_eq!(told.iter().filter(|id| **id == sent[0].id).count(), 2);
    assert_eq!(auditor.runs_of(&sent[0]), 1);
}

pub async fn an_outage_uses_no_attempts(world: &World) {
    let sent = events(1, 1);
    let auditor = Auditor::default().shared();
    auditor.away.store(true, Ordering::Relaxed);
    world.append(records(&sent)).await;
    let process = world.run("a", auditor.clone());
    eventually("more runs than attempts", DEADLINE, async || {
        auditor.runs_of(&sent[0]) > 4
    })
    .await;
    assert_eq!(lines(&world.db).await, []);
    auditor.away.store(false, Ordering::Relaxed);
    world.caught_up(1).await;
    let figures = process.figures();
    assert_eq!((figures.handled, figures.dead_letters), (1, 0));
    process.end().await;
    audit(&world.db, &sent).await;
}

/// One key: its lane is slow, and its window is full for longer than a second, so that reading is paused and resumed.
pub async fn slow_handlers_fill_the_window_and_all_is_done(world: &World) {
    let sent = events(1, 1_600);
    world.append(records(&sent)).await;
    let auditor = Auditor {
        takes: Duration::from_millis(3),
        ..Auditor::default()
    };
    let process = world.run("a", auditor.shared());
    eventually("reading is paused", DEADLINE, async || {
        let figures = process.figures();
        let most = figures.partitions.iter().map(|it| it.in_flight).max();
        assert!(most.is_none_or(|most| most <= 1_024), "{most:?} in flight");
        figures.partitions.iter().any(|it| it.paused)
    })
    .await;
    world.caught_up(1_600).await;
    process.end().await;
    audit(&world.db, &sent).await;
}
