//! The one integration binary: `support` starts what a test needs, `conformance` holds each seam's promises,
//! every other file is one noun of the product.

mod activity;
mod auth;
mod conformance;
mod dead_events;
mod dead_letters;
mod dlq;
mod embedded_log;
mod failure;
mod files;
mod groups;
mod http;
mod images;
mod jobs_api;
mod jobs_model;
mod kafka_members;
mod lb_check;
mod leftovers;
mod ml;
mod outbox;
mod projects;
mod queue_figures;
mod rate_limit;
mod realtime;
mod results;
mod roles;
mod scale_demo;
mod scaling;
mod segment;
mod services;
mod support;
mod webhooks;
