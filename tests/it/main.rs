//! The one integration binary: `support` starts what a test needs, `conformance` holds each seam's promises,
//! every other file is one noun of the product.

mod auth;
mod conformance;
mod embedded_log;
mod failure;
mod files;
mod http;
mod images;
mod jobs_api;
mod kafka_members;
mod leftovers;
mod ml;
mod outbox;
mod projects;
mod roles;
mod segment;
mod services;
mod support;
