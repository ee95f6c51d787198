//! Looking at dead letters, sending them again and dropping them.

use std::collections::{BTreeMap, HashMap};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::letter::{Filter, Letter, LetterId, State, letter_of, state_of};
use super::original;
use crate::db::{self, Db, run_tx};
use crate::events::inbox::store;
use crate::events::log::{self, Partition, Record, SharedLog};
use crate::events::{Error, topics};
use crate::kit::clock::SharedClock;
use crate::kit::id::EventId;

/// Letters of one partition that are looked through, the newest ones.
const LOOKED_THROUGH_MAX: i64 = 1_000;
/// Bytes of a value that are shown as text.
const VALUE_BYTES_SHOWN: usize = 64 * 1_024;

/// Which letters are sent again: these, or the oldest that a filter finds and that were not sent again yet.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// These, whatever their state.
    #[serde(default)]
    pub ids: Vec<LetterId>,
    /// Those that it finds.
    #[serde(default)]
    pub filter: Option<Filter>,
    /// Most of them.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// What was sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// The letters.
    pub letters: Vec<LetterId>,
}

/// What was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Purged {
    /// How many letters.
    pub removed: i64,
}

/// The dead letters of all topics. Clones share the log.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    db: Db,
    log: SharedLog,
    clock: SharedClock,
}

impl DeadLetters {
    /// The letters in `log`, and the inbox in `db`.
    pub fn new(db: Db, log: SharedLog, clock: SharedClock) -> Self {
        Self { db, log, clock }
    }

    /// The newest letters, at most `limit`, of the newest 1,000 of each partition.
    ///
    /// # Errors
    /// When log or database do not answer.
    pub async fn list(&self, filter: &Filter, limit: usize) -> Result<Vec<Letter>, Error> {
        let mut letters = self.found(filter).await?;
        letters.reverse();
        letters.truncate(limit);
        self.with_states(letters).await
    }

    /// One letter with its headers and value; none where there is none.
    ///
    /// # Errors
    /// When log or database do not answer.
    pub async fn show(&self, id: &LetterId) -> Result<Option<Letter>, Error> {
        let Some(record) = self.record(id).await? else {
            return Ok(None);
        };
        let mut letter = letter_of(&record);
        let shown = record.value.len().min(VALUE_BYTES_SHOWN);
        letter.value = Some(String::from_utf8_lossy(&record.value[..shown]).into_owned());
        letter.headers = Some(record.headers);
        Ok(self.with_states(vec![letter]).await?.pop())
    }

    /// Sends letters to their topics again and lets their groups try them anew; says which. A letter may be sent any
    /// number of times: its event has one effect.
    ///
    /// # Errors
    /// When log or database do not answer; those before may have been sent.
    pub async fn replay(&self, selection: &Selection) -> Result<Replayed, Error> {
        let mut ids = selection.ids.clone();
        if let Some(filter) = &selection.filter {
            let found = self.with_states(self.found(filter).await?).await?;
            let dead = found.into_iter().filter(|it| it.state == State::Dead);
            ids.extend(dead.map(|letter| letter.id));
        }
        ids.truncate(selection.limit.unwrap_or(usize::MAX));
        let mut letters = Vec::with_capacity(ids.len());
        for id in ids {
            if self.replay_one(&id).await? {
                letters.push(id);
            }
        }
        Ok(Replayed { letters })
    }

    /// Drops the letters of these topics (none: of all) that died before `age` ago. A log drops from its start on only:
    /// hence by age, not one by one.
    ///
    /// # Errors
    /// When the log does not answer.
    pub async fn purge(&self, topic: Option<&str>, age: TimeDelta) -> Result<Purged, Error> {
        let before_ms = (self.clock.now() - age).timestamp_millis();
        let mut removed = 0;
        for partition in partitions(topic) {
            let (start, end) = self.log.bounds(&partition).await?;
            let keep = self.first_since(&partition, start, end, before_ms).await?;
            if keep > start {
                self.log.truncate_before(&partition, keep).await?;
                removed += keep - start;
            }
        }
        Ok(Purged { removed })
    }

