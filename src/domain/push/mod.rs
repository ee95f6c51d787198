//! Messages to those who watch: typed, on the channels that they are for.
//!
//! Two kinds. *Passing* ones (progress, a job's present status, breakers) are heard by whoever listens now; whoever misses one
//! asks the row. *Events* are facts with an id: they are kept for a while ([`Channel::keep`]), so that a client that was away
//! recovers them, and one that is told again changes nothing.

mod channel;
mod told;

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::kit::breaker::{self, Change};
use crate::kit::id::{EventId, JobId, UserId};
use crate::state::feed::{Heard, Post, Posted};
use crate::state::{SharedState, Subscription, When};

use super::Error;
use super::jobs::Status;

pub use channel::{Channel, NotAChannel};
pub use told::{Author, Told};

/// The last progress of a running job is kept this long for those who ask instead of watching.
const PROGRESS_LIFETIME: Duration = Duration::from_secs(60);

/// A message on `job:{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum JobMessage {
    /// How far the run has come.
    Progress {
        /// The run.
        attempt: i64,
        /// 0 to 100.
        percent: u8,
    },
    /// The job stands elsewhere now.
    Status {
        /// The run.
        attempt: i64,
        /// Where it stands.
        status: Status,
    },
    /// The job has ended; an event, also on its owner's `user:{id}`.
    Ended {
        /// Which one.
        job: JobId,
        /// The run.
        attempt: i64,
        /// How.
        status: Status,
    },
}

/// A job that has ended, to be told by [`Push::jobs_ended`].
#[derive(Debug, Clone, Copy)]
pub struct JobEnd {
    /// The fact that says so.
    pub event: EventId,
    /// Which one.
    pub job: JobId,
    /// Whose it is.
    pub owner: UserId,
    /// The run.
    pub attempt: i64,
    /// How.
    pub status: Status,
}

/// A message on `system`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SystemMessage {
    /// A breaker changed.
    Breaker {
        /// Which one: `ml`.
        name: String,
        /// The instance that has it.
        instance: String,
        /// What it does with calls now.
        state: breaker::State,
        /// The time until the next try where it is open, in milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_in_ms: Option<u64>,
    },
}

/// Where the gateways hear that somebody's rights have changed, without the state store's prefix. No client's channel.
pub const ACCESS_CHANGES: &str = "realtime:access";

#[derive(Serialize, Deserialize)]
struct LastProgress {
    attempt: i64,
    percent: u8,
}

/// Publishes. Nobody waits for a message to arrive: failures are logged, never raised.
#[derive(Debug, Clone)]
pub struct Push {
    state: SharedState,
}

fn progress_key(id: JobId) -> String {
    format!("job:{id}:progress")
}

impl Push {
    /// A publisher on this state store.
    pub const fn new(state: SharedState) -> Self {
        Self { state }
    }

    /// Tells how far a run has come.
    pub async fn job_progress(&self, id: JobId, attempt: i64, percent: u8) {
        self.publish(Channel::Job(id), &JobMessage::Progress { attempt, percent })
            .await;
        let Ok(last) = serde_json::to_vec(&LastProgress { attempt, percent }) else {
            return;
        };
        let kept = self
            .state
            .put(
                &progress_key(id),
                last.into(),
                PROGRESS_LIFETIME,
                When::Always,
            )
            .await;
        if let Err(error) = kept {
            tracing::debug!(%error, "progress of job {id} was not kept: {error}");
        }
    }

    /// Tells where a job stands now.
    pub async fn job_status(&self, id: JobId, attempt: i64, status: Status) {
        self.publish(Channel::Job(id), &JobMessage::Status { attempt, status })
            .await;
    }

    /// Publishes an event; false when its channel keeps it already and nobody was told again.
    ///
    /// # Errors
    /// When the state store does not answer; nobody knows whether it was published, and trying again is safe.
    pub async fn event(
        &self,
        channel: Channel,
        event: EventId,
        message: &impl Serialize,
    ) -> Result<bool, Error> {
        let payload = payload(message)?;
        let posted = self.post(&[(channel, Some(event), payload)]).await?;
        Ok(posted.iter().all(|posted| posted.is_new))
    }

