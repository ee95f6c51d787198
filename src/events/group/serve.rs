//! Serving one lane: batch after batch until nothing waits.
//!
//! A batch of several events shares a transaction. Where that fails, or one of them is a suspect, each goes by itself,
//! in order: only the one to blame loses an attempt. Starts that are not to blame are taken back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::core::{Broken, Core};
use super::handler::HandlerError;
use super::slot::Slot;
use crate::db;
use crate::events::dead_letters::{Death, letter};
use crate::events::inbox::{ATTEMPTS_MAX, Standing, Start};
use crate::events::log::{self, NewRecord, Record};
use crate::events::{Error, Event};
use crate::kit::id::EventId;
use crate::kit::metrics;
use crate::kit::retry::Backoff;

/// Waits between two attempts, and while something is away.
const BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(200),
    cap: Duration::from_secs(5),
};

/// Class of a record that is no event.
const UNDECODABLE: &str = "undecodable";
/// Class of an event all of whose starts were used, the last of them without an end.
const CRASHED: &str = "crashed";

/// The partition goes: whoever waits ends without completing.
#[derive(Debug)]
struct Stopped;

/// Serves one lane of a slot.
#[derive(Debug)]
pub(super) struct Server {
    core: Arc<Core>,
    slot: Arc<Slot>,
    /// Held while there is work with the database, given back for every wait.
    permit: Option<OwnedSemaphorePermit>,
}

/// A record to do, with the offsets at which it stands: the relay may have appended it twice.
#[derive(Debug)]
struct Item {
    record: Record,
    offsets: Vec<i64>,
    event: Result<Event, Error>,
}

/// Why a record dies.
#[derive(Debug)]
struct Cause {
    attempts: i64,
    class: &'static str,
    message: String,
}

/// What came of one try.
#[derive(Debug)]
enum Tried {
    /// The effect is committed.
    Done,
    /// The dead letters hold it already.
    Dead,
    /// Its last start has no end.
    Suspect,
    Died(Cause),
    Failed {
        attempt: i64,
    },
    Outage(String),
}

impl Server {
    pub fn new(core: Arc<Core>, slot: Arc<Slot>) -> Self {
        Self {
            core,
            slot,
            permit: None,
        }
    }

    /// Serves the lane until nothing waits in it or the partition goes.
    pub async fn serve(mut self, lane: usize) {
        loop {
            // First the permit: while this waits for one, the batch grows.
            let ready = self.take_permit().await;
            let Some(batch) = self.slot.next_batch(lane) else {
                return;
            };
            if ready.is_ok() {
                // Safe to ignore: a partition that goes has no batch left.
                let _ = self.run(items(batch)).await;
            }
        }
    }

    async fn run(&mut self, items: Vec<Item>) -> Result<(), Stopped> {
        for item in self.together(items).await? {
            self.one(item).await?;
        }
        Ok(())
    }

    /// Handles the events of a batch in one transaction, where all can be; answers what is left to do.
    async fn together(&mut self, items: Vec<Item>) -> Result<Vec<Item>, Stopped> {
        let events: Vec<&Event> = items.iter().filter_map(Item::event).collect();
        if events.len() < 2 {
            return Ok(items);
        }
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        let turn = self.core.turns.shared().await;
        // Where the database is away, the way of one by one knows how to wait.
        let Ok((start, standings)) = self.core.inbox.begin(&ids).await else {
            return Ok(items);
        };
        let started = |standing: &Standing| matches!(standing, Standing::Started { .. });
        let is_settled = |it: &Standing| matches!(it, Standing::Done | Standing::Dead);
        let to_do = events.iter().zip(&standings);
        let to_do: Vec<&Event> = to_do
            .filter(|(_, standing)| started(standing))
            .map(|(event, _)| *event)
            .collect();
        let outcome = if standings.iter().all(|it| started(it) || is_settled(it)) {
            match to_do.is_empty() {
                true => Ok(()),
                false => self.core.handle(&to_do).await,
            }
        } else {
            Err(Broken {
                culprit: None,
                error: HandlerError::Unavailable("a suspect is among them".to_owned()),
            })
        };
        drop(turn);
        if let Err(broken) = outcome {
            let to_do: Vec<_> = to_do.iter().map(|event| event.id).collect();
            self.end_starts(&start, &to_do, &broken).await?;
            return Ok(items);
        }
        self.conclude_all(items, &standings).await
    }

