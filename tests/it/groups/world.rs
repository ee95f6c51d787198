//! A log and a database under test, and the groups that run on them as several processes would.

use std::sync::Arc;
use std::time::Duration;

use spheroctl::db::{Db, on_tx};
use spheroctl::events::dead_letters::DeadLetters;
use spheroctl::events::group::{self, GroupFigures, Groups, Handler, Handles, Rules, Turns};
use spheroctl::events::log::kafka::KafkaLog;
use spheroctl::events::log::sqlite::SqliteLog;
use spheroctl::events::log::{NewRecord, SharedLog, Topic};
use spheroctl::events::outbox::OutboxBell;
use spheroctl::events::relay::Relay;
use spheroctl::events::topics::{JOB_EVENTS, dead_letters_of};
use spheroctl::kit::clock::SystemClock;
use spheroctl::kit::instance::InstanceId;
use spheroctl::kit::lifecycle::Lifecycle;
use spheroctl::settings::{self, GroupProtocol};

use super::auditor;
use crate::conformance::event_log::backend::{database, kafka};
use crate::support::{eventually, services};

/// Longest wait for anything that must happen.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Partitions of the topic of facts.
pub const PARTITIONS: i32 = 12;

const OUTBOX_ROWS: &str = "select count(*) from outbox_events";
const INBOX_ROWS: &str = "select count(*) from inbox";

pub struct World {
    pub db: Db,
    pub log: SharedLog,
    pub settings: settings::Kafka,
    /// Where the database is.
    pub url: String,
    lifecycle: Lifecycle,
    _folder: Option<tempfile::TempDir>,
    _database: Option<services::TestDatabase>,
}

/// A group as one process runs it; its member leaves with [`Process::end`], and without a word when it is dropped.
pub struct Process {
    pub groups: Groups,
    pub lifecycle: Lifecycle,
}

