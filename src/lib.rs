//! spheroctl: the back end of a spheroid-image laboratory. People upload microscopy images, workers segment them,
//! everybody sees the result. One executable; the subcommand chooses the role.
//!
//! The rooms, from the ground up. A room imports only from a lower floor, and `tests/tidy.rs` holds this table:
//!
//! | floor | rooms | what they are |
//! |---|---|---|
//! | 0 | [`kit`] | clock, ids, tasks and shutdown, back-off, breaker, batcher, compute pool, metric names |
//! | 1 | [`settings`] [`health`] [`telemetry`] | what is set, how the process is, what it says |
//! | 2 | [`db`] [`state`] [`files`] [`http`] [`segment`] [`lb_check`] | the seams, serving HTTP, finding spheroids, here or by a service, checking a balancer from outside |
//! | 3 | [`queue`] [`events`] | the job queue on the state store; outbox, relay and event log |
//! | 4 | [`domain`] | the nouns: users, projects, files, images, jobs, segmentations, activity, webhooks; messages to those who watch |
//! | 5 | [`app`] | the handles every role gets; the only choice between backends |
//! | 6 | [`api`] [`worker`] [`realtime`] [`ops`] [`web`] | the edges |
//! | 7 | [`roles`] | a file per command, composition only |
//! | 8 | [`cli`] | commands and flags |
//!
//! Where do I change …
//! * a route: `api/mod.rs` lists them, a file per noun;
//! * a rule of the product: `domain/<noun>/mod.rs`; its SQL: `domain/<noun>/store.rs`; the schema: `db/migrations`;
//! * what follows an event: `worker/consumers`, a file per group; how a group reads: `events/group`;
//! * what clients hear live: `domain/push`; how it reaches them: `realtime`;
//! * how an image is segmented: `segment/mod.rs` lists the steps, a file each;
//! * a setting: `settings/sections.rs` and `config/default.toml`;
//! * a metric: `kit/metrics.rs` and `docs/metrics.md`;
//! * what a backend does: the contract in `db`, `state`, `queue` or `events/log`, then both products behind it, then the
//!   suite in `tests/it/conformance`.
//!
//! Absent on purpose: no room but `app` knows which backend runs; nothing is published to the event log except by the
//! relay; no statement stands outside a store; nothing asks the operating system for the time except the clock.

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
pub mod lb_check;
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

/// Of the executable, the tests and the benches alike.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
