//! The state store on Redis (7.0 or later, or what speaks its protocol): one server, Sentinel or Cluster, by the
//! form of the URL. Shared by all processes with the same prefix; time is the server's.
//!
//! Commands are sent once: after a lost connection nobody knows whether the last ones had their effect, and a second
//! `take` or `add` would be a second effect. The caller gets an error and decides.

mod connection;
mod feed;
mod pubsub;
mod script;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fred::clients::{Client, Pool, SubscriberClient};
use fred::interfaces::{ClientLike, KeysInterface, PubsubInterface};
use fred::types::{Expiration, Key, SetOptions, Value};
use tokio::runtime::Handle;

use super::feed::{Post, Posted, Recalled};
use super::rate_limit::{self, Allowance, Rate};
use super::{Error, Receiver, StateStore, Subscription, When};
use crate::kit::lifecycle::Lifecycle;
use crate::settings;

pub(crate) use super::fanout::Listener;
pub(crate) use script::{Library, Script};

static ADD: Script = Script::new(include_str!("redis/add.lua"));
static ALLOW: Script = Script::new(include_str!("redis/allow.lua"));
static PUT_EQUALS: Script = Script::new(include_str!("redis/put_equals.lua"));
static JOIN: Script = Script::new(include_str!("redis/join.lua"));
static LEAVE: Script = Script::new(include_str!("redis/leave.lua"));
static MEMBERS: Script = Script::new(include_str!("redis/members.lua"));

/// Members whose end has passed that one `join` sweeps. More than one, so that sweeping outruns joining.
const SWEPT_PER_JOIN_MAX: i64 = 16;

/// Longer lifetimes are cut to this (100 years in ms): the server adds them to its clock in 64 bits.
const LIFETIME_MAX_MS: u128 = 100 * 365 * 86_400_000;

/// The handle; clones share the connections, which end with the last of them or with [`Redis::close`].
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
}

struct Shared {
    pool: Pool,
    subscriber: SubscriberClient,
    channels: pubsub::PubSub,
    tasks: Lifecycle,
    prefix: String,
    /// Where the server is, for errors; never with a password.
    address: String,
}

impl Redis {
    /// Connects to the server of `settings`.
    ///
    /// # Errors
    /// [`Error::Unavailable`], naming host and port, when the URL is none, when the server refuses, or when it does not
    /// answer within the command time-out.
    pub async fn connect(settings: &settings::Redis) -> Result<Self, Error> {
        let connection::Connected {
            pool,
            subscriber,
            address,
        } = connection::connect(settings).await?;
        let channels = pubsub::PubSub::new(subscriber.clone());
        let tasks = Lifecycle::new();
        let run = channels.clone().run(tasks.drain_token());
        tasks.spawn("state.channels", run);
        Ok(Self {
            shared: Arc::new(Shared {
                pool,
                subscriber,
                channels,
                tasks,
                prefix: settings.prefix.clone(),
                address,
            }),
        })
    }

    /// Ends every subscription and closes the connections, waiting at most the command time-out for each.
    pub async fn close(&self) {
        self.shared.channels.close();
        self.shared.tasks.drain();
        connection::close(&self.shared.pool, &self.shared.subscriber).await;
    }

