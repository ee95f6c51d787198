//! Who in this process hears which channel. A channel is received once per process, whoever listens; every message is written
//! once per form and shared by all who receive it; nobody waits for anybody.
//!
//! Order and completeness: a connection has everything of a channel up to its position. A message that does not follow on it,
//! a receiver that lagged, and a regular look at every channel's own position lead to *repair*: what was missed is read
//! from the channel's memory, and only who cannot be helped so is told to subscribe again.

pub mod broadcast;
pub mod outbox;
mod room;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::domain::push::{ACCESS_CHANGES, Channel};
use crate::kit::id::UserId;
use crate::kit::metrics;
use crate::state::feed::{Heard, Position, Recalled};
use crate::state::{Error, News, Receiver, SharedState};

use broadcast::Broadcast;
use outbox::{Notice, Outbox};
use room::{Member, Room};

/// How often the position of every channel is compared with what was received: a publication that was lost silently on its
/// way is noticed within this.
const POSITIONS_INTERVAL: Duration = Duration::from_secs(40);

/// Channels whose memories are read at once.
const RECALLS_AT_ONCE: usize = 32;

/// The hub. Clones share it.
#[derive(Debug, Clone)]
pub struct Hub {
    state: SharedState,
    receiver: Arc<dyn Receiver>,
    places: Arc<Mutex<Places>>,
}

#[derive(Debug, Default)]
struct Places {
    rooms: HashMap<String, Room>,
    subscriptions: usize,
    /// The outboxes of everybody who is connected.
    people: HashMap<UserId, Vec<Connected>>,
}

#[derive(Debug)]
struct Connected {
    client: Arc<str>,
    outbox: Arc<Outbox>,
}

impl Hub {
    /// A hub on this state store, to be [`run`](Hub::run).
    pub fn new(state: SharedState) -> Self {
        let receiver = state.receiver();
        Self {
            state,
            receiver,
            places: Arc::default(),
        }
    }

    /// Somebody is connected.
    pub fn connect(&self, user: UserId, client: &Arc<str>, outbox: &Arc<Outbox>) {
        let mut places = self.places.lock();
        let clients = places.people.entry(user).or_default();
        clients.push(Connected {
            client: Arc::clone(client),
            outbox: Arc::clone(outbox),
        });
    }

    /// Somebody is connected no more.
    pub fn disconnect(&self, user: UserId, client: &str) {
        let mut places = self.places.lock();
        if let Some(clients) = places.people.get_mut(&user) {
            clients.retain(|connected| &*connected.client != client);
            if clients.is_empty() {
                places.people.remove(&user);
            }
        }
    }

    /// Subscribes `client` to `channel`. What is published from now on waits until it is [`answered`](Hub::answered).
    ///
    /// # Errors
    /// When the state store does not answer; the client is not subscribed.
    pub async fn join(
        &self,
        channel: Channel,
        client: &Arc<str>,
        outbox: &Arc<Outbox>,
        wants_presence: bool,
    ) -> Result<(), Error> {
        let name = channel.to_string();
        {
            let mut places = self.places.lock();
            let room = places.rooms.entry(name.clone()).or_default();
            room.enter(Member::joining(
                Arc::clone(client),
                Arc::clone(outbox),
                wants_presence,
            ));
            places.counted(1);
        }
        // Also where others are subscribed already: they may still be waiting for this very answer.
        let received = self.receiver.add(&channel.key()).await;
        received.inspect_err(|_| self.leave(channel, client))
    }

    /// The client has been told that it is subscribed and has everything up to `position`; what waited follows.
    pub fn answered(&self, channel: Channel, client: &str, position: &Position) {
        let name = channel.to_string();
        let mut places = self.places.lock();
        let room = places.rooms.get_mut(&name);
        let whole = room.is_none_or(|room| room.answered(&name, client, position));
        if !whole {
            places.counted(-1);
            metrics::ws_resubscriptions(1);
        }
        places.close_if_empty(&name, &*self.receiver);
    }

    /// Ends a subscription, if there is one.
    pub fn leave(&self, channel: Channel, client: &str) {
        let name = channel.to_string();
        let mut places = self.places.lock();
        let left = places
            .rooms
            .get_mut(&name)
            .is_some_and(|room| room.leave(client));
        if left {
            places.counted(-1);
        }
        places.close_if_empty(&name, &*self.receiver);
    }

