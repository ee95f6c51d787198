//! The job queue on Redis: one script per operation (`redis/scripts/`), each one step of the server. All keys carry
//! one hash tag, so that a cluster keeps them together.
//!
//! Waking: a process without work listens on a channel and sleeps until the next delayed job is due, which costs the
//! server nothing. An offer is announced only when nothing waited before it: otherwise everybody is awake. A lost
//! announcement is noticed with the end of the waiter's patience.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fred::types::Value;
use tokio::sync::OnceCell;

use super::{
    BATCH_MAX, Depth, Error, JobQueue, Lease, Offer, PRIORITY_MAX, PRIORITY_MIN,
    PROMOTED_PER_CLAIM_MAX, Release,
};
use crate::kit::id::JobId;
use crate::state::Subscription;
use crate::state::redis::{self as state, Listener, Script, array, bytes, integer, milliseconds};

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {$(
        static $name: Script = Script::new(concat!(
            include_str!("redis/scripts/prelude.lua"),
            include_str!(concat!("redis/scripts/", $file)),
        ));
    )*};
}

scripts! {
    OFFER = "offer.lua";
    CLAIM = "claim.lua";
    DUE = "due.lua";
    RENEW = "renew.lua";
    ADOPT = "adopt.lua";
    RELEASE = "release.lua";
    EXPIRED = "expired.lua";
    REQUEUE = "requeue.lua";
    CANCEL = "cancel.lua";
    REMOVE = "remove.lua";
    KNOWN = "known.lua";
    DEPTH = "depth.lua";
}

/// The keys in the order in which the prelude names them; the braces are literal.
const KEYS: [&str; 7] = [
    "q:{main}:waiting",
    "q:{main}:delayed",
    "q:{main}:leases",
    "q:{main}:places",
    "q:{main}:owners",
    "q:{main}:stops",
    "q:{main}:sequence",
];

/// The channel of announcements.
const WAKE: &str = "q:{main}:wake";

/// What `release.lua` takes for "never again".
const DONE: i64 = -1;

/// The handle; clones share the connections of the state store.
#[derive(Debug, Clone)]
pub struct Redis {
    state: state::Redis,
    keys: Arc<[String; 7]>,
    wake: String,
    /// Keeps the process subscribed between waits; every wait listens by a copy.
    listener: Arc<OnceCell<Listener>>,
}

impl Redis {
    /// The queue on the connections, and under the prefix, of `state`.
    pub fn new(state: &state::Redis) -> Self {
        Self {
            state: state.clone(),
            keys: Arc::new(KEYS.map(|name| state.key(name))),
            wake: state.key(WAKE),
            listener: Arc::default(),
        }
    }

    async fn run(&self, script: &Script, args: Vec<Value>) -> Result<Value, Error> {
        let shared = [PRIORITY_MIN, PRIORITY_MAX].map(|priority| i64::from(priority).into());
        let mut all = vec![Value::from(self.wake.as_str())];
        all.extend(shared);
        all.extend(args);
        self.state.run(script, &self.keys[..], all).await
    }

    /// Runs a script with `first` and then the arguments of each item, [`BATCH_MAX`] items at a time; the answers of
    /// the script, a number for each item, in one list.
    async fn run_each<T, const N: usize>(
        &self,
        script: &Script,
        first: Vec<Value>,
        items: &[T],
        args: impl Fn(&T) -> [Value; N] + Send,
    ) -> Result<Vec<i64>, Error>
    where
        T: Sync,
    {
        let mut answers = Vec::with_capacity(items.len());
        for batch in items.chunks(BATCH_MAX) {
            let mut all = first.clone();
            all.extend(batch.iter().flat_map(&args));
            for answer in array(self.run(script, all).await?)? {
                answers.push(integer(&answer)?);
            }
        }
        if answers.len() == items.len() {
            return Ok(answers);
        }
        Err(Error::Unexpected(format!(
            "{} answers to {} questions",
            answers.len(),
            items.len()
        )))
    }

    async fn listener(&self) -> Result<Listener, Error> {
        let subscribed = self
            .listener
            .get_or_try_init(|| self.state.listen(&self.wake));
        Ok(subscribed.await?.again())
    }
}

#[async_trait]
impl JobQueue for Redis {
    async fn offer(&self, offers: &[Offer]) -> Result<Vec<bool>, Error> {
        let args = |offer: &Offer| {
            let priority = i64::from(offer.priority);
            [
                id(&offer.job),
                priority.into(),
                delay_ms(offer.delay).into(),
            ]
        };
        Ok(truths(&self.run_each(&OFFER, vec![], offers, args).await?))
    }

