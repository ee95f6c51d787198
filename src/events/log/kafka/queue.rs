//! What was fetched of one partition.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;

use super::client::Client;
use super::context::GroupContext;

/// The queue of a partition, with the client that fills it.
pub struct Queue {
    // Lets go of the consumer before the client does, which closes it.
    queue: PartitionQueue<GroupContext>,
    _client: Arc<Client>,
}

impl Queue {
    /// The queue of a partition, by its full topic, which is to be asked for before the partition is assigned
    /// ([`Client::split`]). None for what is no topic.
    pub fn of(client: &Arc<Client>, topic: &str, partition: i32) -> Option<Self> {
        Some(Self {
            queue: client.split(topic, partition)?,
            _client: client.clone(),
        })
    }

    /// The next message that is at hand, or what there is to tell in its place.
    pub fn next(&self) -> Option<Result<BorrowedMessage<'_>, KafkaError>> {
        self.queue.poll(Duration::ZERO)
    }

    /// Drops what is left of a partition that is not read here any more.
    pub fn clear(&self) {
        while self.next().is_some() {}
    }
}
