//! The handles that every role gets, built once from the settings; the only place that chooses between backends.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::db::Db;
use crate::domain::images::{self, Uploads};
use crate::domain::jobs::{self, Jobs};
use crate::domain::push::Push;
use crate::events::dead_letters::DeadLetters;
use crate::events::group::{self, Groups, Turns};
use crate::events::log::{EventLog, SharedLog, TopicState, kafka, sqlite};
use crate::events::outbox::OutboxBell;
use crate::events::relay::Relay;
use crate::events::topics;
use crate::files::FileStore;
use crate::kit::clock::SharedClock;
use crate::kit::compute::{ComputeLimits, ComputePool};
use crate::kit::instance::InstanceId;
use crate::kit::lifecycle::Lifecycle;
use crate::queue::{self, SharedQueue};
use crate::segment;
use crate::settings::Settings;
use crate::state::vitals::Vitals;
use crate::state::{self, SharedState};

/// What the decoders accept under these settings.
pub fn image_limits(settings: &Settings) -> segment::Limits {
    segment::Limits {
        max_pixels: settings.segment.pixels_max,
        ..segment::Limits::default()
    }
}

/// The handles. Clones share them.
#[derive(Debug, Clone)]
pub struct App {
    /// The settings.
    pub settings: Arc<Settings>,
    /// Who this process is.
    pub instance: InstanceId,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// Instants.
    pub clock: SharedClock,
    /// Tasks and shutdown.
    pub lifecycle: Lifecycle,
    /// The truth.
    pub db: Db,
    /// What may be lost.
    pub state: SharedState,
    /// Facts.
    pub log: SharedLog,
    /// Bytes.
    pub files: FileStore,
    /// Threads for heavy work.
    pub compute: Arc<ComputePool>,
    /// Messages to those who watch.
    pub push: Push,
    /// Jobs.
    pub jobs: Jobs,
    /// Uploads.
    pub uploads: Uploads,
    /// Wakes the relay.
    pub bell: OutboxBell,
    /// What this process says of itself in the list of live ones.
    pub vitals: Vitals,
    /// How the consumer groups of this process are.
    pub groups: Groups,
    /// Which handlers of events may run now.
    pub turns: Turns,
    /// Open connections of the realtime gateway, where this process has one.
    pub sockets: Arc<AtomicUsize>,
}

impl App {
    /// Opens every backend that the settings name.
    ///
    /// # Errors
    /// When one does not answer or a setting does not fit; the text names it.
    pub async fn open(
        settings: Settings,
        clock: SharedClock,
        lifecycle: Lifecycle,
    ) -> anyhow::Result<Self> {
        let settings = Arc::new(settings);
        let instance = InstanceId::for_this_boot(Some(&settings.instance.id));
        let db = Db::open(&settings.database).await?;
        let (state, queue) = open_state(&settings, &clock).await?;
        let log = open_log(&settings, &db, &clock, &lifecycle, &instance)?;
        let files = FileStore::open(&settings.files.dir).await?;
        let compute = Arc::new(ComputePool::new(ComputeLimits {
            threads: Some(settings.segment.threads).filter(|threads| *threads > 0),
            budget_bytes: settings.segment.memory_bytes_max,
        })?);
        let bell = OutboxBell::default();
        let push = Push::new(state.clone());
        let handles = jobs::Handles {
            db: db.clone(),
            queue,
            files: files.clone(),
            push: push.clone(),
            clock: clock.clone(),
            bell: bell.clone(),
            instance: instance.clone(),
        };
        let uploads = Uploads {
            db: db.clone(),
            files: files.clone(),
            state: state.clone(),
            compute: compute.clone(),
            clock: clock.clone(),
            bell: bell.clone(),
            limits: upload_limits(&settings),
        };
        Ok(Self {
            jobs: Jobs::new(handles, jobs::Rules::from(&settings.queue)),
            started_at: clock.now(),
            settings,
            instance,
            clock,
            lifecycle,
            db,
            state,
            log,
            files,
            compute,
            push,
            uploads,
            bell,
            vitals: Vitals::default(),
            groups: Groups::default(),
            turns: Turns::default(),
            sockets: Arc::default(),
        })
    }

