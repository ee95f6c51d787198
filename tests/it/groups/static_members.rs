//! Members that have a name of their own (`kafka.group_instance_id`), by which the brokers know them when they come again.

use spheroctl::events::group::GroupState;
use spheroctl::settings::{GroupProtocol, Kafka};

use super::auditor::{Auditor, audit, events, records};
use super::world::{DEADLINE, Process, World};
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_comes_again_under_its_name_moves_no_partition() {
    comes_again(&World::kafka().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_comes_again_under_its_name_moves_no_partition_in_the_newer_protocol() {
    comes_again(&World::kafka_newer().await).await;
}

async fn comes_again(world: &World) {
    let sent = events(40, 10);
    let (one, two) = (named(world, "one"), named(world, "two"));
    let (first, second) = (run(&one), run(&two));
    eventually("both read", DEADLINE, async || {
        held(&first).len() == 6 && held(&second).len() == 6
    })
    .await;
    let (before, changes) = (held(&second), first.figures().rebalances);
    second.end().await;
    world.append(records(&sent)).await;
    let again = run(&two);
    eventually("its partitions are its own again", DEADLINE, async || {
        held(&again) == before
    })
    .await;
    assert_eq!(first.figures().rebalances, changes, "others were disturbed");
    world.caught_up(400).await;
    first.end().await;
    again.end().await;
    audit(&world.db, &sent).await;
}

/// The classic protocol throws the older one out; it does not come back to do the same to the newer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_with_one_name_the_older_stays_out_and_says_so() {
    let world = World::kafka().await;
    let world = named(&world, "same");
    let (older, newer) = older_and_newer(&world).await;
    eventually("the older stays out", DEADLINE, async || {
        older.figures().state == GroupState::Replaced
    })
    .await;
    let trouble = older.groups.trouble().expect("trouble is told");
    assert!(trouble.contains("group_instance_id"), "{trouble}");
    let sent = events(20, 5);
    world.append(records(&sent)).await;
    world.caught_up(100).await;
    assert_eq!(newer.figures().handled, 100);
    older.end().await;
    newer.end().await;
    audit(&world.db, &sent).await;
}

/// The newer protocol refuses the newer one, which goes on asking until the name is free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_with_one_name_the_newer_waits_in_the_newer_protocol() {
    let world = World::kafka_newer().await;
    let world = named(&world, "same");
    let (older, newer) = older_and_newer(&world).await;
    eventually("the newer is refused", DEADLINE, async || {
        newer.figures().rejoins >= 2
    })
    .await;
    let sent = events(20, 5);
    world.append(records(&sent)).await;
    world.caught_up(100).await;
    assert_eq!(older.figures().handled, 100);
    older.end().await;
    eventually("the newer takes over", DEADLINE, async || {
        held(&newer).len() == 12
    })
    .await;
    newer.end().await;
    audit(&world.db, &sent).await;
}

/// The world of a process with this name, and a session that no test waits for.
fn named(world: &World, name: &str) -> World {
    let mut settings = Kafka {
        group_instance_id: name.to_owned(),
        ..world.settings.clone()
    };
    if settings.group_protocol == GroupProtocol::Classic {
        settings.session_timeout_ms = 30_000;
    }
    world.with(settings)
}

/// Two processes of one name, the second begun when the first reads all.
async fn older_and_newer(world: &World) -> (Process, Process) {
    let older = run(world);
    eventually("the older reads", DEADLINE, async || {
        held(&older).len() == 12
    })
    .await;
    let newer = run(world);
    (older, newer)
}

fn run(world: &World) -> Process {
    world.run(
        &world.settings.group_instance_id,
        Auditor::default().shared(),
    )
}

/// The numbers of the partitions that a member reads.
fn held(process: &Process) -> Vec<i32> {
    let partitions = process.figures().partitions;
    partitions.iter().map(|it| it.partition).collect()
}
