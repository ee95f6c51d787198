//! spheroctl: the back end of a spheroid-image laboratory.

pub mod api;
pub mod app;
pub mod cli;
pub mod db;
pub mod domain;
pub mod events;
pub mod files;
pub mod health;
pub mod http;
pub mod kit;
pub mod ops;
pub mod queue;
pub mod realtime;
pub mod roles;
pub mod segment;
pub mod settings;
pub mod state;
pub mod telemetry;
pub mod web;
pub mod worker;
