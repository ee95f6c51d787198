//! Channels with a memory inside this process: the twin of the scripts `feed_post.lua` and `feed_recall.lua`.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};

use super::end;
use crate::state::feed::{Entry, NUMBERING_LIFETIME, Position, Post, Posted, Recalled, new_epoch};

/// The channels by name.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    channels: HashMap<String, Channel>,
}

#[derive(Debug)]
struct Channel {
    position: Position,
    /// When the numbering is forgotten.
    ends_at: DateTime<Utc>,
    kept: VecDeque<Kept>,
}

#[derive(Debug)]
struct Kept {
    entry: Entry,
    event: Option<String>,
    ends_at: DateTime<Utc>,
}

impl Feeds {
    pub(super) fn post(&mut self, post: &Post<'_>, now: DateTime<Utc>) -> Posted {
        let channel = self.channel(post.channel, now);
        let known = post.event.and_then(|event| channel.offset_of(event));
        if let Some(offset) = known {
            let epoch = channel.position.epoch.clone();
            return Posted {
                position: Position { offset, epoch },
                is_new: false,
            };
        }
        while channel.kept.len() >= post.keep.messages_max.max(1) {
            channel.kept.pop_front();
        }
        channel.position.offset += 1;
        channel.kept.push_back(Kept {
            entry: Entry {
                offset: channel.position.offset,
                payload: post.payload.clone(),
            },
            event: post.event.map(str::to_owned),
            ends_at: end(now, post.keep.lifetime),
        });
        Posted {
            position: channel.position.clone(),
            is_new: true,
        }
    }

    pub(super) fn recall(&mut self, channel: &str, after: u64, now: DateTime<Utc>) -> Recalled {
        let channel = self.channel(channel, now);
        let entries = channel.kept.iter().map(|kept| &kept.entry);
        Recalled {
            position: channel.position.clone(),
            entries: entries
                .filter(|entry| entry.offset > after)
                .cloned()
                .collect(),
        }
    }

    /// Forgets what has ended; says when to look again, `None` where nothing is left.
    pub(super) fn sweep(&mut self, name: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let channel = self.channels.get_mut(name)?;
        if channel.ends_at <= now {
            self.channels.remove(name);
            return None;
        }
        channel.forget_ended(now);
        let next = channel.kept.front().map(|kept| kept.ends_at);
        Some(next.unwrap_or(channel.ends_at).min(channel.ends_at))
    }

    /// The channel as it stands now; a new one where there was none. Its numbering lives on.
    fn channel(&mut self, name: &str, now: DateTime<Utc>) -> &mut Channel {
        let channel = self.channels.entry(name.to_owned());
        let channel = channel.or_insert_with(|| Channel::new(now));
        if channel.ends_at <= now {
            *channel = Channel::new(now);
        }
        channel.ends_at = end(now, NUMBERING_LIFETIME);
        channel.forget_ended(now);
        channel
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }
}

impl Channel {
    fn new(now: DateTime<Utc>) -> Self {
        Self {
            position: Position {
                offset: 0,
                epoch: new_epoch(),
            },
            ends_at: end(now, NUMBERING_LIFETIME),
            kept: VecDeque::new(),
        }
    }

    fn offset_of(&self, event: &str) -> Option<u64> {
        let found = self
            .kept
            .iter()
            .find(|kept| kept.event.as_deref() == Some(event));
        found.map(|kept| kept.entry.offset)
    }

    fn forget_ended(&mut self, now: DateTime<Utc>) {
        while self.kept.front().is_some_and(|kept| kept.ends_at <= now) {
            self.kept.pop_front();
        }
    }
}
