//! Consumer groups: what reads the log and does something with each event, once.

mod handler;

pub use handler::{Handler, HandlerError};
