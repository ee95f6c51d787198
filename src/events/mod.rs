//! The event backbone: facts leave the database through the outbox and are read from the log by consumer groups.
//!
//! A fact's way: a domain operation [`outbox::stage`]s an [`Event`] in its own transaction; the [`relay`] appends it to
//! the [`log`] and deletes the row; a consumer [`group`] reads the record, decodes it with [`Event::from_record`] and has
//! its handler make the effect once, as the [`inbox`] sees to; what cannot be handled goes to the [`dead_letters`].

pub mod dead_letters;
pub mod envelope;
mod error;
pub mod group;
pub mod inbox;
pub mod log;
pub mod outbox;
pub mod partition;
pub mod relay;
pub mod topics;
pub mod types;

pub use envelope::{Envelope, Event};
pub use error::Error;
pub use types::Fact;
