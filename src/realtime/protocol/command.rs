//! What clients send. Tokens are left out of everything that is printed.

use std::fmt;

use bytes::Bytes;
use prost::Message;
use serde::Deserialize;

/// One command: an id that its reply repeats, and one request. Without either it is a pong.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub struct Command {
    /// Chosen by the client; 0 asks for no reply.
    #[prost(uint32, tag = "1")]
    pub id: u32,
    /// Who the client is; its first command.
    #[prost(message, optional, tag = "4")]
    pub connect: Option<ConnectRequest>,
    /// Asks for a channel.
    #[prost(message, optional, tag = "5")]
    pub subscribe: Option<SubscribeRequest>,
    /// Gives a channel up.
    #[prost(message, optional, tag = "6")]
    pub unsubscribe: Option<ChannelRequest>,
    /// Publishes.
    #[prost(message, optional, tag = "7")]
    pub publish: Option<PublishRequest>,
    /// Who is subscribed.
    #[prost(message, optional, tag = "8")]
    pub presence: Option<ChannelRequest>,
    /// How many are subscribed.
    #[prost(message, optional, tag = "9")]
    pub presence_stats: Option<ChannelRequest>,
    /// What was published.
    #[prost(message, optional, tag = "10")]
    pub history: Option<HistoryRequest>,
    /// Is anybody there?
    #[prost(message, optional, tag = "11")]
    pub ping: Option<Empty>,
    /// A message to the application.
    #[prost(message, optional, tag = "12")]
    pub send: Option<Empty>,
    /// A call of the application.
    #[prost(message, optional, tag = "13")]
    pub rpc: Option<Empty>,
    /// A newer token.
    #[prost(message, optional, tag = "14")]
    pub refresh: Option<RefreshRequest>,
    /// A newer token of a subscription.
    #[prost(message, optional, tag = "15")]
    pub sub_refresh: Option<ChannelRequest>,
}

/// The request of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Who the client is.
    Connect(ConnectRequest),
    /// Asks for a channel.
    Subscribe(SubscribeRequest),
    /// Gives a channel up.
    Unsubscribe(ChannelRequest),
    /// Publishes.
    Publish(PublishRequest),
    /// Who is subscribed.
    Presence(ChannelRequest),
    /// How many are subscribed.
    PresenceStats(ChannelRequest),
    /// What was published.
    History(HistoryRequest),
    /// Is anybody there?
    Ping,
    /// A message to the application.
    Send,
    /// A call of the application.
    Rpc,
    /// A newer token.
    Refresh(RefreshRequest),
    /// A newer token of a subscription.
    SubRefresh,
}

impl Command {
    /// Whether this answers the server's ping.
    pub fn is_pong(&self) -> bool {
        *self == Self::default()
    }

    /// The first request, as the protocol has it where there are several.
    pub fn request(self) -> Option<Request> {
        let request = self.connect.map(Request::Connect);
        let request = request.or_else(|| self.subscribe.map(Request::Subscribe));
        let request = request.or_else(|| self.unsubscribe.map(Request::Unsubscribe));
        let request = request.or_else(|| self.publish.map(Request::Publish));
        let request = request.or_else(|| self.presence.map(Request::Presence));
        let request = request.or_else(|| self.presence_stats.map(Request::PresenceStats));
        let request = request.or_else(|| self.history.map(Request::History));
        let request = request.or_else(|| self.ping.map(|_| Request::Ping));
        let request = request.or_else(|| self.send.map(|_| Request::Send));
        let request = request.or_else(|| self.rpc.map(|_| Request::Rpc));
        let request = request.or_else(|| self.refresh.map(Request::Refresh));
        request.or_else(|| self.sub_refresh.map(|_| Request::SubRefresh))
    }
}

/// Who the client is.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[prost(skip_debug)]
#[serde(default)]
pub struct ConnectRequest {
    /// An API token; empty where a session's cookie says it.
    #[prost(string, tag = "1")]
    pub token: String,
    /// The client's name for itself.
    #[prost(string, tag = "4")]
    pub name: String,
    /// Its version.
    #[prost(string, tag = "5")]
    pub version: String,
}

impl fmt::Debug for ConnectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectRequest")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// A newer token.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[prost(skip_debug)]
#[serde(default)]
pub struct RefreshRequest {
    /// An API token.
    #[prost(string, tag = "1")]
    pub token: String,
}

impl fmt::Debug for RefreshRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshRequest").finish_non_exhaustive()
    }
}

/// Asks for a channel. Subscription tokens do not exist here.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub struct SubscribeRequest {
    /// Which one.
    #[prost(string, tag = "1")]
    pub channel: String,
    /// Whether what was missed since `epoch` and `offset` is wanted.
    #[prost(bool, tag = "3")]
    pub recover: bool,
    /// The history that `offset` counts in.
    #[prost(string, tag = "6")]
    pub epoch: String,
    /// The last publication that the client has.
    #[prost(uint64, tag = "7")]
    pub offset: u64,
    /// Whether joins and leaves are wanted.
    #[prost(bool, tag = "11")]
    pub join_leave: bool,
    /// Bits: 1 for numbers instead of names (not given here), 2 for an error where recovery fails.
    #[prost(int64, tag = "14")]
    pub flag: i64,
    /// The kind of subscription; only 0, a stream, exists here.
    #[prost(int32, tag = "15")]
    #[serde(rename = "type")]
    pub kind: i32,
}

impl SubscribeRequest {
    /// The bit of `flag` that asks for an error where recovery fails.
    pub const REJECT_UNRECOVERED: i64 = 2;
}

/// A request that names a channel and no more.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub struct ChannelRequest {
    /// Which one.
    #[prost(string, tag = "1")]
    pub channel: String,
}

/// Publishes.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub struct PublishRequest {
    /// Where.
    #[prost(string, tag = "1")]
    pub channel: String,
    /// What: JSON.
    #[prost(bytes = "bytes", tag = "2")]
    #[serde(with = "super::raw")]
    pub data: Bytes,
}

/// Asks for what was published.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub struct HistoryRequest {
    /// Where.
    #[prost(string, tag = "1")]
    pub channel: String,
    /// At most so many; 0 for the position alone, below 0 for all.
    #[prost(int32, tag = "7")]
    pub limit: i32,
    /// Only what came after.
    #[prost(message, optional, tag = "8")]
    pub since: Option<StreamPosition>,
    /// The latest first.
    #[prost(bool, tag = "9")]
    pub reverse: bool,
}

/// A place in a channel's history.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub struct StreamPosition {
    /// The publication's number.
    #[prost(uint64, tag = "1")]
    pub offset: u64,
    /// What it counts in.
    #[prost(string, tag = "2")]
    pub epoch: String,
}

/// A request whose content means nothing here.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub struct Empty {}
