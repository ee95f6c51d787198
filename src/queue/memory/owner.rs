//! What an owner has in one lane, and whether one more job of theirs may stand in the ordered set.

use std::collections::BTreeSet;

use crate::kit::id::JobId;
use crate::queue::PRIORITY_MAX;

/// One value per priority; the first is not used.
pub(super) type PerPriority<T> = [T; PRIORITY_MAX as usize + 1];

/// The jobs of one owner in one lane.
#[derive(Debug, Clone, Default)]
pub(super) struct Owner {
    pub(super) running: u64,
    pub(super) levels: PerPriority<Level>,
    /// Jobs that have no place in the ordered set: the highest priority first, then who waits longest.
    pub(super) backlog: BTreeSet<(u8, i64, JobId)>,
}

/// Those of one priority.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Level {
    /// Jobs in the ordered set.
    pub(super) placed: u64,
    pub(super) delayed: u64,
    /// The rank given last; 0 where none of both is left.
    pub(super) last: u64,
}

impl Owner {
    /// Whether one more job of this priority may take a place. Jobs of other priorities are not counted: low ones never
    /// stand in the way.
    pub(super) fn has_room(&self, priority: u8, running_max: u64) -> bool {
        let placed = self.levels[usize::from(priority)].placed;
        running_max == 0 || self.running + placed < running_max
    }

    pub(super) fn waiting(&self) -> u64 {
        let levels = self.levels.iter();
        let in_levels: u64 = levels.map(|level| level.placed + level.delayed).sum();
        in_levels + self.backlog.len() as u64
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running == 0 && self.waiting() == 0
    }
}
