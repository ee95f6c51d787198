//! Jobs whose last run took its process with it: each runs alone here, so that when it kills again no other job is
//! counted for it. They keep their leases while they wait for their turn, but have not started.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::domain::jobs::Leased;

use super::Worker;
use super::place::Place;

/// The suspects that wait here. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Suspects {
    waiting: Arc<Mutex<VecDeque<Leased>>>,
    /// Whoever runs them.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Suspects {
    fn add(&self, suspects: Vec<Leased>) {
        self.waiting.lock().extend(suspects);
    }

    fn next(&self) -> Option<Leased> {
        self.waiting.lock().pop_front()
    }

    fn all(&self) -> Vec<Leased> {
        self.waiting.lock().iter().copied().collect()
    }

    /// Keeps those that are in `held`.
    fn retain(&self, held: &[Leased]) {
        self.waiting.lock().retain(|suspect| held.contains(suspect));
    }
}

impl Worker {
    /// Runs each suspect while nothing else runs in this process.
    pub(super) async fn run_alone(&self, suspects: Vec<Leased>) {
        if suspects.is_empty() {
            return;
        }
        self.suspects.add(suspects);
        let _turn = self.suspects.turn.lock().await;
        while !self.suspects.all().is_empty() {
            let alone = tokio::select! {
                () = self.lifecycle.draining() => break,
                alone = self.all_permits() => alone,
            };
            // The lease of the last may have been lost while it waited.
            let (Some(alone), Some(suspect)) = (alone, self.suspects.next()) else {
                break;
            };
            match self.jobs.start_alone(suspect).await {
                Ok(Some(claimed)) => {
                    tracing::info!(job = %suspect.job, "job {} runs alone: its last run did not end", suspect.job);
                    self.start_run(claimed, None, Place::new(alone, &self.ends, true));
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, job = %suspect.job, "job {} did not start: {error}", suspect.job);
                }
            }
        }
        if !self.lifecycle.is_draining() {
            return;
        }
        let left = self.suspects.all();
        self.suspects.waiting.lock().clear();
        if !left.is_empty() {
            self.jobs.hand_leases_back(&left).await;
        }
    }

    /// Keeps the leases of those that wait.
    pub(super) async fn keep_suspects(&self) {
        let waiting = self.suspects.all();
        if waiting.is_empty() {
            return;
        }
        match self.jobs.keep_suspects(&waiting).await {
            Ok(held) => self.suspects.retain(&held),
            Err(error) => tracing::warn!(%error, "leases were not renewed: {error}"),
        }
    }
}
