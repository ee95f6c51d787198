//! Serving HTTP: the accept loop with its limits and its drain, strict framing, the layers that every router gets,
//! problems (RFC 9457), extractors whose refusals are problems, and the rendering of probes. Knows no route of the
//! product.

mod body;
mod client;
mod connection;
mod extract;
pub mod framing;
mod layers;
pub mod origin;
pub mod probes;
mod problem;
mod request_id;
mod server;
pub mod session_cookie;
mod time_limit;
mod transport;

pub use body::{BodyStalled, with_idle_timeout};
pub use client::Client;
pub use extract::{Json, Path, Query};
pub use layers::{Stack, standard};
pub use problem::{FieldError, Problem};
pub use request_id::RequestId;
pub use server::{Limits, Listener, serve};
pub use time_limit::{TimeLimit, without_time_limit};
