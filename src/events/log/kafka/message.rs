//! A message that librdkafka still holds.

use std::sync::Arc;

use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use self_cell::self_cell;

use super::inspect::record;
use super::queue::Queue;
use crate::events::log::{Partition, Record};

self_cell! {
    /// A message with the queue that it borrows from.
    pub struct Held {
        owner: Arc<Queue>,
        #[covariant]
        dependent: BorrowedMessage,
    }
}

impl Held {
    /// The next message of a queue that is at hand.
    ///
    /// # Errors
    /// What there is to tell in its place; none where nothing is at hand.
    pub fn at_hand(queue: &Arc<Queue>) -> Result<Self, Option<KafkaError>> {
        Self::try_new(queue.clone(), |queue| {
            let next = queue.next();
            next.map_or(Err(None), |message| message.map_err(Some))
        })
    }

    /// What librdkafka gave.
    pub fn message(&self) -> &BorrowedMessage<'_> {
        self.borrow_dependent()
    }
}

/// A message of a partition that its member holds.
pub struct Message {
    partition: Arc<Partition>,
    held: Held,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("partition", &self.partition)
            .field("offset", &self.offset())
            .finish_non_exhaustive()
    }
}

impl Message {
    pub(super) const fn new(partition: Arc<Partition>, held: Held) -> Self {
        Self { partition, held }
    }

    /// Where it stands.
    pub const fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }

    /// Its place in the partition.
    pub fn offset(&self) -> i64 {
        self.held.message().offset()
    }

    /// The key; empty where there is none.
    pub fn key(&self) -> &[u8] {
        self.held.message().key().unwrap_or_default()
    }

    /// Bytes of key and value.
    pub fn bytes(&self) -> usize {
        self.held.message().key_len() + self.held.message().payload_len()
    }

    /// A copy of the whole; librdkafka's memory is given back.
    pub fn read(self) -> Record {
        record(self.partition, self.held.message())
    }
}
