//! The scaling demonstration, as a newcomer runs it, with this program.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::services::{kafka_bootstrap, postgres_url, redis_url};

/// The report of the demonstration with these arguments.
async fn demonstrate(arguments: &[&str]) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/scale-demo");
    let output = Command::new(script)
        .args(arguments)
        .args(["--json", "--binary"])
        .arg(env!("CARGO_BIN_EXE_spheroctl"))
        .env("SPHEROCTL_TEST_POSTGRES_URL", postgres_url())
        .env("SPHEROCTL_TEST_REDIS_URL", redis_url())
        .env("SPHEROCTL_TEST_KAFKA_BOOTSTRAP", kafka_bootstrap())
        .stdin(Stdio::null())
        .output()
        .await
        .expect("the script runs");
    let told = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("no report ({error}):\n{told}"))
}

/// What no exercise may cost, with so many copies of `serve` at its beginning.
fn nothing_is_lost(found: &Value, serve: usize) {
    assert_eq!(found["jobs"]["lost"], 0, "{found:#}");
    assert_eq!(found["jobs"]["twice"], 0, "{found:#}");
    assert_eq!(found["requests"]["failed"], json!([]), "{found:#}");
    assert!(
        found["jobs"]["acknowledged"].as_u64() > Some(0),
        "{found:#}"
    );
    assert_eq!(
        found["spread"].as_object().map(serde_json::Map::len),
        Some(serve)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_each_role_dies_and_nothing_is_lost_or_done_twice() {
    let copies = ["--serve", "2", "--worker", "2", "--realtime", "2"];
    let found = demonstrate(&[&copies[..], &["--seconds", "8"]].concat()).await;
    nothing_is_lost(&found, 2);
    assert_eq!(
        found["killed"].as_object().map(serde_json::Map::len),
        Some(3)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_come_and_go_and_no_request_notices() {
    let exercise = ["--exercise", "resize", "--balancer", "haproxy"];
    let copies = ["--serve", "2", "--worker", "2", "--realtime", "1"];
    let short = ["--seconds", "4", "--requests", "200"];
    let found = demonstrate(&[&exercise[..], &copies, &short].concat()).await;
    nothing_is_lost(&found, 2);
    assert_eq!(found["requests"]["failed_tries"], json!({}), "{found:#}");
    assert_eq!(
        found["requests"]["by_instance"]
            .as_object()
            .map(serde_json::Map::len),
        Some(4)
    );
    assert_eq!(found["ended"], 6);
}
