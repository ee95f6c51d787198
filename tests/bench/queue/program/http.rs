//! Jobs sent by clients of the API that each wait for their answer, one by one or in batches, until the last row says that
//! its job is completed; then how far the relay is behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use spheroctl::kit::lifecycle::Lifecycle;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{Failure, now_s};

const TOKEN: &str = "SPHEROCTL_BENCH_TOKEN";
/// Between two looks at the rows.
const POLL: Duration = Duration::from_millis(20);
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

const UNFINISHED: &str = "select exists (select from queue_jobs where status not in ('completed', 'failed', 'cancelled', 'dead'))";
const COMPLETED: &str = "select count(*) from queue_jobs where status = 'completed'";
const BEHIND: &str = "select count(*) from outbox_events";

/// How much is sent, by how many, and how many jobs at once; one is sent alone.
pub struct Load {
    pub jobs: usize,
    pub clients: usize,
    pub batch: usize,
}

/// One of the clients, with the connections that all share.
#[derive(Clone)]
struct Sender {
    client: Client,
    api: Arc<str>,
    image: Arc<str>,
    token: Arc<str>,
}

/// Sends all jobs and waits for their ends.
pub async fn run(api: &str, image: &str, load: &Load, database: &str) -> Result<Value, Failure> {
    let mut rows = PgConnection::connect(database).await?;
    let sender = Sender {
        client: Client::builder().no_proxy().timeout(ANSWER_LIMIT).build()?,
        api: api.into(),
        image: image.into(),
        token: std::env::var(TOKEN)?.into(),
    };
    let began = now_s();
    send_all(&sender, load).await?;
    let sent = now_s();
    while sqlx::query_scalar(UNFINISHED).fetch_one(&mut rows).await? {
        tokio::time::sleep(POLL).await;
    }
    let ended = now_s();
    let behind: i64 = sqlx::query_scalar(BEHIND).fetch_one(&mut rows).await?;
    let completed: i64 = sqlx::query_scalar(COMPLETED).fetch_one(&mut rows).await?;
    if usize::try_from(completed)? != load.jobs {
        return Err(format!(
            "{completed} of {} rows say that they are completed",
            load.jobs
        )
        .into());
    }
    Ok(json!({ "began": began, "sent": sent, "ended": ended, "outbox_rows": behind }))
}

async fn send_all(sender: &Sender, load: &Load) -> Result<(), Failure> {
    let (tasks, next) = (Lifecycle::new(), Arc::new(AtomicUsize::new(0)));
    let mut clients = Vec::with_capacity(load.clients);
    for _ in 0..load.clients {
        let (sender, next, jobs, batch) = (sender.clone(), next.clone(), load.jobs, load.batch);
        clients.push(tasks.spawn("bench.client", async move {
            loop {
                let first = next.fetch_add(batch, Ordering::Relaxed);
                if first >= jobs {
                    return Ok::<(), Failure>(());
                }
                sender.send(first, batch.min(jobs - first)).await?;
            }
        }));
    }
    for client in clients {
        client.await?.ok_or("a client was stopped")??;
    }
    Ok(())
}

impl Sender {
    async fn send(&self, first: usize, count: usize) -> Result<(), Failure> {
        let job = |number: usize| json!({ "image_id": *self.image, "priority": 1 + number % 10 });
        let (path, body) = if count == 1 {
            ("jobs", job(first))
        } else {
            let jobs: Vec<Value> = (first..first + count).map(job).collect();
            ("jobs/batch", json!({ "jobs": jobs }))
        };
        let request = self
            .client
            .post(format!("{}/api/v1/{path}", self.api))
            .bearer_auth(&self.token)
            .header("idempotency-key", Uuid::new_v4().to_string())
            .json(&body);
        let answer = request.send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        if status != 202 && status != 200 {
            return Err(format!("{path}: {status} {text}").into());
        }
        Ok(())
    }
}
