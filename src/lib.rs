//! spheroctl: the back end of a spheroid-image laboratory.

pub mod db;
pub mod domain;
pub mod events;
pub mod files;
pub mod kit;
pub mod queue;
pub mod segment;
pub mod settings;
pub mod state;
