//! spheroctl: the back end of a spheroid-image laboratory.

pub mod db;
pub mod events;
pub mod files;
pub mod http;
pub mod kit;
pub mod queue;
pub mod settings;
pub mod state;
