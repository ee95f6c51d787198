//! Groups whose members are processes of their own, which die: by a handler that aborts them, and by a kill. The process
//! is this test program again, told by the environment what to join.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use spheroctl::events::Event;
use spheroctl::events::dead_letters::Filter;
use spheroctl::events::topics::JOB_EVENTS;
use spheroctl::kit::id::EventId;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::auditor::{Auditor, GROUP, Mischief, audit, events, lines, records};
use super::world::{DEADLINE, World};
use crate::conformance::event_log::backend::{database, kafka};
use crate::support::{eventually, services};

/// Tells the process what to join.
const JOIN: &str = "SPHEROCTL_TEST_GROUP_MEMBER";

/// What a member process is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Join {
    name: String,
    url: String,
    bootstrap: String,
    topic_prefix: String,
    group_prefix: String,
    /// The event at which it aborts.
    aborts_at: Option<EventId>,
    takes_ms: u64,
}

/// Fifteen innocent neighbours are under way when a record takes its process with it, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_aborts_its_process_dies_alone() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let url = format!("sqlite:{}/test.sqlite", folder.path().display());
    let world = World::open(&url, kafka("")).await;
    world.topics(true).await;
    let mut sent = events(16, 2);
    world.append(records(&sent)).await;
    let poison = sent.remove(9);
    let mut join = join("w", &url, &world, "");
    join.aborts_at = Some(poison.id);
    let mut starts = 0;
    while dead(&world).await.is_none() {
        starts += 1;
        assert!(
            starts <= 6,
            "the record is not given up after {starts} starts"
        );
        let mut member = start(&join);
        let gone = async {
            tokio::select! {
                ended = member.wait() => drop(ended.expect("its end")),
                () = eventually("it dies or gives up", DEADLINE, async || dead(&world).await.is_some()) => {}
            }
        };
        gone.await;
        member.kill().await.expect("it can be ended");
    }
    let last = start(&join);
    world.caught_up(GROUP, 32).await;
    drop(last);
    let letter = dead(&world).await.expect("the letter");
    assert_eq!(letter, (Some(poison.id), 3, "crashed".to_owned()));
    audit(&world.db, &sent).await;
}

/// Three workers, one of which is killed under load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_loses_and_doubles_nothing() {
    let bootstrap = services::kafka_bootstrap();
    let made = services::postgres_database(async |url: &str| {
        let db = spheroctl::db::Db::open(&database(url)).await;
        let db = db.expect("PostgreSQL opens");
        db.migrate().await.expect("PostgreSQL migrates");
        db.close().await;
    });
    let made = made.await;
    let world = World::open(&made.url(), kafka(&bootstrap)).await;
    world.topics(true).await;
    let mut members = Vec::new();
    for name in ["w1", "w2", "w3"] {
        let mut join = join(name, &made.url(), &world, &bootstrap);
        join.takes_ms = 1;
        members.push(start(&join));
    }
    eventually("each reads four", DEADLINE, async || {
        shares(&world).await == [4, 4, 4]
    })
    .await;
    let sent = events(300, 20);
    let sending = send(&world, &sent);
    let killing = async {
        eventually("a third is done", DEADLINE, async || {
            lines(&world.db).await.len() > 2_000
        })
        .await;
        members[1].kill().await.expect("a kill");
        let killed_at = Instant::now();
        eventually("the others take over", DEADLINE, async || {
            shares(&world).await == [6, 6]
        })
        .await;
        println!("taken over after {:?}", killed_at.elapsed());
    };
    tokio::join!(sending, killing);
    world.caught_up(GROUP, 6_000).await;
    audit(&world.db, &sent).await;
}

/// The other process. Without its variable it has nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the tests above, as a process of its own"]
async fn member_process() {
    let Ok(join) = std::env::var(JOIN) else {
        return;
    };
    let join: Join = serde_json::from_str(&join).expect("what to join");
    let mut settings = kafka(&join.bootstrap);
    settings.topic_prefix = join.topic_prefix;
    settings.group_prefix = join.group_prefix;
    let world = World::open(&join.url, settings).await;
    let mischief: HashMap<_, _> = join
        .aborts_at
        .map(|id| (id, Mischief::Aborts))
        .into_iter()
        .collect();
    let auditor = Auditor {
        mischief: mischief.into(),
        takes: Duration::from_millis(join.takes_ms),
        ..Auditor::default()
    };
    let _group = world.run(&join.name, auditor.shared());
    std::future::pending::<()>().await;
}

fn join(name: &str, url: &str, world: &World, bootstrap: &str) -> Join {
    Join {
        name: name.to_owned(),
        url: url.to_owned(),
        bootstrap: bootstrap.to_owned(),
        topic_prefix: world.settings.topic_prefix.clone(),
        group_prefix: world.settings.group_prefix.clone(),
        aborts_at: None,
        takes_ms: 0,
    }
}

fn start(join: &Join) -> Child {
    let program = std::env::current_exe().expect("the path of this program");
    let join = serde_json::to_string(join).expect("what to join");
    Command::new(program)
        .args([
            "--exact",
            "groups::processes::member_process",
            "--ignored",
            "--nocapture",
        ])
        .env(JOIN, join)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("a process")
}

/// The event of the dead letters, its attempts and its class. There is a second letter of it where the process was ended
/// between the letter and the note of it in the inbox.
async fn dead(world: &World) -> Option<(Option<EventId>, i64, String)> {
    let of_jobs = Filter {
        topic: Some(JOB_EVENTS.to_owned()),
        ..Filter::default()
    };
    let letters = world.dead_letters().list(&of_jobs, 10).await;
    let letters = letters.expect("the letters can be listed");
    let mut deaths: Vec<_> = letters
        .into_iter()
        .map(|letter| (letter.event, letter.attempts, letter.error_class))
        .collect();
    deaths.dedup();
    assert!(deaths.len() <= 1, "{deaths:?}");
    deaths.pop()
}

/// How many partitions each member has, the fewest first.
async fn shares(world: &World) -> Vec<usize> {
    let members = world.log.members(GROUP).await.unwrap_or_default();
    let mut shares: Vec<usize> = members
        .iter()
        .map(|member| member.partitions.values().map(Vec::len).sum())
        .collect();
    shares.sort_unstable();
    shares
}

/// About a thousand records a second.
async fn send(world: &World, sent: &[Event]) {
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    for chunk in sent.chunks(100) {
        tick.tick().await;
        world.append(records(chunk)).await;
    }
}
