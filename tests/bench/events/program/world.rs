//! Database and log as the product opens them, and the records.

use std::sync::Arc;
use std::time::Duration;

use spheroctl::db::Db;
use spheroctl::events::group::{self, Groups, Handler, Handles, Rules, Turns};
use spheroctl::events::log::kafka::KafkaLog;
use spheroctl::events::log::sqlite::SqliteLog;
use spheroctl::events::log::{NewRecord, SharedLog, Topic};
use spheroctl::events::topics::{JOB_EVENTS, dead_letters_of};
use spheroctl::events::types::{JobRef, JobStarted};
use spheroctl::events::{Event, Fact};
use spheroctl::kit::clock::SystemClock;
use spheroctl::kit::id::{ImageId, JobId, ProjectId, UserId};
use spheroctl::kit::instance::InstanceId;
use spheroctl::kit::lifecycle::Lifecycle;
use spheroctl::settings::{self, Settings, Sources};
use uuid::Uuid;

use super::Failure;

/// As `job.events` has them.
const PARTITIONS: i32 = 12;
/// Keys, in turn.
const KEYS: usize = 1_000;
/// Key, value and headers of a record together.
const RECORD_BYTES: usize = 1_024;

pub struct World {
    pub db: Db,
    pub log: SharedLog,
    pub settings: Settings,
    lifecycle: Lifecycle,
}

impl World {
    /// With the settings' defaults. Topics have `prefix`; groups are new in each run.
    pub async fn open(database: &str, brokers: &str, prefix: &str) -> Result<Self, Failure> {
        let brokers = if brokers == "-" { "" } else { brokers };
        let group_prefix = format!("bench{}-", Uuid::new_v4().simple());
        let environment = [
            ("SPHEROCTL__DATABASE__URL", database),
            ("SPHEROCTL__KAFKA__BOOTSTRAP_SERVERS", brokers),
            ("SPHEROCTL__KAFKA__TOPIC_PREFIX", prefix),
            ("SPHEROCTL__KAFKA__GROUP_PREFIX", &group_prefix),
        ];
        let environment = environment.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let sources = Sources {
            environment: environment.into(),
            ..Sources::default()
        };
        let settings = settings::load(&sources)?.settings;
        let db = Db::open(&settings.database).await?;
        db.migrate().await?;
        let lifecycle = Lifecycle::new();
        let clock = SystemClock::shared();
        let log: SharedLog = if brokers.is_empty() {
            let log = SqliteLog::new(db.clone(), clock, &lifecycle, "bench", &settings.kafka)?;
            Arc::new(log)
        } else {
            Arc::new(KafkaLog::new("bench", &settings.kafka)?)
        };
        Ok(Self {
            db,
            log,
            settings,
            lifecycle,
        })
    }

    pub async fn topics(&self) -> Result<(), Failure> {
        let topic = |name: String| Topic {
            name,
            partitions: PARTITIONS,
            retention_ms: 3_600_000,
        };
        let topics = [
            topic(JOB_EVENTS.to_owned()),
            topic(dead_letters_of(JOB_EVENTS)),
        ];
        self.log.ensure_topics(&topics, false).await?;
        Ok(())
    }

    /// Starts a group as a worker does.
    pub fn start(&self, handler: Arc<dyn Handler>) {
        let handles = Handles {
            db: self.db.clone(),
            log: self.log.clone(),
            clock: SystemClock::shared(),
            lifecycle: self.lifecycle.clone(),
            instance: InstanceId::for_this_boot(Some("bench")),
            groups: Groups::default(),
            turns: Turns::default(),
        };
        let rules = Rules {
            handlers_at_once: self.settings.worker.handlers_at_once,
            drain_patience: Duration::from_secs(10),
        };
        group::start(handler, &handles, rules);
    }

    /// Ends what was started.
    pub async fn end(&self) {
        self.lifecycle.finish(Duration::from_secs(30)).await;
    }
}

/// The n-th record: an event of 1 KiB.
pub fn record(number: usize) -> NewRecord {
    let event = event(number, 0);
    let record = |event: &Event| -> NewRecord {
        NewRecord {
            topic: event.fact.topic().to_owned(),
            key: event.fact.key(),
            headers: event.envelope().headers(),
            // A job's payload can always be written.
            value: event.fact.encode().unwrap_or_default(),
        }
    };
    let bare = record(&event);
    let bytes = bare.key.len() + bare.value.len() + bare.headers.bytes();
    let mut fact = event.fact.clone();
    if let Fact::JobStarted(started) = &mut fact {
        started.job.task_id = "x".repeat(RECORD_BYTES.saturating_sub(bytes));
    }
    record(&Event { fact, ..event })
}

/// The n-th event; keys in turn.
pub fn event(number: usize, attempt: i64) -> Event {
    let key = Uuid::from_u128(1 + (number % KEYS) as u128);
    let job = JobRef {
        job_id: JobId::new(&SystemClock),
        task_id: String::new(),
        project_id: ProjectId::from_uuid(key),
        image_id: ImageId::from_uuid(key),
        owner: UserId::from_uuid(key),
    };
    Event::new(Fact::JobStarted(JobStarted { job, attempt }), &SystemClock)
}