    /// `name` with the prefix, as it stands in the store.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.shared.prefix)
    }

    /// The name of a key or channel that has the prefix.
    fn without_prefix<'k>(&self, key: &'k str) -> &'k str {
        key.strip_prefix(&self.shared.prefix).unwrap_or(key)
    }

    /// Runs a script on `keys`, which have their prefix and lie in one hash slot.
    pub(crate) async fn run(
        &self,
        script: &Script,
        keys: &[String],
        args: Vec<Value>,
    ) -> Result<Value, Error> {
        let answer = script.run(self.client(), keys, args).await;
        answer.map_err(|error| self.error(error))
    }

    /// Calls a function of `library` on `keys`, which have their prefix and lie in one hash slot.
    pub(crate) async fn call(
        &self,
        library: &Library,
        function: &str,
        keys: &[Key],
        args: Vec<Value>,
    ) -> Result<Value, Error> {
        let answer = library.call(self.client(), function, keys, args).await;
        answer.map_err(|error| self.error(error))
    }

    /// A listener to `channel`, which has its prefix.
    pub(crate) async fn listen(&self, channel: &str) -> Result<Listener, Error> {
        let listener = self.shared.channels.listen(channel).await;
        listener.map_err(|error| self.error(error))
    }

    /// A connection of the pool; any that stands, where one does.
    fn client(&self) -> &Client {
        self.shared.pool.next_connected()
    }

    fn is_clustered(&self) -> bool {
        self.client().is_clustered()
    }

    fn error(&self, error: fred::error::Error) -> Error {
        connection::error(&self.shared.address, &error)
    }

    async fn run_for_bool(
        &self,
        script: &Script,
        keys: &[String],
        args: Vec<Value>,
    ) -> Result<bool, Error> {
        let answer = self.run(script, keys, args).await?;
        Ok(integer(&answer)? == 1)
    }

    /// The two keys of a set.
    fn set_keys(&self, set: &str) -> [String; 2] {
        self.tagged_keys("set", set, [":ends", ":values"])
    }

    /// Two keys of one thing. The hash tag keeps them in one slot of a cluster whatever the name holds: a brace in the name
    /// would end the tag.
    fn tagged_keys(&self, kind: &str, name: &str, parts: [&str; 2]) -> [String; 2] {
        let tag = name.replace('%', "%25").replace('}', "%7D");
        parts.map(|part| self.key(&format!("{{{kind}.{tag}}}{part}")))
    }
}

