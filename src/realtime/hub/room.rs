//! The connections of this process that are subscribed to one channel, and what each of them has been sent.

use std::sync::Arc;

use super::super::protocol::{Reply, Unsubscribed};
use super::broadcast::Broadcast;
use super::outbox::{Notice, Outbox};
use crate::state::feed::{Position, Recalled};

/// Messages that wait for a client while it is being subscribed.
const WAITING_MAX: usize = 256;

/// One channel's connections.
#[derive(Debug, Default)]
pub(super) struct Room {
    members: Vec<Member>,
}

/// One connection's end of a subscription.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) client: Arc<str>,
    pub(super) outbox: Arc<Outbox>,
    /// Whether it wants to know who comes and leaves.
    pub(super) wants_presence: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// It is not answered yet: what comes waits. `None` when that was too much, or something was missed.
    Joining(Option<Vec<Arc<Broadcast>>>),
    /// It has everything up to here.
    Live(Position),
}

/// What a message did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    /// To so many connections.
    pub(super) connections: usize,
    /// Somebody lacks one before it.
    pub(super) gap: bool,
}

impl Member {
    pub(super) fn joining(client: Arc<str>, outbox: Arc<Outbox>, wants_presence: bool) -> Self {
        Self {
            client,
            outbox,
            wants_presence,
            stage: Stage::Joining(Some(Vec::new())),
        }
    }

    /// Hands a message over; false where one before it is missing.
    fn take(&mut self, message: &Arc<Broadcast>, sent: &mut Sent) -> bool {
        if message.is_presence && !self.wants_presence {
            return true;
        }
        let at = match &mut self.stage {
            Stage::Joining(waiting) => {
                let room = waiting.as_ref().is_some_and(|all| all.len() < WAITING_MAX);
                match waiting {
                    Some(all) if room => all.push(Arc::clone(message)),
                    _ => *waiting = None,
                }
                return true;
            }
            Stage::Live(at) => at,
        };
        if let Some(position) = &message.position {
            if position.epoch != at.epoch || position.offset > at.offset + 1 {
                return false;
            }
            if position.offset <= at.offset {
                return true;
            }
            at.offset = position.offset;
        }
        if let Some(frame) = message.frame(self.outbox.codec()) {
            self.outbox.put(frame);
            sent.connections += 1;
        }
        true
    }

    /// Whether the member lacks something that the channel has forgotten; `None` for one who is not live.
    fn lacks_for_good(&self, recalled: &Recalled) -> Option<bool> {
        let Stage::Live(at) = &self.stage else {
            return None;
        };
        let kept = recalled
            .entries
            .iter()
            .filter(|entry| entry.offset > at.offset);
        // Who was answered after the memory was read is further already.
        let missed = recalled.position.offset.saturating_sub(at.offset);
        Some(at.epoch != recalled.position.epoch || missed != kept.count() as u64)
    }

    /// Ends the subscription, so that the client subscribes again and recovers what it can.
    fn end(&self, channel: &str) {
        let reply = Reply::unsubscribed(channel, Unsubscribed::InsufficientState);
        if let Ok(frame) = self.outbox.codec().frame(&reply) {
            self.outbox.put(frame);
        }
        self.outbox.notify(Notice::Unsubscribed(channel.to_owned()));
    }
}

impl Room {
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn enter(&mut self, member: Member) {
        self.members.push(member);
    }

    /// False where the client was not there.
    pub(super) fn leave(&mut self, client: &str) -> bool {
        let before = self.members.len();
        self.members.retain(|member| &*member.client != client);
        self.members.len() < before
    }

    /// The client has been answered, and has everything up to `position`. False when it missed something meanwhile, and its
    /// subscription has ended again.
    pub(super) fn answered(&mut self, channel: &str, client: &str, position: &Position) -> bool {
        let place = self
            .members
            .iter()
            .position(|member| &*member.client == client);
        let Some(place) = place else {
            return true;
        };
        let member = &mut self.members[place];
        let live = Stage::Live(position.clone());
        let Stage::Joining(waiting) = std::mem::replace(&mut member.stage, live) else {
            return true;
        };
        let whole = waiting.is_some_and(|waiting| {
            let mut sent = Sent::default();
            waiting
                .iter()
                .all(|message| member.take(message, &mut sent))
        });
        if !whole {
            self.members.swap_remove(place).end(channel);
        }
        whole
    }

    /// Hands a message to everybody.
    pub(super) fn send(&mut self, message: &Arc<Broadcast>) -> Sent {
        let mut sent = Sent::default();
        for member in &mut self.members {
            let whole = member.take(message, &mut sent);
            sent.gap |= !whole;
        }
        sent
    }

    /// Whoever is being subscribed may have missed something.
    pub(super) fn lagged(&mut self) {
        for member in &mut self.members {
            if let Stage::Joining(waiting) = &mut member.stage {
                *waiting = None;
            }
        }
    }

    /// The least offset that a member has; `None` where nobody is live.
    pub(super) fn behind(&self) -> Option<u64> {
        let offsets = self
            .members
            .iter()
            .filter_map(|member| match &member.stage {
                Stage::Live(at) => Some(at.offset),
                Stage::Joining(_) => None,
            });
        offsets.min()
    }

    /// Hands over what was missed, where the channel remembers it; ends the subscriptions of the others. Says how many
    /// those were.
    pub(super) fn repair(
        &mut self,
        channel: &str,
        recalled: &Recalled,
        missed: &[Arc<Broadcast>],
    ) -> usize {
        let before = self.members.len();
        self.members
            .retain_mut(|member| match member.lacks_for_good(recalled) {
                None => true,
                Some(true) => {
                    member.end(channel);
                    false
                }
                Some(false) => {
                    let mut sent = Sent::default();
                    missed.iter().all(|message| member.take(message, &mut sent))
                }
            });
        before - self.members.len()
    }
}