impl World {
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let url = format!("sqlite:{}/test.sqlite", folder.path().display());
        let mut world = Self::open(&url, kafka("")).await;
        world._folder = Some(folder);
        world.topics(true).await;
        world
    }

    /// Kafka, and PostgreSQL for the effects.
    pub async fn kafka() -> Self {
        Self::kafka_at(kafka(&services::kafka_bootstrap())).await
    }

    /// The same with the newer group protocol, whose session time-out is the brokers'.
    pub async fn kafka_newer() -> Self {
        let mut settings = kafka(&services::kafka_bootstrap());
        settings.group_protocol = GroupProtocol::Consumer;
        Self::kafka_at(settings).await
    }

    /// Kafka at these settings, and PostgreSQL for the effects.
    pub async fn kafka_at(settings: settings::Kafka) -> Self {
        let made = services::postgres_database(async |url: &str| {
            let db = Db::open(&database(url)).await.expect("PostgreSQL opens");
            db.migrate().await.expect("PostgreSQL migrates");
            db.close().await;
        });
        let made = made.await;
        let mut world = Self::open(&made.url(), settings).await;
        world._database = Some(made);
        world.topics(true).await;
        world
    }

    /// What is at these addresses, as another process opens it.
    pub async fn open(url: &str, settings: settings::Kafka) -> Self {
        let db = Db::open(&database(url)).await.expect("the database opens");
        db.migrate().await.expect("the database migrates");
        auditor::make_tables(&db).await;
        let lifecycle = Lifecycle::new();
        Self {
            log: log(&db, &settings, &lifecycle, "test"),
            db,
            settings,
            url: url.to_owned(),
            lifecycle,
            _folder: None,
            _database: None,
        }
    }

    /// Makes the topic of facts, or that of its dead letters.
    async fn topic(&self, name: &str) {
        let topic = Topic {
            name: name.to_owned(),
            partitions: PARTITIONS,
            retention_ms: 3_600_000,
        };
        let made = self.log.ensure_topics(&[topic], false).await;
        made.expect("a topic can be made");
    }

    pub async fn topics(&self, with_dead_letters: bool) {
        self.topic(JOB_EVENTS).await;
        if with_dead_letters {
            self.dead_letter_topic().await;
        }
    }

    pub async fn dead_letter_topic(&self) {
        self.topic(&dead_letters_of(JOB_EVENTS)).await;
    }

    /// A world like this one without the topic of dead letters.
    pub async fn without_dead_letters(&self) -> Self {
        let mut settings = self.settings.clone();
        settings.topic_prefix = crate::support::unique_prefix();
        let world = self.with(settings);
        if world.settings.bootstrap_servers.is_empty() {
            auditor::drop_topic(&world.db, &dead_letters_of(JOB_EVENTS)).await;
        } else {
            world.topics(false).await;
        }
        world
    }

    /// This world as a process with other settings of the log sees it.
    pub fn with(&self, settings: settings::Kafka) -> Self {
        let lifecycle = Lifecycle::new();
        Self {
            log: log(&self.db, &settings, &lifecycle, "test"),
            db: self.db.clone(),
            settings,
            url: self.url.clone(),
            lifecycle,
            _folder: None,
            _database: None,
        }
    }

    /// Runs a handler as the process `name` does.
    pub fn run(&self, name: &str, handler: Arc<dyn Handler>) -> Process {
        let lifecycle = Lifecycle::new();
        let instance = InstanceId::for_this_boot(Some(name));
        let groups = Groups::default();
        let handles = Handles {
            db: self.db.clone(),
            log: log(&self.db, &self.settings, &lifecycle, instance.unique()),
            clock: SystemClock::shared(),
            lifecycle: lifecycle.clone(),
            instance,
            groups: groups.clone(),
            turns: Turns::default(),
        };
        let rules = Rules {
            handlers_at_once: 4,
            drain_patience: Duration::from_secs(10),
        };
        group::start(handler, &handles, rules);
        Process { groups, lifecycle }
    }

    /// Carries the outbox to the log for as long as the world is there; the bell wakes it.
    pub fn start_relay(&self) -> OutboxBell {
        let bell = OutboxBell::default();
        let outbox = settings::load(&settings::Sources::default()).expect("the defaults are good");
        let relay = Relay::new(
            self.db.clone(),
            self.log.clone(),
            SystemClock::shared(),
            bell.clone(),
            "test",
            &outbox.settings.outbox,
        );
        let drain = self.lifecycle.drain_token();
        self.lifecycle.spawn("test.relay", relay.run(drain));
        bell
    }

    pub async fn append(&self, records: Vec<NewRecord>) {
        for chunk in records.chunks(500) {
            for answer in self.log.append(chunk.to_vec()).await {
                answer.expect("a record is appended");
            }
        }
    }

    pub fn dead_letters(&self) -> DeadLetters {
        let (db, log) = (self.db.clone(), self.log.clone());
        DeadLetters::new(db, log, SystemClock::shared())
    }

    /// How many rows wait in the outbox.
    pub async fn outbox_rows(&self) -> i64 {
        self.number(OUTBOX_ROWS).await
    }

    /// How many rows the inbox has.
    pub async fn inbox_rows(&self) -> i64 {
        self.number(INBOX_ROWS).await
    }

    async fn number(&self, statement: &'static str) -> i64 {
        let mut tx = self.db.reader().await.expect("a connection");
        let rows: Result<i64, sqlx::Error> = on_tx!(tx, |conn| sqlx::query_scalar(statement)
            .fetch_one(conn)
            .await);
        rows.expect("a number")
    }

    /// Waits until the group has committed everything.
    pub async fn caught_up(&self, records: i64) {
        eventually("the group commits all", DEADLINE, async || {
            let lag = self.log.lag(auditor::GROUP, &[JOB_EVENTS]).await;
            let Ok(lag) = lag else { return false };
            let mut committed = 0;
            for (partition, behind) in lag {
                let Ok((_, end)) = self.log.bounds(&partition).await else {
                    return false;
                };
                committed += end - behind;
            }
            committed == records
        })
        .await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.lifecycle.stop();
    }
}

impl Process {
    pub fn figures(&self) -> GroupFigures {
        self.groups.all().pop().expect("one group runs here")
    }

    /// Leaves in order.
    pub async fn end(self) {
        assert!(self.lifecycle.finish(DEADLINE).await, "the group ends");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.lifecycle.stop();
    }
}

fn log(db: &Db, settings: &settings::Kafka, lifecycle: &Lifecycle, client: &str) -> SharedLog {
    if settings.bootstrap_servers.is_empty() {
        let log = SqliteLog::new(
            db.clone(),
            SystemClock::shared(),
            lifecycle,
            client,
            settings,
        );
        Arc::new(log.expect("the log opens"))
    } else {
        Arc::new(KafkaLog::new(client, settings).expect("the log opens"))
    }
}
