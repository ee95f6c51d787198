//! How long a job waits from the moment it is sent to its start, when jobs come at a steady rate whatever becomes of those
//! before them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use spheroctl::kit::id::JobId;
use spheroctl::kit::lifecycle::Lifecycle;
use spheroctl::queue::SharedQueue;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::handshake::consume;
use super::{Failure, Size, now_s, store};

type Offered = JoinHandle<Option<Result<(), Failure>>>;

/// When each job was sent, and how long those that have started had waited.
#[derive(Default)]
struct Board {
    sent: HashMap<JobId, Instant>,
    waits_ms: Vec<f64>,
}

/// Sends `size.jobs` at `rate` per second.
pub async fn run(url: &str, size: &Size, rate: f64) -> Result<Value, Failure> {
    let queue = store::open(url, size.producers).await?;
    let (tasks, board) = (Lifecycle::new(), Arc::new(Mutex::new(Board::default())));
    let began = now_s();
    let started = board.clone();
    let begun = move |leased: &spheroctl::queue::Leased| {
        let mut board = started.lock();
        if let Some(sent) = board.sent.remove(&leased.job) {
            board.waits_ms.push(sent.elapsed().as_secs_f64() * 1000.0);
        }
    };
    let worker = tasks.spawn("bench.worker", consume(queue.clone(), *size, begun));
    let (jobs, pacer) = (size.jobs, board.clone());
    let runtime = Handle::current();
    // A thread's sleep is exact to 0.1 ms, a timer of the runtime to 1 ms.
    let pace = std::thread::spawn(move || pace(&runtime, &queue, &pacer, jobs, rate));
    let ended = worker.await?.ok_or("the worker was stopped")??;
    for offered in pace.join().map_err(|_| "the pace failed")? {
        offered.await?.ok_or("an offer was stopped")??;
    }
    let waits_ms = std::mem::take(&mut board.lock().waits_ms);
    Ok(json!({ "began": began, "ended": ended, "waits_ms": waits_ms }))
}

fn pace(
    runtime: &Handle,
    queue: &SharedQueue,
    board: &Arc<Mutex<Board>>,
    jobs: usize,
    rate: f64,
) -> Vec<Offered> {
    let _guard = runtime.enter();
    let tasks = Lifecycle::new();
    let begin = Instant::now();
    let mut offered = Vec::with_capacity(jobs);
    for number in 0..jobs {
        let due = Duration::from_secs_f64(number as f64 / rate);
        std::thread::sleep(due.saturating_sub(begin.elapsed()));
        let (queue, board) = (queue.clone(), board.clone());
        offered.push(tasks.spawn("bench.offer", async move {
            let offer = store::offer(number);
            board.lock().sent.insert(offer.job, Instant::now());
            queue.offer(&[offer]).await?;
            Ok(())
        }));
    }
    offered
}
