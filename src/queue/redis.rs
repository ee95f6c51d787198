//! The job queue on Redis: one function of the server per operation (`redis/functions/`), each one step. All keys carry
//! one hash tag, so that a cluster keeps them together.
//!
//! Waking: a process without work listens on a channel and sleeps until the next delayed job is due, which its last
//! exchange has told; that costs the server nothing. An offer is announced only when nothing waited before it:
//! otherwise everybody is awake. A lost announcement is noticed with the end of the waiter's patience.

mod packing;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fred::types::{Key, Value};
use futures::FutureExt;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    BATCH_MAX, CLAIM_ROUNDS_MAX, Depth, Error, Exchanged, Fairness, JobQueue, Lane, Lease, Leased,
    Load, Offer, PROMOTED_PER_CLAIM_MAX, Release, Want,
};
use crate::kit::id::{JobId, UserId};
use crate::state::Subscription;
use crate::state::redis::{self as state, Library, Listener, array, bytes, integer, milliseconds};

use packing::{Arguments, fence, id, ids, letters, truths};

/// Texts of the library's files, each in a scope of its own but the first.
macro_rules! library {
    ($prelude:literal, $($file:literal),+) => {
        concat!(
            include_str!(concat!("redis/functions/", $prelude)),
            $("do\n", include_str!(concat!("redis/functions/", $file)), "end\n"),+
        )
    };
}

static LIBRARY: Library = Library::new(
    "spheroctl_queue",
    library!(
        "prelude.lua",
        "offer.lua",
        "exchange.lua",
        "renew.lua",
        "adopt.lua",
        "expired.lua",
        "requeue.lua",
        "cancel.lua",
        "remove.lua",
        "known.lua",
        "depth.lua",
        "position.lua",
        "loads.lua"
    ),
);

/// The keys in the order in which the prelude names them; the braces are literal.
const KEYS: [&str; 9] = [
    "q:{main}:jobs",
    "q:{main}:owners",
    "q:{main}:clocks",
    "q:{main}:delayed",
    "q:{main}:leases",
    "q:{main}:stops",
    "q:{main}:waiting:default",
    "q:{main}:waiting:large",
    // Followed by lane and owner.
    "q:{main}:backlog:",
];

/// The channel of announcements.
const WAKE: &str = "q:{main}:wake";

/// The handle; clones share the connections of the state store.
#[derive(Debug, Clone)]
pub struct Redis {
    state: state::Redis,
    fairness: Fairness,
    keys: Arc<[Key; 9]>,
    wake: String,
    waiter: Arc<Waiter>,
}

/// What the one who waits in this process knows.
#[derive(Debug, Default)]
struct Waiter {
    /// Listens from the first wait on, so that what is announced between two waits is not missed.
    listener: tokio::sync::Mutex<Option<Listener>>,
    /// When a job may be due, as the last exchange told.
    due: Mutex<Option<Instant>>,
}

impl Redis {
    /// The queue on the connections, and under the prefix, of `state`.
    pub fn new(state: &state::Redis, fairness: Fairness) -> Self {
        Self {
            state: state.clone(),
            fairness,
            keys: Arc::new(KEYS.map(|name| state.key(name).into())),
            wake: state.key(WAKE),
            waiter: Arc::default(),
        }
    }

    /// The arguments that all functions share.
    fn arguments(&self) -> Arguments {
        let mut arguments = Arguments::default();
        arguments.push(self.wake.as_bytes());
        arguments.push_number(i64::from(self.fairness.owner_running_max));
        arguments
    }

    async fn call(&self, function: &str, arguments: Arguments) -> Result<Value, Error> {
        let (keys, arguments) = (&self.keys[..], arguments.into_values());
        self.state.call(&LIBRARY, function, keys, arguments).await
    }

    /// Asks a function about jobs, which follow `arguments`; its answer has a letter for each.
    async fn ask(&self, function: &str, jobs: &[JobId]) -> Result<Vec<bool>, Error> {
        let mut answers = Vec::with_capacity(jobs.len());
        for batch in jobs.chunks(BATCH_MAX) {
            let mut arguments = self.arguments();
            batch.iter().for_each(|job| arguments.push_job(job));
            let answer = self.call(function, arguments).await?;
            answers.extend(truths(&letters(answer, batch.len())?));
        }
        Ok(answers)
    }

