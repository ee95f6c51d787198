//! Channels with a memory: what was published lately is kept with its number, so that whoever was away for a moment gets what
//! they missed, or is told that they cannot.
//!
//! * *offset*: the number of a publication in its channel, from 1 on without gaps.
//! * *epoch*: what offsets count in. A store that forgot a channel counts in a new one.
//!
//! What subscribers of the channel hear is a [`Heard`]: the position and the payload.

use std::time::Duration;

use bytes::Bytes;

use super::Error;

/// A channel whose numbering has not been used for this long is counted anew, in another epoch.
pub const NUMBERING_LIFETIME: Duration = Duration::from_secs(24 * 3_600);

/// How much of a channel is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// At most so many publications, the latest; at least 1.
    pub messages_max: usize,
    /// None for longer than this.
    pub lifetime: Duration,
}

/// Something to be published and kept.
#[derive(Debug, Clone)]
pub struct Post<'p> {
    /// Where.
    pub channel: &'p str,
    /// What.
    pub payload: Bytes,
    /// What it tells of: as long as a publication of it is kept, another changes nothing.
    pub event: Option<&'p str>,
    /// How much of the channel is kept.
    pub keep: Keep,
}

/// A place in a channel's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The publication's number; 0 before the first.
    pub offset: u64,
    /// What it counts in.
    pub epoch: String,
}

/// A publication that was numbered, or found to be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// Where it stands.
    pub position: Position,
    /// False where the history held this event already: nobody was told again.
    pub is_new: bool,
}

/// One publication of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub offset: u64,
    /// What was published.
    pub payload: Bytes,
}

/// What a channel remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recalled {
    /// Where the latest publication stands, kept or not.
    pub position: Position,
    /// The publications that are kept, after the offset that was asked for, in order.
    pub entries: Vec<Entry>,
}

impl Recalled {
    /// Whether the entries are all that came after `since`: nothing in between was forgotten.
    pub fn continues(&self, since: &Position) -> bool {
        let missed = self.position.offset.checked_sub(since.offset);
        self.position.epoch == since.epoch && missed == Some(self.entries.len() as u64)
    }
}

/// What a subscriber of the channel hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Where it stands; `None` for what is not kept.
    pub position: Option<Position>,
    /// What was published.
    pub payload: Bytes,
}

/// What a message that is not kept begins with.
const NOT_KEPT: &[u8] = b"0::";

impl Heard {
    /// The message that tells of `payload` without its being kept.
    pub fn not_kept(payload: &[u8]) -> Bytes {
        [NOT_KEPT, payload].concat().into()
    }

    /// The message that tells of `payload` at `position`; `offset:epoch:payload`, as the script writes it too.
    pub(super) fn kept(position: &Position, payload: &[u8]) -> Bytes {
        let head = format!("{}:{}:", position.offset, position.epoch);
        [head.as_bytes(), payload].concat().into()
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`Error::Unexpected`] where it is none of a channel with a memory.
    pub fn read(message: &Bytes) -> Result<Self, Error> {
        let mut parts = message.splitn(3, |byte| *byte == b':');
        let mut text = || parts.next().and_then(|part| std::str::from_utf8(part).ok());
        let offset: Option<u64> = text().and_then(|offset| offset.parse().ok());
        let (Some(offset), Some(epoch), Some(payload)) = (offset, text(), parts.next()) else {
            return Err(Error::Unexpected("a message without its place".to_owned()));
        };
        let position = Position {
            offset,
            epoch: epoch.to_owned(),
        };
        Ok(Self {
            position: (offset > 0).then_some(position),
            payload: message.slice_ref(payload),
        })
    }
}

/// A name for an epoch: no other has it.
pub(super) fn new_epoch() -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    random[..8].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(offset: u64) -> Position {
        Position {
            offset,
            epoch: "e".to_owned(),
        }
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let payload = Bytes::from_static(b"a:b:\xff");
        let kept = Heard::read(&Heard::kept(&position(7), &payload)).unwrap();
        assert_eq!(kept.position, Some(position(7)));
        assert_eq!(kept.payload, payload);
        let passing = Heard::read(&Heard::not_kept(&payload)).unwrap();
        assert_eq!((passing.position, passing.payload), (None, payload));
        for foreign in ["", "{}", "7:e", "x:e:"] {
            assert!(Heard::read(&Bytes::from_static(foreign.as_bytes())).is_err());
        }
    }

    #[test]
    fn a_history_continues_only_without_a_gap() {
        let entry = |offset| Entry {
            offset,
            payload: Bytes::new(),
        };
        let recalled = Recalled {
            position: position(5),
            entries: vec![entry(4), entry(5)],
        };
        assert!(recalled.continues(&position(3)));
        assert!(!recalled.continues(&position(2)));
        assert!(!recalled.continues(&position(6)));
        let elsewhere = Position {
            epoch: "other".to_owned(),
            ..position(3)
        };
        assert!(!recalled.continues(&elsewhere));
    }
}
