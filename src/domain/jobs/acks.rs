//! Ends of leases that the queue has not been told yet: they ride with the next claim of this process. Their number is
//! bounded by that of the jobs that run here.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::queue::{Leased, Release};

/// The ends to be told. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Acks {
    waiting: Arc<Mutex<Vec<(Leased, Release)>>>,
    added: Arc<Notify>,
}

impl Acks {
    pub(super) fn add(&self, leased: Leased, release: Release) {
        self.waiting.lock().push((leased, release));
        self.added.notify_one();
    }

    pub(super) fn take(&self) -> Vec<(Leased, Release)> {
        std::mem::take(&mut self.waiting.lock())
    }

    /// Puts back what could not be told.
    pub(super) fn put_back(&self, ends: Vec<(Leased, Release)>) {
        self.waiting.lock().extend(ends);
    }

    /// Resolves when there is something to tell that was added since the last call.
    pub(super) async fn added(&self) {
        loop {
            self.added.notified().await;
            if !self.waiting.lock().is_empty() {
                return;
            }
        }
    }
}