    /// A batch did not commit: the culprit's start has failed, the others' are taken back.
    async fn end_starts(
        &mut self,
        start: &Start,
        events: &[EventId],
        broken: &Broken,
    ) -> Result<(), Stopped> {
        let culprit = broken.culprit.filter(|_| !broken.error.is_outage());
        let culprit = culprit.map(|at| events[at]);
        let innocent = events.iter().filter(|event| Some(**event) != culprit);
        let innocent: Vec<_> = innocent.copied().collect();
        let core = self.core.clone();
        self.persist(|| core.inbox.take_back(start, &innocent))
            .await?;
        let Some(culprit) = culprit else {
            return Ok(());
        };
        let why = broken.error.to_string();
        self.core.note_error(&why);
        self.persist(|| core.inbox.fail(start, culprit, &why)).await
    }

    /// The transaction of a batch has committed; undecodable records are left to do.
    async fn conclude_all(
        &mut self,
        items: Vec<Item>,
        standings: &[Standing],
    ) -> Result<Vec<Item>, Stopped> {
        let mut standings = standings.iter();
        let mut left = Vec::new();
        for item in items {
            if item.event.is_err() {
                left.push(item);
            } else if standings.next() == Some(&Standing::Dead) {
                self.complete(&item, 0);
            } else {
                self.conclude(&item).await?;
            }
        }
        Ok(left)
    }

    /// Handles one record, however often it takes.
    async fn one(&mut self, item: Item) -> Result<(), Stopped> {
        let event = match &item.event {
            Ok(event) => event,
            Err(error) => {
                let cause = Cause {
                    attempts: 0,
                    class: UNDECODABLE,
                    message: error.to_string(),
                };
                return self.bury(&item, cause).await;
            }
        };
        let mut outages = 0;
        loop {
            if self.slot.stop.is_cancelled() {
                return Err(Stopped);
            }
            let tried = match self.try_beside_others(event).await? {
                Tried::Suspect => self.try_alone(event).await?,
                tried => tried,
            };
            match tried {
                Tried::Done => return self.conclude(&item).await,
                Tried::Dead => {
                    self.complete(&item, 0);
                    return Ok(());
                }
                Tried::Died(cause) => return self.bury(&item, cause).await,
                // Somebody else's start ended or began meanwhile.
                Tried::Suspect => self.rest(BACKOFF.wait(1)).await?,
                Tried::Failed { attempt } => {
                    outages = 0;
                    let failures = u32::try_from(attempt).unwrap_or(1);
                    self.rest(BACKOFF.wait(failures)).await?;
                }
                Tried::Outage(why) => {
                    outages += 1;
                    self.hold(&why, outages).await?;
                }
            }
        }
    }

    async fn try_beside_others(&mut self, event: &Event) -> Result<Tried, Stopped> {
        let core = self.core.clone();
        let turn = core.turns.shared().await;
        let begun = match core.inbox.begin(&[event.id]).await {
            Ok((start, standings)) => standings.into_iter().next().map(|it| (start, it)),
            Err(error) => return Ok(Tried::Outage(error.to_string())),
        };
        let Some((start, standing)) = begun else {
            return Ok(Tried::Suspect);
        };
        let outcome = match &standing {
            Standing::Started { .. } => core.handle(&[event]).await,
            _ => Ok(()),
        };
        drop(turn);
        self.judge(event, &start, standing, outcome).await
    }

    /// Tries a suspect while no other handler of the process runs.
    async fn try_alone(&mut self, event: &Event) -> Result<Tried, Stopped> {
        let core = self.core.clone();
        let turn = core.turns.alone().await;
        let (start, standing) = match core.inbox.begin_alone(event.id).await {
            Ok(begun) => begun,
            Err(error) => return Ok(Tried::Outage(error.to_string())),
        };
        let outcome = match &standing {
            Standing::Started { attempt } => {
                let id = event.id;
                tracing::info!(group = core.name(), event = %id, attempt, "event {id} is handled alone: its last start has no end");
                core.handle(&[event]).await
            }
            _ => Ok(()),
        };
        drop(turn);
        self.judge(event, &start, standing, outcome).await
    }