#[async_trait]
impl StateStore for Redis {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        let value = self.client().get(self.key(key)).await;
        bytes(value.map_err(|error| self.error(error))?)
    }

    async fn put(
        &self,
        key: &str,
        value: Bytes,
        lifetime: Duration,
        when: When,
    ) -> Result<bool, Error> {
        let key = self.key(key);
        let lifetime = milliseconds(lifetime);
        let options = match when {
            When::Always => None,
            When::Absent => Some(SetOptions::NX),
            When::Equals(expected) => {
                let args = vec![expected.into(), value.into(), lifetime.into()];
                return self.run_for_bool(&PUT_EQUALS, &[key], args).await;
            }
        };
        let expire = Some(Expiration::PX(lifetime));
        let answer: Result<Value, _> = self.client().set(key, value, expire, options, false).await;
        let answer = answer.map_err(|error| self.error(error))?;
        Ok(!answer.is_null())
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>, Error> {
        let value = self.client().getdel(self.key(key)).await;
        bytes(value.map_err(|error| self.error(error))?)
    }

    async fn delete(&self, key: &str) -> Result<bool, Error> {
        let deleted = self.client().del(self.key(key)).await;
        let deleted = deleted.map_err(|error| self.error(error))?;
        Ok(integer(&deleted)? == 1)
    }

    async fn add(&self, key: &str, by: i64, lifetime: Duration) -> Result<i64, Error> {
        let args = vec![by.into(), milliseconds(lifetime).into()];
        integer(&self.run(&ADD, &[self.key(key)], args).await?)
    }

    async fn allow(&self, key: &str, rate: Rate) -> Result<Allowance, Error> {
        let args = vec![rate.cost_us().into(), rate.tolerance_us().into()];
        let answer = array(self.run(&ALLOW, &[self.key(key)], args).await?)?;
        let [allowed, remaining, retry_us, reset_us] = answer.as_slice() else {
            return Err(Error::Unexpected(format!(
                "{} numbers of a rate limit",
                answer.len()
            )));
        };
        Ok(rate_limit::allowance(
            integer(allowed)? == 1,
            integer(remaining)?,
            integer(retry_us)?,
            integer(reset_us)?,
        ))
    }

    async fn join(
        &self,
        set: &str,
        member: &str,
        value: Bytes,
        lifetime: Duration,
    ) -> Result<bool, Error> {
        let args = vec![
            member.into(),
            value.into(),
            milliseconds(lifetime).into(),
            SWEPT_PER_JOIN_MAX.into(),
        ];
        self.run_for_bool(&JOIN, &self.set_keys(set), args).await
    }

    async fn leave(&self, set: &str, member: &str) -> Result<bool, Error> {
        let args = vec![member.into()];
        self.run_for_bool(&LEAVE, &self.set_keys(set), args).await
    }

    async fn members(&self, set: &str) -> Result<Vec<(String, Bytes)>, Error> {
        let answer = self.run(&MEMBERS, &self.set_keys(set), vec![]).await?;
        let mut members = Vec::new();
        let mut flat = array(answer)?.into_iter();
        while let (Some(member), Some(value)) = (flat.next(), flat.next()) {
            let member = bytes(member)?.unwrap_or_default();
            let member = String::from_utf8(member.into()).map_err(|error| {
                Error::Unexpected(format!("a member of {set:?} that is not text: {error}"))
            })?;
            members.push((member, bytes(value)?.unwrap_or_default()));
        }
        members.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        Ok(members)
    }

    async fn publish(&self, channel: &str, payload: Bytes) -> Result<(), Error> {
        let heard: Result<Value, _> = self.client().publish(self.key(channel), payload).await;
        heard.map(drop).map_err(|error| self.error(error))
    }

    async fn subscribe(&self, channel: &str) -> Result<Box<dyn Subscription>, Error> {
        Ok(Box::new(self.listen(&self.key(channel)).await?))
    }

    fn receiver(&self) -> Arc<dyn Receiver> {
        Arc::new(pubsub::Tuned::new(self.clone()))
    }

    async fn post(&self, posts: &[Post<'_>]) -> Result<Vec<Posted>, Error> {
        self.feed_post(posts).await
    }

    async fn recall(&self, channel: &str, after: u64) -> Result<Recalled, Error> {
        self.feed_recall(channel, after).await
    }

    async fn ping(&self) -> Result<(), Error> {
        let pong: Result<Value, _> = self.client().ping(None).await;
        pong.map(drop).map_err(|error| self.error(error))
    }

    async fn close(&self) {
        Self::close(self).await;
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("address", &self.shared.address)
            .field("prefix", &self.shared.prefix)
            .finish_non_exhaustive()
    }
}

impl Drop for Shared {
    /// The client's own tasks keep the connections until it is told to quit.
    fn drop(&mut self) {
        let closed = self.tasks.is_draining();
        self.channels.close();
        self.tasks.drain();
        if !closed && Handle::try_current().is_ok() {
            let (pool, subscriber) = (self.pool.clone(), self.subscriber.clone());
            let close = async move { connection::close(&pool, &subscriber).await };
            self.tasks.spawn("state.close", close);
        }
    }
}

// === Values of the server ===

/// A lifetime as the server wants it: whole milliseconds, rounded up, at least one.
pub(crate) fn milliseconds(time: Duration) -> i64 {
    let rounded_up = time.as_nanos().div_ceil(1_000_000);
    i64::try_from(rounded_up.clamp(1, LIFETIME_MAX_MS)).unwrap_or(i64::MAX)
}

/// The bytes of a value, `None` for nil.
pub(crate) fn bytes(value: Value) -> Result<Option<Bytes>, Error> {
    match value {
        Value::Null => Ok(None),
        Value::Bytes(bytes) => Ok(Some(bytes)),
        Value::String(text) => Ok(Some(text.into_inner())),
        other => Err(unexpected("bytes", &other)),
    }
}

/// The number of an integer answer.
pub(crate) fn integer(value: &Value) -> Result<i64, Error> {
    match value {
        Value::Integer(number) => Ok(*number),
        other => Err(unexpected("a number", other)),
    }
}

/// The values of an array answer.
pub(crate) fn array(value: Value) -> Result<Vec<Value>, Error> {
    match value {
        Value::Array(values) => Ok(values),
        other => Err(unexpected("a list", &other)),
    }
}

fn unexpected(wanted: &str, value: &Value) -> Error {
    Error::Unexpected(format!("a {:?} where {wanted} was expected", value.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_rounded_up_and_never_zero() {
        assert_eq!(milliseconds(Duration::ZERO), 1);
        assert_eq!(milliseconds(Duration::from_micros(1_001)), 2);
        assert_eq!(milliseconds(Duration::from_secs(2)), 2_000);
        assert_eq!(milliseconds(Duration::MAX), 100 * 365 * 86_400_000);
    }
}
