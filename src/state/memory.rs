//! The state store inside this process, for one-machine use. It is shared by the handle's clones and by nothing else,
//! and dies with the process, which the contract allows.
//!
//! Expiry is exact by the `Clock`: an entry whose time has come is not seen, whether it was swept or not.

mod feed;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;

use super::fanout::Fanout;
use super::feed::{Heard, Post, Posted, Recalled};
use super::rate_limit::{self, Allowance, Rate};
use super::{Error, Receiver, StateStore, Subscription, When};
use crate::kit::clock::SharedClock;

/// Expired entries removed by one operation. More than one, so that sweeping outruns writing.
const SWEPT_PER_OPERATION_MAX: usize = 16;

/// A lifetime that no test and no session reaches, for those that the calendar cannot hold.
const LIFETIME_MAX: TimeDelta = TimeDelta::days(36_500);

/// The handle; clones share one store.
#[derive(Debug, Clone)]
pub struct Memory {
    clock: SharedClock,
    store: Arc<Mutex<Store>>,
    fanout: Fanout,
}

impl Memory {
    /// An empty store whose lifetimes are measured by `clock`.
    pub fn new(clock: SharedClock) -> Self {
        Self {
            clock,
            store: Arc::default(),
            fanout: Fanout::default(),
        }
    }

    /// Forgets everything, as a Redis that was flushed; subscriptions stay.
    pub fn clear(&self) {
        let mut store = self.store.lock();
        *store = Store {
            closed: store.closed,
            ..Store::default()
        };
    }

    /// Closes the store: subscriptions end, every later call fails.
    pub fn close(&self) {
        self.store.lock().closed = true;
        self.fanout.close();
    }

    /// Runs one operation on the swept store at the present instant.
    fn with<T>(
        &self,
        operation: impl FnOnce(&mut Store, DateTime<Utc>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut store = self.store.lock();
        if store.closed {
            return Err(Error::Unavailable("it is closed".to_owned()));
        }
        let now = self.clock.now();
        store.sweep(now);
        operation(&mut store, now)
    }
}

#[async_trait]
impl StateStore for Memory {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.with(|store, now| Ok(store.live(key, now).cloned()))
    }

    async fn put(
        &self,
        key: &str,
        value: Bytes,
        lifetime: Duration,
        when: When,
    ) -> Result<bool, Error> {
        self.with(|store, now| {
            let present = store.live(key, now);
            let holds = match &when {
                When::Always => true,
                When::Absent => present.is_none(),
                When::Equals(expected) => present == Some(expected),
            };
            if holds {
                store.write(key, value, end(now, lifetime));
            }
            Ok(holds)
        })
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.with(|store, now| Ok(store.remove(key, now)))
    }

    async fn delete(&self, key: &str) -> Result<bool, Error> {
        self.with(|store, now| Ok(store.remove(key, now).is_some()))
    }

    async fn add(&self, key: &str, by: i64, lifetime: Duration) -> Result<i64, Error> {
        self.with(|store, now| {
            let (sum, ends_at) = match store.entry(key, now) {
                Some(entry) => (add_to_text(key, &entry.value, by)?, entry.ends_at),
                None => (by, end(now, lifetime)),
            };
            store.write(key, Bytes::from(sum.to_string()), ends_at);
            Ok(sum)
        })
    }

    async fn allow(&self, key: &str, rate: Rate) -> Result<Allowance, Error> {
        self.with(|store, now| {
            let whole = match store.live(key, now) {
                Some(value) => Some(
                    number(value)
                        .ok_or_else(|| Error::Unexpected(format!("{key:?} holds no rate limit")))?,
                ),
                None => None,
            };
            let (answer, keep) = rate_limit::decide(whole, now.timestamp_micros(), rate);
            if let Some(whole) = keep {
                let ends_at = end(now, answer.reset);
                store.write(key, Bytes::from(whole.to_string()), ends_at);
            }
            Ok(answer)
        })
    }

    async fn join(
        &self,
        set: &str,
        member: &str,
        value: Bytes,
        lifetime: Duration,
    ) -> Result<bool, Error> {
        self.with(|store, now| Ok(store.join(set, member, value, end(now, lifetime), now)))
    }

    async fn leave(&self, set: &str, member: &str) -> Result<bool, Error> {
        self.with(|store, now| Ok(store.leave(set, member, now)))
    }

    async fn members(&self, set: &str) -> Result<Vec<(String, Bytes)>, Error> {
        self.with(|store, now| {
            let members = store.sets.get(set).into_iter().flatten();
            Ok(members
                .filter(|(_, entry)| entry.ends_at > now)
                .map(|(member, entry)| (member.clone(), entry.value.clone()))
                .collect())
        })
    }

