//! A topic to which somebody has added partitions: its keys have moved, which is told and never mended in silence.

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use spheroctl::events::topics::JOB_EVENTS;

use super::auditor::{Auditor, audit, events, records};
use super::world::{DEADLINE, PARTITIONS, World};
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_has_grown_is_told_and_read_to_its_end() {
    let world = World::kafka().await;
    grow(&world, PARTITIONS as usize + 1).await;
    // Opened anew: what knew the topic before learns of it within minutes.
    let world = world.with(world.settings.clone());
    let sent = events(40, 5);
    let process = world.run("a", Auditor::default().shared());
    eventually("it is told", DEADLINE, async || {
        !process.figures().odd_topics.is_empty()
    })
    .await;
    let trouble = process.groups.trouble().expect("trouble is told");
    assert!(
        trouble.contains("job.events with 13 partitions instead of 12"),
        "{trouble}"
    );
    eventually("the new partition is read", DEADLINE, async || {
        process.figures().partitions.len() == 13
    })
    .await;
    world.append(records(&sent)).await;
    world.caught_up(200).await;
    process.end().await;
    audit(&world.db, &sent).await;
}

async fn grow(world: &World, partitions: usize) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &world.settings.bootstrap_servers)
        .create()
        .expect("a client");
    let topic = format!("{}{JOB_EVENTS}", world.settings.topic_prefix);
    let more = NewPartitions::new(&topic, partitions);
    let done = admin.create_partitions([&more], &AdminOptions::new()).await;
    for outcome in done.expect("an answer") {
        outcome.expect("the topic grows");
    }
    eventually("the brokers tell of it", DEADLINE, async || {
        let told = admin.inner().fetch_metadata(Some(&topic), DEADLINE);
        let told = told.expect("an answer");
        let all = told.topics()[0].partitions().iter();
        all.filter(|it| it.leader() >= 0).count() == partitions
    })
    .await;
}
