//! The one integration binary: `support` starts what a test needs, `conformance` holds each seam's promises,
//! every other file is one noun of the product.

mod auth;
mod conformance;
mod dead_letters;
mod dlq;
mod embedded_log;
mod failure;
mod files;
mod http;
mod images;
mod jobs_api;
mod jobs_model;
mod kafka_members;
mod leftovers;
mod ml;
mod outbox;
mod projects;
mod queue_figures;
mod realtime;
mod results;
mod roles;
mod segment;
mod services;
mod support;
