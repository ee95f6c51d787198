//! A member as the checks use it: it notes what it is told and holds.

use std::collections::BTreeSet;
use std::time::Duration;

use spheroctl::events::log::{Delivered, Error, EventLog, Partition, Record, Subscription};

/// Longest wait for anything that must happen.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// How long one reader is asked while several take turns.
const TURN: Duration = Duration::from_millis(30);

pub struct Reader {
    subscription: Box<dyn Subscription>,
    /// What it was told to have.
    pub held: BTreeSet<Partition>,
    /// The records that it has read.
    pub seen: Vec<Record>,
    /// Whether it commits what it has read of a partition when that is revoked.
    pub commits_on_revoke: bool,
}

impl Reader {
    pub async fn join(log: &dyn EventLog, group: &str, topics: &[&str]) -> Self {
        let subscription = log.subscribe(group, topics).await.expect("joining a group");
        Self {
            subscription,
            held: BTreeSet::new(),
            seen: Vec::new(),
            commits_on_revoke: false,
        }
    }

    /// Asks for one delivery, at most `wait`.
    pub async fn poll(&mut self, wait: Duration) {
        let Ok(delivered) = tokio::time::timeout(wait, self.subscription.next()).await else {
            return;
        };
        match delivered.expect("a delivery") {
            Delivered::Record(record) => {
                assert!(
                    self.held.contains(&*record.partition),
                    "{record:?} of no partition held"
                );
                self.seen.push(record);
            }
            Delivered::Assigned(partitions) => self.held.extend(partitions),
            Delivered::Revoked(partitions) => {
                if self.commits_on_revoke {
                    self.commit_read_of(&partitions).await;
                }
                self.held.retain(|it| !partitions.contains(it));
            }
            Delivered::Lost(partitions) => self.held.retain(|it| !partitions.contains(it)),
        }
    }

    /// Reads until `count` records were seen in all.
    pub async fn read(&mut self, count: usize) -> &[Record] {
        turns(&mut [self], "records arrive", |readers| {
            readers[0].seen.len() >= count
        })
        .await;
        assert_eq!(self.seen.len(), count);
        &self.seen
    }

    /// Reads until `count` partitions are held.
    pub async fn hold(&mut self, count: usize) {
        turns(&mut [self], "partitions are assigned", |readers| {
            readers[0].held.len() == count
        })
        .await;
    }

    pub async fn commit(&mut self, partition: &Partition, position: i64) -> Result<(), Error> {
        self.subscription
            .commit(&[(partition.clone(), position)])
            .await
    }

    pub fn pause(&mut self, partition: &Partition) {
        let paused = self.subscription.pause(std::slice::from_ref(partition));
        paused.expect("a pause");
    }

    pub fn resume(&mut self, partition: &Partition) {
        let resumed = self.subscription.resume(std::slice::from_ref(partition));
        resumed.expect("going on");
    }

    /// The offsets that it has read of a partition.
    pub fn offsets_of(&self, partition: &Partition) -> Vec<i64> {
        let of_it = self.seen.iter().filter(|it| *it.partition == *partition);
        of_it.map(|record| record.offset).collect()
    }

    async fn commit_read_of(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            let read = self
                .seen
                .iter()
                .filter(|record| *record.partition == *partition);
            if let Some(last) = read.map(|record| record.offset).max() {
                self.commit(partition, last + 1)
                    .await
                    .expect("a commit during revocation");
            }
        }
    }

    pub async fn close(self) {
        self.subscription.close().await.expect("leaving a group");
    }
}

/// Lets readers take turns until `done` holds.
pub async fn turns(readers: &mut [&mut Reader], what: &str, done: impl Fn(&[&mut Reader]) -> bool) {
    let end = tokio::time::Instant::now() + DEADLINE;
    while !done(readers) {
        assert!(
            tokio::time::Instant::now() < end,
            "{what}: not so after {DEADLINE:?}"
        );
        for reader in readers.iter_mut() {
            reader.poll(TURN).await;
        }
    }
}