    /// Asks a function about one job; its answer is a number.
    async fn ask_one(&self, function: &str, job: JobId) -> Result<i64, Error> {
        let mut arguments = self.arguments();
        arguments.push_job(&job);
        integer(&self.call(function, arguments).await?)
    }

    async fn exchange_once(
        &self,
        ended: &[(Leased, Release)],
        want: Want<'_>,
    ) -> Result<Exchanged, Error> {
        let mut arguments = self.arguments();
        arguments.push_count(want.limit.min(BATCH_MAX));
        arguments.push_number(milliseconds(want.lease));
        arguments.push_lanes(want.lanes);
        arguments.push_number(milliseconds(self.fairness.aged_after));
        arguments.push_number(i64::from(self.fairness.aged_share));
        arguments.push_count(PROMOTED_PER_CLAIM_MAX);
        arguments.push_count(CLAIM_ROUNDS_MAX);
        for (leased, release) in ended {
            arguments.push_job(&leased.job);
            arguments.push_fence(leased.fence);
            match release {
                Release::Done => [b"", b""].iter().for_each(|none| arguments.push(*none)),
                Release::Again(offer) => {
                    arguments.push_offer(offer);
                    arguments.push_delay(offer.delay);
                }
            }
        }
        let answer = array(self.call("exchange", arguments).await?)?;
        let [released, number, due, claimed] = <[Value; 4]>::try_from(answer)
            .map_err(|other| Error::Unexpected(format!("{} parts of an exchange", other.len())))?;
        if want.limit > 0 {
            *self.waiter.due.lock() = due_in(integer(&due)?);
        }
        let jobs = ids(claimed)?;
        let fence = if jobs.is_empty() { 0 } else { fence(number)? };
        let claimed = jobs.into_iter().map(|job| Leased { job, fence });
        Ok(Exchanged {
            released: truths(&letters(released, ended.len())?).collect(),
            claimed: claimed.collect(),
        })
    }
}

#[async_trait]
impl JobQueue for Redis {
    async fn offer(&self, offers: &[Offer]) -> Result<Vec<bool>, Error> {
        let mut answers = Vec::with_capacity(offers.len());
        for batch in offers.chunks(BATCH_MAX) {
            let mut arguments = self.arguments();
            for offer in batch {
                arguments.push_job(&offer.job);
                arguments.push_offer(offer);
                arguments.push_delay(offer.delay);
            }
            let answer = self.call("offer", arguments).await?;
            answers.extend(truths(&letters(answer, batch.len())?));
        }
        Ok(answers)
    }

    async fn exchange(
        &self,
        ended: &[(Leased, Release)],
        want: Want<'_>,
    ) -> Result<Exchanged, Error> {
        let mut released = Vec::with_capacity(ended.len());
        let mut left = ended;
        while left.len() > BATCH_MAX {
            let (batch, rest) = left.split_at(BATCH_MAX);
            let none = Want { limit: 0, ..want };
            released.extend(self.exchange_once(batch, none).await?.released);
            left = rest;
        }
        let last = self.exchange_once(left, want).await?;
        released.extend(last.released);
        Ok(Exchanged {
            released,
            claimed: last.claimed,
        })
    }

    async fn wait(&self, _: &[Lane], patience: Duration) -> Result<(), Error> {
        let mut listener = self.waiter.listener.lock().await;
        let Some(listener) = listener.as_mut() else {
            // What was announced before may be missed: the caller looks again.
            *listener = Some(self.state.listen(&self.wake).await?);
            return Ok(());
        };
        let patience = Instant::now() + patience;
        let until = self
            .waiter
            .due
            .lock()
            .map_or(patience, |due| due.min(patience));
        // Whatever comes, a message, word of missed ones or the end of the patience: the caller looks again.
        if tokio::time::timeout_at(until, listener.next())
            .await
            .is_ok()
        {
            while let Some(Some(_)) = listener.next().now_or_never() {}
        }
        Ok(())
    }

