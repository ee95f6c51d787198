//! Hands published messages to the subscribers inside this process. Every subscriber has a mailbox of its own with a
//! bound: whoever does not empty it loses its content and is told so, and nobody waits for anybody.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Delivery, Error, News, Receiver, Subscription};

/// Messages that wait for one subscriber before it is told that it lagged. They share their bytes with all other
/// subscribers, so the bound is on time lost in catching up rather than on memory.
pub const MAILBOX_MESSAGES_MAX: usize = 1_024;

/// The same for a receiver of many channels.
pub const RECEIVER_MESSAGES_MAX: usize = 16_384;

/// The subscribers of this process by channel. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Fanout {
    subscribers: Arc<Mutex<Subscribers>>,
}

#[derive(Debug, Default)]
struct Subscribers {
    by_channel: HashMap<Arc<str>, Vec<Arc<Mailbox>>>,
    closed: bool,
}

impl Fanout {
    /// A new subscriber of `channel`; it leaves when the listener is dropped.
    pub(super) fn listen(&self, channel: &str) -> Listener {
        let mailbox = Arc::new(Mailbox::new(MAILBOX_MESSAGES_MAX));
        self.enter(channel, &mailbox);
        Listener {
            fanout: self.clone(),
            channel: channel.into(),
            mailbox,
        }
    }

    /// A new receiver of no channel.
    pub(super) fn receiver(&self) -> Tuner {
        Tuner {
            fanout: self.clone(),
            mailbox: Arc::new(Mailbox::new(RECEIVER_MESSAGES_MAX)),
            channels: Arc::default(),
        }
    }

    fn enter(&self, channel: &str, mailbox: &Arc<Mailbox>) {
        let mut subscribers = self.subscribers.lock();
        if subscribers.closed {
            mailbox.close();
            return;
        }
        let mailboxes = subscribers.by_channel.entry(channel.into()).or_default();
        mailboxes.push(Arc::clone(mailbox));
    }

    /// Puts `payload` into the mailbox of every subscriber of `channel`.
    pub(super) fn publish(&self, channel: &str, payload: &Bytes) {
        let subscribers = self.subscribers.lock();
        if let Some((channel, mailboxes)) = subscribers.by_channel.get_key_value(channel) {
            for mailbox in mailboxes {
                mailbox.put(channel.clone(), payload.clone());
            }
        }
    }

    /// Tells every subscriber that messages may have been missed.
    pub(super) fn lag_all(&self) {
        for mailbox in self.subscribers.lock().by_channel.values().flatten() {
            mailbox.lag();
        }
    }

    /// Whether anybody listens to `channel`.
    pub(super) fn has(&self, channel: &str) -> bool {
        self.subscribers.lock().by_channel.contains_key(channel)
    }

    /// Ends every subscription, present and future.
    pub(super) fn close(&self) {
        let mut subscribers = self.subscribers.lock();
        subscribers.closed = true;
        for mailbox in subscribers.by_channel.drain().flat_map(|(_, all)| all) {
            mailbox.close();
        }
    }

    fn leave(&self, channel: &str, leaver: &Arc<Mailbox>) {
        let mut subscribers = self.subscribers.lock();
        if let Some(mailboxes) = subscribers.by_channel.get_mut(channel) {
            mailboxes.retain(|mailbox| !Arc::ptr_eq(mailbox, leaver));
            if mailboxes.is_empty() {
                subscribers.by_channel.remove(channel);
            }
        }
    }
}

/// One subscriber's end.
#[derive(Debug)]
pub(crate) struct Listener {
    fanout: Fanout,
    channel: Arc<str>,
    mailbox: Arc<Mailbox>,
}