    /// What consumer groups need.
    pub fn group_handles(&self) -> group::Handles {
        group::Handles {
            db: self.db.clone(),
            log: self.log.clone(),
            clock: self.clock.clone(),
            lifecycle: self.lifecycle.clone(),
            instance: self.instance.clone(),
            groups: self.groups.clone(),
            turns: self.turns.clone(),
        }
    }

    /// The dead letters of the event log.
    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters::new(self.db.clone(), self.log.clone(), self.clock.clone())
    }

    /// Starts what carries the outbox to the event log, until the process drains.
    pub fn start_relay(&self) {
        let relay = Relay::new(
            self.db.clone(),
            self.log.clone(),
            self.clock.clone(),
            self.bell.clone(),
            self.instance.unique(),
            &self.settings.outbox,
        );
        let drain = self.lifecycle.drain_token();
        self.lifecycle.spawn_essential("outbox.relay", async move {
            relay.run(drain).await;
            Ok(())
        });
    }

    /// Closes database and state store; what must be written has been.
    pub async fn close(&self) {
        self.state.close().await;
        self.db.close().await;
    }

    /// Brings schema and topics to what this version needs; with `only_check`, changes nothing. Says what was (or is)
    /// pending.
    ///
    /// # Errors
    /// When a backend does not answer, or holds what this version cannot use.
    pub async fn migrate(&self, only_check: bool) -> anyhow::Result<Vec<String>> {
        let mut pending = self.db.pending().await?;
        if !only_check {
            self.db.migrate().await?;
        } else if !pending.is_empty() && self.db.dialect() == crate::db::Dialect::Sqlite {
            // Without its tables the embedded log cannot be asked for topics.
            return Ok(pending);
        }
        let wanted = topics::all();
        let states = self.log.ensure_topics(&wanted, only_check).await?;
        let mut odd = Vec::new();
        for (topic, state) in wanted.iter().zip(states) {
            match state {
                TopicState::Present => {}
                TopicState::Missing => pending.push(format!("topic {}", topic.name)),
                TopicState::Partitions { found } => odd.push(format!(
                    "topic {} has {found} partitions instead of {}",
                    topic.name, topic.partitions
                )),
            }
        }
        if !odd.is_empty() {
            anyhow::bail!(
                "{}; keys would move, so none of these was changed",
                odd.join(", ")
            );
        }
        Ok(pending)
    }
}

async fn open_state(
    settings: &Settings,
    clock: &SharedClock,
) -> anyhow::Result<(SharedState, SharedQueue)> {
    if settings.redis.enabled {
        let redis = state::redis::Redis::connect(&settings.redis).await?;
        let queue = queue::redis::Redis::new(&redis, fairness(settings));
        Ok((Arc::new(redis), Arc::new(queue)))
    } else {
        let memory = state::memory::Memory::new(clock.clone());
        Ok((
            Arc::new(memory),
            Arc::new(queue::memory::Memory::new(
                clock.clone(),
                fairness(settings),
            )),
        ))
    }
}

fn fairness(settings: &Settings) -> queue::Fairness {
    queue::Fairness {
        owner_running_max: settings.queue.owner_running_max,
        aged_after: Duration::from_millis(settings.queue.aged_after_ms),
        aged_share: settings.queue.aged_share,
    }
}

fn open_log(
    settings: &Settings,
    db: &Db,
    clock: &SharedClock,
    lifecycle: &Lifecycle,
    instance: &InstanceId,
) -> anyhow::Result<SharedLog> {
    let client_id = instance.unique();
    let log: Arc<dyn EventLog> = if settings.kafka.bootstrap_servers.is_empty() {
        Arc::new(sqlite::SqliteLog::new(
            db.clone(),
            clock.clone(),
            lifecycle,
            client_id,
            &settings.kafka,
        )?)
    } else {
        Arc::new(kafka::KafkaLog::new(client_id, &settings.kafka)?)
    };
    Ok(log)
}

fn upload_limits(settings: &Settings) -> images::Limits {
    images::Limits {
        upload_bytes_max: settings.files.upload_bytes_max,
        project_bytes_max: settings.files.project_bytes_max,
        idle_timeout: Duration::from_millis(settings.http.body_idle_timeout_ms),
        image: image_limits(settings),
    }
}
