//! A broker that is away: the API goes on, jobs run, and what happened meanwhile is told once it is back.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::time::Instant;

use crate::support::kafka_server::KafkaServer;
use crate::support::product::{Lab, Product};
use crate::support::{pictures, services};

const DEADLINE: Duration = Duration::from_secs(60);
const OUTBOX: &str = "select count(*) from outbox_events";
const MEMBERSHIPS: &str = "
    select count(*) from activities
    where kind = 'member.added' and project_id in (select id from projects)";
const ENDS: &str = "select count(*) from activities where kind = 'job.completed'";

/// SPHEROCTL_TEST_BROKER_AWAY_S says for how long (300 for the whole proof).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_answers_while_the_broker_is_away() {
    let away = Duration::from_secs(services::number("SPHEROCTL_TEST_BROKER_AWAY_S", 15));
    let mut broker = KafkaServer::start().await;
    let product = Product::scaled(&[("kafka.bootstrap_servers", broker.address())]).await;
    let server = product.start("serve", &[]).await;
    let worker = product.start("worker", &[]).await;
    let lab = product.lab(&server).await;
    let image = lab.upload("a.png", pictures::png(1)).await;
    lab.submit(&image, 3).await;
    product.reaches(ENDS, 3, DEADLINE).await;
    broker.kill().await;
    let (mut rounds, mut slowest, killed_at) = (0_i64, Duration::ZERO, Instant::now());
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    while killed_at.elapsed() < away {
        tick.tick().await;
        slowest = slowest.max(a_round(&lab, &image).await);
        rounds += 1;
        for process in [&server, &worker] {
            assert_eq!(process.probe("/readyz").await, Some(200), "after {rounds}");
        }
    }
    // As many as came meanwhile, on a machine that does other things too.
    product.completes(3 + rounds, DEADLINE + away).await;
    let waiting = product.number(OUTBOX).await;
    assert!(waiting >= 3 * rounds, "{waiting} facts of {rounds} rounds");
    broker.start_again().await;
    let back_at = Instant::now();
    product.reaches(OUTBOX, 0, DEADLINE + away).await;
    let relayed = back_at.elapsed();
    product.reaches(ENDS, 3 + rounds, DEADLINE + away).await;
    // A project per round, and the one that the client has from its start.
    product.reaches(MEMBERSHIPS, rounds + 1, DEADLINE).await;
    println!(
        "F04 broker away for {} s: {} of {} requests answered, the slowest in {slowest:?}; {waiting} facts waited, were \
         relayed {relayed:?} after it was back, and were read once",
        away.as_secs(),
        3 * rounds,
        3 * rounds
    );
}

/// A look, a project and a job; the slowest of them.
async fn a_round(lab: &Lab, image: &str) -> Duration {
    let began = Instant::now();
    lab.get("/api/v1/projects").await;
    let looked = began.elapsed();
    let project = lab
        .request(Method::POST, "/api/v1/projects")
        .json(&json!({ "name": "while the broker is away" }));
    let answer = project.send().await.expect("an answer");
    assert_eq!(answer.status(), 201);
    let made = began.elapsed();
    lab.submit(image, 1).await;
    looked.max(made - looked).max(began.elapsed() - made)
}