    async fn publish(&self, channel: &str, payload: Bytes) -> Result<(), Error> {
        self.with(|_, _| Ok(()))?;
        self.fanout.publish(channel, &payload);
        Ok(())
    }

    async fn subscribe(&self, channel: &str) -> Result<Box<dyn Subscription>, Error> {
        self.with(|_, _| Ok(()))?;
        Ok(Box::new(self.fanout.listen(channel)))
    }

    fn receiver(&self) -> Arc<dyn Receiver> {
        Arc::new(self.fanout.receiver())
    }

    async fn post(&self, posts: &[Post<'_>]) -> Result<Vec<Posted>, Error> {
        self.with(|store, now| {
            let publish = |post: &Post<'_>| {
                let posted = store.feeds.post(post, now);
                store.watch_feed(post.channel, now);
                if posted.is_new {
                    // Inside the lock: subscribers hear publications in the order of their numbers.
                    let message = Heard::kept(&posted.position, &post.payload);
                    self.fanout.publish(post.channel, &message);
                }
                posted
            };
            Ok(posts.iter().map(publish).collect())
        })
    }

    async fn recall(&self, channel: &str, after: u64) -> Result<Recalled, Error> {
        self.with(|store, now| {
            let recalled = store.feeds.recall(channel, after, now);
            store.watch_feed(channel, now);
            Ok(recalled)
        })
    }

    async fn ping(&self) -> Result<(), Error> {
        self.with(|_, _| Ok(()))
    }
}

#[derive(Debug, Default)]
struct Store {
    entries: HashMap<String, Entry>,
    sets: HashMap<String, BTreeMap<String, Entry>>,
    feeds: feed::Feeds,
    /// When each channel's memory is looked at next.
    feed_looks: HashMap<String, DateTime<Utc>>,
    /// What ends when, earliest first: exactly one line for each entry, member and channel with a memory.
    ends: BTreeSet<(DateTime<Utc>, Place)>,
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    value: Bytes,
    ends_at: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Key(String),
    Member(String, String),
    Feed(String),
}

impl Store {
    fn entry(&self, key: &str, now: DateTime<Utc>) -> Option<&Entry> {
        self.entries.get(key).filter(|entry| entry.ends_at > now)
    }

    fn live(&self, key: &str, now: DateTime<Utc>) -> Option<&Bytes> {
        self.entry(key, now).map(|entry| &entry.value)
    }

    fn write(&mut self, key: &str, value: Bytes, ends_at: DateTime<Utc>) {
        let place = Place::Key(key.to_owned());
        let old = self
            .entries
            .insert(key.to_owned(), Entry { value, ends_at });
        self.reschedule(place, old, ends_at);
    }

    fn remove(&mut self, key: &str, now: DateTime<Utc>) -> Option<Bytes> {
        let entry = self.entries.remove(key)?;
        self.ends
            .remove(&(entry.ends_at, Place::Key(key.to_owned())));
        (entry.ends_at > now).then_some(entry.value)
    }

    fn join(
        &mut self,
        set: &str,
        member: &str,
        value: Bytes,
        ends_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> bool {
        let members = self.sets.entry(set.to_owned()).or_default();
        let old = members.insert(member.to_owned(), Entry { value, ends_at });
        let is_new = old.as_ref().is_none_or(|entry| entry.ends_at <= now);
        let place = Place::Member(set.to_owned(), member.to_owned());
        self.reschedule(place, old, ends_at);
        is_new
    }

    fn leave(&mut self, set: &str, member: &str, now: DateTime<Utc>) -> bool {
        let Some(members) = self.sets.get_mut(set) else {
            return false;
        };
        let Some(entry) = members.remove(member) else {
            return false;
        };
        if members.is_empty() {
            self.sets.remove(set);
        }
        let place = Place::Member(set.to_owned(), member.to_owned());
        self.ends.remove(&(entry.ends_at, place));
        entry.ends_at > now
    }

    fn reschedule(&mut self, place: Place, old: Option<Entry>, ends_at: DateTime<Utc>) {
        if let Some(old) = old {
            self.ends.remove(&(old.ends_at, place.clone()));
        }
        self.ends.insert((ends_at, place));
    }

    /// Forgets what has ended of a channel's memory, and sees to it that the rest is forgotten in time.
    fn watch_feed(&mut self, channel: &str, now: DateTime<Utc>) {
        let place = Place::Feed(channel.to_owned());
        if let Some(look) = self.feed_looks.remove(channel) {
            self.ends.remove(&(look, place.clone()));
        }
        if let Some(look) = self.feeds.sweep(channel, now) {
            self.feed_looks.insert(channel.to_owned(), look);
            self.ends.insert((look, place));
        }
    }

    /// Removes a few of the entries whose time has come.
    fn sweep(&mut self, now: DateTime<Utc>) {
        for _ in 0..SWEPT_PER_OPERATION_MAX {
            if self.ends.first().is_none_or(|(ends_at, _)| *ends_at > now) {
                return;
            }
            match self.ends.pop_first() {
                Some((_, Place::Key(key))) => drop(self.entries.remove(&key)),
                Some((_, Place::Member(set, member))) => {
                    self.leave(&set, &member, now);
                }
                Some((_, Place::Feed(channel))) => self.watch_feed(&channel, now),
                None => return,
            }
        }
    }
}

fn end(now: DateTime<Utc>, lifetime: Duration) -> DateTime<Utc> {
    now + TimeDelta::from_std(lifetime)
        .unwrap_or(LIFETIME_MAX)
        .min(LIFETIME_MAX)
}

/// A decimal text, as Redis keeps numbers.
fn number(value: &Bytes) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The sum, where `value` is a counter's decimal text as Redis keeps it.
fn add_to_text(key: &str, value: &Bytes, by: i64) -> Result<i64, Error> {
    number(value)
        .and_then(|present| present.checked_add(by))
        .ok_or_else(|| {
            Error::Unexpected(format!("{key:?} holds no counter, or one that overflows"))
        })
}

#[cfg(test)]
mod tests {
    use super::super::feed::{Keep, NUMBERING_LIFETIME};
    use super::*;
    use crate::kit::clock::{Clock, ManualClock, SystemClock};

