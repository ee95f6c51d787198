//! The queue that is measured, opened and used as the product does it.

use std::sync::Arc;
use std::time::Duration;

use spheroctl::kit::clock::{Clock, SystemClock};
use spheroctl::kit::id::{JobId, UserId};
use spheroctl::queue::batching::Batching;
use spheroctl::queue::{self, Fairness, Lane, Offer, SharedQueue};
use spheroctl::settings::{self, Sources};
use spheroctl::state::redis::Redis;
use uuid::Uuid;

use super::Failure;

/// Owners whose jobs take turns.
const OWNERS: usize = 10;

/// The queue at `url` with the settings' defaults; behind the front that gathers offers where they come from many.
pub async fn open(url: &str, producers: usize) -> Result<SharedQueue, Failure> {
    let flags = vec![("redis.url".to_owned(), url.to_owned())];
    let sources = Sources {
        flags: if url == "memory:" { Vec::new() } else { flags },
        ..Sources::default()
    };
    let settings = settings::load(&sources)?.settings;
    let fairness = Fairness {
        owner_running_max: settings.queue.owner_running_max,
        aged_after: Duration::from_millis(settings.queue.aged_after_ms),
        aged_share: settings.queue.aged_share,
    };
    let queue: SharedQueue = if url == "memory:" {
        Arc::new(queue::memory::Memory::new(SystemClock::shared(), fairness))
    } else {
        let state = Redis::connect(&settings.redis).await?;
        Arc::new(queue::redis::Redis::new(&state, fairness))
    };
    Ok(if producers > 1 {
        Arc::new(Batching::new(queue))
    } else {
        queue
    })
}

/// A new job: priorities in turn, and owners in turn within each.
pub fn offer(number: usize) -> Offer {
    let owner = number / usize::from(queue::PRIORITY_MAX) % OWNERS;
    Offer {
        job: JobId::new(&SystemClock),
        owner: UserId::from_uuid(Uuid::from_u128(1 + owner as u128)),
        lane: Lane::Default,
        priority: priority(number),
        since: SystemClock.now(),
        delay: Duration::ZERO,
    }
}

fn priority(number: usize) -> u8 {
    let span = usize::from(queue::PRIORITY_MAX - queue::PRIORITY_MIN) + 1;
    // Safe to ignore: the rest of a division by 10 fits.
    queue::PRIORITY_MIN + u8::try_from(number % span).unwrap_or(0)
}
