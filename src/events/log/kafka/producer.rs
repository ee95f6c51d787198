//! Appending.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use tokio::time::Instant;

use super::Shared;
use super::context::LogContext;
use super::failure::{of_append, unavailable};
use crate::events::log::{Error, NewRecord, Partition};

/// Longest wait for a place in the producer's queue, 1 s; and between two looks at it.
const QUEUE_MAX: Duration = Duration::from_secs(1);
const QUEUE_LOOK: Duration = Duration::from_millis(10);

/// The producer, replaced when librdkafka gives it up: an idempotent producer that can no longer promise the order ends
/// with a fatal error.
pub struct Producer {
    config: ClientConfig,
    present: Mutex<FutureProducer<LogContext>>,
}

impl Producer {
    pub fn new(config: ClientConfig) -> KafkaResult<Self> {
        let present = Mutex::new(config.create_with_context(LogContext)?);
        Ok(Self { config, present })
    }

    /// A producer that works, as far as is known.
    fn living(&self) -> Result<FutureProducer<LogContext>, Error> {
        let mut present = self.present.lock();
        if let Some((code, reason)) = present.client().fatal_error() {
            tracing::error!(%code, "the Kafka producer is replaced after a fatal error: {reason}");
            let next = self
                .config
                .create_with_context(LogContext)
                .map_err(unavailable)?;
            let dead = std::mem::replace(&mut *present, next);
            // Dropping waits for the callbacks of what was in flight.
            tokio::task::spawn_blocking(move || drop(dead));
        }
        Ok(present.clone())
    }
}

/// Hands the records to librdkafka in order and waits for all reports. `unknown` holds why the topics that were not
/// found were not.
pub async fn append(
    shared: &Shared,
    records: &[NewRecord],
    unknown: &HashMap<&str, Error>,
) -> Vec<Result<(Partition, i64), Error>> {
    let down = unknown
        .values()
        .find(|error| error.is_temporary())
        .map(ToString::to_string);
    let producer = match (down, shared.producer.living()) {
        (None, Ok(producer)) => producer,
        (Some(why), _) => return records.iter().map(|_| Err(unavailable(&why))).collect(),
        (None, Err(error)) => return records.iter().map(|_| Err(unavailable(&error))).collect(),
    };
    let mut queued = Vec::with_capacity(records.len());
    let mut is_full = false;
    for record in records {
        let refusal = match unknown.contains_key(record.topic.as_str()) {
            true => Err(Error::UnknownTopic(record.topic.clone())),
            false => record.check(),
        };
        queued.push(match refusal {
            Err(error) => Err(error),
            // Nothing may overtake what found no place.
            Ok(()) if is_full => Err(unavailable("the producer's queue is full")),
            Ok(()) => queue(&producer, &shared.names.topic(&record.topic), record).await,
        });
        is_full |= matches!(queued.last(), Some(Err(error)) if error.is_temporary());
    }
    let mut answers = Vec::with_capacity(records.len());
    for (record, queued) in records.iter().zip(queued) {
        answers.push(match queued {
            Ok(report) => delivered(record, report).await,
            Err(error) => Err(error),
        });
    }
    answers
}

async fn queue(
    producer: &FutureProducer<LogContext>,
    full_topic: &str,
    record: &NewRecord,
) -> Result<DeliveryFuture, Error> {
    let mut message = FutureRecord::to(full_topic)
        .key(record.key.as_bytes())
        .payload(record.value.as_ref())
        .headers(headers(record));
    let end = Instant::now() + QUEUE_MAX;
    loop {
        match producer.send_result(message) {
            Ok(report) => return Ok(report),
            Err((error, again)) if is_queue_full(&error) && Instant::now() < end => {
                message = again;
                tokio::time::sleep(QUEUE_LOOK).await;
            }
            Err((error, _)) => return Err(of_append(&error, record)),
        }
    }
}

fn is_queue_full(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull)
}

fn headers(record: &NewRecord) -> OwnedHeaders {
    let headers = OwnedHeaders::new_with_capacity(record.headers.len());
    record
        .headers
        .iter()
        .fold(headers, |headers, (key, value)| {
            headers.insert(Header {
                key,
                value: Some(value),
            })
        })
}

async fn delivered(record: &NewRecord, report: DeliveryFuture) -> Result<(Partition, i64), Error> {
    match report.await {
        Ok(Ok(delivery)) => {
            let partition = Partition {
                topic: record.topic.clone(),
                number: delivery.partition,
            };
            Ok((partition, delivery.offset))
        }
        Ok(Err((error, _))) => Err(of_append(&error, record)),
        Err(_) => Err(unavailable("the producer was replaced")),
    }
}
