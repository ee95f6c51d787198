//! One message of a channel on its way to many connections: written once in each form, whoever receives it.

use std::sync::OnceLock;

use bytes::Bytes;

use super::super::protocol::{ClientInfo, Codec, Publication, Push, Reply, Watched};
use crate::domain::push::{Author, Told};
use crate::state::feed::{Entry, Heard, Position};

/// A message of one channel.
#[derive(Debug)]
pub struct Broadcast {
    /// Where it stands in the channel's history, if it is kept.
    pub position: Option<Position>,
    /// Whether it tells who came or left.
    pub is_presence: bool,
    reply: Reply,
    json: OnceLock<Option<Bytes>>,
    protobuf: OnceLock<Option<Bytes>>,
}

impl Broadcast {
    /// What was heard on `channel`; `None` for what this version cannot read.
    pub fn of_heard(channel: &str, heard: Heard) -> Option<Self> {
        let told = Told::read(&heard.payload)
            .inspect_err(|error| tracing::warn!(%error, channel, "a message on {channel} is not understood: {error}"))
            .ok()?;
        let is_presence = !matches!(told, Told::Said { .. });
        let offset = heard
            .position
            .as_ref()
            .map_or(0, |position| position.offset);
        Some(Self {
            position: heard.position,
            is_presence,
            reply: Reply::pushed(channel, |push| fill(push, told, offset)),
            json: OnceLock::new(),
            protobuf: OnceLock::new(),
        })
    }

    /// The message as a frame of this form; `None` where it cannot be written so.
    pub fn frame(&self, codec: Codec) -> Option<Bytes> {
        let place = match codec {
            Codec::Json => &self.json,
            Codec::Protobuf => &self.protobuf,
        };
        let write = || {
            codec
                .frame(&self.reply)
                .inspect_err(|error| tracing::warn!(%error, "a message cannot be written: {error}"))
                .ok()
        };
        place.get_or_init(write).clone()
    }
}

fn fill(push: &mut Push, told: Told, offset: u64) {
    match told {
        Told::Said { data, by } => push.publication = Some(publication_of(&data, by, offset)),
        Told::Joined(author) => push.join = Some(watched(author)),
        Told::Left(author) => push.leave = Some(watched(author)),
    }
}

/// What a history keeps, as clients are sent it; `None` for what this version cannot read.
pub fn publication(entry: &Entry) -> Option<Publication> {
    match Told::read(&entry.payload) {
        Ok(Told::Said { data, by }) => Some(publication_of(&data, by, entry.offset)),
        Ok(Told::Joined(_) | Told::Left(_)) | Err(_) => None,
    }
}

fn publication_of(
    data: &serde_json::value::RawValue,
    by: Option<Author>,
    offset: u64,
) -> Publication {
    Publication {
        data: Bytes::copy_from_slice(data.get().as_bytes()),
        info: by.map(client_info),
        offset,
    }
}

fn watched(author: Author) -> Watched {
    Watched {
        info: Some(client_info(author)),
    }
}

/// A client as the protocol names it.
pub fn client_info(author: Author) -> ClientInfo {
    ClientInfo {
        user: author.user.to_string(),
        client: author.client,
    }
}
