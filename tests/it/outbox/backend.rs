//! A database with an outbox, and the log that it is relayed to.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use spheroctl::db::{Db, on_tx, run_tx};
use spheroctl::events::log::{EventLog, SharedLog};
use spheroctl::events::outbox::{OutboxBell, stage};
use spheroctl::events::relay::Relay;
use spheroctl::events::topics::JOB_EVENTS;
use spheroctl::events::types::{JobRef, JobSubmitted};
use spheroctl::events::{Error, Event, Fact};
use spheroctl::kit::clock::SystemClock;
use spheroctl::kit::id::{ImageId, JobId, ProjectId, UserId};
use spheroctl::settings;
use uuid::Uuid;

use crate::conformance::event_log::backend::{self as event_log, database, partition};
use crate::support::eventually;
use crate::support::services::{TestDatabase, postgres_database};

const PARTITIONS: i32 = 3;

pub struct Backend {
    pub db: Db,
    pub bell: OutboxBell,
    log: event_log::Backend,
    _database: Option<TestDatabase>,
    _folder: Option<tempfile::TempDir>,
}

impl Backend {
    pub async fn sqlite_with_sqlite() -> Self {
        let log = event_log::Backend::sqlite().await;
        let db = log.db().expect("the log's database").clone();
        Self::over(db, log).await
    }

    pub async fn sqlite_with_kafka() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let db = opened(&format!("sqlite:{}/test.sqlite", folder.path().display())).await;
        let backend = Self::over(db, event_log::Backend::kafka().await).await;
        Self {
            _folder: Some(folder),
            ..backend
        }
    }

    pub async fn postgres_with_kafka() -> Self {
        Self::postgres(|settings| settings).await
    }

    /// Whatever is done uses the same session.
    pub async fn postgres_by_one_connection() -> Self {
        Self::postgres(|settings| settings::Database {
            pool_max: 1,
            ..settings
        })
        .await
    }

    async fn postgres(settings: fn(settings::Database) -> settings::Database) -> Self {
        let home = postgres_database(async |url: &str| drop(opened(url).await)).await;
        let db = Db::open(&settings(database(&home.url())))
            .await
            .expect("PostgreSQL opens");
        let backend = Self::over(db, event_log::Backend::kafka().await).await;
        Self {
            _database: Some(home),
            ..backend
        }
    }

    async fn over(db: Db, log: event_log::Backend) -> Self {
        log.topic(JOB_EVENTS, PARTITIONS).await;
        Self {
            db,
            bell: OutboxBell::default(),
            log,
            _database: None,
            _folder: None,
        }
    }

    pub fn log(&self) -> SharedLog {
        self.log.open("relay")
    }

    /// A relay as the instance `owner` runs it, with batches that are smaller than what is staged.
    pub fn relay(&self, owner: &str, log: SharedLog) -> Relay {
        self.relay_with(owner, log, 10)
    }

    /// A relay that only the bell wakes.
    pub fn sleepy_relay(&self, owner: &str) -> Relay {
        self.relay_with(owner, self.log(), 3_600_000)
    }

    fn relay_with(&self, owner: &str, log: SharedLog, poll_interval_ms: u64) -> Relay {
        let settings = settings::Outbox {
            poll_interval_ms,
            gather_ms: 5,
            batch_max: 16,
        };
        let (db, bell) = (self.db.clone(), self.bell.clone());
        Relay::new(db, log, SystemClock::shared(), bell, owner, &settings)
    }

    pub async fn relay_until_empty(&self, owner: &str) {
        let relay = self.relay(owner, self.log());
        while self.waiting().await > 0 {
            relay.pass().await.expect("a pass");
        }
    }

    /// Stages events in a transaction of their own and gives them back.
    pub async fn stage(&self, events: &[Event]) -> Vec<Event> {
        let staged: Result<(), Error> = run_tx!(self.db, "test", |tx| -> Result<(), Error> {
            stage(tx, events).await
        });
        staged.expect("staging");
        events.to_vec()
    }

    /// Rows in the outbox.
    pub async fn waiting(&self) -> i64 {
        self.number("select count(*) from outbox_events").await
    }

    /// PostgreSQL: whether a session has the settings back that a relay or an inbox changes for a transaction.
    pub async fn has_settings_back(&self) -> bool {
        let on = "select count(*) from pg_settings where setting = 'on'
            and name in ('synchronous_commit', 'enable_bitmapscan', 'enable_seqscan')";
        self.number(on).await == 3
    }

    async fn number(&self, statement: &'static str) -> i64 {
        let mut tx = self.db.reader().await.expect("a reader");
        let number = on_tx!(tx, |conn| sqlx::query_scalar(statement)
            .fetch_one(conn)
            .await);
        number.expect("a number")
    }

    /// Waits until a relay is shown every row, whichever shard it reads first: PostgreSQL shows none that is younger than
    /// the oldest open transaction of the server, and other tests have theirs.
    pub async fn shows_all(&self, deadline: Duration) {
        let statement = self.db.dialect().pick(
            "select count(*) from outbox_events where xid >= pg_snapshot_xmin(pg_current_snapshot())",
            "select 0",
        );
        eventually("all rows are shown", deadline, async || {
            self.number(statement).await == 0
        })
        .await;
    }

    /// Ids and errors of the dead rows.
    pub async fn dead(&self) -> Vec<(Uuid, String)> {
        let mut tx = self.db.reader().await.expect("a reader");
        let rows = on_tx!(tx, |conn| sqlx::query_as(
            "select id, error from outbox_dead"
        )
        .fetch_all(conn)
        .await);
        rows.expect("rows")
    }

    /// All events of `job.events`, partition by partition.
    pub async fn arrived(&self) -> Vec<Event> {
        let log: Arc<dyn EventLog> = self.log.open("auditor");
        let mut events = Vec::new();
        for number in 0..PARTITIONS {
            let records = log.browse(&partition(JOB_EVENTS, number), 0, 10_000).await;
            for record in records.expect("records") {
                events.push(Event::from_record(&record).expect("an event"));
            }
        }
        events
    }
}

/// The first delivery of each event: what a reader that de-duplicates sees.
pub fn first_of_each(events: &[Event]) -> Vec<Event> {
    let mut seen = HashSet::new();
    events
        .iter()
        .filter(|event| seen.insert(event.id))
        .cloned()
        .collect()
}

pub fn keys(count: usize) -> Vec<ImageId> {
    (0..count).map(|_| ImageId::new(&SystemClock)).collect()
}

/// `count` events of jobs on these images, in turn.
pub fn submitted(images: &[ImageId], count: usize) -> Vec<Event> {
    let event = |number: usize| {
        let job = JobRef {
            job_id: JobId::new(&SystemClock),
            task_id: format!("task \"{number}\" – ü"),
            project_id: ProjectId::new(&SystemClock),
            image_id: images[number % images.len()],
            owner: UserId::new(&SystemClock),
        };
        let submitted = JobSubmitted {
            job,
            kind: "segment".to_owned(),
            priority: 1,
        };
        Event::new(Fact::JobSubmitted(submitted), &SystemClock)
    };
    (0..count).map(event).collect()
}

async fn opened(url: &str) -> Db {
    let db = Db::open(&database(url)).await.expect("the database opens");
    db.migrate().await.expect("the database migrates");
    db
}
