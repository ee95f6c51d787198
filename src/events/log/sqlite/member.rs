//! A member's stream. Its state follows from rows, so that a dropped `next` loses nothing: whatever was written but not
//! noted is found by the next look.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::group::{self, Mine, Seat, Standing};
use super::{POLL_INTERVAL, Shared, records, sqlite};
use crate::db::{self, Tx, batch, run_tx};
use crate::events::log::{Delivered, Error, Partition, Record, SILENCE_MAX, Subscription};

/// Records fetched from one partition at once.
const FETCH_MAX: usize = 64;

/// Bytes of records fetched ahead; one more fetch may come on top.
const AHEAD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A member of a group.
#[derive(Debug)]
pub struct Member {
    shared: Arc<Shared>,
    seat: Seat,
    /// What was announced as assigned and not yet released or lost.
    held: BTreeMap<Partition, Held>,
    /// What was taken and not yet announced.
    incoming: BTreeMap<Partition, Held>,
    /// What was lost and not yet announced.
    lost: Vec<Partition>,
    /// What was announced as revoked; released by the next call.
    releasing: Vec<Partition>,
    /// Records fetched ahead.
    ahead: VecDeque<Record>,
    /// Where the last fetch ended, so that the next goes on behind it.
    turn: Option<Partition>,
    /// The generation that the state follows from; `None` asks for a look.
    generation: Option<i64>,
    looked_at: Instant,
    asked_at: Arc<Mutex<Instant>>,
    /// Ends the heartbeat when the member is dropped.
    heart: DropGuard,
}

#[derive(Debug, Clone)]
struct Held {
    epoch: i64,
    /// The next offset to fetch.
    next: i64,
    /// It must be released; nothing more is fetched.
    leaving: bool,
    /// Nothing is fetched until it is resumed.
    paused: bool,
}

impl Member {
    /// Joins a group.
    pub async fn join(shared: &Arc<Shared>, group: &str, topics: &[&str]) -> Result<Self, Error> {
        let seat = Seat {
            group: group.to_owned(),
            member: shared.next_member_id(),
            client: shared.client_id.clone(),
            topics: topics.iter().map(ToString::to_string).collect(),
        };
        let gone = CancellationToken::new();
        let asked_at = Arc::new(Mutex::new(Instant::now()));
        let mut member = Self {
            shared: shared.clone(),
            seat,
            held: BTreeMap::new(),
            incoming: BTreeMap::new(),
            lost: Vec::new(),
            releasing: Vec::new(),
            ahead: VecDeque::new(),
            turn: None,
            generation: None,
            looked_at: Instant::now(),
            asked_at: asked_at.clone(),
            heart: gone.clone().drop_guard(),
        };
        member.sync().await?;
        let beat = beat(shared.clone(), member.seat.clone(), asked_at, gone);
        shared.lifecycle.spawn("event log heartbeat", beat);
        Ok(member)
    }

    /// Looks at the group's rows and notes what changed.
    async fn sync(&mut self) -> Result<(), Error> {
        let shared = self.shared.clone();
        let now_ms = shared.now_ms();
        let standing = run_tx!(shared.db, "log.sync", |tx| -> Result<Standing, db::Error> {
            group::sync(tx, &self.seat, now_ms, shared.session_ms()).await
        })?;
        self.looked_at = Instant::now();
        let before = self.generation.replace(standing.generation);
        if before != self.generation {
            shared.changed.notify_waiters();
        }
        self.follow(standing.mine);
        Ok(())
    }

    /// Compares what the rows say with what is held.
    fn follow(&mut self, mine: Vec<Mine>) {
        let mine: BTreeMap<_, _> = mine
            .into_iter()
            .map(|it| (it.partition.clone(), it))
            .collect();
        let still = |partition: &Partition, held: &Held| {
            mine.get(partition).is_some_and(|it| it.epoch == held.epoch)
        };
        let lost = self.held.extract_if(.., |it, held| !still(it, held));
        self.lost.extend(lost.map(|(partition, _)| partition));
        self.incoming.retain(|it, held| still(it, held));
        for (partition, mine) in mine {
            if let Some(held) = self.held.get_mut(&partition) {
                held.leaving = mine.leaving;
            } else {
                let held = Held {
                    epoch: mine.epoch,
                    next: mine.position,
                    leaving: mine.leaving,
                    paused: false,
                };
                self.incoming.entry(partition).or_insert(held).leaving = mine.leaving;
            }
        }
        let held = &self.held;
        self.ahead
            .retain(|it| held.get(&*it.partition).is_some_and(|held| !held.leaving));
    }

