//! The state store: what may be lost at any moment and rebuilt from the database. Sessions, one-time codes, markers,
//! presence, publications, the list of live instances.
//!
//! Two products stand behind one contract and pass one suite: `memory` (in this process, driven by the `Clock`) and
//! `redis` (shared by all processes; its own time). Words:
//! * *key*: any text; the backend adds its prefix.
//! * *lifetime*: after it the entry is gone, as if deleted.
//! * *channel*: a name that messages are published to; nothing is kept for those who come later, unless it is posted
//!   ([`feed`]).

pub(crate) mod fanout;
pub mod feed;
pub mod instances;
pub mod memory;
pub mod rate_limit;
pub mod redis;
pub mod sessions;
pub mod sign_in_codes;
pub mod vitals;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use feed::{Post, Posted, Recalled};
use rate_limit::{Allowance, Rate};

/// A state store handle as it is passed around.
pub type SharedState = Arc<dyn StateStore>;

/// When [`StateStore::put`] writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// In any case.
    Always,
    /// Only where the key holds nothing.
    Absent,
    /// Only where the key holds just these bytes.
    Equals(Bytes),
}

/// A message on a subscribed channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// One published payload.
    Message(Bytes),
    /// The subscriber was too slow (or the connection was lost) and missed messages; it must look at the source.
    Lagged,
}

/// What the store could not do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The store does not answer in time.
    #[error("the state store does not answer: {0}")]
    Unavailable(String),
    /// The store answered something that this version does not understand.
    #[error("the state store answered {0}")]
    Unexpected(String),
}

/// The contract. Every method answers within the store's command time-out.
#[async_trait]
pub trait StateStore: Send + Sync + std::fmt::Debug + 'static {
    /// The bytes under `key`, `None` where there are none or their lifetime is over.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error>;

    /// Writes `value` under `key` for `lifetime`; false when `when` did not hold and nothing was written.
    async fn put(
        &self,
        key: &str,
        value: Bytes,
        lifetime: Duration,
        when: When,
    ) -> Result<bool, Error>;

    /// Removes and returns the bytes under `key` in one step: of many callers one gets them (one-time codes).
    async fn take(&self, key: &str) -> Result<Option<Bytes>, Error>;

    /// Removes `key`; false when there was nothing.
    async fn delete(&self, key: &str) -> Result<bool, Error>;

    /// Adds `by` to the counter `key` and returns the sum. A counter that begins now lives for `lifetime`; later
    /// additions do not prolong it.
    async fn add(&self, key: &str, by: i64, lifetime: Duration) -> Result<i64, Error>;

    /// Counts one request of `key` against `rate` (GCRA); one that is refused costs nothing.
    async fn allow(&self, key: &str, rate: Rate) -> Result<Allowance, Error>;

    /// Makes `member` part of `set` for `lifetime` (again: prolongs it), with a value; true when it was not part before.
    async fn join(
        &self,
        set: &str,
        member: &str,
        value: Bytes,
        lifetime: Duration,
    ) -> Result<bool, Error>;

    /// Takes `member` out of `set`; false when it was not part of it.
    async fn leave(&self, set: &str, member: &str) -> Result<bool, Error>;

    /// The members of `set` whose lifetime is not over, with their values, sorted by member.
    async fn members(&self, set: &str) -> Result<Vec<(String, Bytes)>, Error>;

    /// Publishes to all present subscribers of `channel`, on every instance that shares the store.
    async fn publish(&self, channel: &str, payload: Bytes) -> Result<(), Error>;

    /// Subscribes to `channel`; what is published after the answer is delivered, or reported as lagged.
    async fn subscribe(&self, channel: &str) -> Result<Box<dyn Subscription>, Error>;

    /// A receiver that hears no channel yet, and any number of them later. What it holds is bounded as a whole.
    fn receiver(&self) -> Arc<dyn Receiver>;

    /// Numbers each publication of a channel in the given order, keeps it, and tells the present subscribers, who hear a
    /// [`feed::Heard`] each in the order of their numbers. Answers where each stands; after an error some may be published.
    async fn post(&self, posts: &[Post<'_>]) -> Result<Vec<Posted>, Error>;

    /// What `channel` keeps after the offset `after`, and where its latest publication stands.
    async fn recall(&self, channel: &str, after: u64) -> Result<Recalled, Error>;

    /// Answers when the store does; fails within the command time-out when it does not.
    async fn ping(&self) -> Result<(), Error>;

    /// Ends subscriptions and connections, where there are any; nothing is asked of the store afterwards.
    async fn close(&self) {}
}

/// The receiving end of a channel. Dropping it unsubscribes.
#[async_trait]
pub trait Subscription: Send + std::fmt::Debug {
    /// The next delivery; `None` when the store was closed. Cancel-safe.
    async fn next(&mut self) -> Option<Delivery>;
}

/// A message of one of many channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// One published payload.
    Message {
        /// Where it was published.
        channel: Arc<str>,
        /// What was published.
        payload: Bytes,
    },
    /// Messages of any of the channels were missed (too slow a receiver, or a connection lost).
    Lagged,
}

/// The receiving end of many channels. One task takes what comes; any may add and remove channels.
#[async_trait]
pub trait Receiver: Send + Sync + std::fmt::Debug {
    /// From the answer on the messages of `channel` are received, or reported as lagged. Adding twice changes nothing.
    async fn add(&self, channel: &str) -> Result<(), Error>;

    /// No more messages of `channel`, though one on its way may still come.
    fn remove(&self, channel: &str);

    /// What came next; `None` when the store was closed. Cancel-safe, for one task.
    async fn next(&self) -> Option<News>;
}
