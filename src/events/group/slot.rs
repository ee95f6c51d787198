//! One partition as a member reads it, from its assignment to its loss. Its lanes' servers hold on to the slot that they
//! began with: what they complete after the partition has gone, or has come back as another slot, counts for nothing.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::figures::PartitionFigures;
use super::lanes::Lanes;
use super::tracker::{Tracker, Window};
use crate::events::log::{Fetched, Partition};
use crate::events::partition::lane_of;

/// What may be under way per partition: 1,024 records, 8 MiB of keys and values, and 2,048 offsets to be read again after a crash.
/// Records come in long runs of one partition: with a fourth of it, who reads and who handles waited for each other.
const WINDOW: Window = Window {
    records: 1_024,
    span: 2_048,
    bytes: 8 * 1_024 * 1_024,
};

/// A partition whose window has been full for so long is paused. Before that nothing is read at all: pausing throws
/// away what librdkafka has fetched ahead (librdkafka #5343).
const PAUSE_AFTER: Duration = Duration::from_secs(1);

/// The same while another partition has nothing to do, which would wait for this one in vain.
const PAUSE_AFTER_BESIDE_IDLE: Duration = Duration::from_millis(100);

/// A commit is due after so many completed records of one partition, or with the next tick: a crash repeats no more.
const COMMIT_AFTER: i64 = 500;

/// The state of one partition.
#[derive(Debug)]
pub(super) struct Slot {
    /// Which partition.
    pub partition: Partition,
    /// Ends the waits of those who serve its lanes when the partition goes.
    pub stop: CancellationToken,
    state: Mutex<State>,
    /// Nobody serves a lane any more.
    idle: Notify,
}

#[derive(Debug, Default)]
struct State {
    tracker: Tracker,
    lanes: Lanes<Fetched>,
    committed: Option<i64>,
    /// The first offset that was read.
    first: Option<i64>,
    full_since: Option<Instant>,
    paused: bool,
}

/// What came of taking a record in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Its lane, where nobody serves that yet: the caller sees to it.
    pub unserved: Option<usize>,
    /// The window is full now.
    pub is_full: bool,
}

impl Slot {
    pub fn new(partition: Partition) -> Self {
        Self {
            partition,
            stop: CancellationToken::new(),
            state: Mutex::default(),
            idle: Notify::new(),
        }
    }

    /// Takes a record into the lane of its key. Answers that lane where nobody serves it yet.
    pub fn take_in(&self, record: Fetched) -> Taken {
        let lane = lane_of(record.key());
        let mut state = self.state.lock();
        if !state.tracker.begin(record.offset(), record.bytes()) {
            return Taken::default();
        }
        state.first.get_or_insert(record.offset());
        state.watch_window();
        Taken {
            unserved: state.lanes.push(lane, record).then_some(lane),
            is_full: state.full_since.is_some(),
        }
    }

    /// The next records of a lane for the one who serves it, at most `max`; none where the partition goes.
    pub fn next_batch(&self, lane: usize, max: usize) -> Vec<Fetched> {
        self.state.lock().lanes.take(lane, max)
    }

    /// The batch of a lane is done, or given up. True when more waits in the lane, which the caller still serves then.
    pub fn leave(&self, lane: usize) -> bool {
        let mut state = self.state.lock();
        let more = state.lanes.leave(lane);
        if !state.lanes.is_busy() {
            self.idle.notify_waiters();
        }
        more
    }

    /// These records are done. True when that makes room after the window was full, or a commit due.
    pub fn complete(&self, offsets: &[i64]) -> bool {
        let mut state = self.state.lock();
        let was_due = state.is_commit_due();
        for offset in offsets {
            state.tracker.complete(*offset);
        }
        let was_full = state.full_since.is_some();
        state.watch_window();
        let has_room = was_full && state.full_since.is_none();
        has_room || state.may_resume() || (!was_due && state.is_commit_due())
    }

