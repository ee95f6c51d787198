//! The event log: facts in order, kept for days, read by consumer groups.
//!
//! Two products stand behind one contract and pass one suite: `sqlite` (a table of the database; groups, members and
//! assignments are rows with leases, so several processes may share the file) and `kafka`. Words:
//! * *topic*: a named log with a fixed number of partitions. Names are given without the prefix of the settings.
//! * *position*: per partition; the offset of the next record to read. Committing position 7 says that 0 to 6 are done.
//! * *group*: readers that share the partitions of their topics; each partition has one reader at a time.

mod fetched;
mod headers;
pub mod kafka;
pub mod sqlite;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::db;

pub use fetched::{Fetched, Wants};
pub use headers::Headers;

/// Largest record in bytes: key, value and headers. Below the 1,048,588 that brokers take by default, batch overhead
/// included, so that both logs refuse the same records.
pub const RECORD_BYTES_MAX: usize = 1_000_000;

/// A member that does not ask for its next delivery for this long loses its partitions, even while its process lives:
/// its reader hangs (Kafka's `max.poll.interval.ms`).
pub const SILENCE_MAX: Duration = Duration::from_secs(60);

/// An event log handle as it is passed around.
pub type SharedLog = Arc<dyn EventLog>;

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// Topic, without prefix.
    pub topic: String,
    /// Number from 0.
    pub number: i32,
}

/// A record to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Topic, without prefix.
    pub topic: String,
    /// Records of one key keep their order; never empty. The partition is murmur2 of it, as Java's clients choose.
    pub key: String,
    /// What else is said of it.
    pub headers: Headers,
    /// The value, usually JSON.
    pub value: Bytes,
}

impl NewRecord {
    /// Refuses what no log takes.
    ///
    /// # Errors
    /// [`Error::NoKey`], [`Error::TooLarge`].
    pub fn check(&self) -> Result<(), Error> {
        if self.key.is_empty() {
            return Err(Error::NoKey(self.topic.clone()));
        }
        let bytes = self.key.len() + self.value.len() + self.headers.bytes();
        if bytes > RECORD_BYTES_MAX {
            return Err(Error::TooLarge {
                topic: self.topic.clone(),
                bytes,
            });
        }
        Ok(())
    }
}

/// A record as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it stands; records of a partition share it.
    pub partition: Arc<Partition>,
    /// Its place in the partition.
    pub offset: i64,
    /// When it was appended, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Key; `None` only for records of others.
    pub key: Option<String>,
    /// What else is said of it; values that are not UTF-8 are left out.
    pub headers: Headers,
    /// The value; empty for a tombstone.
    pub value: Bytes,
}

/// What a subscription yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// The next record of one of the member's partitions.
    Record(Record),
    /// These partitions are the member's from now on (beside those it has).
    Assigned(Vec<Partition>),
    /// These are about to go to another member. Positions committed before the next call of `next` still count.
    Revoked(Vec<Partition>),
    /// These went to another member already: nothing of them may be committed.
    Lost(Vec<Partition>),
}

/// A topic to ensure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Name without prefix.
    pub name: String,
    /// Partitions.
    pub partitions: i32,
    /// How long records are kept, in milliseconds.
    pub retention_ms: i64,
}

/// What [`EventLog::ensure_topics`] found or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicState {
    /// It was there as asked.
    Present,
    /// It was missing and was made (or, when only checking, is missing).
    Missing,
    /// It is there with another number of partitions, which is not changed silently: keys would move.
    Partitions {
        /// The number it has.
        found: i32,
    },
}

/// A member of a group and what it reads.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Member {
    /// Client id: instance id and boot.
    pub client_id: String,
    /// Its partitions as topic → numbers.
    pub partitions: BTreeMap<String, Vec<i32>>,
}