    async fn renew(&self, held: &[Leased], lease: Duration) -> Result<Vec<Lease>, Error> {
        let mut answers = Vec::with_capacity(held.len());
        for batch in held.chunks(BATCH_MAX) {
            let mut arguments = self.arguments();
            arguments.push_number(milliseconds(lease));
            for held in batch {
                arguments.push_job(&held.job);
                arguments.push_fence(held.fence);
            }
            let answer = self.call("renew", arguments).await?;
            for letter in letters(answer, batch.len())? {
                answers.push(standing(letter)?);
            }
        }
        Ok(answers)
    }

    async fn adopt(&self, offer: &Offer, fence: i64, lease: Duration) -> Result<bool, Error> {
        let mut arguments = self.arguments();
        arguments.push_number(milliseconds(lease));
        arguments.push_job(&offer.job);
        arguments.push_fence(fence);
        arguments.push_offer(offer);
        Ok(integer(&self.call("adopt", arguments).await?)? == 1)
    }

    async fn expired(&self, limit: usize) -> Result<Vec<JobId>, Error> {
        let mut arguments = self.arguments();
        arguments.push_count(limit.min(BATCH_MAX));
        let found = array(self.call("expired", arguments).await?)?;
        let found = found.into_iter();
        found
            .map(|value| id(&bytes(value)?.unwrap_or_default()))
            .collect()
    }

    async fn requeue(&self, jobs: &[JobId]) -> Result<Vec<bool>, Error> {
        self.ask("requeue", jobs).await
    }

    async fn cancel(&self, job: JobId) -> Result<bool, Error> {
        Ok(self.ask_one("cancel", job).await? == 1)
    }

    async fn remove(&self, jobs: &[JobId]) -> Result<(), Error> {
        for batch in jobs.chunks(BATCH_MAX) {
            let mut arguments = self.arguments();
            batch.iter().for_each(|job| arguments.push_job(job));
            self.call("remove", arguments).await?;
        }
        Ok(())
    }

    async fn known(&self, jobs: &[JobId]) -> Result<Vec<bool>, Error> {
        self.ask("known", jobs).await
    }

    async fn depth(&self) -> Result<Depth, Error> {
        match numbers(self.call("depth", self.arguments()).await?)?.as_slice() {
            [waiting, delayed, active] => Ok(Depth {
                waiting: *waiting,
                delayed: *delayed,
                active: *active,
            }),
            other => Err(Error::Unexpected(format!("{other:?} as the queue's depth"))),
        }
    }

    async fn position(&self, job: JobId) -> Result<Option<u64>, Error> {
        let position = self.ask_one("position", job).await?;
        Ok(u64::try_from(position).ok().filter(|place| *place > 0))
    }

    async fn loads(&self, owners: &[UserId]) -> Result<Vec<Load>, Error> {
        let mut loads = Vec::with_capacity(owners.len());
        for batch in owners.chunks(BATCH_MAX) {
            let mut arguments = self.arguments();
            batch.iter().for_each(|owner| arguments.push_owner(owner));
            let answer = numbers(self.call("loads", arguments).await?)?;
            loads.extend(answer.chunks_exact(2).map(|pair| Load {
                waiting: pair[0],
                running: pair[1],
            }));
        }
        Ok(loads)
    }
}

// === Answers ===

/// When a job is due that is so in this many milliseconds; none for a negative number.
fn due_in(milliseconds: i64) -> Option<Instant> {
    let due = u64::try_from(milliseconds).ok()?;
    Some(Instant::now() + Duration::from_millis(due))
}

fn numbers(answer: Value) -> Result<Vec<u64>, Error> {
    let numbers = array(answer)?;
    let numbers = numbers
        .iter()
        .map(|number| Ok(integer(number)?.unsigned_abs()));
    numbers.collect()
}

fn standing(answer: u8) -> Result<Lease, Error> {
    match answer {
        b'0' => Ok(Lease::Held),
        b'1' => Ok(Lease::Cancelled),
        b'2' => Ok(Lease::Lost),
        b'3' => Ok(Lease::Unknown),
        other => Err(Error::Unexpected(format!("{other} as a lease's standing"))),
    }
}
