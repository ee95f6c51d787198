//! The Centrifugo client protocol, version 2: what clients send ([`Command`]), what they are sent ([`Reply`]), in both of
//! its forms ([`Codec`]), and what its numbers mean (`codes`). Names and tags are the protocol's; only what this gateway
//! answers is listed, and unknown fields are passed over, as the protocol wants.

pub mod codec;
pub mod codes;
mod command;
mod raw;
mod reply;

pub use codec::{Codec, Malformed};
pub use codes::{Disconnect, Failure, Unsubscribed};
pub use command::{
    ChannelRequest, Command, ConnectRequest, Empty, HistoryRequest, PublishRequest, RefreshRequest,
    Request, StreamPosition, SubscribeRequest,
};
pub use reply::{
    ClientInfo, ConnectResult, Error, HistoryResult, PresenceResult, PresenceStatsResult,
    Publication, Push, RefreshResult, Reply, SubscribeResult, Unsubscribe, Watched,
};
