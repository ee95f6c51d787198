//! A message that librdkafka still holds.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use self_cell::self_cell;

use super::client::Client;
use super::inspect::record;
use crate::events::log::{Fetched, Partition, Record};

self_cell! {
    /// A message with the client that it borrows from.
    pub struct Held {
        owner: Arc<Client>,
        #[covariant]
        dependent: BorrowedMessage,
    }
}

impl Held {
    /// The next message of a client that is at hand.
    ///
    /// # Errors
    /// What the client has to tell in its place; none where nothing is at hand.
    pub fn at_hand(client: &Arc<Client>) -> Result<Self, Option<KafkaError>> {
        Self::try_new(client.clone(), |client| {
            let next = client.poll(Duration::ZERO);
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
    /// Where it stands.
    pub partition: Arc<Partition>,
    /// The rest.
    pub held: Held,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("partition", &self.partition)
            .field("offset", &self.offset())
            .finish_non_exhaustive()
    }
}

impl Fetched for Message {
    fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }

    fn offset(&self) -> i64 {
        self.held.message().offset()
    }

    fn key(&self) -> &[u8] {
        self.held.message().key().unwrap_or_default()
    }

    fn bytes(&self) -> usize {
        self.held.message().key_len() + self.held.message().payload_len()
    }

    fn read(self: Box<Self>) -> Record {
        let Self { partition, held } = *self;
        record(partition, held.message())
    }
}
