//! Watches a stream that says nothing. librdkafka has been seen to stop delivering without a word; the member then looks
//! alive to everybody while its partitions stand still.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::core::Core;
use super::slot::Slot;

/// A stream that has said nothing for so long is looked at.
const SILENT_AFTER: Duration = Duration::from_secs(30);

/// Looks that must find it silent although it should speak: one may fall between a record and its delivery.
const STRIKES: u32 = 2;

/// What is known of a member's stream.
#[derive(Debug)]
pub(super) struct Watch {
    heard_at: Instant,
    strikes: u32,
}

impl Watch {
    /// How often the stream is looked at.
    pub const INTERVAL: Duration = Duration::from_secs(10);

    pub fn new() -> Self {
        Self {
            heard_at: Instant::now(),
            strikes: 0,
        }
    }

    /// The stream has spoken.
    pub fn note_delivery(&mut self) {
        self.heard_at = Instant::now();
        self.strikes = 0;
    }

    /// Looks whether a silent stream should speak; says why the member is to be replaced.
    pub async fn look(
        &mut self,
        core: &Core,
        slots: impl Iterator<Item = &Arc<Slot>>,
    ) -> Option<String> {
        if self.heard_at.elapsed() < SILENT_AFTER {
            return None;
        }
        let slots: Vec<_> = slots.cloned().collect();
        match suspicion(core, &slots).await {
            Some(why) => {
                self.strikes += 1;
                (self.strikes >= STRIKES).then(|| format!("its stream is silent: {why}"))
            }
            None => {
                self.strikes = 0;
                None
            }
        }
    }
}

/// Records wait in a partition of which nothing is in hand, or the group does not know this member. A log that does not
/// answer is no reason: the member will hear of it too.
async fn suspicion(core: &Core, slots: &[Arc<Slot>]) -> Option<String> {
    let name = core.name();
    if slots.is_empty() {
        let members = core.log.members(name).await.ok()?;
        let is_known = members.iter().any(|it| it.client_id == core.instance);
        return (!is_known).then(|| "the group does not know the member".to_owned());
    }
    let lag = core.log.lag(name, core.handler.topics()).await.ok()?;
    let waits = |slot: &&Arc<Slot>| {
        let is_idle = slot.is_done() && slot.to_commit().is_none();
        is_idle && lag.get(&slot.partition).is_some_and(|records| *records > 0)
    };
    let slot = slots.iter().find(waits)?;
    let place = &slot.partition;
    Some(format!("records wait in {} {}", place.topic, place.number))
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::super::{Groups, Handler, HandlerError, Handles, Rules, Turns};
    use super::*;
    use crate::db::{Db, Tx};
    use crate::events::Event;
    use crate::events::log::sqlite::SqliteLog;
    use crate::events::log::{Delivered, EventLog, Headers, NewRecord, Partition, Topic};
    use crate::events::topics::USER_EVENTS;
    use crate::kit::clock::SystemClock;
    use crate::kit::instance::InstanceId;
    use crate::kit::lifecycle::Lifecycle;
    use crate::settings::{Sources, load};

    #[derive(Debug)]
    struct Deaf;

    #[async_trait]
    impl Handler for Deaf {
        fn name(&self) -> &'static str {
            "deaf"
        }

        fn topics(&self) -> &'static [&'static str] {
            &[USER_EVENTS]
        }

        async fn handle(&self, _: &mut Tx, _: &[&Event]) -> Result<(), HandlerError> {
            Ok(())
        }
    }

    /// A core on a log with one record; it is no member itself.
    async fn core(folder: &tempfile::TempDir, lifecycle: &Lifecycle) -> Core {
        let url = format!("sqlite:{}/test.sqlite", folder.path().display());
        let sources = Sources {
            flags: [("database.url".to_owned(), url)].into(),
            ..Sources::default()
        };
        let settings = load(&sources).unwrap().settings;
        let db = Db::open(&settings.database).await.unwrap();
        db.migrate().await.unwrap();
        let clock = SystemClock::shared();
        let log = SqliteLog::new(
            db.clone(),
            clock.clone(),
            lifecycle,
            "other",
            &settings.kafka,
        );
        let log = Arc::new(log.unwrap());
        let topic = Topic {
            name: USER_EVENTS.to_owned(),
            partitions: 1,
            retention_ms: 60_000,
        };
        log.ensure_topics(&[topic], false).await.unwrap();
        let record = NewRecord {
            topic: USER_EVENTS.to_owned(),
            key: "k".to_owned(),
            headers: Headers::default(),
            value: bytes::Bytes::new(),
        };
        log.append(vec![record]).await.remove(0).unwrap();
        let handles = Handles {
            db,
            log,
            clock,
            lifecycle: lifecycle.clone(),
            instance: InstanceId::for_this_boot(Some("this")),
            groups: Groups::default(),
            turns: Turns::default(),
        };
        let rules = Rules {
            handlers_at_once: 1,
            drain_patience: Duration::ZERO,
        };
        super::super::core(Arc::new(Deaf), &handles, rules)
    }

    fn silent() -> Watch {
        Watch {
            heard_at: Instant::now() - SILENT_AFTER,
            strikes: 0,
        }
    }

    #[tokio::test]
    async fn a_silent_stream_is_given_up_when_it_should_speak() {
        let (folder, lifecycle) = (tempfile::tempdir().unwrap(), Lifecycle::new());
        let core = core(&folder, &lifecycle).await;
        let mut other = core.log.subscribe("deaf", &[USER_EVENTS]).await.unwrap();
        let Delivered::Assigned(mine) = other.next().await.unwrap() else {
            panic!("the other member gets the partition");
        };
        let place: Partition = mine[0].clone();
        other.commit(&[(place.clone(), 0)]).await.unwrap();
        let slots = [Arc::new(Slot::new(place.clone()))];
        let mut watch = silent();
        assert_eq!(watch.look(&core, slots.iter()).await, None, "one look");
        let why = watch.look(&core, slots.iter()).await.unwrap();
        assert!(why.contains("user.events 0"), "{why}");
        other.commit(&[(place, 1)]).await.unwrap();
        assert_eq!(watch.look(&core, slots.iter()).await, None, "nothing waits");
        assert_eq!(watch.strikes, 0);
        let nothing: [Arc<Slot>; 0] = [];
        watch.look(&core, nothing.iter()).await;
        let why = watch.look(&core, nothing.iter()).await.unwrap();
        assert!(why.contains("does not know"), "{why}");
        watch.note_delivery();
        assert_eq!(watch.look(&core, nothing.iter()).await, None, "it speaks");
        lifecycle.stop();
    }
}
