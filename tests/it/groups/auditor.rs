//! An effect that can be counted: each event writes a line, in the order of the database, and the auditor compares the
//! lines with what was sent.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use spheroctl::db::{Connection, Db, Error, Tx, execute, on_tx, run_tx};
use spheroctl::events::group::{Effect, Handler, HandlerError};
use spheroctl::events::log::NewRecord;
use spheroctl::events::partition::partition_of;
use spheroctl::events::topics::JOB_EVENTS;
use spheroctl::events::types::{JobRef, JobStarted};
use spheroctl::events::{Event, Fact};
use spheroctl::kit::clock::{Clock, SystemClock};
use spheroctl::kit::id::{EventId, ImageId, JobId, ProjectId, UserId};
use uuid::Uuid;

use super::world::PARTITIONS;

pub const GROUP: &str = "auditor";

const TABLE_POSTGRES: &str = "
    create table if not exists audit (n bigserial primary key, event_id uuid not null, image uuid not null,
        seq bigint not null, member text not null, at timestamptz not null)";
const TABLE_SQLITE: &str = "
    create table if not exists audit (n integer primary key autoincrement, event_id blob not null, image blob not null,
        seq integer not null, member text not null, at text not null)";
const LINE: &str =
    "insert into audit (event_id, image, seq, member, at) values ($1, $2, $3, $4, $5)";
const LINES: &str = "select event_id, image, seq, member, at from audit order by n";
const LATEST: &str =
    "select event_id, image, seq, member, at from audit order by n desc limit 1000";
const COUNT: &str = "select count(*) from audit";
const DROP_TOPIC: &str = "delete from log_topics where name = $1";

pub async fn make_tables(db: &Db) {
    let made = run_tx!(db, "test", |tx| -> Result<(), Error> {
        let table = tx.dialect().pick(TABLE_POSTGRES, TABLE_SQLITE);
        execute!(tx, table)?;
        Ok(())
    });
    // Two processes may make it at once; PostgreSQL then refuses one of them.
    drop(made);
}

/// Takes a topic out of the embedded log.
pub async fn drop_topic(db: &Db, name: &str) {
    let dropped = run_tx!(db, "test", |tx| -> Result<(), Error> {
        if let Connection::Sqlite(connection) = tx.connection() {
            sqlx::query(DROP_TOPIC)
                .bind(name)
                .execute(connection)
                .await?;
        }
        Ok(())
    });
    dropped.expect("a topic can be dropped");
}

/// What a handler does with an event instead of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mischief {
    Fails,
    Panics,
    Aborts,
}

/// A line: an effect, who made it, and when.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Line {
    pub event_id: EventId,
    pub image: Uuid,
    pub seq: i64,
    pub member: String,
    pub at: DateTime<Utc>,
}

impl Line {
    /// The partition of its key.
    pub fn partition(&self) -> i32 {
        partition_of(&self.image.to_string(), PARTITIONS)
    }
}

/// A handler whose effect can be counted.
#[derive(Debug, Default)]
pub struct Auditor {
    /// Whose lines they are.
    pub member: String,
    /// How often the handler ran for an event.
    pub runs: Mutex<HashMap<EventId, u32>>,
    /// Every so many-th event fails on its first two runs; 0 for none.
    pub fails_every: u64,
    /// What it does with these.
    pub mischief: Mutex<HashMap<EventId, Mischief>>,
    /// What it needs is away.
    pub away: AtomicBool,
    /// It takes its time.
    pub takes: Duration,
    /// It tells what was committed.
    pub told: Mutex<Vec<EventId>>,
    /// That is all that it does.
    pub only_tells: bool,
    /// It can not be told.
    pub secret: Option<EventId>,
    /// How often that was to be told alone.
    pub asked_alone: AtomicU32,
    /// These do not concern it.
    pub others: HashSet<EventId>,
}

#[async_trait]
impl Handler for Auditor {
    fn name(&self) -> &'static str {
        GROUP
    }

    fn topics(&self) -> &'static [&'static str] {
        &[JOB_EVENTS]
    }

    fn effect(&self) -> Effect {
        match self.only_tells {
            true => Effect::Outside,
            false => Effect::Inside,
        }
    }

    async fn concerned(&self, _: &Db, events: &[&Event]) -> Result<Vec<bool>, HandlerError> {
        let concerned = events.iter().map(|event| !self.others.contains(&event.id));
        Ok(concerned.collect())
    }

    async fn handle(&self, tx: &mut Tx, events: &[&Event]) -> Result<(), HandlerError> {
        for event in events {
            self.one(tx, event).await?;
        }
        Ok(())
    }

    async fn committed(&self, events: &[&Event]) -> Result<(), HandlerError> {
        let told = events.iter().map(|event| event.id);
        if told.clone().any(|id| Some(id) == self.secret) {
            let is_alone = events.len() == 1;
            self.asked_alone
                .fetch_add(u32::from(is_alone), Ordering::Relaxed);
            return Err(HandlerError::Failed("a secret".to_owned()));
        }
        self.told.lock().extend(told);
        Ok(())
    }
}

