//! What clients are sent.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message;
use serde::Serialize;

use super::codes::{Failure, Unsubscribed};

/// The answer to one command, or a push. Without content it is the server's ping.
#[derive(Clone, PartialEq, Message, Serialize)]
pub struct Reply {
    /// The command's; 0 for pushes.
    #[prost(uint32, tag = "1")]
    #[serde(skip_serializing_if = "is_default")]
    pub id: u32,
    /// Why the command failed.
    #[prost(message, optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
    /// What nobody asked for.
    #[prost(message, optional, tag = "4")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub push: Option<Push>,
    /// The client is known.
    #[prost(message, optional, tag = "5")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<ConnectResult>,
    /// The channel is subscribed.
    #[prost(message, optional, tag = "6")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscribe: Option<SubscribeResult>,
    /// The channel is given up.
    #[prost(message, optional, tag = "7")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsubscribe: Option<Done>,
    /// It is published.
    #[prost(message, optional, tag = "8")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<Done>,
    /// Who is subscribed.
    #[prost(message, optional, tag = "9")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence: Option<PresenceResult>,
    /// How many are subscribed.
    #[prost(message, optional, tag = "10")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_stats: Option<PresenceStatsResult>,
    /// What was published.
    #[prost(message, optional, tag = "11")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryResult>,
    /// Somebody is there.
    #[prost(message, optional, tag = "12")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ping: Option<Done>,
    /// The newer token is taken.
    #[prost(message, optional, tag = "14")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh: Option<RefreshResult>,
}

impl Reply {
    /// The reply to command `id` that says why it failed.
    pub fn failed(id: u32, failure: Failure) -> Self {
        Self {
            id,
            error: Some(failure.into()),
            ..Self::default()
        }
    }

    /// What nobody asked for on `channel`.
    pub fn pushed(channel: &str, content: impl FnOnce(&mut Push)) -> Self {
        let mut push = Push {
            channel: channel.to_owned(),
            ..Push::default()
        };
        content(&mut push);
        Self {
            push: Some(push),
            ..Self::default()
        }
    }

    /// Tells that `channel` is no longer subscribed.
    pub fn unsubscribed(channel: &str, why: Unsubscribed) -> Self {
        Self::pushed(channel, |push| push.unsubscribe = Some(why.into()))
    }
}

/// Why a command failed.
#[derive(Clone, PartialEq, Message, Serialize)]
pub struct Error {
    /// See [`Failure`].
    #[prost(uint32, tag = "1")]
    pub code: u32,
    /// The same in words.
    #[prost(string, tag = "2")]
    pub message: String,
    /// Whether the same command may succeed later.
    #[prost(bool, tag = "3")]
    #[serde(skip_serializing_if = "is_default")]
    pub temporary: bool,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self {
            code: failure.code(),
            message: failure.message().to_owned(),
            temporary: failure.is_temporary(),
        }
    }
}

/// The result of a command that has nothing more to say.
#[derive(Clone, PartialEq, Message, Serialize)]
pub struct Done {}

/// What nobody asked for.
#[derive(Clone, PartialEq, Message, Serialize)]
pub struct Push {
    /// Where it happened.
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "is_default")]
    pub channel: String,
    /// Something was published.
    #[prost(message, optional, tag = "4")]
    #[serde(rename = "pub", skip_serializing_if = "Option::is_none")]
    pub publication: Option<Publication>,
    /// Somebody subscribed.
    #[prost(message, optional, tag = "5")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<Watched>,
    /// Somebody left.
    #[prost(message, optional, tag = "6")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leave: Option<Watched>,
    /// The channel is no longer subscribed.
    #[prost(message, optional, tag = "7")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsubscribe: Option<Unsubscribe>,
}

/// Something published.
#[derive(Clone, PartialEq, Message, Serialize)]
pub struct Publication {
    /// What: JSON.
    #[prost(bytes = "bytes", tag = "4")]
    #[serde(with = "super::raw")]
    pub data: Bytes,
    /// The client that published it; none where the product did.
    #[prost(message, optional, tag = "5")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<ClientInfo>,
    /// Its number in the channel's history; 0 where it is not kept.
    #[prost(uint64, tag = "6")]
    #[serde(skip_serializing_if = "is_default")]
    pub offset: u64,
}

