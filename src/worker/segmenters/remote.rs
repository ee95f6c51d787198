//! The remote segmenter behind its breaker: which calls are made, what their failures mean for the jobs, and how small
//! images share a call.
//!
//! A failure that can have nothing to do with the image (no connection, a gateway's error, wrong settings, an open
//! breaker) costs a job nothing: it waits. One in which the image may have had a part (a time-out, a broken answer) uses
//! an attempt, so that an image that the service cannot cope with is dead after three of them and not tried for ever.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::kit::breaker::{Breaker, Permit};
use crate::kit::id::UserId;
use crate::kit::lifecycle::Lifecycle;
use crate::kit::metrics;
use crate::segment::Segmentation;
use crate::segment::remote::{Failed, Fault, Outcomes, Remote, RemoteError, Request};

use super::NoResult;
use super::batching::{Gatherer, GroupRules};
use super::pages::{JobPage, failure};
use crate::domain::jobs::Failure;

/// A service that is away, or busy, and does not say for how long, is asked again after this.
const RETRY_IN: Duration = Duration::from_secs(5);

/// The remote segmenter. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct RemoteSegmenter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    remote: Remote,
    breaker: Breaker,
    gatherer: Gatherer<UserId, Item>,
    lifecycle: Lifecycle,
}

/// A page that is to go with others.
#[derive(Debug)]
struct Item {
    page: JobPage,
    request: Request,
    outcome: oneshot::Sender<Result<Segmentation, NoResult>>,
}

impl RemoteSegmenter {
    pub fn new(remote: Remote, breaker: Breaker, rules: GroupRules, lifecycle: Lifecycle) -> Self {
        Self {
            shared: Arc::new(Shared {
                remote,
                breaker,
                gatherer: Gatherer::new(rules),
                lifecycle,
            }),
        }
    }

    /// Segments a page of `owner`'s, with others of the same owner where they are small and come at the same time.
    /// Dropping the future drops the call, unless others share it.
    pub async fn segment(
        &self,
        owner: UserId,
        page: JobPage,
        request: Request,
    ) -> Result<Segmentation, NoResult> {
        // Before anything is gathered or sent: while the breaker is open this is all that happens.
        self.shared.breaker.check()?;
        let together = self.shared.remote.takes_batches();
        if !(together && self.shared.gatherer.takes(page.pixels())) {
            return self.shared.alone(&page, &request).await;
        }
        let (outcome, receiver) = oneshot::channel();
        let pixels = page.pixels();
        let item = Item {
            page,
            request,
            outcome,
        };
        if let Some(group) = self.shared.gatherer.add(owner, pixels, item) {
            // A task of its own: the job that opened the group may be cancelled.
            let shared = Arc::clone(&self.shared);
            self.shared.lifecycle.spawn("ml.batch", async move {
                let items = shared.gatherer.collect(&owner, group).await;
                shared.together(items).await;
            });
        }
        receiver.await.unwrap_or_else(|_| {
            let text = "the call was dropped when the process stopped".to_owned();
            Err(NoResult::Failed(failure("internal", text, false)))
        })
    }

    /// How the service is, for health reports.
    pub async fn look(&self) -> Result<serde_json::Value, String> {
        let breaker = &self.shared.breaker;
        breaker.check().map_err(|refused| refused.to_string())?;
        let protocol = self.shared.remote.ping().await;
        let protocol = protocol.map_err(|error| error.to_string())?;
        Ok(serde_json::json!({ "protocol": protocol.name(), "breaker": breaker.state() }))
    }
}

impl Shared {
    /// One page in a call of its own.
    async fn alone(&self, page: &JobPage, request: &Request) -> Result<Segmentation, NoResult> {
        let permit = self.breaker.admit()?;
        metrics::ml_images(1);
        let begun = Instant::now();
        let outcome = self.remote.segment(page, request).await;
        metrics::ml_call(label(outcome.as_ref().err()), begun.elapsed());
        settle(permit, outcome.as_ref().err());
        outcome.map_err(|failed| self.no_result(page, failed))
    }