#[async_trait]
impl Subscription for Listener {
    async fn next(&mut self) -> Option<Delivery> {
        Some(match self.mailbox.next().await? {
            News::Message { payload, .. } => Delivery::Message(payload),
            News::Lagged => Delivery::Lagged,
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.fanout.leave(&self.channel, &self.mailbox);
    }
}

/// A receiver's end. Its mailbox is entered at every channel that it hears.
#[derive(Debug)]
pub(crate) struct Tuner {
    fanout: Fanout,
    mailbox: Arc<Mailbox>,
    channels: Arc<Mutex<HashSet<String>>>,
}

impl Tuner {
    pub(super) fn tune(&self, channel: &str) {
        if self.channels.lock().insert(channel.to_owned()) {
            self.fanout.enter(channel, &self.mailbox);
        }
    }

    pub(super) fn untune(&self, channel: &str) {
        if self.channels.lock().remove(channel) {
            self.fanout.leave(channel, &self.mailbox);
        }
    }

    pub(super) async fn take(&self) -> Option<News> {
        self.mailbox.next().await
    }
}

#[async_trait]
impl Receiver for Tuner {
    async fn add(&self, channel: &str) -> Result<(), Error> {
        self.tune(channel);
        Ok(())
    }

    fn remove(&self, channel: &str) {
        self.untune(channel);
    }

    async fn next(&self) -> Option<News> {
        self.take().await
    }
}

impl Drop for Tuner {
    fn drop(&mut self) {
        for channel in self.channels.lock().drain() {
            self.fanout.leave(&channel, &self.mailbox);
        }
    }
}

#[derive(Debug)]
struct Mailbox {
    messages_max: usize,
    content: Mutex<Content>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Content {
    messages: VecDeque<(Arc<str>, Bytes)>,
    lagged: bool,
    closed: bool,
}

enum Taken {
    News(News),
    Empty,
    Closed,
}

impl Mailbox {
    fn new(messages_max: usize) -> Self {
        Self {
            messages_max,
            content: Mutex::default(),
            filled: Notify::new(),
        }
    }

    async fn next(&self) -> Option<News> {
        loop {
            match self.take() {
                Taken::News(news) => return Some(news),
                Taken::Closed => return None,
                // One consumer per mailbox: a `put` before this line has left its permit behind.
                Taken::Empty => self.filled.notified().await,
            }
        }
    }

    fn put(&self, channel: Arc<str>, payload: Bytes) {
        let mut content = self.content.lock();
        if content.messages.len() == self.messages_max {
            content.forget();
        }
        content.messages.push_back((channel, payload));
        self.filled.notify_one();
    }

    fn lag(&self) {
        self.content.lock().forget();
        self.filled.notify_one();
    }

    fn close(&self) {
        self.content.lock().closed = true;
        self.filled.notify_one();
    }

    fn take(&self) -> Taken {
        let mut content = self.content.lock();
        if std::mem::take(&mut content.lagged) {
            return Taken::News(News::Lagged);
        }
        match content.messages.pop_front() {
            Some((channel, payload)) => Taken::News(News::Message { channel, payload }),
            None if content.closed => Taken::Closed,
            None => Taken::Empty,
        }
    }
}

impl Content {
    /// Drops what waits: whoever has to look at the source finds it there.
    fn forget(&mut self) {
        self.messages = VecDeque::new();
        self.lagged = true;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_full_mailbox_is_emptied_and_its_owner_told_before_what_comes_next() {
        let fanout = Fanout::default();
        let mut listener = fanout.listen("c");
        for _ in 0..MAILBOX_MESSAGES_MAX {
            fanout.publish("c", &Bytes::from_static(b"old"));
        }
        fanout.publish("c", &Bytes::from_static(b"new"));
        assert_eq!(listener.next().await, Some(Delivery::Lagged));
        let next = listener.next().await;
        assert_eq!(next, Some(Delivery::Message(Bytes::from_static(b"new"))));
    }

    #[tokio::test]
    async fn the_last_listener_takes_its_channel_along() {
        let fanout = Fanout::default();
        let (first, second) = (fanout.listen("c"), fanout.listen("c"));
        drop(first);
        assert!(fanout.has("c"));
        drop(second);
        assert!(!fanout.has("c"));
    }

    #[tokio::test]
    async fn closing_ends_present_and_future_listeners_after_what_they_hold() {
        let fanout = Fanout::default();
        let mut present = fanout.listen("c");
        fanout.publish("c", &Bytes::from_static(b"last"));
        fanout.close();
        assert!(matches!(present.next().await, Some(Delivery::Message(_))));
        assert_eq!(present.next().await, None);
        assert_eq!(fanout.listen("c").next().await, None);
    }

    #[tokio::test]
    async fn a_receiver_hears_its_channels_and_no_others() {
        let fanout = Fanout::default();
        let receiver = fanout.receiver();
        for channel in ["a", "b", "a"] {
            receiver.tune(channel);
        }
        for channel in ["a", "c", "b"] {
            fanout.publish(channel, &Bytes::from_static(b"m"));
        }
        for expected in ["a", "b"] {
            let Some(News::Message { channel, .. }) = receiver.take().await else {
                panic!("a message");
            };
            assert_eq!(&*channel, expected);
        }
        receiver.untune("a");
        assert!(!fanout.has("a"));
        drop(receiver);
        assert!(!fanout.has("b"));
    }

    #[tokio::test]
    async fn next_can_be_dropped_without_losing_a_message() {
        let fanout = Fanout::default();
        let mut listener = fanout.listen("c");
        assert_eq!(listener.next().now_or_never(), None);
        fanout.publish("c", &Bytes::from_static(b"m"));
        assert!(matches!(
            listener.next().now_or_never(),
            Some(Some(Delivery::Message(_)))
        ));
    }
}
