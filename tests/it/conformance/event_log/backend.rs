//! The two logs under test, each as several processes would open it.

use std::sync::Arc;

use bytes::Bytes;
use secrecy::SecretString;
use spheroctl::db::Db;
use spheroctl::events::log::kafka::KafkaLog;
use spheroctl::events::log::sqlite::SqliteLog;
use spheroctl::events::log::{Headers, NewRecord, Partition, SharedLog, Topic};
use spheroctl::kit::clock::SystemClock;
use spheroctl::kit::lifecycle::Lifecycle;
use spheroctl::settings::{self, GroupProtocol};

use crate::support::{services, unique_prefix};

/// Short, so that a dead member is noticed while a test waits.
const SESSION_MS: u64 = 2_000;
const HEARTBEAT_MS: u64 = 300;

/// A port on which nobody listens: it is reserved and never handed out (RFC 863's service is not run anywhere today).
const CLOSED: &str = "127.0.0.1:9";

pub struct Backend {
    settings: settings::Kafka,
    lifecycle: Lifecycle,
    sqlite: Option<(Db, tempfile::TempDir)>,
}

impl Backend {
    pub async fn sqlite() -> Self {
        let dir = tempfile::tempdir().expect("a folder for the test");
        let url = format!("sqlite:{}/test.sqlite", dir.path().display());
        let db = Db::open(&database(&url)).await.expect("SQLite opens");
        db.migrate().await.expect("SQLite migrates");
        Self {
            settings: kafka(""),
            lifecycle: Lifecycle::new(),
            sqlite: Some((db, dir)),
        }
    }

    pub async fn kafka() -> Self {
        Self::kafka_with(kafka(&services::kafka_bootstrap()))
    }

    /// Kafka with these settings.
    pub fn kafka_with(settings: settings::Kafka) -> Self {
        Self {
            settings,
            lifecycle: Lifecycle::new(),
            sqlite: None,
        }
    }

    /// The database that holds the log, where one does.
    pub fn db(&self) -> Option<&Db> {
        self.sqlite.as_ref().map(|(db, _)| db)
    }

    /// The log as the process `client_id` opens it.
    pub fn open(&self, client_id: &str) -> SharedLog {
        self.open_with(client_id, &self.settings)
    }

    /// The log with a session time-out that no test waits for.
    pub fn open_patient(&self, client_id: &str) -> SharedLog {
        let mut settings = self.settings.clone();
        settings.session_timeout_ms = 30_000;
        self.open_with(client_id, &settings)
    }

    fn open_with(&self, client_id: &str, settings: &settings::Kafka) -> SharedLog {
        match &self.sqlite {
            Some((db, _)) => {
                let clock = SystemClock::shared();
                let log = SqliteLog::new(db.clone(), clock, &self.lifecycle, client_id, settings);
                Arc::new(log.expect("the log opens"))
            }
            None => Arc::new(KafkaLog::new(client_id, settings).expect("the log opens")),
        }
    }

    /// A log that is not there any more.
    pub async fn gone(&self) -> SharedLog {
        match &self.sqlite {
            Some((db, _)) => {
                let log = self.open("orphan");
                db.close().await;
                log
            }
            None => {
                let mut settings = self.settings.clone();
                settings.bootstrap_servers = CLOSED.to_owned();
                self.open_with("orphan", &settings)
            }
        }
    }

    /// Makes the topic `name`.
    pub async fn topic(&self, name: &str, partitions: i32) {
        let topic = Topic {
            name: name.to_owned(),
            partitions,
            retention_ms: 3_600_000,
        };
        let made = self.open("maker").ensure_topics(&[topic], false).await;
        made.expect("a topic can be made");
    }
}

pub fn record(topic: &str, key: &str, value: &str) -> NewRecord {
    NewRecord {
        topic: topic.to_owned(),
        key: key.to_owned(),
        headers: Headers::from_iter([("ce_id", value)]),
        value: Bytes::from(value.to_owned()),
    }
}

/// `count` records with the values 0, 1, … and the keys k0 … k{keys}, in turn.
pub fn records(topic: &str, keys: usize, count: usize) -> Vec<NewRecord> {
    let one = |number: usize| record(topic, &format!("k{}", number % keys), &number.to_string());
    (0..count).map(one).collect()
}

pub fn partition(topic: &str, number: i32) -> Partition {
    Partition {
        topic: topic.to_owned(),
        number,
    }
}

/// The settings of a test, with names of its own and a short session.
pub fn kafka(bootstrap: &str) -> settings::Kafka {
    settings::Kafka {
        bootstrap_servers: bootstrap.to_owned(),
        topic_prefix: unique_prefix(),
        group_prefix: unique_prefix(),
        group_protocol: GroupProtocol::Classic,
        group_instance_id: String::new(),
        session_timeout_ms: SESSION_MS,
        heartbeat_interval_ms: HEARTBEAT_MS,
        delivery_timeout_ms: 8_000,
        linger_ms: 5,
        replication_factor: 1,
    }
}

pub fn database(url: &str) -> settings::Database {
    settings::Database {
        url: SecretString::from(url),
        direct_url: SecretString::default(),
        replica_url: SecretString::default(),
        pool_max: 20,
        pool_idle_timeout_ms: 30_000,
        acquire_timeout_ms: 2_000,
        slow_query_ms: 1_000,
        transaction_attempts_max: 5,
        busy_timeout_ms: 5_000,
    }
}
