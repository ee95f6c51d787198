//! The event backbone: facts leave the database through the outbox and are read from the log by consumer groups.

pub mod log;
