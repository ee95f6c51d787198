//! The one task that owns a member: it reads, hands records to lanes, commits, and carries rebalances out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::core::Core;
use super::figures::GroupState;
use super::slot::Slot;
use super::taking::Taking;
use super::watch::Watch;
use crate::events::log::{Delivered, Error, Partition, Record, Subscription, Wants};
use crate::kit::metrics;
use crate::kit::retry::Backoff;

/// Positions are committed this often, or after 500 completed records of one partition.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// But not so soon after the last commit: it costs a question to the brokers, and a fast handler completes 500 records in
/// milliseconds.
const COMMIT_PAUSE: Duration = Duration::from_millis(200);

/// How long a revocation waits for the records in hand. Half of `max.poll.interval` would do; others wait meanwhile.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Waits while the log cannot be read.
const READ_BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(200),
    cap: Duration::from_secs(5),
};

/// Why a member's time is over.
#[derive(Debug)]
pub(super) enum Ended {
    /// The process is ending.
    Drained,
    /// Too many records died.
    Flooded,
    /// Another process has this one's name in the group.
    Replaced,
    /// Another member must take its place.
    Broken(String),
}

/// A member and what it reads.
#[derive(Debug)]
pub(super) struct Runner {
    core: Arc<Core>,
    member: Box<dyn Subscription>,
    slots: BTreeMap<Partition, Arc<Slot>>,
    watch: Watch,
    committed_at: Instant,
    read_failures: u32,
    /// The log has failed and is not read before then.
    rests_until: Option<Instant>,
}

enum Step {
    Drain,
    Flood,
    Commit,
    Changed,
    Watch,
    Unblock,
    Delivered(Result<Delivered, Error>),
}

impl Runner {
    pub fn new(core: Arc<Core>, member: Box<dyn Subscription>) -> Self {
        Self {
            core,
            member,
            slots: BTreeMap::new(),
            watch: Watch::new(),
            committed_at: Instant::now(),
            read_failures: 0,
            rests_until: None,
        }
    }

    /// Reads until the process drains or the member cannot go on; leaves the group then. Records in hand have `patience`
    /// to end.
    pub async fn run(mut self, drain: &CancellationToken, patience: Duration) -> Ended {
        let ended = self.read(drain).await;
        let all: Vec<_> = self.slots.keys().cloned().collect();
        let patience = match ended {
            Ended::Broken(_) | Ended::Replaced => Duration::ZERO,
            Ended::Drained | Ended::Flooded => patience,
        };
        self.hand_over(&all, patience).await;
        if let Err(error) = self.member.close().await {
            let group = self.core.name();
            tracing::warn!(group, %error, "a member did not leave its group: {error}");
        }
        ended
    }

