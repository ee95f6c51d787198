//! The client of a member. The member, the queues of its partitions and the messages that nobody has read yet share it.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::context::GroupContext;

/// Longest pause between two looks into the queues, 100 ms: librdkafka rings when it fills, but not again for what stands behind
/// an event that a look has consumed without a word.
const LOOK_MAX: Duration = Duration::from_millis(100);

/// A consumer. Closing it blocks: who lets go of it last has that done on a thread of its own.
pub struct Client {
    /// `None` only once it is closing.
    consumer: Option<Arc<BaseConsumer<GroupContext>>>,
    filled: Arc<Notify>,
    closed: CancellationToken,
}

impl Client {
    /// A member of the group that this configuration names, which reads topics by their full names.
    ///
    /// # Errors
    /// When librdkafka refuses a setting.
    pub fn join(config: &ClientConfig, topics: &[&str]) -> Result<Self, KafkaError> {
        let mut consumer: BaseConsumer<_> = config.create_with_context(GroupContext::default())?;
        let filled = Arc::new(Notify::new());
        let bell = filled.clone();
        consumer.set_nonempty_callback(move || bell.notify_one());
        consumer.subscribe(topics)?;
        Ok(Self {
            consumer: Some(Arc::new(consumer)),
            filled,
            closed: CancellationToken::new(),
        })
    }

    /// Resolves when there may be something to poll.
    pub async fn arrival(&self) {
        // Safe to ignore: whether it rang or not, the caller looks.
        let _ = tokio::time::timeout(LOOK_MAX, self.filled.notified()).await;
    }

    /// A queue of its own for a partition, by its full topic: from now on what is fetched of it is in there alone. To be asked for
    /// before the partition is assigned, so that nothing of it is anywhere else. None for what is no topic.
    pub fn split(&self, topic: &str, partition: i32) -> Option<PartitionQueue<GroupContext>> {
        let consumer = self.consumer.as_ref()?;
        let mut queue = consumer.split_partition_queue(topic, partition)?;
        let bell = self.filled.clone();
        queue.set_nonempty_callback(move || bell.notify_one());
        Some(queue)
    }

    /// Cancelled once it has left its group and is closed.
    pub const fn closed(&self) -> &CancellationToken {
        &self.closed
    }
}

impl Deref for Client {
    type Target = BaseConsumer<GroupContext>;

    fn deref(&self) -> &Self::Target {
        self.consumer.as_ref().expect("it is taken by drop alone")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let (consumer, closed) = (self.consumer.take(), self.closed.clone().drop_guard());
        let close = move || {
            drop(consumer);
            drop(closed);
        };
        let closing = std::thread::Builder::new().name("kafka-close".to_owned());
        if let Err(error) = closing.spawn(close) {
            tracing::warn!(%error, "no thread to close a Kafka member: {error}");
        }
    }
}
