//! What the runner of a group and the servers of its lanes share.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::{FutureExt, poll};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use super::figures::{GroupFigures, Groups};
use super::flood::FloodGuard;
use super::handler::{Handler, HandlerError};
use super::serve::Ready;
use super::slot::Slot;
use super::turns::Turns;
use crate::db::run_tx;
use crate::events::Event;
use crate::events::inbox::Inbox;
use crate::events::log::SharedLog;
use crate::kit::clock::SharedClock;
use crate::kit::lifecycle::Lifecycle;
use crate::kit::metrics;

/// A handler that takes longer than this for a transaction, or for what follows it, has failed.
const HANDLER_MAX: Duration = Duration::from_secs(30);

/// What the parts of one group in one process share.
#[derive(Debug)]
pub(super) struct Core {
    pub handler: Arc<dyn Handler>,
    pub inbox: Inbox,
    pub log: SharedLog,
    pub clock: SharedClock,
    pub lifecycle: Lifecycle,
    pub groups: Groups,
    pub turns: Turns,
    /// The unique name of this instance.
    pub instance: String,
    /// Lanes that wait for a server.
    pub ready: Ready,
    /// Transactions at once.
    pub permits: Arc<Semaphore>,
    /// Room came where there was none, or a commit is due.
    pub changed: Notify,
    /// Too many records died.
    pub flooded: CancellationToken,
    pub flood: Mutex<FloodGuard>,
}

impl Core {
    pub fn name(&self) -> &'static str {
        self.handler.name()
    }

    pub fn change(&self, change: impl FnOnce(&mut GroupFigures)) {
        self.groups.change(self.name(), change);
    }

    pub fn note_error(&self, error: &str) {
        let now = self.clock.now();
        self.change(|figures| {
            figures.last_error = Some(error.to_owned());
            figures.last_error_at = Some(now);
        });
    }

    /// A partition goes: what has not begun does not begin, and what waits ends.
    pub fn give_up(&self, slot: &Arc<Slot>) {
        slot.wind_down();
        self.ready.forget(slot);
    }

    /// Records of a partition are done: handled, or, so many of them, buried.
    pub fn complete(&self, slot: &Slot, offsets: &[i64], dead: usize) {
        if offsets.is_empty() {
            return;
        }
        if slot.complete(offsets) {
            self.changed.notify_one();
        }
        let handled = offsets.len() - dead;
        self.change(|figures| {
            figures.handled += handled as u64;
            figures.dead_letters += dead as u64;
        });
        if self.flood.lock().note(handled, dead) {
            self.flooded.cancel();
        }
    }

    /// Handles events in one transaction, in which they are marked as done.
    pub async fn handle(&self, events: &[&Event]) -> Result<(), HandlerError> {
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        let work = async {
            run_tx!(self.inbox.db(), "inbox.handle", |tx| -> Result<
                (),
                HandlerError,
            > {
                let open = self.inbox.finish(tx, &ids).await?;
                let mut events = events.to_vec();
                events.retain(|event| open.contains(&event.id));
                match events.is_empty() {
                    true => Ok(()),
                    false => self.handler.handle(tx, &events).await,
                }
            })
        };
        let started = tokio::time::Instant::now();
        let outcome = bounded(work).await;
        let label = if outcome.is_ok() { "done" } else { "failed" };
        metrics::events_handled(self.name(), label, events.len(), started.elapsed());
        outcome
    }

    /// Which of these events are to be handled; all of them where that cannot be told.
    pub async fn concerned(&self, events: &[&Event]) -> Vec<bool> {
        let look = self.handler.concerned(self.inbox.db(), events);
        match bounded(look).await {
            Ok(concerned) => concerned,
            Err(error) => {
                let group = self.name();
                tracing::debug!(group, %error, "whom {} event(s) concern is not known: {error}", events.len());
                vec![true; events.len()]
            }
        }
    }

    /// Makes the effects of events outside of the database.
    pub async fn committed(&self, events: &[&Event]) -> Result<(), HandlerError> {
        match events.is_empty() {
            true => Ok(()),
            false => bounded(self.handler.committed(events)).await,
        }
    }
}

/// The handler's outcome; a panic and silence are failures.
async fn bounded<T>(
    work: impl Future<Output = Result<T, HandlerError>>,
) -> Result<T, HandlerError> {
    // What a panic leaves behind is a transaction, which is rolled back with its connection.
    let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
    let outcome = match poll!(work.as_mut()) {
        // Done without a wait: no clock is needed.
        Poll::Ready(outcome) => Ok(outcome),
        Poll::Pending => tokio::time::timeout(HANDLER_MAX, work).await,
    };
    match outcome {
        Ok(Ok(outcome)) => outcome,
        Err(_) => Err(HandlerError::Failed(format!(
            "not done after {} s",
            HANDLER_MAX.as_secs()
        ))),
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            let text = text.unwrap_or("without words");
            Err(HandlerError::Failed(format!(
                "the handler panicked: {text}"
            )))
        }
    }
}