    /// Whether so many records were completed since the last commit that one is due.
    pub fn is_commit_due(&self) -> bool {
        self.state.lock().is_commit_due()
    }

    /// Drops what has not begun, and lets what waits end.
    pub fn wind_down(&self) {
        self.state.lock().lanes.clear();
        self.stop.cancel();
    }

    /// Resolves when nobody serves a lane.
    pub async fn idle(&self) {
        loop {
            let mut idle = std::pin::pin!(self.idle.notified());
            idle.as_mut().enable();
            if !self.state.lock().lanes.is_busy() {
                return;
            }
            idle.await;
        }
    }

    /// The position, unless it was committed already.
    pub fn to_commit(&self) -> Option<i64> {
        let state = self.state.lock();
        let position = state.tracker.position()?;
        (state.committed != Some(position)).then_some(position)
    }

    pub fn note_committed(&self, position: i64) {
        self.state.lock().committed = Some(position);
    }

    /// Until when nothing is read on account of this partition, which is paused after that; none where it has room.
    pub fn blocks_until(&self, is_another_idle: bool) -> Option<Instant> {
        let state = self.state.lock();
        let since = state.full_since.filter(|_| !state.paused)?;
        Some(
            since
                + if is_another_idle {
                    PAUSE_AFTER_BESIDE_IDLE
                } else {
                    PAUSE_AFTER
                },
        )
    }

    /// Whether a paused partition has room again.
    pub fn may_resume(&self) -> bool {
        self.state.lock().may_resume()
    }

    pub fn set_paused(&self, paused: bool) {
        self.state.lock().paused = paused;
    }

    /// Whether all that was read is done.
    pub fn is_done(&self) -> bool {
        self.state.lock().tracker.unfinished() == 0
    }

    pub fn figures(&self) -> PartitionFigures {
        let state = self.state.lock();
        PartitionFigures {
            topic: self.partition.topic.clone(),
            partition: self.partition.number,
            position: state.tracker.position(),
            lag: None,
            in_flight: state.tracker.unfinished(),
            paused: state.paused,
        }
    }
}

impl State {
    fn is_commit_due(&self) -> bool {
        let position = self.tracker.position();
        let from = self.committed.or(self.first);
        position
            .zip(from)
            .is_some_and(|(to, from)| to - from >= COMMIT_AFTER)
    }

    /// A window that was full counts as full until it is half empty: one slow partition, which is full again after
    /// each batch, would else never be paused, and would hold up all others for ever.
    fn watch_window(&mut self) {
        if WINDOW.is_half_empty(&self.tracker) {
            self.full_since = None;
        } else if self.full_since.is_none() && WINDOW.is_full(&self.tracker) {
            self.full_since = Some(Instant::now());
        }
    }

    fn may_resume(&self) -> bool {
        self.paused && WINDOW.is_half_empty(&self.tracker)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::events::log::{Headers, Record};

    fn slot() -> Slot {
        let topic = "t".to_owned();
        Slot::new(Partition { topic, number: 0 })
    }

    fn record(offset: i64, key: usize) -> Fetched {
        Fetched::from(Record {
            partition: slot().partition.into(),
            offset,
            timestamp_ms: 0,
            key: Some(format!("k{key}")),
            headers: Headers::default(),
            value: Bytes::new(),
        })
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// A record of a key comes.
        Read(usize),
        /// Someone who serves a lane takes a batch.
        Take(usize),
        /// A taken record is done.
        Complete(usize),
        Commit,
        /// The partition goes and comes back: it is read from the committed position on.
        Revoke,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => (0_usize..12).prop_map(Step::Read),
            6 => (0_usize..16).prop_map(Step::Take),
            8 => (0_usize..64).prop_map(Step::Complete),
            2 => Just(Step::Commit),
            1 => Just(Step::Revoke),
        ];
        prop::collection::vec(step, 1..200)
    }

