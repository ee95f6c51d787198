//! Hands published messages to the subscribers inside this process. Every subscriber has a mailbox of its own with a
//! bound: whoever does not empty it loses its content and is told so, and nobody waits for anybody.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Delivery, Subscription};

/// Messages that wait for one subscriber before it is told that it lagged. They share their bytes with all other
/// subscribers, so the bound is on time lost in catching up rather than on memory.
pub const MAILBOX_MESSAGES_MAX: usize = 1_024;

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
        let mailbox = Arc::new(Mailbox::default());
        let channel: Arc<str> = channel.into();
        let mut subscribers = self.subscribers.lock();
        if subscribers.closed {
            mailbox.close();
        } else {
            subscribers
                .by_channel
                .entry(Arc::clone(&channel))
                .or_default()
                .push(Arc::clone(&mailbox));
        }
        Listener {
            fanout: self.clone(),
            channel,
            mailbox,
        }
    }

    /// Puts `payload` into the mailbox of every subscriber of `channel`.
    pub(super) fn publish(&self, channel: &str, payload: &Bytes) {
        if let Some(mailboxes) = self.subscribers.lock().by_channel.get(channel) {
            for mailbox in mailboxes {
                mailbox.put(payload.clone());
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
        loop {
            match self.mailbox.take() {
                Taken::Delivery(delivery) => return Some(delivery),
                Taken::Closed => return None,
                // One consumer per mailbox: a `put` before this line has left its permit behind.
                Taken::Empty => self.mailbox.filled.notified().await,
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.fanout.leave(&self.channel, &self.mailbox);
    }
}

#[derive(Debug, Default)]
struct Mailbox {
    content: Mutex<Content>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Content {
    messages: VecDeque<Bytes>,
    lagged: bool,
    closed: bool,
}

enum Taken {
    Delivery(Delivery),
    Empty,
    Closed,
}

impl Mailbox {
    fn put(&self, payload: Bytes) {
        let mut content = self.content.lock();
        if content.messages.len() == MAILBOX_MESSAGES_MAX {
            content.forget();
        }
        content.messages.push_back(payload);
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
            return Taken::Delivery(Delivery::Lagged);
        }
        match content.messages.pop_front() {
            Some(payload) => Taken::Delivery(Delivery::Message(payload)),
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
