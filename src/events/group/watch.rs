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
