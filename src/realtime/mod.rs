//! The realtime gateway: WebSockets of the Centrifugo client protocol, so that its published clients work as they are.
//!
//! * [`frame`]: RFC 6455, and [`protocol`] on it: bytes to commands, replies to bytes;
//! * [`connection`]: what one client may do when, without socket or store;
//! * [`rules`]: who is let in, who may hear and say what;
//! * [`hub`]: who in this process hears which channel;
//! * [`gateway`]: the handshake and the task of every connection, which puts these together.
//!
//! Absent on purpose: sticky sessions (a client comes back to any instance and recovers from the channel's memory), and
//! publishing by the product, which is `domain/push`.

mod budget;
pub mod connection;
pub mod frame;
pub mod gateway;
pub mod hub;
pub mod protocol;
pub mod rules;

pub use gateway::{Gateway, Handles, Limits};

/// Where clients connect.
pub const WEBSOCKET_PATH: &str = "/connection/websocket";
