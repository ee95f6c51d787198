//! What can go wrong between a fact and its record.

use super::log;
use crate::db::{self, Transient};

/// A failure of the event backbone.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The payload is larger than the outbox takes; refused in the transaction of the change.
    #[error("the payload of {kind} {id} has {bytes} bytes; at most {max} are allowed")]
    TooLarge {
        /// Type of the event.
        kind: &'static str,
        /// Its id.
        id: String,
        /// Size of its payload.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A record lacks a header that every event has.
    #[error("header {0:?} is missing")]
    MissingHeader(&'static str),
    /// A header does not hold what it must.
    #[error("header {header:?} is {value:?}: {why}")]
    BadHeader {
        /// Name of the header.
        header: &'static str,
        /// What it holds.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// A type that this version does not know; a newer version wrote it.
    #[error("event type {0:?} is not known to this version")]
    UnknownType(String),
    /// The payload is not what its type says.
    #[error("the payload of {kind:?} cannot be read: {source}")]
    Payload {
        /// Type of the event.
        kind: String,
        /// What the decoder found.
        source: serde_json::Error,
    },
    /// The event log failed.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] db::Error),
}

impl Transient for Error {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Db(error) if error.is_transient())
    }
}
