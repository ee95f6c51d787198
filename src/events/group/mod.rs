//! Consumer groups: what reads the log and does something with each event, once, in the order of its key.
//!
//! One task ([`runner`]) owns the member of a group. Each partition has a [`slot`]: a [`tracker`] that knows how far it
//! is done, and 16 [`lanes`]; records of one key share a lane. A few servers ([`serve`]) take lanes with records in turns,
//! several at once: they count starts in the inbox, run the [`Handler`] in the transaction in which the records are marked
//! as done, and bury what cannot be handled. Where the effect is outside of the database alone ([`Effect::Outside`]) there
//! is no row of the inbox, and no transaction.
//! The committed position is the lowest unfinished offset, so that a crash repeats records and never skips one; what is
//! repeated, the inbox passes over.

mod core;
mod figures;
mod flood;
mod handler;
mod lanes;
mod runner;
mod serve;
mod slot;
mod taking;
mod tracker;
mod turns;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::core::Core;
use super::inbox::Inbox;
use super::log::{SharedLog, TopicState};
use super::topics;
use crate::db::Db;
use crate::kit::clock::SharedClock;
use crate::kit::instance::InstanceId;
use crate::kit::lifecycle::Lifecycle;
use crate::kit::metrics;
use crate::kit::retry::Backoff;

pub use figures::{GroupFigures, GroupState, Groups, PartitionFigures};
pub use handler::{Effect, Handler, HandlerError};
pub use turns::Turns;

use runner::{Ended, Runner};
use serve::Ready;

/// How often is looked how far behind a group is.
const LAG_INTERVAL: Duration = Duration::from_secs(5);

/// How often is looked whether somebody has changed the topics: with every so many-th look at the lag, once a minute.
const TOPICS_EVERY: u32 = 12;

/// A member that lived for so long was none that could not join.
const SETTLED_AFTER: Duration = Duration::from_secs(30);

/// Waits between two tries to join.
const JOIN_BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(500),
    cap: Duration::from_secs(10),
};

/// The handles that groups need. Clones share them.
#[derive(Debug, Clone)]
pub struct Handles {
    /// Where inbox and effects are.
    pub db: Db,
    /// What is read.
    pub log: SharedLog,
    /// Instants.
    pub clock: SharedClock,
    /// Tasks and shutdown.
    pub lifecycle: Lifecycle,
    /// Who this process is.
    pub instance: InstanceId,
    /// Where the groups' figures are.
    pub groups: Groups,
    /// Who may run handlers now; shared by all groups of the process.
    pub turns: Turns,
}

/// The figures of the settings that groups follow.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Transactions of one group at once in this process.
    pub handlers_at_once: usize,
    /// How long records in hand may go on once the process drains.
    pub drain_patience: Duration,
}

/// Starts a group: reads and handles until the process drains.
pub fn start(handler: Arc<dyn Handler>, handles: &Handles, rules: Rules) {
    let core = Arc::new(core(handler, handles, rules));
    let (lifecycle, drain) = (&handles.lifecycle, handles.lifecycle.drain_token());
    let reading = core.clone();
    lifecycle.spawn_essential("group.run", async move {
        run(&reading, rules.drain_patience, &drain).await;
        Ok(())
    });
    let drain = lifecycle.drain_token();
    lifecycle.spawn("group.lag", async move { watch_lag(&core, &drain).await });
}

fn core(handler: Arc<dyn Handler>, handles: &Handles, rules: Rules) -> Core {
    let instance = handles.instance.unique();
    let (db, clock) = (handles.db.clone(), handles.clock.clone());
    let core = Core {
        inbox: Inbox::new(db, clock.clone(), handler.name(), instance),
        handler,
        log: handles.log.clone(),
        clock,
        lifecycle: handles.lifecycle.clone(),
        groups: handles.groups.clone(),
        turns: handles.turns.clone(),
        instance: instance.to_owned(),
        ready: Ready::new(rules.handlers_at_once),
        permits: Arc::new(Semaphore::new(rules.handlers_at_once)),
        changed: Notify::new(),
        flooded: CancellationToken::new(),
        flood: Default::default(),
    };
    core.change(|figures| instance.clone_into(&mut figures.client_id));
    core
}

