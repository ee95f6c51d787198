//! Requests while a server stops, and requests that are repeated.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::app::text;
use crate::support::product::{Lab, Product};
use crate::support::{eventually, pictures};

/// How often a client asks before it would give up on a server that never says goodbye.
const REQUESTS_MAX: usize = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_told_to_stop_fails_no_request() {
    let product = Product::scaled(&[("shutdown.lame_duck_ms", "1500")]).await;
    let mut server = product.start("serve", &[]).await;
    let lab = product.lab(&server).await;
    let answered = AtomicUsize::new(0);
    let clients = join_all((0..8).map(|number| ask_until_told_to_leave(&lab, number, &answered)));
    let stopped = async {
        eventually(
            "requests are answered",
            Duration::from_secs(20),
            async || answered.load(Ordering::Relaxed) >= 100,
        )
        .await;
        server.signal(Signal::TERM);
        let told_at = Instant::now();
        eventually("it is unready", Duration::from_secs(5), async || {
            server.probe("/readyz").await == Some(503)
        })
        .await;
        told_at
    };
    let (_, told_at) = tokio::join!(clients, stopped);
    let code = server.exit_code(Duration::from_secs(15)).await;
    let answered = answered.into_inner();
    println!(
        "F04 serve: {answered} requests of 8 clients answered, 0 failed, exit {code:?} after {:?}",
        told_at.elapsed()
    );
    assert_eq!(code, Some(0));
}

/// Asks on one connection, half of it writes, until an answer carries `Connection: close`; counting the answers.
async fn ask_until_told_to_leave(lab: &Lab, number: usize, answered: &AtomicUsize) {
    for count in 1..REQUESTS_MAX {
        let request = if (count + number).is_multiple_of(2) {
            lab.request(Method::GET, "/api/v1/projects?limit=1")
        } else {
            lab.request(Method::POST, "/api/v1/projects")
                .json(&json!({ "name": format!("{number}-{count}") }))
        };
        let answer = request.send().await.expect("no request fails");
        assert!(answer.status().is_success(), "{}", answer.status());
        let leave = answer
            .headers()
            .get("connection")
            .is_some_and(|value| value == "close");
        answer.bytes().await.expect("a whole body");
        answered.fetch_add(1, Ordering::Relaxed);
        if leave {
            return;
        }
    }
    panic!("the server never said that it closes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_twins_of_a_request_have_one_effect() {
    let product = Product::scaled(&[]).await;
    let mut server = product.start("serve", &[]).await;
    let lab = product.lab(&server).await;
    let image = lab.upload("a.png", pictures::png(1)).await;
    let answers = join_all((0..50).map(|_| submit(&lab, &image, "one-key"))).await;
    let (made, in_flight): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.0 == 202);
    assert!(
        in_flight.iter().all(|answer| answer.0 == 409),
        "{in_flight:?}"
    );
    let ids: std::collections::BTreeSet<String> =
        made.iter().map(|answer| text(&answer.1["id"])).collect();
    println!(
        "F24: 50 requests, {} made or replayed, {} in flight, effects {}",
        made.len(),
        in_flight.len(),
        ids.len()
    );
    assert_eq!(ids.len(), 1);
    assert_eq!(product.number("select count(*) from queue_jobs").await, 1);
    server.kill().await;
    let server = product.start("serve", &[]).await;
    let restarted = Lab {
        url: server.public().await,
        ..lab
    };
    let replay = submit(&restarted, &image, "one-key").await;
    assert_eq!(
        (replay.0, &replay.1),
        (202, &made[0].1),
        "another process replays it alike"
    );
    let other = lab_post(
        &restarted,
        "one-key",
        json!({ "image_id": image, "priority": 1 }),
    )
    .await;
    assert_eq!(other.0, 422);
    assert_eq!(product.number("select count(*) from queue_jobs").await, 1);
}

async fn submit(lab: &Lab, image: &str, key: &str) -> (u16, Value) {
    lab_post(lab, key, json!({ "image_id": image })).await
}

async fn lab_post(lab: &Lab, key: &str, job: Value) -> (u16, Value) {
    let request = lab
        .request(Method::POST, "/api/v1/jobs")
        .header("idempotency-key", key);
    let answer = request.json(&job).send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}
