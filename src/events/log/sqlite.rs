//! The embedded event log: tables of the SQLite database, durable as the database is.
//!
//! Several processes may share the file. What they must agree on is rows: topics, records, positions, and for each group
//! its members with leases and which of them reads which partition. There is no leader: whoever looks computes the same
//! spread ([`balance`]) and takes only what is free. A notification wakes the readers of this process; those of others
//! look each [`POLL_INTERVAL`].

mod balance;
mod group;
mod inspect;
mod member;
mod records;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::SqliteConnection;
use tokio::sync::Notify;

use super::{
    Error, EventLog, Member, NewRecord, Partition, Record, Subscription, Topic, TopicState,
};
use crate::db::{self, Connection, Db, Dialect, Tx, run_tx};
use crate::kit::clock::SharedClock;
use crate::kit::lifecycle::Lifecycle;
use crate::settings;

/// How often a waiting reader looks, 200 ms: the longest delay of a record that another process appended.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Longest wait for the answer of a ping, 5 s.
const PING_MAX: Duration = Duration::from_secs(5);

/// The event log in SQLite.
#[derive(Debug, Clone)]
pub struct SqliteLog {
    shared: Arc<Shared>,
}

/// What the log and its members have in common.
#[derive(Debug)]
struct Shared {
    db: Db,
    clock: SharedClock,
    lifecycle: Lifecycle,
    client_id: String,
    members: AtomicU64,
    session: Duration,
    heartbeat: Duration,
    /// Something was appended, or a group changed.
    changed: Notify,
}

impl SqliteLog {
    /// The log in `db`. `client_id` is the unique name of this instance; `lifecycle` runs the members' heartbeats.
    ///
    /// # Errors
    /// When the database is not SQLite.
    pub fn new(
        db: Db,
        clock: SharedClock,
        lifecycle: &Lifecycle,
        client_id: &str,
        settings: &settings::Kafka,
    ) -> Result<Self, Error> {
        if db.dialect() != Dialect::Sqlite {
            return Err(Error::Other(
                "the embedded event log needs an SQLite database; beside PostgreSQL set kafka.bootstrap_servers"
                    .to_owned(),
            ));
        }
        let shared = Shared {
            db,
            clock,
            lifecycle: lifecycle.clone(),
            client_id: client_id.to_owned(),
            members: AtomicU64::new(0),
            session: Duration::from_millis(settings.session_timeout_ms),
            heartbeat: Duration::from_millis(settings.heartbeat_interval_ms),
            changed: Notify::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }
}

impl Shared {
    async fn expire(&self) -> Result<u64, Error> {
        let now_ms = self.now_ms();
        let partitions = records::keeping(&mut self.db.reader().await?).await?;
        let mut dropped = 0;
        for (partition, retention_ms) in partitions {
            let oldest_ms = now_ms.saturating_sub(retention_ms);
            dropped += run_tx!(self.db, "log.expire", |tx| -> Result<u64, db::Error> {
                records::expire(tx, &partition, oldest_ms).await
            })?;
        }
        Ok(dropped)
    }

    fn now_ms(&self) -> i64 {
        self.clock.now().timestamp_millis()
    }

    fn session_ms(&self) -> i64 {
        i64::try_from(self.session.as_millis()).unwrap_or(i64::MAX)
    }

    /// A name that no other member of any group has.
    fn next_member_id(&self) -> String {
        let number = self.members.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number}", self.client_id)
    }
}

#[async_trait]
impl EventLog for SqliteLog {
    async fn append(&self, records: Vec<NewRecord>) -> Vec<Result<(Partition, i64), Error>> {
        db::forbid_inside_transaction("event log append");
        let now_ms = self.shared.now_ms();
        let outcome = run_tx!(self.shared.db, "log.append", |tx| -> Result<
            Vec<Result<(Partition, i64), Error>>,
            db::Error,
        > {
            records::append(tx, &records, now_ms).await
        });
        self.shared.changed.notify_waiters();
        outcome.unwrap_or_else(|error| {
            let text = error.to_string();
            let failed = records
                .iter()
                .map(|_| Err(Error::Unavailable(text.clone())));
            failed.collect()
        })
    }

    async fn subscribe(
        &self,
        group: &str,
        topics: &[&str],
    ) -> Result<Box<dyn Subscription>, Error> {
        topics::all_known(&mut self.shared.db.reader().await?, topics).await?;
        let member = member::Member::join(&self.shared, group, topics).await?;
        Ok(Box::new(member))
    }

    async fn lag(&self, group: &str, topics: &[&str]) -> Result<BTreeMap<Partition, i64>, Error> {
        Ok(inspect::lag(&mut self.shared.db.reader().await?, group, topics).await?)
    }

    async fn members(&self, group: &str) -> Result<Vec<Member>, Error> {
        let now_ms = self.shared.now_ms();
        Ok(inspect::members(&mut self.shared.db.reader().await?, group, now_ms).await?)
    }

    async fn browse(
        &self,
        partition: &Partition,
        offset: i64,
        limit: usize,
    ) -> Result<Vec<Record>, Error> {
        let mut tx = self.shared.db.reader().await?;
        records::bounds(&mut tx, partition).await?;
        Ok(records::read(&mut tx, partition, offset, limit).await?)
    }

    async fn bounds(&self, partition: &Partition) -> Result<(i64, i64), Error> {
        records::bounds(&mut self.shared.db.reader().await?, partition).await
    }

    async fn truncate_before(&self, partition: &Partition, offset: i64) -> Result<(), Error> {
        self.bounds(partition).await?;
        Ok(run_tx!(self.shared.db, "log.truncate", |tx| -> Result<
            (),
            db::Error,
        > {
            records::truncate(tx, partition, offset).await.map(drop)
        })?)
    }

    async fn expire(&self) -> Result<u64, Error> {
        self.shared.expire().await
    }

    async fn ensure_topics(
        &self,
        topics: &[Topic],
        only_check: bool,
    ) -> Result<Vec<TopicState>, Error> {
        if only_check {
            return Ok(topics::check(&mut self.shared.db.reader().await?, topics).await?);
        }
        Ok(run_tx!(self.shared.db, "log.topics", |tx| -> Result<
            Vec<TopicState>,
            db::Error,
        > {
            topics::ensure(tx, topics).await
        })?)
    }

    async fn ping(&self) -> Result<(), Error> {
        match tokio::time::timeout(PING_MAX, self.shared.db.ping()).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Error::Unavailable(format!("no answer in {PING_MAX:?}"))),
        }
    }
}

/// The SQLite connection of a transaction or reader; the constructor has refused every other database.
fn sqlite(tx: &mut Tx) -> Result<&mut SqliteConnection, db::Error> {
    match tx.connection() {
        Connection::Sqlite(connection) => Ok(connection),
        Connection::Postgres(_) => Err(db::Error::Settings(
            "the embedded event log needs SQLite".to_owned(),
        )),
    }
}
