//! What only the embedded event log promises: several processes on one file, leases by the clock, retention.

use std::path::Path;
use std::time::Duration;

use spheroctl::db::Db;
use spheroctl::events::log::sqlite::SqliteLog;
use spheroctl::events::log::{Error, EventLog, Topic};
use spheroctl::kit::clock::{Clock, ManualClock, SharedClock, SystemClock};
use spheroctl::kit::lifecycle::Lifecycle;

use crate::conformance::event_log::backend::{database, kafka, partition, record, records};
use crate::conformance::event_log::reader::{Reader, turns};

/// Records of `t` are kept this long.
const RETENTION: Duration = Duration::from_secs(3_600);

/// The log of one process on the file in `folder`, with the topic `t` of two partitions.
struct Process {
    db: Db,
    log: SqliteLog,
    lifecycle: Lifecycle,
}

impl Process {
    async fn start(folder: &Path, name: &str, clock: SharedClock, session_ms: u64) -> Self {
        let url = format!("sqlite:{}/test.sqlite", folder.display());
        let db = Db::open(&database(&url)).await.expect("SQLite opens");
        db.migrate().await.expect("SQLite migrates");
        let mut settings = kafka("");
        settings.session_timeout_ms = session_ms;
        settings.heartbeat_interval_ms = session_ms / 5;
        let lifecycle = Lifecycle::new();
        let log = SqliteLog::new(db.clone(), clock, &lifecycle, name, &settings);
        let log = log.expect("the log opens");
        let topic = Topic {
            name: "t".to_owned(),
            partitions: 2,
            retention_ms: i64::try_from(RETENTION.as_millis()).expect("an hour"),
        };
        log.ensure_topics(&[topic], false).await.expect("a topic");
        Self { db, log, lifecycle }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_share_the_file_share_the_group() {
    let folder = tempfile::tempdir().expect("a folder");
    let one = Process::start(folder.path(), "one", SystemClock::shared(), 2_000).await;
    let two = Process::start(folder.path(), "two", SystemClock::shared(), 2_000).await;
    let mut first = Reader::join(&one.log, "g", &["t"]).await;
    let mut second = Reader::join(&two.log, "g", &["t"]).await;
    turns(&mut [&mut first, &mut second], "both read", |it| {
        it[0].held.len() == 1 && it[1].held.len() == 1
    })
    .await;
    one.log.append(records("t", 20, 40)).await;
    turns(&mut [&mut first, &mut second], "all arrive", |it| {
        it[0].seen.len() + it[1].seen.len() == 40
    })
    .await;
    assert!(!first.seen.is_empty() && !second.seen.is_empty());
    // A process that is killed says nothing: its tasks and connections are gone, its rows stay.
    two.lifecycle.stop();
    two.db.close().await;
    first.hold(2).await;
    first.close().await;
}

#[tokio::test]
async fn a_member_whose_lease_ended_is_fenced_and_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = ManualClock::at(SystemClock.now());
    let shared = std::sync::Arc::new(clock.clone());
    let process = Process::start(folder.path(), "one", shared, 2_000).await;
    let mut zombie = Reader::join(&process.log, "g", &["t"]).await;
    zombie.hold(2).await;
    clock.advance(Duration::from_secs(3));
    let mut heir = Reader::join(&process.log, "g", &["t"]).await;
    heir.hold(2).await;
    let place = partition("t", 0);
    assert!(matches!(
        zombie.commit(&place, 7).await,
        Err(Error::Fenced(_))
    ));
    assert!(
        process
            .log
            .lag("g", &["t"])
            .await
            .expect("a lag")
            .is_empty()
    );
    heir.commit(&place, 0).await.expect("the heir's commit");
    turns(
        &mut [&mut zombie, &mut heir],
        "the zombie comes back",
        |it| it[0].held.len() == 1 && it[1].held.len() == 1,
    )
    .await;
    assert!(zombie.held.is_disjoint(&heir.held));
}

#[tokio::test]
async fn a_member_that_does_not_let_go_loses_the_partition() {
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(folder.path(), "one", SystemClock::shared(), 500).await;
    let mut slow = Reader::join(&process.log, "g", &["t"]).await;
    slow.hold(2).await;
    let mut heir = Reader::join(&process.log, "g", &["t"]).await;
    turns(&mut [&mut slow, &mut heir], "it is told to let go", |it| {
        it[0].held.len() == 1
    })
    .await;
    // From here on the slow member asks for nothing; its heartbeat goes on.
    heir.hold(1).await;
    let (kept, moved) = (slow.held.first().cloned(), heir.held.first().cloned());
    let (kept, moved) = (kept.expect("a partition"), moved.expect("a partition"));
    assert_ne!(kept, moved);
    assert!(matches!(
        slow.commit(&moved, 1).await,
        Err(Error::Fenced(_))
    ));
    slow.commit(&kept, 0).await.expect("it keeps the other");
}

#[tokio::test]
async fn records_expire_by_their_topics_retention() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = ManualClock::at(SystemClock.now());
    let shared = std::sync::Arc::new(clock.clone());
    let process = Process::start(folder.path(), "one", shared, 2_000).await;
    let key = "one key, one partition";
    let append = async |count: usize| {
        let one = record("t", key, "value");
        process
            .log
            .append(vec![one; count])
            .await
            .into_iter()
            .next()
            .expect("an answer")
    };
    let (place, _) = append(3).await.expect("an append");
    clock.advance(RETENTION / 2);
    append(2).await.expect("an append");
    assert_eq!(process.log.expire().await.expect("a look"), 0);
    clock.advance(RETENTION / 2 + Duration::from_secs(1));
    assert_eq!(process.log.expire().await.expect("a sweep"), 3);
    assert_eq!(process.log.bounds(&place).await.expect("bounds"), (3, 5));
    clock.advance(RETENTION);
    assert_eq!(process.log.expire().await.expect("a sweep"), 2);
    assert_eq!(process.log.bounds(&place).await.expect("bounds"), (5, 5));
    assert_eq!(append(1).await.expect("an append").1, 5);
}

#[tokio::test]
async fn records_and_positions_survive_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let before = Process::start(folder.path(), "one", SystemClock::shared(), 2_000).await;
    before.log.append(records("t", 1, 10)).await;
    let mut reader = Reader::join(&before.log, "g", &["t"]).await;
    let place = reader.read(10).await[0].partition.clone();
    reader.commit(&place, 4).await.expect("a commit");
    reader.close().await;
    before.db.close().await;
    let after = Process::start(folder.path(), "one", SystemClock::shared(), 2_000).await;
    let mut reader = Reader::join(&after.log, "g", &["t"]).await;
    assert_eq!(reader.read(6).await[0].offset, 4);
    reader.close().await;
}
