//! The records of a batch.

use crate::events::dead_letters::REPLAYED_FROM;
use crate::events::log::Record;
use crate::events::{Error, Event};

/// A record to do, with the offsets at which it stands: the relay may have appended it twice.
#[derive(Debug)]
pub(super) struct Item {
    pub record: Record,
    pub offsets: Vec<i64>,
    pub event: Result<Event, Error>,
}

impl Item {
    /// Whether it was dead once.
    pub fn is_replayed(&self) -> bool {
        let mut headers = self.record.headers.iter();
        headers.any(|(name, _)| name == REPLAYED_FROM)
    }

    pub fn event(&self) -> Option<&Event> {
        self.event.as_ref().ok()
    }
}

/// The records in order; of an event that stands there twice, the first with both offsets.
pub(super) fn items(records: Vec<Record>) -> Vec<Item> {
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