    proptest! {
        /// Whatever is completed by whom, and however often the partition goes: no commit passes a record that nobody
        /// of the present assignment, nor a committed one before, has completed.
        #[test]
        fn no_commit_passes_an_unfinished_record(steps in steps()) {
            let mut slot = std::sync::Arc::new(slot());
            let (mut next, mut committed) = (0_i64, 0_i64);
            let mut served = Vec::new();
            let mut taken = Vec::new();
            let mut done = std::collections::BTreeSet::new();
            for step in steps {
                match step {
                    Step::Read(key) => {
                        served.extend(slot.take_in(record(next, key)).unserved.map(|lane| (slot.clone(), lane)));
                        next += 1;
                    }
                    Step::Take(which) if !served.is_empty() => {
                        let at = which % served.len();
                        let (of, lane): &(std::sync::Arc<Slot>, usize) = &served[at];
                        taken.extend(of.next_batch(*lane, 32).into_iter().map(|it| (of.clone(), it.offset())));
                        if !of.leave(*lane) {
                            served.swap_remove(at);
                        }
                    }
                    Step::Complete(which) if !taken.is_empty() => {
                        let (of, offset): (std::sync::Arc<Slot>, i64) = taken.swap_remove(which % taken.len());
                        of.complete(&[offset]);
                        if std::sync::Arc::ptr_eq(&of, &slot) {
                            done.insert(offset);
                        }
                    }
                    Step::Commit => {
                        if let Some(position) = slot.to_commit() {
                            for offset in committed..position {
                                prop_assert!(done.contains(&offset), "{} is not done", offset);
                            }
                            slot.note_committed(position);
                            committed = position;
                        }
                    }
                    Step::Revoke => {
                        slot.wind_down();
                        slot = std::sync::Arc::new(self::slot());
                        next = committed;
                        done.retain(|offset| *offset < committed);
                    }
                    Step::Take(_) | Step::Complete(_) => {}
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_window_blocks_then_pauses_and_resumes_half_empty() {
        let slot = slot();
        let records = i64::try_from(WINDOW.records).unwrap();
        for offset in 0..records {
            assert_eq!(slot.blocks_until(false), None);
            let taken = slot.take_in(record(offset, 0));
            assert_eq!(taken.is_full, offset == records - 1);
        }
        assert_eq!(slot.blocks_until(false), Some(Instant::now() + PAUSE_AFTER));
        let soon = Instant::now() + PAUSE_AFTER_BESIDE_IDLE;
        assert_eq!(slot.blocks_until(true), Some(soon));
        slot.set_paused(true);
        assert_eq!(slot.blocks_until(false), None);
        let most: Vec<i64> = (1..records / 2).collect();
        assert!(!slot.complete(&most), "more than half are still under way");
        assert!(!slot.may_resume());
        assert!(slot.complete(&[0]));
        assert!(slot.may_resume());
    }

    #[test]
    fn a_commit_is_due_once_after_so_many_records() {
        let slot = slot();
        for offset in 40..40 + COMMIT_AFTER {
            slot.take_in(record(offset, 0));
            let is_last = offset == 39 + COMMIT_AFTER;
            assert_eq!(slot.complete(&[offset]), is_last, "{offset}");
            assert_eq!(slot.is_commit_due(), is_last);
        }
        slot.take_in(record(1_000, 0));
        assert!(!slot.complete(&[1_000]), "it was told already");
        slot.note_committed(1_001);
        assert!(!slot.is_commit_due());
    }

    #[tokio::test]
    async fn idle_waits_for_those_who_serve_lanes() {
        let slot = slot();
        slot.idle().await;
        let lane = slot.take_in(record(0, 0)).unserved.unwrap();
        assert_eq!(slot.take_in(record(1, 0)), Taken::default());
        assert_eq!(slot.next_batch(lane, 32).len(), 2);
        slot.wind_down();
        let ends = async {
            tokio::task::yield_now().await;
            assert!(!slot.leave(lane));
        };
        tokio::join!(slot.idle(), ends);
    }
}