    /// Hands messages on until `closing`.
    pub async fn run(self, closing: CancellationToken) {
        let mut positions = tokio::time::interval(POSITIONS_INTERVAL);
        positions.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        positions.reset();
        let mut hears_access = false;
        loop {
            if !hears_access {
                hears_access = self.receiver.add(ACCESS_CHANGES).await.is_ok();
            }
            tokio::select! {
                () = closing.cancelled() => return,
                news = self.receiver.next() => match news {
                    Some(News::Message { channel, payload }) => self.hand_on(&channel, payload).await,
                    Some(News::Lagged) => {
                        self.lagged();
                        self.repair_all().await;
                    }
                    None => return,
                },
                _ = positions.tick() => self.repair_all().await,
            }
        }
    }

    async fn hand_on(&self, key: &str, message: Bytes) {
        if key == ACCESS_CHANGES {
            return self.access_changed(&message);
        }
        let Some(name) = Channel::name_of_key(key) else {
            return;
        };
        let heard = Heard::read(&message).inspect_err(
            |error| tracing::warn!(%error, "a message on {name} is not understood: {error}"),
        );
        let Some(broadcast) = heard
            .ok()
            .and_then(|heard| Broadcast::of_heard(name, heard))
        else {
            return;
        };
        let broadcast = Arc::new(broadcast);
        let sent = match self.places.lock().rooms.get_mut(name) {
            Some(room) => room.send(&broadcast),
            None => return,
        };
        metrics::ws_messages_out(sent.connections);
        if sent.gap {
            self.repair(name).await;
        }
    }

    fn access_changed(&self, user: &[u8]) {
        let user = std::str::from_utf8(user)
            .ok()
            .and_then(|user| user.parse().ok());
        let places = self.places.lock();
        let clients = user.and_then(|user: UserId| places.people.get(&user));
        for connected in clients.into_iter().flatten() {
            connected.outbox.notify(Notice::AccessChanged);
        }
    }

    fn lagged(&self) {
        let mut places = self.places.lock();
        for room in places.rooms.values_mut() {
            room.lagged();
        }
        for connected in places.people.values().flatten() {
            connected.outbox.notify(Notice::AccessChanged);
        }
    }

    /// Looks at every channel, and hands over what was missed.
    async fn repair_all(&self) {
        let names: Vec<String> = self.places.lock().rooms.keys().cloned().collect();
        let repairs = stream::iter(names).map(async |name| self.repair(&name).await);
        repairs
            .buffer_unordered(RECALLS_AT_ONCE)
            .collect::<()>()
            .await;
    }

    async fn repair(&self, name: &str) {
        let behind = self.places.lock().rooms.get(name).and_then(Room::behind);
        let (Some(behind), Ok(channel)) = (behind, name.parse::<Channel>()) else {
            return;
        };
        let recalled = match self.state.recall(&channel.key(), behind).await {
            Ok(recalled) => recalled,
            // The next look repairs it.
            Err(error) => return tracing::debug!(%error, "{name} is not compared: {error}"),
        };
        let missed = broadcasts(name, &recalled);
        let mut places = self.places.lock();
        let ended = match places.rooms.get_mut(name) {
            Some(room) => room.repair(name, &recalled, &missed),
            None => 0,
        };
        places.counted(-isize::try_from(ended).unwrap_or(0));
        places.close_if_empty(name, &*self.receiver);
        metrics::ws_resubscriptions(ended);
    }
}

impl Places {
    fn counted(&mut self, change: isize) {
        self.subscriptions = self.subscriptions.saturating_add_signed(change);
        metrics::ws_subscriptions(self.subscriptions);
    }

    /// Gives up a channel that nobody hears. Under the lock, so that nobody enters in between.
    fn close_if_empty(&mut self, name: &str, receiver: &dyn Receiver) {
        if self.rooms.get(name).is_some_and(Room::is_empty) {
            self.rooms.remove(name);
            if let Ok(channel) = name.parse::<Channel>() {
                receiver.remove(&channel.key());
            }
        }
    }
}

fn broadcasts(name: &str, recalled: &Recalled) -> Vec<Arc<Broadcast>> {
    let heard = recalled.entries.iter().map(|entry| Heard {
        position: Some(Position {
            offset: entry.offset,
            epoch: recalled.position.epoch.clone(),
        }),
        payload: entry.payload.clone(),
    });
    let broadcasts = heard.filter_map(|heard| Broadcast::of_heard(name, heard));
    broadcasts.map(Arc::new).collect()
}
