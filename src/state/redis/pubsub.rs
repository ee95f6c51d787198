//! Channels: one connection of the process listens for all its subscribers, and hands on what comes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fred::clients::SubscriberClient;
use fred::error::Error;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::{CustomCommand, Message, Value};
use tokio::sync::RwLock;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::Redis;
use crate::state;
use crate::state::fanout::{Fanout, Listener, Tuner};
use crate::state::{News, Receiver};

/// How often the connection is looked after: a dead one is found, channels without listeners are given up.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The channels of this process. Clones share them.
#[derive(Clone)]
pub(super) struct PubSub {
    client: SubscriberClient,
    fanout: Fanout,
    /// The channels that the server is known to send. Whoever asks for one more holds the lock for reading, so that
    /// upkeep, which holds it for writing, never gives up a channel that is just being taken.
    confirmed: Arc<RwLock<HashSet<String>>>,
}

impl PubSub {
    pub(super) fn new(client: SubscriberClient) -> Self {
        Self {
            client,
            fanout: Fanout::default(),
            confirmed: Arc::default(),
        }
    }

    /// A listener to `channel` that hears all that is published after this answer.
    pub(super) async fn listen(&self, channel: &str) -> Result<Listener, Error> {
        self.confirm(channel, || self.fanout.listen(channel)).await
    }

    /// What `listen` returns, once the server is known to send the channel.
    async fn confirm<L>(&self, channel: &str, listen: impl FnOnce() -> L) -> Result<L, Error> {
        let confirmed = self.confirmed.read().await;
        let listener = listen();
        if !confirmed.contains(channel) {
            self.ask(vec![channel.to_owned()]).await?;
            drop(confirmed);
            // Between the two locks upkeep may run: it finds the listener and leaves the channel alone.
            self.confirmed.write().await.insert(channel.to_owned());
        }
        Ok(listener)
    }

    /// Hands on messages until `closing`.
    pub(super) async fn run(self, closing: CancellationToken) {
        let mut messages = self.client.message_rx();
        let mut reconnects = self.client.reconnect_rx();
        let mut upkeep = tokio::time::interval(UPKEEP_INTERVAL);
        upkeep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut missing = false;
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                message = messages.recv() => match message {
                    Ok(message) => self.hand_on(message),
                    Err(RecvError::Lagged(_)) => self.fanout.lag_all(),
                    Err(RecvError::Closed) => return,
                },
                reconnected = reconnects.recv() => match reconnected {
                    Ok(_) | Err(RecvError::Lagged(_)) => missing = !self.ask_again().await,
                    Err(RecvError::Closed) => return,
                },
                _ = upkeep.tick() => {
                    if missing {
                        missing = !self.ask_again().await;
                    }
                    self.upkeep().await;
                }
            }
        }
    }

    pub(super) fn close(&self) {
        self.fanout.close();
    }

    fn hand_on(&self, message: Message) {
        let payload = match message.value {
            Value::Bytes(bytes) => bytes,
            Value::String(text) => text.into_inner(),
            other => {
                tracing::warn!("a published message is a {:?}, not bytes", other.kind());
                return;
            }
        };
        self.fanout.publish(&message.channel, &payload);
    }

    /// Subscribes, and knows it: the client answers a subscription before it is sent, but the server answers the ping
    /// that follows it on the same connection only after it.
    async fn ask(&self, channels: Vec<String>) -> Result<(), Error> {
        self.client.subscribe(channels).await?;
        self.ping().await
    }

    /// Asks the very server of a cluster that has the subscriptions; the client chooses it by its own name.
    async fn ping(&self) -> Result<(), Error> {
        let ping = CustomCommand::new_static("PING", self.client.id(), false);
        let pong: Result<Value, Error> = self.client.custom(ping, Vec::<Value>::new()).await;
        pong.map(drop)
    }

    /// Every channel that was ever asked for and not given up, even by a caller who did not wait for the answer.
    fn asked(&self) -> Vec<String> {
        let asked = self.client.tracked_channels().into_iter();
        asked.map(|channel| channel.to_string()).collect()
    }

    /// After a new connection: asks for every channel, then tells every listener that it may have missed messages.
    /// In this order, so that what a listener finds at the source is followed by what it hears. False when it failed.
    async fn ask_again(&self) -> bool {
        // Whoever asks for a channel meanwhile must not believe what the last connection was told.
        self.confirmed.write().await.clear();
        let channels = self.asked();
        let asked = match channels.is_empty() {
            true => Ok(()),
            false => self.ask(channels.clone()).await,
        };
        match &asked {
            Ok(()) => self.confirmed.write().await.extend(channels),
            Err(error) => tracing::warn!(%error, "channels are not subscribed again yet: {error}"),
        }
        self.fanout.lag_all();
        asked.is_ok()
    }

    async fn upkeep(&self) {
        if let Err(error) = self.ping().await {
            tracing::debug!(%error, "the subscriber connection does not answer: {error}");
            return;
        }
        let mut confirmed = self.confirmed.write().await;
        let mut idle = self.asked();
        idle.retain(|channel| !self.fanout.has(channel));
        if !idle.is_empty() && self.client.unsubscribe(idle.clone()).await.is_ok() {
            for channel in &idle {
                confirmed.remove(channel);
            }
        }
    }
}

/// A receiver of many channels over the one connection.
#[derive(Debug)]
pub(super) struct Tuned {
    redis: Redis,
    tuner: Tuner,
}

impl Tuned {
    pub(super) fn new(redis: Redis) -> Self {
        let tuner = redis.shared.channels.fanout.receiver();
        Self { redis, tuner }
    }
}

#[async_trait]
impl Receiver for Tuned {
    async fn add(&self, channel: &str) -> Result<(), state::Error> {
        let channel = self.redis.key(channel);
        let channels = &self.redis.shared.channels;
        let added = channels
            .confirm(&channel, || self.tuner.tune(&channel))
            .await;
        added.map_err(|error| {
            // Nobody may believe that the channel is received.
            self.tuner.untune(&channel);
            self.redis.error(error)
        })
    }

    fn remove(&self, channel: &str) {
        self.tuner.untune(&self.redis.key(channel));
    }

    async fn next(&self) -> Option<News> {
        let news = self.tuner.take().await?;
        Some(match news {
            News::Message { channel, payload } => News::Message {
                channel: self.redis.without_prefix(&channel).into(),
                payload,
            },
            News::Lagged => News::Lagged,
        })
    }
}
