//! spheroctl: the back end of a spheroid-image laboratory.

pub mod db;
pub mod events;
pub mod kit;
pub mod queue;
pub mod settings;
pub mod state;
