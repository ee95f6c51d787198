//! Who finds the objects of a job's image, as the settings say.
//!
//! * `pages`: the job's page, for all of them.
//! * `builtin`: the segmenter in this program.
//! * `remote`: the one behind HTTP, with its breaker; `batching` gathers small images for one call.

mod batching;
mod builtin;
mod pages;
mod remote;

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::domain::jobs::{Failure, Job};
use crate::domain::push::Push;
use crate::health::{Check, Kind};
use crate::kit::breaker::{self, Breaker, Change, Refused};
use crate::kit::id::JobId;
use crate::kit::instance::InstanceId;
use crate::kit::lifecycle::Lifecycle;
use crate::kit::metrics;
use crate::segment::Segmentation;
use crate::segment::remote::{Remote, RemoteError, Request};
use crate::settings::{Ml, MlFallback, MlSegmenter, Settings};

use super::running::Run;

pub use pages::Pages;
pub(super) use pages::Source;

use batching::GroupRules;
use remote::RemoteSegmenter;

/// Name of the breaker and of the service in health reports.
const NAME: &str = "ml";
/// Changes of the breaker that wait to be published; a breaker changes once in many seconds.
const CHANGES_MAX: usize = 64;
/// The job's own time, of which a call leaves a part for reading and measuring.
const JOB_TIME_PARTS: u32 = 11;

/// What is written to a result of builtin's that was meant for the remote segmenter.
const FALLBACK_NOTE: &str = "the remote segmenter was away; the builtin one did this image";

/// Why there is no result.
#[derive(Debug, Clone)]
pub(super) enum NoResult {
    /// The run failed.
    Failed(Failure),
    /// The segmenter is away, which has nothing to do with the job: it uses no attempt and waits.
    Unavailable {
        /// When to try again.
        retry_after: Duration,
        /// A sentence for the log.
        why: String,
    },
}

impl From<Failure> for NoResult {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Refused> for NoResult {
    fn from(refused: Refused) -> Self {
        Self::Unavailable {
            retry_after: refused.retry_in,
            why: refused.to_string(),
        }
    }
}

/// What segmenters tell others, and are stopped by.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Messages to those who watch.
    pub push: Push,
    /// Who this process is.
    pub instance: InstanceId,
    /// Tasks and shutdown.
    pub lifecycle: Lifecycle,
}

/// The segmenters of this process. Clones share them.
#[derive(Debug, Clone)]
pub struct Segmenters {
    pages: Pages,
    remote: Option<RemoteSegmenter>,
    fallback: MlFallback,
}

impl Segmenters {
    /// The segmenters that the settings name. A remote service is not asked before there is a job.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(
        settings: &Settings,
        pages: Pages,
        surroundings: &Surroundings,
    ) -> Result<Self, RemoteError> {
        let ml = &settings.ml;
        let remote = match ml.segmenter {
            MlSegmenter::Builtin => None,
            _ => Some(open_remote(settings, surroundings)?),
        };
        Ok(Self {
            pages,
            remote,
            fallback: ml.fallback,
        })
    }

    /// What the pages of these jobs are read from.
    pub(super) async fn sources(&self, jobs: &[JobId]) -> HashMap<JobId, Source> {
        self.pages.sources(jobs).await
    }

    /// Segments the job's page, which is read from `source` where that is known.
    pub(super) async fn segment(
        &self,
        job: &Job,
        source: Option<Source>,
        run: &Run,
    ) -> Result<Segmentation, NoResult> {
        let computing = run.computing();
        let page = self.pages.open(job, source, run.place()).await?;
        let Some(remote) = &self.remote else {
            return Ok(builtin::segment(&page, computing).await?);
        };
        let request = Request {
            id: format!("{}-{}", job.id, job.attempt),
            user: job.owner.to_string(),
            parameters: job.parameters.clone(),
        };
        let away = match remote.segment(job.owner, page.clone(), request).await {
            Err(NoResult::Unavailable { why, .. }) if self.fallback == MlFallback::Builtin => why,
            outcome => return outcome,
        };
        tracing::debug!(job = %job.id, "builtin does job {}: {away}", job.id);
        let mut result = builtin::segment(&page, computing).await?;
        metrics::ml_fallback();
        result.note = Some(match result.note {
            Some(note) => format!("{FALLBACK_NOTE}; {note}"),
            None => FALLBACK_NOTE.to_owned(),
        });
        Ok(result)
    }

    /// A look at the remote segmenter and its breaker; none where there is none.
    pub fn check(&self) -> Option<Check> {
        let remote = self.remote.clone()?;
        Some(Check::new(NAME, Kind::Shared, move || {
            let remote = remote.clone();
            async move { remote.look().await }
        }))
    }
}

fn open_remote(
    settings: &Settings,
    surroundings: &Surroundings,
) -> Result<RemoteSegmenter, RemoteError> {
    let ml = &settings.ml;
    let job_time = Duration::from_millis(settings.worker.job_timeout_ms);
    // A call that the job's own end cuts off is no failure of the service, so that a service that hangs would never be
    // found out: it must end first.
    let timeout =
        Duration::from_millis(ml.timeout_ms).min(job_time * (JOB_TIME_PARTS - 1) / JOB_TIME_PARTS);
    let remote = Remote::new(ml, timeout)?;
    let rules = GroupRules {
        items_max: ml.batch_max,
        pixels_max: ml.batch_pixels_max,
        window: Duration::from_millis(ml.batch_window_ms),
    };
    let breaker = watched_breaker(ml, surroundings);
    let lifecycle = surroundings.lifecycle.clone();
    Ok(RemoteSegmenter::new(remote, breaker, rules, lifecycle))
}

/// A breaker whose changes go to the log, the metrics and the channel `system`.
fn watched_breaker(ml: &Ml, surroundings: &Surroundings) -> Breaker {
    let (changes, mut changed) = mpsc::channel::<Change>(CHANGES_MAX);
    let Surroundings {
        push,
        instance,
        lifecycle,
    } = surroundings.clone();
    let draining = lifecycle.drain_token();
    lifecycle.spawn("ml.breaker", async move {
        while let Some(Some(change)) = draining.run_until_cancelled(changed.recv()).await {
            push.breaker_changed(instance.unique(), change).await;
        }
    });
    metrics::breaker_state(NAME, breaker::State::Closed.figure());
    Breaker::new(NAME, breaker_rules(ml), move |change| {
        metrics::breaker_state(NAME, change.to.figure());
        metrics::breaker_changed(NAME, change.to.name());
        let (from, to) = (change.from.name(), change.to.name());
        tracing::warn!(from, to, "the breaker of the ML service is {to}");
        // A full queue loses what nobody could read so fast; the metric has it.
        let _ = changes.try_send(change);
    })
}

const fn breaker_rules(ml: &Ml) -> breaker::Rules {
    breaker::Rules {
        window_calls: ml.breaker_window_calls,
        min_calls: ml.breaker_min_calls,
        failure_percent: ml.breaker_failure_percent,
        consecutive_failures: ml.breaker_consecutive_failures,
        open: Duration::from_millis(ml.breaker_open_ms),
        jitter_percent: ml.breaker_jitter_percent,
        probes: ml.breaker_probes,
    }
}