async fn run(core: &Arc<Core>, patience: Duration, drain: &CancellationToken) {
    let mut failures = 0;
    while !drain.is_cancelled() {
        core.change(|figures| figures.state = GroupState::Joining);
        let began = Instant::now();
        match core.log.subscribe(core.name(), core.handler.topics()).await {
            Ok(member) => {
                let runner = Runner::new(core.clone(), member);
                match runner.run(drain, patience).await {
                    Ended::Drained => break,
                    Ended::Flooded => stay_out(core, GroupState::Flooded, drain).await,
                    Ended::Replaced => stay_out(core, GroupState::Replaced, drain).await,
                    Ended::Broken(why) => {
                        tracing::warn!(group = core.name(), "the member is replaced: {why}");
                        core.note_error(&why);
                        core.change(|figures| figures.rejoins += 1);
                        metrics::group_rejoined(core.name());
                        // Under the name of a static member that was killed, none lives for long.
                        let was_settled = began.elapsed() >= SETTLED_AFTER;
                        failures = if was_settled { 1 } else { failures + 1 };
                    }
                }
            }
            Err(error) => {
                failures += 1;
                core.note_error(&error.to_string());
                tracing::warn!(group = core.name(), %error, "the group was not joined: {error}");
            }
        }
        tokio::select! {
            () = drain.cancelled() => {}
            () = tokio::time::sleep(JOIN_BACKOFF.wait(failures)) => {}
        }
    }
    core.change(|figures| figures.state = GroupState::Closed);
}

/// Somebody must look first. Going on would empty the topic into the dead letters; or throw a process of the same name
/// out of the group, which would come back and do the same, for ever.
async fn stay_out(core: &Core, state: GroupState, drain: &CancellationToken) {
    let why = match state {
        GroupState::Replaced => "another process has its kafka.group_instance_id",
        _ => "too many records died",
    };
    tracing::error!(
        group = core.name(),
        "{why}: the group stays out in this process until it starts again"
    );
    core.change(|figures| figures.state = state);
    core.groups.show(core.name());
    drain.cancelled().await;
}

async fn watch_lag(core: &Core, drain: &CancellationToken) {
    let mut until_topics = 0;
    loop {
        if until_topics == 0 {
            let looked = look_at_topics(core).await;
            until_topics = if looked { TOPICS_EVERY } else { 1 };
        }
        until_topics -= 1;
        tokio::select! {
            () = drain.cancelled() => return,
            () = tokio::time::sleep(LAG_INTERVAL) => {}
        }
        match core.log.lag(core.name(), core.handler.topics()).await {
            Ok(lag) => core.groups.note_lag(core.name(), &lag),
            Err(error) => tracing::debug!(group = core.name(), %error, "no lag is known: {error}"),
        }
    }
}

/// A topic with more partitions than before is read to its end, but its keys have moved: that is told for as long as it is
/// so, never mended in silence. Answers whether there was something to see.
async fn look_at_topics(core: &Core) -> bool {
    let wanted = topics::with_twins(core.handler.topics());
    let states = match core.log.ensure_topics(&wanted, true).await {
        Ok(states) => states,
        Err(error) => {
            tracing::debug!(group = core.name(), %error, "the topics were not looked at: {error}");
            return false;
        }
    };
    let found = wanted.iter().zip(states).map(|(topic, state)| {
        let found = match state {
            TopicState::Partitions { found } => found,
            TopicState::Present | TopicState::Missing => topic.partitions,
        };
        (topic.name.clone(), topic.partitions, found)
    });
    core.groups
        .note_partitions(core.name(), &found.collect::<Vec<_>>());
    true
}