    /// What must be told before the next record. Nothing is awaited between taking it and answering it.
    fn announcement(&mut self) -> Option<Delivered> {
        if !self.lost.is_empty() {
            return Some(Delivered::Lost(std::mem::take(&mut self.lost)));
        }
        let leaving = self.held.iter().filter(|(_, held)| held.leaving);
        self.releasing = leaving.map(|(partition, _)| partition.clone()).collect();
        if !self.releasing.is_empty() {
            return Some(Delivered::Revoked(self.releasing.clone()));
        }
        if self.incoming.is_empty() {
            return None;
        }
        let assigned = self.incoming.keys().cloned().collect();
        self.held.append(&mut self.incoming);
        Some(Delivered::Assigned(assigned))
    }

    /// Lets go what was announced as revoked.
    async fn release(&mut self) -> Result<(), Error> {
        let epoch = |it: &Partition| Some((it.clone(), self.held.get(it)?.epoch));
        let partitions: Vec<_> = self.releasing.iter().filter_map(epoch).collect();
        run_tx!(
            self.shared.db,
            "log.release",
            |tx| -> Result<(), db::Error> { group::release(tx, &self.seat, &partitions).await }
        )?;
        for partition in self.releasing.drain(..) {
            self.held.remove(&partition);
        }
        self.generation = None;
        self.shared.changed.notify_waiters();
        Ok(())
    }

    /// Looks for a change of the group and fetches what was appended.
    async fn look(&mut self) -> Result<(), Error> {
        let now_ms = self.shared.now_ms();
        let mut tx = self.shared.db.reader().await?;
        let (generation, overdue) = group::look(&mut tx, &self.seat, now_ms).await?;
        self.looked_at = Instant::now();
        if overdue || self.generation != Some(generation) {
            self.generation = None;
            return Ok(());
        }
        if self.ahead.is_empty() {
            self.fetch(&mut tx).await?;
        }
        Ok(())
    }

    async fn fetch(&mut self, tx: &mut Tx) -> Result<(), Error> {
        let ends = ends(tx, &self.seat.topics).await?;
        let mut bytes = 0;
        for partition in self.in_turn() {
            let (Some(end), Some(held)) = (ends.get(&partition), self.held.get_mut(&partition))
            else {
                continue;
            };
            if held.leaving || held.paused || held.next >= *end || bytes > AHEAD_BYTES_MAX {
                continue;
            }
            let records = records::read(tx, &partition, held.next, FETCH_MAX).await?;
            // Without records the rest was dropped by retention between the two statements.
            held.next = records.last().map_or(*end, |record| record.offset + 1);
            bytes += records
                .iter()
                .map(|record| record.value.len())
                .sum::<usize>();
            self.ahead.extend(records);
            self.turn = Some(partition);
        }
        Ok(())
    }

    /// The held partitions, those behind the last fetch first.
    fn in_turn(&self) -> Vec<Partition> {
        let mut partitions: Vec<_> = self.held.keys().cloned().collect();
        let behind = partitions.partition_point(|it| Some(it) <= self.turn.as_ref());
        partitions.rotate_left(behind);
        partitions
    }
}

