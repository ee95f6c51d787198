//! What the product is about, noun by noun: rules in each `mod.rs`, statements in each `store.rs`. Nothing here knows
//! a status code or a socket. Slices meet through their `mod.rs`, never through another's store.

pub mod access;
pub mod activity;
pub mod backbone;
mod error;
pub mod files;
pub mod idempotency;
pub mod images;
pub mod jobs;
pub mod leftovers;
pub mod projects;
pub mod push;
pub mod scaling;
pub mod segmentations;
pub mod users;
pub mod webhooks;

pub use error::Error;
