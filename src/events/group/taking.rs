//! Taking records that are at hand into their lanes, many at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::core::Core;
use super::serve::{self, LaneOf};
use super::slot::Slot;
use crate::events::log::{Fetched, Partition, Wants};

/// Records that are taken from the stream at once, before anything else has its turn.
const AT_HAND_MAX: usize = 512;

/// Of these, how many of one partition at most: others have their turn, and all lanes work.
const OF_ONE_MAX: usize = 256;

/// After how many their lanes are served, beside the taking of the next: fuller batches than one by one.
const SERVED_AT_ONCE: usize = 256;

/// Records that are taken at once.
#[derive(Debug)]
pub(super) struct Taking<'r> {
    core: &'r Arc<Core>,
    slots: &'r BTreeMap<Partition, Arc<Slot>>,
    /// Whose record was the last: records come in runs of one partition.
    last: Option<&'r Arc<Slot>>,
    begun: usize,
    /// Of the last partition.
    begun_of_last: usize,
    /// Lanes with records that nobody serves.
    ready: Vec<LaneOf>,
}

impl<'r> Taking<'r> {
    /// None is taken yet.
    pub fn new(core: &'r Arc<Core>, slots: &'r BTreeMap<Partition, Arc<Slot>>) -> Self {
        Self {
            core,
            slots,
            last: None,
            begun: 0,
            begun_of_last: 0,
            ready: Vec::new(),
        }
    }

    /// Begins a record; answers what may follow it.
    pub fn begin(&mut self, record: Fetched) -> Wants {
        let last = self
            .last
            .filter(|slot| slot.partition == **record.partition());
        if last.is_none() {
            self.last = self.slots.get(&**record.partition());
            self.begun_of_last = 0;
        }
        let is_full = self.last.is_some_and(|slot| {
            let taken = slot.take_in(record);
            let lane = taken.unserved.map(|lane| (slot.clone(), lane));
            self.ready.extend(lane);
            taken.is_full
        });
        self.begun += 1;
        self.begun_of_last += 1;
        if self.begun.is_multiple_of(SERVED_AT_ONCE) {
            serve::serve(self.core, self.ready.drain(..));
        }
        match self.begun < AT_HAND_MAX {
            false => Wants::Nothing,
            true if is_full || self.begun_of_last == OF_ONE_MAX => Wants::Others,
            true => Wants::More,
        }
    }

    /// Has those served that were not yet.
    pub fn end(self) {
        serve::serve(self.core, self.ready);
    }
}
