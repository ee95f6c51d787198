//! Messages to those who watch: typed, with the names of their channels. Ephemeral: whoever misses one asks the row.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::kit::breaker::{self, Change};
use crate::kit::id::JobId;
use crate::state::{SharedState, Subscription, When};

use super::jobs::Status;

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

/// The realtime channel of what concerns everybody, without the state store's prefix.
pub const SYSTEM_CHANNEL: &str = "realtime:channel:system";

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

/// The realtime channel of a job, without the state store's prefix.
pub fn job_channel(id: JobId) -> String {
    format!("realtime:channel:job:{id}")
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
        self.publish(&job_channel(id), &JobMessage::Progress { attempt, percent })
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
        self.publish(&job_channel(id), &JobMessage::Status { attempt, status })
            .await;
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
        self.publish(SYSTEM_CHANNEL, &message).await;
    }

    /// The messages of a job from now on; `None` where the state store is away and rows must be looked at instead.
    pub async fn watch_job(&self, id: JobId) -> Option<Box<dyn Subscription>> {
        let watched = self.state.subscribe(&job_channel(id)).await;
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

    async fn publish(&self, channel: &str, message: &impl Serialize) {
        let Ok(payload) = serde_json::to_vec(message) else {
            return;
        };
        if let Err(error) = self.state.publish(channel, payload.into()).await {
            tracing::debug!(%error, channel, "nobody was told on {channel}: {error}");
        }
    }
}
