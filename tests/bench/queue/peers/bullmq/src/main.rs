//! BullMQ, by its vendor's own Rust port, doing the round of `scripts/bench queue`. One line of JSON says what happened.
//!
//!     bullmq both|produce|work URL JOBS PRODUCERS PERMITS   as fast as it goes
//!     bullmq latency URL JOBS PRODUCERS PERMITS RATE        JOBS sent at RATE per second, whatever happens to them
//!
//! `both` produces and works in one process; `produce` and `work` are its halves. Priorities 1 to 10 in turn. A job that
//! is done is removed, as a queue must do that runs for long. At RATE the number of producers does not matter.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bullmq::options::{JobOptions, RedisConnectionOptions};
use bullmq::types::RemoveOnFinish;
use bullmq::worker::CancellationToken;
use bullmq::{Job, Queue, QueueOptions, Worker, WorkerOptions};
use serde_json::{Value, json};
use tokio::sync::mpsc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const QUEUE: &str = "bench";
const SETTLE: Duration = Duration::from_millis(300);
const POLL: Duration = Duration::from_millis(2);

/// What the command line asks for.
struct Order {
    mode: String,
    url: String,
    jobs: usize,
    producers: usize,
    permits: usize,
    rate: f64,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let order = order()?;
    let answer = match order.mode.as_str() {
        "both" => both(&order).await?,
        "produce" => produce(&order).await?,
        "work" => work(&order).await?,
        "latency" => latency(&order).await?,
        mode => return Err(format!("no mode is called {mode:?}").into()),
    };
    println!("{answer}");
    Ok(())
}

fn order() -> Result<Order, Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let word = |at: usize| words.get(at).map(String::as_str).ok_or("too few arguments");
    Ok(Order {
        mode: word(0)?.to_owned(),
        url: word(1)?.to_owned(),
        jobs: word(2)?.parse()?,
        producers: word(3)?.parse()?,
        permits: word(4)?.parse()?,
        rate: word(5).unwrap_or("0").parse()?,
    })
}

async fn both(order: &Order) -> Result<Value, Failure> {
    let consumer = Consumer::start(order).await?;
    tokio::time::sleep(SETTLE).await;
    let began = epoch_s();
    offer_all(order).await?;
    let ended = consumer.finish(order.jobs).await?;
    Ok(json!({ "began": began, "ended": ended }))
}

async fn produce(order: &Order) -> Result<Value, Failure> {
    let began = epoch_s();
    offer_all(order).await?;
    Ok(json!({ "began": began, "ended": epoch_s() }))
}

async fn work(order: &Order) -> Result<Value, Failure> {
    let began = epoch_s();
    let ended = Consumer::start(order).await?.finish(order.jobs).await?;
    Ok(json!({ "began": began, "ended": ended }))
}

/// Each job is sent at its instant, even when those before it are still on their way.
async fn latency(order: &Order) -> Result<Value, Failure> {
    let mut consumer = Consumer::start(order).await?;
    let queue = Arc::new(queue(order).await?);
    tokio::time::sleep(SETTLE).await;
    let runtime = tokio::runtime::Handle::current();
    let (jobs, rate) = (order.jobs, order.rate);
    let began = epoch_s();
    // A thread's sleep is exact to 0.1 ms, a timer of the runtime to 1 ms.
    let pace = std::thread::spawn(move || {
        let start = Instant::now();
        let mut sent = Vec::with_capacity(jobs);
        for number in 0..jobs {
            let due = Duration::from_secs_f64(number as f64 / rate);
            std::thread::sleep(due.saturating_sub(start.elapsed()));
            let queue = queue.clone();
            sent.push(runtime.spawn(async move { offer(&queue, number).await }));
        }
        sent
    });
    let mut waits = Vec::with_capacity(jobs);
    while waits.len() < jobs {
        waits.push(consumer.waits.recv().await.ok_or("the worker ended")?);
    }
    for offered in pace.join().map_err(|_| "the pace failed")? {
        offered.await??;
    }
    let ended = consumer.finish(jobs).await?;
    Ok(json!({ "began": began, "ended": ended, "waits_ms": waits }))
}

/// Offers all jobs, each producer one after another.
async fn offer_all(order: &Order) -> Result<(), Failure> {
    let queue = Arc::new(queue(order).await?);
    let next = Arc::new(AtomicUsize::new(0));
    let mut producers = Vec::with_capacity(order.producers);
    for _ in 0..order.producers {
        let (queue, next, jobs) = (queue.clone(), next.clone(), order.jobs);
        producers.push(tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= jobs {
                    return Ok::<(), bullmq::Error>(());
                }
                offer(&queue, number).await?;
            }
        }));
    }
    for producer in producers {
        producer.await??;
    }
    Ok(())
}

async fn offer(queue: &Queue, number: usize) -> Result<(), bullmq::Error> {
    let options = JobOptions {
        priority: Some(1 + (number % 10) as u32),
        attempts: Some(3),
        remove_on_complete: Some(RemoveOnFinish::Bool(true)),
        ..JobOptions::default()
    };
    queue
        .add("segment", payload(number))
        .options(options)
        .await?;
    Ok(())
}

/// About 230 bytes, as a job's references and parameters take.
fn payload(number: usize) -> Value {
    json!({
        "image": "01939b5e-6f00-7000-8000-000000000001",
        "project": "01939b5e-6f00-7000-8000-000000000002",
        "parameters": "x".repeat(70),
        "number": number,
        "sent": epoch_s(),
    })
}

async fn queue(order: &Order) -> Result<Queue, bullmq::Error> {
    let options = QueueOptions {
        connection: connection(order),
        ..QueueOptions::default()
    };
    Queue::with_options(QUEUE, options).await
}

fn connection(order: &Order) -> RedisConnectionOptions {
    RedisConnectionOptions::new().url(order.url.as_str())
}

/// A worker whose jobs only say how long they waited.
struct Consumer {
    worker: Worker,
    queue: Queue,
    started: Arc<AtomicUsize>,
    waits: mpsc::UnboundedReceiver<f64>,
}

impl Consumer {
    async fn start(order: &Order) -> Result<Self, Failure> {
        let (sender, waits) = mpsc::unbounded_channel();
        let started = Arc::new(AtomicUsize::new(0));
        let counted = started.clone();
        let measure = order.mode == "latency";
        let work = move |job: Job, _: CancellationToken| {
            counted.fetch_add(1, Ordering::Relaxed);
            if measure {
                let sent = job.data()["sent"].as_f64().unwrap_or(f64::NAN);
                // Nobody listens any more once all have arrived.
                let _ = sender.send((epoch_s() - sent) * 1000.0);
            }
            async { Ok(Value::Null) }
        };
        let options = WorkerOptions {
            connection: connection(order),
            concurrency: order.permits,
            ..WorkerOptions::default()
        };
        Ok(Self {
            worker: Worker::with_options(QUEUE, work, options).await?,
            queue: queue(order).await?,
            started,
            waits,
        })
    }

    /// The instant at which the last job had left the queue.
    async fn finish(self, jobs: usize) -> Result<f64, Failure> {
        while self.started.load(Ordering::Relaxed) < jobs {
            tokio::time::sleep(POLL).await;
        }
        while self.queue.get_active_count().await? > 0 {
            tokio::time::sleep(POLL).await;
        }
        let ended = epoch_s();
        self.worker.close(1_000).await?;
        Ok(ended)
    }
}

fn epoch_s() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
