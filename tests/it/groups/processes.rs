//! Groups whose members are processes of their own, which die: by a handler that aborts them, and by a kill.

use std::time::Duration;

use spheroctl::events::dead_letters::Filter;
use spheroctl::events::topics::JOB_EVENTS;
use spheroctl::kit::clock::{Clock, SystemClock};
use spheroctl::kit::id::EventId;
use tokio_util::sync::CancellationToken;

use super::auditor::{audit, count, events, records, shares, takeover};
use super::load::Load;
use super::member::Join;
use super::world::{DEADLINE, World};
use crate::conformance::event_log::backend::kafka;
use crate::support::{eventually, services};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_aborts_its_process_dies_alone_on_sqlite() {
    dies_alone(&World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_aborts_its_process_dies_alone_on_kafka() {
    dies_alone(&World::kafka().await).await;
}

/// Fifteen innocent neighbours are under way when a record takes its process with it, again and again.
async fn dies_alone(world: &World) {
    let mut sent = events(16, 2);
    world.append(records(&sent)).await;
    let poison = sent.remove(9);
    let mut join = Join::of(world, "w");
    join.takes_ms = 0;
    join.aborts_at = Some(poison.id);
    let mut starts = 0;
    while dead(world).await.is_none() {
        starts += 1;
        assert!(
            starts <= 6,
            "the record is not given up after {starts} starts"
        );
        let mut member = join.start();
        // Kept, because waiting for a process ends its input.
        let _input = member.stdin.take();
        let gone = async {
            tokio::select! {
                ended = member.wait() => drop(ended.expect("its end")),
                () = eventually("it dies or gives up", DEADLINE, async || dead(world).await.is_some()) => {}
            }
        };
        gone.await;
        member.kill().await.expect("it can be ended");
    }
    let last = join.start();
    world.caught_up(32).await;
    super::member::leave(last).await;
    let letter = dead(world).await.expect("the letter");
    assert_eq!(letter, (Some(poison.id), 3, "crashed".to_owned()));
    audit(&world.db, &sent).await;
}

/// With the session time-out and the heartbeats that the product has by default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_member_loses_and_doubles_nothing() {
    let mut settings = kafka(&services::kafka_bootstrap());
    settings.session_timeout_ms = 6_000;
    settings.heartbeat_interval_ms = 2_000;
    is_killed(&World::kafka_at(settings).await, "classic, 6 s").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_member_loses_and_doubles_nothing_in_the_newer_protocol() {
    is_killed(&World::kafka_newer().await, "newer, the brokers' 6 s").await;
}

/// Under about a thousand records a second three members share the partitions, a fourth joins, and one is killed.
async fn is_killed(world: &World, protocol: &str) {
    let member = |name: &str| Join::of(world, name).start();
    let mut members: Vec<_> = ["w1", "w2", "w3"].map(member).into();
    let (mut load, enough) = (Load::new(300), CancellationToken::new());
    let become_shares = async |wanted: &[usize]| {
        let what = format!("the members read {wanted:?}");
        eventually(&what, DEADLINE, async || shares(&world.db).await == wanted).await;
    };
    let script = async {
        become_shares(&[4, 4, 4]).await;
        members.push(member("w4"));
        become_shares(&[3, 3, 3, 3]).await;
        let killed_at = SystemClock.now();
        members[1].kill().await.expect("a kill");
        become_shares(&[4, 4, 4]).await;
        enough.cancel();
        killed_at
    };
    let ((), killed_at) = tokio::join!(load.run(world, &enough), script);
    world.caught_up(load.records()).await;
    audit(&world.db, &load.sent).await;
    let silence = takeover(&world.db, "w2", killed_at).await;
    println!(
        "F01 member killed ({protocol}): its partitions stood still for at most {} ms; {} records, lost 0, doubled 0, \
         order kept",
        silence.num_milliseconds(),
        load.records()
    );
}

/// A member joins and leaves every two seconds. SPHEROCTL_TEST_CHURN_S says for how long (120 for the whole proof).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_join_and_leave_all_the_time_lose_and_double_nothing() {
    let churn_s: u64 = services::number("SPHEROCTL_TEST_CHURN_S", 16);
    let mut settings = kafka(&services::kafka_bootstrap());
    settings.session_timeout_ms = 6_000;
    settings.heartbeat_interval_ms = 2_000;
    let world = &World::kafka_at(settings).await;
    let join = |name: &str| {
        let mut join = Join::of(world, name);
        join.takes_ms = 5;
        join
    };
    let _steady: Vec<_> = ["w1", "w2", "w3"].map(|name| join(name).start()).into();
    let (mut load, enough) = (Load::new(600), CancellationToken::new());
    let script = async {
        eventually("the members read", DEADLINE, async || {
            shares(&world.db).await == [4, 4, 4]
        })
        .await;
        let steady = rate(world, churn_s / 4, async || {}).await;
        let churned = rate(world, churn_s, async || {
            let member = join("w4").start();
            elapse(2).await;
            super::member::leave(member).await;
            elapse(2).await;
        })
        .await;
        enough.cancel();
        (steady, churned)
    };
    let ((), (steady, churned)) = tokio::join!(load.keep_ahead(world, &enough), script);
    world.caught_up(load.records()).await;
    audit(&world.db, &load.sent).await;
    println!(
        "F02 a member joins and leaves every 2 s for {churn_s} s: {churned:.0} of {steady:.0} records/s ({:.0} %); {} \
         records, lost 0, doubled 0, order kept",
        100.0 * churned / steady,
        load.records()
    );
}

/// Effects per second over at least so many seconds, during which `act` is done again and again.
async fn rate(world: &World, seconds: u64, act: impl AsyncFn()) -> f64 {
    let (began, before) = (tokio::time::Instant::now(), count(&world.db).await);
    while began.elapsed() < Duration::from_secs(seconds) {
        act().await;
        elapse(1).await;
    }
    (count(&world.db).await - before) as f64 / began.elapsed().as_secs_f64()
}

/// Time that is part of what is proven, not a wait for something.
async fn elapse(seconds: u64) {
    let mut tick = tokio::time::interval(Duration::from_secs(seconds));
    tick.tick().await;
    tick.tick().await;
}

/// The event of the dead letters, its attempts and its class. There is a second letter of it where the process was ended
/// between the letter and the note of it in the inbox.
async fn dead(world: &World) -> Option<(Option<EventId>, i64, String)> {
    let of_jobs = Filter {
        topic: Some(JOB_EVENTS.to_owned()),
        ..Filter::default()
    };
    // A topic that was just made may have no leader yet; whoever asks, asks again.
    let letters = world.dead_letters().list(&of_jobs, 10).await;
    let letters = letters.unwrap_or_default();
    let mut deaths: Vec<_> = letters
        .into_iter()
        .map(|letter| (letter.event, letter.attempts, letter.error_class))
        .collect();
    deaths.dedup();
    assert!(deaths.len() <= 1, "{deaths:?}");
    deaths.pop()
}
