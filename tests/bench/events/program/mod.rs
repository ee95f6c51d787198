//! What the program can be asked, and its answer: one line of JSON. Where records are consumed, `began` and `ended` are the
//! instants of the first and the last of them, in seconds since 1970: joining a group is not counted.
//!
//! * `fill`: records of 1 KiB into a topic of 12 partitions.
//! * `plain`: librdkafka's own loop over it: poll, store the offset, commit each second.
//! * `group`: a consumer group of ours over it, with an effect outside of the database or inside.
//! * `outbox`: from the call that stages an event to the handler, at a steady rate.
//! * `fill` and `group` on a SQLite database: the embedded log.

mod consume;
mod outbox;
mod plain;
mod world;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use spheroctl::kit::clock::{Clock, SystemClock};

use self::world::World;
use crate::bench::{Failure, seconds};

const USAGE: &str = "\
usage: events fill DATABASE BROKERS PREFIX RECORDS            RECORDS of 1 KiB, durable
       events plain DATABASE BROKERS PREFIX RECORDS           librdkafka's own loop over them
       events group DATABASE BROKERS PREFIX RECORDS outside|inside   a group of ours over them
       events outbox DATABASE BROKERS PREFIX RECORDS RATE     staged at RATE per second, to the handler
DATABASE is a URL. BROKERS is host:port, or - for the log in the SQLite database.";

/// Answers the command of this process.
pub async fn answer(words: &[&str]) -> Result<Value, Failure> {
    let [what, database, brokers, prefix, records, more @ ..] = words else {
        return Err(USAGE.into());
    };
    let world = World::open(database, brokers, prefix).await?;
    let records: usize = records.parse()?;
    match (*what, more) {
        ("fill", []) => fill(&world, records).await,
        ("plain", []) => plain::run(&world, records),
        ("group", ["outside"]) => consume::outside(&world, records).await,
        ("group", ["inside"]) => consume::inside(&world, records).await,
        ("outbox", [rate]) => outbox::run(&world, records, rate.parse()?).await,
        _ => Err(USAGE.into()),
    }
}

/// As the relay appends: batches of 500, one after the other.
async fn fill(world: &World, records: usize) -> Result<Value, Failure> {
    const BATCH: usize = 500;
    world.topics().await?;
    let began = SystemClock.now();
    for first in (0..records).step_by(BATCH) {
        let batch = (first..records.min(first + BATCH)).map(world::record);
        for answer in world.log.append(batch.collect()).await {
            answer?;
        }
    }
    Ok(spent(began, SystemClock.now()))
}

fn spent(began: DateTime<Utc>, ended: DateTime<Utc>) -> Value {
    json!({ "began": seconds(began), "ended": seconds(ended) })
}
