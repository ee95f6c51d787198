//! spheroctl: the back end of a spheroid-image laboratory.

pub mod cli;
pub mod db;
pub mod events;
pub mod kit;
pub mod queue;
pub mod roles;
pub mod settings;
pub mod state;
pub mod telemetry;