    /// Several pages in one call; those of whom the answer says nothing, each alone.
    async fn together(&self, mut items: Vec<Item>) {
        // Whoever waited for these was cancelled meanwhile.
        items.retain(|item| !item.outcome.is_closed());
        if items.len() < 2 {
            return self.each_alone(items).await;
        }
        let permit = match self.breaker.admit() {
            Ok(permit) => permit,
            Err(refused) => {
                return items
                    .into_iter()
                    .for_each(|item| item.tell(Err(refused.into())));
            }
        };
        metrics::ml_images(items.len());
        let begun = Instant::now();
        let outcome = {
            let pages: Vec<_> = items.iter().map(|i| (&i.page, &i.request)).collect();
            self.remote.segment_batch(&pages).await
        };
        metrics::ml_call(label(outcome.as_ref().err()), begun.elapsed());
        settle(
            permit,
            outcome.as_ref().err().or_else(|| first_fault(&outcome)),
        );
        match outcome {
            Ok(outcomes) => {
                let mut left = Vec::new();
                for (item, outcome) in items.into_iter().zip(outcomes) {
                    match outcome {
                        Some(outcome) => {
                            let told = outcome.map_err(|failed| self.no_result(&item.page, failed));
                            item.tell(told);
                        }
                        None => left.push(item),
                    }
                }
                self.each_alone(left).await;
            }
            Err(Failed::Remote(error)) if error.fault() != Fault::Image => {
                for item in items {
                    let failed = Failed::Remote(error.clone());
                    let told = Err(self.no_result(&item.page, failed));
                    item.tell(told);
                }
            }
            // One of them is at fault, and nobody says which.
            Err(_) => self.each_alone(items).await,
        }
    }

    async fn each_alone(&self, items: Vec<Item>) {
        let calls = items.into_iter().map(|mut item| async move {
            // One whose job is cancelled ends its call.
            let outcome = tokio::select! {
                () = item.outcome.closed() => return,
                outcome = self.alone(&item.page, &item.request) => outcome,
            };
            item.tell(outcome);
        });
        join_all(calls).await;
    }

    /// What a failed call means for the page's job.
    fn no_result(&self, page: &JobPage, failed: Failed<Failure>) -> NoResult {
        let error = match failed {
            Failed::Page(failure) => return NoResult::Failed(failure),
            Failed::Remote(error) => error,
        };
        let text = format!("{}: {error}", page.name());
        let permanent = error.fault() == Fault::Image;
        if permanent || error.may_be_the_image() && error.retry_after().is_none() {
            return NoResult::Failed(failure(error.class(), text, permanent));
        }
        let asked = error.retry_after().unwrap_or(RETRY_IN);
        let open = self.breaker.check().err().map(|refused| refused.retry_in);
        NoResult::Unavailable {
            retry_after: open.map_or(asked, |open| open.max(asked)),
            why: error.to_string(),
        }
    }
}

impl Item {
    /// A job that was cancelled meanwhile hears nothing.
    fn tell(self, outcome: Result<Segmentation, NoResult>) {
        let _ = self.outcome.send(outcome);
    }
}

/// The first image of a batch whose answer was the service's fault.
fn first_fault<E>(outcome: &Result<Outcomes<E>, Failed<E>>) -> Option<&Failed<E>> {
    let outcomes = outcome.as_ref().ok()?.iter().flatten();
    let mut errors = outcomes.filter_map(|outcome| outcome.as_ref().err());
    errors.find(|failed| matches!(failed, Failed::Remote(error) if error.fault() == Fault::Service))
}

/// Tells the breaker how a call ended. A page that could not be read says nothing about the service, nor does load.
fn settle<E>(permit: Permit, failed: Option<&Failed<E>>) {
    match failed {
        None => permit.succeeded(),
        Some(Failed::Remote(error)) => match error.fault() {
            Fault::Service => permit.failed(error.retry_after()),
            Fault::Image => permit.answered(),
            Fault::Load => drop(permit),
        },
        Some(Failed::Page(_)) => drop(permit),
    }
}

fn label<E>(failed: Option<&Failed<E>>) -> &'static str {
    match failed {
        None => "done",
        Some(Failed::Remote(error)) => RemoteError::class(error),
        Some(Failed::Page(_)) => "unread",
    }
}
