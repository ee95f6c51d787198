//! A database or a queue that is away, and answers that never arrive: what was acknowledged stays, what was not is put
//! off with a time to come back, and everything has its effect once.

use std::time::Duration;

use reqwest::{Method, Response};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::app::text;
use crate::support::database_proxy::DatabaseProxy;
use crate::support::product::{Lab, Product};
use crate::support::redis_server::RedisServer;
use crate::support::{eventually, pictures, unique_prefix};

const DEADLINE: Duration = Duration::from_secs(60);
/// What each completing run sends to the database.
const COMPLETES: &[u8] = b"set status = 'completed'";
const JOBS: &str = "select count(*) from queue_jobs";
const CANCELLED: &str = "select count(*) from queue_jobs where status = 'cancelled'";
const RUNNING: &str = "select count(*) from queue_jobs where status = 'running'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_database_requests_are_put_off_and_nothing_acknowledged_is_lost() {
    let product = Product::scaled(&[]).await;
    let way = DatabaseProxy::start(product.setting("database.url")).await;
    let server = product.start("serve", &[("database.url", way.url())]).await;
    let lab = product.lab(&server).await;
    let image = lab.upload("a.png", pictures::png(1)).await;
    lab.submit(&image, 5).await;
    let path = lab.images_path("b.png").await;
    way.close();
    put_off(lab.request(Method::GET, "/api/v1/projects")).await;
    put_off(submitting(&lab, "away", &image)).await;
    let upload = lab.request(Method::POST, &path);
    put_off(
        upload
            .header("idempotency-key", "up")
            .body(pictures::png(2)),
    )
    .await;
    assert_eq!(server.probe("/livez").await, Some(200));
    assert_eq!(product.number(JOBS).await, 5);
    way.open();
    let accepted = async || {
        submitting(&lab, "away", &image)
            .send()
            .await
            .expect("an answer")
            .status()
            == 202
    };
    eventually("the same request is accepted", DEADLINE, accepted).await;
    assert_eq!(product.number(JOBS).await, 6);
    let _worker = product.start("worker", &[]).await;
    product.completes(6, DEADLINE).await;
    println!("F15 away: 3 of 3 requests 503 with Retry-After, 6 of 6 acknowledged jobs complete");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_commit_is_not_answered_has_one_effect() {
    let product = Product::scaled(&[("queue.reconcile_interval_ms", "300")]).await;
    let way = DatabaseProxy::start(product.setting("database.url")).await;
    let server = product.start("serve", &[("database.url", way.url())]).await;
    let lab = product.lab(&server).await;
    let image = lab.upload("a.png", pictures::png(1)).await;
    let key = unique_prefix();
    way.cut_after_the_commit_of(key.as_bytes());
    put_off(submitting(&lab, &key, &image)).await;
    assert_eq!((way.cut(), product.number(JOBS).await), (1, 1));
    let again = submitting(&lab, &key, &image)
        .send()
        .await
        .expect("an answer");
    assert_eq!(
        (
            again.status().as_u16(),
            &again.headers()["idempotent-replayed"]
        ),
        (202, &"true".parse().expect("a value"))
    );
    // Nobody told the queue of it.
    let worker = product.start("worker", &[]).await;
    product.completes(1, DEADLINE).await;
    assert!(worker.metric("spheroctl_jobs_reoffered_total").await >= 1.0);
    println!("F24: commit not answered, 503, replayed, 1 effect");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_whose_commit_is_not_answered_is_stored_once() {
    let product = Product::scaled(&[]).await;
    let way = DatabaseProxy::start(product.setting("database.url")).await;
    let server = product.start("serve", &[]).await;
    let lab = product.lab(&server).await;
    let image = lab.upload("many.png", pictures::many()).await;
    way.cut_after_the_commit_of(COMPLETES);
    let worker = product
        .start("worker", &[("database.url", way.url())])
        .await;
    let job = lab.submit(&image, 1).await.remove(0);
    product.completes(1, DEADLINE).await;
    worker.says("the end of a run is written again").await;
    eventually("the worker has it behind it", DEADLINE, async || {
        worker.metric("spheroctl_job_duration_seconds_count").await >= 1.0
    })
    .await;
    assert_eq!(way.cut(), 1);
    assert_eq!(product.attempts_max().await, 1);
    assert_eq!(worker.metric("spheroctl_fenced_writes_total").await, 0.0);
    println!("F15 finish: commit not answered, 1 attempt, 1 result, 0 fenced");
    // The second try found the first one's row and left its object alone.
    assert_eq!(product.number(RESULT_OBJECTS).await, 1);
    lab.get(&format!("/api/v1/jobs/{job}/result")).await;
}

const RESULT_OBJECTS: &str =
    "select count(*) from segmentations where result_object_key is not null";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zombies_result_is_refused_and_counted() {
    let product = Product::scaled(&[
        ("queue.lease_ms", "2000"),
        ("queue.renew_interval_ms", "500"),
        ("queue.reap_interval_ms", "200"),
    ])
    .await;
    let way = DatabaseProxy::start(product.setting("database.url")).await;
    let server = product.start("serve", &[]).await;
    let lab = product.lab(&server).await;
    let image = lab.upload("many.png", pictures::many()).await;
    way.stop_before(COMPLETES);
    let zombie = product
        .start("worker", &[("database.url", way.url())])
        .await;
    let job = lab.submit(&image, 1).await.remove(0);
    // It has its result and begins to write it; then it sleeps until the lease is another's and the job done.
    way.stands().await;
    zombie.signal(Signal::STOP);
    let _other = product.start("worker", &[]).await;
    product.completes(1, DEADLINE).await;
    zombie.signal(Signal::CONT);
    way.go_on();
    eventually("the write is refused", DEADLINE, async || {
        zombie.metric("spheroctl_fenced_writes_total").await >= 1.0
    })
    .await;
    zombie.says("belongs to a later attempt").await;
    product.completes(1, DEADLINE).await;
    assert_eq!(product.attempts_max().await, 2);
    assert_eq!(zombie.metric("spheroctl_fenced_writes_total").await, 1.0);
    eventually("the zombie's object is gone", DEADLINE, async || {
        results(&product, &job) == ["2"]
    })
    .await;
    lab.get(&format!("/api/v1/jobs/{job}/result")).await;
    println!("F03 forced: stale writes 1, refused 1, results 1 of attempt 2");
}

/// The attempts of a job that have an object in the file store.
fn results(product: &Product, job: &str) -> Vec<String> {
    product
        .objects()
        .iter()
        .filter_map(|key| Some(key.split_once(&format!("/results/{job}/"))?.1.to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_stopped_although_the_queue_cannot_be_told() {
    let product = Product::scaled(&[("queue.reconcile_interval_ms", "300")]).await;
    // The server's way to the queue goes; the worker's stays.
    let mut redis = RedisServer::start().await;
    let address = format!("redis://{}", redis.address());
    let server = product
        .start(
            "serve",
            &[("redis.url", &address), ("redis.command_timeout_ms", "500")],
        )
        .await;
    let lab = product.lab(&server).await;
    let image = lab.upload("held.png", pictures::png(1)).await;
    let _held = product.hold(&image).await;
    let running = lab.submit(&image, 1).await.remove(0);
    let worker = product
        .start("worker", &[("worker.concurrency", "1")])
        .await;
    product.reaches(RUNNING, 1, DEADLINE).await;
    let waiting = lab.submit(&image, 1).await.remove(0);
    redis.kill().await;
    assert_eq!(cancel(&lab, &waiting).await, (200, "cancelled".into()));
    assert_eq!(cancel(&lab, &running).await, (202, "running".into()));
    product.reaches(CANCELLED, 2, DEADLINE).await;
    // The only permit is free again.
    let small = lab.upload("small.png", pictures::png(2)).await;
    let job = lab.submit(&small, 1).await.remove(0);
    eventually("the worker goes on", DEADLINE, async || {
        text(&lab.get(&format!("/api/v1/jobs/{job}")).await["status"]) == "completed"
    })
    .await;
    assert_eq!(worker.metric("spheroctl_fenced_writes_total").await, 0.0);
    println!("F08 cancel: 2 of 2 jobs stopped without the queue");
}

async fn cancel(lab: &Lab, job: &str) -> (u16, String) {
    let path = format!("/api/v1/jobs/{job}/cancel");
    let answer = lab.request(Method::POST, &path).send().await;
    let answer = answer.expect("an answer");
    let status = answer.status().as_u16();
    let job: Value = answer.json().await.expect("JSON");
    (status, text(&job["status"]))
}

fn submitting(lab: &Lab, key: &str, image: &str) -> reqwest::RequestBuilder {
    lab.request(Method::POST, "/api/v1/jobs")
        .header("idempotency-key", key)
        .json(&json!({ "image_id": image }))
}

/// The request is answered 503 and told when to come back.
async fn put_off(request: reqwest::RequestBuilder) {
    let answer: Response = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
}
