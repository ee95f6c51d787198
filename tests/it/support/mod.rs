//! What the tests share: real services, a database per test, waiting for a condition.

pub mod app;
pub mod database_proxy;
pub mod kafka_server;
pub mod pictures;
pub mod process;
pub mod product;
pub mod redis_server;
pub mod services;

use std::time::Duration;

/// How long [`eventually`] rests between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Looks at `condition` each 10 ms until it holds.
///
/// # Panics
/// At the deadline, naming `what` was awaited; also when the condition itself does not answer until then.
pub async fn eventually(what: &str, deadline: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    if tokio::time::timeout(deadline, holds).await.is_err() {
        panic!("{what}: not so after {deadline:?}");
    }
}

/// A text that no other test, process or earlier run has: the start of Redis keys, Kafka topics and groups of one
/// test, so that tests share servers.
pub fn unique_prefix() -> String {
    format!("t{}-", &uuid::Uuid::new_v4().simple().to_string()[..12])
}
