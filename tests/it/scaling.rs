//! Who is there and how many workers there should be, as administrators, operators and autoscalers see it.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use crate::support::app::start;
use crate::support::eventually;
use crate::support::product::Product;

const INFO: &str = "/api/v1/scaling/info";
const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_live_process_is_listed_with_what_it_does() {
    let product = Product::scaled(&[]).await;
    let server = product.start("serve", &[]).await;
    let workers = [
        product
            .start("worker", &[("worker.concurrency", "3")])
            .await,
        product
            .start("worker", &[("worker.concurrency", "4")])
            .await,
    ];
    let lab = product.lab(&server).await;
    let mut info = Value::Null;
    eventually("two workers and advice for them", DEADLINE, async || {
        info = lab.get(INFO).await;
        info["instances"]["worker"].as_array().map(Vec::len) == Some(2)
            && info["workers"].is_object()
    })
    .await;
    let permits = info["instances"]["worker"].as_array().unwrap().iter();
    let mut permits: Vec<_> = permits
        .map(|line| line["figures"]["worker"]["permits"].as_u64())
        .collect();
    permits.sort_unstable();
    assert_eq!(permits, [Some(3), Some(4)], "{info}");
    assert_eq!(info["instances"]["serve"][0]["instance"], info["instance"]);
    assert_eq!(info["queue"]["waiting"], 0);
    assert_eq!(info["workers"]["workers_wanted"], 1, "{info}");
    assert_eq!(workers[0].metric("spheroctl_workers_wanted").await, 1.0);
}

#[tokio::test]
async fn only_administrators_see_who_is_there() {
    let test = start().await;
    let curious = test.person("curious@example.org").await;
    let answer = test
        .request(&curious.token, Method::GET, INFO)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 403);
    let info = test.get(&test.admin_token, INFO).await;
    assert_eq!(info["queue"]["waiting"], 0);
}