    const MINUTE: Duration = Duration::from_secs(60);

    fn store() -> (Memory, ManualClock) {
        let clock = ManualClock::at(SystemClock.now());
        (Memory::new(Arc::new(clock.clone())), clock)
    }

    async fn put(memory: &Memory, key: &str) {
        let value = Bytes::from_static(b"v");
        let written = memory.put(key, value, MINUTE, When::Always).await.unwrap();
        assert!(written);
    }

    #[tokio::test]
    async fn sweeping_outruns_writing_and_leaves_nothing_behind() {
        let (memory, clock) = store();
        for number in 0..100 {
            put(&memory, &format!("k{number}")).await;
            let value = Bytes::new();
            let member = number.to_string();
            memory.join("set", &member, value, MINUTE).await.unwrap();
        }
        clock.advance(MINUTE);
        for _ in 0..200_usize.div_ceil(SWEPT_PER_OPERATION_MAX) {
            memory.ping().await.unwrap();
        }
        let store = memory.store.lock();
        assert!(store.entries.is_empty() && store.sets.is_empty() && store.ends.is_empty());
    }

    #[tokio::test]
    async fn a_channels_memory_goes_by_itself() {
        let (memory, clock) = store();
        let post = Post {
            channel: "c",
            payload: Bytes::new(),
            event: None,
            keep: Keep {
                messages_max: 2,
                lifetime: MINUTE,
            },
        };
        let posts = [post.clone(), post.clone(), post];
        memory.post(&posts).await.unwrap();
        clock.advance(MINUTE);
        memory.ping().await.unwrap();
        assert!(!memory.store.lock().feeds.is_empty());
        clock.advance(NUMBERING_LIFETIME);
        memory.ping().await.unwrap();
        let store = memory.store.lock();
        assert!(store.feeds.is_empty() && store.feed_looks.is_empty() && store.ends.is_empty());
    }

    #[tokio::test]
    async fn an_entry_lives_until_its_instant_and_not_at_it() {
        let (memory, clock) = store();
        put(&memory, "k").await;
        clock.advance(MINUTE - Duration::from_micros(1));
        assert!(memory.get("k").await.unwrap().is_some());
        clock.advance(Duration::from_micros(1));
        assert_eq!(memory.get("k").await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_entry_written_again_is_not_swept_at_its_first_end() {
        let (memory, clock) = store();
        put(&memory, "k").await;
        clock.advance(MINUTE / 2);
        put(&memory, "k").await;
        clock.advance(MINUTE / 2);
        assert!(memory.get("k").await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_counter_that_would_overflow_is_refused_and_unchanged() {
        let (memory, _clock) = store();
        memory.add("n", i64::MAX, MINUTE).await.unwrap();
        assert!(memory.add("n", 1, MINUTE).await.is_err());
        assert_eq!(memory.add("n", 0, MINUTE).await.unwrap(), i64::MAX);
    }

    #[tokio::test]
    async fn a_closed_store_answers_with_an_error() {
        let (memory, _clock) = store();
        memory.clone().close();
        assert!(matches!(memory.ping().await, Err(Error::Unavailable(_))));
    }
}
