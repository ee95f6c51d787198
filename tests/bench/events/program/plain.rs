//! librdkafka's own loop, as its examples have it: poll, do something with the record, store its offset; what is stored is
//! committed each second. The settings are those of our members; only that all partitions share a queue here, so that its
//! bound is larger: with ours, which is of one partition, this loop would wait for most of its time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::BorrowedMessage;
use serde_json::Value;
use spheroctl::events::topics::JOB_EVENTS;
use spheroctl::kit::clock::{Clock, SystemClock};

use super::world::World;
use super::{Failure, spent};

/// Longest silence before the last record.
const SILENCE_MAX: TimeDelta = TimeDelta::seconds(30);
/// Longest wait of one poll.
const POLL_MAX: Duration = Duration::from_millis(100);

pub fn run(world: &World, records: usize) -> Result<Value, Failure> {
    let kafka = &world.settings.kafka;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.bootstrap_servers)
        .set("group.id", format!("{}plain", kafka.group_prefix))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.queue.backoff.ms", "100")
        .set("max.partition.fetch.bytes", "1048576")
        .set("queued.min.messages", "1000")
        .set("queued.max.messages.kbytes", "16384")
        .set("check.crcs", "true")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "2000")
        .create()?;
    let topic = format!("{}{JOB_EVENTS}", kafka.topic_prefix);
    consumer.subscribe(&[&topic])?;
    let (mut began, mut committed) = (SystemClock.now(), SystemClock.now());
    let mut bytes = 0;
    for number in 0..records {
        let message = next(&consumer)?;
        let is_first = number == 0;
        if is_first {
            began = SystemClock.now();
        }
        bytes += message.payload().map_or(0, <[u8]>::len);
        consumer.store_offset_from_message(&message)?;
        // Reading the clock costs something, and our loop does not do it for each record either.
        if number % 256 == 0 && is_due(committed) {
            consumer.commit_consumer_state(CommitMode::Async)?;
            committed = SystemClock.now();
        }
    }
    let ended = SystemClock.now();
    consumer.commit_consumer_state(CommitMode::Sync)?;
    if bytes == 0 {
        return Err("records without a value".into());
    }
    Ok(spent(began, ended))
}

/// A poll that carries a rebalance out gives no record.
fn next(consumer: &BaseConsumer) -> Result<BorrowedMessage<'_>, Failure> {
    let began = SystemClock.now();
    loop {
        if let Some(message) = consumer.poll(POLL_MAX) {
            return Ok(message?);
        }
        if SystemClock.now() - began > SILENCE_MAX {
            return Err("no record came".into());
        }
    }
}

fn is_due(committed: DateTime<Utc>) -> bool {
    let age = SystemClock.now() - committed;
    age.num_milliseconds() >= 1_000
}
