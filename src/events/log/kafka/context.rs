//! What librdkafka tells: its log lines, and the rebalances of a group.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::TopicPartitionList;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;

/// Sends librdkafka's log to ours.
#[derive(Debug, Clone, Copy)]
pub struct LogContext;

impl ClientContext for LogContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "librdkafka: {reason}");
    }
}

impl ConsumerContext for LogContext {}

/// A change of a member's partitions, which waits for the reader.
#[derive(Debug)]
pub enum Rebalance {
    /// These come.
    Assign(TopicPartitionList),
    /// These go.
    Revoke {
        /// Which.
        partitions: TopicPartitionList,
        /// They are gone already: another member may have them, and nothing may be committed.
        lost: bool,
    },
}

/// The context of a member. The callback only notes a rebalance; the reader carries it out when it has told of it, and,
/// for a revocation, when it is asked for the next delivery. librdkafka waits for that, while it goes on with heartbeats.
#[derive(Debug, Default)]
pub struct GroupContext {
    rebalances: Mutex<VecDeque<Rebalance>>,
    /// Nobody reads any more: rebalances are carried out in the callback.
    closing: AtomicBool,
}

impl GroupContext {
    /// The next rebalance that was noted.
    pub fn take(&self) -> Option<Rebalance> {
        self.rebalances.lock().pop_front()
    }

    /// Whether a rebalance waits for the reader.
    pub fn has_noted(&self) -> bool {
        !self.rebalances.lock().is_empty()
    }

    /// From now on nobody reads.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    fn note(&self, rebalance: Rebalance) {
        self.rebalances.lock().push_back(rebalance);
    }
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "librdkafka: {reason}");
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let is_assignment = kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Acquire) {
            let outcome = match is_assignment {
                true => consumer.incremental_assign(partitions),
                false => consumer.incremental_unassign(partitions),
            };
            if let Err(error) = outcome {
                tracing::debug!(%error, "a rebalance during close: {error}");
            }
            return;
        }
        let partitions = partitions.clone();
        self.note(match is_assignment {
            true => Rebalance::Assign(partitions),
            false => Rebalance::Revoke {
                partitions,
                lost: consumer.assignment_lost(),
            },
        });
    }
}

/// `MAXPOLL` (the reader hung and the member left its group) reaches us only as a log line (rust-rdkafka #433).
fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning => {
            tracing::warn!(target: "librdkafka", facility, "{facility}: {message}");
        }
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "librdkafka", facility, "{facility}: {message}");
        }
        RDKafkaLogLevel::Debug => {
            tracing::debug!(target: "librdkafka", facility, "{facility}: {message}");
        }
    }
}
