//! Which jobs are claimed next.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::kit::id::JobId;
use crate::queue::{CLAIM_ROUNDS_MAX, Lane, PRIORITY_MAX, PRIORITY_MIN, PROMOTED_PER_CLAIM_MAX};

use super::jobs::{Jobs, Millis, Place, millis};

/// The number of a claim, and when its leases end.
type Terms = (i64, Millis);

impl Jobs {
    /// Claims at most `limit` jobs: the share of the aged, then strictly in order.
    pub(super) fn claim(
        &mut self,
        lanes: &[Lane],
        limit: usize,
        terms: Terms,
        now: Millis,
    ) -> Vec<JobId> {
        self.promote(now);
        self.fence = terms.0;
        let mut claimed = self.claim_aged(lanes, limit, terms, now);
        for _ in 0..CLAIM_ROUNDS_MAX {
            let first = self.first(lanes, limit - claimed.len());
            let found = first.len();
            let before = claimed.len();
            claimed.extend(
                first
                    .into_iter()
                    .filter(|job| self.start(*job, terms, true)),
            );
            if claimed.len() - before == found {
                break;
            }
        }
        self.starts += claimed.len() as u64;
        claimed
    }

    /// Moves jobs that have become due to those that wait.
    fn promote(&mut self, now: Millis) {
        for _ in 0..PROMOTED_PER_CLAIM_MAX {
            let id = match self.delayed.first() {
                Some((due, id)) if *due <= now => *id,
                _ => return,
            };
            if let Some(job) = self.leave(id) {
                self.wait(id, job, 0, now);
            }
        }
    }

    fn waiting_in(&self, lane: Lane) -> &BTreeSet<Place> {
        &self.lanes[usize::from(lane.number())].waiting
    }

    /// Claims the share, of the jobs that can be claimed now, of what strict order would starve; see
    /// [`crate::queue::Fairness`]. Of several lanes another one comes first each time that all priorities have had their
    /// turn.
    fn claim_aged(
        &mut self,
        lanes: &[Lane],
        limit: usize,
        terms: Terms,
        now: Millis,
    ) -> Vec<JobId> {
        let share = u64::from(self.fairness.aged_share);
        if share == 0 {
            return Vec::new();
        }
        let waiting = lanes.iter().map(|lane| self.waiting_in(*lane).len()).sum();
        let turn = self.starts / share;
        let count = ((self.starts + limit.min(waiting) as u64) / share - turn) as usize;
        let levels = u64::from(PRIORITY_MAX - PRIORITY_MIN);
        let highest = PRIORITY_MIN + (turn % levels) as u8;
        let from = (PRIORITY_MAX - highest, 0, JobId::from_uuid(Uuid::nil()));
        let old = now - millis(self.fairness.aged_after);
        let mut claimed = Vec::new();
        for number in 0..lanes.len() {
            let lane = lanes[(number + (turn / levels) as usize) % lanes.len()];
            let waiting = self.waiting_in(lane);
            let first = waiting.range(from..).take(count - claimed.len());
            let first: Vec<JobId> = first.map(|(.., id)| *id).collect();
            let aged = first.into_iter().filter(|id| self.known[id].since <= old);
            let aged: Vec<JobId> = aged.collect();
            claimed.extend(aged.into_iter().filter(|id| self.start(*id, terms, false)));
        }
        claimed
    }

    /// The first `room` jobs over these lanes: by priority, and within one from each lane in turn.
    fn first(&self, lanes: &[Lane], room: usize) -> Vec<JobId> {
        let mut found = Vec::new();
        for (number, lane) in lanes.iter().enumerate() {
            let turn = (number as u64 + self.starts) % lanes.len() as u64;
            let (mut level, mut index) = (u8::MAX, 0);
            let waiting = self.waiting_in(*lane);
            for (of, _, job) in waiting.iter().take(room) {
                index = if *of == level { index + 1 } else { 0 };
                level = *of;
                found.push((level, index, turn, *job));
            }
        }
        found.sort_unstable();
        let found = found.into_iter().take(room);
        found.map(|(.., job)| job).collect()
    }

    /// Leases a placed job, or puts it into its owner's backlog where they run as many as they may. The clock goes on
    /// with what is served in order, else new jobs would wait behind ranks that nobody was served.
    fn start(&mut self, id: JobId, (fence, until): Terms, in_order: bool) -> bool {
        let Some(job) = self.leave(id) else {
            return false;
        };
        if self.is_at_most(&job) {
            self.put_back(id, job);
            return false;
        }
        if in_order {
            self.serve(&job);
        }
        self.lease(id, job, fence, until);
        true
    }
}