    async fn read(&mut self, drain: &CancellationToken) -> Ended {
        let mut commit = interval(COMMIT_INTERVAL);
        commit.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watch = interval(Watch::INTERVAL);
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Not read because something is full, or fails.
            let blocked_until = self.blocked_until();
            let blocked = tokio::time::sleep_until(blocked_until.unwrap_or_else(Instant::now));
            let step = tokio::select! {
                biased;
                () = drain.cancelled() => Step::Drain,
                () = self.core.flooded.cancelled() => Step::Flood,
                _ = commit.tick() => Step::Commit,
                () = self.core.changed.notified() => Step::Changed,
                _ = watch.tick() => Step::Watch,
                () = blocked, if blocked_until.is_some() => Step::Unblock,
                delivered = self.member.next(), if blocked_until.is_none() => Step::Delivered(delivered),
            };
            if let Err(ended) = self.take(step).await {
                return ended;
            }
        }
    }

    async fn take(&mut self, step: Step) -> Result<(), Ended> {
        match step {
            Step::Drain => return Err(Ended::Drained),
            Step::Flood => return Err(Ended::Flooded),
            Step::Commit => {
                self.commit().await;
                self.show();
            }
            Step::Changed => {
                self.resume();
                let may_commit = self.committed_at.elapsed() >= COMMIT_PAUSE;
                if may_commit && self.slots.values().any(|slot| slot.is_commit_due()) {
                    self.commit().await;
                }
            }
            Step::Watch => {
                let slots = self.slots.values();
                if let Some(why) = self.watch.look(&self.core, slots).await {
                    return Err(Ended::Broken(why));
                }
            }
            Step::Unblock => {
                let now = Instant::now();
                self.rests_until = self.rests_until.filter(|until| *until > now);
                self.pause();
            }
            Step::Delivered(Ok(delivered)) => {
                self.read_failures = 0;
                self.watch.note_delivery();
                self.take_in(delivered).await;
            }
            Step::Delivered(Err(error)) => self.judge(error)?,
        }
        Ok(())
    }

    async fn take_in(&mut self, delivered: Delivered) {
        match delivered {
            Delivered::Record(record) => self.begin_all(record),
            Delivered::Assigned(partitions) => self.gain(&partitions),
            Delivered::Revoked(partitions) => {
                self.note_rebalance("revoked", &partitions);
                self.hand_over(&partitions, DRAIN_MAX).await;
            }
            Delivered::Lost(partitions) => {
                self.note_rebalance("lost", &partitions);
                self.drop_slots(&partitions);
            }
        }
    }

    /// Begins a record and those that are at hand behind it, unless it fills its window. They are served some at once.
    fn begin_all(&mut self, record: Record) {
        let mut taking = Taking::new(&self.core, &self.slots);
        if taking.begin(record.into()) == Wants::More {
            self.member.at_hand(&mut |record| taking.begin(record));
        }
        taking.end();
    }

    fn gain(&mut self, partitions: &[Partition]) {
        self.note_rebalance("assigned", partitions);
        for partition in partitions {
            let slot = Arc::new(Slot::new(partition.clone()));
            if let Some(former) = self.slots.insert(partition.clone(), slot) {
                self.core.give_up(&former);
            }
        }
        // librdkafka keeps the pause of a partition that went and came back.
        self.note_pause_failure(self.core.name(), "resumed", partitions, |member, them| {
            member.resume(them)
        });
        self.show();
    }

    /// Ends what runs for these partitions, commits how far they are and gives them up.
    async fn hand_over(&mut self, partitions: &[Partition], patience: Duration) {
        let slots: Vec<_> = partitions
            .iter()
            .filter_map(|partition| self.slots.get(partition).cloned())
            .collect();
        for slot in &slots {
            self.core.give_up(slot);
        }
        let idle = futures::future::join_all(slots.iter().map(|slot| slot.idle()));
        if tokio::time::timeout(patience, idle).await.is_err() {
            let group = self.core.name();
            tracing::warn!(
                group,
                "records in hand did not end within {patience:?}; others will do them again"
            );
        }
        self.commit_of(&slots).await;
        self.drop_slots(partitions);
    }

    fn drop_slots(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            if let Some(slot) = self.slots.remove(partition) {
                self.core.give_up(&slot);
                metrics::consumer_lag(self.core.name(), &partition.topic, partition.number, 0);
            }
        }
        self.show();
    }

    async fn commit(&mut self) {
        let slots: Vec<_> = self.slots.values().cloned().collect();
        self.commit_of(&slots).await;
    }

    /// Commits the positions of these partitions. A failure costs nothing but repetition, which the inbox finds.
    async fn commit_of(&mut self, slots: &[Arc<Slot>]) {
        self.committed_at = Instant::now();
        let positions: Vec<_> = slots
            .iter()
            .filter_map(|slot| Some((slot.partition.clone(), slot.to_commit()?)))
            .collect();
        if positions.is_empty() {
            return;
        }
        let group = self.core.name();
        match self.member.commit(&positions).await {
            Ok(()) => {
                for (partition, position) in &positions {
                    if let Some(slot) = self.slots.get(partition) {
                        slot.note_committed(*position);
                    }
                }
                metrics::group_committed(group, "committed");
                self.core.change(|figures| figures.commits += 1);
            }
            Err(Error::Fenced(what)) => {
                metrics::group_committed(group, "fenced");
                tracing::info!(group, "a commit came too late: {what}");
            }
            Err(error) => {
                metrics::group_committed(group, "failed");
                self.core.note_error(&error.to_string());
                tracing::warn!(group, %error, "positions were not committed: {error}");
            }
        }
    }

    /// When the first full window is paused, or the log is read again; none where nothing stands in the way of reading.
    fn blocked_until(&self) -> Option<Instant> {
        let is_one_idle = self.is_one_idle();
        let slots = self.slots.values();
        let full = slots.filter_map(|slot| slot.blocks_until(is_one_idle));
        self.rests_until.into_iter().chain(full).min()
    }

    /// Whether a partition has nothing to do.
    fn is_one_idle(&self) -> bool {
        self.slots.values().any(|slot| slot.is_done())
    }

    /// Pauses the partitions whose windows have been full for too long.
    fn pause(&mut self) {
        let (now, is_one_idle) = (Instant::now(), self.is_one_idle());
        let full = self.slots.values().filter(|slot| {
            let until = slot.blocks_until(is_one_idle);
            until.is_some_and(|until| until <= now)
        });
        let full: Vec<_> = full.cloned().collect();
        if full.is_empty() {
            return;
        }
        let partitions: Vec<_> = full.iter().map(|slot| slot.partition.clone()).collect();
        for slot in full {
            slot.set_paused(true);
        }
        self.note_pause_failure(self.core.name(), "paused", &partitions, |member, them| {
            member.pause(them)
        });
        self.show();
    }

    fn resume(&mut self) {
        let room = self.slots.values().filter(|slot| slot.may_resume());
        let room: Vec<_> = room.cloned().collect();
        if room.is_empty() {
            return;
        }
        for slot in &room {
            slot.set_paused(false);
        }
        let partitions: Vec<_> = room.iter().map(|slot| slot.partition.clone()).collect();
        self.note_pause_failure(self.core.name(), "resumed", &partitions, |member, them| {
            member.resume(them)
        });
        self.show();
    }

    fn note_pause_failure(
        &mut self,
        group: &str,
        what: &str,
        partitions: &[Partition],
        act: impl Fn(&mut dyn Subscription, &[Partition]) -> Result<(), Error>,
    ) {
        if let Err(error) = act(&mut *self.member, partitions) {
            tracing::warn!(group, %error, "partitions were not {what}: {error}");
        }
    }

    /// A log that does not answer is asked again; a member that cannot go on is replaced.
    fn judge(&mut self, error: Error) -> Result<(), Ended> {
        self.core.note_error(&error.to_string());
        let why = match error {
            Error::Unavailable(why) => why,
            Error::Replaced(_) => return Err(Ended::Replaced),
            error => return Err(Ended::Broken(error.to_string())),
        };
        self.read_failures += 1;
        if self.read_failures == 1 {
            tracing::warn!(group = self.core.name(), "the event log is not read: {why}");
        }
        self.rests_until = Some(Instant::now() + READ_BACKOFF.wait(self.read_failures));
        Ok(())
    }

    fn note_rebalance(&self, what: &'static str, partitions: &[Partition]) {
        let group = self.core.name();
        metrics::group_rebalanced(group, what);
        let names: Vec<_> = partitions
            .iter()
            .map(|it| format!("{}/{}", it.topic, it.number))
            .collect();
        tracing::info!(group, "partitions {what}: {}", names.join(" "));
        self.core.change(|figures| figures.rebalances += 1);
    }

    fn show(&self) {
        let now: Vec<_> = self.slots.values().map(|slot| slot.figures()).collect();
        self.core.change(|figures| {
            let former = std::mem::take(&mut figures.partitions);
            let lag_of = |topic: &str, number| {
                let known = former
                    .iter()
                    .find(|it| it.topic == topic && it.partition == number);
                known.and_then(|it| it.lag)
            };
            figures.partitions = now;
            for partition in &mut figures.partitions {
                partition.lag = lag_of(&partition.topic, partition.partition);
            }
            figures.state = GroupState::Reading;
        });
        self.core.groups.show(self.core.name());
    }
}
