//! Records on their way from the one task that reads to those who handle them.

use std::sync::Arc;

use super::{Partition, Record};

/// A record of which only the place and the key were looked at. It is taken apart by who handles it, beside the task that
/// fetches the next: for small records that is most of the work. Until then it may keep the whole batch in which it came.
pub trait Fetched: Send + std::fmt::Debug {
    /// Where it stands.
    fn partition(&self) -> &Arc<Partition>;

    /// Its place in the partition.
    fn offset(&self) -> i64;

    /// The key; empty for a record of others without one.
    fn key(&self) -> &[u8];

    /// Bytes of key and value.
    fn bytes(&self) -> usize;

    /// The whole.
    fn read(self: Box<Self>) -> Record;
}

/// One that was read at once.
impl Fetched for Record {
    fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }

    fn offset(&self) -> i64 {
        self.offset
    }

    fn key(&self) -> &[u8] {
        self.key.as_deref().unwrap_or_default().as_bytes()
    }

    fn bytes(&self) -> usize {
        self.key().len() + self.value.len()
    }

    fn read(self: Box<Self>) -> Record {
        *self
    }
}
