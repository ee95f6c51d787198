//! A database that throws everybody out, and migrations that meet.

use std::time::Duration;

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;
use tokio::time::Instant;

use crate::support::product::Product;
use crate::support::services::postgres_database;
use crate::support::{pictures, unique_prefix};

const THROW_OUT: &str = "select count(pg_terminate_backend(pid)) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_database_connections_cost_no_job_and_no_clear_answer() {
    // A claim whose commit was not answered leaves a row to its lease.
    let product = Product::scaled(&[
        ("queue.lease_ms", "2000"),
        ("queue.renew_interval_ms", "500"),
        ("queue.reap_interval_ms", "200"),
        ("queue.row_lease_ms", "3000"),
        ("queue.reconcile_interval_ms", "500"),
    ])
    .await;
    let server = product.start("serve", &[]).await;
    let lab = product.lab(&server).await;
    let image = lab.upload("a.png", pictures::png(1)).await;
    let _workers = [
        product.start("worker", &[]).await,
        product.start("worker", &[]).await,
    ];
    let (mut accepted, mut put_off, mut thrown_out) = (0, 0, 0);
    for round in 0..30 {
        let key = unique_prefix();
        let request = || {
            lab.request(Method::POST, "/api/v1/jobs")
                .header("idempotency-key", &key)
                .json(&json!({ "image_id": image }))
                .send()
        };
        if round % 3 == 0 {
            thrown_out += product.number(THROW_OUT).await;
        }
        // Who is put off asks again with the same key; the answer that was lost is then replayed.
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = request().await.expect("an answer");
            match answer.status().as_u16() {
                202 => break accepted += 1,
                503 => {
                    assert!(answer.headers().contains_key("retry-after"));
                    put_off += 1;
                }
                409 => assert!(answer.headers().contains_key("retry-after")),
                status => panic!("{status}: {:?}", answer.text().await),
            }
            assert!(Instant::now() < deadline, "the API does not recover");
        }
    }
    let healed_at = Instant::now();
    product.completes(accepted, Duration::from_secs(60)).await;
    println!(
        "F15: {thrown_out} connections ended, {accepted} jobs accepted, {put_off} answers 503, all complete after {:?}, attempts at most {}",
        healed_at.elapsed(),
        product.attempts_max().await
    );
    assert_eq!(accepted, 30);
    assert!(thrown_out > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_four_migrations_at_once_one_makes_the_schema() {
    let database = postgres_database(nothing).await;
    let prefix = unique_prefix();
    let product = Product::unmigrated(database, &[("kafka.topic_prefix", &prefix)]);
    assert_eq!(code(&product, &["migrate", "--check"]).await, Some(1));
    let refused = product.run(&["serve"]).await;
    assert_eq!(refused.status.code(), Some(75), "{refused:?}");
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("spheroctl migrate"),
        "{refused:?}"
    );
    let outputs = join_all((0..4).map(|_| product.run(&["migrate"]))).await;
    for output in &outputs {
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    let applied = product
        .number("select count(*) from _sqlx_migrations where success")
        .await;
    assert_eq!(code(&product, &["migrate", "--check"]).await, Some(0));
    println!(
        "F30: 4 at once, all exit 0, {applied} migrations applied once; serve refused before with 75"
    );
    assert!(applied >= 1);
    product.start("serve", &[]).await;
}

async fn code(product: &Product, arguments: &[&str]) -> Option<i32> {
    product.run(arguments).await.status.code()
}

/// A template without any table.
async fn nothing(_url: &str) {}