    /// Tells the ends of jobs, in this order, on the channel of each and on its owner's.
    ///
    /// # Errors
    /// As [`Push::event`].
    pub async fn jobs_ended(&self, ends: &[JobEnd]) -> Result<(), Error> {
        let mut news = Vec::with_capacity(2 * ends.len());
        for end in ends {
            let payload = payload(&JobMessage::Ended {
                job: end.job,
                attempt: end.attempt,
                status: end.status,
            })?;
            for channel in [Channel::Job(end.job), Channel::User(end.owner)] {
                news.push((channel, Some(end.event), payload.clone()));
            }
        }
        self.post(&news).await.map(drop)
    }

    /// Publishes what a client says, and keeps it as an event.
    ///
    /// # Errors
    /// When the state store does not answer.
    pub async fn said(&self, channel: Channel, told: &Told) -> Result<Posted, Error> {
        let payload = told.to_bytes().map_err(unwritable)?;
        let mut posted = self.post(&[(channel, None, payload)]).await?;
        let posted = posted.pop();
        posted.ok_or_else(|| Error::Internal("a publication without an answer".into()))
    }

    /// Tells those who listen now, and nobody later.
    ///
    /// # Errors
    /// When the state store does not answer.
    pub async fn tell(&self, channel: Channel, told: &Told) -> Result<(), Error> {
        let payload = told.to_bytes().map_err(unwritable)?;
        let message = Heard::not_kept(&payload);
        Ok(self.state.publish(&channel.key(), message).await?)
    }

    /// Tells the gateways to look again at what this person may hear. They do so by themselves after a while.
    pub async fn access_changed(&self, user: UserId) {
        let message = Bytes::from(user.to_string());
        if let Err(error) = self.state.publish(ACCESS_CHANGES, message).await {
            tracing::debug!(%error, "no gateway was told of the rights of user {user}: {error}");
        }
    }

    /// Tells that a breaker of `instance` changed.
    pub async fn breaker_changed(&self, instance: &str, change: Change) {
        let retry_in_ms = change.retry_in.map(|wait| wait.as_millis());
        let message = SystemMessage::Breaker {
            name: change.name.to_owned(),
            instance: instance.to_owned(),
            state: change.to,
            retry_in_ms: retry_in_ms.and_then(|wait| u64::try_from(wait).ok()),
        };
        self.publish(Channel::System, &message).await;
    }

    /// The messages of a job from now on; `None` where the state store is away and rows must be looked at instead.
    pub async fn watch_job(&self, id: JobId) -> Option<Box<dyn Subscription>> {
        let watched = self.state.subscribe(&Channel::Job(id).key()).await;
        watched
            .inspect_err(|error| tracing::debug!(%error, "job {id} is not watched: {error}"))
            .ok()
    }

    /// The progress that this run last told; 0 where none is known.
    pub async fn last_progress(&self, id: JobId, attempt: i64) -> u8 {
        let kept = self.state.get(&progress_key(id)).await.ok().flatten();
        kept.and_then(|bytes: Bytes| serde_json::from_slice::<LastProgress>(&bytes).ok())
            .filter(|last| last.attempt == attempt)
            .map_or(0, |last| last.percent)
    }

    async fn publish(&self, channel: Channel, message: &impl Serialize) {
        let told = Told::by_the_product(message).map_err(unwritable);
        let told = match told {
            Ok(told) => self.tell(channel, &told).await,
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            tracing::debug!(%error, %channel, "nobody was told on {channel}: {error}");
        }
    }

    async fn post(&self, news: &[(Channel, Option<EventId>, Bytes)]) -> Result<Vec<Posted>, Error> {
        let names = news.iter().map(|(channel, event, _)| {
            let event = event.map(|event| event.to_string());
            (channel.key(), event)
        });
        let names: Vec<(String, Option<String>)> = names.collect();
        let posts = news.iter().zip(&names);
        let posts = posts.map(|((channel, _, payload), (key, event))| Post {
            channel: key,
            payload: payload.clone(),
            event: event.as_deref(),
            keep: channel.keep(),
        });
        Ok(self.state.post(&posts.collect::<Vec<_>>()).await?)
    }
}

fn payload(message: &impl Serialize) -> Result<Bytes, Error> {
    let told = Told::by_the_product(message).map_err(unwritable)?;
    told.to_bytes().map_err(unwritable)
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::Internal(format!("a message that is no JSON: {error}"))
}
