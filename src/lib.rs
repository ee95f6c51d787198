//! map
pub mod kit;
pub mod segment;
