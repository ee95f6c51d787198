//! Records on their way from the one task that reads to those who handle them.

use std::sync::Arc;

use super::kafka::Message;
use super::{Partition, Record};

/// A record of which only the place and the key were looked at. It is taken apart by who handles it, beside the task that
/// fetches the next: for small records that is most of the work. Until then it may keep the whole batch in which it came.
#[derive(Debug)]
pub enum Fetched {
    /// One that was read at once.
    Read(Box<Record>),
    /// One that librdkafka still holds.
    Held(Message),
}

impl Fetched {
    /// Where it stands.
    pub const fn partition(&self) -> &Arc<Partition> {
        match self {
            Self::Read(record) => &record.partition,
            Self::Held(message) => message.partition(),
        }
    }

    /// Its place in the partition.
    pub fn offset(&self) -> i64 {
        match self {
            Self::Read(record) => record.offset,
            Self::Held(message) => message.offset(),
        }
    }

    /// The key; empty for a record of others without one.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Read(record) => record.key.as_deref().unwrap_or_default().as_bytes(),
            Self::Held(message) => message.key(),
        }
    }

    /// Bytes of key and value.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Read(record) => self.key().len() + record.value.len(),
            Self::Held(message) => message.bytes(),
        }
    }

    /// The whole.
    pub fn read(self) -> Record {
        match self {
            Self::Read(record) => *record,
            Self::Held(message) => message.read(),
        }
    }
}

/// What else is taken of what is at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// More of the same partition.
    More,
    /// Nothing more of it, but of others.
    Others,
    /// Nothing.
    Nothing,
}

impl From<Record> for Fetched {
    fn from(record: Record) -> Self {
        Self::Read(Box::new(record))
    }
}
