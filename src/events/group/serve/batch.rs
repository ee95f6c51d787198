//! The records of a batch: of one lane, in order.

use std::sync::Arc;

use super::super::handler::HandlerError;
use super::super::slot::Slot;
use super::ready::LaneOf;
use super::rollback::Rollback;
use crate::events::dead_letters::REPLAYED_FROM;
use crate::events::log::{Fetched, Record};
use crate::events::{Error, Event};
use crate::kit::id::EventId;

/// What was taken from a lane at once.
#[derive(Debug)]
pub struct Batch {
    pub slot: Arc<Slot>,
    pub lane: usize,
    pub items: Vec<Item>,
    /// What is left of a transaction with others that did not commit.
    pub rollback: Option<Rollback>,
    /// How telling the first of its events has failed already.
    pub failure: Option<HandlerError>,
}

impl Batch {
    pub fn new((slot, lane): LaneOf, records: Vec<Fetched>) -> Self {
        Self {
            slot,
            lane,
            items: items(records.into_iter().map(Fetched::read)),
            rollback: None,
            failure: None,
        }
    }

    /// How many of the first records are fresh.
    pub fn first_fresh(&self) -> usize {
        self.items.iter().take_while(|item| item.is_fresh()).count()
    }

    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.items.iter().filter_map(Item::event)
    }
}

/// A record to do. The relay may have appended it twice.
#[derive(Debug)]
pub struct Item {
    pub record: Record,
    /// The other offsets at which it stands.
    pub twins: Vec<i64>,
    pub event: Result<Event, Error>,
}

impl Item {
    /// Whether it is an event that was never dead: of one that was, a row of the inbox tells what has become of it.
    pub fn is_fresh(&self) -> bool {
        let mut headers = self.record.headers.iter();
        self.event.is_ok() && headers.all(|(name, _)| name != REPLAYED_FROM)
    }

    pub fn event(&self) -> Option<&Event> {
        self.event.as_ref().ok()
    }

    pub fn offsets(&self) -> impl Iterator<Item = i64> {
        std::iter::once(self.record.offset).chain(self.twins.iter().copied())
    }
}

/// The records in order; of an event that stands there twice, the first with both offsets.
fn items(records: impl ExactSizeIterator<Item = Record>) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::with_capacity(records.len());
    // Of each item, close together: every event is looked for among all before it.
    let mut ids: Vec<Option<EventId>> = Vec::with_capacity(records.len());
    for record in records {
        let event = Event::from_record(&record);
        let id = event.as_ref().ok().map(|event| event.id);
        let twin = id.and_then(|_| ids.iter().position(|other| *other == id));
        match twin {
            Some(at) => items[at].twins.push(record.offset),
            None => {
                ids.push(id);
                items.push(Item {
                    record,
                    twins: Vec::new(),
                    event,
                });
            }
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Fact;
    use crate::events::log::{Headers, Partition};
    use crate::events::types::MemberRemoved;
    use crate::kit::clock::SystemClock;
    use crate::kit::id::{ProjectId, UserId};

    fn record(offset: i64, event: &Event) -> Record {
        let topic = event.fact.topic().to_owned();
        Record {
            partition: Partition { topic, number: 0 }.into(),
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
        broken.headers = Headers::default();
        let records = vec![record(1, &one), record(2, &two), broken, record(4, &one)];
        let offsets: Vec<_> = items(records.into_iter())
            .iter()
            .map(|it| it.offsets().collect::<Vec<_>>())
            .collect();
        assert_eq!(offsets, [vec![1, 4], vec![2], vec![3]]);
    }
}