/// What the log could not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such topic; `migrate` makes topics.
    #[error("there is no topic {0:?}; run `spheroctl migrate`")]
    UnknownTopic(String),
    /// The record is larger than the log takes.
    #[error("a record of {bytes} bytes for topic {topic:?} is larger than the log takes")]
    TooLarge {
        /// Its topic.
        topic: String,
        /// Size of key, value and headers.
        bytes: usize,
    },
    /// A record without a key has no order.
    #[error("a record for topic {0:?} has no key")]
    NoKey(String),
    /// The log does not answer.
    #[error("the event log does not answer: {0}")]
    Unavailable(String),
    /// The member has lost its partitions meanwhile; the records will be delivered to another.
    #[error("the partitions belong to another member now: {0}")]
    Fenced(String),
    /// Another process has joined under this member's `kafka.group_instance_id`: one of the two must not have that name.
    #[error("another process joined under the same kafka.group_instance_id: {0}")]
    Replaced(String),
    /// Anything else.
    #[error("event log: {0}")]
    Other(String),
}

impl Error {
    /// Whether the same append may succeed later; false for what the log refuses for good.
    pub const fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_) | Self::Fenced(_) | Self::Other(_)
        )
    }
}

impl From<db::Error> for Error {
    fn from(error: db::Error) -> Self {
        match error {
            db::Error::Other(_) | db::Error::Inconsistent { .. } => Self::Other(error.to_string()),
            error => Self::Unavailable(error.to_string()),
        }
    }
}

/// The contract.
#[async_trait]
pub trait EventLog: Send + Sync + std::fmt::Debug + 'static {
    /// Appends records in the given order and answers, for each, where it stands once it is durable, or why not.
    /// A failed record does not keep those of other partitions back.
    async fn append(&self, records: Vec<NewRecord>) -> Vec<Result<(Partition, i64), Error>>;

    /// Joins `group` as a member that reads `topics`.
    async fn subscribe(&self, group: &str, topics: &[&str])
    -> Result<Box<dyn Subscription>, Error>;

    /// Records between the group's positions and the ends of its topics, per partition that has any position.
    async fn lag(&self, group: &str, topics: &[&str]) -> Result<BTreeMap<Partition, i64>, Error>;

    /// The living members of a group.
    async fn members(&self, group: &str) -> Result<Vec<Member>, Error>;

    /// At most `limit` records of one partition from `offset` on, without any group.
    async fn browse(
        &self,
        partition: &Partition,
        offset: i64,
        limit: usize,
    ) -> Result<Vec<Record>, Error>;

    /// The first offset kept and the next to be written.
    async fn bounds(&self, partition: &Partition) -> Result<(i64, i64), Error>;

    /// Drops the records of a partition below `offset`.
    async fn truncate_before(&self, partition: &Partition, offset: i64) -> Result<(), Error>;

    /// Drops what is older than its topic keeps it and says how much; a task calls it now and then. A log that sees to
    /// retention by itself answers 0.
    async fn expire(&self) -> Result<u64, Error>;

    /// Makes the topics that are missing (or, with `only_check`, makes nothing) and says how each stands.
    async fn ensure_topics(
        &self,
        topics: &[Topic],
        only_check: bool,
    ) -> Result<Vec<TopicState>, Error>;

    /// Answers when the log does; fails within its time-out when it does not.
    async fn ping(&self) -> Result<(), Error>;
}

/// A member's stream.
#[async_trait]
pub trait Subscription: Send + std::fmt::Debug {
    /// The next delivery; waits for one. Cancel-safe: nothing is lost when the future is dropped.
    async fn next(&mut self) -> Result<Delivered, Error>;

    /// Gives the next records that are at hand to `take`, without a wait, partition by partition, for as long as it answers that
    /// it takes more. Else [`Subscription::next`] has to be asked.
    fn at_hand(&mut self, take: &mut (dyn FnMut(Fetched) -> Wants + Send)) {
        let _ = take;
    }

    /// Delivers nothing more of these partitions of the member until [`Subscription::resume`], and forgets what was
    /// fetched ahead: it is fetched again. Hence for waits of a second or more only.
    fn pause(&mut self, partitions: &[Partition]) -> Result<(), Error>;

    /// Goes on with these partitions of the member; those that were not paused stay as they are.
    fn resume(&mut self, partitions: &[Partition]) -> Result<(), Error>;

    /// Commits positions (the next offsets to read), durably.
    async fn commit(&mut self, positions: &[(Partition, i64)]) -> Result<(), Error>;

    /// Leaves the group, so that the others take over at once.
    async fn close(self: Box<Self>) -> Result<(), Error>;
}