impl Auditor {
    async fn one(&self, tx: &mut Tx, event: &Event) -> Result<(), HandlerError> {
        let runs = {
            let mut all = self.runs.lock();
            let runs = all.entry(event.id).or_default();
            *runs += 1;
            *runs
        };
        if !self.takes.is_zero() {
            tokio::time::sleep(self.takes).await;
        }
        self.write_line(tx, event).await?;
        if self.away.load(Ordering::Relaxed) {
            return Err(HandlerError::Unavailable("it is away".to_owned()));
        }
        let mischief = self.mischief.lock().get(&event.id).copied();
        match mischief {
            Some(Mischief::Fails) => return Err(HandlerError::Failed("no luck".to_owned())),
            Some(Mischief::Panics) => panic!("a handler that panics"),
            Some(Mischief::Aborts) => std::process::abort(),
            None => {}
        }
        let (_, seq) = line_of(event);
        let fails = self.fails_every > 0 && seq.cast_unsigned() % self.fails_every == 0;
        match fails && runs < 3 {
            true => Err(HandlerError::Failed(format!("run {runs} of {seq} fails"))),
            false => Ok(()),
        }
    }

    pub fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }

    pub fn runs_of(&self, event: &Event) -> u32 {
        self.runs.lock().get(&event.id).copied().unwrap_or_default()
    }

    async fn write_line(&self, tx: &mut Tx, event: &Event) -> Result<(), Error> {
        let ((image, seq), now) = (line_of(event), SystemClock.now());
        execute!(tx, LINE, event.id, image, seq, &self.member, now)?;
        Ok(())
    }
}

fn line_of(event: &Event) -> (Uuid, i64) {
    let Fact::JobStarted(started) = &event.fact else {
        panic!("{} was not sent", event.fact.kind());
    };
    (started.job.image_id.as_uuid(), started.attempt)
}

/// `per_key` events of each of `keys` keys, in turn, each with its number within its key.
pub fn events(keys: usize, per_key: usize) -> Vec<Event> {
    let images: Vec<_> = (0..keys).map(|_| ImageId::new(&SystemClock)).collect();
    let numbers = (0..per_key).flat_map(|number| images.iter().map(move |image| (number, *image)));
    numbers
        .map(|(number, image)| event(image, i64::try_from(number).expect("a small number")))
        .collect()
}

pub fn event(image_id: ImageId, attempt: i64) -> Event {
    let job = JobRef {
        job_id: JobId::new(&SystemClock),
        task_id: String::new(),
        project_id: ProjectId::new(&SystemClock),
        image_id,
        owner: UserId::new(&SystemClock),
    };
    Event::new(Fact::JobStarted(JobStarted { job, attempt }), &SystemClock)
}

pub fn records(events: &[Event]) -> Vec<NewRecord> {
    events.iter().map(record).collect()
}

pub fn record(event: &Event) -> NewRecord {
    NewRecord {
        topic: event.fact.topic().to_owned(),
        key: event.fact.key(),
        headers: event.envelope().headers(),
        value: event.fact.encode().expect("a payload"),
    }
}

/// The lines that were written, in their order.
pub async fn lines(db: &Db) -> Vec<Line> {
    lines_of(db, LINES).await
}

async fn lines_of(db: &Db, statement: &'static str) -> Vec<Line> {
    let mut tx = db.reader().await.expect("a connection");
    let lines: Result<Vec<Line>, sqlx::Error> =
        on_tx!(tx, |conn| sqlx::query_as(statement).fetch_all(conn).await);
    lines.expect("the lines")
}

/// How many lines there are.
pub async fn count(db: &Db) -> i64 {
    let mut tx = db.reader().await.expect("a connection");
    let count: Result<i64, sqlx::Error> =
        on_tx!(tx, |conn| sqlx::query_scalar(COUNT).fetch_one(conn).await);
    count.expect("a number")
}

/// How many partitions each member reads, the fewest first: of each partition, whoever wrote the last of the latest
/// thousand lines.
pub async fn shares(db: &Db) -> Vec<usize> {
    let mut owners = BTreeMap::new();
    for line in lines_of(db, LATEST).await {
        owners.entry(line.partition()).or_insert(line.member);
    }
    let mut shares: BTreeMap<String, usize> = BTreeMap::new();
    for owner in owners.into_values() {
        *shares.entry(owner).or_default() += 1;
    }
    let mut shares: Vec<_> = shares.into_values().collect();
    shares.sort_unstable();
    shares
}

/// For how long nothing was done in the partitions of a member that was killed: of the longest such silence, from the kill
/// to the first effect.
pub async fn takeover(db: &Db, killed: &str, at: DateTime<Utc>) -> TimeDelta {
    let mut owners: BTreeMap<i32, String> = BTreeMap::new();
    let mut first: BTreeMap<i32, DateTime<Utc>> = BTreeMap::new();
    for line in lines(db).await {
        match line.at <= at {
            true => drop(owners.insert(line.partition(), line.member)),
            false if line.member == killed => {}
            false => drop(first.entry(line.partition()).or_insert(line.at)),
        }
    }
    let its = owners.iter().filter(|(_, owner)| *owner == killed);
    let waits = its.map(|(partition, _)| first[partition] - at);
    waits.max().expect("the killed member had partitions")
}

/// Each event has one line, and those of a key stand in their order.
pub async fn audit(db: &Db, sent: &[Event]) {
    let lines = lines(db).await;
    let mut count: BTreeMap<EventId, u32> = BTreeMap::new();
    let mut last: HashMap<Uuid, i64> = HashMap::new();
    for line in &lines {
        *count.entry(line.event_id).or_default() += 1;
        let before = last.insert(line.image, line.seq);
        assert!(
            before.is_none_or(|before| before < line.seq),
            "{}: {} comes after {before:?}",
            line.image,
            line.seq
        );
    }
    let doubled = count.values().filter(|count| **count > 1).count();
    let lost = sent.iter().filter(|it| !count.contains_key(&it.id)).count();
    assert_eq!(
        (lost, doubled),
        (0, 0),
        "lost and doubled of {}",
        sent.len()
    );
    assert_eq!(
        lines.len(),
        sent.len(),
        "lines of events that were not sent"
    );
}