#[async_trait]
impl Subscription for Member {
    async fn next(&mut self) -> Result<Delivered, Error> {
        loop {
            *self.asked_at.lock() = Instant::now();
            if !self.releasing.is_empty() {
                self.release().await?;
            }
            if self.generation.is_none() {
                self.sync().await?;
            }
            if let Some(announcement) = self.announcement() {
                return Ok(announcement);
            }
            let is_due = self.looked_at.elapsed() > self.shared.heartbeat;
            if !is_due && let Some(record) = self.ahead.pop_front() {
                return Ok(Delivered::Record(record));
            }
            let shared = self.shared.clone();
            let mut changed = std::pin::pin!(shared.changed.notified());
            changed.as_mut().enable();
            self.look().await?;
            if self.generation.is_some() && self.ahead.is_empty() {
                let _ = tokio::time::timeout(POLL_INTERVAL, changed).await;
            }
        }
    }

    fn pause(&mut self, partitions: &[Partition]) -> Result<(), Error> {
        for (partition, held) in &mut self.held {
            if partitions.contains(partition) {
                held.paused = true;
                let ahead = self.ahead.iter().find(|it| *it.partition == *partition);
                held.next = ahead.map_or(held.next, |record| record.offset);
            }
        }
        self.ahead.retain(|it| !partitions.contains(&it.partition));
        Ok(())
    }

    fn resume(&mut self, partitions: &[Partition]) -> Result<(), Error> {
        for partition in partitions {
            if let Some(held) = self.held.get_mut(partition) {
                held.paused = false;
            }
        }
        Ok(())
    }

    async fn commit(&mut self, positions: &[(Partition, i64)]) -> Result<(), Error> {
        let mut owned = Vec::with_capacity(positions.len());
        for (partition, position) in positions {
            let held = self.held.get(partition).ok_or_else(|| fenced(partition))?;
            owned.push((partition.clone(), *position, held.epoch));
        }
        let lost = run_tx!(self.shared.db, "log.commit", |tx| -> Result<
            Option<Partition>,
            db::Error,
        > {
            group::commit(tx, &self.seat, &owned).await
        })?;
        lost.map_or(Ok(()), |partition| Err(fenced(&partition)))
    }

    async fn close(self: Box<Self>) -> Result<(), Error> {
        self.heart.disarm().cancel();
        let now_ms = self.shared.now_ms();
        run_tx!(self.shared.db, "log.leave", |tx| -> Result<(), db::Error> {
            group::leave(tx, &self.seat, now_ms).await
        })?;
        self.shared.changed.notify_waiters();
        Ok(())
    }
}

/// Renews the member's lease until it is gone, or while nobody has asked for a delivery for too long.
async fn beat(
    shared: Arc<Shared>,
    seat: Seat,
    asked_at: Arc<Mutex<Instant>>,
    gone: CancellationToken,
) {
    while !wait_or_gone(shared.heartbeat, &gone).await {
        let silent = asked_at.lock().elapsed();
        if silent > SILENCE_MAX {
            tracing::warn!(
                group = seat.group,
                "no delivery was asked for in {silent:?}: the partitions of {} go to others",
                seat.member
            );
            continue;
        }
        let now_ms = shared.now_ms();
        let renewed = run_tx!(shared.db, "log.renew", |tx| -> Result<bool, db::Error> {
            group::renew(tx, &seat, now_ms, shared.session_ms()).await
        });
        if let Err(error) = renewed {
            tracing::warn!(group = seat.group, %error, "a heartbeat of the event log failed: {error}");
        }
    }
}

async fn wait_or_gone(wait: Duration, gone: &CancellationToken) -> bool {
    tokio::time::timeout(wait, gone.cancelled()).await.is_ok()
}

const ENDS: &str = "\
    select topic, number, next_offset from log_partitions
    where topic in (select value from json_each($1))";

async fn ends(tx: &mut Tx, topics: &[String]) -> Result<BTreeMap<Partition, i64>, db::Error> {
    let rows: Vec<(String, i32, i64)> = sqlx::query_as(ENDS)
        .bind(batch::list(topics)?)
        .fetch_all(sqlite(tx)?)
        .await?;
    let end = |(topic, number, end)| (Partition { topic, number }, end);
    Ok(rows.into_iter().map(end).collect())
}

fn fenced(partition: &Partition) -> Error {
    Error::Fenced(format!("{} {}", partition.topic, partition.number))
}
