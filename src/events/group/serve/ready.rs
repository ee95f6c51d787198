//! Lanes that have records and wait for a server, of all partitions of a group, the longest waiting first.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::handler::Effect;
use super::super::slot::Slot;
use crate::events::log::Fetched;

/// Events that share a transaction at most.
const TRANSACTION_MAX: usize = 128;

/// Events that one server takes to tell before it looks again what waits.
const TELLING_MAX: usize = 256;

/// A lane of a partition.
pub type LaneOf = (Arc<Slot>, usize);

/// What waits for a server, and how many servers there are.
#[derive(Debug)]
pub struct Ready {
    state: Mutex<State>,
    servers_max: usize,
}

#[derive(Debug, Default)]
struct State {
    lanes: VecDeque<LaneOf>,
    servers: usize,
}

/// What a server takes for a round.
#[derive(Debug)]
pub struct Round {
    /// Records of a lane each.
    pub taken: Vec<(LaneOf, Vec<Fetched>)>,
    /// Lanes are left and there is room for one more server: the caller starts it.
    pub starts_server: bool,
}

impl Ready {
    /// Nothing waits; there will be at most `servers_max` servers.
    pub fn new(servers_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            servers_max,
        }
    }

    /// Adds lanes that have records. True when the caller is to start a server.
    pub fn add(&self, lanes: impl IntoIterator<Item = LaneOf>) -> bool {
        let mut state = self.state.lock();
        state.lanes.extend(lanes);
        self.starts_server(&mut state)
    }

    /// Frees the lanes of a partition that goes: nobody need come for them.
    pub fn forget(&self, slot: &Arc<Slot>) {
        let mut state = self.state.lock();
        state.lanes.retain(|(of, lane)| {
            let goes = Arc::ptr_eq(of, slot);
            if goes {
                slot.leave(*lane);
            }
            !goes
        });
    }

    /// What the caller, a server, does next: as many records as go together. None ends it.
    pub fn take(&self, effect: Effect) -> Option<Round> {
        let mut state = self.state.lock();
        let records_max = match effect {
            Effect::Inside => TRANSACTION_MAX,
            Effect::Outside => TELLING_MAX,
        };
        let (mut taken, mut count) = (Vec::new(), 0);
        while count < records_max {
            let Some((slot, lane)) = state.lanes.pop_front() else {
                break;
            };
            let records = slot.next_batch(lane, records_max - count);
            count += records.len();
            match records.is_empty() {
                // The partition goes.
                true => _ = slot.leave(lane),
                false => taken.push(((slot, lane), records)),
            }
        }
        if taken.is_empty() {
            state.servers -= 1;
            return None;
        }
        let starts_server = self.starts_server(&mut state);
        Some(Round {
            taken,
            starts_server,
        })
    }

    fn starts_server(&self, state: &mut State) -> bool {
        let starts = !state.lanes.is_empty() && state.servers < self.servers_max;
        state.servers += usize::from(starts);
        starts
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::events::log::{Headers, Partition, Record};
    use crate::events::partition::lane_of;

    /// A slot in which each of the first lanes holds so many records.
    fn slot(lanes: usize, records: usize) -> (Arc<Slot>, Vec<LaneOf>) {
        let topic = "t".to_owned();
        let partition = Partition { topic, number: 0 };
        let slot = Arc::new(Slot::new(partition.clone()));
        let record = |lane, offset| {
            Fetched::from(Record {
                partition: partition.clone().into(),
                offset,
                timestamp_ms: 0,
                key: (0..)
                    .map(|n| format!("k{n}"))
                    .find(|key| lane_of(key) == lane),
                headers: Headers::default(),
                value: bytes::Bytes::new(),
            })
        };
        let lanes = (0..lanes).flat_map(|lane| std::iter::repeat_n(lane, records));
        let taken = (0..)
            .zip(lanes)
            .map(|(offset, lane)| slot.take_in(record(lane, offset)));
        let ready = taken
            .filter_map(|it| Some((slot.clone(), it.unserved?)))
            .collect();
        (slot, ready)
    }

    fn sizes(round: &Round) -> Vec<usize> {
        round
            .taken
            .iter()
            .map(|(_, records)| records.len())
            .collect()
    }

    #[test]
    fn a_transaction_is_filled_from_several_lanes() {
        let (_, lanes) = slot(4, 40);
        let ready = Ready::new(2);
        assert!(ready.add(lanes), "the first server is started");
        let first = ready.take(Effect::Inside).unwrap();
        assert_eq!(sizes(&first), [40, 40, 40, 8]);
        assert!(!first.starts_server, "no lane waits");
        let (slot, lane) = first.taken[3].0.clone();
        assert!(slot.leave(lane), "the rest of the fourth lane");
        assert!(ready.add([(slot, lane)]), "there is room for the second");
        assert_eq!(sizes(&ready.take(Effect::Inside).unwrap()), [32]);
        assert!(ready.take(Effect::Inside).is_none());
    }

    #[test]
    fn there_are_only_so_many_servers() {
        let (_, lanes) = slot(8, 32);
        let (_, others) = slot(8, 32);
        let ready = Ready::new(2);
        assert!(ready.add(lanes.into_iter().chain(others)));
        for starts_server in [true, false] {
            let round = ready.take(Effect::Inside).unwrap();
            assert_eq!(sizes(&round), [32; 4]);
            assert_eq!(round.starts_server, starts_server);
        }
        assert_eq!(sizes(&ready.take(Effect::Outside).unwrap()), [32; 8]);
        assert!(ready.take(Effect::Outside).is_none());
    }

    #[test]
    fn a_partition_that_goes_leaves_nothing_to_do() {
        let (slot, lanes) = slot(2, 1);
        let ready = Ready::new(1);
        assert!(ready.add(lanes));
        slot.wind_down();
        assert!(ready.take(Effect::Inside).is_none());
        assert!(slot.idle().now_or_never().is_some());
        assert!(!ready.add([]), "nothing waits");
    }

    #[test]
    fn a_partition_that_goes_waits_for_no_server() {
        let (slot, lanes) = slot(2, 1);
        let (other, others) = self::slot(1, 1);
        let ready = Ready::new(1);
        ready.add(lanes.into_iter().chain(others));
        slot.wind_down();
        assert!(slot.idle().now_or_never().is_none(), "its lanes wait");
        ready.forget(&slot);
        assert!(slot.idle().now_or_never().is_some());
        assert!(other.idle().now_or_never().is_none());
        assert_eq!(sizes(&ready.take(Effect::Inside).unwrap()), [1]);
    }
}
