//! What the program can be asked, and its answer: one line of JSON. Where records are consumed, `began` and `ended` are the
//! instants of the first and the last of them, in seconds since 1970: joining a group is not counted.
//!
//! * `fill`: records of 1 KiB into a topic of 12 partitions.
//! * `plain`: librdkafka's own loop over it: poll, store the offset, commit each second.
//! * `group`: a consumer group of ours over it, with an effect outside of the database or inside.
//! * `outbox`: from the call that stages an event to the handler, at a steady rate.
//! * `append`, and `group` on a SQLite database: the embedded log.

mod consume;
mod outbox;
mod plain;
mod world;

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use spheroctl::kit::clock::{Clock, SystemClock};

use self::world::World;

/// Whatever ends a run; its text is printed.
type Failure = Box<dyn std::error::Error + Send + Sync>;

const USAGE: &str = "\
usage: events fill DATABASE BROKERS PREFIX RECORDS            RECORDS of 1 KiB, durable
       events plain DATABASE BROKERS PREFIX RECORDS           librdkafka's own loop over them
       events group DATABASE BROKERS PREFIX RECORDS outside|inside   a group of ours over them
       events outbox DATABASE BROKERS PREFIX RECORDS RATE     staged at RATE per second, to the handler
DATABASE is a URL. BROKERS is host:port, or - for the log in the SQLite database.";

/// Runs the command of this process.
pub async fn main() -> ExitCode {
    // `cargo bench` adds a flag of its own.
    let given: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<&str> = given.iter().map(String::as_str).collect();
    match answer(&words).await {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("events: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn answer(words: &[&str]) -> Result<Value, Failure> {
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

/// Seconds since 1970.
fn seconds(instant: DateTime<Utc>) -> f64 {
    instant.timestamp_micros() as f64 / 1e6
}
