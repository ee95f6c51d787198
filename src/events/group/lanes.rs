//! The lanes of one partition: records of one key share a lane and go in order, one batch of a lane at a time; lanes go
//! side by side.

use std::collections::VecDeque;

use crate::events::partition::LANES;

/// What waits in each lane, and which lanes are served.
#[derive(Debug)]
pub struct Lanes<T> {
    lanes: Vec<Lane<T>>,
    served: usize,
}

#[derive(Debug)]
struct Lane<T> {
    waiting: VecDeque<T>,
    is_served: bool,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        let lane = || Lane {
            waiting: VecDeque::new(),
            is_served: false,
        };
        Self {
            lanes: std::iter::repeat_with(lane).take(LANES as usize).collect(),
            served: 0,
        }
    }
}

impl<T> Lanes<T> {
    /// Puts an item behind the others of its lane, a number below [`LANES`]. True when nobody serves the lane: the
    /// caller sees to it from now on, until [`Lanes::leave`] lets it go.
    pub fn push(&mut self, lane: usize, item: T) -> bool {
        let lane = &mut self.lanes[lane];
        lane.waiting.push_back(item);
        let begins = !std::mem::replace(&mut lane.is_served, true);
        self.served += usize::from(begins);
        begins
    }

    /// The first items of a lane that the caller serves, at most `max`.
    pub fn take(&mut self, lane: usize, max: usize) -> Vec<T> {
        let lane = &mut self.lanes[lane];
        let count = lane.waiting.len().min(max);
        lane.waiting.drain(..count).collect()
    }

    /// The caller is done with what it took. True when more waits in the lane, which is still the caller's then; else
    /// nobody serves it any more.
    pub fn leave(&mut self, lane: usize) -> bool {
        let lane = &mut self.lanes[lane];
        lane.is_served = !lane.waiting.is_empty();
        self.served -= usize::from(!lane.is_served);
        lane.is_served
    }

    /// Drops what waits; what was taken goes on.
    pub fn clear(&mut self) {
        for lane in &mut self.lanes {
            lane.waiting.clear();
        }
    }

    /// Whether a lane is served.
    pub const fn is_busy(&self) -> bool {
        self.served > 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Push(usize),
        Take(usize, usize),
        Leave(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..LANES as usize).prop_map(Step::Push),
            (0_usize..16, 1_usize..4).prop_map(|(which, max)| Step::Take(which, max)),
            (0_usize..16).prop_map(Step::Leave),
        ];
        prop::collection::vec(step, 1..300)
    }

    proptest! {
        #[test]
        fn each_lane_gives_its_items_in_order_to_the_one_who_serves_it(steps in steps()) {
            let mut lanes = Lanes::default();
            let mut served = BTreeSet::new();
            let (mut pushed, mut given) = ([0; LANES as usize], [0; LANES as usize]);
            for step in steps {
                match step {
                    Step::Push(lane) => {
                        prop_assert_eq!(lanes.push(lane, pushed[lane]), served.insert(lane));
                        pushed[lane] += 1;
                    }
                    Step::Take(which, max) => {
                        let Some(lane) = served.iter().nth(which).copied() else { continue };
                        let items = lanes.take(lane, max);
                        prop_assert_eq!(items.len(), max.min(pushed[lane] - given[lane]));
                        for item in items {
                            prop_assert_eq!(item, given[lane]);
                            given[lane] += 1;
                        }
                    }
                    Step::Leave(which) => {
                        let Some(lane) = served.iter().nth(which).copied() else { continue };
                        let is_left_behind = given[lane] < pushed[lane];
                        prop_assert_eq!(lanes.leave(lane), is_left_behind);
                        if !is_left_behind {
                            served.remove(&lane);
                        }
                    }
                }
                prop_assert_eq!(lanes.is_busy(), !served.is_empty());
            }
        }
    }

    #[test]
    fn what_was_cleared_is_not_given() {
        let mut lanes = Lanes::default();
        assert!(lanes.push(3, "first"));
        assert!(!lanes.push(3, "second"));
        lanes.clear();
        assert!(lanes.take(3, 10).is_empty());
        assert!(!lanes.leave(3));
        assert!(!lanes.is_busy());
    }
}
