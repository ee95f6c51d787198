//! What the program can be asked, and its answer: one line of JSON with the instants at which the work `began` and `ended`,
//! in seconds since 1970.
//!
//! * `handshake`: offers, claims and acknowledgements as fast as they go, in one process or in two.
//! * `latency`: how long a job waits for its start when jobs come at a steady rate.
//! * `http`: jobs sent by clients of the API, to the last row that says that its job is finished.

mod handshake;
mod http;
mod latency;
mod store;

use serde_json::Value;
use spheroctl::kit::clock::{Clock, SystemClock};

use crate::bench::{Failure, seconds};

const USAGE: &str = "\
usage: queue both|produce|work URL JOBS PRODUCERS PERMITS   the handshake, or a half of it
       queue latency URL JOBS PRODUCERS PERMITS RATE        JOBS at RATE per second, whatever becomes of them
       queue http API IMAGE JOBS CLIENTS BATCH DATABASE     by the API, with the token in SPHEROCTL_BENCH_TOKEN
URL is redis://… or memory: for a queue in the process. More than one producer: offers are gathered, as in the product.";

/// Answers the command of this process.
pub async fn answer(words: &[&str]) -> Result<Value, Failure> {
    match words {
        ["both", url, numbers @ ..] => handshake::both(url, &size(numbers)?).await,
        ["produce", url, numbers @ ..] => handshake::produce(url, &size(numbers)?).await,
        ["work", url, numbers @ ..] => handshake::work(url, &size(numbers)?).await,
        ["latency", url, numbers @ .., rate] => {
            latency::run(url, &size(numbers)?, rate.parse()?).await
        }
        ["http", api, image, jobs, clients, batch, database] => {
            let load = http::Load {
                jobs: jobs.parse()?,
                clients: clients.parse()?,
                batch: batch.parse()?,
            };
            http::run(api, image, &load, database).await
        }
        _ => Err(USAGE.into()),
    }
}

/// How much work, by how many.
#[derive(Debug, Clone, Copy)]
struct Size {
    jobs: usize,
    producers: usize,
    permits: usize,
}

fn size(numbers: &[&str]) -> Result<Size, Failure> {
    let [jobs, producers, permits] = numbers else {
        return Err(USAGE.into());
    };
    Ok(Size {
        jobs: jobs.parse()?,
        producers: producers.parse()?,
        permits: permits.parse()?,
    })
}

fn now_s() -> f64 {
    seconds(SystemClock.now())
}