    async fn judge(
        &mut self,
        event: &Event,
        start: &Start,
        standing: Standing,
        outcome: Result<(), Broken>,
    ) -> Result<Tried, Stopped> {
        let attempt = match standing {
            Standing::Started { attempt } => attempt,
            Standing::Done => return Ok(Tried::Done),
            Standing::Dead => return Ok(Tried::Dead),
            Standing::Suspect => return Ok(Tried::Suspect),
            Standing::Exhausted { attempts, error } => {
                return Ok(Tried::Died(exhausted(attempts, error)));
            }
        };
        let Err(Broken { error, .. }) = outcome else {
            return Ok(Tried::Done);
        };
        let (core, id, why) = (self.core.clone(), event.id, error.to_string());
        if error.is_outage() {
            let ids = [id];
            self.persist(|| core.inbox.take_back(start, &ids)).await?;
            return Ok(Tried::Outage(why));
        }
        tracing::warn!(group = core.name(), event = %id, attempt, "event {id}: attempt {attempt} failed: {why}");
        core.note_error(&why);
        self.persist(|| core.inbox.fail(start, id, &why)).await?;
        if matches!(error, HandlerError::Refused(_)) || attempt >= ATTEMPTS_MAX {
            let class = error.class();
            return Ok(Tried::Died(Cause {
                attempts: attempt,
                class,
                message: why,
            }));
        }
        Ok(Tried::Failed { attempt })
    }

    /// The effect is committed: what lies outside of the database follows, then the record is done.
    async fn conclude(&mut self, item: &Item) -> Result<(), Stopped> {
        let Ok(event) = &item.event else {
            return Ok(());
        };
        let (mut attempt, mut outages) = (0, 0);
        while let Err(error) = self.core.committed(event).await {
            let why = error.to_string();
            if error.is_outage() {
                outages += 1;
                self.hold(&why, outages).await?;
                continue;
            }
            attempt += 1;
            self.core.note_error(&why);
            if matches!(error, HandlerError::Refused(_)) || attempt >= ATTEMPTS_MAX {
                let cause = Cause {
                    attempts: attempt,
                    class: error.class(),
                    message: why,
                };
                return self.bury(item, cause).await;
            }
            self.rest(BACKOFF.wait(u32::try_from(attempt).unwrap_or(1)))
                .await?;
        }
        self.complete(item, 0);
        Ok(())
    }

    /// Puts a record into the dead letters; waits for as long as they cannot be written.
    async fn bury(&mut self, item: &Item, cause: Cause) -> Result<(), Stopped> {
        let core = self.core.clone();
        let death = Death {
            group: core.name(),
            attempts: cause.attempts,
            class: cause.class,
            message: &cause.message,
            at: core.clock.now(),
            host: &core.instance,
        };
        let dead = letter(&item.record, &death);
        let mut failures = 0;
        while let Err(error) = append(&core, &dead).await {
            failures += 1;
            let why = format!("{} cannot be written: {error}", dead.topic);
            self.stall(&why, failures).await?;
        }
        let place = &item.record.partition;
        tracing::error!(
            group = core.name(),
            topic = place.topic,
            partition = place.number,
            offset = item.record.offset,
            class = cause.class,
            "a record went to {}: {}",
            dead.topic,
            cause.message
        );
        core.note_error(&cause.message);
        metrics::dlq_record(&place.topic, core.name());
        if let Ok(event) = &item.event {
            self.persist(|| core.inbox.bury(event.id, &cause.message))
                .await?;
        }
        self.complete(item, 1);
        Ok(())
    }

    fn complete(&self, item: &Item, dead: usize) {
        if self.slot.complete(&item.offsets) {
            self.core.changed.notify_one();
        }
        self.core.note_completed(item.offsets.len() - dead, dead);
    }

    /// Writes to the inbox, however long that takes.
    async fn persist<F>(&mut self, write: impl Fn() -> F) -> Result<(), Stopped>
    where
        F: Future<Output = Result<(), db::Error>>,
    {
        let mut failures = 0;
        while let Err(error) = write().await {
            failures += 1;
            self.hold(&error.to_string(), failures).await?;
        }
        Ok(())
    }

