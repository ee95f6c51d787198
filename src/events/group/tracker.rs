//! How far a partition is done: offsets begin in order, are completed in any order, and the position stands at the lowest
//! that is unfinished. Committing it can never skip a record.

use std::collections::VecDeque;

/// The records of one partition that were begun and lie at or above the position.
#[derive(Debug, Default)]
pub struct Tracker {
    open: VecDeque<Open>,
    /// Behind the last offset that was begun.
    end: Option<i64>,
    unfinished: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Open {
    offset: i64,
    bytes: usize,
    done: bool,
}

impl Tracker {
    /// Notes a record that was read. False for one at or below the last: it was read before and is ignored. Gaps are
    /// fine: a log drops records, and transactions leave marks.
    pub fn begin(&mut self, offset: i64, bytes: usize) -> bool {
        if self.end.is_some_and(|end| offset < end) {
            return false;
        }
        self.open.push_back(Open {
            offset,
            bytes,
            done: false,
        });
        self.end = Some(offset + 1);
        self.unfinished += 1;
        self.bytes += bytes;
        true
    }

    /// Notes that a record is done. False for one that is not open, or was done before.
    pub fn complete(&mut self, offset: i64) -> bool {
        let Some(at) = self.place_of(offset) else {
            return false;
        };
        let open = &mut self.open[at];
        if std::mem::replace(&mut open.done, true) {
            return false;
        }
        self.unfinished -= 1;
        self.bytes -= open.bytes;
        while self.open.front().is_some_and(|open| open.done) {
            self.open.pop_front();
        }
        true
    }

    /// Where an offset stands among the open ones: where no gap lies before it, as far behind the first as it is above it.
    fn place_of(&self, offset: i64) -> Option<usize> {
        let first = self.open.front()?.offset;
        let without_gap = usize::try_from(offset - first).ok()?;
        match self.open.get(without_gap) {
            Some(open) if open.offset == offset => Some(without_gap),
            _ => self
                .open
                .binary_search_by_key(&offset, |open| open.offset)
                .ok(),
        }
    }

    /// What to commit: the lowest unfinished offset, or behind the last where none is; none before the first record.
    pub fn position(&self) -> Option<i64> {
        self.open.front().map(|open| open.offset).or(self.end)
    }

    /// Records that are not done.
    pub const fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// Bytes of the records that are not done.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Offsets between the position and the last record read: what would be read again if the process died now.
    pub fn span(&self) -> i64 {
        match (self.position(), self.end) {
            (Some(position), Some(end)) => end - position,
            _ => 0,
        }
    }
}

/// How much of one partition may be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Records that are not done.
    pub records: usize,
    /// Offsets between the position and the last record.
    pub span: i64,
    /// Bytes of the records that are not done.
    pub bytes: usize,
}

impl Window {
    /// Whether nothing more may begin.
    pub fn is_full(&self, tracker: &Tracker) -> bool {
        tracker.unfinished() >= self.records
            || tracker.span() >= self.span
            || tracker.bytes() >= self.bytes
    }

    /// Whether half of the window is free again.
    pub fn is_half_empty(&self, tracker: &Tracker) -> bool {
        tracker.unfinished() * 2 <= self.records
            && tracker.span() * 2 <= self.span
            && tracker.bytes() * 2 <= self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Offsets with gaps, and an order in which they are completed.
    fn histories() -> impl Strategy<Value = (Vec<i64>, Vec<usize>)> {
        let gaps = prop::collection::vec(1_i64..5, 1..80);
        gaps.prop_flat_map(|gaps| {
            let offsets: Vec<i64> = gaps
                .iter()
                .scan(-1, |at, gap| {
                    *at += gap;
                    Some(*at)
                })
                .collect();
            let order: Vec<usize> = (0..offsets.len()).collect();
            (Just(offsets), Just(order).prop_shuffle())
        })
    }

    proptest! {
        #[test]
        fn the_position_never_passes_an_unfinished_offset((offsets, order) in histories(), begun in 1_usize..80) {
            let mut tracker = Tracker::default();
            let mut open = std::collections::BTreeSet::new();
            let mut waiting = offsets.iter();
            let mut last = i64::MIN;
            for at in order {
                // Records are read ahead of their completion by chance.
                while open.len() < begun || !open.contains(&offsets[at]) {
                    let Some(offset) = waiting.next() else { break };
                    prop_assert!(tracker.begin(*offset, 10));
                    open.insert(*offset);
                }
                prop_assert!(tracker.complete(offsets[at]));
                open.remove(&offsets[at]);
                let position = tracker.position().unwrap();
                prop_assert!(position >= last, "the position went back");
                last = position;
                if let Some(lowest) = open.first() {
                    prop_assert_eq!(position, *lowest);
                }
                prop_assert_eq!(tracker.unfinished(), open.len());
                prop_assert_eq!(tracker.bytes(), open.len() * 10);
            }
            prop_assert_eq!(tracker.position(), offsets.last().map(|last| last + 1));
            prop_assert_eq!(tracker.span(), 0);
        }

        #[test]
        fn what_was_read_before_or_is_not_open_changes_nothing((offsets, order) in histories(), foreign in -5_i64..400) {
            let mut tracker = Tracker::default();
            for offset in &offsets {
                tracker.begin(*offset, 1);
                prop_assert!(!tracker.begin(*offset, 1));
            }
            let half = order.len() / 2;
            for at in &order[..half] {
                tracker.complete(offsets[*at]);
                prop_assert!(!tracker.complete(offsets[*at]));
            }
            let before = tracker.position();
            if !offsets.contains(&foreign) {
                prop_assert!(!tracker.complete(foreign));
            }
            prop_assert_eq!(tracker.position(), before);
            prop_assert_eq!(tracker.unfinished(), offsets.len() - half);
        }
    }

    #[test]
    fn a_window_is_full_by_count_by_span_or_by_bytes() {
        let window = Window {
            records: 4,
            span: 10,
            bytes: 100,
        };
        let tracker = |offsets: &[i64], bytes: usize| {
            let mut tracker = Tracker::default();
            for offset in offsets {
                tracker.begin(*offset, bytes);
            }
            tracker
        };
        assert!(!window.is_full(&tracker(&[0, 1, 2], 1)));
        assert!(window.is_full(&tracker(&[0, 1, 2, 3], 1)));
        assert!(window.is_full(&tracker(&[0, 9], 1)));
        assert!(window.is_full(&tracker(&[0], 100)));
        assert!(window.is_half_empty(&tracker(&[0, 4], 25)));
        assert!(!window.is_half_empty(&tracker(&[0, 5], 25)));
        assert!(!window.is_half_empty(&tracker(&[0, 1, 2], 1)));
    }

    #[test]
    fn one_that_does_not_end_keeps_the_position_while_others_are_done() {
        let mut tracker = Tracker::default();
        for offset in 7..30 {
            tracker.begin(offset, 1);
        }
        for offset in 8..30 {
            tracker.complete(offset);
        }
        assert_eq!((tracker.position(), tracker.span()), (Some(7), 23));
        tracker.complete(7);
        assert_eq!((tracker.position(), tracker.span()), (Some(30), 0));
    }
}
