//! The scaling demonstration, as a newcomer runs it, with this program.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::support::services::{kafka_bootstrap, postgres_url, redis_url};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_each_role_dies_and_nothing_is_lost_or_done_twice() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/scale-demo");
    let output = Command::new(script)
        .args(["--serve", "2", "--worker", "2", "--realtime", "2"])
        .args(["--seconds", "8", "--json", "--binary"])
        .arg(env!("CARGO_BIN_EXE_spheroctl"))
        .env("SPHEROCTL_TEST_POSTGRES_URL", postgres_url())
        .env("SPHEROCTL_TEST_REDIS_URL", redis_url())
        .env("SPHEROCTL_TEST_KAFKA_BOOTSTRAP", kafka_bootstrap())
        .stdin(Stdio::null())
        .output()
        .await
        .expect("the script runs");
    let told = String::from_utf8_lossy(&output.stderr);
    let found: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("no report ({error}):\n{told}"));
    assert_eq!(
        found["killed"].as_object().map(serde_json::Map::len),
        Some(3)
    );
    assert_eq!(found["jobs"]["lost"], 0, "{found:#}");
    assert_eq!(found["jobs"]["twice"], 0, "{found:#}");
    assert_eq!(
        found["requests"]["failed"],
        serde_json::json!([]),
        "{found:#}"
    );
    assert!(
        found["jobs"]["acknowledged"].as_u64() > Some(0),
        "{found:#}"
    );
    assert_eq!(
        found["spread"].as_object().map(serde_json::Map::len),
        Some(2)
    );
}
