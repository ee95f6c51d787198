//! What every record is promised.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use spheroctl::events::Event;

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

pub async fn what_cannot_be_told_dies_alone(world: &World) {
    cannot_be_told(world, false).await;
}

pub async fn what_cannot_be_told_dies_alone_where_telling_is_all(world: &World) {
    cannot_be_told(world, true).await;
}

async fn cannot_be_told(world: &World, only_tells: bool) {
    let sent = events(3, 5);
    world.append(records(&sent)).await;
    let auditor = Auditor {
        only_tells,
        secret: Some(sent[4].id),
        ..Auditor::default()
    };
    let auditor = auditor.shared();
    let process = world.run("a", auditor.clone());
    world.caught_up(15).await;
    let figures = process.figures();
    assert_eq!((figures.handled, figures.dead_letters), (14, 1));
    process.end().await;
    assert_eq!(auditor.asked_alone.load(Ordering::Relaxed), 3);
    let told: HashSet<_> = auditor.told.lock().iter().copied().collect();
    assert_eq!(told.len(), 14);
    assert!(!told.contains(&sent[4].id));
    let (lines, rows) = (lines(&world.db).await.len(), world.inbox_rows().await);
    // Of what is only told, the dead one alone has a row.
    assert_eq!((lines, rows), if only_tells { (0, 1) } else { (15, 15) });
}

pub async fn what_does_not_concern_a_group_leaves_no_row(world: &World) {
    let sent = events(4, 10);
    world.append(records(&sent)).await;
    let every_third = sent.chunks(3).map(|three| three[0].clone());
    let ours: Vec<Event> = every_third.collect();
    let others = sent.iter().filter(|event| !ours.contains(event));
    let others: Vec<&Event> = others.collect();
    let auditor = Auditor {
        others: others.iter().map(|event| event.id).collect(),
        ..Auditor::default()
    };
    let auditor = auditor.shared();
    let process = world.run("a", auditor.clone());
    world.caught_up(40).await;
    assert_eq!(process.figures().handled, 40);
    process.end().await;
    assert!(others.iter().all(|event| auditor.runs_of(event) == 0));
    assert_eq!(auditor.told.lock().len(), 14);
    assert_eq!(world.inbox_rows().await, 14);
    audit(&world.db, &ours).await;
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
