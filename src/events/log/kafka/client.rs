//! The client of a member. The member and the messages that nobody has read yet share it.

use std::ops::Deref;

use rdkafka::consumer::StreamConsumer;
use tokio_util::sync::CancellationToken;

use super::context::GroupContext;

/// A consumer. Closing it blocks: who lets go of it last has that done on a thread of its own.
pub struct Client {
    /// `None` only once it is closing.
    consumer: Option<StreamConsumer<GroupContext>>,
    closed: CancellationToken,
}

impl Client {
    /// One to be shared.
    pub fn new(consumer: StreamConsumer<GroupContext>) -> Self {
        Self {
            consumer: Some(consumer),
            closed: CancellationToken::new(),
        }
    }

    /// Cancelled once it has left its group and is closed.
    pub const fn closed(&self) -> &CancellationToken {
        &self.closed
    }
}

impl Deref for Client {
    type Target = StreamConsumer<GroupContext>;

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
