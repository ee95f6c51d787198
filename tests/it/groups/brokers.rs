//! A broker that is killed and started again while members and the relay use it.

use tokio_util::sync::CancellationToken;

use super::auditor::{audit, count};
use super::load::Load;
use super::member::Join;
use super::world::{DEADLINE, World};
use crate::conformance::event_log::backend::kafka;
use crate::support::eventually;
use crate::support::kafka_server::KafkaServer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_under_load_costs_no_record() {
    let mut broker = KafkaServer::start().await;
    let world = &World::kafka_at(kafka(broker.address())).await;
    let bell = world.start_relay();
    let _members: Vec<_> = ["w1", "w2"]
        .map(|name| Join::of(world, name).start())
        .into();
    let (mut load, enough) = (Load::new(200), CancellationToken::new());
    let done = async |what: &str, records: i64| {
        eventually(what, DEADLINE, async || count(&world.db).await >= records).await;
        count(&world.db).await
    };
    let script = async {
        done("some are done", 2_000).await;
        broker.kill().await;
        eventually("facts wait in the outbox", DEADLINE, async || {
            world.outbox_rows().await >= 2_000
        })
        .await;
        broker.start_again().await;
        let before = count(&world.db).await;
        done("it goes on", before + 1_000).await;
        enough.cancel();
    };
    tokio::join!(load.stage(world, &bell, &enough), script);
    done("all are done", load.records()).await;
    eventually("the outbox is empty", DEADLINE, async || {
        world.outbox_rows().await == 0
    })
    .await;
    audit(&world.db, &load.sent).await;
    println!(
        "F03 broker killed and started again under load: {} facts, lost 0, doubled 0, order kept",
        load.records()
    );
}
