//! Small parts with no knowledge of the product: time, ids, tasks, retries, breakers, batches of calls, the compute
//! pool, metric names. Nothing here imports another room.

pub mod batcher;
pub mod breaker;
pub mod clock;
pub mod compute;
pub mod hex;
pub mod id;
pub mod instance;
pub mod lane;
pub mod lifecycle;
pub mod metrics;
pub mod networks;
pub mod retry;
pub mod secret;
