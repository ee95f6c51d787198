//! What an owner has in one lane, and whether one more job of theirs may stand in the ordered set.

use std::collections::BTreeSet;

use crate::kit::id::JobId;
use crate::queue::PRIORITY_MAX;

/// One number per priority; the first is not used.
pub(super) type PerPriority = [u64; PRIORITY_MAX as usize + 1];

/// The jobs of one owner in one lane.
#[derive(Debug, Clone, Default)]
pub(super) struct Owner {
    pub(super) running: u64,
    pub(super) delayed: u64,
    /// Jobs in the ordered set.
    pub(super) placed: PerPriority,
    /// The ranks given last.
    pub(super) last: PerPriority,
    /// Jobs that have no place in the ordered set: the highest priority first, then who waits longest.
    pub(super) backlog: BTreeSet<(u8, i64, JobId)>,
}

impl Owner {
    /// Whether one more job of this priority may take a place. Jobs of lower priority are not counted: they never
    /// stand in the way of a higher one.
    pub(super) fn has_room(&self, priority: u8, running_max: u64) -> bool {
        let placed: u64 = self.placed[usize::from(priority)..].iter().sum();
        running_max == 0 || self.running + placed < running_max
    }

    /// Places that are free when the priority does not count.
    pub(super) fn free(&self, running_max: u64) -> u64 {
        match running_max {
            0 => u64::MAX,
            most => most.saturating_sub(self.running + self.placed.iter().sum::<u64>()),
        }
    }

    pub(super) fn waiting(&self) -> u64 {
        self.delayed + self.backlog.len() as u64 + self.placed.iter().sum::<u64>()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running == 0 && self.waiting() == 0
    }
}