/// A client.
#[derive(Clone, PartialEq, Message, Serialize)]
pub struct ClientInfo {
    /// Whose it is.
    #[prost(string, tag = "1")]
    pub user: String,
    /// Its own name, given at the connection.
    #[prost(string, tag = "2")]
    pub client: String,
}

/// Somebody who came or left.
#[derive(Clone, PartialEq, Message, Serialize)]
pub struct Watched {
    /// Who.
    #[prost(message, optional, tag = "1")]
    pub info: Option<ClientInfo>,
}

/// The end of a subscription.
#[derive(Clone, PartialEq, Message, Serialize)]
pub struct Unsubscribe {
    /// See [`Unsubscribed`].
    #[prost(uint32, tag = "2")]
    pub code: u32,
    /// The same in words.
    #[prost(string, tag = "3")]
    pub reason: String,
}

impl From<Unsubscribed> for Unsubscribe {
    fn from(why: Unsubscribed) -> Self {
        Self {
            code: why.code(),
            reason: why.reason().to_owned(),
        }
    }
}

/// The client is known.
#[derive(Clone, PartialEq, Message, Serialize)]
pub struct ConnectResult {
    /// The name of this connection.
    #[prost(string, tag = "1")]
    pub client: String,
    /// The server's version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// What the application says: who is signed in.
    #[prost(bytes = "bytes", tag = "5")]
    #[serde(with = "super::raw")]
    pub data: Bytes,
    /// Seconds between two pings of the server.
    #[prost(uint32, tag = "7")]
    pub ping: u32,
    /// Whether they must be answered.
    #[prost(bool, tag = "8")]
    pub pong: bool,
    /// The instance that holds the connection.
    #[prost(string, tag = "10")]
    pub node: String,
}

/// The channel is subscribed.
#[derive(Clone, PartialEq, Message, Serialize)]
pub struct SubscribeResult {
    /// Whether what is missed can be had later.
    #[prost(bool, tag = "3")]
    #[serde(skip_serializing_if = "is_default")]
    pub recoverable: bool,
    /// What offsets count in.
    #[prost(string, tag = "6")]
    #[serde(skip_serializing_if = "is_default")]
    pub epoch: String,
    /// What was missed.
    #[prost(message, repeated, tag = "7")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub publications: Vec<Publication>,
    /// Whether nothing is missing.
    #[prost(bool, tag = "8")]
    #[serde(skip_serializing_if = "is_default")]
    pub recovered: bool,
    /// The number of the latest publication.
    #[prost(uint64, tag = "9")]
    #[serde(skip_serializing_if = "is_default")]
    pub offset: u64,
    /// Whether a gap is told.
    #[prost(bool, tag = "10")]
    #[serde(skip_serializing_if = "is_default")]
    pub positioned: bool,
    /// Whether recovery was asked for.
    #[prost(bool, tag = "12")]
    #[serde(skip_serializing_if = "is_default")]
    pub was_recovering: bool,
}

/// Who is subscribed.
#[derive(Clone, PartialEq, Message, Serialize)]
pub struct PresenceResult {
    /// By the name of the connection.
    #[prost(map = "string, message", tag = "1")]
    pub presence: HashMap<String, ClientInfo>,
}

/// How many are subscribed.
#[derive(Clone, PartialEq, Message, Serialize)]
pub struct PresenceStatsResult {
    /// Connections.
    #[prost(uint32, tag = "1")]
    pub num_clients: u32,
    /// People.
    #[prost(uint32, tag = "2")]
    pub num_users: u32,
}

/// What was published.
#[derive(Clone, PartialEq, Message, Serialize)]
pub struct HistoryResult {
    /// The publications.
    #[prost(message, repeated, tag = "1")]
    pub publications: Vec<Publication>,
    /// What offsets count in.
    #[prost(string, tag = "2")]
    pub epoch: String,
    /// The number of the latest publication.
    #[prost(uint64, tag = "3")]
    pub offset: u64,
}

/// The newer token is taken.
#[derive(Clone, PartialEq, Message, Serialize)]
pub struct RefreshResult {
    /// The name of this connection.
    #[prost(string, tag = "1")]
    pub client: String,
    /// The server's version.
    #[prost(string, tag = "2")]
    pub version: String,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