    async fn claim(&self, owner: &str, limit: usize, lease: Duration) -> Result<Vec<JobId>, Error> {
        let args = vec![
            owner.into(),
            count(limit.min(BATCH_MAX)),
            milliseconds(lease).into(),
            count(PROMOTED_PER_CLAIM_MAX),
        ];
        jobs(self.run(&CLAIM, args).await?)
    }

    async fn wait(&self, patience: Duration) -> Result<(), Error> {
        // Listen before you look: what is offered between the two is not missed.
        let mut listener = self.listener().await?;
        let due = integer(&self.run(&DUE, vec![]).await?)?;
        let due = u64::try_from(due).map_or(patience, Duration::from_millis);
        // Whatever comes, a message, word of missed ones or the end of the patience: the caller looks again.
        let _ = tokio::time::timeout(due.min(patience), listener.next()).await;
        Ok(())
    }

    async fn renew(
        &self,
        owner: &str,
        jobs: &[JobId],
        lease: Duration,
    ) -> Result<Vec<Lease>, Error> {
        let first = vec![owner.into(), milliseconds(lease).into()];
        let answers = self.run_each(&RENEW, first, jobs, |job| [id(job)]).await?;
        answers.into_iter().map(standing).collect()
    }

    async fn adopt(&self, owner: &str, job: JobId, lease: Duration) -> Result<bool, Error> {
        let args = vec![owner.into(), milliseconds(lease).into(), id(&job)];
        Ok(integer(&self.run(&ADOPT, args).await?)? == 1)
    }

    async fn release(&self, owner: &str, jobs: &[(JobId, Release)]) -> Result<Vec<bool>, Error> {
        let args = |(job, release): &(JobId, Release)| {
            let again = match release {
                Release::Done => DONE,
                Release::Again(delay) => delay_ms(*delay),
            };
            [id(job), again.into()]
        };
        let first = vec![owner.into()];
        Ok(truths(&self.run_each(&RELEASE, first, jobs, args).await?))
    }

    async fn expired(&self, limit: usize) -> Result<Vec<JobId>, Error> {
        jobs(
            self.run(&EXPIRED, vec![count(limit.min(BATCH_MAX))])
                .await?,
        )
    }

    async fn requeue(&self, jobs: &[JobId]) -> Result<Vec<bool>, Error> {
        let answers = self.run_each(&REQUEUE, vec![], jobs, |job| [id(job)]);
        Ok(truths(&answers.await?))
    }

    async fn cancel(&self, job: JobId) -> Result<bool, Error> {
        Ok(integer(&self.run(&CANCEL, vec![id(&job)]).await?)? == 1)
    }

    async fn remove(&self, jobs: &[JobId]) -> Result<(), Error> {
        for batch in jobs.chunks(BATCH_MAX) {
            self.run(&REMOVE, batch.iter().map(id).collect()).await?;
        }
        Ok(())
    }

    async fn known(&self, jobs: &[JobId]) -> Result<Vec<bool>, Error> {
        let answers = self.run_each(&KNOWN, vec![], jobs, |job| [id(job)]);
        Ok(truths(&answers.await?))
    }

    async fn depth(&self) -> Result<Depth, Error> {
        let numbers = array(self.run(&DEPTH, vec![]).await?)?;
        let numbers: Result<Vec<i64>, Error> = numbers.iter().map(integer).collect();
        match numbers?.as_slice() {
            [waiting, delayed, active] => Ok(Depth {
                waiting: waiting.unsigned_abs(),
                delayed: delayed.unsigned_abs(),
                active: active.unsigned_abs(),
            }),
            other => Err(Error::Unexpected(format!("{other:?} as the queue's depth"))),
        }
    }
}

// === Arguments and answers ===

fn id(job: &JobId) -> Value {
    Value::from(job.to_string())
}

fn count(number: usize) -> Value {
    Value::from(i64::try_from(number).unwrap_or(i64::MAX))
}

fn delay_ms(delay: Duration) -> i64 {
    if delay.is_zero() {
        0
    } else {
        milliseconds(delay)
    }
}

fn truths(answers: &[i64]) -> Vec<bool> {
    answers.iter().map(|answer| *answer == 1).collect()
}

fn standing(answer: i64) -> Result<Lease, Error> {
    match answer {
        0 => Ok(Lease::Held),
        1 => Ok(Lease::Cancelled),
        2 => Ok(Lease::Lost),
        3 => Ok(Lease::Unknown),
        other => Err(Error::Unexpected(format!("{other} as a lease's standing"))),
    }
}

fn jobs(answer: Value) -> Result<Vec<JobId>, Error> {
    let ids = array(answer)?.into_iter().map(|value| {
        let text = bytes(value)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let job: Result<JobId, _> = text.parse();
        job.map_err(|error| Error::Unexpected(error.to_string()))
    });
    ids.collect()
}