    /// The letters that a filter finds, the oldest first.
    async fn found(&self, filter: &Filter) -> Result<Vec<Letter>, Error> {
        let mut found = Vec::new();
        for partition in partitions(filter.topic.as_deref()) {
            let (start, end) = self.log.bounds(&partition).await?;
            let from = start.max(end - LOOKED_THROUGH_MAX);
            if from < end {
                let limit = usize::try_from(end - from).unwrap_or_default();
                let records = self.log.browse(&partition, from, limit).await?;
                let letters = records.iter().map(letter_of);
                found.extend(letters.filter(|letter| filter.takes(letter)));
            }
        }
        found.sort_by(|one, other| (one.failed_at, &one.id).cmp(&(other.failed_at, &other.id)));
        Ok(found)
    }

    async fn record(&self, id: &LetterId) -> Result<Option<Record>, Error> {
        let partition = id.place();
        let (start, end) = match self.log.bounds(&partition).await {
            // No such topic or partition has no such letter.
            Err(log::Error::UnknownTopic(_)) => return Ok(None),
            bounds => bounds?,
        };
        if !(start..end).contains(&id.offset) {
            return Ok(None);
        }
        let records = self.log.browse(&partition, id.offset, 1).await?;
        Ok(records.into_iter().find(|it| it.offset == id.offset))
    }

    async fn replay_one(&self, id: &LetterId) -> Result<bool, Error> {
        let Some(record) = self.record(id).await? else {
            return Ok(false);
        };
        let Some(again) = original(&record, &id.to_string()) else {
            return Ok(false);
        };
        let letter = letter_of(&record);
        if let Some(event) = letter.event {
            // First: else the record could be read before and be passed over as dead.
            run_tx!(self.db, "dead_letters.revive", |tx| -> Result<
                u64,
                db::Error,
            > {
                store::revive(tx, &letter.group, &[event]).await
            })?;
        }
        for answer in self.log.append(vec![again]).await {
            answer?;
        }
        Ok(true)
    }

    /// The first offset whose record is not older than `before_ms`, or `end`. Offsets rise with time.
    async fn first_since(
        &self,
        partition: &Partition,
        start: i64,
        end: i64,
        before_ms: i64,
    ) -> Result<i64, Error> {
        let (mut low, mut high) = (start, end);
        while low < high {
            let middle = low + (high - low) / 2;
            let record = self.log.browse(partition, middle, 1).await?;
            match record.first() {
                Some(record) if record.timestamp_ms < before_ms => low = record.offset + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    async fn with_states(&self, mut letters: Vec<Letter>) -> Result<Vec<Letter>, Error> {
        let mut by_group: BTreeMap<String, Vec<EventId>> = BTreeMap::new();
        for letter in &letters {
            let group = by_group.entry(letter.group.clone()).or_default();
            group.extend(letter.event);
        }
        let mut states = HashMap::new();
        let mut tx = self.db.reader().await?;
        for (group, events) in by_group {
            for chunk in events.chunks(db::batch::ITEMS_MAX) {
                for row in store::look(&mut tx, &group, chunk).await? {
                    states.insert((group.clone(), row.event_id), state_of(&row));
                }
            }
        }
        for letter in &mut letters {
            let known = letter.event.map(|event| (letter.group.clone(), event));
            let state = known.and_then(|known| states.get(&known).copied());
            letter.state = state.unwrap_or(State::Unknown);
        }
        Ok(letters)
    }
}

/// The partitions of the dead-letter topics of `topic`, or of all.
fn partitions(topic: Option<&str>) -> Vec<Partition> {
    let wanted = topic.map(topics::dead_letters_of);
    let dead = topics::all().into_iter().filter(|known| {
        let is_dead = known.name.starts_with("dlq.");
        is_dead && wanted.as_ref().is_none_or(|wanted| *wanted == known.name)
    });
    dead.flat_map(|known| {
        (0..known.partitions).map(move |number| Partition {
            topic: known.name.clone(),
            number,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_of_every_dead_letter_topic_is_looked_at() {
        assert_eq!(partitions(None).len(), 12 * 3 + 6 + 3 * 3);
        let one = partitions(Some("user.events"));
        assert_eq!(one.len(), 3);
        assert_eq!(one[0].topic, "dlq.user.events");
    }
}
