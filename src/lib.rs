//! spheroctl: the back end of a spheroid-image laboratory.

pub mod app;
pub mod db;
pub mod domain;
pub mod events;
pub mod files;
pub mod kit;
pub mod queue;
pub mod roles;
pub mod segment;
pub mod settings;
pub mod state;
pub mod telemetry;
pub mod worker;