    /// Waits because something that is needed is away.
    async fn hold(&mut self, why: &str, times: u32) -> Result<(), Stopped> {
        if times == 1 {
            tracing::warn!(group = self.core.name(), "a lane waits: {why}");
        }
        self.core.note_error(why);
        self.core.change(|figures| figures.held_lanes += 1);
        let rested = self.rest(BACKOFF.wait(times)).await;
        self.core.change(|figures| figures.held_lanes -= 1);
        rested
    }

    /// Waits because the dead letters cannot be written.
    async fn stall(&mut self, why: &str, times: u32) -> Result<(), Stopped> {
        if times == 1 {
            tracing::error!(group = self.core.name(), "a lane stands still: {why}");
        }
        self.core.note_error(why);
        self.core.change(|figures| figures.stalled_lanes += 1);
        let rested = self.rest(BACKOFF.wait(times)).await;
        self.core.change(|figures| figures.stalled_lanes -= 1);
        rested
    }

    /// Waits without a permit.
    async fn rest(&mut self, wait: Duration) -> Result<(), Stopped> {
        self.permit = None;
        tokio::select! {
            () = self.slot.stop.cancelled() => return Err(Stopped),
            () = tokio::time::sleep(wait) => {}
        }
        self.take_permit().await
    }

    async fn take_permit(&mut self) -> Result<(), Stopped> {
        if self.permit.is_some() {
            return Ok(());
        }
        tokio::select! {
            biased;
            () = self.slot.stop.cancelled() => Err(Stopped),
            permit = self.core.permits.clone().acquire_owned() => {
                self.permit = permit.ok();
                Ok(())
            }
        }
    }
}

impl Item {
    fn event(&self) -> Option<&Event> {
        self.event.as_ref().ok()
    }
}

/// The records in order; of an event that stands there twice, the first with both offsets.
fn items(records: Vec<Record>) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::with_capacity(records.len());
    for record in records {
        let event = Event::from_record(&record);
        let twin = event.as_ref().ok().and_then(|event| {
            let same = |it: &&mut Item| it.event().is_some_and(|other| other.id == event.id);
            items.iter_mut().find(same)
        });
        match twin {
            Some(twin) => twin.offsets.push(record.offset),
            None => items.push(Item {
                offsets: vec![record.offset],
                record,
                event,
            }),
        }
    }
    items
}

fn exhausted(attempts: i64, error: Option<String>) -> Cause {
    let crashed = || format!("its {attempts} starts ended with their process");
    Cause {
        attempts,
        class: if error.is_some() { "failed" } else { CRASHED },
        message: error.unwrap_or_else(crashed),
    }
}

async fn append(core: &Core, dead: &NewRecord) -> Result<(), log::Error> {
    let answers = core.log.append(vec![dead.clone()]).await;
    match answers.into_iter().next() {
        Some(answer) => answer.map(drop),
        None => Err(log::Error::Unavailable("no answer".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Fact;
    use crate::events::log::Partition;
    use crate::events::types::MemberRemoved;
    use crate::kit::clock::SystemClock;
    use crate::kit::id::{ProjectId, UserId};

    fn record(offset: i64, event: &Event) -> Record {
        let topic = event.fact.topic().to_owned();
        Record {
            partition: Partition { topic, number: 0 },
            offset,
            timestamp_ms: 0,
            key: Some(event.fact.key()),
            headers: event.envelope().headers(),
            value: event.fact.encode().unwrap(),
        }
    }

    fn event() -> Event {
        let removed = MemberRemoved {
            user_id: UserId::new(&SystemClock),
            project_id: ProjectId::new(&SystemClock),
        };
        Event::new(Fact::MemberRemoved(removed), &SystemClock)
    }

    #[test]
    fn an_event_that_was_appended_twice_is_done_once_at_both_places() {
        let (one, two) = (event(), event());
        let mut broken = record(3, &two);
        broken.headers.clear();
        let records = vec![record(1, &one), record(2, &two), broken, record(4, &one)];
        let offsets: Vec<_> = items(records).into_iter().map(|it| it.offsets).collect();
        assert_eq!(offsets, [vec![1, 4], vec![2], vec![3]]);
    }
}
