//! Offers by producers that each wait for their answer, and a worker that claims what its permits allow, runs each job as a
//! task of its own, and acknowledges with the next claim.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use spheroctl::kit::lifecycle::Lifecycle;
use spheroctl::queue::{Lane, Leased, Release, SharedQueue, Want};
use tokio::sync::mpsc;

use super::{Failure, Size, now_s, store};

const LEASE: Duration = Duration::from_secs(10);
/// As the worker: an end rides with the next claim, or is told after this time.
const ENDS_LINGER: Duration = Duration::from_millis(20);
/// As the worker with short jobs: permits gather until half of them are free, or for this time.
const GATHER_MAX: Duration = Duration::from_millis(2);
/// Longest sleep of an idle worker.
const PATIENCE: Duration = Duration::from_secs(1);

/// Both ends in one process, on one handle, as in `standalone`.
pub async fn both(url: &str, size: &Size) -> Result<Value, Failure> {
    let queue = store::open(url, size.producers).await?;
    let tasks = Lifecycle::new();
    let began = now_s();
    let worker = tasks.spawn("bench.worker", consume(queue.clone(), *size, |_| {}));
    offer_all(&queue, size, &tasks).await?;
    let ended = worker.await?.ok_or("the worker was stopped")??;
    Ok(json!({ "began": began, "ended": ended }))
}

/// The producers alone.
pub async fn produce(url: &str, size: &Size) -> Result<Value, Failure> {
    let queue = store::open(url, size.producers).await?;
    let began = now_s();
    offer_all(&queue, size, &Lifecycle::new()).await?;
    Ok(json!({ "began": began, "ended": now_s() }))
}

/// The worker alone.
pub async fn work(url: &str, size: &Size) -> Result<Value, Failure> {
    let queue = store::open(url, size.producers).await?;
    let began = now_s();
    let ended = consume(queue, *size, |_| {}).await?;
    Ok(json!({ "began": began, "ended": ended }))
}

async fn offer_all(queue: &SharedQueue, size: &Size, tasks: &Lifecycle) -> Result<(), Failure> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut producers = Vec::with_capacity(size.producers);
    for _ in 0..size.producers {
        let (queue, next, jobs) = (queue.clone(), next.clone(), size.jobs);
        producers.push(tasks.spawn("bench.producer", async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= jobs {
                    return Ok::<(), Failure>(());
                }
                queue.offer(&[store::offer(number)]).await?;
            }
        }));
    }
    for producer in producers {
        producer.await?.ok_or("a producer was stopped")??;
    }
    Ok(())
}

/// Works until as many jobs as there are were acknowledged, and says when that was. `begun` is told of each start.
pub async fn consume(
    queue: SharedQueue,
    size: Size,
    begun: impl Fn(&Leased) + Clone + Send + Sync + 'static,
) -> Result<f64, Failure> {
    let tasks = Lifecycle::new();
    let (sender, mut done) = mpsc::unbounded_channel();
    let (mut ended, mut running, mut acknowledged) = (Vec::new(), 0, 0);
    loop {
        let want = Want {
            limit: size.permits - running,
            lanes: &[Lane::Default],
            lease: LEASE,
        };
        let exchanged = queue.exchange(&ended, want).await?;
        acknowledged += exchanged.released.iter().filter(|done| **done).count();
        if acknowledged >= size.jobs {
            return Ok(now_s());
        }
        let full = exchanged.claimed.len() == want.limit;
        running += exchanged.claimed.len();
        for leased in exchanged.claimed {
            let (sender, begun) = (sender.clone(), begun.clone());
            tasks.spawn("bench.job", async move {
                begun(&leased);
                // Nobody listens any more once all are acknowledged.
                let _ = sender.send((leased, Release::Done));
            });
        }
        ended.clear();
        if full {
            done.recv_many(&mut ended, size.permits).await;
            let half = async {
                while ended.len() < size.permits / 2 {
                    done.recv_many(&mut ended, size.permits).await;
                }
            };
            // Safe to ignore: the rest comes with the next exchange.
            let _ = tokio::time::timeout(GATHER_MAX, half).await;
            running -= ended.len();
            continue;
        }
        tokio::select! {
            woken = queue.wait(&[Lane::Default], PATIENCE) => woken?,
            count = done.recv_many(&mut ended, size.permits) => {
                running -= count;
                let woken = queue.wait(&[Lane::Default], ENDS_LINGER);
                // Safe to ignore: the next exchange says what is wrong.
                let _ = tokio::time::timeout(ENDS_LINGER, woken).await;
            }
        }
        while let Ok(end) = done.try_recv() {
            ended.push(end);
            running -= 1;
        }
    }
}
